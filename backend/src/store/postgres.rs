//! The store for production: PostgreSQL 13 or later.
//!
//! The same tables as an embedded bucket, once. Several backends can share a database: each keeps its own checkpoint,
//! under its spool's name, and commits it with the slices that it covers.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Row};

use super::dictionary::{self, Dictionaries};
use super::retention::{Expired, Plan, Reason, Retention};
use super::{Dictionary, Flush, Store, StoreError, StoredSlice, Walk, Walked, rule};
use crate::spool::Position;

const SCHEMA: i64 = 2;

/// Serialises the making of tables between backends that start at once.
const SCHEMA_LOCK: i64 = 0x7369_706c_656e_7301;

/// Held by the backend that deletes what is too old.
const RETENTION_LOCK: i64 = 0x7369_706c_656e_7303;

/// Slices that are deleted in one transaction: few enough that a flush need not wait for long.
const DELETED_AT_ONCE: i64 = 10_000;

const DDL: &str = "
    create table if not exists siplens_schema (version bigint not null);
    insert into siplens_schema select 2 where not exists (select from siplens_schema);
    create table if not exists slice (
        id bigint generated always as identity primary key,
        first_us bigint not null,
        count integer not null,
        blob bytea not null
    );
    alter table slice alter column blob set storage external;
    create index if not exists slice_first on slice (first_us, id);
    create table if not exists slice_key (
        key bigint not null,
        first_us bigint not null,
        slice bigint not null,
        primary key (key, first_us, slice)
    );
    create table if not exists dictionary (
        id bigint primary key,
        made_at_us bigint not null,
        octets bytea not null
    );
    alter table dictionary alter column octets set storage external;
    create table if not exists checkpoint (
        spool text primary key,
        segment bigint not null,
        \"offset\" bigint not null
    );
";

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    pool: PgPool,
    spool: String,
    dictionaries: Dictionaries,
}

