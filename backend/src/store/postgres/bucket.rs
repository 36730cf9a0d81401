//! Buckets: what arrived in one hour and is kept under one retention rule. Each is a partition of every partitioned
//! table, made ahead of its hour, and goes by being dropped.
//!
//! Several backends write to the same buckets. Each takes row numbers in blocks, in a transaction of its own that is over at once, so
//! that no flush waits for another's. What is left of a block is not used: a gap costs nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sqlx::PgPool;

use super::connection::{Lease, within_limit};
use crate::store::{StoreError, pack};

/// Serialises the making of partitions between backends.
const LOCK: i64 = 0x7369_706c_656e_7304;

/// How long a lock on a table may be waited for, ms. Meanwhile nobody else gets at it, so it is short.
pub const LOCK_TIMEOUT_MS: u32 = 500;

/// Rows of one bucket take the low bits of a slice's id, the bucket's number the high ones.
pub const ROW_BITS: u32 = 32;

/// Row numbers that are taken at once, at least: a multiple of what a pack has.
const BLOCK: usize = 2048 * pack::SLICES;

/// After so many rows, which are eight times as many as there are packs, a further bucket is begun in the same hour, so that no
/// index outgrows memory.
const BUCKET_ROWS: i64 = 64_000_000;

/// The length of an hour, µs.
pub const HOUR_US: i64 = 3_600_000_000;

/// The partitioned tables.
pub const TABLES: [&str; 2] = ["pack", "page"];

/// A bucket.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bucket(pub i32);

impl Bucket {
    /// That of a slice or segment with this id.
    pub const fn of(id: i64) -> Self {
        // The high half of an i64 fits.
        Self((id >> ROW_BITS) as i32)
    }

    /// The first id that is in it.
    pub const fn first_id(self) -> i64 {
        (self.0 as i64) << ROW_BITS
    }

    /// The first id that is no longer in it.
    pub const fn end_id(self) -> i64 {
        (self.0 as i64 + 1) << ROW_BITS
    }

    /// Its partition of a table.
    pub fn partition(self, table: &str) -> String {
        format!("{table}_{}", self.0)
    }
}

/// Ids that one backend may give to slices.
struct Block {
    hour: i64,
    ids: Range<i64>,
}

/// The blocks that this backend holds, by retention rule.
#[derive(Default)]
pub struct Blocks(HashMap<Arc<str>, Block>);

impl Blocks {
    /// The ids of so many packs of one bucket, for what arrives in this hour under this rule.
    pub async fn take(
        &mut self,
        pool: &PgPool,
        rule: &Arc<str>,
        hour: i64,
        packs: usize,
    ) -> Result<Range<i64>, StoreError> {
        let count = packs * pack::SLICES;
        let wanted = i64::try_from(count).unwrap_or(i64::MAX);
        let held = self.0.get(rule).filter(|b| b.hour == hour && b.ids.end - b.ids.start >= wanted);
        let ids = match held {
            Some(block) => block.ids.clone(),
            None => take_block(pool, rule, hour, count.max(BLOCK)).await?,
        };
        let end = ids.start + wanted;
        self.0.insert(Arc::clone(rule), Block { hour, ids: end..ids.end });
        Ok(ids.start..end)
    }
}

async fn take_block(pool: &PgPool, rule: &str, hour: i64, count: usize) -> Result<Range<i64>, StoreError> {
    loop {
        let mut transaction = Lease::transaction(pool, 10_000).await?;
        // What is lost of it in a crash, so is every flush that used it.
        transaction.run("set local synchronous_commit = off").await?;
        let taken: Option<(i32, i64)> = within_limit(
            sqlx::query_as(
                "update bucket set next_row = next_row + $3
                 where number = (select max(number) from bucket where rule = $1 and hour = $2) and next_row < $4
                 returning number, next_row - $3",
            )
            .bind(rule)
            .bind(hour)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .bind(BUCKET_ROWS)
            .persistent(false)
            .fetch_optional(transaction.connection()?),
        )
        .await?;
        if let Some((number, row)) = taken {
            transaction.commit().await?;
            let first = Bucket(number).first_id() + row;
            return Ok(first..first + i64::try_from(count).unwrap_or(0));
        }
        transaction.roll_back().await?;
        make(pool, rule, hour).await?;
    }
}

/// Makes the bucket of this rule and hour, unless another backend has done so.
async fn make(pool: &PgPool, rule: &str, hour: i64) -> Result<(), StoreError> {
    let mut transaction = Lease::transaction(pool, 10_000).await?;
    transaction.run(&format!("select pg_advisory_xact_lock({LOCK})")).await?;
    let number: Option<i32> = within_limit(
        sqlx::query_scalar(
            "insert into bucket (rule, hour) select $1, $2
             where not exists (select from bucket where rule = $1 and hour = $2 and next_row < $3)
             returning number",
        )
        .bind(rule)
        .bind(hour)
        .bind(BUCKET_ROWS)
        .persistent(false)
        .fetch_optional(transaction.connection()?),
    )
    .await?;
    let Some(bucket) = number.map(Bucket) else { return transaction.roll_back().await };
    // Attaching lets everybody else read and write the table meanwhile; `create table … partition of` would not.
    let (from, to) = (bucket.first_id(), bucket.end_id());
    let mut statements = format!("set local lock_timeout = {LOCK_TIMEOUT_MS};");
    for (table, key) in TABLES.into_iter().zip(["id", "segment"]) {
        let partition = bucket.partition(table);
        statements += &format!(
            "create table {partition} (like {table} including all, check ({key} >= {from} and {key} < {to}));
             alter table {table} attach partition {partition} for values from ({from}) to ({to});
             alter table {partition} drop constraint {partition}_{key}_check;"
        );
    }
    transaction.run(&statements).await?;
    transaction.commit().await
}

/// Makes the buckets of the hour to come, for the rules under which something came in this one.
pub async fn make_ahead(pool: &PgPool, hour: i64) -> Result<(), StoreError> {
    let rules: Vec<String> = {
        let mut lease = Lease::snapshot(pool).await?;
        let rules = within_limit(
            sqlx::query_scalar(
                "select distinct rule from bucket b where hour = $1
                 and not exists (select from bucket where rule = b.rule and hour = $1 + 1)",
            )
            .bind(hour)
            .persistent(false)
            .fetch_all(lease.connection()?),
        )
        .await?;
        lease.commit().await?;
        rules
    };
    for rule in rules {
        make(pool, &rule, hour + 1).await?;
    }
    Ok(())
}
