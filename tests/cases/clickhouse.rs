//! Two backends on two ClickHouse servers: killed under load, a server killed or hanging and back again, with exact counts.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, BackendSetup, Clickhouse, eventually};
use serde_json::Value;

use crate::numbered::{STORED, exactly, load_while};

const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);

fn backend(shards: &[Clickhouse; 2]) -> Result<Backend> {
    let [one, two] = shards.each_ref().map(Clickhouse::url);
    let config = format!(
        "[clickhouse]\nshards = [[\"{one}\"], [\"{two}\"]]\ntimeout_seconds = 3\n[spool]\nflush_milliseconds = 200\n"
    );
    Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })
}

fn stored(backend: &Backend, least: f64) -> Result<()> {
    eventually("stored messages", LIMIT, || {
        let stored = backend.api().metric(STORED)?;
        ensure!(stored >= least, "{stored} of {least}");
        Ok(())
    })
}

fn session(backend: &Backend, id: &str) -> Result<Value> {
    backend.api().get(&format!("/api/v1/sessions/{id}"))
}

/// Takes one shard away while messages come in, and brings it back.
fn survives(
    away: impl FnOnce(&mut Clickhouse) -> Result<()>,
    back: impl FnOnce(&mut Clickhouse) -> Result<()>,
) -> Result<()> {
    let mut shards = [Clickhouse::start()?, Clickhouse::start()?];
    let (writer, reader) = (backend(&shards)?, backend(&shards)?);
    let before = load_while(Agent::tcp(writer.hep())?, "before", PAUSE, || stored(&writer, 300.0))?;
    exactly(&reader, "before", before)?;
    ensure!(session(&reader, "before")?["partial"] == false);

    let during = load_while(Agent::tcp(writer.hep())?, "during", PAUSE, || {
        stored(&writer, before as f64 + 100.0)?;
        away(&mut shards[1])?;
        let now = writer.api().metric(STORED)?;
        // Ingest goes on, into the shard that is left.
        stored(&writer, now + 300.0)
    })?;
    stored(&writer, (before + during) as f64)?;
    let some = session(&reader, "before")?;
    let count = some["messages"].as_u64().unwrap_or_default();
    ensure!(some["partial"] == true && count > 0 && count < before, "{count} of {before}: {some}");
    ensure!(reader.api().metric("siplens_store_servers_away")? == 1.0);
    let list = reader.api().get("/api/v1/messages?correlation_id=during&limit=10")?;
    ensure!(list["partial"] == true, "{list}");
    let absent = reader.api().fetch("/api/v1/calls/nowhere")?;
    ensure!(absent.status == 503, "{}", absent.text());

    back(&mut shards[1])?;
    eventually("both shards", LIMIT, || {
        let whole = session(&reader, "before")?;
        ensure!(whole["partial"] == false, "{whole}");
        Ok(())
    })?;
    exactly(&reader, "before", before)?;
    exactly(&reader, "during", during)?;
    let after = load_while(Agent::tcp(writer.hep())?, "after", PAUSE, || {
        stored(&writer, (before + during) as f64 + 200.0)
    })?;
    exactly(&reader, "after", after)?;
    ensure!(reader.api().metric("siplens_store_servers_away")? == 0.0);
    ensure!(reader.api().fetch("/api/v1/calls/nowhere")?.status == 404);
    Ok(())
}

#[test]
fn a_clickhouse_shard_that_is_killed_is_said_and_loses_nothing() -> Result<()> {
    if !Clickhouse::is_there_for("a_clickhouse_shard_that_is_killed_is_said_and_loses_nothing") {
        return Ok(());
    }
    survives(Clickhouse::kill, Clickhouse::restart)
}

#[test]
fn a_clickhouse_shard_that_hangs_is_said_and_loses_nothing() -> Result<()> {
    if !Clickhouse::is_there_for("a_clickhouse_shard_that_hangs_is_said_and_loses_nothing") {
        return Ok(());
    }
    survives(|shard| shard.freeze(), |shard| shard.thaw())
}

#[test]
fn what_was_acknowledged_is_there_once_after_ten_times_sigkill_with_clickhouse() -> Result<()> {
    if !Clickhouse::is_there_for(
        "what_was_acknowledged_is_there_once_after_ten_times_sigkill_with_clickhouse",
    ) {
        return Ok(());
    }
    let shards = [Clickhouse::start()?, Clickhouse::start()?];
    crate::restart::ten_times(&mut backend(&shards)?)
}

#[test]
fn with_all_clickhouse_shards_away_the_spool_keeps_what_comes() -> Result<()> {
    if !Clickhouse::is_there_for("with_all_clickhouse_shards_away_the_spool_keeps_what_comes") {
        return Ok(());
    }
    let mut shards = [Clickhouse::start()?, Clickhouse::start()?];
    let backend = backend(&shards)?;
    let sent = load_while(Agent::tcp(backend.hep())?, "outage", PAUSE, || {
        stored(&backend, 100.0)?;
        shards.iter_mut().try_for_each(Clickhouse::kill)?;
        eventually("a complaint", LIMIT, || {
            let ready = backend.api().fetch("/readyz")?;
            ensure!(ready.status == 503, "{}", ready.text());
            Ok(())
        })?;
        std::thread::sleep(Duration::from_secs(2));
        shards.iter_mut().try_for_each(Clickhouse::restart)
    })?;
    exactly(&backend, "outage", sent)
}
