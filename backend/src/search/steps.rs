//! A walk over the store, step by step: slices are fetched, read and filtered. The one place where messages come from:
//! what the scope does not allow ends here.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::task::spawn_blocking;

use super::filter::Filter;
use super::scope::Scope;
use super::{Search, SearchError};
use crate::call::message::Message;
use crate::store::{StoreError, StoredSlice, Walk, Walked};

/// How many slices the first step takes. Each takes twice as many as the one before, since who has walked that far walks on.
const FIRST: u32 = 256;

/// How many slices a step takes at most.
const MOST: u32 = 4096;

/// So few slices are read at once, by whoever fetched them.
const FEW: usize = 32;

/// At most so many threads read the slices of one step.
const MOST_READERS: usize = 4;

/// Slices as a walk brought them, read.
pub struct Step {
    /// Those that hold a message of the filter, with such messages only.
    pub slices: Vec<ReadSlice>,
    /// Whether something may be missing: a part of the store is away or damaged.
    pub partial: bool,
    /// Where the next step goes on; `None` at the end of the walk.
    pub next: Option<(i64, i64)>,
}

/// A slice, read.
pub struct ReadSlice {
    /// Its place in the walk: time of its last message, and its id.
    pub place: (i64, i64),
    /// Messages that meet the filter, in order of capture.
    pub messages: Vec<Message>,
}

/// A walk, with what its messages must meet.
pub struct Steps<'a> {
    search: &'a Search,
    /// Where it goes on.
    pub walk: Walk,
    wanted: Arc<Wanted>,
}

struct Wanted {
    filter: Filter,
    scope: Option<Scope>,
}

impl<'a> Steps<'a> {
    /// A walk for the messages of a filter.
    pub fn new(search: &'a Search, walk: Walk, filter: Filter) -> Self {
        let wanted = Wanted { filter, scope: search.scope.clone() };
        Self { search, walk: Walk { limit: FIRST, ..walk }, wanted: Arc::new(wanted) }
    }

    /// The first step takes so many slices.
    pub fn beginning_with(mut self, slices: usize) -> Self {
        self.walk.limit = u32::try_from(slices).unwrap_or(MOST).min(MOST);
        self
    }

    /// Takes the next slices and moves on.
    pub async fn next(&mut self) -> Result<Step, SearchError> {
        let Walked { slices: stored, partial } = self.search.store.walk(&self.walk).await?;
        let full = stored.len() >= self.walk.limit as usize;
        let next = stored.last().filter(|_| full).map(StoredSlice::place);
        self.walk.after = next.or(self.walk.after);
        self.walk.limit = (self.walk.limit * 2).min(MOST);
        let mut step = Step { slices: Vec::new(), partial, next };
        if stored.len() <= FEW {
            self.wanted.read(&stored, &mut step);
            return Ok(step);
        }
        // Reading takes processor time, which the runtime's own threads need for what comes in.
        for part in self.read_apart(stored).await? {
            step.slices.extend(part.slices);
            step.partial |= part.partial;
        }
        Ok(step)
    }

    async fn read_apart(&self, mut stored: Vec<StoredSlice>) -> Result<Vec<Step>, SearchError> {
        let readers = available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let share = stored.len().div_ceil(readers);
        let mut parts = Vec::with_capacity(readers);
        while !stored.is_empty() {
            let rest = stored.split_off(share.min(stored.len()));
            let (part, wanted) = (std::mem::replace(&mut stored, rest), Arc::clone(&self.wanted));
            parts.push(spawn_blocking(move || {
                let mut step = Step { slices: Vec::new(), partial: false, next: None };
                wanted.read(&part, &mut step);
                step
            }));
        }
        let mut steps = Vec::with_capacity(parts.len());
        for part in parts {
            steps.push(part.await.map_err(|error| StoreError::Away(error.to_string()))?);
        }
        Ok(steps)
    }
}

impl Wanted {
    fn read(&self, stored: &[StoredSlice], step: &mut Step) {
        for slice in stored {
            let captured = match slice.captured(|payload| self.filter.may_hold(payload)) {
                Ok(captured) => captured,
                Err(error) => {
                    tracing::error!(slice.id, %error, "a damaged slice is left out");
                    step.partial = true;
                    continue;
                }
            };
            let messages: Vec<_> = captured
                .into_iter()
                .filter(|(_, captured)| self.filter.may_accept(captured))
                .map(|(id, captured)| Message::read(id, captured))
                .filter(|m| self.filter.accepts_facts(m) && self.scope.as_ref().is_none_or(|s| s.accepts(m)))
                .collect();
            if !messages.is_empty() {
                step.slices.push(ReadSlice { place: slice.place(), messages });
            }
        }
    }
}
