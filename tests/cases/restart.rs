//! What the backend has acknowledged survives its death.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Agent, Backend, Call, Observed, Postgres, Proxy, eventually, ladder};

use crate::stage::Stage;

const DURABLE: &str = "siplens_spool_records_durable_total";

/// Sends numbered messages, each a call of its own, until told to stop or the backend is gone.
fn load(mut agent: Agent, round: &str, stop: &AtomicBool) -> usize {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let message = Observed::request("OPTIONS", &format!("{round}-{sent:06}"), 1).in_session(round);
        if agent.send(&message).is_err() {
            break;
        }
        sent += 1;
    }
    sent
}

/// Kills the backend in the middle of a stream and returns how many messages it had acknowledged by then.
fn kill_under_load(backend: &mut Backend, round: &str) -> Result<u64> {
    let agent = Agent::tcp(backend.hep())?;
    let stop = AtomicBool::new(false);
    let before = backend.api().metric(DURABLE)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| load(agent, round, &stop));
        let acknowledged = eventually("2,000 acknowledged messages", Duration::from_secs(60), || {
            let count = backend.api().metric(DURABLE)? - before;
            ensure!(count >= 2_000.0, "{count}");
            Ok(count)
        });
        let killed = backend.kill();
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        killed?;
        let acknowledged = acknowledged? as u64;
        ensure!(sent as u64 >= acknowledged, "{sent} sent, {acknowledged} acknowledged");
        Ok(acknowledged)
    })
}

/// One connection keeps the order, so what was acknowledged is exactly the first messages.
fn all_there(backend: &Backend, round: &str, acknowledged: u64) -> Result<()> {
    backend.session(round, acknowledged)?;
    let calls = backend.api().all(&format!("/api/v1/sessions/{round}/calls?limit=1000"))?;
    let mut ids: Vec<_> = calls.iter().filter_map(|call| call["call_id"].as_str()).collect();
    ids.sort_unstable();
    let copies = ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
    ensure!(copies == 0, "{copies} calls are listed twice");
    for (number, id) in ids.iter().enumerate().take(usize::try_from(acknowledged)?) {
        ensure!(
            *id == format!("{round}-{number:06}"),
            "message {number} of {acknowledged} is missing: {id} in its place"
        );
    }
    ensure!(calls.iter().all(|call| call["message_count"] == 1), "a message is stored twice");
    Ok(())
}

#[test]
fn what_was_acknowledged_is_there_after_sigkill() -> Result<()> {
    let mut backend = Backend::start()?;
    let first = kill_under_load(&mut backend, "first")?;
    backend.restart()?;
    all_there(&backend, "first", first)?;
    let second = kill_under_load(&mut backend, "second")?;
    backend.restart()?;
    all_there(&backend, "first", first)?;
    all_there(&backend, "second", second)
}

#[test]
fn what_was_acknowledged_is_there_after_sigkill_with_postgresql() -> Result<()> {
    let postgres = Postgres::start()?;
    let mut backend = Backend::start_on(postgres.url())?;
    let acknowledged = kill_under_load(&mut backend, "load")?;
    backend.restart()?;
    all_there(&backend, "load", acknowledged)
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
