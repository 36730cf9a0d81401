//! Where the built files and the repository are.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// The repository's root folder.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// The backend's binary: `SIPLENS_BIN`, else `target/debug/siplens`.
pub fn backend_binary() -> Result<PathBuf> {
    existing("SIPLENS_BIN", "target/debug/siplens", "build it with `cargo build -p siplens`")
}

/// The daemon's binary: `SIPLENS_AGENT_BIN`, else `target/debug/siplens-agent`.
pub fn agent_binary() -> Result<PathBuf> {
    existing(
        "SIPLENS_AGENT_BIN",
        "target/debug/siplens-agent",
        "build it with `cargo build -p siplens-agent`",
    )
}

/// The folder that holds `siplens.so` for Kamailio: `SIPLENS_MODULE_DIR`, else `build/kamailio`.
pub fn module_dir() -> Result<PathBuf> {
    let dir = existing("SIPLENS_MODULE_DIR", "build/kamailio", "build it with scripts/build-module")?;
    ensure!(dir.join("siplens.so").is_file(), "no siplens.so in {}: run scripts/build-module", dir.display());
    Ok(dir)
}

/// A program of Kamailio's: from the folder `KAMAILIO_ROOT` that scripts/kamailio-root made, else the installed one.
pub fn kamailio(program: &str) -> PathBuf {
    match std::env::var_os("KAMAILIO_ROOT") {
        Some(root) => repository().join(root).join("bin").join(program),
        None => program.into(),
    }
}

/// The folder that holds the `siplens.so` that panics on purpose, beside the other one.
pub fn panicking_module_dir() -> Result<PathBuf> {
    let mut dir = module_dir()?.into_os_string();
    dir.push("-forced-panics");
    let dir = PathBuf::from(dir);
    ensure!(
        dir.join("siplens.so").is_file(),
        "no siplens.so in {}: run scripts/build-module --forced-panics",
        dir.display()
    );
    Ok(dir)
}

/// A file below `tests/scenarios`.
pub fn scenario(name: &str) -> PathBuf {
    repository().join("tests/scenarios").join(name)
}

fn existing(variable: &str, default: &str, hint: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(value) => repository().join(value),
        None => repository().join(default),
    };
    ensure!(path.exists(), "{} is missing: {hint}, or set {variable}", path.display());
    Ok(path)
}
