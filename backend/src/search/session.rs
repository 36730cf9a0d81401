//! What a session comes to.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::duplicates::Seen;
use super::filter::Filter;
use super::steps::Steps;
use super::{Search, SearchError, Window, nowhere_else};
use crate::call::message::Message;
use crate::call::summary::Summary;
use crate::call::{Call, event};

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
        let mut calls: HashMap<String, Vec<Message>> = HashMap::new();
        let mut seen = Seen::default();
        let mut steps = Steps::new(self, self.walk_for(&filter), filter);
        loop {
            let step = steps.next().await?;
            session.partial |= step.partial;
            let mut messages: Vec<_> = step.slices.into_iter().flat_map(|slice| slice.messages).collect();
            self.leave_out(&mut messages, |m| seen.is_new(m));
            for mut message in messages {
                let counter =
                    if event::is_event(&message) { &mut session.events } else { &mut session.messages };
                *counter += 1;
                session.first_seen_us = session.first_seen_us.min(message.captured_at_us());
                session.last_seen_us = session.last_seen_us.max(message.captured_at_us());
                if let Some(call_id) = message.sip.call_id.clone() {
                    // A session can hold a hundred thousand calls: only the facts are kept in memory.
                    message.captured.raw = Bytes::new();
                    calls.entry(call_id).or_default().push(message);
                }
            }
            let Some((last_us, _)) = step.next else { break };
            seen.reached(last_us);
        }
        for (call_id, mut messages) in calls {
            messages.sort_unstable_by_key(Message::order);
            let summary = Summary::read(&Call {
                call_id,
                messages,
                events: Vec::new(),
                partial: false,
                listed_us: None,
            });
            session.calls += 1;
            *session.outcomes.entry(summary.course.outcome.as_str()).or_default() += 1;
            if let Some(status) = summary.course.final_status {
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
