#![forbid(unsafe_code)]
//! Who may depend on whom, and where `unsafe` may stand. deny.toml says the first too, for those who have cargo-deny.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Each package of the workspace with those of the workspace it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("siplens", &["siplens-hep", "siplens-sip"]),
    ("siplens-agent", &["siplens-boundary", "siplens-capture"]),
    ("siplens-boundary", &[]),
    ("siplens-capture", &["siplens-hep", "siplens-sip"]),
    ("siplens-e2e", &["siplens-hep"]),
    ("siplens-hep", &[]),
    (
        "siplens-kamailio-mod",
        &["siplens-agent", "siplens-boundary", "siplens-capture", "siplens-kamailio-sys"],
    ),
    ("siplens-kamailio-sys", &[]),
    (
        "siplens-opensips-mod",
        &["siplens-agent", "siplens-boundary", "siplens-capture", "siplens-opensips-sys"],
    ),
    ("siplens-opensips-sys", &[]),
    ("siplens-sip", &[]),
];

/// What a package may use from outside; packages that are not named are free to choose.
const OUTSIDE: &[(&str, &[&str])] =
    &[("siplens-hep", &["memchr", "miniz_oxide", "thiserror"]), ("siplens-sip", &["memchr", "thiserror"])];

/// What a package must not use, by name.
const NEVER: &[(&str, &[&str])] = &[("siplens-capture", &["axum", "libc", "sqlx", "tokio"])];

/// The library roots that may hold `unsafe`.
const UNSAFE: &[&str] = &[
    "siplens-boundary",
    "siplens-kamailio-mod",
    "siplens-kamailio-sys",
    "siplens-opensips-mod",
    "siplens-opensips-sys",
];

#[test]
fn packages_use_only_what_the_flow_allows() -> Result<()> {
    let mut found = BTreeMap::new();
    for package in packages()? {
        let name = text(&package, "name")?;
        let ours = dependencies(&package, |edge| edge["path"].is_string())?;
        found.insert(name, ours);
    }
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let listed: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    ensure!(names == listed, "ARROWS lists {listed:?}, the workspace has {names:?}");
    for (name, allowed) in ARROWS {
        for used in &found[*name] {
            ensure!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
    Ok(())
}

#[test]
fn shared_crates_bring_little_with_them() -> Result<()> {
    for package in packages()? {
        let name = text(&package, "name")?;
        let outside = dependencies(&package, |edge| !edge["path"].is_string() && edge["kind"].is_null())?;
        for (_, allowed) in OUTSIDE.iter().filter(|(listed, _)| *listed == name) {
            for used in &outside {
                ensure!(allowed.contains(&used.as_str()), "{name} must not use {used}");
            }
        }
        for (_, refused) in NEVER.iter().filter(|(listed, _)| *listed == name) {
            for used in &outside {
                ensure!(!refused.contains(&used.as_str()), "{name} must not use {used}");
            }
        }
    }
    Ok(())
}

#[test]
fn unsafe_code_is_forbidden_where_no_proxy_is_near() -> Result<()> {
    for package in packages()? {
        let name = text(&package, "name")?;
        if UNSAFE.contains(&name.as_str()) {
            continue;
        }
        for target in package["targets"].as_array().context("no targets")? {
            let kinds = target["kind"].as_array().context("no kind")?;
            if kinds.iter().any(|kind| kind == "lib" || kind == "bin") {
                let source = text(target, "src_path")?;
                let first = std::fs::read_to_string(&source)?.lines().next().unwrap_or_default().to_owned();
                ensure!(
                    first == "#![forbid(unsafe_code)]",
                    "{source} does not begin with #![forbid(unsafe_code)]"
                );
            }
        }
    }
    Ok(())
}

/// The packages of the workspace as cargo sees them.
fn packages() -> Result<Vec<Value>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut packages = metadata["packages"].as_array().context("no packages")?.clone();
    packages.sort_by_key(|package| package["name"].as_str().map(str::to_owned));
    Ok(packages)
}

fn dependencies(package: &Value, wanted: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
    let edges = package["dependencies"].as_array().context("no dependencies")?;
    edges.iter().filter(|edge| wanted(edge)).map(|edge| text(edge, "name")).collect()
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"))
}
