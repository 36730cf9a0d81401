//! One SQLite file of the embedded store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::spool::Position;
use crate::store::dictionary::{self, Dictionaries};
use crate::store::retention::Piece;
use crate::store::{Dictionary, DictionaryId, Flush, StoreError, StoredSlice, Walk, rule};

const SCHEMA: i64 = 2;

const DDL: &str = "
    create table slice (
        id integer primary key,
        first_us integer not null,
        count integer not null,
        blob blob not null
    );
    create index slice_first on slice (first_us);
    create table slice_key (
        key integer not null,
        first_us integer not null,
        slice integer not null,
        primary key (key, first_us, slice)
    ) without rowid;
    create table dictionary (id integer primary key, made_at_us integer not null, octets blob not null);
    create table checkpoint (spool text primary key, segment integer not null, offset integer not null) without rowid;
    pragma user_version = 2;
";

/// Rows of one bucket take the low bits of a slice's id, the bucket's number the high ones.
const ROW_BITS: u32 = 32;

const NOTHING: i64 = i64::MIN;

/// Rows of one insert; SQLite takes 32,766 parameters in a statement.
const ROWS_OF_SLICES: usize = 64;
const ROWS_OF_KEYS: usize = 512;

/// A bucket, which may still grow.
pub struct Bucket {
    number: u32,
    pool: SqlitePool,
    writer: tokio::sync::Mutex<Option<SqliteConnection>>,
    options: SqliteConnectOptions,
    newest_us: AtomicI64,
    path: PathBuf,
    gone: AtomicBool,
}

fn file_name(number: u32) -> String {
    format!("bucket-{number:06}.sqlite")
}

/// Deletes a companion of a bucket that is gone: what a crash in the middle of a bucket's removal leaves.
pub fn remove_orphan(dir: &Path, name: &std::ffi::OsStr) {
    let database =
        name.to_str().and_then(|name| name.strip_suffix("-wal").or_else(|| name.strip_suffix("-shm")));
    let Some(database) = database.filter(|name| number_of(name).is_some()) else { return };
    if !dir.join(database).exists()
        && let Err(error) = std::fs::remove_file(dir.join(name))
    {
        tracing::warn!(file = %name.display(), %error, "what is left of a bucket that is gone cannot be deleted");
    }
}

/// The number of the bucket that is kept in a file of this name.
pub fn number_of(file_name: &str) -> Option<u32> {
    file_name.strip_prefix("bucket-")?.strip_suffix(".sqlite")?.parse().ok()
}

