//! A walk over the store, step by step: slices are fetched, read and filtered. The one place where messages come from:
//! what the scope does not allow ends here.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::task::spawn_blocking;

use super::filter::Filter;
use super::scope::Scope;
use super::union::Union;
use super::{Search, SearchError};
use crate::call::brief::{Brief, Word};
use crate::call::message::{Captured, Message, MessageId};
use crate::store::{Key, StoreError, StoredSlice, Walk, Walked};

/// How many slices the first step takes. Each takes twice as many as the one before, since who has walked that far walks on.
const FIRST: u32 = 256;

/// How many slices a step takes at most.
const MOST: u32 = 4096;

/// What the slices of a step come to at most, octets of blobs, as far as those of the step before tell. Read, they are some five times as much.
const MOST_BYTES: usize = 2 << 20;

/// So few slices are read at once, by whoever fetched them.
const FEW: usize = 32;

/// At most so many threads read the slices of one step.
const MOST_READERS: usize = 4;

/// Slices as a walk brought them, read.
pub struct Step<M = Message> {
    /// Those that hold a message of the filter, with such messages only.
    pub slices: Vec<ReadSlice<M>>,
    /// Whether something may be missing: a part of the store is away or damaged.
    pub partial: bool,
    /// Where the next step goes on; `None` at the end of the walk.
    pub next: Option<(i64, i64)>,
}

/// A slice, read.
pub struct ReadSlice<M = Message> {
    /// Its place in the walk: time of its last message, and its id.
    pub place: (i64, i64),
    /// Messages that meet the filter, in order of capture.
    pub messages: Vec<M>,
}

/// A walk, with what its messages must meet and what is read of them.
pub struct Steps<'a, M = Message> {
    search: &'a Search,
    /// Where it goes on.
    pub walk: Walk,
    /// Where slices of more than one key are wanted.
    union: Option<Union>,
    wanted: Arc<Wanted>,
    read: Read<M>,
}

/// Reads a captured message, if it is one of those that are wanted.
pub type Read<M> = fn(&Wanted, MessageId, Captured) -> Option<M>;

/// What messages must meet.
pub struct Wanted {
    filter: Filter,
    scope: Option<Scope>,
}

impl<'a> Steps<'a> {
    /// A walk for the messages of a filter.
    pub fn new(search: &'a Search, walk: Walk, filter: Filter) -> Self {
        Self::reading(search, walk, filter, Wanted::message)
    }
}

impl<'a, M: Send + 'static> Steps<'a, M> {
    /// The same, where something else is to be read of a message.
    pub fn reading(search: &'a Search, walk: Walk, filter: Filter, read: Read<M>) -> Self {
        let wanted = Wanted { filter, scope: search.scope.clone() };
        Self { search, walk: Walk { limit: FIRST, ..walk }, union: None, wanted: Arc::new(wanted), read }
    }

    /// The same, and slices of these keys besides that of the walk.
    pub fn with(mut self, others: Vec<Key>) -> Self {
        if let (Some(key), false) = (self.walk.key, others.is_empty()) {
            self.union = Some(Union::of(others.into_iter().chain([key])));
        }
        self
    }

    /// The first step takes so many slices.
    pub fn beginning_with(mut self, slices: usize) -> Self {
        self.walk.limit = u32::try_from(slices).unwrap_or(MOST).min(MOST);
        self
    }

    /// Takes the next slices and moves on.
    pub async fn next(&mut self) -> Result<Step<M>, SearchError> {
        let (stored, partial, next) = match &mut self.union {
            Some(union) => union.next(&*self.search.store, &self.walk).await?,
            None => {
                let Walked { slices, partial } = self.search.store.walk(&self.walk).await?;
                let full = slices.len() >= self.walk.limit as usize;
                let next = slices.last().filter(|_| full).map(StoredSlice::place);
                (slices, partial, next)
            }
        };
        self.walk.after = next.or(self.walk.after);
        self.walk.limit = limit_after(self.walk.limit, &stored);
        let mut step = Step { slices: Vec::new(), partial, next };
        if stored.len() <= FEW {
            self.wanted.read(&stored, self.read, &mut step);
            return Ok(step);
        }
        // Reading takes processor time, which the runtime's own threads need for what comes in.
        for part in self.read_apart(stored).await? {
            step.slices.extend(part.slices);
            step.partial |= part.partial;
        }
        Ok(step)
    }

    async fn read_apart(&self, mut stored: Vec<StoredSlice>) -> Result<Vec<Step<M>>, SearchError> {
        let readers = available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let share = stored.len().div_ceil(readers);
        let mut parts = Vec::with_capacity(readers);
        while !stored.is_empty() {
            let rest = stored.split_off(share.min(stored.len()));
            let (part, wanted) = (std::mem::replace(&mut stored, rest), Arc::clone(&self.wanted));
            let read = self.read;
            parts.push(spawn_blocking(move || {
                let mut step = Step { slices: Vec::new(), partial: false, next: None };
                wanted.read(&part, read, &mut step);
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

/// How many slices the step after this one takes.
fn limit_after(limit: u32, stored: &[StoredSlice]) -> u32 {
    let bytes: usize = stored.iter().map(|slice| slice.blob.len()).sum();
    let fitting = stored.len().saturating_mul(MOST_BYTES).checked_div(bytes).unwrap_or(usize::MAX);
    (limit * 2).min(u32::try_from(fitting).unwrap_or(MOST)).clamp(1, MOST)
}

impl Wanted {
    fn message(&self, id: MessageId, captured: Captured) -> Option<Message> {
        let message = self.filter.may_accept(&captured).then(|| Message::read(id, captured))?;
        let in_scope = || self.scope.as_ref().is_none_or(|scope| scope.accepts(&message));
        (self.filter.accepts_facts(&message) && in_scope()).then_some(message)
    }

    /// The message in brief, with its Call-ID, for a filter without conditions on facts.
    pub fn brief(&self, id: MessageId, captured: &Captured) -> Option<(Brief, Option<Word>)> {
        if !self.filter.may_accept(captured) {
            return None;
        }
        let (brief, call_id) = Brief::read(id, captured);
        let call_id = call_id.map(String::from_utf8_lossy);
        let in_scope = |scope: &Scope| scope.holds(brief.kind, captured, call_id.as_deref());
        self.scope.as_ref().is_none_or(in_scope).then_some((brief, call_id.as_deref().map(Word::of)))
    }

    fn read<M>(&self, stored: &[StoredSlice], read: Read<M>, step: &mut Step<M>) {
        for slice in stored {
            let captured = match slice.captured(|payload| self.filter.may_hold(payload)) {
                Ok(captured) => captured,
                Err(error) => {
                    tracing::error!(slice.id, %error, "a damaged slice is left out");
                    step.partial = true;
                    continue;
                }
            };
            let messages: Vec<_> =
                captured.into_iter().filter_map(|(id, captured)| read(self, id, captured)).collect();
            if !messages.is_empty() {
                step.slices.push(ReadSlice { place: slice.place(), messages });
            }
        }
    }
}
