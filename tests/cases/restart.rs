//! What the backend has acknowledged survives its death.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Agent, Backend, Call, Postgres, Proxy, eventually, ladder};

use crate::numbered::{DURABLE, all_there, load};
use crate::stage::Stage;

/// Kills the backend in the middle of a stream, when so many are on disk, and returns how many messages it had acknowledged
/// by then: one connection keeps the order, so these are the first.
fn kill_under_load(backend: &mut Backend, round: &str, least: f64) -> Result<u64> {
    let agent = Agent::tcp(backend.hep())?;
    let stop = AtomicBool::new(false);
    let before = backend.api().metric(DURABLE)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| load(agent, round, Duration::from_micros(100), &stop));
        let acknowledged = eventually("acknowledged messages", Duration::from_secs(60), || {
            let count = backend.api().metric(DURABLE)? - before;
            ensure!(count >= least, "{count}");
            Ok(count)
        });
        let killed = backend.kill();
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        killed?;
        let acknowledged = acknowledged? as u64;
        ensure!(sent >= acknowledged, "{sent} sent, {acknowledged} acknowledged");
        Ok(acknowledged)
    })
}

/// Kills it ten times, each time while it stores what came before, and looks for everything at the end.
pub fn ten_times(backend: &mut Backend) -> Result<()> {
    let mut rounds = Vec::new();
    for round in 0..10 {
        let name = format!("round{round}");
        let acknowledged = kill_under_load(backend, &name, 150.0 * f64::from(round + 1))?;
        backend.restart()?;
        rounds.push((name, acknowledged));
    }
    rounds.iter().try_for_each(|(name, acknowledged)| all_there(backend, name, *acknowledged))
}

#[test]
fn what_was_acknowledged_is_there_once_after_ten_times_sigkill() -> Result<()> {
    ten_times(&mut Backend::start()?)
}

#[test]
fn what_was_acknowledged_is_there_once_after_ten_times_sigkill_with_postgresql() -> Result<()> {
    let postgres = Postgres::start()?;
    ten_times(&mut Backend::start_on(postgres.url())?)
}

#[test]
fn a_clean_stop_keeps_everything() -> Result<()> {
    let mut stage = Stage::new("stop")?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let messages = ladder::expected("call")?.len();
    stage.backend.call(&placed.call_id, messages)?;
    stage.backend.stop()?;
    stage.backend.restart()?;
    let call = stage.backend.call(&placed.call_id, messages)?;
    assert_eq!(call["outcome"], "answered");
    Ok(())
}
