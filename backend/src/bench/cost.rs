//! What a process has cost: processor time, memory, disk. Linux' `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks a second, as `/proc` counts processor time on every Linux.
const TICKS: u64 = 100;

/// Processor time of this process so far.
///
/// # Errors
/// When the system does not tell.
pub fn own_cpu() -> Result<Duration> {
    cpu(std::process::id())
}

/// Processor time of a process so far, all of its threads, in user space and in the kernel; ±10 ms.
///
/// # Errors
/// When there is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    ticks(pid, 2)
}

/// Processor time of a process, of its children, and of those that have ended.
///
/// # Errors
/// When there is no such process.
pub fn family_cpu(pid: u32) -> Result<Duration> {
    let mut sum = ticks(pid, 4)?;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
        // One that ends meanwhile is in the parent's own figures at the next look.
        sum += family_cpu(child).unwrap_or_default();
    }
    Ok(sum)
}

/// The first of utime, stime, cutime and cstime.
fn ticks(pid: u32, how_many: usize) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in parentheses may hold anything.
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks: u64 =
        after.split(' ').skip(11).take(how_many).filter_map(|text| text.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The largest memory a process had resident, octets.
///
/// # Errors
/// When there is no such process.
pub fn peak_resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM")?;
    Ok(kib * 1024)
}

/// Length of all files in a folder and in those below it, octets.
///
/// # Errors
/// When a folder cannot be read.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_costs_processor_time_and_memory() {
        let before = own_cpu().expect("told");
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        assert!(own_cpu().expect("told") > before);
        assert!(family_cpu(std::process::id()).expect("told") > before);
        assert!(peak_resident_bytes(std::process::id()).expect("told") > 1 << 20);
        assert!(cpu(u32::MAX).is_err());
    }
}
