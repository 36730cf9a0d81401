//! Merging segments, so that a lookup reads few of them. Off the write path, by one backend at a time: whoever holds the
//! lock. A walk sees either what there was before or what there is after.

use std::collections::BTreeMap;

use sqlx::PgPool;

use super::bucket::{self, Bucket};
use super::connection::Lease;
use super::write::{new_segment, write_pages};
use crate::store::StoreError;
use crate::store::postings::{self, Merged, Merger, Page, Posting};

/// Held by the backend that merges.
const LOCK: i64 = 0x7369_706c_656e_7305;

/// Pages of one segment that are read at once.
const READ: usize = 128;

/// Pages that are written at once.
const WRITTEN: usize = 2048;

/// A segment that may be merged.
#[derive(Clone, Copy)]
struct Live {
    id: i64,
    level: u8,
    oldest_us: i64,
    newest_us: i64,
}

/// Merges what is due; how many segments were made.
pub async fn merge(pool: &PgPool, hour: i64) -> Result<usize, StoreError> {
    let mut made = 0;
    loop {
        let mut transaction = Lease::transaction(pool, bucket::LOCK_TIMEOUT_MS).await?;
        if !transaction.try_lock(LOCK).await? {
            transaction.roll_back().await?;
            return Ok(made);
        }
        let Some((bucket, segments, level)) = due(&mut transaction, hour).await? else {
            transaction.roll_back().await?;
            return Ok(made);
        };
        merge_into_one(&mut transaction, bucket, &segments, level).await?;
        transaction.commit().await?;
        made += 1;
    }
}

/// Segments of one bucket that are to become one, of the level given.
async fn due(transaction: &mut Lease, hour: i64) -> Result<Option<(Bucket, Vec<Live>, u8)>, StoreError> {
    let found = transaction
        .query(&format!(
            "select id, level::bigint, oldest_us, newest_us, (hour < {hour})::int::bigint
             from segment join bucket on number = id >> {}",
            bucket::ROW_BITS
        ))
        .await?;
    let mut buckets: BTreeMap<Bucket, (bool, Vec<Live>)> = BTreeMap::new();
    let rows = found.read(|row| {
        let (id, level) = (row.bigint()?, u8::try_from(row.bigint()?).ok()?);
        Some((Live { id, level, oldest_us: row.bigint()?, newest_us: row.bigint()? }, row.bigint()? == 1))
    })?;
    for (live, over) in rows {
        let bucket = buckets.entry(Bucket::of(live.id)).or_default();
        bucket.0 = over;
        bucket.1.push(live);
    }
    Ok(buckets.into_iter().find_map(|(bucket, (over, live))| {
        // Of an hour that is over nothing more comes, so all becomes one.
        if over && live.len() > 1 {
            let level = live.iter().map(|s| s.level).max().unwrap_or(0);
            return Some((bucket, live, level.saturating_add(1)));
        }
        let known: Vec<_> = live.iter().map(|s| postings::Segment { number: s.id, level: s.level }).collect();
        let (due, level) = postings::due(&known)?;
        let live = live.into_iter().filter(|s| due.iter().any(|due| due.number == s.id)).collect();
        Some((bucket, live, level))
    }))
}

async fn merge_into_one(
    transaction: &mut Lease,
    bucket: Bucket,
    segments: &[Live],
    level: u8,
) -> Result<(), StoreError> {
    let oldest_us = segments.iter().map(|s| s.oldest_us).min().unwrap_or(0);
    let newest_us = segments.iter().map(|s| s.newest_us).max().unwrap_or(0);
    let made = new_segment(transaction.connection()?, bucket, level, oldest_us, newest_us).await?;
    let mut inputs: Vec<_> = segments.iter().map(|s| Input::new(bucket, s.id)).collect();
    let mut merger = Merger::new(inputs.len());
    let mut pages = Vec::new();
    loop {
        match merger.step() {
            Merged::Needs(input) => {
                while let Some(reader) = inputs.get_mut(input) {
                    let page = reader.next(transaction).await?;
                    match merger.feed(input, page.as_ref()) {
                        Ok(()) => break,
                        // What it said is lost either way; the segment's other pages are not.
                        Err(error) => {
                            tracing::error!(segment = reader.segment, %error, "a damaged page of postings is left out");
                        }
                    }
                }
            }
            Merged::Page(page) => {
                pages.push(page);
                if pages.len() >= WRITTEN {
                    write_pages(transaction.connection()?, bucket, made, &pages).await?;
                    pages.clear();
                }
            }
            Merged::End => break,
        }
    }
    write_pages(transaction.connection()?, bucket, made, &pages).await?;
    let ids = segments.iter().map(|s| s.id.to_string()).collect::<Vec<_>>().join(",");
    let table = bucket.partition("page");
    transaction
        .run(&format!(
            "delete from {table} where segment in ({ids}); delete from segment where id in ({ids})"
        ))
        .await
}

/// The pages of a segment, one after the other.
struct Input {
    bucket: Bucket,
    segment: i64,
    read: std::vec::IntoIter<Page>,
    last: Option<Posting>,
    ended: bool,
}

impl Input {
    fn new(bucket: Bucket, segment: i64) -> Self {
        Self { bucket, segment, read: Vec::new().into_iter(), last: None, ended: false }
    }

    async fn next(&mut self, transaction: &mut Lease) -> Result<Option<Page>, StoreError> {
        if let Some(page) = self.read.next() {
            return Ok(Some(page));
        }
        if self.ended {
            return Ok(None);
        }
        let after = match self.last {
            Some(last) => {
                format!("and first > decode('{:032x}', 'hex')", u128::from_be_bytes(last.to_octets()))
            }
            None => String::new(),
        };
        let found = transaction
            .query(&format!(
                "select first, data from {} where segment = {} {after} order by first limit {READ}",
                self.bucket.partition("page"),
                self.segment
            ))
            .await?;
        let pages = found.read(|row| {
            let first = Posting::from_octets(row.bytea()?.try_into().ok()?);
            Some(Page { first, data: row.bytea()?.to_vec() })
        })?;
        self.ended = pages.len() < READ;
        self.last = pages.last().map(|page| page.first);
        self.read = pages.into_iter();
        Ok(self.read.next())
    }
}
