//! What a session comes to.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::task::spawn_blocking;

use super::duplicates::{Hashed, Print, Seen};
use super::filter::Filter;
use super::steps::{Steps, Wanted};
use super::{Search, SearchError, Window, nowhere_else};
use crate::call::brief::{Brief, Word};
use crate::call::course::Course;
use crate::call::message::{CapturedRef, Kind, MessageId};
use crate::call::outcome::Outcome;
use crate::store::StoreError;

/// Of so many messages is kept in memory how their calls went, 100 octets each; a session with more is told in part.
const MOST_KEPT: usize = 2_000_000;

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
        let (mut calls, mut seen) = (Calls::default(), Seen::default());
        let mut steps = Steps::reading(self, self.walk_for(&filter), filter, Part::read).whole();
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
            if calls.messages.len() > MOST_KEPT {
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
    /// Each with the place of the one of its call that was met before.
    messages: Vec<(Brief, Option<u32>)>,
    /// The place of the last of each call.
    last: HashMap<Word, u32, BuildHasherDefault<Hashed>>,
}

impl Calls {
    /// Takes messages of one call.
    fn take(&mut self, call_id: Word, parts: &[Part]) {
        // More than `MOST_KEPT` and those of one slice are never taken.
        let place = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let mut before = self.last.get(&call_id).copied();
        let places = parts.iter().zip(place..);
        self.messages.extend(places.map(|(part, place)| (part.brief, before.replace(place))));
        self.last.extend(before.map(|last| (call_id, last)));
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
                    while let Some((brief, before)) = next.and_then(|place| messages.get(place as usize)) {
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
