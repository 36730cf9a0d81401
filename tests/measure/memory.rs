//! What Kamailio's processes and its own pools hold.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use harness::Kamailio;

/// One process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Pages in memory, shared ones too.
    pub resident: u64,
    /// The same, shared ones divided by those who share them.
    pub proportional: u64,
    /// Pages of its own.
    pub own: u64,
}

/// By process id.
pub fn of(proxy: &Kamailio) -> Result<BTreeMap<u32, Memory>> {
    proxy.processes().into_iter().map(|id| Ok((id, read(id)?))).collect()
}

fn read(id: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        line.trim_end_matches("kB").trim().parse::<u64>().context("a number")
    };
    Ok(Memory {
        resident: field("Rss:")?,
        proportional: field("Pss:")?,
        own: field("Private_Clean:")? + field("Private_Dirty:")?,
    })
}

/// What each process is for.
pub fn names(proxy: &Kamailio) -> Result<BTreeMap<u32, String>> {
    let text = proxy.rpc(&["core.psx"])?;
    let mut names = BTreeMap::new();
    let mut id = None;
    for line in text.lines() {
        match line.trim().split_once(':') {
            Some(("PID", value)) => id = value.trim().parse().ok(),
            Some(("DSC", value)) => names.extend(id.take().map(|id| (id, value.trim().to_owned()))),
            _ => {}
        }
    }
    Ok(names)
}

/// Octets in use in the pool that all processes share.
pub fn shared_pool(proxy: &Kamailio) -> Result<u64> {
    let text = proxy.rpc(&["core.shmmem"])?;
    number(&text, "used").context("core.shmmem says no \"used\"")
}

/// Octets in use in all processes' own pools.
pub fn own_pools(proxy: &Kamailio) -> Result<u64> {
    let text = proxy.rpc(&["pkg.stats"])?;
    Ok(text.lines().filter_map(|line| number(line, "used")).sum())
}

fn number(text: &str, name: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
    pairs.find(|(found, _)| *found == name).and_then(|(_, value)| value.trim().parse().ok())
}
