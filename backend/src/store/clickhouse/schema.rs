//! The tables, in the dialect of a current server and in that of an old one, and what a server can do.

use super::StoreError;
use super::http::{Failure, Server};
use super::rows::Rows;

const SCHEMA: i64 = 4;

/// Ids of a day's slices: an id begins with the second of arrival.
pub const IDS_OF_A_DAY: i64 = 86_400 << ID_BITS_IN_A_SECOND;

/// So many bits of an id tell the slices of a second apart.
pub const ID_BITS_IN_A_SECOND: u32 = 31;

/// From this year's version on a server is spoken to in the current dialect.
const CURRENT: u32 = 23;

/// How tables are made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Layout {
    /// `ReplicatedMergeTree`, with the server's own macros `{shard}` and `{replica}`.
    pub replicated: bool,
    /// Name of a storage policy of the servers; empty for their default.
    pub storage_policy: String,
    /// Volume of the policy that data moves to; empty for none.
    pub cold_volume: String,
    /// After how many days of arrival it moves.
    pub cold_days: u32,
}

/// What a server can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Abilities {
    /// It drops an insert that it has seen.
    pub deduplicates: bool,
    /// It knows codecs, volumes, and settings of durability.
    pub current: bool,
}

/// A server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It did not do what it was asked.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Its tables are not ours.
    #[error(transparent)]
    Store(Box<StoreError>),
}

/// Whether waiting does not mend what a server complains of: who we are, or what we may. Its codes for an unknown database or user, a wrong
/// or missing password, and missing rights.
pub fn is_lasting(complaint: &str) -> bool {
    const CODES: [u32; 7] = [81, 192, 193, 194, 291, 497, 516];
    let code =
        complaint.split_once("Code: ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    code.flatten().and_then(|code| code.parse().ok()).is_some_and(|code: u32| CODES.contains(&code))
}

/// Finds out what a server can do, and makes the tables that are not there.
pub async fn prepare(server: &Server, layout: &Layout) -> Result<Abilities, PrepareError> {
    let database = server.url().database();
    let asked = server
        .ask_server(format!(
            "select toString(version()),
                    (select count() from system.settings where name = 'insert_deduplication_token'),
                    (select count() from system.databases where name = '{database}'),
                    (select count() from system.tables where database = '{database}' and name = 'siplens_schema'),
                    (select count() from system.tables where database = '{database}' and name in ('slice', 'pack'))
             format RowBinary"
        ))
        .await?;
    let mut rows = Rows::new(asked);
    let unreadable = |error| Failure::Refused(format!("{}: {error}", server.url()));
    let version = rows.text().map_err(unreadable)?;
    let mut number = || rows.u64().map_err(unreadable);
    let (token, has_database, has_schema, has_slices) = (number()?, number()?, number()?, number()?);
    let current =
        version.split('.').next().and_then(|year| year.parse().ok()).is_some_and(|year: u32| year >= CURRENT);
    let abilities = Abilities { deduplicates: token > 0, current };

    let schema = |found| {
        PrepareError::Store(Box::new(StoreError::Schema {
            place: format!("database of {}", server.url()),
            expected: SCHEMA,
            found,
        }))
    };
    if has_database == 0 {
        server.ask_server(format!("create database if not exists {database}")).await?;
    }
    if has_schema == 0 && has_slices > 0 {
        return Err(schema(0));
    }
    for statement in tables(abilities, layout) {
        server.ask(statement).await?;
    }
    let found = server.ask("select max(version) from siplens_schema format RowBinary".into()).await?;
    match Rows::new(found).i64().map_err(unreadable)? {
        SCHEMA => {}
        // Nobody has written it yet. Two that write it at once write the same.
        0 => drop(server.ask(format!("insert into siplens_schema (version) values ({SCHEMA})")).await?),
        found => return Err(schema(found)),
    }
    Ok(abilities)
}

/// The statements that make the tables where they are not there.
fn tables(abilities: Abilities, layout: &Layout) -> Vec<String> {
    let codec = |codec: &str| if abilities.current { format!(" codec({codec})") } else { String::new() };
    let text = if abilities.current { "LowCardinality(String)" } else { "String" };
    let (number, time, plain) = (codec("Delta, ZSTD(1)"), codec("Delta, ZSTD(1)"), codec("NONE"));
    let repeated = codec("ZSTD(1)");
    let engine = |kind: &str, table: &str| {
        if layout.replicated {
            format!("Replicated{kind}('/clickhouse/tables/{{shard}}/{{database}}/{table}', '{{replica}}')")
        } else {
            format!("{kind}()")
        }
    };
    let moves = if abilities.current && layout.cold_days > 0 && !layout.cold_volume.is_empty() {
        format!(
            " ttl toDateTime(intDiv(id, {})) + toIntervalDay({}) to volume '{}'",
            1_i64 << ID_BITS_IN_A_SECOND,
            layout.cold_days,
            layout.cold_volume
        )
    } else {
        String::new()
    };
    let mut settings = String::new();
    if abilities.current {
        // What is inserted is on disk when the insert is answered: then the spool forgets it.
        settings.push_str(", fsync_after_insert = 1, fsync_part_directory = 1");
        if !layout.replicated {
            settings.push_str(", non_replicated_deduplication_window = 1000");
        }
        if !layout.storage_policy.is_empty() {
            settings.push_str(&format!(", storage_policy = '{}'", layout.storage_policy));
        }
    }
    let partition = format!("partition by (rule, intDiv(id, {IDS_OF_A_DAY}))");
    vec![
        format!(
            "create table if not exists siplens_schema (version Int64) engine = {} order by version",
            engine("ReplacingMergeTree", "siplens_schema")
        ),
        format!(
            "create table if not exists pack (
                id Int64{number}, last_us Array(Int64){repeated}, flush UInt64{repeated}, rule {text}, blob String{plain}
             ) engine = {} {partition} order by id{moves} settings index_granularity = 32{settings}",
            engine("MergeTree", "pack")
        ),
        format!(
            "create table if not exists slice_key (
                key UInt64{number}, last_us Int64{time}, id Int64{number}, first_us Int64{time}, rule {text}
             ) engine = {} {partition} primary key (key, last_us) order by (key, last_us, id){moves}
             settings index_granularity = 2048{settings}",
            engine("ReplacingMergeTree", "slice_key")
        ),
        format!(
            "create table if not exists dictionary (id UInt32, made_at_us Int64, octets String) engine = {} order by id",
            engine("ReplacingMergeTree", "dictionary")
        ),
        format!(
            "create table if not exists event_paths (paths String) engine = {} order by paths",
            engine("ReplacingMergeTree", "event_paths")
        ),
        format!(
            "create table if not exists void_flush (flush UInt64) engine = {} order by flush",
            engine("ReplacingMergeTree", "void_flush")
        ),
    ]
}
