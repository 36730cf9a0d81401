//! A slice on disk.
//!
//! Format 3: one octet `3`, and a zstd frame, which may need a dictionary. Its content is the length of the header, u32 little
//! endian; the header (postcard); and the payloads, one after the other. The header holds what all messages have in
//! common, each host and agent once and, for each message in order of capture, its time after the slice's first, hop,
//! transport, protocol type, agent and payload length; then how long the messages were whose end was cut off. The SIP
//! facts are not kept: they are read out of the payload again, which costs less than storing and loading them, and lets
//! a later version find fields that this one did not know. `slice/before.rs` reads the formats before.

mod before;
mod cutter;
mod item;
mod table;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::dictionary::{self, Dictionary, DictionaryId, FrameError};
use super::{Class, Key};
use crate::call::message::{CapturedRef, Message, MessageId, Transport};

pub use cutter::{Cut, Cutter};
pub(super) use item::Facts;
pub use item::Item;

const FORMAT: u8 = 3;

/// The longest time between the first and the last message of a slice, µs. A walk that goes on at some time begins with slices
/// whose last message is so much later.
pub const MAX_SPAN_US: i64 = 2_000_000;

/// The most payload that one slice holds, octets (but always one message).
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// The most messages that one slice holds.
pub const MAX_MESSAGES: usize = 4096;

/// The longest content of a frame that is read, octets: a payload may inflate to 16 MiB (`hep.inflated_bytes`).
const MAX_CONTENT_BYTES: usize = 32 << 20;

/// A slice that is to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slice {
    /// Time of its first message, µs since the epoch.
    pub first_us: i64,
    /// Time of its last message, at most [`MAX_SPAN_US`] later.
    pub last_us: i64,
    /// How many messages it holds.
    pub count: u32,
    /// Its keys, in order, each once.
    pub keys: Vec<Key>,
    /// What the slices of a call share, so that a store of several parts keeps them together: the key of its Call-ID,
    /// else of its correlation id.
    pub home: Key,
    /// What all its messages are about.
    pub class: Class,
    /// Name of the retention rule that it is kept under.
    pub rule: Arc<str>,
    /// What its messages cannot be read without; a store keeps it for as long as the slice.
    pub dictionary: Option<Arc<Dictionary>>,
    /// The messages.
    pub blob: Vec<u8>,
}

/// A slice that came from a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSlice {
    /// Its row id, unique in the store.
    pub id: i64,
    /// Time of its last message, µs since the epoch.
    pub last_us: i64,
    /// The dictionary that it needs, if it needs one and the store has it.
    pub dictionary: Option<Arc<Dictionary>>,
    /// The messages.
    pub blob: Bytes,
}

/// A slice's octets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// Written by another version, or not a slice.
    #[error("expected slice format 1, 2 or 3, found {0:?}")]
    Format(Option<u8>),
    /// The header is cut or wrong.
    #[error("header: {0}")]
    Header(String),
    /// The content cannot be compressed or inflated.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

#[derive(Deserialize)]
struct Header<'a> {
    first_us: i64,
    tenant: Option<&'a str>,
    correlation_id: Option<&'a str>,
    /// Of events whose agent says which call they are about.
    call_id: Option<&'a str>,
    hosts: Vec<SocketAddr>,
    #[serde(borrow)]
    agents: Vec<(u32, Option<&'a str>)>,
    entries: Vec<Entry>,
    /// Index and full length of each message that was cut.
    cut: Vec<(u32, u32)>,
}

/// [`Header`], lent: the same fields in the same order.
#[derive(Serialize)]
struct LentHeader<'a> {
    first_us: i64,
    tenant: Option<&'a str>,
    correlation_id: Option<&'a str>,
    call_id: Option<&'a str>,
    hosts: &'a [SocketAddr],
    agents: &'a [(u32, Option<&'a str>)],
    entries: &'a [Entry],
    cut: &'a [(u32, u32)],
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

impl StoredSlice {
    /// Its place in the order of walks.
    #[must_use]
    pub fn place(&self) -> (i64, i64) {
        (self.last_us, self.id)
    }

    /// The dictionary that it cannot be read without.
    #[must_use]
    pub fn dictionary_id(&self) -> Option<DictionaryId> {
        match self.blob.split_first() {
            Some((&FORMAT, frame)) => dictionary::dictionary_of(frame),
            _ => None,
        }
    }

    /// The messages, in order of capture, with their facts.
    ///
    /// # Errors
    /// When the slice is damaged.
    pub fn messages(&self) -> Result<Vec<Message>, SliceError> {
        let mut messages = Vec::new();
        self.visit(|_| true, |id, captured| messages.push(Message::read(id, captured.to_captured())))?;
        Ok(messages)
    }

