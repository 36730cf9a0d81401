//! The ladder that must come out: `tests/scenarios/<case>/expect.toml` against what the API answers.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::paths;

/// The addresses a case knows; whoever else appears in a ladder is the caller.
#[derive(Clone, Debug)]
pub struct Roles {
    /// Every socket of the proxy.
    pub proxy: Vec<SocketAddr>,
    /// The called side.
    pub uas: SocketAddr,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    row: Vec<Row>,
}

/// One arrow of a ladder, with roles for addresses.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Who sent it: `uac`, `proxy` or `uas`.
    pub from: String,
    /// Who got it.
    pub to: String,
    /// Method, or status and reason.
    pub label: String,
}

/// What `tests/scenarios/<case>/expect.toml` says.
pub fn expected(case: &str) -> Result<Vec<Row>> {
    let path = paths::scenario(case).join("expect.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(toml::from_str::<Expected>(&text)?.row)
}

/// The ladder of a call as the API answered it, retransmissions left out.
pub fn found(call: &Value, roles: &Roles) -> Result<Vec<Row>> {
    let ladder = &call["ladder"];
    let role = |index: &Value| -> Result<String> {
        let index = usize::try_from(index.as_u64().context("a row without host")?)?;
        let address = ladder["hosts"][index]["address"].as_str().context("a host without address")?;
        let address: SocketAddr = address.parse().with_context(|| address.to_owned())?;
        Ok(if roles.proxy.contains(&address) {
            "proxy"
        } else if roles.uas == address {
            "uas"
        } else {
            "uac"
        }
        .to_owned())
    };
    let rows = ladder["rows"].as_array().context("a ladder without rows")?;
    rows.iter()
        .filter(|row| row["retransmission"] != true)
        .map(|row| {
            let label = row["label"].as_str().context("a row without label")?.to_owned();
            Ok(Row { from: role(&row["from"])?, to: role(&row["to"])?, label })
        })
        .collect()
}

/// Fails with both ladders in the text if they differ.
pub fn compare(case: &str, call: &Value, roles: &Roles) -> Result<()> {
    let (expected, found) = (expected(case)?, found(call, roles)?);
    let picture = |rows: &[Row]| {
        rows.iter()
            .map(|row| format!("  {:>5} -> {:<5} {}", row.from, row.to, row.label))
            .collect::<Vec<_>>()
            .join("\n")
    };
    ensure!(expected == found, "expected\n{}\nfound\n{}", picture(&expected), picture(&found));
    Ok(())
}
