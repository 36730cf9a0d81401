//! The embedded store: SQLite files in one folder.
//!
//! `bucket-000001.sqlite`, `bucket-000002.sqlite`, …: the packs that came within an hour under one retention rule, and
//! the [postings] of their slices. A slice's id is the numbers of its bucket and its pack there, and its place in that. Old data goes by deleting
//! files. A large flush goes to several buckets at a time, by a writer each; these are a *set*, which is begun, left and deleted together.
//!
//! `store.sqlite`: which flushes count. A flush is committed to its buckets first and then there, each time with
//! `synchronous=full`; until then nobody sees it. What does not count is deleted at the next flush, or at the next start.
//!
//! A bucket that is no longer written is closed: its postings are merged into one segment, and its log goes. One that
//! cannot be opened is renamed to `….damaged`, and the rest serves.

mod blobs;
mod bucket;
mod file;
mod ledger;
mod opening;
mod readers;
mod retain;
mod rows;
mod set_aside;
#[cfg(test)]
mod tests;
mod upkeep;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;

use super::dictionary::Dictionaries;
use super::firsts::Firsts;
use super::postings::{self, Page};
use super::{Dictionary, Flush, Key, Pack, Plan, Retention, Store, StoreError, Walk, Walked, pack};
use crate::call::event::PathSet;
use crate::spool::Position;
use bucket::Bucket;
use ledger::Ledger;
use opening::Files;
use readers::Readers;
use set_aside::SetAside;

/// After this long a new bucket is begun.
const BUCKET_AGE: Duration = Duration::from_secs(3600);

/// After so many packs a new bucket is begun.
const BUCKET_PACKS: u32 = 1_000_000;

/// A flush is divided among writers where each gets so many packs at least.
const PACKS_OF_A_WRITER: usize = 64;

/// A store of SQLite files in one folder.
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    spool: String,
    writers: NonZeroUsize,
    /// Held until the store is gone; `None` where it is only looked at.
    lock: Option<std::fs::File>,
    ledger: Ledger,
    buckets: RwLock<BTreeMap<u32, Arc<Bucket>>>,
    set_aside: SetAside,
    current: Mutex<Current>,
    readers: Readers,
    dictionaries: Dictionaries,
    /// Told after each flush.
    written: Arc<Notify>,
    /// Held while buckets are tended: two at once would merge the same segments.
    tending: Mutex<()>,
}

/// What is written.
#[derive(Default)]
struct Current {
    /// By retention rule.
    sets: HashMap<Arc<str>, Set>,
    next_number: u32,
    next_flush: i64,
    /// A flush that failed, and is not said to be abandoned yet.
    failed: Option<i64>,
    firsts: Firsts,
}

/// The buckets that are written under one retention rule.
struct Set {
    /// By writer.
    buckets: HashMap<usize, Arc<Bucket>>,
    /// That of the bucket that was begun first.
    number: u32,
    since: Instant,
}

/// Packs of a flush that go to one bucket.
struct Part<'a> {
    bucket: Arc<Bucket>,
    packs: Vec<&'a Pack>,
    /// For each slice of them, the key that it has as a first slice.
    firsts: Vec<Option<Key>>,
    pages: Vec<Page>,
}

impl Current {
    /// The buckets that may be written, those that have got too old let go of.
    fn buckets(&mut self) -> impl Iterator<Item = &Arc<Bucket>> {
        self.sets.retain(|_, set| {
            let has_room = |bucket: &Arc<Bucket>| bucket.next_pack() < BUCKET_PACKS;
            set.since.elapsed() < BUCKET_AGE && set.buckets.values().all(has_room)
        });
        self.sets.values().flat_map(|set| set.buckets.values())
    }

    /// Their numbers.
    fn numbers(&mut self) -> Vec<u32> {
        self.buckets().map(|bucket| bucket.number()).collect()
    }
}

impl SqliteStore {
    /// Opens the store in this folder, which is made if it isn't there, for what comes from the spool of this name, with
    /// one writer.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be used, or another process uses it.
    pub async fn open(dir: &Path, spool: &str) -> Result<Self, StoreError> {
        Self::open_with(dir, spool, NonZeroUsize::MIN).await
    }

