//! What is too old goes by itself, and it can be seen beforehand.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::Postgres;
use harness::{Agent, Backend, BackendSetup, answered_call, eventually};

/// Longer than the backend takes to look for what may go.
const LIMIT: Duration = Duration::from_secs(90);
const HOUR: Duration = Duration::from_secs(3600);
const CONFIG: &str = "[retention]\nhours = 2\n";

fn plan(backend: &Backend) -> Result<String> {
    let output = backend.run(&["retention", "plan"], "")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn old_calls_go(postgres: Option<&Postgres>) -> Result<()> {
    let database_url = postgres.map(|server| server.url().to_owned());
    let kept = BackendSetup { config: Some(CONFIG.to_owned()), database_url, ..BackendSetup::default() };
    let mut backend = Backend::start_with(kept)?;
    Agent::tcp(backend.hep())?.send_all(&answered_call("old@host", "session", 5 * HOUR))?;
    backend.session("session", 6)?;
    backend.stop()?;
    if let Some(server) = postgres {
        // A partition goes when its hour of arrival is over. As if that call had come in when it was captured:
        server.run("update bucket set hour = hour - 5")?;
    }
    backend.restart()?;
    Agent::tcp(backend.hep())?.send_all(&answered_call("new@host", "session", HOUR))?;
    let told = eventually("a plan or its execution", LIMIT, || {
        let told = plan(&backend)?;
        ensure!(told.contains("octets would go"), "{told}");
        backend.call("new@host", 6)?;
        Ok(told)
    })?;
    // The backend may have been quicker than the plan.
    assert!(told.contains("  age\n") || told.starts_with("0 of "), "{told}");
    eventually("the old call's end", LIMIT, || {
        ensure!(backend.api().fetch("/api/v1/calls/old@host")?.status == 404);
        Ok(())
    })?;
    backend.call("new@host", 6)?;
    assert!(plan(&backend)?.starts_with("0 of "));
    ensure!(backend.api().metric("siplens_retention_removed_bytes_total")? > 0.0);
    Ok(())
}

#[test]
fn calls_that_are_too_old_go_from_the_embedded_store() -> Result<()> {
    old_calls_go(None)
}

#[test]
fn calls_that_are_too_old_go_from_postgresql() -> Result<()> {
    let server = Postgres::start()?;
    old_calls_go(Some(&server))
}

#[test]
fn a_disk_that_is_nearly_full_is_told_and_the_newest_stays() -> Result<()> {
    // More than any disk has free.
    let config = "[retention]\ndisk_free_bytes = 9_000_000_000_000_000_000\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    Agent::tcp(backend.hep())?.send_all(&answered_call("kept@host", "session", Duration::ZERO))?;
    backend.call("kept@host", 6)?;
    eventually("a word about the disk", LIMIT, || {
        let ready = backend.api().fetch("/readyz")?;
        ensure!(ready.status == 503, "{}", ready.text());
        ensure!(backend.log().contains("the disk is nearly full"), "{}", backend.log());
        Ok(())
    })?;
    backend.call("kept@host", 6)?;
    Ok(())
}
