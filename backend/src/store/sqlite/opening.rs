//! What is found as a store is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::bucket::{self, Bucket, Found};
use super::file;
use super::ledger::Counted;
use super::set_aside::SetAside;
use crate::store::StoreError;

/// The file that says that a process writes to the store.
const LOCK: &str = "lock";

/// How long a store waits for the one who had it before, which may itself be waiting for a file, up to ten seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);

/// Buckets that are opened at a time at the start.
const OPENED_AT_ONCE: usize = 16;

/// What is in a store's folder.
#[derive(Default)]
pub struct Files {
    /// Numbers of the buckets, in order.
    pub buckets: Vec<u32>,
    /// Buckets that were set aside.
    pub set_aside: Vec<PathBuf>,
    /// The number of the next bucket: no file has it or a higher one.
    pub next_number: u32,
}

impl Files {
    /// Looks for it. What a crash in the middle of a bucket's removal left is deleted.
    pub fn find(dir: &Path) -> Result<Self, StoreError> {
        let mut files = Self::default();
        let mut companions = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|error| file::error_at(dir, &error))? {
            let entry = entry.map_err(|error| file::error_at(dir, &error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(number) = bucket::number_of(&name) {
                files.buckets.push(number);
            } else if let Some(number) = file::before_damage(&name).and_then(bucket::number_of) {
                files.next_number = files.next_number.max(number.saturating_add(1));
                files.set_aside.push(entry.path());
            } else if let Some(number) = file::before_companion(&name).and_then(bucket::number_of) {
                companions.push((number, entry.path()));
            }
        }
        files.buckets.sort_unstable();
        let last = files.buckets.last().map_or(1, |number| number.saturating_add(1));
        files.next_number = files.next_number.max(last);
        // What a crash in the middle of a bucket's removal left.
        companions.retain(|(number, _)| !files.buckets.contains(number));
        file::remove(&companions.into_iter().map(|(_, path)| path).collect::<Vec<_>>())?;
        Ok(files)
    }
}

/// Waits until nobody else writes to the store.
pub async fn lock(dir: &Path) -> Result<std::fs::File, StoreError> {
    let path = dir.join(LOCK);
    let file = std::fs::File::create(&path).map_err(|error| file::error_at(&path, &error))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let message = "in use by another process".to_owned();
                return Err(StoreError::File { path: dir.display().to_string(), message });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(file::error_at(&path, &error)),
        }
    }
}

/// Opens all buckets, those that are damaged aside; the last flush that is found in one comes along.
pub async fn open_buckets(
    dir: &Path,
    files: &Files,
    counted: &Counted,
) -> Result<(BTreeMap<u32, Arc<Bucket>>, SetAside, i64), StoreError> {
    let (mut buckets, set_aside, mut last_flush) = (BTreeMap::new(), SetAside::default(), 0);
    files.set_aside.iter().cloned().for_each(|path| set_aside.add(path));
    let mut opening = JoinSet::new();
    let mut waiting = files.buckets.iter().copied();
    loop {
        while opening.len() < OPENED_AT_ONCE
            && let Some(number) = waiting.next()
        {
            let (dir, counted) = (dir.to_owned(), counted.clone());
            opening.spawn(async move { (number, Bucket::open(&dir, number, &counted).await) });
        }
        let Some(opened) = opening.join_next().await else { break };
        let (number, found) = opened.map_err(|error| file::error_at(dir, &error.into()))?;
        let path = bucket::path(dir, number);
        match found {
            Ok(Found::Bucket(bucket, flush)) => {
                last_flush = last_flush.max(flush);
                buckets.insert(number, Arc::new(bucket));
            }
            Ok(Found::Nothing) => file::remove(&file::with_companions(&path))?,
            Err(StoreError::Unavailable(error)) if file::is_damage(&error) => {
                set_aside.add(file::set_aside(&path)?);
                tracing::error!(file = %path.display(), %error, "is damaged and set aside; the rest serves");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((buckets, set_aside, last_flush))
}
