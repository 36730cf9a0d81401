//! Calls, newest first, page by page.
//!
//! A walk brings slices by their last messages, so nothing that is to come is newer than the last message of the next slice: what
//! is newer stands, and a page is done as soon as that is enough (ADR 0031).

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::time::Instant;

use super::cursor::{Cursor, List};
use super::duplicates::Hashed;
use super::filter::Filter;
use super::steps::{ReadSlice, Steps, Wanted};
use super::{Listing, Page, Search, SearchError};
use crate::call::Call;
use crate::call::brief::Word;
use crate::call::message::{CapturedRef, Kind, MessageId};
use crate::store::{Key, Walk};

/// What the messages of a page's calls come to at most, octets of payload; one call is listed however long it is.
const CALL_BYTES: usize = 5 << 20;

/// So many calls are looked up together: at least, since most pages lack a few more than seemed, and at most.
const TOGETHER: (usize, usize) = (4, 32);

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
        let waiting = || met.waiting().filter(|call| self.is_to_come(call.first));
        let likely = waiting().filter(|call| call.opens).map(|call| call.first);
        // The oldest of the newest is on top.
        let mut newest = BinaryHeap::with_capacity(self.most + 1);
        for place in self.found.iter().map(|(place, _)| place.order()).chain(likely) {
            if newest.len() <= self.most {
                newest.push(Reverse(place));
            } else if let Some(mut oldest) = newest.peek_mut().filter(|oldest| oldest.0 < place) {
                *oldest = Reverse(place);
            }
        }
        let Reverse(last) = *newest.peek().filter(|_| newest.len() > self.most)?;
        Some(waiting().filter(|call| call.first >= last && !call.opens).count())
    }

    /// How many calls are to be looked up next.
    fn lacks(&self) -> usize {
        (self.most + 1).saturating_sub(self.found.len()).clamp(TOGETHER.0, TOGETHER.1)
    }

    /// Takes calls that were looked up, as far as they belong on this page or a later one.
    fn find(&mut self, calls: impl IntoIterator<Item = Option<(Cursor, Call)>>) {
        for (place, call) in calls.into_iter().flatten() {
            if self.is_to_come(place.order()) {
                self.found.push((place, Box::new(call)));
            }
        }
        self.found.sort_unstable_by_key(|(place, _)| Reverse(place.order()));
        self.cut();
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
        let mut walk = making.walk(self.walk_for(filter).await?);
        let until_us = walk.until_us;
        let of_place = filter.of_place(&self.paths);
        let mut met = Met::default();
        if let Some(session) = filter.session_of_calls(&of_place) {
            walk.keys = Key::firsts(session).into();
            // This one has no first slices.
            met.know(session);
            let own = self.look_up(session).await?;
            making.find([listed(own, filter, &of_place)]);
        }
        // A walk over whole sessions comes to the first messages of its calls too.
        let is_whole = of_place.correlation_id.is_some() && of_place.wants_whole_slices();
        let is_brief = is_whole && of_place.call_id.is_none();
        let read = if is_brief { Sighted::in_brief } else { Sighted::in_full };
        let mut steps = Steps::reading(self, walk, of_place.clone(), read).first_of_slices();
        let (mut walked, mut in_doubt, patience) = (0, None, Instant::now() + page.time_limit / 2);
        loop {
            let step = steps.next().await?;
            making.partial |= step.partial;
            let slices = step.slices.len();
            walked += slices;
            step.slices.iter().for_each(|slice| met.meet(slice));
            let newest_unseen_us = step.next.map_or(i64::MIN, |(last_us, _)| last_us);
            if is_whole && step.next.is_some() && Instant::now() < patience {
                let before = std::mem::replace(&mut in_doubt, making.in_doubt(&met));
                // To look them up would cost more than was read, or those that this step took out of doubt more than it.
                let walks_on = in_doubt.is_none_or(|calls| {
                    let settled = before.map_or(0, |before| before.saturating_sub(calls));
                    calls * SLICES_OF_A_CALL > walked || (calls > 0 && settled * SLICES_OF_A_CALL > slices)
                });
                if walks_on {
                    steps = steps.whole();
                    continue;
                }
            }
            let mut calls = met.take(newest_unseen_us, until_us);
            while let Some(newest) = calls.last() {
                if let Some(page) = making.done(newest.first.0) {
                    return Ok(page);
                }
                let next = calls.split_off(calls.len().saturating_sub(making.lacks()));
                let call_ids: Vec<_> = next.iter().rev().map(|call| &*call.call_id).collect();
                let found = self.look_up_all(&call_ids).await?;
                making.find(found.into_iter().map(|call| listed(call, filter, &of_place)));
            }
            if step.next.is_none() {
                return Ok(making.end());
            }
            if let Some(page) = making.done(newest_unseen_us) {
                return Ok(page);
            }
        }
    }
}

