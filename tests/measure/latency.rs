//! SIP's response times while the collector is well, stuck, refusing or unknown, next to those without the module.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use harness::sipp::Transport;
use harness::{Call, Kamailio, Proxy, Setup, Uas, port};

use crate::counting::Counting;
use crate::memory;
use crate::say;
use crate::wire::{Packet, Wire, first_seen};

const STATES: [&str; 5] = ["no module", "healthy", "never reads", "refuses", "unknown name"];

/// What is measured: a name, the request, the reply.
const TIMES: [(&str, &str, &str); 3] = [
    ("INVITE to 100, made by the proxy", "INVITE", "100 INVITE"),
    ("INVITE to 180, made by the called side", "INVITE", "180 INVITE"),
    ("BYE to 200, made by the called side", "BYE", "200 BYE"),
];

/// One run in one state.
struct Outcome {
    /// Microseconds, sorted, for each of `TIMES`.
    times: [Vec<u64>; 3],
    failed: u64,
    overtaken: usize,
    dropped_by_kernel: u64,
    /// Milliseconds of the sender, for all the calls.
    sender_ms: u64,
    complaints: BTreeMap<String, usize>,
    stats: BTreeMap<String, u64>,
}

pub fn run(rounds: u32, calls: u32, per_second: u32) -> Result<()> {
    let collector = Counting::start()?;
    // Accepts by the kernel's hand, and reads nothing.
    let stuck = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?));
    let mut all: BTreeMap<&str, Vec<Outcome>> = BTreeMap::new();
    for round in 0..rounds {
        // Each state is first once, so that what the machine does meanwhile falls on all of them.
        for index in 0..STATES.len() {
            let state = STATES[(index + round as usize) % STATES.len()];
            let to = match state {
                "never reads" => format!("tcp:{}", stuck.local_addr()?),
                "refuses" => format!("tcp:{nobody}"),
                "unknown name" => "tcp:collector.invalid:9060".to_owned(),
                _ => format!("tcp:{}", collector.address),
            };
            let outcome = once(state, &to, calls, per_second).with_context(|| state.to_owned())?;
            all.entry(state).or_default().push(outcome);
        }
    }
    report(&all, rounds, calls, per_second);
    Ok(())
}

fn once(state: &str, collector: &str, calls: u32, per_second: u32) -> Result<Outcome> {
    let uas = Uas::start(Transport::Udp)?;
    let mut setup = Setup::case("load", uas.address(), uas.uri());
    setup.collector = collector.to_owned();
    setup.shared_mib = 256;
    if state == "no module" {
        setup = setup.define("WITHOUT_CAPTURE", "yes");
    }
    let mut proxy = Kamailio::start(&setup)?;
    // Whatever is slow once only.
    Call::new("call").times(100, 100).attempt(proxy.sip(), Transport::Udp)?;
    let before = dropped_by_kernel();
    let wire = Wire::start(proxy.sip().port())?;
    let placed = Call::new("call").times(calls, per_second).attempt(proxy.sip(), Transport::Udp)?;
    let packets = wire.stop()?;
    let (stats, sender_ms) = match state {
        "no module" => Default::default(),
        _ => (proxy.stats()?, memory::sender_time(&proxy)?),
    };
    Ok(Outcome {
        times: TIMES.map(|(_, request, reply)| times(&packets, placed.address, request, reply)),
        failed: u64::from(calls) - placed.successful,
        overtaken: overtaken(&packets, placed.address, uas.address()),
        dropped_by_kernel: dropped_by_kernel() - before,
        sender_ms,
        complaints: complaints(&placed.errors),
        stats,
    })
}

/// From the caller's request to the first reply of this kind.
fn times(packets: &[Packet], caller: SocketAddr, request: &str, reply: &str) -> Vec<u64> {
    let sent = first_seen(packets, |packet| packet.from == caller && packet.what == request);
    let replied = first_seen(packets, |packet| packet.to == caller && packet.what == reply);
    let mut times: Vec<u64> = sent
        .iter()
        .filter_map(|((call, _), at)| Some(replied.get(&(*call, reply))?.saturating_sub(*at)))
        .collect();
    times.sort_unstable();
    times
}