    /// The same with so many writers, each with files of its own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(dir: &Path, spool: &str, writers: NonZeroUsize) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|error| file::error_at(dir, &error))?;
        let lock = opening::lock(dir).await?;
        let files = Files::find(dir)?;
        files
            .buckets
            .iter()
            .try_for_each(|number| file::refuse_other_version(&bucket::path(dir, *number)))?;
        let (ledger, counted) = Ledger::open(dir, files.buckets.is_empty()).await?;
        let (buckets, set_aside, last_flush) = opening::open_buckets(dir, &files, &counted).await?;
        // Nothing is left of them in any bucket.
        ledger.forget_abandoned().await?;
        let next_flush = counted.last.unwrap_or(0).max(last_flush) + 1;
        let current = Current { next_number: files.next_number, next_flush, ..Current::default() };
        let inner = Inner {
            dir: dir.to_owned(),
            spool: spool.to_owned(),
            writers,
            lock: Some(lock),
            ledger,
            buckets: RwLock::new(buckets),
            set_aside,
            current: Mutex::new(current),
            readers: Readers::default(),
            dictionaries: Dictionaries::default(),
            written: Arc::default(),
            tending: Mutex::default(),
        };
        let inner = Arc::new(inner);
        tokio::spawn(upkeep::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Keeps so many readers of buckets open while nobody searches; without this, 256.
    #[must_use]
    pub fn with_idle_readers(self, most: usize) -> Self {
        self.inner.readers.keep(most);
        self
    }

    /// Opens the store in this folder beside the process that writes it, to be looked at.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn look(dir: &Path) -> Result<Self, StoreError> {
        let files = if dir.exists() { Files::find(dir)? } else { Files::default() };
        let mut buckets = BTreeMap::new();
        for number in files.buckets {
            match Bucket::look(dir, number).await {
                Ok(bucket) => drop(buckets.insert(number, Arc::new(bucket))),
                Err(error) => tracing::warn!(number, %error, "a bucket cannot be looked at"),
            }
        }
        let set_aside = SetAside::default();
        files.set_aside.into_iter().for_each(|path| set_aside.add(path));
        let inner = Inner {
            dir: dir.to_owned(),
            spool: String::new(),
            writers: NonZeroUsize::MIN,
            lock: None,
            ledger: Ledger::look(dir),
            buckets: RwLock::new(buckets),
            set_aside,
            current: Mutex::default(),
            readers: Readers::default(),
            dictionaries: Dictionaries::default(),
            written: Arc::default(),
            tending: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// By number.
    fn buckets(&self) -> Vec<Arc<Bucket>> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.values().cloned().collect()
    }

    /// Reads on a thread that may wait for the disk, when it is its turn.
    async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.readers.turn().await;
        let inner = Arc::clone(self);
        let work = move || {
            let read = read(&inner);
            drop(turn);
            read
        };
        spawn_blocking(work).await.map_err(|error| StoreError::Away(error.to_string()))?
    }

