//! The store for more than one machine: ClickHouse servers, as shards of one or several replicas each.
//!
//! A slice is on one shard, found by its call; its keys are in a table of their own beside it, in the order of walks. All
//! shards are asked whenever something is looked for, by this backend itself, so that it knows which did not answer. So
//! a slice may be on any shard, and while one is away what is written goes to the others. See ADR 0024.

pub mod http;
mod ledger;
mod place;
mod read;
mod retain;
mod rows;
pub mod schema;
mod shard;
mod write;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex;

use super::dictionary::Dictionaries;
use super::{Dictionary, Flush, Plan, Retention, Store, StoreError, Walk, Walked};
use crate::call::event::PathSet;
use crate::spool::Position;
use crate::telemetry::clock;
use http::{Access, Failure, ServerUrl};
use ledger::Ledger;
pub use place::HOMES;
use schema::Layout;
use shard::Shard;
use write::Writer;

/// A store on ClickHouse servers.
pub struct ClickhouseStore {
    shards: Vec<Shard>,
    writer: Mutex<Writer>,
    dictionaries: Dictionaries,
    now_us: fn() -> i64,
}

impl ClickhouseStore {
    /// Opens the store for the spool in this folder, which also keeps how far it is stored; only to be read where it is
    /// `None`. Each shard is a list of replicas; how many of all are away is said in `away`.
    ///
    /// # Errors
    /// When no shard can be reached, one has tables of another version, or the folder cannot be written.
    pub async fn open(
        shards: Vec<Vec<ServerUrl>>,
        access: &Access,
        layout: &Layout,
        spool: Option<&Path>,
        away: &Gauge,
    ) -> Result<Self, StoreError> {
        let shards: Vec<_> = shards.into_iter().map(|urls| Shard::new(urls, access, layout, away)).collect();
        let opened = join_all(shards.iter().map(Shard::open)).await;
        let mut last = None;
        let mut reached = 0;
        for opened in opened {
            match opened {
                Ok(()) => reached += 1,
                Err(schema::PrepareError::Failure(failure)) => last = Some(failure),
                Err(error) => return Err(error.into()),
            }
        }
        if reached == 0 {
            return Err(last.map_or_else(
                || StoreError::Away("no shard is configured".into()),
                |failure| match failure {
                    Failure::Refused(complaint) if schema::is_lasting(&complaint) => {
                        StoreError::Refused(complaint)
                    }
                    failure => failure.into(),
                },
            ));
        }
        let ledger = match spool {
            None => Ledger::none(),
            Some(dir) => Ledger::open(dir).map_err(|error| StoreError::File {
                path: dir.display().to_string(),
                message: format!("clickhouse.json: {error}"),
            })?,
        };
        Ok(Self {
            shards,
            writer: Mutex::new(Writer::new(ledger)),
            dictionaries: Dictionaries::default(),
            now_us: clock::now_us,
        })
    }

    /// The same store, to which it is another time.
    #[cfg(test)]
    pub(super) fn at(self, now_us: fn() -> i64) -> Self {
        Self { now_us, ..self }
    }
}

#[async_trait]
impl Store for ClickhouseStore {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.writer.lock().await.checkpoint())
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        self.writer.lock().await.write(&self.shards, flush, (self.now_us)()).await
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let mut walked = read::walk(&self.shards, walk).await?;
        let missing = self.dictionaries.give(&mut walked.slices);
        if !missing.is_empty() {
            let loaded = read::dictionaries(&self.shards, &missing, &mut walked.partial).await?;
            self.dictionaries.give_loaded(&mut walked.slices, &loaded);
        }
        Ok(walked)
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        write::note_paths(&self.shards, paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        read::noted_paths(&self.shards).await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        read::newest_dictionary(&self.shards).await
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        retain::plan(&self.shards, retention, now_us).await
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        retain::retain(&self.shards, retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let answers = join_all(self.shards.iter().map(|shard| shard.ask("select 1"))).await;
        // What one shard does not answer, searches say.
        let mut failures = answers.iter().filter_map(|answer| answer.as_ref().err());
        match failures.next() {
            Some(failure) if failures.count() + 1 == self.shards.len() => Err(failure.clone().into()),
            _ => Ok(()),
        }
    }
}
