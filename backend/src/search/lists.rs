//! Lists, newest first, page by page.
//!
//! A walk brings slices by their last messages, so nothing that is to come is newer than the last message of the next slice: what
//! is newer stands, and a page is done as soon as that is enough (ADR 0031).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use futures_util::future::try_join_all;

use super::cursor::{Cursor, List};
use super::duplicates::Seen;
use super::filter::Filter;
use super::steps::{ReadSlice, Steps};
use super::{Listing, Page, Search, SearchError};
use crate::call::Call;
use crate::call::message::{Message, MessageId};
use crate::store::Walk;

/// What the messages of a page come to at most, octets of payload; one is listed however long it is.
const MESSAGE_BYTES: usize = 2 << 20;

/// What the messages of a page's calls come to at most.
const CALL_BYTES: usize = 8 << 20;

/// So many calls are looked up at once.
const AT_ONCE: usize = 8;

/// A page in the making.
struct Making<T> {
    list: List,
    /// So many items are wanted.
    most: usize,
    /// So many of those that were found fit on the page.
    limit: usize,
    before: Option<Cursor>,
    deadline: Instant,
    /// The newest, in the order of the list, one more than the page takes. Boxed, since they are sorted.
    found: Vec<(Cursor, Box<T>)>,
    partial: bool,
}

impl<T> Making<T> {
    fn new(list: List, page: &Page) -> Result<Self, SearchError> {
        let before = page.cursor.as_deref().map(|text| Cursor::decode(list, text)).transpose()?;
        let deadline = Instant::now() + page.time_limit;
        Ok(Self {
            list,
            most: page.limit,
            limit: page.limit,
            before,
            deadline,
            found: Vec::new(),
            partial: false,
        })
    }

    /// The walk, as far as it is not before the page.
    fn walk(&self, walk: Walk) -> Walk {
        let before_us = self.before.map(|before| before.captured_at_us);
        Walk { until_us: walk.until_us.into_iter().chain(before_us).min(), ..walk }
    }

    /// Whether something at this place belongs on this page or a later one.
    fn is_to_come(&self, order: (i64, MessageId)) -> bool {
        self.before.is_none_or(|before| order < before.order())
    }

    fn sort(&mut self) {
        self.found.sort_unstable_by_key(|(place, _)| Reverse(place.order()));
    }

    /// Leaves out what does not fit on the page, but for the first of it. What comes in between later leaves no more room than there is.
    fn cut(&mut self, most_bytes: usize, weigh: impl Fn(&T) -> usize) {
        let mut bytes = 0;
        let fits = |(_, item): &&(Cursor, Box<T>)| {
            bytes += weigh(item);
            bytes <= most_bytes
        };
        let fitting = self.found.iter().take(self.most).take_while(fits).count().max(1);
        self.limit = if fitting < self.found.len() { fitting } else { self.most };
        self.found.truncate(self.limit + 1);
    }

    /// Where the page is full: what is older than this, µs since the epoch, does not come onto it any more, if nothing that
    /// is to come is newer than `newest_unseen_us`.
    fn oldest_us(&self, newest_unseen_us: i64) -> Option<i64> {
        let is_full = self.found.len() > self.limit && self.is_further(newest_unseen_us);
        let last = is_full.then(|| self.found.get(self.limit - 1)).flatten();
        last.map(|(place, _)| place.captured_at_us)
    }

    /// Whether nothing of the cursor's time is to come: that could be a duplicate of what was found, listed on the page
    /// before.
    fn is_further(&self, newest_unseen_us: i64) -> bool {
        self.before.is_none_or(|before| newest_unseen_us < before.captured_at_us)
    }

    /// The page, if it stands while nothing that is to come is newer than this; or if the time is over.
    fn done(&mut self, newest_unseen_us: i64) -> Option<Listing<T>> {
        let stands = |place: &Cursor| place.captured_at_us > newest_unseen_us;
        let is_full = self.found.len() > self.limit;
        if is_full && self.found.get(self.limit - 1).is_some_and(|(place, _)| stands(place)) {
            return Some(self.end());
        }
        // Each page comes further than the one before, however long that takes.
        if !self.is_further(newest_unseen_us) || Instant::now() <= self.deadline {
            return None;
        }
        self.found.retain(|(place, _)| stands(place));
        let next = Cursor::just_after(newest_unseen_us);
        Some(Listing {
            items: self.take(),
            next_cursor: Some(next.encode(self.list)),
            partial: true,
            reached_us: Some(newest_unseen_us),
        })
    }

    /// The page, now that nothing is to come, or nothing that belongs on it.
    fn end(&mut self) -> Listing<T> {
        let more = self.found.len() > self.limit;
        self.found.truncate(self.limit);
        let next = self.found.last().filter(|_| more).map(|(place, _)| place.encode(self.list));
        Listing { items: self.take(), next_cursor: next, partial: self.partial, reached_us: None }
    }

    fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.found).into_iter().map(|(_, item)| *item).collect()
    }
}

