//! Which events belong to a call.

use std::collections::BTreeMap;

use super::duplicates::Seen;
use super::filter::Filter;
use super::steps::Steps;
use super::{Search, SearchError, Window, walk_of};
use crate::call::message::{Message, MessageId};
use crate::call::{Call, event};
use crate::store::{Key, Walk};

/// How many events of one call are read at most; the newest of each id that ties them to it.
const MAX_CALL_EVENTS: usize = 1_000;

/// How many of a call's correlation ids are asked for events.
const MAX_CORRELATION_IDS: usize = 16;

impl Search {
    /// The events that belong to a call, oldest first, and whether there are more or some could not be read.
    pub(super) async fn events_of(&self, call: &Call) -> Result<(Vec<Message>, bool), SearchError> {
        let mut found: BTreeMap<(i64, MessageId), Message> = BTreeMap::new();
        let mut more = false;
        let going_on = event::going_on(call);
        let mut ids = vec![(call.call_id.as_str(), Window::default())];
        for id in call.messages.iter().filter_map(|m| m.captured.correlation_id.as_deref()) {
            if ids.iter().all(|(known, _)| *known != id) {
                // Only there and then does a session's event belong to this call.
                let window = Window { since_us: Some(*going_on.start()), until_us: Some(*going_on.end()) };
                ids.push((id, window));
            }
            if ids.len() > MAX_CORRELATION_IDS {
                more = true;
                break;
            }
        }
        for (id, window) in ids {
            let walk = Walk { keys: Key::event(id).into(), ..walk_of(window) };
            let mut steps = Steps::new(self, walk, Filter::default());
            let most = found.len() + MAX_CALL_EVENTS;
            loop {
                let step = steps.next().await?;
                more |= step.partial;
                let events = step.slices.into_iter().flat_map(|slice| slice.messages);
                found.extend(events.filter(|m| self.paths.ties(m, call)).map(|m| (m.order(), m)));
                if found.len() > most {
                    more |= step.next.is_some();
                    break;
                }
                if step.next.is_none() {
                    break;
                }
            }
        }
        let mut events: Vec<_> = found.into_values().collect();
        let mut seen = Seen::default();
        self.leave_out(&mut events, |m| seen.is_new(m));
        Ok((events, more))
    }
}
