//! `store.sqlite`: which flushes count. A flush first goes into the files of its buckets, and counts once it stands here;
//! so it is stored as a whole or not at all, however many files it goes to.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::Mutex;

use super::file;
use crate::call::event::PathSet;
use crate::spool::Position;
use crate::store::StoreError;

const FILE: &str = "store.sqlite";

const DDL: &str = "
    create table checkpoint (spool text primary key, segment integer not null, offset integer not null) without rowid;
    create table flush (last integer not null);
    create table abandoned (flush integer primary key);
";

/// Under which paths events of this store are keyed.
const EVENT_PATHS: &str = "create table if not exists event_paths (paths text primary key) without rowid";

/// Of a store without buckets no flush counts. Where buckets are there before the ledger, it was lost, and all of them do.
const NONE_COUNTS: &str = "insert into flush values (0);";

/// Which flushes count, as it was found at the opening.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counted {
    /// The last that does; `None` where that is not known, and all do that are found.
    pub last: Option<i64>,
    /// Those before it that do not, in order.
    pub abandoned: Vec<i64>,
}

impl Counted {
    /// Whether a flush counts.
    pub fn holds(&self, flush: i64) -> bool {
        self.last.is_none_or(|last| flush <= last) && self.abandoned.binary_search(&flush).is_err()
    }
}

/// The open ledger.
pub struct Ledger {
    options: SqliteConnectOptions,
    path: PathBuf,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Ledger {
    /// Opens the ledger of the store in this folder, which is begun if it isn't there. One that is damaged is set aside.
    pub async fn open(dir: &Path, is_empty: bool) -> Result<(Self, Counted), StoreError> {
        let path = dir.join(FILE);
        match Self::open_file(&path, is_empty).await {
            Err(StoreError::Unavailable(error)) if file::is_damage(&error) => {
                file::set_aside(&path)?;
                tracing::error!(file = %path.display(), %error, "is damaged and set aside; how far the spool is stored is not known");
                Self::open_file(&path, is_empty).await
            }
            opened => opened,
        }
    }

    async fn open_file(path: &Path, is_empty: bool) -> Result<(Self, Counted), StoreError> {
        let options = file::options(path);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        file::make(&mut connection, path, &[DDL, if is_empty { NONE_COUNTS } else { "" }].concat()).await?;
        sqlx::raw_sql(EVENT_PATHS).execute(&mut connection).await?;
        let last = sqlx::query_scalar("select max(last) from flush").fetch_one(&mut connection).await?;
        let abandoned = sqlx::query_scalar("select flush from abandoned order by flush")
            .fetch_all(&mut connection)
            .await?;
        let ledger = Self { options, path: path.to_owned(), connection: Mutex::new(Some(connection)) };
        Ok((ledger, Counted { last, abandoned }))
    }

    /// The ledger of a store that is only looked at.
    pub fn look(dir: &Path) -> Self {
        let path = dir.join(FILE);
        Self { options: file::read_options(&path), path, connection: Mutex::default() }
    }

    /// Its files.
    pub fn files(&self) -> [PathBuf; 3] {
        file::with_companions(&self.path)
    }

    /// How far a spool is stored.
    pub async fn checkpoint(&self, spool: &str) -> Result<Option<Position>, StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = self.take(&mut place).await?;
        let row: Option<(i64, i64)> =
            sqlx::query_as("select segment, offset from checkpoint where spool = $1")
                .bind(spool)
                .fetch_optional(&mut connection)
                .await?;
        *place = Some(connection);
        Ok(row.map(|(segment, offset)| Position {
            segment: segment.cast_unsigned(),
            offset: offset.cast_unsigned(),
        }))
    }

    /// From now on a flush counts, and a spool is stored so far.
    pub async fn count(&self, flush: i64, spool: &str, end: Position) -> Result<(), StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = self.take(&mut place).await?;
        let mut transaction = connection.begin().await?;
        sqlx::query("delete from flush").execute(&mut *transaction).await?;
        sqlx::query("insert into flush (last) values ($1)").bind(flush).execute(&mut *transaction).await?;
        sqlx::query("insert or replace into checkpoint (spool, segment, offset) values ($1, $2, $3)")
            .bind(spool)
            .bind(end.segment.cast_signed())
            .bind(end.offset.cast_signed())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        *place = Some(connection);
        Ok(())
    }

    /// A flush that failed will never count, whatever stands in the files of buckets.
    pub async fn abandon(&self, flush: i64) -> Result<(), StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = self.take(&mut place).await?;
        sqlx::query("insert or ignore into abandoned (flush) values ($1)")
            .bind(flush)
            .execute(&mut connection)
            .await?;
        *place = Some(connection);
        Ok(())
    }

    /// What was abandoned is gone from all buckets.
    pub async fn forget_abandoned(&self) -> Result<(), StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = self.take(&mut place).await?;
        sqlx::query("delete from abandoned").execute(&mut connection).await?;
        *place = Some(connection);
        Ok(())
    }

    /// Keeps a set of paths.
    pub async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = self.take(&mut place).await?;
        sqlx::query("insert or ignore into event_paths (paths) values ($1)")
            .bind(paths.as_str())
            .execute(&mut connection)
            .await?;
        *place = Some(connection);
        Ok(())
    }

    /// All sets of paths that were kept.
    pub async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        let mut place = self.connection.lock().await;
        let mut connection = self.take(&mut place).await?;
        let found: Vec<String> = sqlx::query_scalar("select paths from event_paths order by paths")
            .fetch_all(&mut connection)
            .await?;
        *place = Some(connection);
        Ok(found.into_iter().map(PathSet::kept).collect())
    }

    /// The connection; after an error it is not used again, as its transaction may be in any state.
    async fn take(&self, place: &mut Option<SqliteConnection>) -> Result<SqliteConnection, StoreError> {
        match place.take() {
            Some(connection) => Ok(connection),
            None => Ok(SqliteConnection::connect_with(&self.options).await?),
        }
    }
}
