//! The embedded store: one SQLite file for each bucket of time, so that each file's indexes stay small and old data
//! can go by deleting a file.
//!
//! `bucket-000001.sqlite`, `bucket-000002.sqlite`, …; only the newest is written. A slice's id is its bucket's number
//! and its row there. Flushes are committed with `synchronous=full`: what a checkpoint covers is on disk.

mod bucket;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::dictionary::Dictionaries;
use super::retention::Piece;
use super::{Dictionary, Flush, Plan, Retention, Store, StoreError, StoredSlice, Walk, Walked};
use crate::spool::Position;
use bucket::Bucket;

/// After this long a new bucket is begun.
const BUCKET_AGE: Duration = Duration::from_secs(3600);

/// After so many slices a new bucket is begun.
const BUCKET_SLICES: u64 = 1_000_000;

/// A store of SQLite files in one folder.
pub struct SqliteStore {
    dir: PathBuf,
    spool: String,
    buckets: RwLock<BTreeMap<u32, Arc<Bucket>>>,
    current: Mutex<Current>,
    dictionaries: Dictionaries,
}

/// The bucket that is written.
struct Current {
    number: u32,
    since: Instant,
    slices: u64,
}

impl SqliteStore {
    /// Opens the store in this folder, which is made if it isn't there, for what comes from the spool of this name.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be used.
    pub async fn open(dir: &Path, spool: &str) -> Result<Self, StoreError> {
        let file_error = |error: std::io::Error| StoreError::File {
            path: dir.display().to_string(),
            message: error.to_string(),
        };
        std::fs::create_dir_all(dir).map_err(file_error)?;
        let mut buckets = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(file_error)? {
            let name = entry.map_err(file_error)?.file_name();
            bucket::remove_orphan(dir, &name);
            let Some(number) = name.to_str().and_then(bucket::number_of) else { continue };
            buckets.insert(number, Arc::new(Bucket::open(dir, number).await?));
        }
        // What an earlier run wrote stays as it is: each run begins a bucket at its first flush.
        let last = buckets.keys().next_back().copied().unwrap_or(0);
        Ok(Self {
            dir: dir.to_owned(),
            spool: spool.to_owned(),
            buckets: RwLock::new(buckets),
            current: Mutex::new(Current { number: last, since: Instant::now(), slices: BUCKET_SLICES }),
            dictionaries: Dictionaries::default(),
        })
    }

    /// Newest first.
    fn buckets(&self) -> Vec<Arc<Bucket>> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.values().rev().cloned().collect()
    }

    /// Octets that are free on the disk of the store; `None` where the system does not tell.
    fn disk_free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    async fn bucket_to_write(&self, current: &mut Current) -> Result<Arc<Bucket>, StoreError> {
        if current.slices < BUCKET_SLICES && current.since.elapsed() < BUCKET_AGE {
            let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(bucket) = buckets.get(&current.number) {
                return Ok(Arc::clone(bucket));
            }
        }
        let number = current.number + 1;
        let bucket = Arc::new(Bucket::open(&self.dir, number).await?);
        *current = Current { number, since: Instant::now(), slices: 0 };
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        buckets.insert(number, Arc::clone(&bucket));
        Ok(bucket)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        for bucket in self.buckets() {
            if let Some(position) = bucket.checkpoint(&self.spool).await? {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        let mut current = self.current.lock().await;
        let bucket = self.bucket_to_write(&mut current).await?;
        bucket.write(&self.spool, flush).await?;
        current.slices += flush.slices.len() as u64;
        Ok(())
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        for bucket in self.buckets() {
            if let Some(dictionary) = bucket.newest_dictionary().await? {
                return Ok(Some(dictionary));
            }
        }
        Ok(None)
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let limit = walk.limit as usize;
        let mut buckets: Vec<_> =
            self.buckets().into_iter().filter_map(|b| Some((b.newest_us()?, b))).collect();
        buckets.sort_by_key(|(newest_us, bucket)| std::cmp::Reverse((*newest_us, bucket.number())));
        let mut found: Vec<StoredSlice> = Vec::new();
        for (newest_us, bucket) in buckets {
            // The rest of the buckets is older than all that is wanted.
            if found.get(limit.saturating_sub(1)).is_some_and(|last| last.first_us > newest_us) {
                break;
            }
            let slices = bucket.walk(walk, &self.dictionaries).await?;
            if !slices.is_empty() {
                found.extend(slices);
                found.sort_unstable_by_key(|s| std::cmp::Reverse((s.first_us, s.id)));
                found.truncate(limit);
            }
        }
        Ok(found.into())
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        // The newest bucket stays whatever it holds: it is the one that is written, and knows how far the spool is stored.
        let buckets = self.buckets();
        let newest = buckets.first().map(|bucket| bucket.number());
        let piece =
            |bucket: &Arc<Bucket>| Piece { stays: Some(bucket.number()) == newest, ..bucket.piece(now_us) };
        let pieces = buckets.iter().rev().map(piece).collect();
        Ok(retention.alike().plan(pieces, self.disk_free_bytes(), now_us))
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        let mut plan = self.plan(retention, now_us).await?;
        let mut gone = Vec::new();
        for expired in std::mem::take(&mut plan.expired) {
            let Some(number) = bucket::number_of(&expired.name) else { continue };
            let bucket = {
                let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
                buckets.remove(&number)
            };
            if let Some(bucket) = bucket {
                bucket.remove().await?;
                gone.push(expired);
            }
        }
        Ok(Plan { expired: gone, ..plan })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        match self.buckets().first() {
            Some(bucket) => bucket.checkpoint(&self.spool).await.map(|_| ()),
            None => Ok(()),
        }
    }
}
