//! Searches on a real streaming replica of the database: what it has, what it has not got yet, and what when it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{Backend, BackendSetup, Postgres, eventually};

use crate::numbered::{STORED, send_until};

const LIMIT: Duration = Duration::from_secs(60);
const UP: &str = "siplens_store_replica_up";
const FALLBACKS: &str = "siplens_store_replica_fallbacks_total";
const CONFLICTS: &str = "siplens_store_replica_conflicts_total";

fn start(primary: &Postgres, replica: &Postgres) -> Result<Backend> {
    let config = format!("[database]\nread_url = \"{}\"\n", replica.url());
    Backend::start_with(BackendSetup {
        database_url: Some(primary.url().to_owned()),
        config: Some(config),
        ..BackendSetup::default()
    })
}

/// How many messages of a session searches find.
fn found(backend: &Backend, session: &str) -> Result<u64> {
    let answer = backend.api().fetch(&format!("/api/v1/sessions/{session}"))?;
    ensure!(matches!(answer.status, 200 | 404), "{} {}", answer.status, answer.text());
    Ok(if answer.status == 404 { 0 } else { answer.json()?["messages"].as_u64().unwrap_or(0) })
}

fn finds(backend: &Backend, session: &str, count: u64) -> Result<()> {
    eventually("messages of a session", LIMIT, || {
        let found = found(backend, session)?;
        ensure!(found == count, "{found} of {count} messages of {session}");
        Ok(())
    })
}

#[test]
fn searches_read_a_streaming_replica_as_far_as_it_has_got_and_the_database_while_it_is_away() -> Result<()> {
    let primary = Postgres::start()?;
    let mut replica = primary.replica()?;
    ensure!(replica.run("select pg_is_in_recovery()")? == "t");
    let backend = start(&primary, &replica)?;
    send_until(STORED, &backend, "early", 200)?;
    finds(&backend, "early", 200)?;
    ensure!(backend.api().metric(UP)? == 1.0 && backend.api().metric(FALLBACKS)? == 0.0, "{}", backend.log());

    // What it has not replayed is not found; what it had before is.
    replica.run("select pg_wal_replay_pause()")?;
    send_until(STORED, &backend, "late", 150)?;
    ensure!(found(&backend, "late")? == 0);
    ensure!(found(&backend, "early")? == 200);
    replica.run("select pg_wal_replay_resume()")?;
    finds(&backend, "late", 150)?;
    ensure!(backend.api().metric(FALLBACKS)? == 0.0);

    // It stops: the database itself is read. It hangs: the same, after five seconds.
    replica.stop()?;
    send_until(STORED, &backend, "without", 100)?;
    ensure!(found(&backend, "without")? == 100);
    ensure!(backend.api().metric(UP)? == 0.0 && backend.api().metric(FALLBACKS)? > 0.0);
    replica.start_again()?;
    eventually("the replica", LIMIT, || {
        finds(&backend, "without", 100)?;
        ensure!(backend.api().metric(UP)? == 1.0);
        Ok(())
    })?;
    replica.freeze()?;
    let begun = Instant::now();
    ensure!(found(&backend, "without")? == 100);
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(15), "{took:?}");
    ensure!(backend.api().metric(UP)? == 0.0);
    replica.thaw()?;
    let said = backend.log().matches("the read replica failed").count();
    ensure!(said == 2, "{said} alarms for two failures\n{}", backend.log());
    Ok(())
}

#[test]
fn a_search_that_the_replica_cancels_for_what_it_replays_is_answered_by_the_database() -> Result<()> {
    let primary = Postgres::start()?;
    let replica = primary.replica()?;
    // Replaying waits for no query, so each that is in its way is cancelled.
    replica.run("alter system set max_standby_streaming_delay = 0; select pg_reload_conf()")?;
    let backend = start(&primary, &replica)?;
    send_until(STORED, &backend, "conflict", 3000)?;
    finds(&backend, "conflict", 3000)?;
    // Vacuuming away what a snapshot of the replica may still see conflicts with every one that is open there.
    primary.run("create table churn (n bigint)")?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let searching: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let found = found(&backend, "conflict")?;
                        ensure!(found == 3000, "{found} of 3000");
                    }
                    Ok(())
                })
            })
            .collect();
        // What is cleaned away while replaying stands still is replayed at once, under whoever is reading then.
        let conflict = eventually("a search that was cancelled", Duration::from_secs(120), || {
            replica.run("select pg_wal_replay_pause()")?;
            primary.run("insert into churn select generate_series(1, 2000); delete from churn")?;
            primary.run("vacuum churn")?;
            replica.run("select pg_wal_replay_resume()")?;
            ensure!(backend.api().metric(CONFLICTS)? > 0.0, "none was in the way");
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let searched = searching
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a search panicked"))?);
        searched.and(conflict)
    })?;
    // One that is in the way is no sign that the replica is away.
    ensure!(backend.api().metric(UP)? == 1.0, "{}", backend.log());
    ensure!(!backend.log().contains("the read replica failed"), "{}", backend.log());
    Ok(())
}
