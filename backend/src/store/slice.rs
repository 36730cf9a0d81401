//! A slice: the messages of one call, under one correlation id, that one flush brought.
//!
//! In its [pack] it is a header (postcard) and the payloads, one after the other. The header holds what all messages
//! have in common, each host and agent once and, for each message in order of capture, its time after the slice's first, hop,
//! transport, protocol type, agent and payload length; then how long the messages were whose end was cut off. The SIP
//! facts are not kept: they are read out of the payload again, which costs less than storing and loading them, and lets
//! a later version find fields that this one did not know.

mod cutter;
mod item;
mod table;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::dictionary::{Dictionary, FrameError};
use super::pack;
use super::{Class, Key};
use crate::call::message::{CapturedRef, Message, MessageId, Transport};

pub use cutter::{Cut, Cutter};
pub(super) use item::Facts;
pub use item::Item;

/// The longest time between the first and the last message of a slice, µs. A walk that goes on at some time begins with slices
/// whose last message is so much later.
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
    /// The call in its session, where the session may have others and the slice may be the [first](super::firsts) of that call.
    pub in_session: Option<InSession>,
}

/// A call in a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InSession {
    /// The key of the first slices of the session.
    pub key: Key,
    /// Hash of tenant, correlation id and Call-ID.
    pub call: u64,
}

/// A slice that came from a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSlice {
    /// Its row id, unique in the store.
    pub id: i64,
    /// Time of its last message, µs since the epoch.
    pub last_us: i64,
    /// Its place among the slices of its pack.
    pub index: usize,
    /// The dictionary that its pack needs, if it needs one and the store has it.
    pub dictionary: Option<Arc<Dictionary>>,
    /// Its pack. Slices of one pack that were read together share these octets.
    pub blob: Bytes,
}

/// A slice's octets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// Written by another version, or not a pack.
    #[error("expected pack format 4, found {0:?}")]
    Format(Option<u8>),
    /// The pack does not hold what it should.
    #[error("pack: {0}")]
    Pack(&'static str),
    /// The header is cut or wrong.
    #[error("header: {0}")]
    Header(String),
    /// The content cannot be compressed or inflated.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

#[derive(Deserialize)]
struct Header<'a> {
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

impl Slice {
    /// The number of its home where there are so many: slices of a call have the same. What belongs to no call comes after them.
    #[must_use]
    pub fn home_among(&self, homes: u64) -> u64 {
        if self.home == Key::EVERYTHING { homes } else { self.home.hash().cast_unsigned() % homes.max(1) }
    }
}

impl StoredSlice {
    /// Its place in the order of walks.
    #[must_use]
    pub fn place(&self) -> (i64, i64) {
        (self.last_us, self.id)
    }

    /// The messages, in order of capture, with their facts.
    ///
    /// # Errors
    /// When the slice is damaged.
    pub fn messages(&self) -> Result<Vec<Message>, SliceError> {
        let mut messages = Vec::new();
        pack::visit(
            &[(0, self.clone())],
            |_| true,
            |_, id, captured| messages.push(Message::read(id, captured.to_captured())),
        )?;
        Ok(messages)
    }
}

/// Shows the messages of a slice with a payload that is wanted, in order of capture. `octets` are header and payloads; its
/// first message was captured at `first_us`, µs since the epoch.
pub(super) fn visit(
    id: i64,
    first_us: i64,
    octets: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
    mut see: impl FnMut(MessageId, CapturedRef<'_>),
) -> Result<(), SliceError> {
    let (header, mut payloads): (Header<'_>, _) =
        postcard::take_from_bytes(octets).map_err(|error| SliceError::Header(error.to_string()))?;
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
            captured_at_us: first_us.saturating_add_unsigned(entry.after_us),
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
        see(MessageId { slice: id, index }, captured);
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A slice of so many messages without payload.
    pub fn of_entries(count: usize) -> Vec<u8> {
        let entry =
            || Entry { after_us: 0, src: 0, dst: 0, transport: 1, protocol_type: 1, agent: 0, size: 0 };
        let header = LentHeader {
            tenant: None,
            correlation_id: None,
            call_id: None,
            hosts: &["192.0.2.1:5060".parse().expect("an address")],
            agents: &[(1, None)],
            entries: &(0..count).map(|_| entry()).collect::<Vec<_>>(),
            cut: &[],
        };
        postcard::to_extend(&header, Vec::new()).expect("a header")
    }
}
