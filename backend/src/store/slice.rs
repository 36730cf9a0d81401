//! A slice on disk.
//!
//! Format 2: one octet `2`; the length of the header, u32 little endian; the header (postcard); the payloads, one after
//! the other, as one zstd frame. The header holds each host and agent once and, for each message in order of capture,
//! its time after the slice's first, hop, transport, protocol type, agent and payload length; then the Call-ID of
//! events whose agent says it, and how long the messages were whose end was cut off. Format 1 lacks these last two, and
//! is still read. The SIP facts are not kept: they are read out of the payload again, which costs less than storing and loading them, and lets a later
//! version find fields that this one did not know.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::call::event::{self, EventPaths};
use crate::call::message::{Captured, Message, MessageId, Transport};

const FORMAT: u8 = 2;
const FORMAT_1: u8 = 1;
/// What the fields that format 1 lacks are where there is nothing to say: none, and an empty list (postcard).
const ADDED_SINCE_1: [u8; 2] = [0, 0];
const PREFIX: usize = 5;

/// The longest time between the first and the last message of a slice, µs. A walk by first message relies on it to
/// bring messages in exact order, and the newest messages cost reading so much of the traffic.
pub const MAX_SPAN_US: i64 = 2_000_000;

/// The most payload that one slice holds, octets (but always one message).
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// The most messages that one slice holds.
pub const MAX_MESSAGES: usize = 4096;

/// A slice that is to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slice {
    /// Time of its first message, µs since the epoch.
    pub first_us: i64,
    /// How many messages it holds.
    pub count: u32,
    /// Its keys, in order, each once.
    pub keys: Vec<Key>,
    /// The messages.
    pub blob: Vec<u8>,
}

/// A slice that came from a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSlice {
    /// Its row id, unique in the store.
    pub id: i64,
    /// Time of its first message, µs since the epoch.
    pub first_us: i64,
    /// The messages.
    pub blob: Vec<u8>,
}

/// A slice's octets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// Written by another version, or not a slice.
    #[error("expected slice format 1 or 2, found {0:?}")]
    Format(Option<u8>),
    /// The header is cut or wrong.
    #[error("header: {0}")]
    Header(String),
    /// The payloads do not inflate.
    #[error("payloads: {0}")]
    Payload(#[from] std::io::Error),
}

#[derive(Deserialize, Serialize)]
struct Header {
    first_us: i64,
    correlation_id: Option<Box<str>>,
    hosts: Vec<SocketAddr>,
    agents: Vec<(u32, Option<Box<str>>)>,
    entries: Vec<Entry>,
    call_id: Option<Box<str>>,
    /// Index and full length of each message that was cut.
    cut: Vec<(u32, u32)>,
}

#[derive(Deserialize, Serialize)]
struct Entry {
    after_us: u64,
    src: u32,
    dst: u32,
    transport: u8,
    protocol_type: u8,
    agent: u32,
    size: u32,
}

/// What the messages of a slice have in common.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Group {
    correlation_id: Option<Box<str>>,
    call_id: Option<Box<str>>,
    /// Whether the call of an event is told by its agent, or else by its payload.
    by_agent: bool,
    is_event: bool,
}

/// A message with the keys that its payload alone does not tell for little.
struct Keyed {
    message: Message,
    /// Keys of an event; none of SIP, whose keys are among its facts.
    keys: Vec<Key>,
}

/// Cuts messages into slices: by call and correlation id, events apart from SIP, and each so that it keeps to the bounds
/// of a slice. Events are keyed by what their payloads say under `paths`.
///
/// # Errors
/// When a payload cannot be compressed, which only lack of memory brings about.
pub fn cut(messages: Vec<Message>, paths: &EventPaths) -> Result<Vec<Slice>, SliceError> {
    let mut groups: HashMap<Group, Vec<Keyed>> = HashMap::new();
    for message in messages {
        let is_event = event::is_event(&message);
        let (call_id, keys) =
            if is_event { read_event(&message, paths) } else { (message.sip.call_id.clone(), Vec::new()) };
        let group = Group {
            correlation_id: message.captured.correlation_id.clone(),
            call_id: call_id.map(Into::into),
            by_agent: message.captured.call_id.is_some(),
            is_event,
        };
        groups.entry(group).or_default().push(Keyed { message, keys });
    }
    // Neighbours in the store are neighbours in what is asked for: a session's calls lie together.
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut slices = Vec::with_capacity(groups.len());
    for (_, mut group) in groups {
        group.sort_by_key(|m| m.message.captured.captured_at_us);
        let mut rest = group.as_slice();
        while let Some(first) = rest.first() {
            let (slice, others) = rest.split_at(fitting(first, rest));
            slices.push(Slice::encode(slice)?);
            rest = others;
        }
    }
    Ok(slices)
}