impl Bucket {
    /// Opens a bucket, or begins it.
    pub async fn open(dir: &Path, number: u32) -> Result<Self, StoreError> {
        let path = dir.join(file_name(number));
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .page_size(8192)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let found: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut connection).await?;
        match found {
            SCHEMA => {}
            // In one transaction, so that a crash leaves either an empty file or a whole schema.
            0 => {
                let mut transaction = connection.begin().await?;
                sqlx::raw_sql(DDL).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
            found => {
                return Err(StoreError::Schema {
                    place: path.display().to_string(),
                    expected: SCHEMA,
                    found,
                });
            }
        }
        let newest_us: Option<i64> =
            sqlx::query_scalar("select max(first_us) from slice").fetch_one(&mut connection).await?;
        connection.close().await?;
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options.clone().read_only(true));
        Ok(Self {
            number,
            pool,
            writer: tokio::sync::Mutex::new(None),
            options,
            newest_us: AtomicI64::new(newest_us.unwrap_or(NOTHING)),
            path,
            gone: AtomicBool::new(false),
        })
    }

    /// Its octets on disk.
    pub fn bytes(&self) -> u64 {
        self.files().iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
    }

    /// It as a piece that can go. A message is no younger than its bucket's last change, whatever its agent's clock says.
    pub fn piece(&self, now_us: i64) -> Piece {
        let changed = || std::fs::metadata(&self.path).ok()?.modified().ok();
        let changed_us =
            changed().and_then(|at| i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok());
        Piece {
            name: file_name(self.number),
            rule: rule::default_name(),
            newest_us: self.newest_us().map(|us| us.min(changed_us.unwrap_or(now_us))),
            bytes: self.bytes(),
            stays: false,
        }
    }

    /// Deletes it. Who reads it at the moment finds what is left to find, without an error.
    pub async fn remove(&self) -> Result<(), StoreError> {
        self.gone.store(true, Ordering::Release);
        *self.writer.lock().await = None;
        self.pool.close().await;
        for path in self.files() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::File {
                        path: path.display().to_string(),
                        message: error.to_string(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The database first: without it the others are nothing.
    fn files(&self) -> [PathBuf; 3] {
        ["", "-wal", "-shm"].map(|ending| {
            let mut path = self.path.clone().into_os_string();
            path.push(ending);
            path.into()
        })
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Time of the youngest first message of a slice, µs since the epoch; `None` while the bucket is empty.
    pub fn newest_us(&self) -> Option<i64> {
        Some(self.newest_us.load(Ordering::Acquire)).filter(|us| *us != NOTHING)
    }

    pub async fn checkpoint(&self, spool: &str) -> Result<Option<Position>, StoreError> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("select segment, offset from checkpoint where spool = $1")
                .bind(spool)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(segment, offset)| Position {
            segment: segment.cast_unsigned(),
            offset: offset.cast_unsigned(),
        }))
    }

    /// Stores a flush, all of it or nothing.
    pub async fn write(&self, spool: &str, flush: &Flush) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        // After an error the connection is not used again: its transaction may be in any state.
        let mut connection = match writer.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        write(&mut connection, spool, flush).await?;
        *writer = Some(connection);
        if let Some(newest) = flush.slices.iter().map(|s| s.first_us).max() {
            self.newest_us.fetch_max(newest, Ordering::AcqRel);
        }
        Ok(())
    }

    /// The next slices of a walk that are in this bucket.
    pub async fn walk(
        &self,
        walk: &Walk,
        dictionaries: &Dictionaries,
    ) -> Result<Vec<StoredSlice>, StoreError> {
        let (after_us, after_row) = self.after(walk.after);
        let mut query = sqlx::query(walk.sql())
            .bind(walk.first_since_us.unwrap_or(i64::MIN))
            .bind(walk.first_until_us.unwrap_or(i64::MAX))
            .bind(after_us)
            .bind(after_row)
            .bind(walk.limit);
        if let Some(key) = walk.key {
            query = query.bind(key.hash());
        }
        let slices = async {
            let mut slices = Vec::new();
            for row in query.fetch_all(&self.pool).await? {
                let id: i64 = row.try_get(0)?;
                slices.push(StoredSlice {
                    id: i64::from(self.number) << ROW_BITS | id,
                    first_us: row.try_get(1)?,
                    dictionary: None,
                    blob: row.try_get(2)?,
                });
            }
            let missing = dictionaries.give(&mut slices);
            if !missing.is_empty() {
                dictionaries.give_loaded(&mut slices, &self.dictionaries(&missing).await?);
            }
            Ok(slices)
        };
        match slices.await {
            Err(_) if self.gone.load(Ordering::Acquire) => Ok(Vec::new()),
            slices => slices,
        }
    }

    /// The newest dictionary that its slices need.
    pub async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        let sql = "select made_at_us, octets from dictionary order by made_at_us desc limit 1";
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(sql).fetch_optional(&self.pool).await?;
        Ok(row.and_then(|(made_at_us, octets)| dictionary::stored(octets, made_at_us, &self.path.display())))
    }

    /// Those of these dictionaries that are there, and whole.
    async fn dictionaries(&self, ids: &[DictionaryId]) -> Result<Vec<Arc<Dictionary>>, StoreError> {
        let mut found = Vec::new();
        for id in ids {
            let row: Option<(i64, Vec<u8>)> =
                sqlx::query_as("select made_at_us, octets from dictionary where id = $1")
                    .bind(id.get())
                    .fetch_optional(&self.pool)
                    .await?;
            found.extend(row.and_then(|(made_at_us, octets)| {
                dictionary::stored(octets, made_at_us, &self.path.display())
            }));
        }
        Ok(found)
    }

    /// A place in the walk over all buckets, as one in this bucket.
    fn after(&self, after: Option<(i64, i64)>) -> (i64, i64) {
        let Some((first_us, id)) = after else { return (i64::MAX, i64::MAX) };
        let row = match (id >> ROW_BITS).cmp(&i64::from(self.number)) {
            std::cmp::Ordering::Less => i64::MIN,
            std::cmp::Ordering::Equal => id & ((1 << ROW_BITS) - 1),
            std::cmp::Ordering::Greater => i64::MAX,
        };
        (first_us, row)
    }
}

async fn write(connection: &mut SqliteConnection, spool: &str, flush: &Flush) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    // Nobody else writes to this file, so the ids can be given out here, and many rows go in with one statement.
    let last: Option<i64> =
        sqlx::query_scalar("select max(id) from slice").fetch_one(&mut *transaction).await?;
    let slices: Vec<_> = (last.unwrap_or(0) + 1..).zip(&flush.slices).collect();
    for rows in slices.chunks(ROWS_OF_SLICES) {
        let mut insert = QueryBuilder::<Sqlite>::new("insert into slice (id, first_us, count, blob) ");
        insert.push_values(rows, |mut row, (id, slice)| {
            row.push_bind(id)
                .push_bind(slice.first_us)
                .push_bind(slice.count)
                .push_bind(slice.blob.as_slice());
        });
        insert.build().execute(&mut *transaction).await?;
    }
    // In the order of their table, which is what it costs least to insert in.
    let mut keys: Vec<_> = slices
        .iter()
        .flat_map(|(id, slice)| slice.keys.iter().map(move |key| (key.hash(), slice.first_us, *id)))
        .collect();
    keys.sort_unstable();
    for rows in keys.chunks(ROWS_OF_KEYS) {
        let mut insert = QueryBuilder::<Sqlite>::new("insert into slice_key (key, first_us, slice) ");
        insert.push_values(rows, |mut row, (key, first_us, slice)| {
            row.push_bind(key).push_bind(first_us).push_bind(slice);
        });
        insert.build().execute(&mut *transaction).await?;
    }
    for dictionary in dictionary::needed(&flush.slices) {
        sqlx::query("insert or ignore into dictionary (id, made_at_us, octets) values ($1, $2, $3)")
            .bind(dictionary.id().get())
            .bind(dictionary.made_at_us())
            .bind(dictionary.octets())
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("insert or replace into checkpoint (spool, segment, offset) values ($1, $2, $3)")
        .bind(spool)
        .bind(flush.end.segment.cast_signed())
        .bind(flush.end.offset.cast_signed())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
