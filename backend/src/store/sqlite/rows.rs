//! Rows of a bucket: many at once come, and those that do not count go.

use std::sync::LazyLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection, Sqlite, SqliteConnection};

use super::ledger::Counted;
use crate::store::postings::Page;
use crate::store::{Pack, StoreError};

/// Rows of one insert, most first; SQLite takes 32,766 parameters in a statement.
const ROWS: [usize; 4] = [256, 32, 4, 1];

static INSERT_PACKS: LazyLock<[String; 4]> = LazyLock::new(|| inserts("pack (id, blob)", "(?, ?)"));
static INSERT_PAGES: LazyLock<[String; 4]> =
    LazyLock::new(|| inserts("page (segment, first, data)", "(?, ?, ?)"));

fn inserts(into: &str, value: &str) -> [String; 4] {
    ROWS.map(|rows| format!("insert into {into} values {}", list(value, rows)))
}

/// So many times the same, with commas between.
pub fn list(value: &str, times: usize) -> String {
    vec![value; times].join(", ")
}

type Insert = Query<'static, Sqlite, SqliteArguments>;

/// Inserts rows, many with each statement.
async fn insert<T>(
    connection: &mut SqliteConnection,
    mut rows: &[T],
    statements: &'static [String; 4],
    bind: impl Fn(Insert, &T) -> Insert,
) -> Result<(), StoreError> {
    for (size, statement) in ROWS.into_iter().zip(statements) {
        let chunks = rows.chunks_exact(size);
        rows = chunks.remainder();
        for chunk in chunks {
            let query = chunk.iter().fold(sqlx::query(statement.as_str()), &bind);
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Inserts packs, which get the numbers from this one on.
pub async fn insert_packs(
    connection: &mut SqliteConnection,
    first_pack: u32,
    packs: &[&Pack],
) -> Result<(), StoreError> {
    let rows: Vec<_> = (i64::from(first_pack)..).zip(packs).collect();
    let bind = |query: Insert, (id, pack): &(i64, &&Pack)| query.bind(*id).bind(pack.blob.as_slice());
    insert(connection, &rows, &INSERT_PACKS, bind).await
}

/// Inserts pages of a segment.
pub async fn insert_pages(
    connection: &mut SqliteConnection,
    segment: i64,
    pages: &[Page],
) -> Result<(), StoreError> {
    insert(connection, pages, &INSERT_PAGES, |query, page| {
        query.bind(segment).bind(page.first.to_octets().to_vec()).bind(page.data.as_slice())
    })
    .await
}

/// Deletes what came with flushes that do not count, and pages of segments that are not there.
pub async fn clean(connection: &mut SqliteConnection, counted: &Counted) -> Result<(), StoreError> {
    let segments: Vec<(i64, Option<i64>)> =
        sqlx::query_as("select number, flush from segment").fetch_all(&mut *connection).await?;
    let counts = |flush: &Option<i64>| flush.is_none_or(|flush| counted.holds(flush));
    let live: Vec<i64> =
        segments.iter().filter(|(_, flush)| counts(flush)).map(|(number, _)| *number).collect();
    clean_but(connection, &live).await
}

/// Deletes all but these segments, and the packs that came with others.
pub async fn clean_but(connection: &mut SqliteConnection, live: &[i64]) -> Result<(), StoreError> {
    let segments: Vec<(i64, Option<i64>)> =
        sqlx::query_as("select number, first_pack from segment").fetch_all(&mut *connection).await?;
    let paged: Vec<i64> = paged_segments(connection).await?;
    let dead: Vec<_> = segments.into_iter().filter(|(number, _)| !live.contains(number)).collect();
    let orphans: Vec<_> = paged.into_iter().filter(|number| !live.contains(number)).collect();
    if dead.is_empty() && orphans.is_empty() {
        return Ok(());
    }
    let mut transaction = connection.begin().await?;
    // What does not count came last.
    if let Some(first_pack) = dead.iter().filter_map(|(_, first_pack)| *first_pack).min() {
        sqlx::query("delete from pack where id >= $1").bind(first_pack).execute(&mut *transaction).await?;
    }
    for number in dead.iter().map(|(number, _)| number).chain(&orphans) {
        sqlx::query("delete from segment where number = $1").bind(number).execute(&mut *transaction).await?;
        sqlx::query("delete from page where segment = $1").bind(number).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The segments that have pages; each is found with one step in the index.
async fn paged_segments(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    let mut found = Vec::new();
    loop {
        let next: Option<i64> = sqlx::query_scalar("select min(segment) from page where segment > $1")
            .bind(found.last().copied().unwrap_or(i64::MIN))
            .fetch_one(&mut *connection)
            .await?;
        match next {
            Some(segment) => found.push(segment),
            None => return Ok(found),
        }
    }
}
