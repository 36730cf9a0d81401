//! The tables, and how a database of an earlier version gets them. Every backend that opens the store tries; one does it.

use sqlx::PgPool;

use super::connection::{Lease, within_limit};
use crate::call::event::PathSet;
use crate::store::StoreError;

/// Serialises the making of tables between backends that start at once.
const LOCK: i64 = 0x7369_706c_656e_7301;

/// How long another backend may take for it, ms.
const PATIENCE_MS: u32 = 20_000;

/// The schema of this version.
pub const SCHEMA: i64 = 5;

/// What leads from the schema before to this one, in order. The first makes an empty database one of schema 5; those before were
/// never released, and are refused.
const MIGRATIONS: [(i64, &str); 1] = [(5, include_str!("schema/5.sql"))];

/// Makes the tables, or brings them to this version.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let mut transaction = Lease::transaction(pool, PATIENCE_MS).await?;
    transaction.run(&format!("select pg_advisory_xact_lock({LOCK})")).await?;
    let exists =
        transaction.query("select count(*) from pg_class where oid = to_regclass('siplens_schema')").await?;
    let found = if exists.read(|row| row.bigint())?.first() == Some(&1) {
        let versions = transaction.query("select max(version) from siplens_schema").await?;
        versions.read(|row| row.bigint())?.first().copied().unwrap_or(0)
    } else {
        0
    };
    if found == SCHEMA {
        return transaction.roll_back().await;
    }
    let first = MIGRATIONS.iter().position(|(to, _)| *to > found);
    let Some(first) = first.filter(|_| found == 0 || found >= MIGRATIONS[0].0) else {
        return Err(StoreError::Schema { place: "the database".into(), expected: SCHEMA, found });
    };
    for (_, statements) in MIGRATIONS.iter().skip(first) {
        transaction.run(statements).await?;
    }
    transaction
        .run(&format!("delete from siplens_schema; insert into siplens_schema values ({SCHEMA})"))
        .await?;
    transaction.commit().await
}

/// Keeps a set of paths, in a table that is made for the first.
pub async fn note_paths(pool: &PgPool, paths: &PathSet) -> Result<(), StoreError> {
    let mut transaction = Lease::transaction(pool, PATIENCE_MS).await?;
    let make = "create table if not exists event_paths (paths text primary key)";
    transaction.run(&format!("select pg_advisory_xact_lock({LOCK}); {make}")).await?;
    within_limit(
        sqlx::query("insert into event_paths (paths) values ($1) on conflict do nothing")
            .bind(paths.as_str())
            .persistent(false)
            .execute(transaction.connection()?),
    )
    .await?;
    transaction.commit().await
}

/// All sets of paths that were kept.
pub async fn noted_paths(pool: &PgPool) -> Result<Vec<PathSet>, StoreError> {
    let mut snapshot = Lease::snapshot(pool).await?;
    let exists =
        snapshot.query("select count(*) from pg_class where oid = to_regclass('event_paths')").await?;
    if exists.read(|row| row.bigint())?.first() != Some(&1) {
        snapshot.commit().await?;
        return Ok(Vec::new());
    }
    let found: Vec<String> = within_limit(
        sqlx::query_scalar("select paths from event_paths order by paths")
            .persistent(false)
            .fetch_all(snapshot.connection()?),
    )
    .await?;
    snapshot.commit().await?;
    Ok(found.into_iter().map(PathSet::kept).collect())
}
