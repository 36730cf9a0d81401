//! Finds messages, calls and sessions in a store.
//!
//! A search picks the narrowest key that its filter allows, walks the slices of that key, reads their messages and
//! filters those. What it lists is exact and newest first; where a search runs into its time limit it says so
//! (`partial`) and gives a cursor from which it can go on.

pub mod counts;
mod cursor;
mod duplicates;
mod events;
pub mod filter;
pub mod scope;
mod session;
mod steps;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

use crate::call::Call;
use crate::call::event::EventPaths;
use crate::call::message::{Message, MessageId};
use crate::store::slice::MAX_SPAN_US;
use crate::store::{Key, Store, StoreError, Walk};

use cursor::{CallCursor, MessageCursor};
use duplicates::Seen;
use filter::Filter;
use scope::Scope;
pub use session::Session;
use steps::{ReadSlice, Steps};

/// How long a search looks, at most, before it answers with what it has.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How many messages of one call are read at most; the newest.
const MAX_CALL_MESSAGES: usize = 10_000;

/// Where a page starts and how long it is.
#[derive(Clone, Debug)]
pub struct Page {
    /// What `next_cursor` of the page before said.
    pub cursor: Option<String>,
    /// At most so many items, 1 to 1,000.
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
}

impl Search {
    /// Searches this store, whose events are keyed by these paths.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, paths: Arc<EventPaths>) -> Self {
        Self { store, paths, scope: None, duplicates: Counter::default() }
    }

    /// Counts what is left out as a duplicate here.
    #[must_use]
    pub fn counting(self, duplicates: Counter) -> Self {
        Self { duplicates, ..self }
    }

    /// Leaves out what was seen before, and counts it.
    fn leave_out(&self, messages: &mut Vec<Message>, seen: &mut Seen) {
        let before = messages.len();
        messages.retain(|m| seen.is_new(m));
        self.duplicates.inc_by((before - messages.len()) as u64);
    }

    /// Answers when the store can be read.
    ///
    /// # Errors
    /// When it can't.
    pub async fn ready(&self) -> Result<(), SearchError> {
        Ok(self.store.ping().await?)
    }

    /// The messages that meet the filter, newest first.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the store is away.
    pub async fn messages(&self, filter: &Filter, page: &Page) -> Result<Listing<Message>, SearchError> {
        let before = page.cursor.as_deref().map(MessageCursor::decode).transpose()?;
        let mut walk = self.walk_for(filter);
        if let Some(before) = before {
            walk.first_until_us =
                Some(walk.first_until_us.map_or(before.captured_at_us, |t| t.min(before.captured_at_us)));
        }
        let mut steps = Steps::new(self, walk, filter.clone());
        let deadline = Instant::now() + page.time_limit;
        let mut found: Vec<Message> = Vec::new();
        // What was listed with the cursor's time: a duplicate of it may be still to come.
        let mut listed: Vec<Message> = Vec::new();
        let mut partial = false;
        loop {
            let step = steps.next().await?;
            partial |= step.partial;
            for message in step.slices.into_iter().flat_map(|slice| slice.messages) {
                match before {
                    Some(before) if message.captured_at_us() > before.captured_at_us => {}
                    Some(before) if message.order() >= before.order() => listed.push(message),
                    _ => found.push(message),
                }
            }
            found.sort_unstable_by_key(|m| std::cmp::Reverse(m.order()));
            let mut seen = Seen::default();
            seen.extend(&listed);
            self.leave_out(&mut found, &mut seen);
            found.truncate(page.limit + 1);
            let Some((first_us, _)) = step.next else { break };
            // Whatever the rest of the walk brings is not newer than this.
            let newest_unseen_us = first_us.saturating_add(MAX_SPAN_US);
            if found.get(page.limit).is_some_and(|last| last.captured_at_us() > newest_unseen_us) {
                break;
            }
            if Instant::now() > deadline {
                found.retain(|m| m.captured_at_us() > newest_unseen_us);
                if found.len() <= page.limit {
                    let next = MessageCursor::just_after(newest_unseen_us);
                    return Ok(Listing {
                        items: found,
                        next_cursor: Some(next.encode()),
                        partial: true,
                        reached_us: Some(newest_unseen_us),
                    });
                }
                break;
            }
        }
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        let next_cursor = found.last().filter(|_| more).map(|m| MessageCursor::at(m).encode());
        Ok(Listing { items: found, next_cursor, partial, reached_us: None })
    }

    /// The calls of which a message meets the filter and none meets what it must not, the newest first by their first
    /// slice with a message that [`Filter::of_place`] accepts. `from_user` and `to_user` are those of the call: who called,
    /// who was called.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the store is away.
    pub async fn calls(&self, filter: &Filter, page: &Page) -> Result<Listing<Call>, SearchError> {
        let mut walk = self.walk_for(filter);
        walk.after = page.cursor.as_deref().map(CallCursor::decode).transpose()?.map(|c| c.place);
        let of_place = filter.of_place(&self.paths);
        let mut steps = Steps::new(self, walk, of_place.clone());
        let deadline = Instant::now() + page.time_limit;
        let mut found: Vec<Call> = Vec::new();
        // Calls met so far, and the slice at which each is listed.
        let mut met: HashMap<String, (i64, i64)> = HashMap::new();
        let mut partial = false;
        let mut last_place = None;
        loop {
            let step = steps.next().await?;
            partial |= step.partial;
            for slice in &step.slices {
                let late = Instant::now() > deadline;
                if let Some(place) = last_place.filter(|_| found.len() == page.limit || late) {
                    return Ok(Listing {
                        items: found,
                        next_cursor: Some(CallCursor { place }.encode()),
                        partial: partial || late,
                        reached_us: late.then_some(place.0),
                    });
                }
                last_place = Some(slice.place);
                let Some(call_id) = slice.messages.first().and_then(|m| m.sip.call_id.as_deref()) else {
                    continue;
                };
                // Listed at another slice: an older one, which is still to come.
                if met.get(call_id).is_some_and(|place| *place != slice.place) {
                    continue;
                }
                let (place, call) = self.meet(call_id, slice, filter, &of_place).await?;
                if place == slice.place {
                    found.extend(call.map(|call| Call { listed_us: Some(place.0), ..call }));
                }
                met.insert(call_id.to_owned(), place);
            }
            if step.next.is_none() {
                return Ok(Listing { items: found, next_cursor: None, partial, reached_us: None });
            }
            if Instant::now() > deadline {
                let next_cursor = step.next.map(|place| CallCursor { place }.encode());
                let reached_us = step.next.map(|(first_us, _)| first_us);
                return Ok(Listing { items: found, next_cursor, partial: true, reached_us });
            }
        }
    }

    /// A call that a walk met at this slice: where in the walk it is listed, and the call if it meets the filter.
    async fn meet(
        &self,
        call_id: &str,
        slice: &ReadSlice,
        filter: &Filter,
        of_place: &Filter,
    ) -> Result<((i64, i64), Option<Call>), SearchError> {
        let slices = self.slices_of_call(call_id).await?;
        let place = slices
            .0
            .iter()
            .filter(|s| s.messages.iter().any(|m| of_place.accepts(m)))
            .map(|s| s.place)
            .min()
            .unwrap_or(slice.place);
        let call = self.join(call_id, slices);
        let meets = filter.accepts_call(&call);
        Ok((place, meets.then_some(call)))
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
        let mut call = self.join(call_id, self.slices_of_call(call_id).await?);
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

    /// All slices of a call, and whether there are more or some could not be read.
    async fn slices_of_call(&self, call_id: &str) -> Result<(Vec<ReadSlice>, bool), SearchError> {
        let walk = Walk { key: Some(Key::call(call_id)), ..Walk::default() };
        let filter = Filter { call_id: Some(call_id.to_owned()), ..Filter::default() };
        let mut steps = Steps::new(self, walk, filter);
        let mut slices = Vec::new();
        let mut count = 0;
        let mut partial = false;
        loop {
            let step = steps.next().await?;
            partial |= step.partial;
            for slice in step.slices {
                count += slice.messages.len();
                slices.push(slice);
            }
            if step.next.is_none() {
                return Ok((slices, partial));
            }
            if count >= MAX_CALL_MESSAGES {
                return Ok((slices, true));
            }
        }
    }

    fn join(&self, call_id: &str, (slices, partial): (Vec<ReadSlice>, bool)) -> Call {
        let mut messages: Vec<_> = slices.into_iter().flat_map(|slice| slice.messages).collect();
        messages.sort_unstable_by_key(Message::order);
        self.leave_out(&mut messages, &mut Seen::default());
        Call { call_id: call_id.to_owned(), messages, events: Vec::new(), partial, listed_us: None }
    }

    /// The walk over the narrowest key that the filter allows.
    fn walk_for(&self, filter: &Filter) -> Walk {
        let window = Window { since_us: filter.since_us, until_us: filter.until_us };
        Walk { key: filter.narrowest(&self.paths).0, ..walk_of(window) }
    }
}

/// What was asked for is not in the part of the store that can be read, but may be in another.
fn nowhere_else() -> SearchError {
    StoreError::Away("a part of it cannot be read, and the rest has nothing of this".into()).into()
}

/// The walk over all slices that may hold messages of this window.
fn walk_of(window: Window) -> Walk {
    Walk {
        key: None,
        first_since_us: window.since_us.map(|t| t.saturating_sub(MAX_SPAN_US)),
        first_until_us: window.until_us,
        after: None,
        limit: 0, // the steps set it
    }
}

impl Message {
    fn captured_at_us(&self) -> i64 {
        self.captured.captured_at_us
    }
}

impl MessageCursor {
    fn at(message: &Message) -> Self {
        Self { captured_at_us: message.captured_at_us(), id: message.id }
    }

    /// Everything captured at that time or before is still to come.
    fn just_after(captured_at_us: i64) -> Self {
        Self { captured_at_us, id: MessageId { slice: i64::MAX, index: u32::MAX } }
    }
}
