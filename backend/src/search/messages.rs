//! Messages, newest first, in parts: what stands is given while more is looked for.
//!
//! A walk brings slices by their last messages, so nothing that is to come is newer than the last message of the next slice: what
//! is newer stands (ADR 0031).

use std::cmp::Reverse;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use super::cursor::{Cursor, List};
use super::duplicates::{Print, Seen};
use super::filter::Filter;
use super::steps::{Step, Steps, Wanted};
use super::{Listing, Page, Search, SearchError};
use crate::call::message::{CapturedRef, Message, MessageId, MessageRef};
use crate::store::Walk;

/// What so many messages of a page come to at most, octets of payload; one is listed however long it is.
const MESSAGE_BYTES: usize = 2 << 20;

/// A page of more messages is given in parts.
pub const PART: usize = 1000;

/// So many slices of a walk are read first for a page that is given in parts.
const SLICES: usize = 256;

/// So many messages are held at most that may not stand yet. The rest is read again.
const MOST_HELD: usize = if cfg!(test) { 60 } else { 2048 };

/// Of a page that is given in parts, messages of so many octets of payload are held at most.
const HELD_BYTES: usize = 1 << 20;

/// What is written of what is held comes to at most so many times as much; of SIP it is less than twice as much.
const WRITTEN: usize = 4;

/// What a page has of each of its messages.
pub trait Listed: Send + 'static {
    /// Reads it where the message lies. What is written of it goes to the end of the text.
    fn read(message: MessageRef<'_>, text: &mut Vec<u8>) -> Self;
}

/// Boxed, since those that were found are sorted.
impl Listed for Box<Message> {
    fn read(message: MessageRef<'_>, _: &mut Vec<u8>) -> Self {
        Self::new(message.to_message())
    }
}

/// A message that a walk met.
struct Met<T> {
    place: Cursor,
    print: Print,
    size_bytes: usize,
    item: T,
    /// Where what was written of it stands in its slice's text.
    text: Range<usize>,
}

impl<T: Listed> Met<T> {
    fn read(wanted: &Wanted, id: MessageId, captured: &CapturedRef<'_>, text: &mut Vec<u8>) -> Option<Self> {
        let message = wanted.message(id, captured)?;
        let begin = text.len();
        let item = T::read(message, text);
        Some(Self {
            place: Cursor { captured_at_us: captured.captured_at_us, id },
            print: Print::of(captured),
            size_bytes: captured.raw.len(),
            item,
            text: begin..text.len(),
        })
    }
}

/// A message that was found.
pub struct Found<T> {
    /// What the page has of it.
    pub item: T,
    /// What was written of it.
    pub text: Bytes,
    place: Cursor,
    print: Print,
    /// Octets of its payload.
    size_bytes: usize,
    /// Whether nothing else is kept in memory by its text.
    is_alone: bool,
}

impl<T> Found<T> {
    /// A message that was read from elsewhere.
    #[cfg(test)]
    pub fn of(message: &Message, item: T, text: Bytes) -> Self {
        let (captured_at_us, id) = message.order();
        Self {
            item,
            text,
            place: Cursor { captured_at_us, id },
            print: Print::of(&message.captured.lent()),
            size_bytes: message.captured.raw.len(),
            is_alone: false,
        }
    }

    /// Lets go of what was written of others.
    fn keep_alone(&mut self) {
        if !self.is_alone && !self.text.is_empty() {
            self.text = Bytes::copy_from_slice(&self.text);
        }
        self.is_alone = true;
    }
}

