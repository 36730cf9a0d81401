//! Opens what the configuration names: files under the data folder, PostgreSQL, or ClickHouse beside one of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::metrics::gauge::Gauge;
use sqlx::PgPool;

use crate::accounts::{self, Accounts, AccountsError};
use crate::config::{Config, Database};
use crate::descriptors;
use crate::store::awaited::{self, Opening};
use crate::store::clickhouse::http::{self, Access};
use crate::store::clickhouse::{self, ClickhouseStore};
use crate::store::postgres::{PostgresStore, connection};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
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
    if config.clickhouse.is_used() {
        return clickhouse(config, None, &Gauge::default()).await;
    }
    if config.database.url.is_empty() {
        return Ok(Arc::new(SqliteStore::look(&data_dir(config)?.join("store")).await?));
    }
    // No spool has this name, so no checkpoint is taken for another's.
    let pool = pool(&config.database.url, "database.url", config.database.connections)?;
    Ok(Arc::new(PostgresStore::open(pool, "").await.context("database.url")?))
}

/// The store of messages alone, to be written to from a source of this name that is no spool. The embedded store must not
/// be open elsewhere.
///
/// # Errors
/// When the database cannot be opened.
pub async fn store_for(config: &Config, source: &str) -> Result<Arc<dyn Store>> {
    if config.clickhouse.is_used() {
        let name = source.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let folder = data_dir(config)?.join("sources").join(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        return clickhouse(config, Some(folder), &Gauge::default()).await;
    }
    if config.database.url.is_empty() {
        let dir = data_dir(config)?.join("store");
        return Ok(Arc::new(SqliteStore::open_with(&dir, source, config.database.writers()).await?));
    }
    let pool = pool(&config.database.url, "database.url", config.database.connections)?;
    // Who writes for hours needs partitions that are not there yet.
    Ok(Arc::new(PostgresStore::open(pool, source).await.context("database.url")?.maintained()))
}

/// The store of messages on ClickHouse servers. How far the source is stored is kept in the folder; without one it is only
/// read.
async fn clickhouse(config: &Config, folder: Option<PathBuf>, away: &Gauge) -> Result<Arc<dyn Store>> {
    clickhouse_opening(config, folder, away)?().await.context("clickhouse.shards")
}

/// What opens it.
fn clickhouse_opening(
    config: &Config,
    folder: Option<PathBuf>,
    away: &Gauge,
) -> Result<impl Fn() -> Opening + Send + Sync + use<>> {
    let settings = &config.clickhouse;
    let authorities = Some(settings.tls_ca.as_path()).filter(|path| !path.as_os_str().is_empty());
    let access = Access {
        // Never in the configuration, which is printed and copied.
        password: std::env::var("SIPLENS_CLICKHOUSE_PASSWORD").unwrap_or_default(),
        timeout: Duration::from_secs(settings.timeout_seconds),
        insert_quorum: settings.insert_quorum,
        tls: http::tls(authorities).map_err(anyhow::Error::msg).context("clickhouse.tls_ca")?,
    };
    let (servers, layout, away) = (settings.servers(), settings.layout(), away.clone());
    Ok(move || {
        let (servers, access, layout) = (servers.clone(), access.clone(), layout.clone());
        let (folder, away) = (folder.clone(), away.clone());
        Box::pin(async move {
            let store = ClickhouseStore::open(servers, &access, &layout, folder.as_deref(), &away).await?;
            Ok(Arc::new(store) as Arc<dyn Store>)
        }) as Opening
    })
}

/// The store of messages, for what comes from the spool of this name, and users, tokens and links. What is on another machine is
/// waited for if it is away: until it can be reached, whoever asks it is told so.
///
/// # Errors
/// When a file cannot be opened, or what is on another machine answers what no waiting mends.
pub async fn open(
    config: &Config,
    spool: &str,
    metrics: &Metrics,
) -> Result<(Arc<dyn Store>, Arc<Accounts>)> {
    let files = descriptors::allow();
    if config.clickhouse.is_used() {
        let folder = data_dir(config)?.join("spool");
        let opening = clickhouse_opening(config, Some(folder), &metrics.servers_away)?;
        let store = awaited::open(opening).await.context("clickhouse.shards")?;
        if config.database.url.is_empty() {
            return Ok((store, accounts(config).await?));
        }
        let pool = pool(&config.database.url, "database.url", config.database.connections)?;
        return Ok((store, awaited_accounts(pool).await?));
    }
    let Database { url, read_url, connections, .. } = &config.database;
    if url.is_empty() {
        let dir = data_dir(config)?.join("store");
        let store = SqliteStore::open_with(&dir, spool, config.database.writers()).await?;
        // Streams of HEP and others need some, too.
        let readers = config.memory.budget().readers().min(files / 4);
        let store = store.with_idle_readers(readers);
        return Ok((Arc::new(store), accounts(config).await?));
    }
    let primary = pool(url, "database.url", *connections)?;
    let replica = match read_url.is_empty() {
        true => None,
        false => Some((pool(read_url, "database.read_url", *connections)?, metrics.replica.clone())),
    };
    let (pool, spool) = (primary.clone(), spool.to_owned());
    let store = awaited::open(move || {
        let (pool, spool, replica) = (pool.clone(), spool.clone(), replica.clone());
        Box::pin(async move {
            let mut store = PostgresStore::open(pool, &spool).await?.maintained();
            if let Some((replica, metrics)) = replica {
                store = store.with_replica(replica, metrics);
            }
            Ok(Arc::new(store) as Arc<dyn Store>)
        })
    });
    let store = store.await.context("database.url")?;
    Ok((store, awaited_accounts(primary).await?))
}

/// Users, tokens and links in a database that may be away.
async fn awaited_accounts(pool: PgPool) -> Result<Arc<Accounts>> {
    let accounts = accounts::await_postgres(pool);
    match accounts.prepare().await {
        Err(AccountsError::Database(error)) => {
            let error = StoreError::from(error);
            if error.is_lasting() {
                return Err(error).context("database.url");
            }
            tracing::error!(%error, "users, tokens and links cannot be read yet; nobody can log in until they can be");
        }
        prepared => prepared?,
    }
    Ok(accounts)
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

/// How many [homes](crate::store::slice::Cutter::homes) what the store gets is divided among.
#[must_use]
pub const fn homes(config: &Config) -> u64 {
    if config.clickhouse.is_used() { clickhouse::HOMES } else { 0 }
}
