//! Collectors that are away, slow or silent, a full ring, a dead sender: the worker does not notice, and each message is in
//! exactly one counter.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Collector, SiplensAgent};
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{Host, VERSIONS, Version};

const LIMIT: Duration = Duration::from_secs(60);
const MANY: u64 = 20_000;
/// Far more than a worker needs for one message in a debug build, and far less than any wait.
const MICROSECONDS_EACH: i64 = 1000;

/// The newest with each of the two kinds of send function.
fn two_versions() -> [Version; 2] {
    [VERSIONS[2], VERSIONS[3]]
}

fn lines(collector: &str) -> Vec<String> {
    ["param trace_mode int 1".to_owned(), format!("param duplicate_uri str {collector}")].into()
}

/// Offers many messages in one worker, and checks that it did not wait.
fn offer_many(host: &mut Host) -> Result<()> {
    let spent = host.number(&format!("many 0 {MANY} in udp 600"))?;
    let bound = i64::try_from(MANY)? * MICROSECONDS_EACH;
    ensure!(spent < bound, "{spent} us for {MANY} messages");
    assert_eq!(host.stats()?["offered"], MANY);
    Ok(())
}

fn signal(host: &mut Host, signal: Signal) -> Result<()> {
    let pid = i32::try_from(host.stats()?["sender_pid"])?;
    Ok(kill_process(Pid::from_raw(pid).context("no sender")?, signal)?)
}

#[test]
fn every_message_reaches_a_collector_that_takes_them_all() -> Result<()> {
    for version in two_versions() {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &lines(&format!("tcp:{}", collector.address())))?;
        host.ask("many 1 5000 out tcp 600")?;
        host.ask("many 0 5000 in udp 600")?;
        let stats = host.settled()?;
        assert_eq!((stats["sent"], stats["dropped"]), (10_000, 0), "{stats:?}");
        assert_eq!(collector.wait_for(10_000, LIMIT)?.len(), 10_000);
    }
    Ok(())
}

#[test]
fn a_collector_that_refuses_costs_the_worker_nothing() -> Result<()> {
    for version in two_versions() {
        let port = harness::port::free()?;
        for uri in [format!("tcp:127.0.0.1:{port}"), format!("udp:127.0.0.1:{port}")] {
            let mut host = Host::running(version, &lines(&uri))?;
            offer_many(&mut host).context(uri)?;
        }
    }
    Ok(())
}

#[test]
fn a_collector_whose_name_nobody_knows_costs_the_worker_nothing() -> Result<()> {
    for version in two_versions() {
        let mut host = Host::running(version, &lines("tcp:collector.invalid:9060"))?;
        offer_many(&mut host)?;
    }
    Ok(())
}

#[test]
fn a_collector_that_accepts_and_never_reads_fills_its_backlog_and_no_more() -> Result<()> {
    for version in two_versions() {
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let mut with_little = lines(&format!("tcp:{}", silent.local_addr()?));
        with_little.push("param backlog_kib int 128".to_owned());
        let mut host = Host::running(version, &with_little)?;
        offer_many(&mut host)?;
        harness::eventually("drops", LIMIT, || {
            let stats = host.stats()?;
            ensure!(stats["dropped_backlog_full"] > 0, "{stats:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_full_ring_drops_the_newest_and_counts_them() -> Result<()> {
    for version in two_versions() {
        let collector = Collector::start()?;
        let mut small = lines(&format!("tcp:{}", collector.address()));
        small.push("param ring_size_kib int 128".to_owned());
        let mut host = Host::running(version, &small)?;
        host.ask("many 1 1 in udp 600")?;
        host.settled()?;
        signal(&mut host, Signal::STOP)?;
        host.number(&format!("many 0 {MANY} in udp 600"))?;
        let stats = host.stats()?;
        assert!(stats["dropped_ring_full"] > MANY - 300, "{stats:?}");
        signal(&mut host, Signal::CONT)?;
        let stats = host.settled()?;
        assert_eq!(stats["offered"], MANY + 1);
        assert_eq!(collector.wait_for(usize::try_from(stats["sent"])?, LIMIT)?.len() as u64, stats["sent"]);
    }
    Ok(())
}

#[test]
fn a_sender_that_is_killed_is_followed_by_another() -> Result<()> {
    for version in two_versions() {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &lines(&format!("tcp:{}", collector.address())))?;
        host.ask("many 0 100 in udp 600")?;
        host.settled()?;
        signal(&mut host, Signal::KILL)?;
        host.ask("many 1 100 in udp 600")?;
        let stats = host.settled()?;
        assert_eq!((stats["sent"], stats["sender_starts"]), (200, 2), "{stats:?}");
        assert_eq!(collector.wait_for(200, LIMIT)?.len(), 200);
    }
    Ok(())
}

#[test]
fn a_daemon_sends_in_place_of_a_child_and_may_come_late() -> Result<()> {
    for version in two_versions() {
        let collector = Collector::start()?;
        let dir = tempfile::Builder::new().prefix("siplens-host-agent-").tempdir()?;
        let socket = dir.path().join("agent.sock");
        let mut with_agent = lines(&format!("tcp:{}", collector.address()));
        with_agent.push(format!("param agent_socket str {}", socket.display()));
        let mut host = Host::running(version, &with_agent)?;
        host.ask("many 0 100 in udp 600")?;
        let stats = host.stats()?;
        assert_eq!((stats["in_queue"], stats["sender_pid"]), (100, 0), "{stats:?}");
        let mut agent = SiplensAgent::start(&socket)?;
        assert_eq!(host.settled()?["sent"], 100);
        agent.kill()?;
        host.ask("many 1 100 out udp 600")?;
        let _second = SiplensAgent::start(&socket)?;
        assert_eq!(host.settled()?["sent"], 200);
        assert_eq!(collector.wait_for(200, LIMIT)?.len(), 200);
    }
    Ok(())
}
