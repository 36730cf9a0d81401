//! Connections that nothing can hang on. A server that does not answer (stopped, cut off, or waiting for a standby) costs
//! a step its time limit and the connection; and nothing is kept in a session, so that PgBouncer may stand between.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool, Postgres};

use super::copy::Found;
use crate::store::{Room, StoreError};

/// How long a step waits for the server's answer.
const LIMIT: Duration = Duration::from_secs(30);

/// How long it is tried to connect, or to get a free connection of the pool.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a question may be without an answer before the server is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(3);

/// Where to connect to, for which database, by what means: as a URL says.
///
/// # Errors
/// When it is none of PostgreSQL's.
pub fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(sqlx::Error::Configuration("expected postgres://user@host/database".into()));
    }
    // PostgreSQL's own tools take `user@/database?host=/socket/folder`; a URL as such must have a host.
    let options: PgConnectOptions = url.replacen("@/", "@localhost/", 1).parse()?;
    // PgBouncer refuses a parameter that it does not know. Nothing is prepared for longer than a transaction.
    let options = options.extra_float_digits(None).statement_cache_capacity(0).application_name("siplens");
    Ok(options.disable_statement_logging())
}

/// A pool of such connections, none of which is made yet.
#[must_use]
pub fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE).connect_lazy_with(options)
}

/// What the server answers, or an error where it takes longer than a step may.
pub async fn within_limit<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    within(LIMIT, step).await
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, step).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let message = format!("no answer from the database for {} s", limit.as_secs());
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)).into())
        }
    }
}

/// Statements without parameters or results, in one round trip. All that goes into their text are numbers and names of
/// our own.
pub async fn run(connection: &mut PgConnection, statements: &str) -> Result<(), StoreError> {
    within_limit(sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection)).await?;
    Ok(())
}

/// A connection of its own, outside the pool.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    within(PATIENCE, options.connect()).await
}

/// What is read, or an error as soon as the server has no sign of life: after some seconds without an answer it is asked for one, apart from what
/// it may be busy with. So a question may take its time, and one to a server that hangs is given up soon.
pub async fn while_alive<T>(
    pool: &PgPool,
    reading: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let silence = async {
        loop {
            tokio::time::sleep(QUIET).await;
            match connect(&pool.connect_options()).await {
                // Whoever answers is alive, even if it has no room for one more.
                Ok(_) | Err(StoreError::Unavailable(sqlx::Error::Database(_)) | StoreError::Refused(_)) => {}
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        read = reading => read,
        error = silence => Err(error),
    }
}

/// A connection of the pool, for one transaction. It goes back when the transaction has ended; where it has not (an
/// error, a time limit, a caller that gave up) it is closed, since nobody can tell what it would answer next.
pub struct Lease {
    connection: Option<PoolConnection<Postgres>>,
}

impl Lease {
    /// Takes one, and begins with these statements, `begin` among them.
    pub async fn begin(pool: &PgPool, statements: &str) -> Result<Self, StoreError> {
        let mut lease = Self { connection: Some(pool.acquire().await?) };
        run(lease.connection()?, statements).await?;
        Ok(lease)
    }

    /// A transaction that only reads, and sees one state of the database throughout.
    pub async fn snapshot(pool: &PgPool) -> Result<Self, StoreError> {
        Self::begin(
            pool,
            "begin isolation level repeatable read read only; set local statement_timeout = 30000; set local jit = off",
        )
        .await
    }

    /// A transaction that changes things, and waits for locks so long, ms.
    pub async fn transaction(pool: &PgPool, lock_timeout_ms: u32) -> Result<Self, StoreError> {
        Self::begin(
            pool,
            &format!(
                "begin; set local lock_timeout = {lock_timeout_ms};
                 set local idle_in_transaction_session_timeout = 60000; set local client_min_messages = warning"
            ),
        )
        .await
    }

    /// The connection.
    pub fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        Ok(self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?)
    }

    /// Runs a query.
    pub async fn query(&mut self, query: &str) -> Result<Found, StoreError> {
        self.query_within(query, &mut Room::unbounded()).await
    }

    /// The same, unless its rows are more than there is room for.
    pub async fn query_within(&mut self, query: &str, room: &mut Room) -> Result<Found, StoreError> {
        Found::query(self.connection()?, query, room).await
    }

    /// Runs statements.
    pub async fn run(&mut self, statements: &str) -> Result<(), StoreError> {
        run(self.connection()?, statements).await
    }

    /// Whether this transaction got a lock that others may hold; it keeps it to its end.
    pub async fn try_lock(&mut self, lock: i64) -> Result<bool, StoreError> {
        let locked = self.query(&format!("select pg_try_advisory_xact_lock({lock})::int::bigint")).await?;
        Ok(locked.read(|row| row.bigint())?.first() == Some(&1))
    }

    /// Ends the transaction, with what it changed.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        run(self.connection()?, "commit").await?;
        drop(self.connection.take());
        Ok(())
    }

    /// Ends the transaction as if it had not been.
    pub async fn roll_back(mut self) -> Result<(), StoreError> {
        run(self.connection()?, "rollback").await?;
        drop(self.connection.take());
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
