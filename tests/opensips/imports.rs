//! What the built file asks of a host, and what it shows: a new symbol is a decision.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::VERSIONS;

/// The core's symbols, as `ffi/opensips-sys/src/host.rs` lists them.
const OF_THE_HOST: &[&str] = &[
    "__register_script_cb",
    "add_mi_array",
    "add_mi_number",
    "add_mi_object",
    "add_mi_string",
    "count_child_processes",
    "dprint",
    "get_mi_string_param",
    "init_mi_error_extra",
    "init_mi_result_object",
    "log_facility",
    "log_level",
    "log_prefix",
    "module_loaded",
    "process_no",
    "protos",
    "pv_parse_format",
    "pv_printf_s",
    "register_post_raw_processing_cb",
    "register_pre_raw_processing_cb",
    "route_type",
];

/// The C runtime's own, weak and of no version.
const OF_THE_RUNTIME: &[&str] =
    &["_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__"];

fn symbols(module: &Path, which: &str) -> Result<Vec<(String, String)>> {
    let output = Command::new("nm").args(["-D", which]).arg(module).output().context("nm")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let parts = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().rev();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    Ok(parts.collect())
}

#[test]
fn a_module_imports_what_is_listed_and_nothing_else_of_the_host() -> Result<()> {
    let wanted: BTreeSet<_> =
        OF_THE_HOST.iter().chain(OF_THE_RUNTIME).map(|name| (*name).to_owned()).collect();
    for version in VERSIONS {
        // Those of the C library carry a version.
        let found: BTreeSet<_> = symbols(&version.module(), "--undefined-only")?
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !name.contains('@'))
            .collect();
        ensure!(found == wanted, "{}: {:?}", version.release, found.symmetric_difference(&wanted));
    }
    Ok(())
}

#[test]
fn a_module_exports_its_description_as_data() -> Result<()> {
    for version in VERSIONS {
        let found = symbols(&version.module(), "--defined-only")?;
        let kinds: Vec<_> =
            found.iter().filter(|(name, _)| name == "exports").map(|(_, kind)| kind.as_str()).collect();
        ensure!(matches!(kinds[..], ["D" | "B" | "R"]), "{}: {found:?}", version.release);
    }
    Ok(())
}
