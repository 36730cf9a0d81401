//! What the files of the embedded store have in common.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Error, ErrorCode, OpenFlags};
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::store::StoreError;

const SCHEMA: i64 = 6;

/// What a damaged file's name ends with.
const DAMAGED: &str = ".damaged";

/// SQLite's code for a file that another connection has locked.
const SQLITE_BUSY: i32 = 5;

/// SQLite's code for a file whose content contradicts itself. <https://www.sqlite.org/rescode.html>
const SQLITE_CORRUPT: i32 = 11;

/// SQLite's code for a file that is no database.
const SQLITE_NOTADB: i32 = 26;

/// How long who finds a file locked waits.
const BUSY: Duration = Duration::from_secs(10);

/// What a reader keeps of a file in memory.
const READER_CACHE_KIB: i64 = 256;

/// How a file is opened to be written; it is made if it isn't there.
pub fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(8192)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .disable_statement_logging()
}

/// How a file is opened to be looked at.
pub fn read_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY).disable_statement_logging()
}

/// Opens a file for [`Readers`](super::readers::Readers), which read without a thread of the connection's own; an
/// immutable one is opened without locks.
pub fn reader(path: &Path, is_immutable: bool) -> Result<rusqlite::Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if is_immutable {
        rusqlite::Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        rusqlite::Connection::open_with_flags(path, flags)?
    };
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// The file as one that nobody changes. <https://www.sqlite.org/uri.html>
fn immutable(path: &Path) -> PathBuf {
    let mut uri = b"file:".to_vec();
    for octet in path.as_os_str().as_bytes() {
        match octet {
            b'%' | b'?' | b'#' => uri.extend_from_slice(format!("%{octet:02x}").as_bytes()),
            octet => uri.push(*octet),
        }
    }
    uri.extend_from_slice(b"?immutable=1");
    OsString::from_vec(uri).into()
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let is_damage = match &error {
            Error::SqliteFailure(failure, _) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            // A value is not what its column holds.
            error => matches!(
                error,
                Error::InvalidColumnType(..)
                    | Error::FromSqlConversionFailure(..)
                    | Error::IntegralValueOutOfRange(..)
            ),
        };
        if is_damage { Self::Damaged(error.to_string()) } else { Self::Away(error.to_string()) }
    }
}

/// Makes the tables in a file that is new, and refuses a file of another version.
pub async fn make(connection: &mut SqliteConnection, path: &Path, ddl: &str) -> Result<(), StoreError> {
    if version(connection, path).await? {
        return Ok(());
    }
    // In one transaction, so that a crash leaves either an empty file or a whole schema.
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(ddl.to_owned())).execute(&mut *transaction).await?;
    let version = sqlx::AssertSqlSafe(format!("pragma user_version = {SCHEMA}"));
    sqlx::raw_sql(version).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Whether the file has this version's tables, rather than none; an error where it has another's.
pub async fn version(connection: &mut SqliteConnection, path: &Path) -> Result<bool, StoreError> {
    match sqlx::query_scalar("pragma user_version").fetch_one(connection).await? {
        SCHEMA => Ok(true),
        0 => Ok(false),
        found => Err(other_version(path, found)),
    }
}

/// Refuses a file of another version without opening it, where its header tells.
/// <https://www.sqlite.org/fileformat.html#user_version_number>
pub fn refuse_other_version(path: &Path) -> Result<(), StoreError> {
    let mut header = [0; 64];
    let read =
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
    let (true, Ok(())) = (header.starts_with(b"SQLite format 3\0"), read) else { return Ok(()) };
    let [.., a, b, c, d] = header;
    match i64::from(u32::from_be_bytes([a, b, c, d])) {
        0 | SCHEMA => Ok(()),
        found => Err(other_version(path, found)),
    }
}

fn other_version(path: &Path, found: i64) -> StoreError {
    StoreError::Schema { place: path.display().to_string(), expected: SCHEMA, found }
}

/// Whether the file is not what was written: SQLite says so, or a value is not what its column holds.
pub fn is_damage(error: &sqlx::Error) -> bool {
    if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) {
        return true;
    }
    code(error).is_some_and(|code| [SQLITE_CORRUPT, SQLITE_NOTADB].contains(&code))
}

/// Whether others use the file.
pub fn is_busy(error: &sqlx::Error) -> bool {
    code(error) == Some(SQLITE_BUSY)
}

/// SQLite's code, without the upper bits, which say more than is asked here.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// A database with its log and the log's index. The database first: without it the others are nothing.
pub fn with_companions(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| with_ending(path, ending))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Octets of some files, those that are not there aside.
pub fn bytes(paths: &[PathBuf]) -> u64 {
    paths.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
}

/// When a file was changed last, µs since the epoch.
pub fn changed_us(path: &Path) -> Option<i64> {
    let changed = std::fs::metadata(path).ok()?.modified().ok()?;
    i64::try_from(changed.duration_since(std::time::UNIX_EPOCH).ok()?.as_micros()).ok()
}

/// Renames a damaged file, so that it is not opened again; its path from now on.
pub fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    // The log first: alone it would be taken for that of the next file of this name.
    for from in with_companions(path).into_iter().rev() {
        done(&from, std::fs::rename(&from, with_ending(&from, DAMAGED)))?;
    }
    Ok(with_ending(path, DAMAGED))
}

/// A file that was set aside, with what belongs to it.
pub fn set_aside_files(path: &Path) -> [PathBuf; 3] {
    let before = path.to_str().and_then(before_damage).map_or(path, Path::new);
    with_companions(before).map(|path| with_ending(&path, DAMAGED))
}

/// The database that a log, or a log's index, belongs to.
pub fn before_companion(name: &str) -> Option<&str> {
    name.strip_suffix("-wal").or_else(|| name.strip_suffix("-shm"))
}

/// The file that a damaged file was before it was set aside.
pub fn before_damage(name: &str) -> Option<&str> {
    name.strip_suffix(DAMAGED)
}

/// Deletes files, where they are there.
pub fn remove(paths: &[PathBuf]) -> Result<(), StoreError> {
    paths.iter().try_for_each(|path| done(path, std::fs::remove_file(path)))
}

/// What came of something done to a file, which need not be there.
fn done(path: &Path, result: std::io::Result<()>) -> Result<(), StoreError> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error_at(path, &error)),
        _ => Ok(()),
    }
}

/// The error that a file cannot be used.
pub fn error_at(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::File { path: path.display().to_string(), message: error.to_string() }
}