    /// Octets that are free on the disk of the store; `None` where the system does not tell.
    fn disk_free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        if self.lock.is_none() {
            let message = "opened to be looked at, not written".to_owned();
            return Err(StoreError::File { path: self.dir.display().to_string(), message });
        }
        let mut current = self.current.lock().await;
        // Before anything is done to what it left: should the ledger hold it after all, it holds all of it.
        if let Some(failed) = current.failed {
            self.ledger.abandon(failed).await?;
            current.failed = None;
        }
        let number = current.next_flush;
        current.next_flush += 1;
        // Left behind by whatever fails, or is given up, in between.
        let mut firsts = std::mem::take(&mut current.firsts);
        let parts = self.divide(&mut current, &mut firsts, &flush.packs).await?;
        current.failed = Some(number);
        let stored =
            join_all(parts.iter().map(|part| part.bucket.store(number, &part.packs, &part.pages))).await;
        let mut pending = Vec::with_capacity(parts.len());
        for (part, stored) in parts.iter().zip(stored) {
            match stored {
                Ok(stored) => pending.push((&part.bucket, stored)),
                Err(StoreError::Unavailable(error)) if file::is_damage(&error) => {
                    part.bucket.report(&error);
                    // The next try begins another.
                    let damaged = part.bucket.number();
                    let sets = current.sets.values_mut();
                    sets.for_each(|set| set.buckets.retain(|_, bucket| bucket.number() != damaged));
                    return Err(error.into());
                }
                Err(error) => return Err(error),
            }
        }
        self.ledger.count(number, &self.spool, flush.end).await?;
        current.failed = None;
        current.firsts = firsts;
        for (bucket, pending) in pending {
            bucket.publish(pending);
        }
        self.written.notify_one();
        Ok(())
    }

    /// Which packs go to which bucket, and the pages of their postings.
    async fn divide<'a>(
        &self,
        current: &mut Current,
        firsts: &mut Firsts,
        packs: &'a [Pack],
    ) -> Result<Vec<Part<'a>>, StoreError> {
        let mut by_rule: BTreeMap<&Arc<str>, Vec<&Pack>> = BTreeMap::new();
        for pack in packs {
            by_rule.entry(&pack.rule).or_default().push(pack);
        }
        // Those that are too old are let go of.
        drop(current.buckets());
        let mut parts = Vec::new();
        for (rule, packs) in by_rule {
            let writers = (packs.len() / PACKS_OF_A_WRITER).clamp(1, self.writers.get());
            for (writer, packs) in packs.chunks(packs.len().div_ceil(writers)).enumerate() {
                let bucket = self.bucket_to_write(current, rule, writer).await?;
                let firsts = firsts.keys(bucket.set().into(), packs.iter().copied());
                parts.push(Part { bucket, packs: packs.to_vec(), firsts, pages: Vec::new() });
            }
        }
        std::thread::scope(|scope| {
            let mut parts = parts.iter_mut();
            let first = parts.next();
            for part in parts {
                scope.spawn(|| part.make_pages());
            }
            first.into_iter().for_each(Part::make_pages);
        });
        Ok(parts)
    }

    async fn bucket_to_write(
        &self,
        current: &mut Current,
        rule: &Arc<str>,
        writer: usize,
    ) -> Result<Arc<Bucket>, StoreError> {
        let set = current.sets.get(rule);
        if let Some(bucket) = set.and_then(|set| set.buckets.get(&writer)) {
            return Ok(Arc::clone(bucket));
        }
        let number = current.next_number;
        current.next_number += 1;
        let of_set = set.map_or(number, |set| set.number);
        let bucket = Arc::new(Bucket::begin(&self.dir, number, of_set, Arc::clone(rule)).await?);
        let begun = || Set { buckets: HashMap::new(), number, since: Instant::now() };
        let set = current.sets.entry(Arc::clone(rule)).or_insert_with(begun);
        set.buckets.insert(writer, Arc::clone(&bucket));
        self.buckets.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&bucket));
        Ok(bucket)
    }
}

impl Part<'_> {
    fn make_pages(&mut self) {
        let packs = (self.bucket.next_pack()..).zip(&self.packs);
        let row = |pack: u32| u32::try_from(pack::first_id(pack.into())).unwrap_or(u32::MAX);
        let slices = packs.flat_map(|(number, pack)| (row(number)..).zip(&pack.slices)).zip(&self.firsts);
        self.pages = postings::segment(slices.map(|((row, slice), first)| (row, slice, *first)));
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        self.inner.ledger.checkpoint(&self.inner.spool).await
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        self.inner.write(flush).await
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        self.inner.ledger.note_paths(paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        self.inner.ledger.noted_paths().await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        self.inner.reading(Inner::newest_dictionary).await
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let walk = walk.clone();
        self.inner.reading(move |inner| inner.walk(&walk)).await
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        Ok(self.inner.plan(retention, now_us).await)
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.inner.retain(retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.checkpoint().await.map(|_| ())
    }
}
