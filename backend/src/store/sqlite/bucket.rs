//! One file of packs and the postings of their slices.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::ledger::Counted;
use super::{file, rows};
use crate::store::postings::{Page, Segment};
use crate::store::retention::Piece;
use crate::store::{Pack, StoreError, dictionary};

const DDL: &str = "
    create table bucket (rule text not null, set_number integer not null, closed integer not null);
    create table pack (id integer primary key, blob blob not null);
    create table segment (
        number integer primary key,
        level integer not null,
        oldest_us integer not null,
        newest_us integer not null,
        flush integer,
        first_pack integer
    );
    create table page (
        id integer primary key,
        segment integer not null,
        first blob not null,
        data blob not null
    );
    create unique index page_first on page (segment, first);
    create table dictionary (id integer primary key, made_at_us integer not null, octets blob not null);
";

/// Rows of one bucket take the low bits of a slice's id, the bucket's number the high ones.
const ROW_BITS: u32 = 32;

/// A bucket, which may still grow.
pub struct Bucket {
    number: u32,
    /// The number of the bucket that was begun first of those that are deleted together.
    set: u32,
    rule: Arc<str>,
    path: PathBuf,
    writer: Mutex<Writer>,
    live: RwLock<Vec<Arc<Live>>>,
    next_pack: AtomicU32,
    next_segment: AtomicI64,
    /// The segment that a merge is making; 0 where none is.
    being_made: AtomicI64,
    /// Whether packs of a flush that does not count may be there.
    is_dirty: AtomicBool,
    is_closed: AtomicBool,
    is_gone: AtomicBool,
    is_reported: AtomicBool,
}

/// The one who writes to a bucket.
#[derive(Default)]
pub struct Writer {
    /// After an error it is not used again: its transaction may be in any state.
    connection: Option<SqliteConnection>,
}

/// A segment that walks go over. As long as somebody holds it, its pages stay.
#[derive(Debug)]
pub struct Live {
    pub segment: Segment,
    /// Times of the last messages of slices, µs since the epoch.
    pub oldest_us: i64,
    pub newest_us: i64,
}

/// What a flush brought to a bucket, and what is not seen before the flush counts.
pub struct Pending {
    live: Option<Live>,
    packs: u32,
}

fn file_name(number: u32) -> String {
    format!("bucket-{number:06}.sqlite")
}

/// Where the bucket of a number is kept.
pub fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(file_name(number))
}

/// The number of the bucket that is kept in a file of this name; of a name that no bucket's file has, none. Above 2^31 - 1
/// ids would be negative.
pub fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix("bucket-")?.strip_suffix(".sqlite")?.parse().ok()?;
    (number <= i32::MAX.cast_unsigned() && file_name(number) == name).then_some(number)
}

/// What was found at the opening of a file.
pub enum Found {
    /// A bucket, and the last flush that was found in it.
    Bucket(Bucket, i64),
    /// Nothing: a crash as it was begun.
    Nothing,
}

impl Bucket {
    /// Begins a bucket, in the set that began with the bucket of this number.
    pub async fn begin(dir: &Path, number: u32, set: u32, rule: Arc<str>) -> Result<Self, StoreError> {
        let bucket = Self::new(dir, number, set, rule);
        let mut connection = SqliteConnection::connect_with(&file::options(&bucket.path)).await?;
        file::make(&mut connection, &bucket.path, DDL).await?;
        sqlx::query("insert into bucket (rule, set_number, closed) values ($1, $2, 0)")
            .bind(&*bucket.rule)
            .bind(set)
            .execute(&mut connection)
            .await?;
        bucket.writer.lock().await.connection = Some(connection);
        Ok(bucket)
    }

    fn new(dir: &Path, number: u32, set: u32, rule: Arc<str>) -> Self {
        Self {
            number,
            set,
            rule,
            path: path(dir, number),
            writer: Mutex::default(),
            live: RwLock::default(),
            next_pack: AtomicU32::new(1),
            next_segment: AtomicI64::new(1),
            being_made: AtomicI64::new(0),
            is_dirty: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            is_reported: AtomicBool::new(false),
        }
    }

