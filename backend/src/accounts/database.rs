//! The few SQL statements that accounts need, on SQLite and PostgreSQL alike: both take `$1`, and both know the types
//! `text` and `bigint`, which are all that is used.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, Row as _, SqlitePool};
use tokio::sync::OnceCell;

use super::AccountsError;
use crate::store::StoreError;
use crate::store::postgres::connection::Lease;

const TABLES: &str = "
    create table if not exists account_user (
        name text primary key,
        password_hash text not null,
        created_at_us bigint not null
    );
    create table if not exists api_token (
        name text primary key,
        hash text not null unique,
        created_at_us bigint not null
    );
    create table if not exists agent_key (
        name text primary key,
        hash text not null unique,
        agent_id bigint,
        tenant text,
        created_at_us bigint not null
    );
    create table if not exists login_session (
        hash text primary key,
        user_name text not null,
        expires_at_us bigint not null
    );
    create table if not exists secret (
        name text primary key,
        value text not null
    );
    create table if not exists customer_link (
        id text primary key,
        call_id text,
        correlation_id text,
        since_us bigint,
        until_us bigint,
        created_at_us bigint not null,
        created_by text,
        expires_at_us bigint not null,
        revoked_at_us bigint
    );
";

/// A value of a statement or a row. Typed also where it is null, since PostgreSQL asks for the type.
#[derive(Clone, Debug)]
pub enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
}

/// A row, column by column.
#[derive(Debug)]
pub struct Row(Vec<Value>);

/// What runs statements. All of them are literals, and yield `text` and `bigint` only.
#[async_trait]
pub trait Database: Send + Sync {
    /// Makes the tables that are not there.
    async fn create_tables(&self) -> Result<(), sqlx::Error>;

    /// Runs a statement; how many rows it changed.
    async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, sqlx::Error>;

    /// Runs a query.
    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, sqlx::Error>;
}

impl Row {
    /// The text in a column; `None` where it is null.
    pub fn text(&self, column: usize) -> Option<String> {
        match self.0.get(column) {
            Some(Value::Text(text)) => text.clone(),
            _ => None,
        }
    }