/// Calls in which two messages leave the proxy in another order than they reached it: 180 and 200, ACK and BYE. Each of
/// Kamailio's UDP workers takes the next datagram, and may be stopped before it has sent it on.
fn overtaken(packets: &[Packet], caller: SocketAddr, called: SocketAddr) -> usize {
    [("180 INVITE", "200 INVITE", called, caller), ("ACK", "BYE", caller, called)]
        .into_iter()
        .map(|(first, second, from, to)| {
            let came = first_seen(packets, |packet| packet.from == from);
            let left = first_seen(packets, |packet| packet.to == to);
            let ahead = |seen: &HashMap<(&str, &str), u64>, call: &str| {
                Some(seen.get(&(call, first))? < seen.get(&(call, second))?)
            };
            let calls: BTreeSet<&str> = came.keys().map(|(call, _)| *call).collect();
            let changed = |call: &&str| ahead(&came, call) == Some(true) && ahead(&left, call) == Some(false);
            calls.into_iter().filter(changed).count()
        })
        .sum()
}

/// Datagrams that the kernel has dropped because a socket's buffer was full, on the whole machine.
fn dropped_by_kernel() -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default()
}

/// sipp's lines about calls, without what differs from call to call.
fn complaints(errors: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    // Each begins with a date; what follows is the message that it is about.
    let dated = |line: &&str| line.trim_start_matches('\'').starts_with("20");
    for line in errors.lines().filter(dated).filter(|line| !line.contains("Dead call")) {
        let text = line.split_once(": ").map_or(line, |(_, text)| text);
        let words = text.split_whitespace().map(|word| if word.contains('@') { "…" } else { word });
        let short: String = words.collect::<Vec<_>>().join(" ").chars().take(110).collect();
        *counts.entry(short).or_default() += 1;
    }
    counts
}

fn percentile(sorted: &[u64], hundredth: usize) -> u64 {
    sorted.get(sorted.len().saturating_sub(1) * hundredth / 100).copied().unwrap_or_default()
}

fn report(all: &BTreeMap<&str, Vec<Outcome>>, rounds: u32, calls: u32, per_second: u32) {
    say(format_args!("{rounds} rounds of {calls} calls at {per_second}/s in each state; microseconds\n"));
    say("| time | collector | p50 | p99 | p50, ratio | p99, ratio |");
    say("|---|---|---|---|---|---|");
    for (index, (name, ..)) in TIMES.iter().enumerate() {
        let mut base = None;
        for state in STATES {
            let outcomes = all.get(state).map_or(&[][..], Vec::as_slice);
            // The middle of the rounds: one of them may have met something else at work.
            let middle = |hundredth: usize| {
                let mut found: Vec<u64> =
                    outcomes.iter().map(|outcome| percentile(&outcome.times[index], hundredth)).collect();
                found.sort_unstable();
                percentile(&found, 50)
            };
            let (half, most) = (middle(50), middle(99));
            let (base_half, base_most) = *base.get_or_insert((half, most));
            let ratio = |value: u64, base: u64| value as f64 / base.max(1) as f64;
            say(format_args!(
                "| {name} | {state} | {half} | {most} | {:.2} | {:.2} |",
                ratio(half, base_half),
                ratio(most, base_most)
            ));
        }
    }
    say("");
    for state in STATES {
        let outcomes = all.get(state).map_or(&[][..], Vec::as_slice);
        let failed: Vec<u64> = outcomes.iter().map(|outcome| outcome.failed).collect();
        let overtaken: Vec<usize> = outcomes.iter().map(|outcome| outcome.overtaken).collect();
        let lost: Vec<u64> = outcomes.iter().map(|outcome| outcome.dropped_by_kernel).collect();
        say(format_args!(
            "{state}: failed calls {failed:?}, overtaken messages {overtaken:?}, datagrams dropped by the kernel {lost:?}"
        ));
        for outcome in outcomes {
            for (complaint, count) in &outcome.complaints {
                say(format_args!("    {count} × {complaint}"));
            }
            if let (Some(offered), Some(dropped)) =
                (outcome.stats.get("offered"), outcome.stats.get("dropped"))
            {
                let of = |name: &str| outcome.stats.get(name).copied().unwrap_or_default();
                let sum = of("filtered") + dropped + of("sent") + of("in_queue");
                say(format_args!(
                    "    offered {offered}, accounted for {sum}, dropped {dropped}; sender {} ms of processor",
                    outcome.sender_ms
                ));
            }
        }
    }
}
