//! Acknowledged delivery: whatever becomes of the backend, each message that the module took is stored, once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::sipp::Transport;
use harness::{Backend, Call, Kamailio, Proxy, Setup, Uas, eventually};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until nothing is under way, and checks that each message is in exactly one counter and none was dropped.
fn settled(proxy: &mut Kamailio) -> Result<BTreeMap<String, u64>> {
    eventually("all acknowledged", LIMIT, || {
        let stats = proxy.stats()?;
        let sum = stats["filtered"] + stats["dropped"] + stats["sent"] + stats["in_queue"];
        ensure!(stats["offered"] == sum, "the sum does not hold: {stats:?}");
        ensure!(stats["in_queue"] == 0, "{stats:?}");
        Ok(stats)
    })
}

/// Waits until so many messages more are acknowledged.
fn acknowledged(proxy: &mut Kamailio, more: u64) -> Result<u64> {
    let before = proxy.stats()?["acknowledged"];
    eventually("acknowledgements", LIMIT, || {
        let stats = proxy.stats()?;
        ensure!(stats["acknowledged"] >= before + more, "{stats:?}");
        Ok(stats["acknowledged"])
    })
}

/// All messages that a backend has, and how many of them it has more than once.
fn stored(backend: &Backend) -> Result<(Vec<Value>, u64)> {
    let hidden = "siplens_search_duplicates_total";
    let before = backend.api().metric(hidden)?;
    let messages = backend.api().all("/api/v1/messages?limit=1000")?;
    Ok((messages, (backend.api().metric(hidden)? - before) as u64))
}

/// What tells a message from all others.
fn identity(message: &Value) -> String {
    ["captured_at", "src", "dst", "call_id", "method", "status", "cseq"]
        .map(|name| message[name].to_string())
        .join(" ")
}

/// Everything is captured, for these collectors.
fn setup(collector: String, hep: SocketAddr, uas: &Uas) -> Setup {
    let mut setup = Setup::case("isolation", hep, uas.uri());
    setup.collector = collector;
    setup
}

#[test]
fn a_backend_that_is_killed_ten_times_under_load_has_every_message_once() -> Result<()> {
    let (mut backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
    let hep = backend.hep();
    let mut proxy = Kamailio::start(&setup(format!("tcp:{hep}"), hep, &uas))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    acknowledged(&mut proxy, 0)?;
    let sip = proxy.sip();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| {
            let mut placed = Ok(());
            while !done.load(Ordering::Relaxed) && placed.is_ok() {
                placed = Call::new("call").times(60, 60).place(sip, Transport::Udp).map(drop);
            }
            placed
        });
        let killed = (0..10).try_for_each(|_| {
            acknowledged(&mut proxy, 100)?;
            backend.kill()?;
            backend.restart()
        });
        done.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        killed
    })?;
    let stats = settled(&mut proxy)?;
    assert_eq!((stats["dropped"], stats["unacknowledged"]), (0, 0), "{stats:?}");
    assert_eq!((stats["sent"], stats["acknowledged"]), (stats["offered"], stats["offered"]), "{stats:?}");
    let (messages, twice) = eventually("all messages", LIMIT, || {
        let found = stored(&backend)?;
        ensure!(found.0.len() as u64 >= stats["offered"], "{} of {}", found.0.len(), stats["offered"]);
        Ok(found)
    })?;
    assert_eq!((messages.len() as u64, twice), (stats["offered"], 0), "{stats:?}");
    let different: BTreeSet<String> = messages.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(different.len(), messages.len());
    let agents = backend.api().get("/api/v1/agents")?;
    assert_eq!(agents["items"][0]["lost"], 0, "{agents}");
    eprintln!("ten kills: {} messages, {} sent again", stats["offered"], stats["sent_again"]);
    Ok(())
}

