//! The store is away or stands still under load, and comes back: nothing is lost, nothing is stored twice.
//!
//! SIPLENS_OUTAGE_SECONDS says how long it is away (5 if it is not set; `./test --full` takes 60).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, Postgres, eventually};

use crate::numbered::{DURABLE, STORED, exactly, load_while};

const LIMIT: Duration = Duration::from_secs(60);

/// From one message to the next.
const PAUSE: Duration = Duration::from_millis(2);

fn outage() -> Result<Duration> {
    let seconds = std::env::var("SIPLENS_OUTAGE_SECONDS").unwrap_or_else(|_| "5".to_owned());
    Ok(Duration::from_secs(seconds.parse().context("SIPLENS_OUTAGE_SECONDS")?))
}

fn some_stored(backend: &Backend) -> Result<()> {
    eventually("stored messages", LIMIT, || {
        let stored = backend.api().metric(STORED)?;
        ensure!(stored > 100.0, "{stored}");
        Ok(())
    })
}

/// Loads a backend, takes its database away for a while, and counts.
fn survives(
    away: impl FnOnce(&mut Postgres) -> Result<()>,
    meanwhile: impl FnOnce(&Backend) -> Result<()>,
    back: impl FnOnce(&mut Postgres) -> Result<()>,
) -> Result<()> {
    let mut postgres = Postgres::start()?;
    let backend = Backend::start_on(postgres.url())?;
    let outage = outage()?;
    let sent = load_while(Agent::tcp(backend.hep())?, "outage", PAUSE, || {
        some_stored(&backend)?;
        away(&mut postgres)?;
        let (stored, begun) = (backend.api().metric(STORED)?, Instant::now());
        meanwhile(&backend)?;
        std::thread::sleep(outage);
        let now = backend.api().metric(STORED)?;
        // One flush may have been on its way.
        ensure!(
            now - stored < begun.elapsed().as_secs_f64() * 50.0 + 500.0,
            "{} were stored meanwhile",
            now - stored
        );
        back(&mut postgres)?;
        eventually("more stored messages", LIMIT, || {
            ensure!(backend.api().metric(STORED)? > now);
            Ok(())
        })
    })?;
    ensure!(sent as f64 > outage.as_secs_f64() * 100.0, "only {sent} were sent");
    exactly(&backend, "outage", sent)?;
    eventually("readiness", LIMIT, || {
        let ready = backend.api().fetch("/readyz")?;
        ensure!(ready.status == 200, "{}", ready.text());
        Ok(())
    })
}

/// While the database does not answer: what the backend says, within which time.
fn says_so(backend: &Backend) -> Result<()> {
    let api = backend.api();
    let timed = |path: &str, status: u16, limit: Duration| {
        let begun = Instant::now();
        let answer = api.fetch(path)?;
        let took = begun.elapsed();
        ensure!(answer.status == status, "{path}: {} {}", answer.status, answer.text());
        ensure!(took < limit, "{path} took {took:?}");
        Ok(answer)
    };
    // The listener takes a second for itself on a busy machine; the bounds are 3, 5 and 8 s.
    let ready = timed("/readyz", 503, Duration::from_secs(6))?.text();
    ensure!(ready.contains("does not answer within 3 s") || ready.contains("the store is away"), "{ready}");
    for path in ["/api/v1/messages?limit=5", "/api/v1/calls/outage-000001", "/api/v1/sessions/outage"] {
        let answer = timed(path, 503, Duration::from_secs(16))?;
        ensure!(answer.error_code().as_deref() == Some("store_unavailable"), "{path}: {}", answer.text());
    }
    timed("/healthz", 200, Duration::from_secs(2))?;
    let before = api.metric(DURABLE)?;
    eventually("ingest that goes on", LIMIT, || {
        ensure!(api.metric(DURABLE)? > before + 100.0);
        Ok(())
    })
}

#[test]
fn a_database_that_stands_still_is_said_in_seconds_and_costs_nothing() -> Result<()> {
    survives(|postgres| postgres.freeze(), says_so, |postgres| postgres.thaw())
}

#[test]
fn a_database_that_crashes_and_comes_back_costs_nothing() -> Result<()> {
    survives(Postgres::stop, says_so, Postgres::start_again)
}
