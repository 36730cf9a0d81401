//! `siplens bench` measures, and finds again all that it sent.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Backend, eventually, paths};

fn bench(arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(paths::backend_binary()?).arg("bench").args(arguments).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(text)?))
}

/// The value in a row of the table.
fn value(table: &str, row: &str) -> Result<f64> {
    let line =
        table.lines().find_map(|line| line.strip_prefix(row)).with_context(|| format!("{row}: {table}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

#[test]
fn a_run_accounts_for_every_message_and_leaves_nothing_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = folder.path().display().to_string();
    let arguments = ["run", "--messages", "20000", "--simulated-rate", "100", "--visible-rate", "500"];
    let (success, table) = bench(&[&arguments[..], &["--visible-seconds", "2", "--folder", &at]].concat())?;
    ensure!(success, "{table}");
    assert_eq!(value(&table, "messages sent")?, 20_000.0);
    assert_eq!(value(&table, "messages stored")?, 20_000.0);
    assert_eq!(value(&table, "messages not accounted for")?, 0.0);
    assert!(value(&table, "octets of SIP")? > 600.0);
    for row in ["processor time of the backend", "largest resident memory", "disk, store"] {
        let line = table.lines().find(|line| line.starts_with(row)).with_context(|| table.clone())?;
        assert!(
            line.split_whitespace().any(|word| word.parse::<f64>().is_ok_and(|value| value > 0.0)),
            "{line}"
        );
    }
    assert!(value(&table, "messages of a Call-ID")? > 100.0, "{table}");
    ensure!(folder.path().read_dir()?.next().is_none(), "something is left in {at}");
    Ok(())
}

#[test]
fn datagrams_are_stored_or_counted_as_lost() -> Result<()> {
    let (success, table) =
        bench(&["run", "--messages", "30000", "--transport", "udp", "--visible-rate", "0", "--no-lookups"])?;
    ensure!(success, "{table}");
    assert_eq!(value(&table, "messages not accounted for")?, 0.0, "{table}");
    let (stored, dropped) =
        (value(&table, "messages stored")?, value(&table, "datagrams dropped by the kernel")?);
    assert_eq!(stored + dropped, 30_000.0, "{table}");
    Ok(())
}

#[test]
fn a_backend_that_runs_is_loaded_and_no_other_machine_by_mistake() -> Result<()> {
    let backend = Backend::start()?;
    let target = backend.hep().to_string();
    let (success, table) =
        bench(&["ingest", "--target", &target, "--messages", "5000", "--rate", "5000", "--seed", "7"])?;
    ensure!(success, "{table}");
    assert!((4000.0..5100.0).contains(&value(&table, "rate of sending")?), "{table}");
    eventually("5,000 stored messages", Duration::from_secs(30), || {
        let stored = backend.api().metric("siplens_store_messages_total")?;
        ensure!(stored == 5000.0, "{stored}");
        Ok(())
    })?;
    let (success, told) = bench(&["ingest", "--target", "192.0.2.1:9060"])?;
    assert!(!success && told.contains("--yes-remote"), "{told}");
    let (success, told) = bench(&["run", "--store", "mysql://x"])?;
    assert!(!success && told.contains("expected sqlite or postgres://"), "{told}");
    Ok(())
}
