//! The backend starts while its database is away: it takes what comes, says what is the matter, and stores all of it later.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, BackendSetup, Clickhouse, Postgres, eventually};

use crate::numbered::{DURABLE, exactly, message, send_until};

const LIMIT: Duration = Duration::from_secs(60);

/// What a backend says that has not reached its store since the start.
fn says_so(backend: &Backend) -> Result<()> {
    let api = backend.api();
    let ready = api.fetch("/readyz")?;
    ensure!(ready.status == 503 && ready.text().contains("the store is away"), "{}", ready.text());
    for path in ["/api/v1/messages", "/api/v1/calls/somewhere", "/api/v1/sessions/something", "/api/v1/links"]
    {
        let answer = api.fetch(path)?;
        ensure!(answer.status == 503, "{path}: {} {}", answer.status, answer.text());
        ensure!(answer.error_code().as_deref() == Some("store_unavailable"), "{path}: {}", answer.text());
    }
    ensure!(api.fetch("/healthz")?.status == 200);
    ensure!(api.metric("siplens_store_up")? == 0.0);
    let log = backend.log();
    let alarms = log.matches("the store cannot be reached yet").count();
    ensure!(alarms == 1, "{alarms} alarms\n{log}");
    Ok(())
}

fn ready(backend: &Backend) -> Result<()> {
    eventually("readiness", LIMIT, || {
        let ready = backend.api().fetch("/readyz")?;
        ensure!(ready.status == 200, "{}", ready.text());
        Ok(())
    })?;
    ensure!(backend.api().metric("siplens_store_up")? == 1.0);
    Ok(())
}

#[test]
fn a_backend_that_starts_before_its_database_stores_everything_once_it_is_there() -> Result<()> {
    let mut postgres = Postgres::start()?;
    postgres.stop()?;
    // There is nothing in the database yet, not even a table.
    let mut backend = Backend::start_on(postgres.url())?;
    send_until(DURABLE, &backend, "first", 700)?;
    says_so(&backend)?;
    let login = serde_json::json!({ "name": "someone", "password": "somepassword" });
    let login = backend.api().request("POST", "/api/v1/login", Some(&login))?;
    ensure!(login.status == 503, "{} {}", login.status, login.text());

    backend.kill()?;
    backend.restart()?;
    send_until(DURABLE, &backend, "second", 700)?;

    postgres.start_again()?;
    ready(&backend)?;
    exactly(&backend, "first", 700)?;
    exactly(&backend, "second", 700)?;
    // The link's key is made when it is first needed.
    let (_, url) = backend.link(&serde_json::json!({ "correlation_id": "first" }))?;
    ensure!(backend.api().fetch(&url)?.status == 200, "{url}");

    // A later start goes on where the store stands, though it cannot ask at first.
    send_until(DURABLE, &backend, "third", 50)?;
    exactly(&backend, "third", 50)?;
    backend.kill()?;
    postgres.stop()?;
    backend.restart()?;
    send_until(DURABLE, &backend, "fourth", 50)?;
    postgres.start_again()?;
    ready(&backend)?;
    for (session, count) in [("first", 700), ("second", 700), ("third", 50), ("fourth", 50)] {
        exactly(&backend, session, count)?;
    }
    // And one that stops in the meantime ends as told to, and keeps what waits.
    postgres.stop()?;
    backend.stop()?;
    backend.restart()?;
    send_until(DURABLE, &backend, "fifth", 50)?;
    backend.stop()?;
    postgres.start_again()?;
    backend.restart()?;
    exactly(&backend, "fifth", 50)
}

#[test]
fn what_a_database_refuses_ends_the_start_with_its_reason() -> Result<()> {
    let postgres = Postgres::start()?;
    let other_role = postgres.url().replace("siplens@", "stranger@");
    for (url, reason) in [
        (postgres.url_of("nowhere"), "database \"nowhere\" does not exist"),
        (other_role, "role \"stranger\" does not exist"),
    ] {
        let error = Backend::start_on(&url).err().context("it started")?;
        let text = format!("{error:#}");
        ensure!(text.contains("database.url") && text.contains(reason), "{text}");
    }
    postgres.run(
        "create table siplens_schema (version bigint not null); insert into siplens_schema values (99)",
    )?;
    let error = Backend::start_on(postgres.url()).err().context("it started")?;
    ensure!(format!("{error:#}").contains("found 99"), "{error:#}");
    Ok(())
}

#[test]
fn agents_keys_are_known_from_before_while_the_database_is_away() -> Result<()> {
    const KEY: &str = "a key of sixteen or more";
    let mut postgres = Postgres::start()?;
    let mut backend = Backend::start_with(BackendSetup {
        database_url: Some(postgres.url().to_owned()),
        config: Some("[admission]\nrequire_key = true\n".to_owned()),
        ..BackendSetup::default()
    })?;
    let added = backend.run(&["agent-key", "add", "edge", "--key-stdin"], &format!("{KEY}\n"))?;
    ensure!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let known = |backend: &Backend| {
        eventually("a packet that is taken", LIMIT, || {
            let before = backend.api().metric(DURABLE)?;
            Agent::udp(backend.hep())?.send(&message("known", 0).with_key(KEY))?;
            std::thread::sleep(Duration::from_millis(200));
            ensure!(backend.api().metric(DURABLE)? > before);
            Ok(())
        })
    };
    known(&backend)?;
    backend.kill()?;
    postgres.stop()?;
    backend.restart()?;
    known(&backend)?;
    let durable = backend.api().metric(DURABLE)?;
    Agent::udp(backend.hep())?.send(&message("unknown", 0).with_key("some other key, as long"))?;
    Agent::udp(backend.hep())?.send(&message("unknown", 1))?;
    let refused = |reason: &str| {
        let text = backend.api().fetch("/metrics")?.text();
        let line = text.lines().find(|l| l.starts_with("siplens_ingest_packets_total") && l.contains(reason));
        line.with_context(|| text.clone()).map(str::to_owned)
    };
    eventually("two refusals", LIMIT, || {
        let line = refused("\"refused\"").or_else(|_| refused("key"))?;
        ensure!(line.ends_with(" 2"), "{line}");
        Ok(())
    })?;
    ensure!(backend.api().metric(DURABLE)? == durable);
    Ok(())
}

#[test]
fn a_backend_that_starts_before_its_clickhouse_servers_stores_everything_once_they_are_there() -> Result<()> {
    let case = "a_backend_that_starts_before_its_clickhouse_servers_stores_everything_once_they_are_there";
    if !Clickhouse::is_there_for(case) {
        return Ok(());
    }
    let mut server = Clickhouse::start()?;
    server.kill()?;
    let config = format!("[clickhouse]\nshards = [[\"{}\"]]\ntimeout_seconds = 3\n", server.url());
    let mut backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    send_until(DURABLE, &backend, "first", 300)?;
    let ready = backend.api().fetch("/readyz")?;
    ensure!(ready.status == 503 && ready.text().contains("the store is away"), "{}", ready.text());
    ensure!(backend.api().fetch("/api/v1/messages")?.status == 503);
    backend.kill()?;
    backend.restart()?;
    send_until(DURABLE, &backend, "second", 300)?;
    server.restart()?;
    exactly(&backend, "first", 300)?;
    exactly(&backend, "second", 300)
}
