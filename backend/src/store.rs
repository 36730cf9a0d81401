//! Where messages live. A *slice* is the unit of what is found: the messages of one call, under one correlation id, that
//! one flush brought. Several slices are stored together, as a *pack*. Three stores, one behaviour: what a store must do is stated by [`Store`] and proved for each by
//! the contract suite in `contract`.
//!
//! Every search is a *walk*: slices of one key (a Call-ID, a correlation id, a user, a host; or all of them), newest
//! last message first (ADR 0031). What a walk brings is decoded and filtered by `search`, so that the stores hold no logic.

pub mod awaited;
pub mod class;
pub mod clickhouse;
#[cfg(test)]
mod contract;
pub mod dictionary;
pub mod firsts;
pub mod key;
pub mod pack;
pub mod postgres;
pub mod postings;
pub mod retention;
pub mod room;
pub mod rule;
mod runs;
pub mod slice;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

pub use class::Class;
pub use dictionary::{Dictionary, DictionaryId};
pub use key::{Key, Keys};
pub use pack::Pack;
pub use retention::{Plan, Retention};
pub use room::{MOST_WALKED_BYTES, Room};
pub use rule::{Bounds, Rule};
pub use slice::{MAX_SPAN_US, Slice, SliceError, StoredSlice};

use crate::call::event::PathSet;
use crate::spool::Position;

/// The slices of one flush, and the place in the spool that they reach to. Both are committed together, so a restart
/// neither repeats nor loses a message.
#[derive(Debug, Default)]
pub struct Flush {
    /// What to store.
    pub packs: Vec<Pack>,
    /// Everything in the spool before this is part of this flush or of an earlier one.
    pub end: Position,
}

/// Which slices a walk visits, and from where. The order is `(last_us, id)`, descending, so that nothing that is to come is newer
/// than the last message of the next slice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Walk {
    /// Only slices with one of these keys, each slice once.
    pub keys: Keys,
    /// Only slices whose last message is not older than this, µs since the epoch.
    pub since_us: Option<i64>,
    /// Only slices whose first message is not younger than this, µs since the epoch, as far as the store tells without
    /// reading them: some of those that end within [`MAX_SPAN_US`] after it may come as well.
    pub until_us: Option<i64>,
    /// Only slices that come after this `(last_us, id)` in the order of the walk.
    pub after: Option<(i64, i64)>,
    /// At most so many, and what else is at the place of the last of them.
    pub limit: u32,
}

/// What a step of a walk brought.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Walked {
    /// The slices, newest first; fewer than the walk's limit only at its end.
    pub slices: Vec<StoredSlice>,
    /// Whether slices may be missing, because a part of the store is away or damaged.
    pub partial: bool,
}

impl From<Vec<StoredSlice>> for Walked {
    fn from(slices: Vec<StoredSlice>) -> Self {
        Self { slices, partial: false }
    }
}

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is away; the same call may succeed later.
    #[error("store is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// So much of the store is away that the question cannot be answered; it may be later.
    #[error("store is away: {0}")]
    Away(String),
    /// What was asked for is more than is held at a time; a step of fewer slices may bring it.
    #[error("expected {MOST_WALKED_BYTES} octets of packs at most, found more: ask for fewer slices")]
    TooMuch,
    /// The database does not take what it was given, however often it is tried.
    #[error("the store refuses it: {0}")]
    Refused(String),
    /// A part of the store is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A file of the store cannot be used.
    #[error("store file {path}: {message}")]
    File {
        /// Which.
        path: String,
        /// Why.
        message: String,
    },
    /// The stored schema is not one that this version knows.
    #[error(
        "{place}: expected store schema {expected}, found {found}: another version of Siplens wrote it. It was left as it \
         is; move it away to begin with an empty store"
    )]
    Schema {
        /// The database or file.
        place: String,
        /// The schema of this version.
        expected: i64,
        /// What is there.
        found: i64,
    },
}

impl StoreError {
    /// Whether no waiting mends it: the configuration, a permission or a schema has to be changed first.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        // Of PostgreSQL: not supported, no such role or wrong password, no such database, a missing right or object.
        let lasts = |code: &str| {
            code.len() == 5 && ["0A", "28", "3D", "3F", "42"].iter().any(|c| code.starts_with(c))
        };
        match self {
            Self::Unavailable(sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)) => true,
            Self::Unavailable(sqlx::Error::Database(error)) => error.code().is_some_and(|code| lasts(&code)),
            Self::Unavailable(_) | Self::Away(_) | Self::TooMuch => false,
            Self::Refused(_) | Self::Damaged(_) | Self::File { .. } | Self::Schema { .. } => true,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // Data exceptions and exceeded limits of PostgreSQL; of SQLite, a value that is too large.
        let refuses = |code: &str| {
            code == "18" || (code.len() == 5 && (code.starts_with("22") || code.starts_with("54")))
        };
        match &error {
            sqlx::Error::Database(database) if database.code().is_some_and(|code| refuses(&code)) => {
                Self::Refused(error.to_string())
            }
            sqlx::Error::Encode(_) => Self::Refused(error.to_string()),
            _ => Self::Unavailable(error),
        }
    }
}

/// What a store of slices can do.
#[async_trait]
pub trait Store: Send + Sync {
    /// How far the spool that the store was opened for is stored; `None` where nothing of it has been stored yet.
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError>;

    /// Stores a flush, and the dictionaries that its slices need; all of it or nothing, durably.
    async fn write(&self, flush: &Flush) -> Result<(), StoreError>;

    /// Notes that events are keyed by these paths from now on. Who stores events does so before.
    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError>;

    /// All sets of paths that were ever noted.
    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError>;

    /// The newest of the dictionaries that are stored; `None` where there is none.
    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError>;

    /// The next slices of a walk, each with the dictionary that it needs. Where that is missing or damaged the slice
    /// comes without, and cannot be read.
    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError>;

    /// What may go now.
    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError>;

    /// Lets go of what may go now: what is told, and no more, is gone. Searches that are under way find it or not.
    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError>;

    /// Answers when the store can be read.
    async fn ping(&self) -> Result<(), StoreError>;
}
