//! Where searches read: from a replica if there is one and it answers, else from the database that is written to.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::walk;
use crate::store::{StoreError, Walk, Walked};
use crate::telemetry::ReplicaMetrics;

/// How long a replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a replica that failed is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// A read replica.
pub struct Replica {
    pool: PgPool,
    metrics: ReplicaMetrics,
    /// Since it failed last, and until when it is left alone.
    away_until: Mutex<Option<Instant>>,
}

/// Which databases there are to read from.
pub struct Readers {
    primary: PgPool,
    replica: Option<Replica>,
}

impl Readers {
    pub fn new(primary: PgPool, replica: Option<(PgPool, ReplicaMetrics)>) -> Self {
        let replica = replica.map(|(pool, metrics)| Replica { pool, metrics, away_until: Mutex::new(None) });
        if let Some(replica) = &replica {
            replica.metrics.is_up.set(1);
        }
        Self { primary, replica }
    }

    /// The next slices of a walk over the replica, or where that fails, over the primary.
    pub async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        if let Some(replica) = &self.replica {
            if replica.is_worth_asking() {
                match tokio::time::timeout(PATIENCE, walk::walk(&replica.pool, walk)).await {
                    Ok(Ok(found)) => {
                        replica.answered();
                        return Ok(found);
                    }
                    Ok(Err(error)) => replica.failed(&error.to_string()),
                    Err(_) => replica.failed("no answer"),
                }
            }
            replica.metrics.fallbacks.inc();
        }
        walk::walk(&self.primary, walk).await
    }
}

impl Replica {
    fn is_worth_asking(&self) -> bool {
        let away_until = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        away_until.is_none_or(|until| Instant::now() >= until)
    }

    fn answered(&self) {
        let mut away_until = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if away_until.take().is_some() {
            self.metrics.is_up.set(1);
            tracing::info!("the read replica answers again; searches read from it");
        }
    }

    fn failed(&self, error: &str) {
        let mut away_until = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        if away_until.replace(Instant::now() + PAUSE).is_none() {
            self.metrics.is_up.set(0);
            tracing::warn!(error, "the read replica failed; searches read from the database itself");
        }
    }
}
