//! Opens what the configuration names: files under the data folder, or PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::accounts::{self, Accounts};
use crate::config::Config;
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;

/// How long a query waits for a free connection, or for a database that is away.
const PATIENCE: Duration = Duration::from_secs(5);

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
    accounts::open_postgres(pool(config).await?).await.context("database.url")
}

/// The store of messages alone, to be looked at beside a backend that runs.
///
/// # Errors
/// When the database cannot be opened.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>> {
    // No spool has this name, so no checkpoint is taken for another's.
    Ok(open(config, "").await?.0)
}

/// The store of messages, for what comes from the spool of this name, and users, tokens and links.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open(config: &Config, spool: &str) -> Result<(Arc<dyn Store>, Arc<Accounts>)> {
    if config.database.url.is_empty() {
        let dir = data_dir(config)?.join("store");
        return Ok((Arc::new(SqliteStore::open(&dir, spool).await?), accounts(config).await?));
    }
    let pool = pool(config).await?;
    let store = PostgresStore::open(pool.clone(), spool).await.context("database.url")?;
    Ok((Arc::new(store), accounts::open_postgres(pool).await.context("database.url")?))
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

async fn pool(config: &Config) -> Result<PgPool> {
    // PostgreSQL's own tools take `user@/database?host=/socket/folder`; a URL as such must have a host.
    let url = config.database.url.replacen("@/", "@localhost/", 1);
    PgPoolOptions::new()
        .max_connections(config.database.connections)
        .acquire_timeout(PATIENCE)
        .connect(&url)
        .await
        .context("database.url")
}
