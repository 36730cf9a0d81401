//! Calls, newest first, page by page.
//!
//! A walk brings slices by their last messages, so nothing that is to come is newer than the last message of the next slice: what
//! is newer stands, and a page is done as soon as that is enough (ADR 0031).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;

use super::cursor::{Cursor, List};
use super::filter::Filter;
use super::steps::{ReadSlice, Steps, Wanted};
use super::{Listing, Page, Search, SearchError};
use crate::call::Call;
use crate::call::message::{CapturedRef, Kind, MessageId};
use crate::store::Walk;

/// What the messages of a page's calls come to at most, octets of payload; one call is listed however long it is.
const CALL_BYTES: usize = 8 << 20;

/// So many calls are looked up at once.
const AT_ONCE: usize = 8;

/// To look up a call costs as much as to read so many slices of a walk.
const SLICES_OF_A_CALL: usize = 64;

/// A page in the making.
struct Making {
    /// So many items are wanted.
    most: usize,
    /// So many of those that were found fit on the page.
    limit: usize,
    before: Option<Cursor>,
    deadline: Instant,
    /// The newest, in the order of the list, one more than the page takes. Boxed, since they are sorted.
    found: Vec<(Cursor, Box<Call>)>,
    partial: bool,
}

impl Making {
    fn new(page: &Page) -> Result<Self, SearchError> {
        let before = page.cursor.as_deref().map(|text| Cursor::decode(List::Calls, text)).transpose()?;
        let deadline = Instant::now() + page.time_limit;
        Ok(Self { most: page.limit, limit: page.limit, before, deadline, found: Vec::new(), partial: false })
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

    /// How many calls would have to be looked up though they are most likely listed elsewhere, to tell the page from what was
    /// found and met so far; `None` where that is not enough for a page. A call of which no message was met that opens a dialog has
    /// most likely begun before.
    fn in_doubt(&self, met: &Met) -> Option<usize> {
        let is_likely = |order: &(i64, MessageId), call: &MetCall| call.opens && self.is_to_come(*order);
        let likely = met.waiting.iter().filter(|(order, call)| is_likely(order, call));
        let mut places: Vec<_> = likely.map(|(order, _)| *order).collect();
        places.extend(self.found.iter().map(|(place, _)| place.order()));
        if places.len() <= self.most {
            return None;
        }
        let (_, last, _) = places.select_nth_unstable_by_key(self.most, |place| Reverse(*place));
        Some(met.waiting.range(*last..).filter(|(order, call)| !is_likely(order, call)).count())
    }

    fn sort(&mut self) {
        self.found.sort_unstable_by_key(|(place, _)| Reverse(place.order()));
    }

    /// Leaves out what does not fit on the page, but for the first of it. What comes in between later leaves no more room than there is.
    fn cut(&mut self) {
        let mut bytes = 0;
        let fits = |(_, call): &&(Cursor, Box<Call>)| {
            bytes += call.messages.iter().map(|m| m.captured.raw.len()).sum::<usize>();
            bytes <= CALL_BYTES
        };
        let fitting = self.found.iter().take(self.most).take_while(fits).count().max(1);
        self.limit = if fitting < self.found.len() { fitting } else { self.most };
        self.found.truncate(self.limit + 1);
    }

    /// Whether the walk has come further than the page before.
    fn is_further(&self, newest_unseen_us: i64) -> bool {
        self.before.is_none_or(|before| newest_unseen_us < before.captured_at_us)
    }

    /// The page, if it stands while nothing that is to come is newer than this; or if the time is over.
    fn done(&mut self, newest_unseen_us: i64) -> Option<Listing<Call>> {
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
            next_cursor: Some(next.encode(List::Calls)),
            partial: true,
            reached_us: Some(newest_unseen_us),
        })
    }

    /// The page, now that nothing is to come, or nothing that belongs on it.
    fn end(&mut self) -> Listing<Call> {
        let more = self.found.len() > self.limit;
        self.found.truncate(self.limit);
        let next = self.found.last().filter(|_| more).map(|(place, _)| place.encode(List::Calls));
        Listing { items: self.take(), next_cursor: next, partial: self.partial, reached_us: None }
    }

    fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.found).into_iter().map(|(_, item)| *item).collect()
    }
}

