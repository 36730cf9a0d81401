//! The tables, and how a database of an earlier version gets them. Every backend that opens the store tries; one does it.

use sqlx::PgPool;

use super::connection::Lease;
use crate::store::StoreError;

/// Serialises the making of tables between backends that start at once.
const LOCK: i64 = 0x7369_706c_656e_7301;

/// How long another backend may take for it, ms.
const PATIENCE_MS: u32 = 20_000;

/// The schema of this version.
pub const SCHEMA: i64 = 3;

/// What leads from the schema before to this one, in order. The first makes an empty database one of schema 3; those before were
/// never released, and are refused.
const MIGRATIONS: [(i64, &str); 1] = [(3, include_str!("schema/3.sql"))];

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
