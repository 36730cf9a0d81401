//! What waits in the spool can be looked at, and sent elsewhere.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, BackendSetup, answered_call, eventually};

#[test]
fn a_spool_that_was_left_behind_is_inspected_and_replayed() -> Result<()> {
    // Nothing is stored before it is killed.
    let config = "[spool]\nflush_milliseconds = 60_000\n".to_owned();
    let mut lost = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    Agent::tcp(lost.hep())?.send_all(&answered_call("left@host", "session", Duration::ZERO))?;
    eventually("six records on disk", Duration::from_secs(20), || {
        let durable = lost.api().metric("siplens_spool_records_durable_total")?;
        ensure!(durable >= 6.0, "{durable}");
        Ok(())
    })?;
    let inspect = |backend: &Backend| -> Result<String> {
        let output = backend.run(&["spool", "inspect"], "")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    assert!(inspect(&lost)?.contains("  6 records  "), "also beside the backend: {}", inspect(&lost)?);
    lost.kill()?;
    let told = inspect(&lost)?;
    let file =
        told.lines().find(|line| line.contains("  6 records  ")).and_then(|line| line.split("  ").next());
    let file = file.unwrap_or_default().to_owned();

    let other = Backend::start()?;
    let to = other.hep().to_string();
    let output = other.run(&["spool", "replay", "--to", &to, &file], "")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout)?, format!("{file}  6 packets sent\n"));
    other.call("left@host", 6)?;
    assert!(inspect(&lost)?.contains("  6 records  "), "nothing is taken out");
    Ok(())
}