impl Search {
    /// The calls of which a message meets the filter and none meets what it must not, newest first by their first
    /// message that [`Filter::of_place`] accepts. `from_user` and `to_user` are those of the call: who called,
    /// who was called.
    ///
    /// # Errors
    /// When the cursor is not of this list, or the store is away.
    pub async fn calls(&self, filter: &Filter, page: &Page) -> Result<Listing<Call>, SearchError> {
        let mut making = Making::new(page)?;
        let walk = making.walk(self.walk_for(filter));
        let of_place = filter.of_place(&self.paths);
        // A walk over whole sessions comes to the first messages of its calls too.
        let is_whole = of_place.correlation_id.is_some() && of_place.wants_whole_slices();
        let is_brief = is_whole && of_place.call_id.is_none();
        let read = if is_brief { Sighted::in_brief } else { Sighted::in_full };
        let mut steps = Steps::reading(self, walk, of_place.clone(), read);
        let mut met = Met::default();
        let (mut walked, patience) = (0, Instant::now() + page.time_limit / 2);
        loop {
            let step = steps.next().await?;
            making.partial |= step.partial;
            walked += step.slices.len();
            step.slices.into_iter().for_each(|slice| met.meet(slice));
            let newest_unseen_us = step.next.map_or(i64::MIN, |(last_us, _)| last_us);
            let walks_on = is_whole && step.next.is_some() && Instant::now() < patience;
            if walks_on && making.in_doubt(&met).is_none_or(|calls| calls * SLICES_OF_A_CALL > walked) {
                steps = steps.whole();
                continue;
            }
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
                making.cut();
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

/// What is read of a message that a walk meets.
struct Sighted {
    order: (i64, MessageId),
    call_id: Option<String>,
    /// Whether it is a request outside of any dialog (RFC 3261 §12.2): most likely the first of its call.
    opens: bool,
}

impl Sighted {
    fn in_full(wanted: &Wanted, id: MessageId, captured: &CapturedRef<'_>, _: &mut Vec<u8>) -> Option<Self> {
        let message = wanted.message(id, captured)?;
        let opens = message.kind == Kind::Request && message.sip.to_tag.is_none();
        let call_id = message.sip.call_id.map(Cow::into_owned);
        Some(Self { order: (captured.captured_at_us, id), call_id, opens })
    }

    /// The same for a filter without conditions on facts.
    fn in_brief(wanted: &Wanted, id: MessageId, captured: &CapturedRef<'_>, _: &mut Vec<u8>) -> Option<Self> {
        let (brief, call_id) = wanted.brief(id, captured)?;
        let opens = brief.kind == Kind::Request && !brief.has_to_tag;
        Some(Self { order: (brief.at_us, id), call_id: call_id.map(Cow::into_owned), opens })
    }
}

/// Calls that a walk met. One is looked up only when it may be the next of the list: most of those that are met in the middle are
/// listed much earlier.
#[derive(Default)]
struct Met {
    /// Those not looked up yet, by the first of their messages that was met: they are listed there or before.
    waiting: BTreeMap<(i64, MessageId), MetCall>,
    /// All of them; of those that wait, where.
    all: HashMap<Arc<str>, Option<(i64, MessageId)>>,
}

/// A call that waits.
struct MetCall {
    call_id: Arc<str>,
    /// Whether the message that it waits by [opens](Sighted::opens) it.
    opens: bool,
}

impl Met {
    fn meet(&mut self, slice: ReadSlice<Sighted>) {
        let Some(Sighted { order, call_id: Some(call_id), opens }) = slice.messages.into_iter().next() else {
            return;
        };
        match self.all.get_mut(call_id.as_str()) {
            None => {
                let call_id: Arc<str> = call_id.into();
                self.all.insert(Arc::clone(&call_id), Some(order));
                self.waiting.insert(order, MetCall { call_id, opens });
            }
            Some(Some(known)) if order < *known => {
                if let Some(call) = self.waiting.remove(known) {
                    self.waiting.insert(order, MetCall { opens, ..call });
                }
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
    fn take_newest(&mut self, after_us: i64) -> Vec<Arc<str>> {
        let mut taken = Vec::with_capacity(AT_ONCE);
        while taken.len() < AT_ONCE
            && let Some(newest) = self.waiting.last_entry().filter(|newest| newest.key().0 > after_us)
        {
            let MetCall { call_id, .. } = newest.remove();
            self.all.insert(Arc::clone(&call_id), None);
            taken.push(call_id);
        }
        taken
    }
}
