//! A Homer 7 database is copied: every row once, whatever stops it in the middle, and nothing is written to it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::Postgres;
use harness::process::Process;
use harness::{Backend, BackendSetup, Clickhouse, eventually, paths};

const LIMIT: Duration = Duration::from_secs(60);

/// A server with a database as Homer has it, and these files of `tests/scenarios/homer` in it.
fn homer(files: &[&str]) -> Result<Postgres> {
    let server = Postgres::start()?;
    server.psql("siplens", "create database homer_data")?;
    for file in ["schema.sql"].iter().chain(files) {
        let text = std::fs::read_to_string(paths::scenario("homer").join(file))?;
        server.psql("homer_data", &text).with_context(|| (*file).to_owned())?;
    }
    Ok(server)
}

fn from(homer: &Postgres) -> String {
    homer.url_of("homer_data").replace("siplens@", "reader@")
}

fn migrate(backend: &Backend, homer: &Postgres, more: &[&str]) -> Result<String> {
    let url = from(homer);
    let mut arguments = vec!["migrate-homer", "--from", &url];
    arguments.extend(more);
    let output = backend.run(&arguments, "")?;
    let (told, error) =
        (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
    ensure!(output.status.success(), "{told}{error}");
    Ok(told)
}

/// Begins to copy; the first table's rows are being copied when it returns, or all is over.
fn begin_migration(backend: &Backend, homer: &Postgres, more: &[&str]) -> Result<Process> {
    let url = from(homer);
    let mut arguments = vec!["migrate-homer", "--from", &url];
    arguments.extend(more);
    let mut running = backend.begin(&arguments)?;
    eventually("the first table", LIMIT, || {
        ensure!(running.exited().is_some() || running.log().contains("hep_proto_1_call: about"));
        Ok(())
    })?;
    Ok(running)
}

/// Begins to copy again and again, and kills it so long after it began.
fn kill_migrations(
    backend: &Backend,
    homer: &Postgres,
    pauses: impl Iterator<Item = Duration>,
) -> Result<()> {
    let mut kills = 0;
    for pause in pauses {
        let mut running = begin_migration(backend, homer, &[])?;
        std::thread::sleep(pause);
        if running.exited().is_none() {
            running.kill()?;
            kills += 1;
        }
    }
    ensure!(kills > 0, "it was never killed");
    Ok(())
}

/// The messages of each session, all told; and none of them is there twice.
fn sum_of_sessions(backend: &Backend) -> Result<u64> {
    let mut sum = 0;
    for session in 0..100 {
        let found = backend.api().get(&format!("/api/v1/sessions/session-{session}"))?;
        ensure!(found["calls"] == 100, "session {session}: {found}");
        sum += found["messages"].as_u64().context("no count")?;
    }
    let twice = backend.api().metric("siplens_search_duplicates_total")?;
    ensure!(twice == 0.0, "{twice} messages are stored twice");
    Ok(sum)
}

#[test]
fn rows_of_every_kind_become_messages_and_broken_ones_are_counted() -> Result<()> {
    let homer = homer(&["rows.sql"])?;
    let mut backend = Backend::start()?;
    let error = migrate(&backend, &homer, &[]).err().context("it wrote beside a running backend")?;
    ensure!(format!("{error:#}").contains("the backend must not run meanwhile"), "{error:#}");
    backend.stop()?;
    let told = migrate(&backend, &homer, &[])?;
    let last = told.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        "done: 2513 copied, 5 of them without an address or port, 2 left out: no payload, 3 left out: no time",
        "{told}"
    );
    backend.restart()?;

    let call = backend.call("v6@host", 3)?;
    assert_eq!(call["outcome"], "busy");
    let message = &call["messages"][0];
    assert_eq!(
        (&message["src"], &message["dst"]),
        (&"[2001:db8::1]:5060".into(), &"[2001:db8::2]:5061".into())
    );
    assert_eq!((&message["transport"], &message["agent_name"]), (&"tcp".into(), &"edge-1".into()));
    // Two reports, what DNS said, and a log line are in its session.
    let session = backend.api().get("/api/v1/sessions/v6-session")?;
    assert_eq!((&session["calls"], &session["messages"]), (&1.into(), &3.into()), "{session}");
    let events = backend.api().all("/api/v1/messages?correlation_id=v6-session&kind=other&limit=100")?;
    let mut kinds: Vec<_> = events.iter().filter_map(|event| event["protocol_type"].as_u64()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [5, 34, 53, 100], "{events:?}");
    assert_eq!(backend.call("broken@host", 4)?["messages"][0]["src"], "0.0.0.0:0");
    assert_eq!(backend.api().get("/api/v1/sessions/pings")?["messages"], 2500);
    let found = backend.api().all("/api/v1/messages?kind=malformed&limit=100")?;
    assert_eq!(found.len(), 1, "{found:?}");
    let registers = backend.api().all("/api/v1/messages?method=REGISTER&limit=100")?;
    assert_eq!(registers.len(), 1);
    // The agents' password is nowhere.
    let all = backend.api().all("/api/v1/messages?correlation_id=v6-session&limit=100")?;
    assert!(!format!("{all:?}").contains("agents-secret"));

    backend.stop()?;
    let again = migrate(&backend, &homer, &[])?;
    assert!(again.ends_with("done: 0 copied, 3 left out: no time\n"), "{again}");
    // What Homer takes in meanwhile is copied by the next call.
    homer.psql(
        "homer_data",
        "insert into hep_proto_1_call (sid, create_date, raw) values ('late', now(), 'no SIP')",
    )?;
    let again = migrate(&backend, &homer, &[])?;
    assert!(again.contains("done: 1 copied"), "{again}");
    Ok(())
}