/// A call that was looked up, and where it is listed, if it meets the filter.
fn listed(call: Call, filter: &Filter, of_place: &Filter) -> Option<(Cursor, Call)> {
    let first = call.messages.iter().find(|m| of_place.accepts(m)).map(Cursor::at);
    let place = first.filter(|_| filter.accepts_call(&call))?;
    Some((place, Call { listed_us: Some(place.captured_at_us), ..call }))
}

/// What is read of a message that a walk meets.
struct Sighted {
    order: (i64, MessageId),
    /// Its call, and where the Call-ID stands in the slice's text.
    call: Option<(Word, Range<usize>)>,
    /// Whether it is a request outside of any dialog (RFC 3261 §12.2): most likely the first of its call.
    opens: bool,
}

impl Sighted {
    fn in_full(
        wanted: &Wanted,
        id: MessageId,
        captured: &CapturedRef<'_>,
        text: &mut Vec<u8>,
    ) -> Option<Self> {
        let message = wanted.message(id, captured)?;
        let opens = message.kind == Kind::Request && message.sip.to_tag.is_none();
        let order = (captured.captured_at_us, id);
        Some(Self { order, call: call_of(message.sip.call_id.as_deref(), text), opens })
    }

    /// The same for a filter without conditions on facts.
    fn in_brief(
        wanted: &Wanted,
        id: MessageId,
        captured: &CapturedRef<'_>,
        text: &mut Vec<u8>,
    ) -> Option<Self> {
        let (brief, call_id) = wanted.brief(id, captured)?;
        let opens = brief.kind == Kind::Request && !brief.has_to_tag;
        Some(Self { order: (brief.at_us, id), call: call_of(call_id.as_deref(), text), opens })
    }
}

/// A call, whose Call-ID is written to the end of the text.
fn call_of(call_id: Option<&str>, text: &mut Vec<u8>) -> Option<(Word, Range<usize>)> {
    let (call_id, begin) = (call_id?, text.len());
    text.extend_from_slice(call_id.as_bytes());
    Some((Word::of(call_id), begin..text.len()))
}

/// Calls that a walk met. One is looked up only when it may be the next of the list: most of those that are met in the middle are
/// listed much earlier.
#[derive(Default)]
struct Met {
    /// Where in `calls` those are that were not looked up yet.
    waiting: Vec<usize>,
    /// All of them, in the order in which they were met.
    calls: Vec<MetCall>,
    /// Where in `calls` one is.
    places: HashMap<Word, usize, BuildHasherDefault<Hashed>>,
}

/// A call that was met.
#[derive(Clone)]
struct MetCall {
    /// The first of its messages that was met: it is listed there or before.
    first: (i64, MessageId),
    /// Whether that message [opens](Sighted::opens) it.
    opens: bool,
    /// Its Call-ID, for as long as it waits.
    call_id: Box<str>,
}

