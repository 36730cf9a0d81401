//! The sender apart from the proxy: whatever becomes of it, calls go on, and every message is accounted for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Proxy, Setup, SiplensAgent, Uas, eventually, ladder};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);
/// Messages of one call of the scenario `call`, each seen as it comes and as it goes; "100 trying" only goes.
const PER_CALL: u64 = 13;

/// A proxy that captures everything, somebody who answers, a collector over TCP, and a folder for the socket.
struct Isolated {
    proxy: Option<Kamailio>,
    collector: Collector,
    uas: Uas,
    dir: TempDir,
    with_agent: bool,
    small_rings: bool,
}

type Counters = BTreeMap<String, u64>;

impl Isolated {
    fn new(with_agent: bool, small_rings: bool) -> Result<Self> {
        let mut isolated = Self::without_proxy(with_agent, small_rings)?;
        isolated.start_proxy()?;
        Ok(isolated)
    }

    fn without_proxy(with_agent: bool, small_rings: bool) -> Result<Self> {
        let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
        let dir = tempfile::Builder::new().prefix("siplens-isolation-").tempdir()?;
        Ok(Self { proxy: None, collector, uas, dir, with_agent, small_rings })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    fn start_proxy(&mut self) -> Result<()> {
        let mut setup = Setup::case("isolation", self.collector.address(), self.uas.uri()).hep_over_tcp();
        if self.with_agent {
            setup = setup.define("AGENT_SOCKET", self.socket().display().to_string());
        }
        if self.small_rings {
            setup = setup.define("SMALL_RINGS", "yes");
        }
        self.proxy = Some(Kamailio::start(&setup)?);
        Ok(())
    }

    fn proxy(&mut self) -> Result<&mut Kamailio> {
        self.proxy.as_mut().context("the proxy is stopped")
    }

    fn place(&mut self, count: u32, per_second: u32) -> Result<()> {
        Call::new("call").times(count, per_second).place(self.proxy()?.sip(), Transport::Udp).map(drop)
    }

    fn stats(&mut self) -> Result<Counters> {
        self.proxy()?.stats()
    }

    /// Waits until nothing is under way, and checks that each message is in exactly one counter.
    fn settled(&mut self) -> Result<Counters> {
        eventually("empty queues", LIMIT, || {
            let stats = self.stats()?;
            ensure!(stats["in_queue"] == 0, "{stats:?}");
            ensure!(
                stats["offered"] == stats["filtered"] + stats["dropped"] + stats["sent"],
                "the sum does not hold: {stats:?}"
            );
            Ok(stats)
        })
    }

    /// Waits for a sender, the `starts`-th.
    fn sender(&mut self, starts: u64) -> Result<u32> {
        eventually("a sender", LIMIT, || {
            let stats = self.stats()?;
            ensure!(stats["sender_starts"] >= starts && stats["sender_pid"] > 0, "{stats:?}");
            Ok(u32::try_from(stats["sender_pid"])?)
        })
    }

    fn wait_for_log(&mut self, text: &str) -> Result<()> {
        eventually(text, LIMIT, || {
            let log = self.proxy()?.log();
            ensure!(log.contains(text), "{log}");
            Ok(())
        })
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no process")?;
    Ok(kill_process(pid, signal)?)
}

/// Runs `meddle` while calls are placed, all of which must go well.
fn under_load(isolated: &mut Isolated, meddle: impl FnOnce(&mut Isolated) -> Result<()>) -> Result<()> {
    let sip = isolated.proxy()?.sip();
    std::thread::scope(|scope| {
        let load = scope.spawn(move || Call::new("call").times(400, 100).place(sip, Transport::Udp));
        let meddled = meddle(isolated);
        load.join().map_err(|_| anyhow::anyhow!("the caller panicked"))??;
        meddled
    })
}

#[test]
fn a_killed_sender_costs_no_call_and_is_back_within_a_second() -> Result<()> {
    let mut isolated = Isolated::new(false, false)?;
    let mut pid = isolated.sender(1)?;
    under_load(&mut isolated, |isolated| {
        for starts in 2..=3 {
            // Not one that has only just begun: that one would be started again after a pause.
            std::thread::sleep(Duration::from_millis(1200));
            signal(pid, Signal::KILL)?;
            let killed = Instant::now();
            pid = isolated.sender(starts)?;
            ensure!(killed.elapsed() < Duration::from_secs(1), "back after {:?}", killed.elapsed());
        }
        Ok(())
    })?;
    let stats = isolated.settled()?;
    assert_eq!(stats["offered"], 400 * PER_CALL);
    assert_eq!(stats["dropped"], stats["dropped_sender_lost"], "{stats:?}");
    assert!(stats["sent"] > 0 && stats["dropped_sender_lost"] < stats["offered"] / 2, "{stats:?}");
    isolated.collector.wait_for(usize::try_from(stats["sent"])?, LIMIT)?;
    isolated.wait_for_log("ended with signal 9 and is started again")?;
    Ok(())
}

#[test]
fn a_sender_that_does_not_move_costs_no_call_and_is_told_of() -> Result<()> {
    let mut isolated = Isolated::new(false, true)?;
    let pid = isolated.sender(1)?;
    signal(pid, Signal::STOP)?;
    isolated.place(200, 100)?;
    let stats = isolated.stats()?;
    assert!(stats["dropped_ring_full"] > 0, "the queues did not fill: {stats:?}");
    isolated.wait_for_log("the sender has not moved for 10 s")?;
    signal(pid, Signal::CONT)?;
    isolated.wait_for_log("the sender works again")?;
    isolated.place(1, 1)?;
    let stats = isolated.settled()?;
    assert_eq!(stats["dropped"], stats["dropped_ring_full"], "{stats:?}");
    assert_eq!(stats["offered"], 201 * PER_CALL);
    Ok(())
}

#[test]
fn what_is_in_the_queues_when_the_proxy_ends_is_sent() -> Result<()> {
    let mut isolated = Isolated::new(false, false)?;
    let pid = isolated.sender(1)?;
    // The sender does not look while the calls are placed, so all of their messages wait when the proxy ends.
    signal(pid, Signal::STOP)?;
    isolated.place(10, 50)?;
    isolated.proxy()?.stop()?;
    signal(pid, Signal::CONT)?;
    let packets = isolated.collector.wait_for(usize::try_from(10 * PER_CALL)?, LIMIT)?;
    assert_eq!(packets.len() as u64, 10 * PER_CALL);
    eventually("the end of the sender", LIMIT, || {
        ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
        Ok(())
    })
}

#[test]
fn a_stopped_proxy_can_be_started_at_once() -> Result<()> {
    let mut isolated = Isolated::new(false, false)?;
    let pid = isolated.sender(1)?;
    isolated.proxy()?.stop()?;
    // The old sender may still be sending what was left, but must hold none of the proxy's sockets.
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    for file in files.into_iter().flatten().flatten() {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        ensure!(!target.ends_with("kamailio"), "{}", target.display());
    }
    isolated.start_proxy()?;
    isolated.place(1, 1)?;
    assert_eq!(isolated.settled()?["sent"], PER_CALL);
    Ok(())
}

#[test]
fn siplens_agent_killed_under_load_costs_no_call_and_the_next_one_goes_on() -> Result<()> {
    let mut isolated = Isolated::new(true, false)?;
    let mut agent = SiplensAgent::start(&isolated.socket())?;
    assert_eq!(isolated.sender(1)?, agent.id());
    under_load(&mut isolated, |isolated| {
        for starts in 2..=3 {
            std::thread::sleep(Duration::from_millis(800));
            agent.kill()?;
            isolated.wait_for_log("has gone")?;
            agent = SiplensAgent::start(&isolated.socket())?;
            assert_eq!(isolated.sender(starts)?, agent.id());
        }
        Ok(())
    })?;
    let stats = isolated.settled()?;
    assert_eq!(stats["offered"], 400 * PER_CALL);
    assert_eq!(stats["dropped"], stats["dropped_sender_lost"], "{stats:?}");
    isolated.collector.wait_for(usize::try_from(stats["sent"])?, LIMIT)?;
    Ok(())
}

#[test]
fn without_siplens_agent_messages_wait_in_the_queues_and_then_are_dropped_and_counted() -> Result<()> {
    let mut isolated = Isolated::new(true, true)?;
    isolated.place(2, 10)?;
    let stats = isolated.stats()?;
    assert_eq!((stats["in_queue"], stats["sender_pid"]), (2 * PER_CALL, 0));
    isolated.place(200, 100)?;
    let stats = isolated.stats()?;
    assert_eq!(stats["offered"], 202 * PER_CALL);
    assert_eq!(stats["offered"], stats["in_queue"] + stats["dropped_ring_full"], "{stats:?}");
    assert!(stats["dropped_ring_full"] > 0);
    let said = "no sender, and queues are full";
    isolated.wait_for_log(said)?;

    let _agent = SiplensAgent::start(&isolated.socket())?;
    let settled = isolated.settled()?;
    assert_eq!(settled["sent"], stats["in_queue"], "what waited is sent, the oldest first");
    assert_eq!(isolated.proxy()?.log().matches(said).count(), 1);
    isolated.place(1, 1)?;
    assert_eq!(isolated.settled()?["sent"], stats["in_queue"] + PER_CALL);
    Ok(())
}

#[test]
fn siplens_agent_may_be_there_first_and_outlives_the_proxy() -> Result<()> {
    let mut isolated = Isolated::without_proxy(true, false)?;
    let agent = SiplensAgent::start(&isolated.socket())?;
    eventually("the agent to say that it waits", LIMIT, || {
        ensure!(agent.log().contains("trying again"), "{}", agent.log());
        Ok(())
    })?;
    for round in 1..=3 {
        isolated.start_proxy()?;
        assert_eq!(isolated.sender(1)?, agent.id());
        isolated.place(3, 10)?;
        isolated.proxy()?.stop()?;
        isolated.proxy = None;
        // The proxy has gone with nothing sent of what it captured last: the agent has the memory, and sends that.
        isolated.collector.wait_for(usize::try_from(round * 3 * PER_CALL)?, LIMIT)?;
    }
    assert_eq!(agent.log().matches("attached to the proxy").count(), 3, "{}", agent.log());
    eventually("the agent's farewells", LIMIT, || {
        ensure!(agent.log().matches("all that was taken was sent").count() == 3, "{}", agent.log());
        Ok(())
    })
}

#[test]
fn siplens_agent_told_to_end_loses_nothing() -> Result<()> {
    let mut isolated = Isolated::new(true, false)?;
    let mut agent = SiplensAgent::start(&isolated.socket())?;
    isolated.sender(1)?;
    under_load(&mut isolated, |isolated| {
        std::thread::sleep(Duration::from_secs(1));
        let status = agent.stop()?;
        ensure!(status.success(), "{status}\n{}", agent.log());
        agent = SiplensAgent::start(&isolated.socket())?;
        isolated.sender(2).map(drop)
    })?;
    let stats = isolated.settled()?;
    assert_eq!((stats["sent"], stats["dropped"]), (400 * PER_CALL, 0), "{stats:?}");
    Ok(())
}

#[test]
fn a_second_siplens_agent_waits_until_the_first_has_gone() -> Result<()> {
    let mut isolated = Isolated::new(true, false)?;
    let mut first = SiplensAgent::start(&isolated.socket())?;
    assert_eq!(isolated.sender(1)?, first.id());
    let second = SiplensAgent::start(&isolated.socket())?;
    eventually("the second to say that it waits", LIMIT, || {
        ensure!(second.log().contains("has another siplens-agent"), "{}", second.log());
        Ok(())
    })?;
    assert_eq!(isolated.stats()?["sender_starts"], 1);
    first.kill()?;
    assert_eq!(isolated.sender(2)?, second.id());
    isolated.place(1, 1)?;
    assert_eq!(isolated.settled()?["sent"], PER_CALL);
    Ok(())
}

#[test]
fn the_full_example_works_with_siplens_agent() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("agent.sock");
    let setup = Setup::example("full", collector.address(), uas.uri());
    let proxy = Kamailio::start(&setup.define("AGENT_SOCKET", socket.display().to_string()))?;
    let _agent = SiplensAgent::start(&socket)?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    collector.wait_for(ladder::expected("call")?.len(), LIMIT).map(drop)
}

#[test]
fn a_socket_that_cannot_be_made_is_told_at_the_start() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("a file");
    std::fs::write(&file, "kept")?;
    for (path, expected) in [
        (dir.path().join("missing/agent.sock"), "No such file or directory"),
        (file.clone(), "something else than a socket is there"),
        (PathBuf::from("agent.sock"), "the path of a socket from the root on"),
    ] {
        let setup = Setup::case("isolation", ([127, 0, 0, 1], 9).into(), "sip:127.0.0.1:9".to_owned());
        let setup = setup.define("AGENT_SOCKET", path.display().to_string());
        let error = Kamailio::start(&setup).err().context("kamailio started all the same")?;
        let said = format!("{error:#}");
        ensure!(said.contains("agent_socket") && said.contains(expected), "{said}");
    }
    assert_eq!(std::fs::read_to_string(file)?, "kept");
    Ok(())
}
