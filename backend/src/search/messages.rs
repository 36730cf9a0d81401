//! Messages, newest first, in parts: what stands is given while more is looked for.
//!
//! A walk brings slices by their last messages, so nothing that is to come is newer than the last message of the next slice: what
//! is newer stands (ADR 0031).

use std::cmp::Reverse;
use std::time::Instant;

use super::cursor::{Cursor, List};
use super::duplicates::Seen;
use super::filter::Filter;
use super::steps::{Step, Steps};
use super::{Listing, Page, Search, SearchError};
use crate::call::message::{Message, MessageId};
use crate::store::Walk;

/// What so many messages of a page come to at most, octets of payload; one is listed however long it is.
const MESSAGE_BYTES: usize = 2 << 20;

/// A page of more messages is given in parts.
pub const PART: usize = 1000;

/// So many slices of a walk are read at a time for a page that is given in parts.
const SLICES: usize = 256;

/// So many messages are held at most that may not stand yet. The rest is read again.
const MOST_HELD: usize = if cfg!(test) { 60 } else { 2048 };

/// Of a page that is given in parts, messages of so many octets of payload are held at most.
const HELD_BYTES: usize = 1 << 20;

/// A page of messages in the making.
pub struct Messages {
    search: Search,
    filter: Filter,
    steps: Steps,
    deadline: Instant,
    /// So many messages fit on the rest of the page.
    left: usize,
    /// So many octets of payload do.
    left_bytes: usize,
    /// So many are held.
    held_bytes: usize,
    /// The place that the page begins after, or that was given last.
    after: Option<Cursor>,
    /// Whether something was given.
    is_begun: bool,
    /// The newest that were not given yet, in the order of the list. Boxed, since they are sorted.
    found: Vec<(Cursor, Box<Message>)>,
    /// What comes after this place was not held, and is read again.
    floor: Option<(i64, MessageId)>,
    /// What stands before this page and has its first time: a duplicate of it may be still to come.
    listed: Vec<Message>,
    partial: bool,
    end: Option<Listing<Message>>,
}

impl Search {
    /// The messages that meet the filter, newest first.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the store is away.
    pub async fn messages(&self, filter: &Filter, page: &Page) -> Result<Listing<Message>, SearchError> {
        let mut messages = self.messages_in_parts(filter, page).await?;
        let mut items = Vec::new();
        loop {
            let part = messages.next().await?;
            if part.is_empty() {
                return Ok(Listing { items, ..messages.end() });
            }
            items.extend(part);
        }
    }

    /// The same, part by part.
    ///
    /// # Errors
    /// As [`messages`](Self::messages).
    pub async fn messages_in_parts(&self, filter: &Filter, page: &Page) -> Result<Messages, SearchError> {
        let after = page.cursor.as_deref().map(|text| Cursor::decode(List::Messages, text)).transpose()?;
        Ok(Messages {
            search: self.clone(),
            filter: filter.clone(),
            steps: self.steps_after(filter, after, page.limit).await?,
            deadline: Instant::now() + page.time_limit,
            left: page.limit,
            left_bytes: MESSAGE_BYTES * page.limit.div_ceil(PART),
            held_bytes: if page.limit > PART { HELD_BYTES } else { MESSAGE_BYTES },
            after,
            is_begun: false,
            found: Vec::new(),
            floor: None,
            listed: Vec::new(),
            partial: false,
            end: None,
        })
    }

    async fn steps_after(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Steps, SearchError> {
        let walk = self.walk_for(filter);
        let after_us = after.map(|after| after.captured_at_us);
        let walk = Walk { until_us: walk.until_us.into_iter().chain(after_us).min(), ..walk };
        // Unless some are left out, each slice has one message of the page at least; where it is wanted whole, more.
        let expected = if filter.wants_whole_slices() { limit / 2 + 1 } else { limit + 1 };
        let steps = Steps::new(self, walk, filter.clone());
        let steps =
            if limit > PART { steps.beginning_with(SLICES).evenly() } else { steps.beginning_with(expected) };
        Ok(steps.with(self.not_keyed_for(filter).await?))
    }
}

impl Messages {
    /// The next part of the page; an empty one at its end.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn next(&mut self) -> Result<Vec<Message>, SearchError> {
        while self.end.is_none() {
            let step = self.steps.next().await?;
            let newest_unseen_us = step.next.map(|(last_us, _)| last_us);
            self.take(step);
            let part = self.give(newest_unseen_us);
            if self.found.is_empty() && self.floor.take().is_some() && self.end.is_none() {
                self.listed.clear();
                self.steps = self.search.steps_after(&self.filter, self.after, self.left.max(1)).await?;
            } else if newest_unseen_us.is_none() && self.end.is_none() {
                self.end_at(None, None);
            }
            if !part.is_empty() {
                return Ok(part);
            }
        }
        Ok(Vec::new())
    }

