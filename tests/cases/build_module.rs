//! `scripts/build-module` says what does not fit together, and builds nothing then.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::paths;

/// What it says; it must fail.
fn refusal(variables: &[(&str, &Path)]) -> Result<String> {
    let mut command = Command::new(paths::repository().join("scripts/build-module"));
    command.arg("--dev").env_remove("KAMAILIO_ROOT");
    command.envs(variables.iter().copied());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && output.stdout.is_empty(), "it was built all the same\n{said}");
    Ok(said)
}

/// A shared object that says of itself what a module of another Kamailio would.
fn module(dir: &Path, version: &str, flags: &str) -> Result<PathBuf> {
    let (source, object) = (dir.join("module.c"), dir.join("module.so"));
    std::fs::write(
        &source,
        format!("char *module_version = \"{version}\";\nchar *module_flags = \"{flags}\";\n"),
    )?;
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&object, &source])
        .status()
        .context("cc")?;
    ensure!(built.success(), "cc: {built}");
    Ok(object)
}

#[test]
fn headers_modules_and_versions_that_do_not_fit_are_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = dir.path().join("text");
    std::fs::write(&text, "no module")?;
    let missing = dir.path().join("missing.so");
    for (variables, expected) in [
        ([("KAMAILIO_SRC", dir.path())], "holds no core/sr_module.h"),
        ([("KAMAILIO_MODULE", &*missing)], "missing.so is not there; it should be a module of the Kamailio"),
        ([("KAMAILIO_MODULE", &*text)], "is not an ELF file"),
        ([("KAMAILIO_ROOT", dir.path())], "was not made by scripts/kamailio-root"),
    ] {
        let said = refusal(&variables)?;
        ensure!(said.contains(expected), "expected \"{expected}\"\n{said}");
    }
    for (version, flags, expected) in [
        (
            "kamailio 4.4.4 (x86_64/linux)",
            "USE_TCP",
            "the installed one is 4.4.4: struct layouts may differ, so nothing is built",
        ),
        ("something else", "USE_TCP", "expected \"name version (arch/os)\""),
        (
            "kamailio 5.6.3 (x86_64/linux)",
            "USE_TCP, NEVER-HEARD-OF",
            "no define is known for \"NEVER-HEARD-OF\"",
        ),
    ] {
        let said = refusal(&[("KAMAILIO_MODULE", &module(dir.path(), version, flags)?)])?;
        ensure!(said.contains(expected), "expected \"{expected}\"\n{said}");
    }
    Ok(())
}
