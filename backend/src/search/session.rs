//! What a session comes to.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::duplicates::{Hashed, Print, Seen};
use super::filter::Filter;
use super::steps::{Steps, Wanted};
use super::{Search, SearchError, Window, nowhere_else};
use crate::call::brief::{Brief, Word};
use crate::call::course::Course;
use crate::call::message::{CapturedRef, Kind, MessageId};
use crate::call::outcome::Outcome;
use crate::memory::SEARCH_BYTES;
use crate::store::StoreError;

/// How long a session that needs more memory than a search has waits for it; where there is none, it is told in part.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };

/// Messages of calls are kept in pieces of so many.
const PIECE: usize = 1 << 14;

/// What a session comes to.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its correlation id.
    pub correlation_id: String,
    /// How many SIP messages carry it.
    pub messages: u64,
    /// How many events carry it.
    pub events: u64,
    /// How many calls.
    pub calls: u64,
    /// Time of the first message or event, µs since the epoch.
    pub first_seen_us: i64,
    /// Time of the last message or event, µs since the epoch.
    pub last_seen_us: i64,
    /// Calls by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Calls by final status.
    pub responses: BTreeMap<u16, u64>,
    /// Whether something may be missing: a part of the store is away or damaged.
    pub partial: bool,
}

impl Search {
    /// What the session with this correlation id comes to in the window; `None` where nothing carries it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn session(
        &self,
        correlation_id: &str,
        window: Window,
    ) -> Result<Option<Session>, SearchError> {
        let filter = Filter {
            correlation_id: Some(correlation_id.to_owned()),
            since_us: window.since_us,
            until_us: window.until_us,
            ..Filter::default()
        };
        let mut session = Session {
            correlation_id: correlation_id.to_owned(),
            messages: 0,
            events: 0,
            calls: 0,
            first_seen_us: i64::MAX,
            last_seen_us: i64::MIN,
            outcomes: BTreeMap::new(),
            responses: BTreeMap::new(),
            partial: false,
        };
        let (mut calls, mut seen, mut places) = (Calls::default(), Seen::default(), Vec::new());
        let mut steps = Steps::reading(self, self.walk_for(&filter).await?, filter, Part::read).whole();
        let mut next = Some(steps.next().await?);
        while let Some(step) = next.take() {
            session.partial |= step.partial;
            let take = async {
                for mut slice in step.slices {
                    self.leave_out(&mut slice.messages, |part| seen.is_new_print(part.print));
                    for Part { brief, .. } in &slice.messages {
                        let is_event = brief.kind == Kind::Other;
                        *(if is_event { &mut session.events } else { &mut session.messages }) += 1;
                        session.first_seen_us = session.first_seen_us.min(brief.at_us);
                        session.last_seen_us = session.last_seen_us.max(brief.at_us);
                    }
                    for of_call in slice.messages.chunk_by(|a, b| a.call_id == b.call_id) {
                        if let Some(call_id) = of_call.first().and_then(|part| part.call_id) {
                            calls.take(call_id, of_call);
                        }
                    }
                }
            };
            let Some((last_us, _)) = step.next else {
                take.await;
                break;
            };
            // The next slices are read while these are taken.
            let (read, ()) = tokio::join!(steps.next(), take);
            if !self.have_room(calls.bytes(), &mut places).await {
                session.partial = true;
                break;
            }
            seen.reached(last_us);
            next = Some(read?);
        }
        session.calls = calls.last.len() as u64;
        for (outcome, final_status) in calls.courses().await? {
            *session.outcomes.entry(outcome.as_str()).or_default() += 1;
            if let Some(status) = final_status {
                *session.responses.entry(status).or_default() += 1;
            }
        }
        match session.messages + session.events {
            0 if session.partial => Err(nowhere_else()),
            0 => Ok(None),
            _ => Ok(Some(session)),
        }
    }
}

impl Search {
    /// Whether so many octets may be held, in further places where one search has no room for them.
    async fn have_room(&self, bytes: usize, places: &mut Vec<OwnedSemaphorePermit>) -> bool {
        while bytes as u64 > (places.len() as u64 + 1) * SEARCH_BYTES {
            match timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await {
                Ok(Ok(place)) => places.push(place),
                _ => return false,
            }
        }
        true
    }
}

/// What of a message is summed up.
struct Part {
    brief: Brief,
    call_id: Option<Word>,
    print: Print,
}

impl Part {
    fn read(wanted: &Wanted, id: MessageId, captured: &CapturedRef<'_>, _: &mut Vec<u8>) -> Option<Self> {
        let (brief, call_id) = wanted.brief(id, captured)?;
        Some(Self { brief, call_id: call_id.as_deref().map(Word::of), print: Print::of(captured) })
    }
}