    /// Ends the page at what was given, because no more can be found now; it can be asked for later.
    pub fn break_off(&mut self) {
        self.partial = true;
        self.end_at(self.after, None);
    }

    /// What is to be said of the page after its last part; it has no items.
    #[must_use]
    pub fn end(self) -> Listing<Message> {
        self.end.unwrap_or(Listing { items: Vec::new(), next_cursor: None, partial: true, reached_us: None })
    }

    fn end_at(&mut self, next: Option<Cursor>, reached_us: Option<i64>) {
        self.end = Some(Listing {
            items: Vec::new(),
            next_cursor: next.map(|next| next.encode(List::Messages)),
            partial: self.partial || reached_us.is_some(),
            reached_us,
        });
    }

    /// Takes what a step found.
    fn take(&mut self, step: Step) {
        self.partial |= step.partial;
        let count = self.found.len() + self.listed.len();
        for message in step.slices.into_iter().flat_map(|slice| slice.messages) {
            let order = message.order();
            if self.after.is_none_or(|after| order < after.order()) {
                if self.floor.is_none_or(|floor| order >= floor) {
                    self.found.push((Cursor::at(&message), Box::new(message)));
                }
            } else if self.after.is_some_and(|after| after.captured_at_us == message.captured_at_us()) {
                self.listed.push(message);
            }
        }
        if self.found.len() + self.listed.len() == count {
            return;
        }
        self.found.sort_unstable_by_key(|(place, _)| Reverse(place.order()));
        let mut seen = Seen::default();
        seen.extend(&self.listed);
        self.search.leave_out(&mut self.found, |(_, message)| seen.is_new(message));
        let mut bytes = 0;
        let most_bytes = self.left_bytes.min(self.held_bytes);
        let fits = |(_, message): &&(Cursor, Box<Message>)| {
            bytes += message.captured.raw.len();
            bytes <= most_bytes
        };
        let held = self.found.iter().take(self.left.min(MOST_HELD)).take_while(fits).count().max(1) + 1;
        if held < self.found.len() {
            self.found.truncate(held);
            self.floor = self.found.last().map(|(place, _)| place.order());
        }
    }

    /// What of it stands and fits on the page, while nothing that is to come is newer than this.
    fn give(&mut self, newest_unseen_us: Option<i64>) -> Vec<Message> {
        let stands = |place: &Cursor| newest_unseen_us.is_none_or(|us| place.captured_at_us > us);
        let mut given = 0;
        for (place, message) in self.found.iter().take_while(|(place, _)| stands(place)) {
            let bytes = message.captured.raw.len();
            if self.left == 0 || (bytes > self.left_bytes && self.is_begun) {
                break;
            }
            given += 1;
            self.left -= 1;
            self.left_bytes = self.left_bytes.saturating_sub(bytes);
            (self.after, self.is_begun) = (Some(*place), true);
        }
        let part: Vec<Message> = self.found.drain(..given).map(|(_, message)| *message).collect();
        let is_full = self.found.first().is_some_and(|(place, message)| {
            self.left == 0 || (stands(place) && self.is_begun && message.captured.raw.len() > self.left_bytes)
        });
        // Each page comes further than the one before, however long that takes.
        let is_further =
            |us: &i64| self.is_begun || self.after.is_none_or(|after| *us < after.captured_at_us);
        if is_full {
            self.end_at(self.after, None);
        } else if let Some(us) = newest_unseen_us.filter(is_further)
            && Instant::now() > self.deadline
        {
            self.end_at(Some(Cursor::just_after(us)), Some(us));
        } else if newest_unseen_us.is_some_and(|us| is_further(&us))
            && self.found.len() > self.left
            && let Some((last, _)) = self.left.checked_sub(1).and_then(|last| self.found.get(last))
        {
            // The page is full: what is older does not come onto it any more. Nor does a duplicate of what was listed before it.
            self.steps.since(last.captured_at_us);
        }
        part
    }
}