    /// Opens a bucket that an earlier run left. What does not count is deleted from it.
    pub async fn open(dir: &Path, number: u32, counted: &Counted) -> Result<Found, StoreError> {
        let path = path(dir, number);
        // Writing, so that a log that a crash left is read; what was closed stays closed.
        let options = file::read_options(&path).read_only(false);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        if !file::version(&mut connection, &path).await? {
            return Ok(Found::Nothing);
        }
        let found: Option<(String, u32, bool)> =
            sqlx::query_as("select rule, set_number, closed from bucket")
                .fetch_optional(&mut connection)
                .await?;
        let Some((rule, set, is_closed)) = found else { return Ok(Found::Nothing) };
        let journal: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut connection).await?;
        let is_closed = is_closed && journal == "delete";
        let bucket = Self::new(dir, number, set, rule.into());
        if !is_closed {
            rows::clean(&mut connection, counted).await?;
        }
        let last_flush = bucket.load(&mut connection).await?;
        bucket.is_closed.store(is_closed, Ordering::Release);
        connection.close().await?;
        Ok(Found::Bucket(bucket, last_flush))
    }

    /// Opens a bucket beside the backend that writes it, to be looked at.
    pub async fn look(dir: &Path, number: u32) -> Result<Self, StoreError> {
        let path = path(dir, number);
        let mut connection = SqliteConnection::connect_with(&file::read_options(&path)).await?;
        file::version(&mut connection, &path).await?;
        let (rule, set): (String, u32) =
            sqlx::query_as("select rule, set_number from bucket").fetch_one(&mut connection).await?;
        let bucket = Self::new(dir, number, set, rule.into());
        bucket.load(&mut connection).await?;
        connection.close().await?;
        Ok(bucket)
    }

    /// Reads which segments are live, and the last flush.
    async fn load(&self, connection: &mut SqliteConnection) -> Result<i64, StoreError> {
        let segments: Vec<(i64, u8, i64, i64)> =
            sqlx::query_as("select number, level, oldest_us, newest_us from segment order by number")
                .fetch_all(&mut *connection)
                .await?;
        let (pack, segment, flush): (u32, i64, i64) = sqlx::query_as(
            "select (select coalesce(max(id), 0) from pack), (select coalesce(max(number), 0) from segment),
                    (select coalesce(max(flush), 0) from segment)",
        )
        .fetch_one(connection)
        .await?;
        self.next_pack.store(pack.saturating_add(1), Ordering::Release);
        self.next_segment.store(segment.saturating_add(1), Ordering::Release);
        let live = |(number, level, oldest_us, newest_us)| {
            Arc::new(Live { segment: Segment { number, level }, oldest_us, newest_us })
        };
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = segments.into_iter().map(live).collect();
        Ok(flush)
    }

    pub const fn number(&self) -> u32 {
        self.number
    }

    pub const fn set(&self) -> u32 {
        self.set
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What ids of its slices are counted from.
    pub fn base(&self) -> i64 {
        i64::from(self.number) << ROW_BITS
    }

    /// Whether a slice of this id would be in it.
    pub fn holds(&self, id: i64) -> bool {
        id >> ROW_BITS == i64::from(self.number)
    }

    /// The number that the next pack gets.
    pub fn next_pack(&self) -> u32 {
        self.next_pack.load(Ordering::Acquire)
    }

    /// A number for a segment that a merge makes; one at a time.
    pub fn begin_merge(&self) -> i64 {
        let number = self.next_segment.fetch_add(1, Ordering::AcqRel);
        self.being_made.store(number, Ordering::Release);
        number
    }

    /// A merge failed; the pages that it wrote go with the next flush, or as the bucket is closed.
    pub fn abandon_merge(&self) {
        self.being_made.store(0, Ordering::Release);
        self.is_dirty.store(true, Ordering::Release);
    }

    /// Whether it is one segment in one file that never changes again.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub fn set_closed(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Says once that a part of it is damaged.
    pub fn report(&self, error: &dyn std::fmt::Display) {
        if !self.is_reported.swap(true, Ordering::AcqRel) {
            tracing::error!(file = %self.path.display(), %error, "a part of it is damaged; searches that need it are partial");
        }
    }

    pub fn is_reported(&self) -> bool {
        self.is_reported.load(Ordering::Acquire)
    }

    /// The segments that walks go over.
    pub fn live(&self) -> Vec<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time of the youngest message, µs since the epoch; `None` while the bucket is empty.
    pub fn newest_us(&self) -> Option<i64> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.iter().map(|live| live.newest_us).max()
    }

    /// How a search opens it.
    pub fn reader(&self) -> Result<rusqlite::Connection, rusqlite::Error> {
        file::reader(&self.path, self.is_closed())
    }

    fn files(&self) -> [PathBuf; 3] {
        file::with_companions(&self.path)
    }

    /// It as a piece that can go. A message is no younger than its bucket's last change, whatever its agent's clock says.
    pub fn piece(&self, now_us: i64, stays: bool) -> Piece {
        let changed_us = file::changed_us(&self.path).unwrap_or(now_us);
        Piece {
            name: file_name(self.number),
            rule: Arc::clone(&self.rule),
            newest_us: self.newest_us().map(|us| us.min(changed_us)),
            bytes: file::bytes(&self.files()),
            stays,
        }
    }

    /// Deletes it. Who reads it at the moment finds what is left to find, without an error.
    pub async fn remove(&self) -> Result<(), StoreError> {
        self.is_gone.store(true, Ordering::Release);
        self.writer.lock().await.connection = None;
        file::remove(&self.files())
    }

    /// Its writer, once nobody else writes.
    pub async fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().await
    }

    /// A connection to write by.
    pub async fn take(&self, writer: &mut Writer) -> Result<SqliteConnection, StoreError> {
        match writer.connection.take() {
            Some(connection) => Ok(connection),
            // Not made anew: it may be gone.
            None => {
                Ok(SqliteConnection::connect_with(&file::options(&self.path).create_if_missing(false))
                    .await?)
            }
        }
    }

    /// Deletes what a flush left that does not count. None may be under way.
    pub async fn clean(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if self.is_dirty.load(Ordering::Acquire) {
            let mut connection = self.take(writer).await?;
            let being_made = Some(self.being_made.load(Ordering::Acquire));
            let live =
                self.live().iter().map(|live| live.segment.number).chain(being_made).collect::<Vec<_>>();
            rows::clean_but(&mut connection, &live).await?;
            writer.connection = Some(connection);
            self.is_dirty.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Stores packs and the postings of their slices, all of them or none. They are not seen before [`Self::publish`].
    pub async fn store(&self, flush: i64, packs: &[&Pack], pages: &[Page]) -> Result<Pending, StoreError> {
        let mut writer = self.writer.lock().await;
        let first_pack = self.next_pack();
        let number = self.next_segment.fetch_add(1, Ordering::AcqRel);
        let times = || packs.iter().flat_map(|pack| pack.last_us());
        let (Some(oldest_us), Some(newest_us)) = (times().min(), times().max()) else {
            return Ok(Pending { live: None, packs: 0 });
        };
        self.clean(&mut writer).await?;
        let mut connection = self.take(&mut writer).await?;
        // Until it is published, it does not count.
        self.is_dirty.store(true, Ordering::Release);
        let mut transaction = connection.begin().await?;
        rows::insert_packs(&mut transaction, first_pack, packs).await?;
        rows::insert_pages(&mut transaction, number, pages).await?;
        let dictionaries: Vec<_> = dictionary::needed(packs.iter().copied()).cloned().collect();
        for dictionary in dictionaries {
            sqlx::query("insert or ignore into dictionary (id, made_at_us, octets) values ($1, $2, $3)")
                .bind(dictionary.id().get())
                .bind(dictionary.made_at_us())
                .bind(dictionary.octets())
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(
            "insert into segment (number, level, oldest_us, newest_us, flush, first_pack)
             values ($1, 0, $2, $3, $4, $5)",
        )
        .bind(number)
        .bind(oldest_us)
        .bind(newest_us)
        .bind(flush)
        .bind(first_pack)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        writer.connection = Some(connection);
        let live = Live { segment: Segment { number, level: 0 }, oldest_us, newest_us };
        Ok(Pending { live: Some(live), packs: u32::try_from(packs.len()).unwrap_or(u32::MAX) })
    }

    /// The flush counts: what it brought is found from now on.
    pub fn publish(&self, pending: Pending) {
        self.is_dirty.store(false, Ordering::Release);
        self.next_pack.fetch_add(pending.packs, Ordering::AcqRel);
        self.live.write().unwrap_or_else(PoisonError::into_inner).extend(pending.live.map(Arc::new));
    }

    /// A merged segment takes the place of those it was made of.
    pub fn replace(&self, merged: &[Arc<Live>], by: Live) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.retain(|live| merged.iter().all(|merged| !Arc::ptr_eq(live, merged)));
        live.push(Arc::new(by));
    }
}

impl Writer {
    /// Keeps the connection for the next.
    pub fn done(&mut self, connection: SqliteConnection) {
        self.connection = Some(connection);
    }
}
