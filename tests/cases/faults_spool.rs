//! Segments of the spool are cut or altered at random places: the backend starts, says what it left out, and keeps the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, BackendSetup, eventually};

use crate::numbered::{DURABLE, STORED, found, message};

const LIMIT: Duration = Duration::from_secs(60);
const MESSAGES: u64 = 9000;
const SEEDS: u64 = 12;

/// Octets before the first record of a segment, and before what a record's length counts; see `backend/src/spool.rs`.
const HEADER: usize = 24;
const PREFIX: usize = 8;

const SLOW: &str = "[spool]\nsegment_bytes = 1_048_576\nflush_milliseconds = 60_000\n";
const QUICK: &str = "[spool]\nsegment_bytes = 1_048_576\nflush_milliseconds = 50\n";

fn setup(config: &str) -> BackendSetup {
    BackendSetup { config: Some(config.to_owned()), ..BackendSetup::default() }
}

/// A spool with messages of which none is stored: the folder of a backend that was killed.
fn left_behind() -> Result<Backend> {
    let mut backend = Backend::start_with(setup(SLOW))?;
    let mut agent = Agent::tcp(backend.hep())?;
    (0..MESSAGES).try_for_each(|number| agent.send(&message("left", number)))?;
    eventually("records on disk", LIMIT, || {
        let durable = backend.api().metric(DURABLE)?;
        ensure!(durable == MESSAGES as f64, "{durable}");
        Ok(())
    })?;
    backend.kill()?;
    ensure!(segments(&backend.data().join("spool"))?.len() >= 3, "too few segments");
    Ok(backend)
}

fn segments(spool: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(spool)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut paths: Vec<_> =
        entries.into_iter().filter(|path| path.extension().is_some_and(|name| name == "seg")).collect();
    paths.sort();
    Ok(paths)
}

/// Where each record of a segment ends.
fn ends(segment: &[u8]) -> Result<Vec<usize>> {
    let mut ends = Vec::new();
    let mut at = HEADER;
    while at < segment.len() {
        let length = segment.get(at..at + 4).and_then(|octets| octets.try_into().ok()).context("a length")?;
        at += PREFIX + u32::from_le_bytes(length) as usize;
        ends.push(at);
    }
    Ok(ends)
}

/// Numbers that differ from seed to seed, and are the same each time.
fn random(seed: u64, of: usize) -> usize {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from((mixed ^ (mixed >> 29)) % of as u64).unwrap_or(0)
}

/// Damages one segment; which messages must still be there.
fn damage(spool: &Path, seed: u64) -> Result<Vec<u64>> {
    let paths = segments(spool)?;
    let counts =
        paths.iter().map(|path| Ok(ends(&fs::read(path)?)?.len() as u64)).collect::<Result<Vec<_>>>()?;
    let place = random(seed, paths.len());
    let mut octets = fs::read(&paths[place])?;
    let at = random(seed ^ 0xa5, octets.len());
    // What begins behind the damage cannot be found; a damaged header is that of a segment without use.
    let whole = ends(&octets)?.iter().filter(|end| **end <= at).count() as u64;
    let whole = if at < HEADER { 0 } else { whole };
    if seed.is_multiple_of(3) {
        octets.truncate(at);
    } else {
        octets[at] ^= 1 << random(seed ^ 0x5a, 8);
    }
    fs::write(&paths[place], &octets)?;
    let first: u64 = counts[..place].iter().sum();
    Ok((0..MESSAGES).filter(|number| !(first + whole..first + counts[place]).contains(number)).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[test]
fn a_spool_that_is_damaged_anywhere_keeps_the_rest_and_says_what_it_left_out() -> Result<()> {
    let left = left_behind()?;
    for seed in 0..SEEDS {
        let dir = tempfile::Builder::new().prefix("siplens-backend-").tempdir()?;
        let spool = dir.path().join("data/spool");
        copy(&left.data().join("spool"), &spool)?;
        let expected = damage(&spool, seed)?;
        let backend = Backend::start_in(dir, setup(QUICK))?;
        eventually("what is left", LIMIT, || {
            let stored = backend.api().metric(STORED)?;
            ensure!(stored >= expected.len() as f64, "seed {seed}: {stored} of {}", expected.len());
            Ok(())
        })?;
        let there = eventually("what is left, visible", LIMIT, || {
            let there = found(&backend, "left")?;
            ensure!(there.len() >= expected.len(), "seed {seed}: {}", there.len());
            Ok(there)
        })?;
        ensure!(there == expected, "seed {seed}: {} messages, expected {}", there.len(), expected.len());
        let told = ["siplens_spool_cut_bytes_total", "siplens_spool_bad_records_total"]
            .iter()
            .map(|name| backend.api().metric(name))
            .sum::<Result<f64>>()?;
        let aside = fs::read_dir(&spool)?
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".bad"));
        ensure!(told > 0.0 || aside || expected.len() as u64 == MESSAGES, "seed {seed}: nothing was told");
        // And it takes more.
        Agent::tcp(backend.hep())?.send(&message("later", 0))?;
        backend.call("later-000000", 1)?;
    }
    Ok(())
}
