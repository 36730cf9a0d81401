//! What of a message decides how its call went: small, since a session can hold a million messages.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::message::{CapturedRef, Kind, Message, MessageId, PROTOCOL_SIP};
use crate::text::lossy;

/// What of a message decides how its call went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Brief {
    /// Where it is stored.
    pub id: MessageId,
    /// When it was captured, µs since the epoch.
    pub at_us: i64,
    /// Who captured it.
    pub agent_id: u32,
    /// What it is.
    pub kind: Kind,
    /// Status of a reply.
    pub status: Option<u16>,
    /// CSeq number.
    pub cseq: Option<u32>,
    /// Request method; for a reply that of its CSeq.
    pub method: Option<Word>,
    /// From tag.
    pub from_tag: Option<Word>,
    /// Whether it has a To tag.
    pub has_to_tag: bool,
    /// Branch of the topmost Via.
    pub branch: Option<Word>,
    /// Who sent it, as far as it has to be told from others.
    src: u64,
}

/// A text that only has to be told from others: its hash, with a seed that is another in each process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Word(NonZeroU64);

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));

impl Word {
    /// Of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(NonZeroU64::MIN | xxh3_64_with_seed(text.as_bytes(), *SEED))
    }

    fn read(octets: &[u8]) -> Self {
        Self::of(&lossy(octets))
    }
}

/// A number for an address, the same in each process. Those of IPv4 have one each.
fn told_apart(address: SocketAddr) -> u64 {
    match address {
        SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()),
        SocketAddr::V6(v6) => xxh3_64_with_seed(&v6.ip().octets(), v6.port().into()),
    }
}

impl Brief {
    /// Of a message whose facts have been read.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let Message { id, captured, kind, sip } = message;
        let word = |text: &Option<String>| text.as_deref().map(Word::of);
        Self {
            kind: *kind,
            status: sip.status,
            cseq: sip.cseq,
            method: word(&sip.method),
            from_tag: word(&sip.from_tag),
            has_to_tag: sip.to_tag.is_some(),
            branch: word(&sip.branch),
            ..Self::unread(*id, &captured.lent())
        }
    }

    /// The same, of a message whose facts are not wanted otherwise; with the Call-ID, octet for octet, if it has one.
    #[must_use]
    pub fn read<'a>(id: MessageId, captured: &'a CapturedRef<'_>) -> (Self, Option<&'a [u8]>) {
        let brief = Self::unread(id, captured);
        if captured.protocol_type != PROTOCOL_SIP {
            return (brief, None);
        }
        let Ok(identity) = sip::parse_identity(&captured.raw) else {
            return (Self { kind: Kind::Malformed, ..brief }, sip::call_id(&captured.raw));
        };
        // A Via that stands behind the rest has not been read.
        let whole = if identity.via().is_none() { sip::parse(&captured.raw).ok() } else { None };
        let message = whole.unwrap_or(identity);
        let cseq = message.cseq();
        let (kind, status, method) = match message.start() {
            sip::StartLine::Request { method, .. } => (Kind::Request, None, Some(method)),
            sip::StartLine::Reply { status, .. } => (Kind::Reply, Some(status), cseq.map(|c| c.method)),
        };
        let brief = Self {
            kind,
            status,
            cseq: cseq.map(|c| c.number),
            method: method.map(Word::read),
            from_tag: message.from_tag().map(Word::read),
            has_to_tag: message.to_tag().is_some(),
            branch: message.branch().map(Word::read),
            ..brief
        };
        (brief, message.call_id())
    }

    fn unread(id: MessageId, captured: &CapturedRef<'_>) -> Self {
        Self {
            id,
            at_us: captured.captured_at_us,
            agent_id: captured.agent_id,
            kind: Kind::Other,
            status: None,
            cseq: None,
            method: None,
            from_tag: None,
            has_to_tag: false,
            branch: None,
            src: told_apart(captured.src),
        }
    }

    /// Order of time; what was captured in the same microsecond is told apart by what must come first, not by what
    /// arrived first.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |b: &Self| (b.at_us, b.cseq, b.kind != Kind::Request, b.status, b.src, b.id);
        key(self).cmp(&key(other))
    }

    /// Whether it is a request with this method.
    #[must_use]
    pub fn requests(&self, method: Word) -> bool {
        self.kind == Kind::Request && self.method == Some(method)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Captured;
    use super::super::sample::{answered, call};
    use super::*;

    #[test]
    fn a_message_is_the_same_in_brief_whether_its_facts_were_read_or_not() {
        let mut messages = call(&answered()).messages;
        let sample = messages[0].captured.clone();
        let other = |raw: &[u8], protocol_type| {
            let captured = Captured { raw: raw.to_vec().into(), protocol_type, ..sample.clone() };
            Message::read(MessageId { slice: 3, index: 1 }, captured)
        };
        messages.extend([
            other(b"INVITE sip:\xff@h SIP/2.0\r\nFrom: <sip:a@h>;tag=\xfe\r\nCall-ID: c\r\n\r\n", 1),
            other(b"SIP/2.0 200 OK\r\nCSeq: 7 OPTIONS\r\nVia: SIP/2.0/UDP h;branch=\xff\r\n\r\n", 1),
            other(b"BYE sip:b@h SIP/2.0\r\nTo: a\r\nFrom: b;tag=x\r\nCall-ID: c\r\nCSeq: 9 BYE\r\nVia: SIP/2.0/UDP h;branch=y\r\n\r\n", 1),
            other(b"nonsense\r\nCall-ID: c\r\n\r\n", 1),
            other(b"", 1),
            other(b"{}", 100),
        ]);
        for message in messages {
            let captured = message.captured.lent();
            let (brief, call_id) = Brief::read(message.id, &captured);
            assert_eq!(brief, Brief::of(&message), "{message:?}");
            assert_eq!(call_id.map(String::from_utf8_lossy).as_deref(), message.sip.call_id.as_deref());
        }
    }
}