    /// The number in a column; `None` where it is null.
    pub fn integer(&self, column: usize) -> Option<i64> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => *number,
            _ => None,
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

/// How long to wait for another process that has the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The file, for its owner only. Its companions (`-wal`, `-shm`) take over its mode.
pub async fn open_sqlite(path: &Path) -> Result<SqlitePool, AccountsError> {
    create(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match SqlitePoolOptions::new().max_connections(4).connect_with(options.clone()).await {
            // SQLite does not wait for its turn to make a file one with a write-ahead log.
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Makes the file if it is not there. One that is must not be opened besides SQLite: closing it again would end the
/// locks that this process holds on it.
fn create(path: &Path) -> std::io::Result<()> {
    match std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// SQLite's primary result code `SQLITE_BUSY`, whatever its extension.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// What both pools do alike, in all but the names of their types.
macro_rules! run_on {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match value {
                Value::Integer(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        query
    }};
}

macro_rules! read_rows {
    ($rows:expr) => {{
        let mut found = Vec::new();
        for row in $rows {
            let values = (0..row.len()).map(|column| match row.try_get::<Option<i64>, _>(column) {
                Ok(number) => Ok(Value::Integer(number)),
                Err(sqlx::Error::ColumnDecode { .. }) => row.try_get(column).map(Value::Text),
                Err(error) => Err(error),
            });
            found.push(Row(values.collect::<Result<_, _>>()?));
        }
        found
    }};
}

#[async_trait]
impl Database for SqlitePool {
    async fn create_tables(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin_with("begin immediate").await?;
        sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
        // Tables of the first version lack this column.
        let has_tenant: bool = sqlx::query_scalar(
            "select count(*) > 0 from pragma_table_info('agent_key') where name = 'tenant'",
        )
        .fetch_one(&mut *transaction)
        .await?;
        if !has_tenant {
            sqlx::raw_sql("alter table agent_key add column tenant text").execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, sqlx::Error> {
        Ok(run_on!(sql, values).execute(self).await?.rows_affected())
    }

    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(read_rows!(run_on!(sql, values).fetch_all(self).await?))
    }
}

/// A database that may be away: before anything else is done with it its tables are made.
pub struct Awaited<D> {
    database: D,
    made: OnceCell<()>,
}

impl<D: Database> Awaited<D> {
    pub fn new(database: D) -> Self {
        Self { database, made: OnceCell::new() }
    }
}

#[async_trait]
impl<D: Database> Database for Awaited<D> {
    async fn create_tables(&self) -> Result<(), sqlx::Error> {
        self.made.get_or_try_init(|| self.database.create_tables()).await.copied()
    }

    async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, sqlx::Error> {
        self.create_tables().await?;
        self.database.execute(sql, values).await
    }

    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, sqlx::Error> {
        self.create_tables().await?;
        self.database.rows(sql, values).await
    }
}

/// How long a server may take for a few rows. Who asks is waiting for a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the server answers, or an error where it takes too long. The lease of a transaction that is given up is closed.
async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(StoreError::Unavailable(error))) => Err(error),
        Ok(Err(error)) => Err(sqlx::Error::Protocol(error.to_string())),
        Err(_) => {
            let message = format!("no answer from the database for {} s", PATIENCE.as_secs());
            Err(sqlx::Error::Io(std::io::Error::new(ErrorKind::TimedOut, message)))
        }
    }
}

/// Each statement in a transaction: PgBouncer hands on a connection at a transaction's end, so the two steps of a statement
/// must be of one, and nothing may stay prepared.
#[async_trait]
impl Database for PgPool {
    async fn create_tables(&self) -> Result<(), sqlx::Error> {
        /// Serialises the making of tables between backends that start at once.
        const LOCK: i64 = 0x7369_706c_656e_7302;
        let begin =
            format!("begin; select pg_advisory_xact_lock({LOCK}); set local client_min_messages = warning");
        in_time(async {
            let mut transaction = Lease::begin(self, &begin).await?;
            transaction.run(TABLES).await?;
            // Tables of the first version lack this column.
            transaction.run("alter table agent_key add column if not exists tenant text").await?;
            transaction.commit().await
        })
        .await
    }

    async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, sqlx::Error> {
        in_time(async {
            let mut transaction = Lease::begin(self, "begin").await?;
            let query = run_on!(sql, values).persistent(false);
            let done = query.execute(transaction.connection()?).await?;
            transaction.commit().await?;
            Ok(done.rows_affected())
        })
        .await
    }

    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, sqlx::Error> {
        let rows = in_time(async {
            let mut transaction = Lease::begin(self, "begin").await?;
            let rows = run_on!(sql, values).persistent(false).fetch_all(transaction.connection()?).await?;
            transaction.commit().await?;
            Ok(rows)
        });
        Ok(read_rows!(rows.await?))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use sqlx::AssertSqlSafe;

    use super::*;

    #[tokio::test]
    async fn the_files_are_their_owners_only() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pool = open_sqlite(&dir.path().join("accounts.sqlite")).await.expect("a new file");
        pool.create_tables().await.expect("tables");
        let files = std::fs::read_dir(dir.path()).expect("the folder").map(|file| file.expect("a file"));
        let modes: Vec<_> =
            files.map(|f| f.metadata().expect("its mode").permissions().mode() & 0o777).collect();
        // The database, its log and its shared memory.
        assert_eq!(modes, [0o600; 3]);
    }

    #[tokio::test]
    async fn tables_without_tenants_get_that_column_and_keep_their_rows() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pool = open_sqlite(&dir.path().join("accounts.sqlite")).await.expect("a new file");
        let before = TABLES.replace("        tenant text,\n", "");
        assert_ne!(before, TABLES);
        sqlx::raw_sql(AssertSqlSafe(before)).execute(&pool).await.expect("tables");
        let key = "insert into agent_key (name, hash, created_at_us) values ('edge', 'h', 1)";
        sqlx::raw_sql(key).execute(&pool).await.expect("a row");
        for _ in 0..2 {
            pool.create_tables().await.expect("tables");
            let rows = pool.rows("select name, tenant from agent_key", Vec::new()).await.expect("rows");
            assert_eq!(
                rows.iter().map(|r| (r.text(0), r.text(1))).collect::<Vec<_>>(),
                [(Some("edge".into()), None)]
            );
        }
    }

    #[tokio::test]
    async fn several_may_open_at_once() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("accounts.sqlite");
        let openings: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move {
                    open_sqlite(&path).await?.create_tables().await.map_err(AccountsError::from)
                })
            })
            .collect();
        for opening in openings {
            opening.await.expect("no panic").expect("opened");
        }
    }
}
