//! A call as text, message by message, its events in between.

use std::fmt::Write;

use crate::api::time::rfc3339;
use crate::call::{Call, event};

const RULE: &str =
    "----------------------------------------------------------------------------------------\n";

/// A call to read: when, from where to where, how, and the message.
#[must_use]
pub fn text(call: &Call) -> String {
    let mut text = format!("Call {}, {} messages", call.call_id, call.messages.len());
    if !call.events.is_empty() {
        let _written = write!(text, ", {} events", call.events.len());
    }
    text.push('\n');
    if call.partial {
        text.push_str("There are more messages than could be read.\n");
    }
    let mut before_us = None;
    for (index, message) in call.timeline().into_iter().enumerate() {
        let captured = &message.captured;
        let delta_us = captured.captured_at_us.saturating_sub(before_us.unwrap_or(captured.captured_at_us));
        before_us = Some(captured.captured_at_us);
        text.push('\n');
        text.push_str(RULE);
        // Writing to a String does not fail.
        let what = if event::is_event(message) {
            format!("event of protocol type {}", captured.protocol_type)
        } else {
            captured.transport.to_string()
        };
        let _written = writeln!(
            text,
            "#{} {} (+{}.{:06} s)  {} -> {}  {what}  agent {}",
            index + 1,
            rfc3339(captured.captured_at_us),
            delta_us / 1_000_000,
            delta_us % 1_000_000,
            captured.src,
            captured.dst,
            captured.agent_id,
        );
        text.push_str(RULE);
        text.push_str(&String::from_utf8_lossy(&captured.raw).replace("\r\n", "\n"));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}
