//! What is done to buckets beside the writing: segments are merged, one merge at a time over all buckets, and buckets
//! that are no longer written are closed.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::Inner;
use super::bucket::{Bucket, Live};
use super::{file, rows};
use crate::store::StoreError;
use crate::store::postings::{Merged, Merger, Page, PageError, Posting, Segment, due};

/// How often it is looked for what is to be done where nobody writes.
const INTERVAL: Duration = Duration::from_secs(5);

/// Pages that are read of a segment at once, and the most that wait to be written.
const PAGES_READ: i64 = 32;
const PAGES_WRITTEN: usize = 256;

const PAGES_AFTER: &str =
    "select first, data from page where segment = ?1 and first > ?2 order by first limit ?3";

/// How long a merged segment's pages wait for the walks that still read them, before it is looked again.
const PATIENCE: Duration = Duration::from_millis(20);

/// Why a bucket could not be tended.
#[derive(Debug, thiserror::Error)]
enum UpkeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Page(#[from] PageError),
}

impl From<sqlx::Error> for UpkeepError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Does it until the store is gone.
pub async fn run(store: Weak<Inner>) {
    while let Some(inner) = store.upgrade() {
        let written = inner.written.clone();
        inner.tend().await;
        drop(inner);
        tokio::select! {
            () = written.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

impl Inner {
    /// Does all that is to be done now.
    pub(super) async fn tend(self: &Arc<Self>) {
        let _alone = self.tending.lock().await;
        let written = self.current.lock().await.numbers();
        for bucket in self.buckets() {
            if bucket.is_closed() || bucket.is_reported() {
                continue;
            }
            match self.tend_bucket(&bucket, written.contains(&bucket.number())).await {
                Ok(()) => {}
                Err(_) if bucket.is_gone() => {}
                Err(UpkeepError::Page(error)) => bucket.report(&error),
                Err(UpkeepError::Store(StoreError::Damaged(error))) => bucket.report(&error),
                Err(UpkeepError::Store(StoreError::Unavailable(error))) if file::is_damage(&error) => {
                    bucket.report(&error);
                }
                Err(error) => {
                    tracing::warn!(file = %bucket.path().display(), %error, "postings wait to be merged");
                }
            }
        }
    }

    async fn tend_bucket(
        self: &Arc<Self>,
        bucket: &Arc<Bucket>,
        is_written: bool,
    ) -> Result<(), UpkeepError> {
        loop {
            let live = bucket.live();
            let segments: Vec<Segment> = live.iter().map(|live| live.segment).collect();
            if is_written {
                let Some((merged, level)) = due(&segments) else { return Ok(()) };
                let merged = live.into_iter().filter(|live| merged.contains(&live.segment)).collect();
                self.merge_or_abandon(bucket, merged, level).await?;
            } else if live.len() > 1 {
                let level = segments.iter().map(|segment| segment.level).max().unwrap_or(0);
                self.merge_or_abandon(bucket, live, level.saturating_add(1)).await?;
            } else {
                return self.close(bucket).await;
            }
        }
    }

    async fn merge_or_abandon(
        self: &Arc<Self>,
        bucket: &Arc<Bucket>,
        merged: Vec<Arc<Live>>,
        level: u8,
    ) -> Result<(), UpkeepError> {
        let result = self.merge(bucket, merged, level).await;
        if result.is_err() {
            bucket.abandon_merge();
        }
        result
    }

    /// Makes one segment of several. Who walks sees either these or that one.
    async fn merge(
        self: &Arc<Self>,
        bucket: &Arc<Bucket>,
        merged: Vec<Arc<Live>>,
        level: u8,
    ) -> Result<(), UpkeepError> {
        let number = bucket.begin_merge();
        let mut inputs: Vec<_> = merged.iter().map(|live| Input::of(live.segment.number)).collect();
        let mut merger = Merger::new(inputs.len());
        let mut pages = Vec::new();
        loop {
            match merger.step() {
                Merged::End => break,
                Merged::Page(page) => {
                    pages.push(page);
                    if pages.len() == PAGES_WRITTEN {
                        self.put(bucket, number, &std::mem::take(&mut pages)).await?;
                    }
                }
                Merged::Needs(input) => {
                    let page = match inputs.get_mut(input) {
                        Some(of) => self.next_page(bucket, of).await?,
                        None => None,
                    };
                    merger.feed(input, page.as_ref())?;
                }
            }
        }
        let times = || merged.iter();
        let by = Live {
            segment: Segment { number, level },
            oldest_us: times().map(|live| live.oldest_us).min().unwrap_or(i64::MIN),
            newest_us: times().map(|live| live.newest_us).max().unwrap_or(i64::MAX),
        };
        let numbers: Vec<i64> = merged.iter().map(|live| live.segment.number).collect();
        let mut writer = bucket.writer().await;
        let mut connection = lazily_synced(bucket.take(&mut writer).await?).await?;
        let mut transaction = connection.begin().await?;
        rows::insert_pages(&mut transaction, number, &pages).await?;
        sqlx::query("insert into segment (number, level, oldest_us, newest_us) values ($1, $2, $3, $4)")
            .bind(number)
            .bind(level)
            .bind(by.oldest_us)
            .bind(by.newest_us)
            .execute(&mut *transaction)
            .await?;
        for number in &numbers {
            sqlx::query("delete from segment where number = $1")
                .bind(number)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        bucket.replace(&merged, by);
        writer.done(synced(connection).await?);
        drop(writer);
        // Walks that began before go on with the pages of before.
        while merged.iter().any(|live| Arc::strong_count(live) > 1) {
            tokio::time::sleep(PATIENCE).await;
        }
        let mut writer = bucket.writer().await;
        let mut connection = lazily_synced(bucket.take(&mut writer).await?).await?;
        let mut transaction = connection.begin().await?;
        for number in &numbers {
            sqlx::query("delete from page where segment = $1")
                .bind(number)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        writer.done(synced(connection).await?);
        Ok(())
    }

    /// Writes pages of a segment that is not live yet.
    async fn put(&self, bucket: &Bucket, segment: i64, pages: &[Page]) -> Result<(), UpkeepError> {
        let mut writer = bucket.writer().await;
        let mut connection = lazily_synced(bucket.take(&mut writer).await?).await?;
        let mut transaction = connection.begin().await?;
        rows::insert_pages(&mut transaction, segment, pages).await?;
        transaction.commit().await?;
        writer.done(synced(connection).await?);
        Ok(())
    }

    /// The next page of a segment, in order.
    async fn next_page(
        self: &Arc<Self>,
        bucket: &Arc<Bucket>,
        input: &mut Input,
    ) -> Result<Option<Page>, UpkeepError> {
        if input.pages.is_empty() && !input.is_read {
            let (bucket, segment, last) = (Arc::clone(bucket), input.segment, input.last.clone());
            let rows = self.reading(move |inner| inner.pages_after(&bucket, segment, &last)).await?;
            input.is_read = rows.is_empty();
            for (first, data) in rows {
                let place = first.as_slice().try_into().map_err(|_| PageError::Malformed)?;
                input.pages.push_back(Page { first: Posting::from_octets(place), data });
                input.last = first;
            }
        }
        Ok(input.pages.pop_front())
    }

    /// The next rows with pages of a segment, in order.
    fn pages_after(&self, bucket: &Bucket, segment: i64, last: &[u8]) -> Result<Vec<PageRow>, StoreError> {
        let reader = self.readers.take(bucket)?;
        let rows = reader
            .connection
            .prepare_cached(PAGES_AFTER)?
            .query_map((segment, last, PAGES_READ), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        reader.done();
        Ok(rows)
    }

    /// Makes a bucket one file that never changes again.
    async fn close(&self, bucket: &Bucket) -> Result<(), UpkeepError> {
        let mut writer = bucket.writer().await;
        bucket.clean(&mut writer).await?;
        let mut connection = bucket.take(&mut writer).await?;
        // What merged segments left empty goes back to the disk.
        sqlx::raw_sql("pragma incremental_vacuum").execute(&mut connection).await?;
        sqlx::query("update bucket set closed = 1").execute(&mut connection).await?;
        self.readers.forget(bucket.number());
        // Who reads it just now is not waited for: it is closed another time.
        sqlx::raw_sql("pragma busy_timeout = 20").execute(&mut connection).await?;
        let journal: Result<String, _> =
            sqlx::query_scalar("pragma journal_mode = delete").fetch_one(&mut connection).await;
        let is_closed = match journal {
            Ok(journal) => journal == "delete",
            Err(error) if file::is_busy(&error) => false,
            Err(error) => return Err(error.into()),
        };
        // Not kept for the next writer in any case: that one waits longer.
        connection.close().await?;
        if is_closed {
            bucket.set_closed();
        }
        Ok(())
    }
}

/// A page as it is stored: its first posting and its data.
type PageRow = (Vec<u8>, Vec<u8>);

/// A segment that is merged.
struct Input {
    segment: i64,
    pages: VecDeque<Page>,
    last: Vec<u8>,
    is_read: bool,
}

impl Input {
    fn of(segment: i64) -> Self {
        Self { segment, pages: VecDeque::new(), last: Vec::new(), is_read: false }
    }
}

/// A merge need not be on disk at once: until it is, what it was made of is. The next flush syncs it along.
async fn lazily_synced(connection: SqliteConnection) -> Result<SqliteConnection, StoreError> {
    with_synchronous(connection, "normal").await
}

async fn synced(connection: SqliteConnection) -> Result<SqliteConnection, StoreError> {
    with_synchronous(connection, "full").await
}

async fn with_synchronous(
    mut connection: SqliteConnection,
    synchronous: &'static str,
) -> Result<SqliteConnection, StoreError> {
    let pragma = AssertSqlSafe(format!("pragma synchronous = {synchronous}"));
    sqlx::raw_sql(pragma).execute(&mut connection).await?;
    Ok(connection)
}
