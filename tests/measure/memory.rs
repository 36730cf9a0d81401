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
    /// Anonymous pages, which are no file's and not in memory that was mapped as shared. Whether another process has the
    /// same page, from before a fork, makes no difference: it may change without anything being taken.
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
    Ok(Memory { resident: field("Rss:")?, proportional: field("Pss:")?, own: field("Anonymous:")? })
}

/// What each process is for.
pub fn names(proxy: &Kamailio) -> Result<BTreeMap<u32, String>> {
    // A process that is not Kamailio's own is called what it calls itself.
    let comm = |id| std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned();
    let mut names: BTreeMap<u32, String> = proxy.processes().into_iter().map(|id| (id, comm(id))).collect();
    let text = proxy.rpc(&["core.psx"])?;
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

/// Processor time that the sender has used, in milliseconds.
pub fn sender_time(proxy: &Kamailio) -> Result<u64> {
    /// What `getconf CLK_TCK` says on every Linux of today.
    const TICK_MS: u64 = 10;
    let names = names(proxy)?;
    let sender = names.iter().find(|(_, name)| *name == SENDER).context("no sender")?.0;
    let text = std::fs::read_to_string(format!("/proc/{sender}/stat"))?;
    // The second field is a name in parentheses; user and system time are the 14th and 15th.
    let fields = text.rsplit_once(')').context("no name")?.1.split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * TICK_MS)
}

/// What the sender's process is called.
pub const SENDER: &str = "siplens sender";

/// Octets in use in the pool that all processes share, now and at most. Pages that were in use once stay resident.
pub fn shared_pool(proxy: &Kamailio) -> Result<(u64, u64)> {
    let text = proxy.rpc(&["core.shmmem"])?;
    number(&text, "used").zip(number(&text, "max_used")).context("core.shmmem does not say what is used")
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