impl Met {
    fn meet(&mut self, slice: &ReadSlice<Sighted>) {
        let Some(Sighted { order, call: Some((call, call_id)), opens }) = slice.messages.first() else {
            return;
        };
        match self.places.entry(*call) {
            Entry::Vacant(place) => {
                place.insert(self.calls.len());
                self.waiting.push(self.calls.len());
                let call_id = slice.text.get(call_id.clone()).unwrap_or_default();
                let call_id = String::from_utf8_lossy(call_id).into();
                self.calls.push(MetCall { first: *order, opens: *opens, call_id });
            }
            Entry::Occupied(place) => {
                if let Some(call) = self.calls.get_mut(*place.get()).filter(|call| *order < call.first) {
                    (call.first, call.opens) = (*order, *opens);
                }
            }
        }
    }

    /// A call that does not have to be looked up.
    fn know(&mut self, call_id: &str) {
        self.places.insert(Word::of(call_id), self.calls.len());
        let first = (i64::MIN, MessageId::default());
        self.calls.push(MetCall { first, opens: false, call_id: Box::default() });
    }

    fn waiting(&self) -> impl Iterator<Item = &MetCall> {
        self.waiting.iter().filter_map(|place| self.calls.get(*place))
    }

    /// Those that may be listed after the first time and up to the second, µs since the epoch, the newest last. They wait no longer. One of
    /// which only what is later was met waits: where it is listed in between, that message will be met. At the same time it may be a duplicate
    /// that is not.
    fn take(&mut self, after_us: i64, until_us: Option<i64>) -> Vec<MetCall> {
        let calls = &mut self.calls;
        let is_next = |call: &MetCall| {
            call.first.0 > after_us && until_us.is_none_or(|until_us| call.first.0 <= until_us)
        };
        let is_taken = |place: &mut usize| calls.get(*place).is_some_and(is_next);
        let mut taken: Vec<_> = self.waiting.extract_if(.., is_taken).collect();
        taken.sort_unstable_by_key(|place| self.calls.get(*place).map(|call| call.first));
        let take = |place: usize| {
            self.calls
                .get_mut(place)
                .map(|call| MetCall { call_id: std::mem::take(&mut call.call_id), ..*call })
        };
        taken.into_iter().filter_map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn slice(at_us: i64, call_id: &str, opens: bool) -> ReadSlice<Sighted> {
        let mut text = b"what is written of others".to_vec();
        let call = call_of(Some(call_id), &mut text);
        let order = (at_us, MessageId::default());
        ReadSlice { messages: vec![Sighted { order, call, opens }], text: Bytes::from(text) }
    }

    #[test]
    fn a_call_waits_by_the_first_of_its_messages_until_it_is_taken_and_never_again() {
        let mut met = Met::default();
        for (at_us, call_id, opens) in [
            (50, "b", false),
            (40, "a", false),
            (45, "b", false),
            (20, "b", true),
            (30, "b", false),
            (10, "c", true),
        ] {
            met.meet(&slice(at_us, call_id, opens));
        }
        let waiting = |met: &Met| {
            met.waiting().map(|call| (call.call_id.to_string(), call.first.0, call.opens)).collect::<Vec<_>>()
        };
        assert_eq!(waiting(&met), [("b".into(), 20, true), ("a".into(), 40, false), ("c".into(), 10, true)]);
        assert!(met.take(10, Some(19)).is_empty(), "all were listed on pages before");
        let taken: Vec<_> = met.take(10, Some(40)).into_iter().map(|call| call.call_id.to_string()).collect();
        assert_eq!(taken, ["b", "a"], "the newest last, and none at that time");
        met.meet(&slice(5, "a", true));
        assert_eq!(waiting(&met), [("c".into(), 10, true)]);
        met.know("d");
        met.meet(&slice(70, "d", true));
        assert_eq!(waiting(&met), [("c".into(), 10, true)], "what is known is not looked up");
    }
}
