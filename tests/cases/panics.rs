//! A defect of ours stops at the edge of the module: calls go on, and it is counted.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Proxy, Setup, Uas, eventually, paths};

const LIMIT: Duration = Duration::from_secs(20);

/// Every other time that the host calls the module, the module panics, wherever that is; then it no longer does.
fn survives(adjust: impl FnOnce(std::net::SocketAddr, String) -> Setup) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let panics = dir.path().join("panic");
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = adjust(collector.address(), uas.uri()).panicking(panics.clone());
    let mut proxy = Kamailio::start(&setup)?;

    std::fs::write(&panics, "")?;
    for (count, transport) in [(40, Transport::Udp), (5, Transport::Tcp)] {
        let placed = Call::new("call").times(count, 40).attempt(proxy.sip(), transport)?;
        ensure!(proxy.is_running(), "kamailio ended\n{}", proxy.log());
        ensure!(placed.successful == u64::from(count), "{} of {count}\n{}", placed.successful, proxy.log());
    }
    // An answer that says nothing, or the right one: not every call panics.
    for command in ["siplens.stats", "siplens.status", "siplens.enable", "siplens.collectors"] {
        let _ = proxy.rpc(&[command]);
    }
    std::fs::remove_file(&panics)?;

    let stats = eventually("empty queues", LIMIT, || {
        let stats = proxy.stats()?;
        ensure!(stats["in_queue"] == 0, "{stats:?}");
        Ok(stats)
    })?;
    ensure!(stats["dropped_panicked"] >= 45, "hardly any panic is counted: {stats:?}");
    ensure!(stats["offered"] == stats["filtered"] + stats["dropped"] + stats["sent"], "{stats:?}");
    ensure!(proxy.log().matches("the message was not captured").count() == 1, "{}", proxy.log());

    let before = collector.packets()?.len();
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    collector.wait_for(before + 4, LIMIT)?;
    ensure!(proxy.stats()?["dropped_panicked"] == stats["dropped_panicked"], "it still panics");
    proxy.stop()
}

#[test]
fn panics_in_functions_and_in_onsend_route_cost_no_call() -> Result<()> {
    survives(|collector, relay_to| Setup::example("full", collector, relay_to))
}

#[test]
fn panics_in_a_followed_dialog_cost_no_call() -> Result<()> {
    survives(|collector, relay_to| Setup::example("dialog", collector, relay_to))
}

#[test]
fn panics_in_functions_of_another_language_cost_no_call() -> Result<()> {
    survives(|collector, relay_to| Setup::example("kemi", collector, relay_to))
}

#[test]
fn panics_in_the_cores_events_and_in_the_sender_cost_no_call() -> Result<()> {
    survives(|collector, relay_to| Setup::case("isolation", collector, relay_to))
}

#[test]
fn what_panics_on_purpose_is_in_no_other_module() -> Result<()> {
    let marked = |dir: std::path::PathBuf| -> Result<bool> {
        let module = std::fs::read(dir.join("siplens.so"))?;
        let mark = b"SIPLENS_FORCED_PANICS";
        Ok(module.windows(mark.len()).any(|found| found == mark))
    };
    ensure!(marked(paths::panicking_module_dir()?)?, "the test would not see it");
    ensure!(!marked(paths::module_dir()?)?, "the module panics on purpose");
    Ok(())
}
