//! Who may ask the operator's API, which customer links exist, and the secret that signs them: what the backend knows
//! about people, kept apart from what it captured. ADR 0006.
//!
//! Nothing here can be used if it leaks: passwords are argon2id hashes, API tokens and login sessions SHA-256 hashes of
//! random values that were shown once. The signing secret is the exception; whoever reads it can make links.

mod agent_keys;
mod database;
mod failures;
mod links;
mod password;
mod secret;
mod sessions;
mod tokens;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sqlx::PgPool;
use tokio::sync::Semaphore;

pub use agent_keys::AgentKey;
use database::Database;
use failures::Failures;
pub use links::{LinkRow, LinkTable};
pub use sessions::LOGIN_SECONDS;
pub use tokens::Token;
pub use users::User;

/// Password hashes that are computed at a time: each takes 19 MiB and tens of milliseconds of one core.
const HASHES_AT_A_TIME: usize = 2;

/// Users, API tokens and login sessions.
pub struct Accounts {
    database: Arc<dyn Database>,
    hashing: Semaphore,
    passwords: password::Cache,
    failures: Failures,
    /// Until when it is known that a user or token exists, µs since the epoch.
    closed_until_us: AtomicI64,
}

/// An account could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// Not a usable key for an agent.
    #[error("key: expected 16 to 255 characters, found {0}")]
    AgentKey(usize),
    /// The database refused or is away.
    #[error("accounts are unavailable: {0}")]
    Database(#[from] sqlx::Error),
    /// Too many wrong passwords.
    #[error("too many wrong passwords for this name")]
    Failures,
    /// The file cannot be used.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// A hash could not be made or read.
    #[error("password hash: {0}")]
    Hash(String),
    /// Not a usable name.
    #[error("name: expected 1 to 64 of a-z A-Z 0-9 . _ @ -, found {0:?}")]
    Name(String),
    /// Not a usable password.
    #[error("password: expected {shortest} to {longest} characters, found {0}", shortest = password::SHORTEST, longest = password::LONGEST)]
    Password(usize),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// The name is taken.
    #[error("{0} exists already")]
    Taken(String),
}

/// Opens the accounts in a SQLite file, which is made if it isn't there, readable by its owner only.
///
/// # Errors
/// When the file cannot be used.
pub async fn open_sqlite(path: &Path) -> Result<Arc<Accounts>, AccountsError> {
    open(Arc::new(database::open_sqlite(path).await?)).await
}

/// Opens the accounts in a PostgreSQL database.
///
/// # Errors
/// When the database is away.
pub async fn open_postgres(pool: PgPool) -> Result<Arc<Accounts>, AccountsError> {
    open(Arc::new(pool)).await
}

/// The accounts in a PostgreSQL database that may be away: its tables are made when it is first reached.
#[must_use]
pub fn await_postgres(pool: PgPool) -> Arc<Accounts> {
    Accounts::new(Arc::new(database::Awaited::new(pool)))
}

async fn open(database: Arc<dyn Database>) -> Result<Arc<Accounts>, AccountsError> {
    database.create_tables().await?;
    Ok(Accounts::new(database))
}

impl Accounts {
    fn new(database: Arc<dyn Database>) -> Arc<Self> {
        Arc::new(Self {
            database,
            hashing: Semaphore::new(HASHES_AT_A_TIME),
            passwords: password::Cache::default(),
            failures: Failures::default(),
            closed_until_us: AtomicI64::new(0),
        })
    }

    /// Makes the tables where they are not there.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn prepare(&self) -> Result<(), AccountsError> {
        Ok(self.database.create_tables().await?)
    }

    /// The links that were made, and nothing else of the accounts.
    #[must_use]
    pub fn links(&self) -> LinkTable {
        LinkTable::new(Arc::clone(&self.database))
    }
}

fn check_name(name: &str) -> Result<(), AccountsError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(AccountsError::Name(name.chars().take(64).collect()))
}
