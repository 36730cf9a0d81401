//! Homer's database, read.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, PgPool, Row as _, ValueRef};

use super::page::Page;
use super::row::{HEADER, Row};

/// Later than any row, µs since the epoch: the year 9999.
pub const FAR_FUTURE_US: i64 = 253_370_764_800_000_000;

/// `create_date` as µs since the epoch. In two parts, since older servers know them as floating point numbers.
const AT_US: &str = "(extract(epoch from date_trunc('second', create_date))::bigint * 1000000
    + extract(microseconds from create_date)::bigint % 1000000)";

/// The database of a Homer 7.
pub struct Source {
    pool: PgPool,
    schema: String,
}

/// A table of its.
#[derive(Debug)]
pub struct Table {
    /// `hep_proto_1_call`
    pub name: String,
    /// The same as an identifier in SQL, with its schema.
    quoted: String,
    /// The HEP protocol type of its rows, unless they say another.
    pub protocol_type: u8,
    /// What the store knows it by. A copy of the database elsewhere has another.
    pub identity: String,
}

/// What a table holds.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The time of its first row, µs since the epoch.
    pub oldest_us: i64,
    /// The time of its last.
    pub newest_us: i64,
    /// How many they are, about; `None` if the server has never counted.
    pub rows: Option<i64>,
}

impl Source {
    /// Connects.
    pub async fn connect(url: &str, schema: &str) -> Result<Self> {
        // PostgreSQL's own tools take `user@/database?host=/socket/folder`; a URL as such must have a host.
        let url = url.replacen("@/", "@localhost/", 1);
        let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.context("homer's database")?;
        Ok(Self { pool, schema: schema.to_owned() })
    }

    /// Takes leave of the server.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Its tables of messages, by name. Partitions are read through their tables.
    pub async fn tables(&self) -> Result<Vec<Table>> {
        let sql = "select c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
                substring(c.relname from '^hep_proto_([0-9]+)_'),
                'homer-' || current_database() || '-' || (select oid from pg_database where datname = current_database())
                    || '-' || c.relname || '-' || c.oid
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $1 and c.relkind in ('r', 'p') and c.relname ~ '^hep_proto_[0-9]+_'
                and not exists (select from pg_inherits i where i.inhrelid = c.oid)
            order by c.relname";
        let mut read = self.pool.begin_with(READ_ONLY).await?;
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as(sql).persistent(false).bind(&self.schema).fetch_all(&mut *read).await?;
        let tables = rows.into_iter().map(|(name, quoted, number, identity)| Table {
            name,
            quoted,
            // What has no number in HEP is an event of an unknown kind.
            protocol_type: number.parse().unwrap_or(u8::MAX),
            identity,
        });
        Ok(tables.collect())
    }

    /// What a table holds; `None` if there is nothing.
    pub async fn span(&self, table: &Table) -> Result<Option<Span>> {
        let Table { quoted, .. } = table;
        let end = |order: &str| {
            format!("(select {AT_US} from {quoted} where {HAS_TIME} order by create_date {order} limit 1)")
        };
        let sql = format!("select {}, {}", end("asc"), end("desc"));
        let mut read = self.pool.begin_with(READ_ONLY).await?;
        let (oldest, newest): (Option<i64>, Option<i64>) =
            sqlx::query_as(AssertSqlSafe(sql)).persistent(false).fetch_one(&mut *read).await?;
        // A partition's own count is -1 until it was first counted.
        let counted = "select sum(greatest(c.reltuples, 0))::bigint from pg_class c
            where c.relkind = 'r' and (c.oid = $1::regclass
                or c.oid in (select inhrelid from pg_inherits where inhparent = $1::regclass))";
        let rows: Option<i64> =
            sqlx::query_scalar(counted).persistent(false).bind(quoted).fetch_one(&mut *read).await?;
        let span = oldest.zip(newest);
        Ok(span.map(|(oldest_us, newest_us)| Span {
            oldest_us,
            newest_us,
            rows: rows.filter(|rows| *rows > 0),
        }))
    }

    /// The rows after one time and before another, oldest first, about so many of them.
    pub async fn page(&self, table: &Table, after_us: i64, until_us: i64, wanted: usize) -> Result<Page> {
        let fields: String = HEADER.iter().map(|name| format!(", protocol_header->>'{name}'")).collect();
        let sql = format!(
            "select {AT_US}, sid, raw{fields} from {}
             where create_date > timestamptz 'epoch' + $1 * interval '1 microsecond'
                and create_date < timestamptz 'epoch' + $2 * interval '1 microsecond'
             order by create_date limit $3",
            table.quoted
        );
        let mut wanted = wanted;
        loop {
            let mut page = Page::of(wanted);
            // A transaction of its own for each page: Homer can drop old partitions in between.
            let mut read = self.pool.begin_with(READ_ONLY).await?;
            let query = sqlx::query(AssertSqlSafe(sql.clone()))
                .persistent(false)
                .bind(after_us)
                .bind(until_us)
                .bind(i64::try_from(wanted)?);
            let mut rows = query.fetch(&mut *read);
            while let Some(row) = rows.try_next().await.with_context(|| table.name.clone())? {
                if !page.take(row_of(&row)?) {
                    break;
                }
            }
            drop(rows);
            read.rollback().await?;
            if page.close() {
                return Ok(page);
            }
            wanted = page.next_rows();
        }
    }

    /// How many rows have no time, or one that no message can have.
    pub async fn without_time(&self, table: &Table) -> Result<u64> {
        let sql = format!("select count(*) from {} where ({HAS_TIME}) is not true", table.quoted);
        let mut read = self.pool.begin_with(READ_ONLY).await?;
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(&mut *read).await?;
        Ok(count.try_into()?)
    }
}

const READ_ONLY: &str = "begin read only";

/// What [`Source::page`] can find.
const HAS_TIME: &str = "create_date >= 'epoch' and create_date < '9999-01-01Z'";

fn row_of(row: &PgRow) -> Result<Row> {
    // As octets: a database without an encoding can hold any.
    let octets = |index: usize| -> Result<Option<Vec<u8>>> {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(None);
        }
        let octets = value.as_bytes().map_err(|error| anyhow::anyhow!(error))?;
        Ok(Some(octets.to_vec()))
    };
    let text = |index| {
        Ok::<_, anyhow::Error>(octets(index)?.map(|octets| String::from_utf8_lossy(&octets).into_owned()))
    };
    let mut header = [const { None }; HEADER.len()];
    for (index, field) in header.iter_mut().enumerate() {
        *field = text(3 + index)?;
    }
    Ok(Row { at_us: row.try_get(0)?, sid: text(1)?, raw: octets(2)?, header })
}
