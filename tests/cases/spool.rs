//! What waits in the spool can be looked at, and sent elsewhere.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, BackendSetup, answered_call, eventually};

/// A backend that was killed with six packets in its spool, and the segment that they are in.
struct LeftBehind {
    backend: Backend,
    file: String,
}

fn inspect(backend: &Backend) -> Result<String> {
    let output = backend.run(&["spool", "inspect"], "")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn left_behind() -> Result<LeftBehind> {
    // Nothing is stored before it is killed.
    let config = "[spool]\nflush_milliseconds = 60_000\n".to_owned();
    let mut lost = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    Agent::tcp(lost.hep())?.send_all(&answered_call("left@host", "session", Duration::ZERO))?;
    eventually("six records on disk", Duration::from_secs(20), || {
        let durable = lost.api().metric("siplens_spool_records_durable_total")?;
        ensure!(durable >= 6.0, "{durable}");
        Ok(())
    })?;
    assert!(inspect(&lost)?.contains("  6 records  "), "also beside the backend: {}", inspect(&lost)?);
    lost.kill()?;
    let told = inspect(&lost)?;
    let file =
        told.lines().find(|line| line.contains("  6 records  ")).and_then(|line| line.split("  ").next());
    let file = file.unwrap_or_default().to_owned();
    Ok(LeftBehind { backend: lost, file })
}

#[test]
fn a_spool_that_was_left_behind_is_inspected_and_replayed() -> Result<()> {
    let LeftBehind { backend: lost, file } = left_behind()?;
    let other = Backend::start()?;
    let to = other.hep().to_string();
    let output = other.run(&["spool", "replay", "--to", &to, &file], "")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout)?, format!("{file}  6 packets sent\n"));
    other.call("left@host", 6)?;
    assert!(inspect(&lost)?.contains("  6 records  "), "nothing is taken out");
    Ok(())
}

#[test]
fn a_backend_that_requires_keys_takes_a_replay_that_has_one() -> Result<()> {
    let left = left_behind()?;
    let file = left.file.clone();
    let config = "[admission]\nrequire_key = true\n".to_owned();
    let other = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    let made = other.run(&["agent-key", "add", "replay"], "")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = tempfile::NamedTempFile::new()?;
    std::fs::write(key.path(), made.stdout)?;
    let (to, key) = (other.hep().to_string(), key.path().display().to_string());
    let without = other.run(&["spool", "replay", "--to", &to, &file], "")?;
    let told = String::from_utf8_lossy(&without.stderr);
    ensure!(!without.status.success() && told.contains("--key-file"), "{told}");
    // The backend reads its keys again every five seconds.
    eventually("a replay that is taken", Duration::from_secs(30), || {
        let output = other.run(&["spool", "replay", "--to", &to, "--key-file", &key, &file], "")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })?;
    other.call("left@host", 6)?;
    Ok(())
}