#[test]
fn what_a_killed_backend_had_not_acknowledged_goes_to_the_second() -> Result<()> {
    let (mut first, second, uas) = (Backend::start()?, Backend::start()?, Uas::start(Transport::Udp)?);
    let collectors = format!("tcp:{},tcp:{}", first.hep(), second.hep());
    let mut proxy = Kamailio::start(&setup(collectors, first.hep(), &uas))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    acknowledged(&mut proxy, 0)?;
    let sip = proxy.sip();
    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| Call::new("call").times(300, 60).place(sip, Transport::Udp));
        acknowledged(&mut proxy, 500)?;
        first.kill()?;
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        Ok(())
    })?;
    let stats = settled(&mut proxy)?;
    assert_eq!((stats["dropped"], stats["acknowledged"]), (0, stats["offered"]), "{stats:?}");
    first.restart()?;
    // Together they have all; a few may be in both.
    let both = eventually("all messages", LIMIT, || {
        let (one, other) = (stored(&first)?, stored(&second)?);
        ensure!((one.1, other.1) == (0, 0), "stored twice by one of them");
        let all: BTreeSet<String> = one.0.iter().chain(&other.0).map(identity).collect();
        ensure!(all.len() as u64 == stats["offered"], "{} of {}", all.len(), stats["offered"]);
        Ok(one.0.len() + other.0.len() - all.len())
    })?;
    ensure!((both as u64) <= stats["sent_again"], "{both} in both, {stats:?}");
    let agents = second.api().get("/api/v1/agents")?;
    assert_eq!(agents["items"][0]["lost"], 0, "what went to the first is not missing: {agents}");
    Ok(())
}

/// Between proxy and backend: loses every so many-th datagram.
struct Relay {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
}

impl Relay {
    fn start(to: SocketAddr, every: u64) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, lost) = (socket.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&lost);
        std::thread::spawn(move || {
            let (mut buffer, mut came) = (vec![0; 65_536], 0u64);
            while let Ok(len) = socket.recv(&mut buffer) {
                came += 1;
                if came.is_multiple_of(every) {
                    counter.fetch_add(1, Ordering::Relaxed);
                } else if socket.send_to(&buffer[..len], to).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, lost })
    }
}

#[test]
fn datagrams_that_are_lost_on_the_way_are_counted_for_their_agent() -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
    let relay = Relay::start(backend.hep(), 7)?;
    let mut proxy = Kamailio::start(&setup(format!("udp:{}", relay.address), relay.address, &uas))?;
    Call::new("call").times(20, 40).place(proxy.sip(), Transport::Udp)?;
    let stats = settled(&mut proxy)?;
    assert_eq!((stats["sent"], stats["acknowledged"]), (stats["offered"], 0), "{stats:?}");
    eventually("all but the lost", LIMIT, || {
        let agents = backend.api().get("/api/v1/agents")?;
        let agent = agents["items"].get(0).context("no agent")?;
        let lost = relay.lost.load(Ordering::Relaxed);
        // If the last one of all was lost, nothing tells.
        let unseen = u64::from(stats["sent"] % 7 == 0);
        ensure!(lost == stats["sent"] / 7, "{lost} of {stats:?}");
        ensure!(agent["accepted"] == stats["sent"] - lost, "{agents}");
        ensure!(agent["lost"] == lost - unseen && agent["repeated"] == 0, "{agents} {lost} {unseen}");
        Ok(())
    })
}

#[test]
fn with_acknowledge_off_nothing_is_numbered_and_a_backend_answers_nothing() -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
    let hep = backend.hep();
    let setup = setup(format!("tcp:{hep}"), hep, &uas).define("WITHOUT_ACKNOWLEDGE", "yes");
    let mut proxy = Kamailio::start(&setup)?;
    Call::new("call").times(5, 10).place(proxy.sip(), Transport::Udp)?;
    let stats = settled(&mut proxy)?;
    assert_eq!((stats["sent"], stats["acknowledged"]), (stats["offered"], 0), "{stats:?}");
    eventually("all messages", LIMIT, || {
        let found = stored(&backend)?.0.len() as u64;
        ensure!(found == stats["offered"], "{found}");
        Ok(())
    })?;
    assert_eq!(backend.api().metric("siplens_ingest_acknowledgements_total")?, 0.0);
    assert_eq!(backend.api().metric("siplens_spool_streams")?, 0.0);
    Ok(())
}