/// How many of these, at least one, go into one slice.
fn fitting(first: &Keyed, messages: &[Keyed]) -> usize {
    let until = first.message.captured.captured_at_us.saturating_add(MAX_SPAN_US);
    let mut bytes = 0;
    let within = messages.iter().take(MAX_MESSAGES).take_while(|m| {
        bytes += m.message.captured.raw.len();
        m.message.captured.captured_at_us <= until && bytes <= MAX_PAYLOAD_BYTES
    });
    within.count().max(1)
}

/// The call that an event names, and what the event is found by.
fn read_event(message: &Message, paths: &EventPaths) -> (Option<String>, Vec<Key>) {
    let mut keys = vec![Key::protocol(message.captured.protocol_type)];
    keys.extend(message.captured.correlation_id.as_deref().map(Key::event));
    if let Some(payload) = event::payload(message) {
        keys.extend(paths.indexed().filter_map(|path| Some(Key::json(path, &path.text(&payload)?))));
    }
    let call_id = paths.named_call(message);
    keys.extend(call_id.as_deref().map(Key::event));
    (call_id, keys)
}

impl Slice {
    /// Encodes messages of one call and correlation id, in order of capture.
    fn encode(messages: &[Keyed]) -> Result<Self, SliceError> {
        let first = messages.first().map(|m| &m.message);
        let first_us = first.map_or(0, |m| m.captured.captured_at_us);
        let correlation_id = first.and_then(|m| m.captured.correlation_id.clone());
        let call_id = first.and_then(|m| m.captured.call_id.clone());
        let mut hosts = Table::default();
        let mut agents = Table::default();
        let mut keys = Vec::new();
        let mut payloads = Vec::new();
        let mut entries = Vec::with_capacity(messages.len());
        let mut cut = Vec::new();
        for (index, Keyed { message: Message { captured, sip, .. }, keys: of_event }) in (0..).zip(messages) {
            cut.extend(captured.full_length.map(|length| (index, length)));
            entries.push(Entry {
                after_us: captured.captured_at_us.saturating_sub(first_us).unsigned_abs(),
                src: hosts.index(captured.src),
                dst: hosts.index(captured.dst),
                transport: captured.transport as u8,
                protocol_type: captured.protocol_type,
                agent: agents.index((captured.agent_id, captured.agent_name.clone())),
                size: u32::try_from(captured.raw.len()).unwrap_or(u32::MAX),
            });
            payloads.extend_from_slice(&captured.raw);
            Key::push_facts(sip, &mut keys);
            keys.extend_from_slice(of_event);
        }
        keys.extend(hosts.values.iter().map(|host| Key::host(host.ip())));
        keys.extend(first.and_then(|m| m.sip.call_id.as_deref()).map(Key::call));
        keys.extend(correlation_id.as_deref().map(Key::correlation));
        keys.sort_unstable();
        keys.dedup();

        let (hosts, agents) = (hosts.values, agents.values);
        let header = Header { first_us, correlation_id, hosts, agents, entries, call_id, cut };
        let header = postcard::to_allocvec(&header).map_err(|e| SliceError::Header(e.to_string()))?;
        let mut blob = Vec::with_capacity(PREFIX + header.len() + payloads.len() / 3);
        blob.push(FORMAT);
        blob.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
        blob.extend_from_slice(&header);
        blob.extend_from_slice(&zstd::bulk::compress(&payloads, 1)?);
        Ok(Self { first_us, count: u32::try_from(messages.len()).unwrap_or(u32::MAX), keys, blob })
    }
}

