//! Reads what the target OpenSIPS says of itself, and picks the row of the table that describes it.
//!
//! - `OPENSIPS_BIN`: the target's binary; asked for `-V`. Used for this only if `OPENSIPS_VERSION_TEXT` is not set.
//! - `OPENSIPS_VERSION_TEXT`: a file with what `opensips -V` printed. Default: the newest in `versions`.
//! - `OPENSIPS_ASSUME`: a known release whose table is to be used for one that is not known, such as `3.6.8`.
//! - `OPENSIPS_SRC`: the target's source; then the table's row is compared with its headers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

#[path = "build/layout.rs"]
mod layout;
#[path = "src/rows.rs"]
mod rows;
#[path = "build/target.rs"]
mod target;

use target::Target;

/// What is built when nothing names a target: so that `cargo check` works anywhere.
const DEFAULT_TEXT: &str = "versions/3.6.8.txt";

fn main() -> Result<()> {
    for variable in ["OPENSIPS_BIN", "OPENSIPS_VERSION_TEXT", "OPENSIPS_ASSUME", "OPENSIPS_SRC"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for path in ["build.rs", "build", "src/rows.rs", "checks"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rustc-check-cfg=cfg(send_gets_message)");

    let target = Target::parse(&version_text()?)?;
    let index = row(&target)?;
    let row = rows::ROWS.get(index).context("no such row")?;
    if row.send_gets_message {
        println!("cargo::rustc-cfg=send_gets_message");
    }
    if let Some(source) = env::var_os("OPENSIPS_SRC").filter(|value| !value.is_empty()) {
        layout::check(Path::new(&source), row, &target)?;
    }

    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    fs::write(
        out.join("target.rs"),
        format!(
            "/// Where things lie in the OpenSIPS that this is built for.\n\
             pub const ROW: Row = ROWS[{index}];\n\
             /// What the core calls itself; compared when a module is loaded.\n\
             pub const FULL_VERSION: &std::ffi::CStr = c{:?};\n\
             /// The core's compile flags; compared when a module is loaded.\n\
             pub const COMPILE_FLAGS: &std::ffi::CStr = c{:?};\n\
             /// What the core's source was kept in; compared when a module is loaded.\n\
             pub const SCM_TYPE: &std::ffi::CStr = c{:?};\n",
            target.full_version, target.flags, target.scm_type
        ),
    )?;
    println!("cargo::metadata=version={}", target.full_version);
    Ok(())
}

fn version_text() -> Result<String> {
    let read = |path: &Path| {
        println!("cargo::rerun-if-changed={}", path.display());
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    if let Some(path) = env::var_os("OPENSIPS_VERSION_TEXT").filter(|value| !value.is_empty()) {
        return read(Path::new(&path));
    }
    let Some(binary) = env::var_os("OPENSIPS_BIN").filter(|value| !value.is_empty()) else {
        return read(Path::new(DEFAULT_TEXT));
    };
    println!("cargo::rerun-if-changed={}", Path::new(&binary).display());
    let output = Command::new(&binary).arg("-V").output();
    let output = output.with_context(|| format!("running {} -V", Path::new(&binary).display()))?;
    ensure!(output.status.success(), "{} -V: {}", Path::new(&binary).display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn row(target: &Target) -> Result<usize> {
    if let Some(index) = rows::row_of(target.version) {
        return Ok(index);
    }
    let known: Vec<String> = rows::ROWS
        .iter()
        .map(|row| format!("{} to {}", target::dotted(row.first), target::dotted(row.last)))
        .collect();
    let Some(assumed) = env::var("OPENSIPS_ASSUME").ok().filter(|value| !value.is_empty()) else {
        bail!(
            "\"{}\" is not in the table of known versions ({}): its structs may differ, so nothing is built. \
             If you know better, set OPENSIPS_ASSUME to the release whose table fits, and OPENSIPS_SRC to its source \
             to have that checked",
            target.full_version,
            known.join(", ")
        );
    };
    let index = target::release(&assumed).and_then(rows::row_of);
    let index = index.with_context(|| {
        format!("OPENSIPS_ASSUME={assumed}: expected a known release ({})", known.join(", "))
    })?;
    println!("cargo::warning={} is not in the table; that of {assumed} is used for it", target.full_version);
    Ok(index)
}