/// A page of messages in the making.
pub struct Messages<T> {
    search: Search,
    filter: Filter,
    steps: Steps<Met<T>>,
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
    /// The newest that were not given yet, in the order of the list.
    found: Vec<Found<T>>,
    /// What comes after this place was not held, and is read again.
    floor: Option<(i64, MessageId)>,
    /// What stands before this page and has its first time: a duplicate of it may be still to come.
    listed: Vec<Print>,
    partial: bool,
    end: Option<Listing<T>>,
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
                let Listing { next_cursor, partial, reached_us, .. } = messages.end();
                return Ok(Listing { items, next_cursor, partial, reached_us });
            }
            items.extend(part.into_iter().map(|found: Found<Box<Message>>| *found.item));
        }
    }

    /// The same, part by part.
    ///
    /// # Errors
    /// As [`messages`](Self::messages).
    pub async fn messages_in_parts<T: Listed>(
        &self,
        filter: &Filter,
        page: &Page,
    ) -> Result<Messages<T>, SearchError> {
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

    async fn steps_after<T: Listed>(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Steps<Met<T>>, SearchError> {
        let walk = self.walk_for(filter).await?;
        let after_us = after.map(|after| after.captured_at_us);
        let walk = Walk { until_us: walk.until_us.into_iter().chain(after_us).min(), ..walk };
        // Unless some are left out, each slice has one message of the page at least; where it is wanted whole, more.
        let expected = if filter.wants_whole_slices() { limit / 2 + 1 } else { limit + 1 };
        let steps = Steps::reading(self, walk, filter.clone(), Met::read);
        let is_in_parts = limit > PART;
        Ok(if is_in_parts { steps.beginning_with(SLICES).evenly() } else { steps.beginning_with(expected) })
    }
}

impl<T: Listed> Messages<T> {
    /// The next part of the page; an empty one at its end.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn next(&mut self) -> Result<Vec<Found<T>>, SearchError> {
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
    pub fn end(self) -> Listing<T> {
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
    fn take(&mut self, step: Step<Met<T>>) {
        self.partial |= step.partial;
        let count = self.found.len() + self.listed.len();
        for slice in step.slices {
            for Met { place, print, size_bytes, item, text } in slice.messages {
                if self.after.is_none_or(|after| place.order() < after.order()) {
                    if self.floor.is_none_or(|floor| place.order() >= floor) {
                        let text = slice.text.slice(text);
                        self.found.push(Found { item, text, place, print, size_bytes, is_alone: false });
                    }
                } else if self.after.is_some_and(|after| after.captured_at_us == place.captured_at_us) {
                    self.listed.push(print);
                }
            }
        }
        if self.found.len() + self.listed.len() == count {
            return;
        }
        self.found.sort_unstable_by_key(|found| Reverse(found.place.order()));
        let mut seen = Seen::default();
        seen.extend(&self.listed);
        self.search.leave_out(&mut self.found, |found| seen.is_new_print(found.print));
        let (mut bytes, mut written) = (0, 0);
        let most_bytes = self.left_bytes.min(self.held_bytes);
        let most_written = self.held_bytes * WRITTEN;
        let fits = |found: &&Found<T>| {
            bytes += found.size_bytes;
            written += found.text.len();
            bytes <= most_bytes && written <= most_written
        };
        let held = self.found.iter().take(self.left.min(MOST_HELD)).take_while(fits).count().max(1) + 1;
        if held < self.found.len() {
            self.found.truncate(held);
            self.floor = self.found.last().map(|found| found.place.order());
        }
    }

    /// What of it stands and fits on the page, while nothing that is to come is newer than this.
    fn give(&mut self, newest_unseen_us: Option<i64>) -> Vec<Found<T>> {
        let stands = |place: &Cursor| newest_unseen_us.is_none_or(|us| place.captured_at_us > us);
        let mut given = 0;
        for found in self.found.iter().take_while(|found| stands(&found.place)) {
            if self.left == 0 || (found.size_bytes > self.left_bytes && self.is_begun) {
                break;
            }
            given += 1;
            self.left -= 1;
            self.left_bytes = self.left_bytes.saturating_sub(found.size_bytes);
            (self.after, self.is_begun) = (Some(found.place), true);
        }
        let part: Vec<_> = self.found.drain(..given).collect();
        self.found.iter_mut().for_each(Found::keep_alone);
        let is_full = self.found.first().is_some_and(|found| {
            self.left == 0 || (stands(&found.place) && self.is_begun && found.size_bytes > self.left_bytes)
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
            && let Some(last) = self.left.checked_sub(1).and_then(|last| self.found.get(last))
        {
            // The page is full: what is older does not come onto it any more. Nor does a duplicate of what was listed before it.
            self.steps.since(last.place.captured_at_us);
        }
        part
    }
}
