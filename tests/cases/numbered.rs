//! Messages with numbers, so that it can be told which of them are there, and how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, Observed, eventually};

/// Records that are on disk.
pub const DURABLE: &str = "siplens_spool_records_durable_total";

/// Messages in the store, as far as this process of the backend put them there.
pub const STORED: &str = "siplens_store_messages_total";

/// Copies that searches left out.
const DUPLICATES: &str = "siplens_search_duplicates_total";

/// Sends numbered messages of a session, each a call of its own, with a pause after each, until told to stop or the
/// backend is gone; how many.
pub fn load(mut agent: Agent, session: &str, pause: Duration, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) && agent.send(&message(session, sent)).is_ok() {
        sent += 1;
        std::thread::sleep(pause);
    }
    sent
}

/// The same while `meanwhile` is at work; how many were sent.
pub fn load_while(
    agent: Agent,
    session: &str,
    pause: Duration,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| load(agent, session, pause, &stop));
        let result = meanwhile();
        let broken = sender.is_finished();
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        result?;
        ensure!(!broken, "the stream broke after {sent} messages");
        Ok(sent)
    })
}

/// Message `number` of a session.
pub fn message(session: &str, number: u64) -> Observed {
    Observed::request("OPTIONS", &format!("{session}-{number:06}"), 1).in_session(session)
}

/// Sends so many messages of a session, and waits until a metric says of as many more what it says.
pub fn send_until(metric: &str, backend: &Backend, session: &str, count: u64) -> Result<()> {
    let before = backend.api().metric(metric)?;
    let mut agent = Agent::tcp(backend.hep())?;
    (0..count).try_for_each(|number| agent.send(&message(session, number)))?;
    eventually(metric, Duration::from_secs(60), || {
        let now = backend.api().metric(metric)? - before;
        ensure!(now >= count as f64, "{now} of {count}");
        Ok(())
    })
}

/// Which messages of a session are there, in order; fails if one is there twice.
pub fn found(backend: &Backend, session: &str) -> Result<Vec<u64>> {
    let api = backend.api();
    let before = api.metric(DUPLICATES)?;
    let messages = api.all(&format!("/api/v1/messages?correlation_id={session}&limit=1000"))?;
    let copies = api.metric(DUPLICATES)? - before;
    ensure!(copies == 0.0, "{copies} messages of {session} are stored twice");
    let number = |item: &serde_json::Value| {
        item["call_id"].as_str()?.strip_prefix(session)?.strip_prefix('-')?.parse::<u64>().ok()
    };
    let mut numbers: Vec<_> = messages.iter().filter_map(number).collect();
    numbers.sort_unstable();
    let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
    ensure!(twice.is_none(), "message {twice:?} of {session} is listed twice");
    Ok(numbers)
}

/// Waits until the first `acknowledged` messages of a session are there, each once; of those behind them each once or not
/// at all.
pub fn all_there(backend: &Backend, session: &str, acknowledged: u64) -> Result<()> {
    eventually(&format!("{acknowledged} messages of {session}"), Duration::from_secs(60), || {
        let session = backend.api().get(&format!("/api/v1/sessions/{session}"))?;
        ensure!(session["messages"].as_u64() >= Some(acknowledged), "{}", session["messages"]);
        Ok(())
    })?;
    let numbers = found(backend, session)?;
    for (expected, found) in (0..acknowledged).zip(&numbers) {
        ensure!(expected == *found, "message {expected} of {acknowledged} of {session} is missing");
    }
    Ok(())
}

/// The same where nothing else was sent.
pub fn exactly(backend: &Backend, session: &str, sent: u64) -> Result<()> {
    all_there(backend, session, sent)?;
    let count = found(backend, session)?.len() as u64;
    ensure!(count == sent, "{count} of {sent} messages of {session}");
    Ok(())
}