impl PostgresStore {
    /// Opens the store for what comes from the spool of this name, and makes its tables where they are not there.
    ///
    /// # Errors
    /// When the database is away, or holds the tables of another version.
    pub async fn open(pool: PgPool, spool: &str) -> Result<Self, StoreError> {
        let mut transaction = pool.begin().await?;
        sqlx::query("select pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK).execute(&mut *transaction).await?;
        sqlx::raw_sql("set local client_min_messages = warning").execute(&mut *transaction).await?;
        sqlx::raw_sql(DDL).execute(&mut *transaction).await?;
        let found: i64 = sqlx::query_scalar("select max(version) from siplens_schema")
            .fetch_one(&mut *transaction)
            .await?;
        if found != SCHEMA {
            return Err(StoreError::Schema { place: "the database".into(), expected: SCHEMA, found });
        }
        transaction.commit().await?;
        Ok(Self { pool, spool: spool.to_owned(), dictionaries: Dictionaries::default() })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("select segment, \"offset\" from checkpoint where spool = $1")
                .bind(&self.spool)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(segment, offset)| Position {
            segment: segment.cast_unsigned(),
            offset: offset.cast_unsigned(),
        }))
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        let slices = &flush.slices;
        let mut transaction = self.pool.begin().await?;
        let ids: Vec<i64> = sqlx::query_scalar(
            "select nextval(pg_get_serial_sequence('slice', 'id')) from generate_series(1, $1)",
        )
        .bind(i32::try_from(slices.len()).unwrap_or(i32::MAX))
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query(
            "insert into slice (id, first_us, count, blob) overriding system value
             select * from unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bytea[])",
        )
        .bind(&ids)
        .bind(slices.iter().map(|s| s.first_us).collect::<Vec<_>>())
        .bind(slices.iter().map(|s| s.count.cast_signed()).collect::<Vec<_>>())
        .bind(slices.iter().map(|s| s.blob.as_slice()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
        let keys = || {
            ids.iter().zip(slices).flat_map(|(id, s)| s.keys.iter().map(move |key| (*id, s.first_us, key)))
        };
        sqlx::query(
            "insert into slice_key (key, first_us, slice)
             select * from unnest($1::bigint[], $2::bigint[], $3::bigint[])",
        )
        .bind(keys().map(|(_, _, key)| key.hash()).collect::<Vec<_>>())
        .bind(keys().map(|(_, first_us, _)| first_us).collect::<Vec<_>>())
        .bind(keys().map(|(id, _, _)| id).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
        for dictionary in dictionary::needed(slices) {
            sqlx::query(
                "insert into dictionary (id, made_at_us, octets) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(i64::from(dictionary.id().get()))
            .bind(dictionary.made_at_us())
            .bind(dictionary.octets())
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "insert into checkpoint (spool, segment, \"offset\") values ($1, $2, $3)
             on conflict (spool) do update set segment = excluded.segment, \"offset\" = excluded.\"offset\"",
        )
        .bind(&self.spool)
        .bind(flush.end.segment.cast_signed())
        .bind(flush.end.offset.cast_signed())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        let sql = "select made_at_us, octets from dictionary order by made_at_us desc limit 1";
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(sql).fetch_optional(&self.pool).await?;
        Ok(row.and_then(|(made_at_us, octets)| dictionary::stored(octets, made_at_us, &"the database")))
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let (after_us, after_id) = walk.after.unwrap_or((i64::MAX, i64::MAX));
        let mut query = sqlx::query(walk.sql())
            .bind(walk.first_since_us.unwrap_or(i64::MIN))
            .bind(walk.first_until_us.unwrap_or(i64::MAX))
            .bind(after_us)
            .bind(after_id)
            .bind(i64::from(walk.limit));
        if let Some(key) = walk.key {
            query = query.bind(key.hash());
        }
        let mut slices = Vec::new();
        for row in query.fetch_all(&self.pool).await? {
            let (id, first_us, blob) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            slices.push(StoredSlice { id, first_us, dictionary: None, blob });
        }
        let missing = self.dictionaries.give(&mut slices);
        if !missing.is_empty() {
            let ids: Vec<_> = missing.iter().map(|id| i64::from(id.get())).collect();
            let rows: Vec<(i64, Vec<u8>)> =
                sqlx::query_as("select made_at_us, octets from dictionary where id = any($1)")
                    .bind(ids)
                    .fetch_all(&self.pool)
                    .await?;
            let stored = |(made_at_us, octets)| dictionary::stored(octets, made_at_us, &"the database");
            let loaded: Vec<_> = rows.into_iter().filter_map(stored).collect();
            self.dictionaries.give_loaded(&mut slices, &loaded);
        }
        Ok(slices.into())
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        let store_bytes: i64 = sqlx::query_scalar(
            "select pg_total_relation_size('slice') + pg_total_relation_size('slice_key')",
        )
        .fetch_one(&self.pool)
        .await?;
        let mut plan = Plan { store_bytes: store_bytes.cast_unsigned(), ..Plan::default() };
        let Some(cutoff_us) = retention.alike().cutoff_us(rule::DEFAULT_RULE, now_us) else {
            return Ok(plan);
        };
        let (newest_us, bytes): (Option<i64>, i64) = sqlx::query_as(
            "select max(first_us), coalesce(sum(octet_length(blob)), 0)::bigint from slice where first_us < $1",
        )
        .bind(cutoff_us)
        .fetch_one(&self.pool)
        .await?;
        plan.expired.extend(newest_us.map(|newest_us| expired(newest_us, bytes.cast_unsigned())));
        Ok(plan)
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        let mut plan = Plan::default();
        let Some(cutoff_us) = retention.alike().cutoff_us(rule::DEFAULT_RULE, now_us) else {
            return Ok(plan);
        };
        // One backend of those on a database does it; the others go on.
        let mut connection = self.pool.acquire().await?;
        let locked: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(RETENTION_LOCK)
            .fetch_one(&mut *connection)
            .await?;
        if !locked {
            return Ok(plan);
        }
        let deleted = delete_before(&mut connection, cutoff_us).await;
        sqlx::query("select pg_advisory_unlock($1)").bind(RETENTION_LOCK).execute(&mut *connection).await?;
        let (newest_us, bytes) = deleted?;
        plan.expired.extend(newest_us.map(|newest_us| expired(newest_us, bytes)));
        Ok(plan)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }
}

fn expired(newest_us: i64, bytes: u64) -> Expired {
    Expired {
        name: "slice".into(),
        rule: rule::default_name(),
        newest_us: Some(newest_us),
        bytes,
        reason: Reason::Age,
    }
}

/// Deletes all slices whose first message is older than this, and their keys; the youngest of them, and their octets.
async fn delete_before(
    connection: &mut PgConnection,
    cutoff_us: i64,
) -> Result<(Option<i64>, u64), StoreError> {
    let (mut newest_us, mut total) = (None, 0);
    loop {
        let (newest, bytes): (Option<i64>, i64) = sqlx::query_as(
            "with old as (select id from slice where first_us < $1 order by first_us limit $2),
                  gone as (delete from slice using old where slice.id = old.id
                           returning slice.first_us, octet_length(slice.blob) as octets)
             select max(first_us), coalesce(sum(octets), 0)::bigint from gone",
        )
        .bind(cutoff_us)
        .bind(DELETED_AT_ONCE)
        .fetch_one(&mut *connection)
        .await?;
        if newest.is_none() {
            break;
        }
        newest_us = newest_us.max(newest);
        total += bytes.cast_unsigned();
    }
    // Keys have no index by time, so this reads all of them: once, and only where something went.
    if newest_us.is_some() {
        sqlx::query("delete from slice_key where first_us < $1").bind(cutoff_us).execute(connection).await?;
    }
    Ok((newest_us, total))
}
