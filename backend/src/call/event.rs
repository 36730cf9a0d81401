//! Events: what agents capture besides SIP, such as log lines, RTCP and quality reports. An event belongs to a call by
//! its correlation id (HEP3 rev. 37, chunk 0x0011) or by a value of its JSON payload.

use serde_json::Value;

use super::Call;
use super::message::{Kind, Message, MessageRef};
use crate::text::lossy;

/// HEP protocol type of a log line. HEP3 rev. 37, chunk 0x000b: 0x64.
pub const PROTOCOL_LOG: u8 = 100;

/// An event that names only the session belongs to the calls of the session that were going on then, or so much
/// before or after, µs.
const MARGIN_US: i64 = 5_000_000;

/// Longest title made of a payload, characters.
const TITLE_CHARACTERS: usize = 160;

/// Longest value of a JSON payload that is a name to search by, octets; as long as a search's own.
const MOST_VALUE: usize = 1024;

/// A place in a JSON payload: names of members and numbers of items, joined by dots, such as `streams.0.ssrc`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct JsonPath(Box<str>);

/// All paths that events are keyed by, in order. A slice of events with JSON says under which it was made, and a store which there
/// are: so those are known in which a path that was added later cannot be found by its key.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PathSet(String);

impl PathSet {
    /// The set that was kept as this text.
    #[must_use]
    pub const fn kept(text: String) -> Self {
        Self(text)
    }

    /// What is kept of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a path is among them.
    #[must_use]
    pub fn holds(&self, path: &JsonPath) -> bool {
        // No path has this octet in it.
        self.0.split('=').any(|held| held == path.as_str())
    }
}

/// What a path must be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected names joined by dots, such as call_id or report.ssrc, found {0:?}")]
pub struct JsonPathError(String);