    /// Shows what was captured with a payload that is wanted, in order of capture, where it lies. What is said of some
    /// octets must be said of those that they are part of too: the whole content is asked about first, and nothing
    /// more is done where it is not wanted.
    ///
    /// # Errors
    /// When the slice is damaged; what was before the damage may have been shown.
    pub fn visit(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
        see: impl FnMut(MessageId, CapturedRef<'_>),
    ) -> Result<(), SliceError> {
        match self.blob.split_first() {
            Some((&FORMAT, frame)) => {
                let take = |content: &[u8]| {
                    if !wanted(content) {
                        return Ok(());
                    }
                    let (header, payloads) = read_content(content)?;
                    self.visit_payloads(&header, payloads, &wanted, see)
                };
                dictionary::inflate(frame, self.dictionary.as_deref(), MAX_CONTENT_BYTES, take)?
            }
            Some((&format, rest)) if before::is_known(format) => {
                before::read(format, rest, |header, payloads| {
                    self.visit_payloads(&header, payloads, &wanted, see)
                })?
            }
            found => Err(SliceError::Format(found.map(|(format, _)| *format))),
        }
    }

    fn visit_payloads(
        &self,
        header: &Header<'_>,
        mut payloads: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
        mut see: impl FnMut(MessageId, CapturedRef<'_>),
    ) -> Result<(), SliceError> {
        if header.entries.len() > MAX_MESSAGES {
            return Err(SliceError::Header(format!(
                "expected {MAX_MESSAGES} messages at most, found {}",
                header.entries.len()
            )));
        }
        let tenant: Option<Arc<str>> = header.tenant.map(Arc::from);
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
            let Some((raw, rest)) = payloads.split_at_checked(size) else {
                return Err(SliceError::Header(format!("message {index} has no payload")));
            };
            payloads = rest;
            if !wanted(raw) {
                continue;
            }
            let full_length = header.cut.iter().find(|(cut, _)| *cut == index).map(|(_, length)| *length);
            let captured = CapturedRef {
                captured_at_us: header.first_us.saturating_add_unsigned(entry.after_us),
                src: *src,
                dst: *dst,
                transport,
                agent_id: agent.0,
                agent_name: agent.1.map(Cow::Borrowed),
                protocol_type: entry.protocol_type,
                tenant: tenant.clone(),
                correlation_id: header.correlation_id.map(Cow::Borrowed),
                call_id: header.call_id.map(Cow::Borrowed),
                full_length,
                raw: Cow::Borrowed(raw),
            };
            see(MessageId { slice: self.id, index }, captured);
        }
        Ok(())
    }
}

/// Header and payloads out of a frame's content.
fn read_content(content: &[u8]) -> Result<(Header<'_>, &[u8]), SliceError> {
    let too_short = || SliceError::Header("cut short".into());
    let (length, rest) = content.split_first_chunk::<4>().ok_or_else(too_short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (header, payloads) = rest.split_at_checked(length).ok_or_else(too_short)?;
    let header = postcard::from_bytes(header).map_err(|e| SliceError::Header(e.to_string()))?;
    Ok((header, payloads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};
    use crate::store::dictionary::tests::trained;

    fn cut(cutter: &Cutter, messages: Vec<Message>) -> StoredSlice {
        let mut slices = cutter.cut(messages).expect("slices");
        let Slice { last_us, blob, dictionary, .. } = slices.pop().expect("a slice");
        StoredSlice { id: 1, last_us, dictionary, blob: blob.into() }
    }

    fn start() -> Vec<Message> {
        call(&answered()).messages.into_iter().take(3).collect()
    }

    #[test]
    fn what_was_cut_off_is_told_of_each_message() {
        let mut messages = start();
        messages[1].captured.full_length = Some(70_000);
        let read = cut(&Cutter::default(), messages).messages().expect("readable");
        assert_eq!(
            read.iter().map(|m| m.captured.full_length).collect::<Vec<_>>(),
            [None, Some(70_000), None]
        );
    }

    #[test]
    fn a_slice_with_a_dictionary_says_which_and_is_read_with_it() {
        let cutter = Cutter { dictionary: Some(trained("call")), ..Cutter::default() };
        let mut slice = cut(&cutter, start());
        assert_eq!(slice.dictionary_id(), cutter.dictionary.as_ref().map(|d| d.id()));
        let without = cut(&Cutter::default(), start());
        assert_eq!(without.dictionary_id(), None);
        assert_eq!(slice.messages().expect("readable"), without.messages().expect("readable"));
        slice.dictionary = None;
        assert!(matches!(slice.messages(), Err(SliceError::Frame(FrameError::Dictionary(_)))));
    }

    #[test]
    fn more_messages_than_a_slice_can_hold_are_not_read() {
        let entry =
            || Entry { after_us: 0, src: 0, dst: 0, transport: 1, protocol_type: 1, agent: 0, size: 0 };
        let read = |count| {
            let header = LentHeader {
                first_us: 0,
                tenant: None,
                correlation_id: None,
                call_id: None,
                hosts: &["192.0.2.1:5060".parse().expect("an address")],
                agents: &[(1, None)],
                entries: &(0..count).map(|_| entry()).collect::<Vec<_>>(),
                cut: &[],
            };
            let header = postcard::to_extend(&header, Vec::new()).expect("a header");
            let content = [&(header.len() as u32).to_le_bytes()[..], &header].concat();
            let frame = dictionary::deflate(&content, None, <[u8]>::to_vec).expect("a frame");
            let blob = [&[FORMAT][..], &frame].concat();
            let stored = StoredSlice { id: 1, last_us: 0, dictionary: None, blob: blob.into() };
            let mut seen = 0;
            stored.visit(|_| true, |_, _| seen += 1).map(|()| seen)
        };
        assert_eq!(read(MAX_MESSAGES).expect("as many as there may be"), MAX_MESSAGES);
        assert!(matches!(read(MAX_MESSAGES + 1), Err(SliceError::Header(_))));
    }

    #[test]
    fn a_slice_that_is_cut_or_of_a_later_format_is_refused() {
        let whole = cut(&Cutter::default(), start());
        for length in 0..whole.blob.len() {
            let blob = whole.blob.slice(..length);
            assert!(StoredSlice { blob, ..whole.clone() }.messages().is_err(), "{length}");
        }
        let blob = [&[4], &whole.blob[1..]].concat().into();
        let later = StoredSlice { blob, ..whole };
        assert!(matches!(later.messages(), Err(SliceError::Format(Some(4)))));
    }
}
