//! Where searches read: from a replica if there is one and it answers, else from the database that is written to.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::connection::while_alive;
use super::walk;
use crate::store::{StoreError, Walk, Walked};
use crate::telemetry::ReplicaMetrics;

/// How often a read is tried that the replica gives up.
const TRIES: u32 = 3;

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
            if replica.is_worth_asking()
                && let Some(found) = replica.walk(walk).await
            {
                return found;
            }
            replica.metrics.fallbacks.inc();
        }
        while_alive(&self.primary, walk::walk(&self.primary, walk)).await
    }
}

/// Whether a standby gave up a query for what it had to replay: a partition that went, rows that were cleaned away. PostgreSQL's
/// `serialization_failure` and `deadlock_detected`.
fn is_conflict(error: &StoreError) -> bool {
    let code =
        |error: &dyn sqlx::error::DatabaseError| matches!(error.code().as_deref(), Some("40001" | "40P01"));
    matches!(error, StoreError::Unavailable(sqlx::Error::Database(error)) if code(&**error))
}

/// Whether a connection ended: where it stood between two queries, a standby gives up both.
fn is_cut(error: &StoreError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let StoreError::Unavailable(sqlx::Error::Io(error)) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

impl Replica {
    /// The next slices of a walk; `None` where it has to be taken elsewhere. A read that was given up is tried again: it sees what had
    /// to be replayed.
    async fn walk(&self, walk: &Walk) -> Option<Result<Walked, StoreError>> {
        for tried in 0..TRIES {
            match while_alive(&self.pool, walk::walk(&self.pool, walk)).await {
                found @ (Ok(_) | Err(StoreError::TooMuch)) => {
                    if tried > 0 {
                        self.metrics.conflicts.inc();
                    }
                    self.answered();
                    return Some(found);
                }
                Err(error) if is_conflict(&error) || is_cut(&error) && tried + 1 < TRIES => {}
                Err(error) => {
                    self.failed(&error.to_string());
                    return None;
                }
            }
        }
        self.metrics.conflicts.inc();
        None
    }

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
