//! The store is away or stands still under load, and comes back: nothing is lost, nothing is stored twice.
//!
//! SIPLENS_OUTAGE_SECONDS says how long it is away (5 if it is not set; `./test --full` takes 60).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, Postgres, eventually};

use crate::numbered::{STORED, exactly, load_while};

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
    back: impl FnOnce(&mut Postgres) -> Result<()>,
) -> Result<()> {
    let mut postgres = Postgres::start()?;
    let backend = Backend::start_on(postgres.url())?;
    let outage = outage()?;
    let sent = load_while(Agent::tcp(backend.hep())?, "outage", PAUSE, || {
        some_stored(&backend)?;
        away(&mut postgres)?;
        let stored = backend.api().metric(STORED)?;
        std::thread::sleep(outage);
        let now = backend.api().metric(STORED)?;
        // One flush may have been on its way.
        ensure!(now - stored < outage.as_secs_f64() * 250.0, "{} were stored meanwhile", now - stored);
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

#[test]
fn a_database_that_stands_still_costs_nothing() -> Result<()> {
    survives(|postgres| postgres.freeze(), |postgres| postgres.thaw())
}

#[test]
fn a_database_that_crashes_and_comes_back_costs_nothing() -> Result<()> {
    survives(Postgres::stop, Postgres::start_again)
}