impl StoredSlice {
    /// The messages, in order of capture, with their facts.
    ///
    /// # Errors
    /// When the slice is damaged.
    pub fn messages(&self) -> Result<Vec<Message>, SliceError> {
        let (prefix, rest) =
            self.blob.split_at_checked(PREFIX).ok_or(SliceError::Format(self.blob.first().copied()))?;
        let [format @ (FORMAT | FORMAT_1), length @ ..] = prefix else {
            return Err(SliceError::Format(prefix.first().copied()));
        };
        let length = length.try_into().map_or(usize::MAX, |l| u32::from_le_bytes(l) as usize);
        let (header, payloads) =
            rest.split_at_checked(length).ok_or_else(|| SliceError::Header("cut short".into()))?;
        let mut header = Cow::Borrowed(header);
        if *format == FORMAT_1 {
            header.to_mut().extend_from_slice(&ADDED_SINCE_1);
        }
        let header: Header = postcard::from_bytes(&header).map_err(|e| SliceError::Header(e.to_string()))?;
        let cut: HashMap<u32, u32> = header.cut.iter().copied().collect();
        let size: usize = header.entries.iter().map(|e| e.size as usize).sum();
        if header.entries.len() > 1 && size > MAX_PAYLOAD_BYTES || size > u16::MAX as usize * MAX_MESSAGES {
            return Err(SliceError::Header(format!("{size} octets of payload are too many")));
        }
        let mut payloads = Bytes::from(zstd::bulk::decompress(payloads, size)?);

        let mut messages = Vec::with_capacity(header.entries.len());
        for (index, entry) in (0..).zip(&header.entries) {
            let size = entry.size as usize;
            let (Some(src), Some(dst), Some(agent), Some(transport)) = (
                header.hosts.get(entry.src as usize),
                header.hosts.get(entry.dst as usize),
                header.agents.get(entry.agent as usize),
                Transport::from_number(entry.transport),
            ) else {
                return Err(SliceError::Header(format!("message {index} names what is not there")));
            };
            if payloads.len() < size {
                return Err(SliceError::Header(format!("message {index} has no payload")));
            }
            let captured = Captured {
                captured_at_us: header.first_us.saturating_add_unsigned(entry.after_us),
                src: *src,
                dst: *dst,
                transport,
                agent_id: agent.0,
                agent_name: agent.1.clone(),
                protocol_type: entry.protocol_type,
                correlation_id: header.correlation_id.clone(),
                call_id: header.call_id.clone(),
                full_length: cut.get(&index).copied(),
                raw: payloads.split_to(size),
            };
            messages.push(Message::read(MessageId { slice: self.id, index }, captured));
        }
        Ok(messages)
    }
}

/// Values in order of first use, each once.
struct Table<T> {
    values: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    fn index(&mut self, value: T) -> u32 {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        let place = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.places.insert(value, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};

    fn slice(messages: Vec<Message>) -> StoredSlice {
        let mut slices = cut(messages, &EventPaths::default()).expect("slices");
        let Slice { first_us, blob, .. } = slices.pop().expect("a slice");
        StoredSlice { id: 1, first_us, blob }
    }

    fn start() -> Vec<Message> {
        call(&answered()).messages.into_iter().take(3).collect()
    }

    #[test]
    fn what_was_cut_off_is_told_of_each_message() {
        let mut messages = start();
        messages[1].captured.full_length = Some(70_000);
        let read = slice(messages).messages().expect("readable");
        assert_eq!(
            read.iter().map(|m| m.captured.full_length).collect::<Vec<_>>(),
            [None, Some(70_000), None]
        );
    }

    #[test]
    fn slices_of_the_first_format_are_read() {
        let mut slice = slice(start());
        let expected = slice.messages().expect("readable");
        // The first format was the same without the two fields at the header's end, which say nothing here.
        let length = u32::from_le_bytes(slice.blob[1..PREFIX].try_into().expect("a length")) - 2;
        slice.blob[0] = FORMAT_1;
        slice.blob[1..PREFIX].copy_from_slice(&length.to_le_bytes());
        let end = PREFIX + length as usize;
        assert_eq!(slice.blob.drain(end..end + 2).collect::<Vec<_>>(), ADDED_SINCE_1);
        assert_eq!(slice.messages().expect("readable"), expected);

        slice.blob[0] = 3;
        assert!(matches!(slice.messages(), Err(SliceError::Format(Some(3)))));
    }
}