/// Under which paths JSON payloads name what they belong to, and what else they are found by.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventPaths {
    /// Call-IDs.
    pub call_id: Vec<JsonPath>,
    /// Whatever else is worth an index.
    pub index: Vec<JsonPath>,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When a name in it is empty, or it is longer than 256 octets.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        if text.len() > 256 || text.contains('=') || text.split('.').any(str::is_empty) {
            return Err(JsonPathError(text.chars().take(64).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The path as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, number or truth value at this path, as text.
    #[must_use]
    pub fn text(&self, payload: &Value) -> Option<String> {
        let found = self.0.split('.').try_fold(payload, |value, name| match value {
            Value::Object(members) => members.get(name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        });
        let text = match found? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return None,
        };
        Some(text).filter(|text| !text.is_empty() && text.len() <= MOST_VALUE)
    }
}

impl EventPaths {
    /// The Call-ID that an event's JSON payload names first.
    #[must_use]
    pub fn call_id(&self, payload: &Value) -> Option<String> {
        self.call_id.iter().find_map(|path| path.text(payload))
    }

    /// Whether the values at this path are indexed.
    #[must_use]
    pub fn is_indexed(&self, path: &JsonPath) -> bool {
        self.indexed().any(|indexed| indexed == path)
    }

    /// All paths that are indexed.
    pub fn indexed(&self) -> impl Iterator<Item = &JsonPath> {
        self.call_id.iter().chain(&self.index)
    }

    /// All of them.
    #[must_use]
    pub fn set(&self) -> PathSet {
        let mut paths: Vec<_> = self.indexed().map(JsonPath::as_str).collect();
        paths.sort_unstable();
        paths.dedup();
        PathSet(paths.join("="))
    }

    /// The call that an event's agent, or else its JSON payload, says it is about.
    #[must_use]
    pub fn named_call(&self, event: &MessageRef<'_>) -> Option<String> {
        let by_agent = event.captured.call_id.as_deref().map(str::to_owned);
        by_agent.or_else(|| self.call_id(&payload(event)?))
    }

    /// Whether an event belongs to a call: its correlation id, its agent or its payload says the Call-ID; or its
    /// correlation id is one of the call's, it names no call of its own, and the call was going on.
    #[must_use]
    pub fn ties(&self, event: &Message, call: &Call) -> bool {
        let named = self.named_call(&event.lent());
        let correlation_id = event.captured.correlation_id.as_deref();
        if correlation_id == Some(&call.call_id) || named.as_ref() == Some(&call.call_id) {
            return true;
        }
        named.is_none()
            && going_on(call).contains(&event.captured.captured_at_us)
            && call.messages.iter().any(|m| m.captured.correlation_id.as_deref() == correlation_id)
            && correlation_id.is_some()
    }
}

/// When events of its session belong to a call, µs since the epoch.
#[must_use]
pub fn going_on(call: &Call) -> std::ops::RangeInclusive<i64> {
    let times = || call.messages.iter().map(|m| m.captured.captured_at_us);
    let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    first.saturating_sub(MARGIN_US)..=last.saturating_add(MARGIN_US)
}

/// Whether a message is an event.
#[must_use]
pub fn is_event(message: &Message) -> bool {
    message.kind == Kind::Other
}

/// An event's payload, where it is JSON.
#[must_use]
pub fn payload(message: &MessageRef<'_>) -> Option<Value> {
    let raw = &message.captured.raw;
    // Most payloads that are not JSON are told by their first octet.
    let begins = raw.iter().find(|octet| !octet.is_ascii_whitespace())?;
    if message.kind != Kind::Other || !matches!(begins, b'{' | b'[') {
        return None;
    }
    serde_json::from_slice(raw).ok()
}

/// What is written at an event: a log line itself, or what the type of payload is called.
#[must_use]
pub fn title(message: &MessageRef<'_>) -> String {
    let protocol_type = message.captured.protocol_type;
    if protocol_type == PROTOCOL_LOG {
        let text = lossy(&message.captured.raw);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        return line.map_or_else(|| "log".to_owned(), shortened);
    }
    name(protocol_type).map_or_else(|| format!("protocol {protocol_type}"), str::to_owned)
}

fn shortened(line: &str) -> String {
    let mut characters = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut title: String = characters.by_ref().take(TITLE_CHARACTERS).collect();
    if characters.next().is_some() {
        title.push('…');
    }
    title
}

/// What agents use a type for, where they agree: HEP3 rev. 37, "Capture protocol types", and deployed agents.
const fn name(protocol_type: u8) -> Option<&'static str> {
    Some(match protocol_type {
        2 => "XMPP",
        3 => "SDP",
        4 => "RTP",
        5 => "RTCP",
        6 => "MGCP",
        7 => "MEGACO",
        32 => "report",
        34 => "RTP report",
        35 => "RTP report (short)",
        38 => "QoS report",
        53 => "DNS",
        54 => "ISUP",
        55 => "RTSP",
        56 => "Diameter",
        57 => "GSM MAP",
        60 | 81 => "CDR",
        86 => "xlog",
        99 => "event",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::{Captured, MessageId};
    use super::super::sample::{START_US, answered, call};
    use super::*;

    fn event(protocol_type: u8, correlation_id: Option<&str>, raw: &[u8]) -> Message {
        let sample = call(&answered()).messages.remove(0);
        let captured = Captured {
            protocol_type,
            correlation_id: correlation_id.map(Into::into),
            raw: raw.to_vec().into(),
            ..sample.captured
        };
        Message::read(MessageId::default(), captured)
    }

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).expect("a path")
    }

    fn paths() -> EventPaths {
        EventPaths { call_id: vec![path("call_id"), path("qos.CALL_ID")], index: vec![path("ssrc")] }
    }

    #[test]
    fn a_path_leads_through_members_and_items() {
        let payload = serde_json::json!({"a": {"b": [1, {"c": "x"}]}, "yes": true, "none": null, "": "e"});
        for (text, found) in [
            ("a.b.1.c", Some("x")),
            ("a.b.0", Some("1")),
            ("yes", Some("true")),
            ("none", None),
            ("a", None),
            ("a.b.c", None),
            ("a.b.9", None),
            ("absent", None),
        ] {
            assert_eq!(path(text).text(&payload).as_deref(), found, "{text}");
        }
        for text in ["", ".", "a.", ".a", "a..b", "a=b", &"x".repeat(257)] {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_events_with_json_have_a_payload() {
        assert_eq!(payload(&event(35, None, b" {\"a\":1}").lent()), Some(serde_json::json!({"a": 1})));
        for raw in
            [&b""[..], b"  ", b"{", b"12", b"\"text\"", b"{\"a\":\xff}", "[".repeat(100_000).as_bytes()]
        {
            assert_eq!(payload(&event(35, None, raw).lent()), None);
        }
        assert_eq!(payload(&event(1, None, b"{}").lent()), None);
    }

    #[test]
    fn a_call_id_ties_at_any_time_and_a_session_only_while_the_call_goes_on() {
        let call = call(&answered());
        let at = |mut event: Message, ms: i64| {
            event.captured.captured_at_us = START_US + ms * 1000;
            event
        };
        let ties = |event: Message| paths().ties(&event, &call);
        for ms in [-86_400_000, 0, 86_400_000] {
            assert!(ties(at(event(100, Some("sample"), b"by correlation id"), ms)));
            assert!(ties(at(event(35, None, b"{\"call_id\":\"sample\"}"), ms)));
            assert!(ties(at(event(38, Some("else"), b"{\"qos\":{\"CALL_ID\":\"sample\"}}"), ms)));
        }
        // The call lasts 5,030 ms.
        for (ms, tied) in [(-5001, false), (-4999, true), (3000, true), (10_029, true), (10_031, false)] {
            assert_eq!(ties(at(event(100, Some("session"), b"a line"), ms)), tied, "{ms}");
        }
        assert!(!ties(event(35, Some("session"), b"{\"call_id\":\"another\"}")));
        let about = |call_id: &str| {
            let mut line = event(100, Some("session"), b"a line");
            line.captured.call_id = Some(call_id.into());
            line
        };
        assert!(ties(at(about("sample"), 86_400_000)));
        assert!(!ties(at(about("another"), 3000)));
        assert!(!ties(event(100, Some("other session"), b"a line")));
        assert!(!ties(event(100, None, b"sample")));
    }

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(title(&event(100, None, b"\r\n  route \x07 1 \r\nmore").lent()), "route   1");
        assert_eq!(title(&event(100, None, b" \n").lent()), "log");
        assert_eq!(title(&event(100, None, "ä".repeat(200).as_bytes()).lent()).chars().count(), 161);
        assert_eq!(title(&event(5, None, b"\x80\xc8").lent()), "RTCP");
        assert_eq!(title(&event(250, None, b"").lent()), "protocol 250");
    }
}
