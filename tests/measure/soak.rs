//! A million messages of real calls: nothing grows, and every one is accounted for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Call, Kamailio, Proxy, Setup, Uas, wait_until};

use crate::counting::Counting;
use crate::memory::{self, Memory};
use crate::say;

/// Longer than Kamailio keeps what has ended: five seconds after its last reply.
const IDLE: Duration = Duration::from_secs(8);
/// Calls by one sipp, each of which ends by itself.
const PORTION: u32 = 5000;
/// What a process may have more at the end, in KiB: less than a tenth of an octet for each message.
const TOLERANCE: u64 = 96;
/// The sender's two buffers of a collector grow to what once waited at the same time, at most `backlog_kib` each.
const BUFFERS: u64 = 2 * 1024;

struct Sample {
    processes: BTreeMap<u32, Memory>,
    /// Now, and at most.
    shared_pool: (u64, u64),
    own_pools: u64,
}

pub fn run(calls: u32, per_second: u32) -> Result<()> {
    let (collector, uas) = (Counting::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("load", collector.address, uas.uri()).hep_over_tcp().define("SMALL", "yes");
    let setup = Setup { shared_mib: 256, ..setup };
    let mut proxy = Kamailio::start(&setup)?;
    say(format_args!("{calls} calls at {per_second}/s through {}", proxy.name()));

    let began = Instant::now();
    // After a fifth, each ring has gone round, and every place of the session table has been used.
    let mut failed = place(&proxy, calls / 5, per_second)?;
    let warm = sample(&proxy)?;
    failed += place(&proxy, calls - calls / 5, per_second)?;
    let end = sample(&proxy)?;

    let received = || collector.packets();
    let stats = proxy.stats()?;
    wait_until("the collector to have counted", IDLE, || received() >= stats["sent"])?;
    say(format_args!("calls that went otherwise: {failed}; time: {} s", began.elapsed().as_secs()));
    let of = |name: &str| stats.get(name).copied().unwrap_or_default();
    let parts = ["filtered", "dropped", "sent", "in_queue"].map(|name| (name, of(name)));
    let sum: u64 = parts.iter().map(|(_, value)| value).sum();
    say(format_args!("offered {} = {parts:?}; received {}", of("offered"), received()));

    let names = memory::names(&proxy)?;
    say("| process | resident, KiB | | proportional, KiB | | own, KiB | |");
    say("|---|---|---|---|---|---|---|");
    let mut grown = Vec::new();
    for (id, after) in &end.processes {
        let name = names.get(id).map_or("", String::as_str);
        let Some(before) = warm.processes.get(id) else { continue };
        say(format_args!(
            "| {name} | {} | {} | {} | {} | {} | {} |",
            before.resident, after.resident, before.proportional, after.proportional, before.own, after.own
        ));
        let tolerance = if name == memory::SENDER { TOLERANCE + BUFFERS } else { TOLERANCE };
        if after.own > before.own + tolerance {
            grown.push(name);
        }
    }
    say(format_args!("shared pool, octets now and at most: {:?} {:?}", warm.shared_pool, end.shared_pool));
    say(format_args!("own pools, octets: {} {}", warm.own_pools, end.own_pools));

    ensure!(of("offered") == sum, "{} offered, {sum} accounted for", of("offered"));
    ensure!(of("in_queue") == 0 && received() == of("sent"), "not all that was sent was received");
    ensure!(of("dropped") == 0, "{} dropped", of("dropped"));
    ensure!(grown.is_empty(), "grown: {grown:?}");
    ensure!(end.shared_pool.0 <= warm.shared_pool.0 + 16_384, "the shared pool has grown");
    proxy.stop()
}

/// Places calls; says how many did not go as they should.
fn place(proxy: &Kamailio, calls: u32, per_second: u32) -> Result<u64> {
    let mut left = calls;
    let mut failed = 0;
    while left > 0 {
        let portion = left.min(PORTION);
        let placed = Call::new("call").times(portion, per_second).attempt(proxy.sip(), Transport::Udp)?;
        failed += u64::from(portion) - placed.successful;
        left -= portion;
    }
    Ok(failed)
}

/// What is held when nothing is under way.
fn sample(proxy: &Kamailio) -> Result<Sample> {
    std::thread::sleep(IDLE);
    Ok(Sample {
        processes: memory::of(proxy)?,
        shared_pool: memory::shared_pool(proxy)?,
        own_pools: memory::own_pools(proxy)?,
    })
}
