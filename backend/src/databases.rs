//! Opens what the configuration names: files under the data folder, or PostgreSQL.

use std::sync::Arc;

use anyhow::{Context, Result};
use sqlx::PgPool;

use crate::accounts::{self, Accounts};
use crate::config::{Config, Database};
use crate::store::Store;
use crate::store::postgres::{PostgresStore, connection};
use crate::store::sqlite::SqliteStore;
use crate::telemetry::Metrics;

/// Users, tokens and links.
///
/// # Errors
/// When the database cannot be opened.
pub async fn accounts(config: &Config) -> Result<Arc<Accounts>> {
    if config.database.url.is_empty() {
        let dir = data_dir(config)?;
        let path = dir.join("accounts.sqlite");
        return accounts::open_sqlite(&path).await.with_context(|| path.display().to_string());
    }
    let pool = pool(&config.database.url, "database.url", config.database.connections)?;
    accounts::open_postgres(pool).await.context("database.url")
}

/// The store of messages alone, to be looked at beside a backend that runs.
///
/// # Errors
/// When the database cannot be opened.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>> {
    // No spool has this name, so no checkpoint is taken for another's.
    if config.database.url.is_empty() {
        return Ok(Arc::new(sqlite(config, "").await?));
    }
    let pool = pool(&config.database.url, "database.url", config.database.connections)?;
    Ok(Arc::new(PostgresStore::open(pool, "").await.context("database.url")?))
}

/// The store of messages, for what comes from the spool of this name, and users, tokens and links.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open(
    config: &Config,
    spool: &str,
    metrics: &Metrics,
) -> Result<(Arc<dyn Store>, Arc<Accounts>)> {
    let Database { url, read_url, connections } = &config.database;
    if url.is_empty() {
        return Ok((Arc::new(sqlite(config, spool).await?), accounts(config).await?));
    }
    let primary = pool(url, "database.url", *connections)?;
    let mut store = PostgresStore::open(primary.clone(), spool).await.context("database.url")?.maintained();
    if !read_url.is_empty() {
        let replica = pool(read_url, "database.read_url", *connections)?;
        store = store.with_replica(replica, metrics.replica.clone());
    }
    let accounts = accounts::open_postgres(primary).await.context("database.url")?;
    Ok((Arc::new(store), accounts))
}

async fn sqlite(config: &Config, spool: &str) -> Result<SqliteStore> {
    Ok(SqliteStore::open(&data_dir(config)?.join("store"), spool).await?)
}

/// The data folder, made if it isn't there; only its owner can look into it.
///
/// # Errors
/// When it cannot be made.
pub fn data_dir(config: &Config) -> Result<&std::path::Path> {
    use std::os::unix::fs::DirBuilderExt;
    let dir = config.data.dir.as_path();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("data.dir: {}", dir.display()))?;
    Ok(dir)
}

/// Connections to a PostgreSQL database, the setting with this name.
fn pool(url: &str, key: &'static str, connections: u32) -> Result<PgPool> {
    Ok(connection::pool(connection::options(url).context(key)?, connections))
}
