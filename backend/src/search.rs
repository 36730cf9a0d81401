//! Finds messages, calls and sessions in a store.
//!
//! A search picks the narrowest key that its filter allows, walks the slices of that key, reads their messages and
//! filters those. What it lists is exact and newest first; where a search runs into its time limit it says so
//! (`partial`) and gives a cursor from which it can go on.

mod calls;
pub mod counts;
pub mod cursor;
mod duplicates;
mod events;
pub mod filter;
mod lookup;
mod messages;
mod readers;
pub mod scope;
mod session;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;

use crate::call::Call;
use crate::call::event::EventPaths;
use crate::store::{Key, Store, StoreError, Walk};

use filter::Filter;
pub use messages::{Found, Listed, Messages, PART};
use scope::Scope;
pub use session::Session;

/// How long a search looks, at most, before it answers with what it has.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Places of a search that was given none.
const PLACES: usize = 32;

/// Where a page starts and how long it is.
#[derive(Clone, Debug)]
pub struct Page {
    /// What `next_cursor` of the page before said.
    pub cursor: Option<String>,
    /// At most so many items: 1 to 1,000, of messages 10,000.
    pub limit: usize,
    /// How long it is looked before what was found is answered.
    pub time_limit: Duration,
}

impl Default for Page {
    fn default() -> Self {
        Self { cursor: None, limit: 100, time_limit: TIME_LIMIT }
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next_cursor: Option<String>,
    /// Whether something that belongs here may be missing: the time limit was reached, or a part of the store is
    /// away or damaged.
    pub partial: bool,
    /// Where the time limit was reached: all that was captured after this has been looked at, µs since the epoch.
    pub reached_us: Option<i64>,
}

/// A search could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The cursor is not one that this list gave.
    #[error("cursor: not one of this list")]
    Cursor,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The times that a search is held to, µs since the epoch, both inclusive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    /// Not before.
    pub since_us: Option<i64>,
    /// Not after.
    pub until_us: Option<i64>,
}

/// Searches a store: everything in it, so for operators only. Customers get a [`scope::Scoped`] one.
#[derive(Clone)]
pub struct Search {
    store: Arc<dyn Store>,
    paths: Arc<EventPaths>,
    scope: Option<Scope>,
    duplicates: Counter,
    /// For what a search holds beyond its own [`SEARCH_BYTES`](crate::memory::SEARCH_BYTES): one for each such part.
    places: Arc<Semaphore>,
}

impl Search {
    /// Searches this store, whose events are keyed by these paths.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, paths: Arc<EventPaths>) -> Self {
        let places = Arc::new(Semaphore::new(PLACES));
        Self { store, paths, scope: None, duplicates: Counter::default(), places }
    }

    /// Takes what it holds beyond [`SEARCH_BYTES`](crate::memory::SEARCH_BYTES) from these places, each for as much.
    #[must_use]
    pub fn within(self, places: Arc<Semaphore>) -> Self {
        Self { places, ..self }
    }

    /// Counts what is left out as a duplicate here.
    #[must_use]
    pub fn counting(self, duplicates: Counter) -> Self {
        Self { duplicates, ..self }
    }

    /// Leaves out what was seen before, and counts it.
    fn leave_out<T>(&self, items: &mut Vec<T>, is_new: impl FnMut(&T) -> bool) {
        let before = items.len();
        items.retain(is_new);
        self.duplicates.inc_by((before - items.len()) as u64);
    }

    /// Answers when the store can be read.
    ///
    /// # Errors
    /// When it can't.
    pub async fn ready(&self) -> Result<(), SearchError> {
        Ok(self.store.ping().await?)
    }

    /// One call: every message with this Call-ID, and this correlation id if one is given, in the window. `None` where
    /// there is none.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn call(
        &self,
        call_id: &str,
        correlation_id: Option<&str>,
        window: Window,
    ) -> Result<Option<Call>, SearchError> {
        let mut call = self.look_up(call_id).await?;
        let missing = call.partial;
        let filter = Filter {
            correlation_id: correlation_id.map(str::to_owned),
            since_us: window.since_us,
            until_us: window.until_us,
            ..Filter::default()
        };
        call.messages.retain(|m| filter.accepts(m));
        if call.messages.is_empty() {
            return if missing { Err(nowhere_else()) } else { Ok(None) };
        }
        let (mut events, more) = self.events_of(&call).await?;
        events.retain(|m| filter.accepts(m));
        call.partial |= more;
        call.events = events;
        Ok(Some(call))
    }

    /// The walk over the narrowest key that the filter allows. Events that were stored when a path was not among those that events
    /// are keyed by are found by the paths that were.
    async fn walk_for(&self, filter: &Filter) -> Result<Walk, SearchError> {
        let window = Window { since_us: filter.since_us, until_us: filter.until_us };
        let (key, Filter { json, .. }) = filter.narrowest(&self.paths);
        let keys = match (key, json) {
            (Some(key), Some(json)) => {
                let noted = self.store.noted_paths().await?;
                let others = noted.iter().filter(|paths| !paths.holds(&json.path)).map(Key::path_set);
                others.chain([key]).collect()
            }
            (key, _) => key.into(),
        };
        Ok(Walk { keys, ..walk_of(window) })
    }
}

/// What was asked for is not in the part of the store that can be read, but may be in another.
fn nowhere_else() -> SearchError {
    StoreError::Away("a part of it cannot be read, and the rest has nothing of this".into()).into()
}

/// The walk over all slices that may hold messages of this window.
fn walk_of(window: Window) -> Walk {
    // The steps set how many slices.
    Walk { since_us: window.since_us, until_us: window.until_us, ..Walk::default() }
}