/// Messages of calls, in the order in which they were met.
#[derive(Default)]
struct Calls {
    /// Each with the place of the one of its call that was met before; in pieces, so that more of them are not copied.
    messages: Vec<Vec<(Brief, Option<u32>)>>,
    /// How many they are.
    count: u32,
    /// The place of the last of each call.
    last: HashMap<Word, u32, BuildHasherDefault<Hashed>>,
}

impl Calls {
    /// Takes messages of one call.
    fn take(&mut self, call_id: Word, parts: &[Part]) {
        let mut before = self.last.get(&call_id).copied();
        for part in parts {
            let message = (part.brief, before.replace(self.count));
            match self.messages.last_mut().filter(|piece| piece.len() < PIECE) {
                Some(piece) => piece.push(message),
                None => {
                    let mut piece = Vec::with_capacity(if self.messages.is_empty() { 0 } else { PIECE });
                    piece.push(message);
                    self.messages.push(piece);
                }
            }
            // Memory for more than this counts is not to be had.
            self.count = self.count.saturating_add(1);
        }
        self.last.extend(before.map(|last| (call_id, last)));
    }

    /// What it takes of memory, octets.
    fn bytes(&self) -> usize {
        let messages: usize = self.messages.iter().map(Vec::capacity).sum();
        messages * size_of::<(Brief, Option<u32>)>() + self.last.capacity() * (size_of::<(Word, u32)>() + 1)
    }

    /// How they went, read on several threads.
    async fn courses(self) -> Result<Vec<(Outcome, Option<u16>)>, SearchError> {
        let last: Vec<u32> = self.last.into_values().collect();
        let messages = Arc::new(self.messages);
        let share = last.len().div_ceil(available_parallelism().map_or(1, usize::from)).max(1);
        let parts = last.chunks(share).map(|last| {
            let (messages, last) = (Arc::clone(&messages), last.to_vec());
            spawn_blocking(move || {
                let mut of_call = Vec::new();
                let course = |last: u32| {
                    of_call.clear();
                    let mut next = Some(last);
                    while let Some((brief, before)) = next.and_then(|place| at(&messages, place)) {
                        of_call.push(*brief);
                        next = *before;
                    }
                    of_call.sort_unstable_by(Brief::order);
                    let course = Course::read(&of_call);
                    (course.outcome, course.final_status)
                };
                last.into_iter().map(course).collect::<Vec<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        let mut courses = Vec::with_capacity(last.len());
        for part in parts {
            courses.extend(part.await.map_err(|error| StoreError::Away(error.to_string()))?);
        }
        Ok(courses)
    }
}

fn at<T>(pieces: &[Vec<T>], place: u32) -> Option<&T> {
    pieces.get(place as usize / PIECE)?.get(place as usize % PIECE)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::call::message::Message;
    use crate::call::sample::{answered, call};
    use crate::spool::Position;
    use crate::store::slice::Cutter;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{Flush, Store};

    /// So many calls of a session, all answered and ended.
    fn calls(count: usize) -> Vec<Message> {
        let of = |n: usize| {
            call(&answered()).messages.into_iter().map(move |mut message| {
                let raw = String::from_utf8_lossy(&message.captured.raw)
                    .replace("Call-ID: ", &format!("Call-ID: {n}"));
                message.captured.raw = raw.into_bytes().into();
                message.captured.correlation_id = Some("large".into());
                message.captured.captured_at_us += n as i64;
                Message::read(MessageId::default(), message.captured)
            })
        };
        (0..count).flat_map(of).collect()
    }

    #[tokio::test]
    async fn a_session_that_needs_more_memory_takes_further_places_and_without_them_is_told_in_part() {
        const CALLS: usize = 20_000;
        let files = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(files.path(), "session").await.expect("a store"));
        let messages = calls(CALLS);
        let count = messages.len() as u64;
        let packs = Cutter::default().cut(messages).expect("packs");
        let end = Position { segment: 1, offset: 1 };
        store.write(&Flush { packs, end }).await.expect("written");
        let needed = count * size_of::<(Brief, Option<u32>)>() as u64 / SEARCH_BYTES;
        assert!(needed >= 1, "{count} messages are too few for this test");
        let places = Arc::new(Semaphore::new(1 + usize::try_from(needed).expect("few")));
        let search = Search::new(store, Arc::default()).within(Arc::clone(&places));
        let all = places.available_permits();
        let sum = || search.session("large", Window::default());
        let session = sum().await.expect("an answer").expect("a session");
        let found = (session.messages, session.calls, session.partial);
        assert_eq!(found, (count, CALLS as u64, false));
        assert_eq!(session.outcomes.values().sum::<u64>(), CALLS as u64);
        assert_eq!(places.available_permits(), all, "they are given back");
        let held = Arc::clone(&places).acquire_many_owned(u32::try_from(all).expect("few"));
        let held = held.await.expect("all of them");
        let session = sum().await.expect("an answer").expect("a session");
        assert!(session.partial && session.messages < count, "{}", session.messages);
        drop(held);
        assert!(!sum().await.expect("an answer").expect("a session").partial);
    }
}
