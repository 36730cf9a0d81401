//! What messages mean: facts, dialogs, events, a call's outcome and its ladder. Pure: no SQL, no HTTP, no clock.

mod attempt;
pub mod brief;
mod cause;
pub mod course;
mod dialog;
pub mod event;
mod hosts;
pub mod ladder;
pub mod message;
pub mod outcome;
#[cfg(test)]
pub mod sample;
pub mod summary;

use message::Message;

/// A call: all messages seen with one Call-ID, oldest first. Never empty.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its Call-ID.
    pub call_id: String,
    /// Its messages.
    pub messages: Vec<Message>,
    /// What belongs to it and is not SIP, oldest first; empty where it was not asked for.
    pub events: Vec<Message>,
    /// Whether there are more than could be read: too many, or on a damaged part of the disk.
    pub partial: bool,
    /// Of a call in a list, the time that the list is ordered by, µs since the epoch: of the first message in the slice
    /// that holds what was looked for.
    pub listed_us: Option<i64>,
}

impl Call {
    /// Messages and events in order of time.
    #[must_use]
    pub fn timeline(&self) -> Vec<&Message> {
        let mut timeline: Vec<_> = self.messages.iter().chain(&self.events).collect();
        timeline.sort_by_key(|m| m.order());
        timeline
    }
}