impl Search {
    /// The messages that meet the filter, newest first.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the store is away.
    pub async fn messages(&self, filter: &Filter, page: &Page) -> Result<Listing<Message>, SearchError> {
        let mut making = Making::new(List::Messages, page)?;
        let walk = making.walk(self.walk_for(filter));
        // Unless some are left out, each slice has one message of the page at least; where it is wanted whole, more.
        let expected = if filter.wants_whole_slices() { page.limit / 2 + 1 } else { page.limit + 1 };
        let steps = Steps::new(self, walk, filter.clone()).beginning_with(expected);
        let mut steps = steps.with(self.not_keyed_for(filter).await?);
        // What was listed with the cursor's time: a duplicate of it may be still to come.
        let mut listed: Vec<Message> = Vec::new();
        loop {
            let step = steps.next().await?;
            making.partial |= step.partial;
            for message in step.slices.into_iter().flat_map(|slice| slice.messages) {
                if making.is_to_come(message.order()) {
                    making.found.push((Cursor::at(&message), Box::new(message)));
                } else if making.before.is_some_and(|b| b.captured_at_us == message.captured_at_us()) {
                    listed.push(message);
                }
            }
            making.sort();
            let mut seen = Seen::default();
            seen.extend(&listed);
            self.leave_out(&mut making.found, |(_, message)| seen.is_new(message));
            making.cut(MESSAGE_BYTES, |message| message.captured.raw.len());
            let Some((newest_unseen_us, _)) = step.next else { return Ok(making.end()) };
            if let Some(page) = making.done(newest_unseen_us) {
                return Ok(page);
            }
            if let Some(oldest_us) = making.oldest_us(newest_unseen_us) {
                steps.since(oldest_us);
            }
        }
    }

    /// The calls of which a message meets the filter and none meets what it must not, newest first by their first
    /// message that [`Filter::of_place`] accepts. `from_user` and `to_user` are those of the call: who called,
    /// who was called.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the store is away.
    pub async fn calls(&self, filter: &Filter, page: &Page) -> Result<Listing<Call>, SearchError> {
        let mut making = Making::new(List::Calls, page)?;
        let walk = making.walk(self.walk_for(filter));
        let of_place = filter.of_place(&self.paths);
        let mut steps = Steps::new(self, walk, of_place.clone());
        let mut met = Met::default();
        loop {
            let step = steps.next().await?;
            making.partial |= step.partial;
            step.slices.iter().for_each(|slice| met.meet(slice));
            let newest_unseen_us = step.next.map_or(i64::MIN, |(last_us, _)| last_us);
            while let Some(newest_us) = met.newest_us().filter(|us| *us > newest_unseen_us) {
                if let Some(page) = making.done(newest_us) {
                    return Ok(page);
                }
                let call_ids = met.take_newest(newest_unseen_us);
                let calls = call_ids.iter().map(|call_id| self.listed(call_id, filter, &of_place));
                for (place, call) in try_join_all(calls).await?.into_iter().flatten() {
                    if making.is_to_come(place.order()) {
                        making.found.push((place, Box::new(call)));
                    }
                }
                making.sort();
                making.cut(CALL_BYTES, |call| call.messages.iter().map(|m| m.captured.raw.len()).sum());
            }
            if step.next.is_none() {
                return Ok(making.end());
            }
            if let Some(page) = making.done(newest_unseen_us) {
                return Ok(page);
            }
        }
    }

    /// A call that was met, and where it is listed, if it meets the filter.
    async fn listed(
        &self,
        call_id: &str,
        filter: &Filter,
        of_place: &Filter,
    ) -> Result<Option<(Cursor, Call)>, SearchError> {
        let call = self.join(call_id, self.slices_of_call(call_id).await?);
        let first = call.messages.iter().find(|m| of_place.accepts(m)).map(Cursor::at);
        let Some(place) = first.filter(|_| filter.accepts_call(&call)) else { return Ok(None) };
        Ok(Some((place, Call { listed_us: Some(place.captured_at_us), ..call })))
    }
}

/// Calls that a walk met. One is looked up only when it may be the next of the list: most of those that are met in the middle are
/// listed much earlier.
#[derive(Default)]
struct Met {
    /// Those not looked up yet, by the first of their messages that was met: they are listed there or before.
    waiting: BTreeMap<(i64, MessageId), String>,
    /// All of them; of those that wait, where.
    all: HashMap<String, Option<(i64, MessageId)>>,
}

impl Met {
    fn meet(&mut self, slice: &ReadSlice) {
        let Some(first) = slice.messages.first() else { return };
        let (Some(call_id), order) = (first.sip.call_id.as_deref(), first.order()) else { return };
        match self.all.get_mut(call_id) {
            None => {
                self.all.insert(call_id.to_owned(), Some(order));
                self.waiting.insert(order, call_id.to_owned());
            }
            Some(Some(known)) if order < *known => {
                self.waiting.remove(known);
                self.waiting.insert(order, call_id.to_owned());
                *known = order;
            }
            Some(_) => {}
        }
    }

    /// None that waits is listed later than this, µs since the epoch.
    fn newest_us(&self) -> Option<i64> {
        self.waiting.last_key_value().map(|((at_us, _), _)| *at_us)
    }

    /// Some of those that may be listed after this time, to be looked up: the newest.
    fn take_newest(&mut self, after_us: i64) -> Vec<String> {
        let mut taken = Vec::with_capacity(AT_ONCE);
        while taken.len() < AT_ONCE
            && let Some(newest) = self.waiting.last_entry().filter(|newest| newest.key().0 > after_us)
        {
            let call_id = newest.remove();
            self.all.insert(call_id.clone(), None);
            taken.push(call_id);
        }
        taken
    }
}
