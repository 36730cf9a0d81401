//! The store for production: PostgreSQL 13 or later. ADR 0023.
//!
//! What arrives in an hour under one retention rule is a bucket, with a partition of its own of each large table. Several backends
//! can share a database: each keeps its own checkpoint, under its spool's name, and commits it with the slices that it
//! covers. What must be done by one of them at a time is done under a lock that ends with its transaction.

mod bucket;
pub mod connection;
mod copy;
mod merge;
mod replica;
mod retention;
mod schema;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::dictionary::{self, Dictionaries};
use super::firsts::Firsts;
use super::{Dictionary, DictionaryId, Flush, Pack, Plan, Retention, Store, StoreError, Walk, Walked};
use crate::call::event::PathSet;
use crate::spool::Position;
use crate::telemetry::{ReplicaMetrics, clock};
use bucket::{Blocks, HOUR_US};
use connection::{Lease, within_limit};
use replica::Readers;
use write::Part;

/// How often segments are looked after, and partitions made ahead.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// Tells the time, µs since the epoch.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    pool: PgPool,
    readers: Readers,
    spool: String,
    writer: Mutex<Writer>,
    dictionaries: Dictionaries,
    clock: Clock,
    maintenance: Option<AbortOnDropHandle<()>>,
}

/// What a flush needs.
#[derive(Default)]
struct Writer {
    /// Kept from flush to flush; gone after an error, since nobody can tell what it would answer next.
    connection: Option<PgConnection>,
    blocks: Blocks,
    /// Dictionaries that are known to be stored.
    dictionaries: HashSet<DictionaryId>,
    firsts: Firsts,
}

impl PostgresStore {
    /// Opens the store for what comes from the spool of this name, and makes its tables where they are not there.
    ///
    /// # Errors
    /// When the database is away, or holds the tables of another version.
    pub async fn open(pool: PgPool, spool: &str) -> Result<Self, StoreError> {
        // A pool would not say why it cannot connect.
        let connection = connection::connect(&pool.connect_options()).await?;
        schema::migrate(&pool).await?;
        Ok(Self {
            readers: Readers::new(pool.clone(), None),
            pool,
            spool: spool.to_owned(),
            writer: Mutex::new(Writer { connection: Some(connection), ..Writer::default() }),
            dictionaries: Dictionaries::default(),
            clock: Arc::new(clock::now_us),
            maintenance: None,
        })
    }

    /// Lets searches read from a replica of the database, as long as it answers.
    #[must_use]
    pub fn with_replica(mut self, replica: PgPool, metrics: ReplicaMetrics) -> Self {
        self.readers = Readers::new(self.pool.clone(), Some((replica, metrics)));
        self
    }