#[test]
fn a_migration_that_is_killed_again_and_again_copies_every_row_once() -> Result<()> {
    let homer = homer(&["calls.sql"])?;
    let mut backend = Backend::start()?;
    backend.stop()?;
    // Each time a little later, so that it is met in different places.
    kill_migrations(&backend, &homer, (0..8).map(|step| Duration::from_millis(150 * step)))?;
    let told = migrate(&backend, &homer, &[])?;
    ensure!(told.contains("hep_proto_1_call: copied up to "), "it began anew: {told}");
    backend.restart()?;
    assert_eq!(sum_of_sessions(&backend)?, 40_000);
    Ok(())
}

#[test]
fn a_backend_on_postgresql_goes_on_while_a_part_of_homers_rows_is_copied_and_stopped() -> Result<()> {
    let homer = homer(&["calls.sql"])?;
    let backend = Backend::start_on(homer.url())?;
    let half = homer.psql(
        "homer_data",
        "select to_char(current_date - interval '31 hours', 'YYYY-MM-DD\"T\"HH24:MI:SSOF:00')",
    )?;
    let wanted = homer.psql(
        "homer_data",
        "select count(*) from hep_proto_1_call where create_date < current_date - interval '31 hours'",
    )?;
    let mut running = begin_migration(&backend, &homer, &["--until", half.trim()])?;
    ensure!(running.terminate()?.success(), "{}", running.log());
    let told = migrate(&backend, &homer, &["--until", half.trim()])?;
    // The last line that says a number says it of the whole run.
    let copied = |text: &str| -> Option<u64> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("hep_proto_1_call: "));
        lines.filter_map(|rest| rest.split_once(" copied")?.0.parse().ok()).next_back()
    };
    let sum = copied(&running.log()).unwrap_or(0) + copied(&told).context("no count")?;
    assert_eq!(sum.to_string(), wanted.trim(), "{}{told}", running.log());
    let rest = migrate(&backend, &homer, &[])?;
    assert_eq!(copied(&rest), Some(40_000 - sum), "{rest}");
    assert_eq!(sum_of_sessions(&backend)?, 40_000);
    Ok(())
}

#[test]
fn a_migration_into_clickhouse_that_is_killed_copies_every_row_once() -> Result<()> {
    if !Clickhouse::is_there_for("a_migration_into_clickhouse_that_is_killed_copies_every_row_once") {
        return Ok(());
    }
    let homer = homer(&["calls.sql"])?;
    let shards = [Clickhouse::start()?, Clickhouse::start()?];
    let [one, two] = shards.each_ref().map(Clickhouse::url);
    let config = format!("[clickhouse]\nshards = [[\"{one}\"], [\"{two}\"]]\n");
    // It goes on meanwhile.
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    kill_migrations(&backend, &homer, (1..5).map(|step| Duration::from_millis(400 * step)))?;
    migrate(&backend, &homer, &[])?;
    assert_eq!(sum_of_sessions(&backend)?, 40_000);
    let again = migrate(&backend, &homer, &[])?;
    assert!(again.ends_with("done: 0 copied\n"), "{again}");
    Ok(())
}
