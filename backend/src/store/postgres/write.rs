//! Storing a flush.

use std::ops::Range;
use std::sync::Arc;

use sqlx::PgConnection;
use xxhash_rust::xxh3::xxh3_64;

use super::bucket::{Bucket, ROW_BITS};
use super::connection::{run, within_limit};
use super::copy::{Found, Rows};
use crate::spool::Position;
use crate::store::firsts::Firsts;
use crate::store::postings::{self, Page};
use crate::store::{Dictionary, Key, Pack, Room, StoreError, pack};

/// Packs of a flush that go into one bucket, and the ids of their slices.
pub struct Part<'a> {
    pub ids: Range<i64>,
    pub packs: Vec<&'a Pack>,
    /// For each slice of them, the key that it has as a first slice.
    pub firsts: Vec<Option<Key>>,
}

impl<'a> Part<'a> {
    pub fn new(ids: Range<i64>, packs: Vec<&'a Pack>, firsts: &mut Firsts) -> Self {
        let bucket = u64::from(Bucket::of(ids.start).0.cast_unsigned());
        let firsts = firsts.keys(bucket, packs.iter().copied());
        Self { ids, packs, firsts }
    }
}

/// Begins a transaction of the spool with this name: the only one, until it ends. So whoever asks after an answer was
/// lost waits until that transaction is over, one way or the other.
pub fn begin(spool: &str) -> String {
    // The server ends what a backend that is gone has left open.
    format!(
        "begin; set local lock_timeout = 20000; set local idle_in_transaction_session_timeout = 60000;
         select pg_advisory_xact_lock({})",
        xxh3_64(format!("siplens spool {spool}").as_bytes()).cast_signed()
    )
}

/// Stores the parts of a flush and how far the spool is stored, in a transaction that [`begin`] began.
pub async fn write(
    connection: &mut PgConnection,
    spool: &str,
    parts: &[Part<'_>],
    dictionaries: &[&Arc<Dictionary>],
    end: Position,
) -> Result<(), StoreError> {
    for dictionary in dictionaries {
        within_limit(
            sqlx::query(
                "insert into dictionary (id, made_at_us, data) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(i64::from(dictionary.id().get()))
            .bind(dictionary.made_at_us())
            .bind(dictionary.octets())
            .persistent(false)
            .execute(&mut *connection),
        )
        .await?;
    }
    for part in parts {
        write_part(connection, part).await?;
    }
    within_limit(
        sqlx::query(
            "insert into checkpoint (spool, segment, \"offset\") values ($1, $2, $3)
             on conflict (spool) do update set segment = excluded.segment, \"offset\" = excluded.\"offset\"",
        )
        .bind(spool)
        .bind(end.segment.cast_signed())
        .bind(end.offset.cast_signed())
        .persistent(false)
        .execute(&mut *connection),
    )
    .await?;
    run(connection, "commit").await
}

async fn write_part(connection: &mut PgConnection, part: &Part<'_>) -> Result<(), StoreError> {
    let bucket = Bucket::of(part.ids.start);
    let (Some(oldest_us), Some(newest_us)) = (
        part.packs.iter().flat_map(|p| p.last_us()).min(),
        part.packs.iter().flat_map(|p| p.last_us()).max(),
    ) else {
        return Ok(());
    };
    let mut rows = Rows::new();
    let packs = || part.ids.clone().step_by(pack::SLICES).zip(&part.packs);
    for (id, pack) in packs() {
        rows.row(2).bigint(id).bytea(&pack.blob);
    }
    rows.send(connection, &format!("{} (id, blob)", bucket.partition("pack"))).await?;

    let row = |id: i64| u32::try_from(id & ((1 << ROW_BITS) - 1)).unwrap_or(u32::MAX);
    let slices = packs().flat_map(|(id, pack)| (row(id)..).zip(&pack.slices));
    let pages = postings::segment(slices.zip(&part.firsts).map(|((row, slice), first)| (row, slice, *first)));
    let segment = new_segment(connection, bucket, 0, oldest_us, newest_us).await?;
    write_pages(connection, bucket, segment, &pages).await
}

/// Begins a segment, of which nothing is seen until the transaction ends; its id.
pub async fn new_segment(
    connection: &mut PgConnection,
    bucket: Bucket,
    level: u8,
    oldest_us: i64,
    newest_us: i64,
) -> Result<i64, StoreError> {
    let first = bucket.first_id();
    let made = Found::query(
        connection,
        &format!(
            "insert into segment (id, level, oldest_us, newest_us)
             values ({first} + nextval('segment_number'), {level}, {oldest_us}, {newest_us}) returning id"
        ),
        &mut Room::unbounded(),
    )
    .await?;
    let ids = made.read(|row| row.bigint())?;
    Ok(*ids.first().ok_or(sqlx::Error::RowNotFound)?)
}

/// Adds pages to a segment.
pub async fn write_pages(
    connection: &mut PgConnection,
    bucket: Bucket,
    segment: i64,
    pages: &[Page],
) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for page in pages {
        rows.row(3).bigint(segment).bytea(&page.first.to_octets()).bytea(&page.data);
    }
    rows.send(connection, &format!("{} (segment, first, data)", bucket.partition("page"))).await
}