    /// Looks after the tables as long as the store is there: makes partitions ahead, and merges postings.
    #[must_use]
    pub fn maintained(mut self) -> Self {
        let pool = self.pool.clone();
        let clock = Arc::clone(&self.clock);
        self.maintenance = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut failing = false;
            loop {
                tokio::time::sleep(MAINTENANCE).await;
                let done = maintain_once(&pool, clock()).await;
                if let Err(error) = &done
                    && !failing
                {
                    tracing::warn!(%error, "the store's tables cannot be looked after; it is tried again");
                }
                failing = done.is_err();
            }
        })));
        self
    }

    /// Lets another clock tell in which hour a flush arrives.
    #[cfg(test)]
    pub(super) fn with_clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    async fn try_write(&self, writer: &mut Writer, flush: &Flush) -> Result<(), StoreError> {
        let mut connection = match writer.connection.take() {
            Some(connection) => connection,
            None => connection::connect(&self.pool.connect_options()).await?,
        };
        // Left behind by whatever fails, or is given up, in between.
        let mut firsts = std::mem::take(&mut writer.firsts);
        let hour = (self.clock)().div_euclid(HOUR_US);
        let mut rules: BTreeMap<&Arc<str>, Vec<&Pack>> = BTreeMap::new();
        for pack in &flush.packs {
            rules.entry(&pack.rule).or_default().push(pack);
        }
        let mut parts = Vec::with_capacity(rules.len());
        for (rule, packs) in rules {
            let ids = writer.blocks.take(&self.pool, rule, hour, packs.len()).await?;
            parts.push(Part::new(ids, packs, &mut firsts));
        }
        let new: Vec<_> = dictionary::needed(&flush.packs)
            .filter(|dictionary| !writer.dictionaries.contains(&dictionary.id()))
            .collect();
        connection::run(&mut connection, &write::begin(&self.spool)).await?;
        write::write(&mut connection, &self.spool, &parts, &new, flush.end).await?;
        writer.dictionaries.extend(new.iter().map(|dictionary| dictionary.id()));
        writer.connection = Some(connection);
        writer.firsts = firsts;
        Ok(())
    }

    async fn load_dictionaries(&self, wanted: &[DictionaryId]) -> Result<Vec<Arc<Dictionary>>, StoreError> {
        let ids = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        self.dictionaries_of(&format!("where id in ({ids})")).await
    }

    /// The dictionaries that this part of a query chooses. A damaged one is left out.
    async fn dictionaries_of(&self, choice: &str) -> Result<Vec<Arc<Dictionary>>, StoreError> {
        let query = format!("select id, made_at_us, data from dictionary {choice}");
        let mut snapshot = Lease::snapshot(&self.pool).await?;
        let found = snapshot.query(&query).await?;
        snapshot.commit().await?;
        let rows = found.read(|row| Some((row.bigint()?, row.bigint()?, row.bytea()?.to_vec())))?;
        let read = rows.into_iter().filter_map(|(id, made_at_us, octets)| {
            Dictionary::read(octets, made_at_us)
                .inspect_err(|error| tracing::error!(id, %error, "a dictionary of the store is damaged"))
                .ok()
        });
        Ok(read.map(Arc::new).collect())
    }
}

/// Makes partitions ahead, and merges what is due.
async fn maintain_once(pool: &PgPool, now_us: i64) -> Result<usize, StoreError> {
    let hour = now_us.div_euclid(HOUR_US);
    bucket::make_ahead(pool, hour).await?;
    merge::merge(pool, hour).await
}

#[async_trait]
impl Store for PostgresStore {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        // In turn with the writes of this spool: one whose answer was lost has been done by then, or never will be.
        let mut turn = Lease::begin(&self.pool, &write::begin(&self.spool)).await?;
        let row: Option<(i64, i64)> = within_limit(
            sqlx::query_as("select segment, \"offset\" from checkpoint where spool = $1")
                .bind(&self.spool)
                .persistent(false)
                .fetch_optional(turn.connection()?),
        )
        .await?;
        turn.commit().await?;
        Ok(row.map(|(segment, offset)| Position {
            segment: segment.cast_unsigned(),
            offset: offset.cast_unsigned(),
        }))
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let written = self.try_write(&mut writer, flush).await;
        if written.is_err() {
            // The buckets may be gone, or the database another.
            *writer = Writer::default();
        }
        written
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        schema::note_paths(&self.pool, paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        schema::noted_paths(&self.pool).await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        let newest = self.dictionaries_of("order by made_at_us desc, id limit 1").await?.pop();
        if let Some(dictionary) = &newest {
            self.dictionaries.keep(Arc::clone(dictionary));
        }
        Ok(newest)
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let mut walked = self.readers.walk(walk).await?;
        let missing = self.dictionaries.give(&mut walked.slices);
        if !missing.is_empty() {
            let loaded = self.load_dictionaries(&missing).await?;
            self.dictionaries.give_loaded(&mut walked.slices, &loaded);
        }
        Ok(walked)
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        retention::plan(&self.pool, retention, now_us).await
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        retention::retain(&self.pool, retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Lease::snapshot(&self.pool).await?.commit().await
    }
}
