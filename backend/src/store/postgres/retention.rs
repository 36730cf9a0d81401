//! Letting go of buckets: their partitions are dropped, by one backend at a time. A flush or a search that has hold of a
//! partition is not disturbed: the drop gives up after a moment, and is tried again the next time.

use std::sync::Arc;

use sqlx::PgPool;

use super::bucket::{Bucket, HOUR_US, LOCK_TIMEOUT_MS, ROW_BITS, TABLES};
use super::connection::Lease;
use crate::store::retention::Piece;
use crate::store::{Plan, Retention, StoreError};

/// Held by the backend that lets go.
const LOCK: i64 = 0x7369_706c_656e_7303;

/// So long after its hour a bucket may still be written to: by a flush under way, or a backend whose clock is slow.
const GRACE_US: i64 = 300_000_000;

/// PostgreSQL's code for a lock that was not got in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What may go now.
pub async fn plan(pool: &PgPool, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
    let sizes =
        TABLES.map(|table| format!("coalesce(pg_total_relation_size(to_regclass('{table}_' || number)), 0)"));
    let mut snapshot = Lease::snapshot(pool).await?;
    let found = snapshot
        .query(&format!(
            "select number::bigint, rule, hour, {},
                    (select coalesce(max(newest_us), {}) from segment where id >> {ROW_BITS} = number)
             from bucket order by hour, number",
            sizes.join(" + "),
            i64::MAX
        ))
        .await?;
    snapshot.commit().await?;
    let pieces = found.read(|row| {
        let bucket = Bucket(i32::try_from(row.bigint()?).ok()?);
        let rule: Arc<str> = std::str::from_utf8(row.bytea()?).ok()?.into();
        let end_us = row.bigint()?.saturating_add(1).saturating_mul(HOUR_US);
        let bytes = row.bigint()?.cast_unsigned();
        // Where it is empty there is no time. A message is no younger than its arrival, whatever its agent's clock says.
        let newest_us = Some(row.bigint()?).filter(|us| *us != i64::MAX).map(|us| us.min(end_us));
        let stays = now_us < end_us.saturating_add(GRACE_US);
        Some(Piece { name: bucket.partition("pack"), rule, newest_us, bytes, stays })
    })?;
    Ok(retention.plan(pieces, None, now_us))
}

/// Lets go of what may go now.
pub async fn retain(pool: &PgPool, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
    let mut plan = plan(pool, retention, now_us).await?;
    let mut gone = Vec::new();
    for expired in std::mem::take(&mut plan.expired) {
        let number = expired.name.rsplit('_').next().and_then(|number| number.parse().ok());
        let Some(bucket) = number.map(Bucket) else { continue };
        match drop_bucket(pool, bucket).await {
            Ok(true) => gone.push(expired),
            Ok(false) => {}
            Err(StoreError::Unavailable(sqlx::Error::Database(error)))
                if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
            {
                tracing::debug!(
                    name = expired.name,
                    "a partition that may go is in use; it is tried again later"
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Plan { expired: gone, ..plan })
}

/// Drops a bucket, unless another backend does; whether it did.
async fn drop_bucket(pool: &PgPool, bucket: Bucket) -> Result<bool, StoreError> {
    let mut transaction = Lease::transaction(pool, LOCK_TIMEOUT_MS).await?;
    let is_ours = transaction.try_lock(LOCK).await? && {
        let delete = format!("delete from bucket where number = {} returning 1::bigint", bucket.0);
        !transaction.query(&delete).await?.read(|row| row.bigint())?.is_empty()
    };
    if !is_ours {
        transaction.roll_back().await?;
        return Ok(false);
    }
    let partitions = TABLES.map(|table| bucket.partition(table)).join(", ");
    let (from, to) = (bucket.first_id(), bucket.end_id());
    let dropped = transaction
        .run(&format!("delete from segment where id >= {from} and id < {to}; drop table {partitions}"))
        .await;
    if let Err(error) = dropped {
        // Only then is the lock free for the next one. Where the server is gone it is too.
        let _ended = transaction.roll_back().await;
        return Err(error);
    }
    transaction.commit().await?;
    Ok(true)
}
