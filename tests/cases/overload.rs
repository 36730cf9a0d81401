//! More comes than can be stored: memory stays below its budget, streams lose nothing, and each lost datagram is counted.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::paths;

/// The least budget there is, and a spool that is full after a moment.
const CONFIG: &str =
    "[memory]\nbudget_bytes = 134_217_728\n[spool]\nmax_bytes = 8_388_608\nsegment_bytes = 1_048_576\n";
const BUDGET_MIB: f64 = 128.0;

/// Sends as fast as it can, which is several times what a backend in the debug profile stores, and gives the table.
fn flood(transport: &str, messages: &str) -> Result<String> {
    let config = tempfile::NamedTempFile::new()?;
    std::fs::write(config.path(), CONFIG)?;
    let output = Command::new(paths::backend_binary()?)
        .args(["bench", "run", "--transport", transport, "--messages", messages])
        .args(["--visible-rate", "0", "--no-lookups", "--backend-config"])
        .arg(config.path())
        .output()?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    ensure!(output.status.success(), "{text}");
    Ok(text)
}

fn value(table: &str, row: &str) -> Result<f64> {
    let line =
        table.lines().find_map(|line| line.strip_prefix(row)).with_context(|| format!("{row}: {table}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

#[test]
fn a_flood_over_tcp_is_held_back_and_loses_nothing() -> Result<()> {
    let table = flood("tcp", "100000")?;
    assert_eq!(value(&table, "messages stored")?, 100_000.0, "{table}");
    let memory = value(&table, "largest resident memory of the backend")?;
    assert!(memory < BUDGET_MIB, "{table}");
    Ok(())
}

#[test]
fn a_flood_of_datagrams_loses_only_what_is_counted() -> Result<()> {
    let table = flood("udp", "200000")?;
    let lost = value(&table, "datagrams dropped by the kernel")? + value(&table, "packets refused")?;
    assert_eq!(value(&table, "messages stored")? + lost, 200_000.0, "{table}");
    assert!(lost > 0.0, "this was no overload: {table}");
    assert!(value(&table, "largest resident memory of the backend")? < BUDGET_MIB, "{table}");
    Ok(())
}
