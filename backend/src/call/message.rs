//! One SIP message (or event: a captured payload that is not SIP) as the backend knows it.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

/// HEP protocol type of SIP. HEP3 rev. 37, chunk 0x000b.
pub const PROTOCOL_SIP: u8 = 1;

/// How a message travelled between the two hosts of its hop.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Transport {
    /// RFC 3261 §18.
    Udp = 1,
    /// RFC 3261 §18.
    Tcp = 2,
    /// RFC 3261 §26.2.1.
    Tls = 3,
    /// RFC 4168.
    Sctp = 4,
    /// RFC 7118.
    Ws = 5,
    /// RFC 7118 over TLS.
    Wss = 6,
}

impl Transport {
    /// All transports, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Udp, Self::Tcp, Self::Tls, Self::Sctp, Self::Ws, Self::Wss];

    /// The lower-case name used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Sctp => "sctp",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The transport with that lower-case name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str().eq_ignore_ascii_case(name))
    }

    /// The transport with that number (1 to 6).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u8 == number)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sent as SIP by its agent, but its first line is not SIP/2.0.
    Malformed,
    /// Of a HEP protocol type other than SIP.
    Other,
    /// A SIP reply.
    Reply,
    /// A SIP request.
    Request,
}

impl Kind {
    /// The lower-case name used by the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Other => "other",
            Self::Reply => "reply",
            Self::Request => "request",
        }
    }

    /// The kind with that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Malformed, Self::Other, Self::Reply, Self::Request].into_iter().find(|k| k.as_str() == name)
    }
}

/// Names a stored message: the row it is in and its place there. Unique in a store, and the tie-breaker between
/// messages that were captured in the same microsecond.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId {
    /// The slice's row id.
    pub slice: i64,
    /// The message's place in the slice, from 0.
    pub index: u32,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.slice, self.index)
    }
}

/// A message as it was captured: what the store keeps. Everything else is read out of `raw`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Captured {
    /// When the agent saw it, µs since the epoch.
    pub captured_at_us: i64,
    /// Who sent it.
    pub src: SocketAddr,
    /// Who it was sent to.
    pub dst: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The capture agent's id. HEP3 rev. 37, chunk 0x000c.
    pub agent_id: u32,
    /// The capture agent's name, if it sent one. Chunk 0x0013.
    pub agent_name: Option<Box<str>>,
    /// HEP protocol type, chunk 0x000b; 1 is SIP.
    pub protocol_type: u8,
    /// Whose it is, where there are tenants.
    pub tenant: Option<Arc<str>>,
    /// Correlation id, chunk 0x0011.
    pub correlation_id: Option<Box<str>>,
    /// Of an event, the call that its agent says it is about. Siplens' chunk 0x0003.
    pub call_id: Option<Box<str>>,
    /// Octets that it had before its agent cut its end off, if it did. Siplens' chunk 0x0002.
    pub full_length: Option<u32>,
    /// The payload, octet for octet.
    pub raw: Bytes,
}

/// A captured message that lies elsewhere, in a record of the spool. See [`Captured`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Captured`")]
pub struct CapturedRef<'a> {
    pub captured_at_us: i64,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub transport: Transport,
    pub agent_id: u32,
    pub agent_name: Option<Cow<'a, str>>,
    pub protocol_type: u8,
    pub tenant: Option<Arc<str>>,
    pub correlation_id: Option<Cow<'a, str>>,
    pub call_id: Option<Cow<'a, str>>,
    pub full_length: Option<u32>,
    pub raw: Cow<'a, [u8]>,
}

impl CapturedRef<'_> {
    /// Status code of a SIP reply, by its first line alone; the one that [`SipFacts`] has.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match sip::start_line(&self.raw) {
            Ok(sip::StartLine::Reply { status, .. }) if self.protocol_type == PROTOCOL_SIP => Some(status),
            _ => None,
        }
    }

    /// The same on its own.
    #[must_use]
    pub fn to_captured(&self) -> Captured {
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(Into::into);
        Captured {
            captured_at_us: self.captured_at_us,
            src: self.src,
            dst: self.dst,
            transport: self.transport,
            agent_id: self.agent_id,
            agent_name: text(&self.agent_name),
            protocol_type: self.protocol_type,
            tenant: self.tenant.clone(),
            correlation_id: text(&self.correlation_id),
            call_id: text(&self.call_id),
            full_length: self.full_length,
            raw: Bytes::copy_from_slice(&self.raw),
        }
    }
}

impl Captured {
    /// The same, lent.
    #[must_use]
    pub fn lent(&self) -> CapturedRef<'_> {
        CapturedRef {
            captured_at_us: self.captured_at_us,
            src: self.src,
            dst: self.dst,
            transport: self.transport,
            agent_id: self.agent_id,
            agent_name: self.agent_name.as_deref().map(Cow::Borrowed),
            protocol_type: self.protocol_type,
            tenant: self.tenant.clone(),
            correlation_id: self.correlation_id.as_deref().map(Cow::Borrowed),
            call_id: self.call_id.as_deref().map(Cow::Borrowed),
            full_length: self.full_length,
            raw: Cow::Borrowed(&self.raw),
        }
    }
}

/// The facts of a SIP message that are searched for and shown. Text that is not UTF-8 is shown with U+FFFD.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SipFacts {
    /// Request method; for a reply that of its CSeq (RFC 3261 §8.1.1.5).
    pub method: Option<String>,
    /// Status code of a reply, 100 to 699.
    pub status: Option<u16>,
    /// Reason phrase of a reply.
    pub reason: Option<String>,
    /// CSeq number.
    pub cseq: Option<u32>,
    /// Call-ID.
    pub call_id: Option<String>,
    /// User part of the From URI.
    pub from_user: Option<String>,
    /// From tag.
    pub from_tag: Option<String>,
    /// User part of the To URI.
    pub to_user: Option<String>,
    /// To tag.
    pub to_tag: Option<String>,
    /// Request-URI of a request.
    pub request_uri: Option<String>,
    /// User-Agent, or Server.
    pub user_agent: Option<String>,
    /// Branch of the topmost Via: the transaction key (RFC 3261 §17.2.3).
    pub branch: Option<String>,
    /// Where the sender of the request listens, by the topmost Via, if that says an address and no name.
    pub sent_by: Option<SocketAddr>,
}

/// A captured message with the facts read out of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where it is stored; all zero before that.
    pub id: MessageId,
    /// As captured.
    pub captured: Captured,
    /// What it turned out to be.
    pub kind: Kind,
    /// Its SIP facts; all `None` where it isn't SIP.
    pub sip: SipFacts,
}

impl SipFacts {
    /// User part of the Request-URI.
    #[must_use]
    pub fn request_user(&self) -> Option<&str> {
        let user = sip::uri_user(self.request_uri.as_deref()?.as_bytes())?;
        str::from_utf8(user).ok()
    }
}

impl Message {
    /// Reads the facts out of a captured message. Never fails: what cannot be read stays `None`.
    #[must_use]
    pub fn read(id: MessageId, captured: Captured) -> Self {
        if captured.protocol_type != PROTOCOL_SIP {
            return Self { id, captured, kind: Kind::Other, sip: SipFacts::default() };
        }
        let (kind, sip) = match sip::parse(&captured.raw) {
            Ok(message) => facts(&message),
            // A Call-ID line may still be readable, and ties the fragment to its call.
            Err(_) => (
                Kind::Malformed,
                SipFacts { call_id: sip::call_id(&captured.raw).map(text), ..SipFacts::default() },
            ),
        };
        Self { id, captured, kind, sip }
    }

    /// The order in which messages are listed: by time of capture, then by place in the store.
    #[must_use]
    pub fn order(&self) -> (i64, MessageId) {
        (self.captured.captured_at_us, self.id)
    }
}

fn facts(message: &sip::Message<'_>) -> (Kind, SipFacts) {
    let cseq = message.cseq();
    let from = message.from();
    let to = message.to();
    let mut facts = SipFacts {
        cseq: cseq.as_ref().map(|c| c.number),
        call_id: message.call_id().map(text),
        from_user: from.as_ref().and_then(|p| p.user).map(text),
        from_tag: from.as_ref().and_then(|p| p.tag).map(text),
        to_user: to.as_ref().and_then(|p| p.user).map(text),
        to_tag: to.as_ref().and_then(|p| p.tag).map(text),
        user_agent: message.user_agent().map(text),
        branch: message.branch().map(text),
        sent_by: message.via().and_then(|via| sent_by(&via)),
        ..SipFacts::default()
    };
    let kind = match message.start() {
        sip::StartLine::Request { method, uri } => {
            facts.method = Some(text(method));
            facts.request_uri = Some(text(uri));
            Kind::Request
        }
        sip::StartLine::Reply { status, reason } => {
            facts.method = cseq.map(|c| text(c.method));
            facts.status = Some(status);
            facts.reason = Some(text(reason));
            Kind::Reply
        }
    };
    (kind, facts)
}

/// RFC 3261 §18.1.1: without a port, the default one of the transport.
fn sent_by(via: &sip::Via<'_>) -> Option<SocketAddr> {
    let host = str::from_utf8(via.sent_by).ok()?;
    let default = if via.transport.eq_ignore_ascii_case(b"TLS") { 5061 } else { 5060 };
    let bare = || host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    host.parse().ok().or_else(|| bare().map(|ip: IpAddr| SocketAddr::new(ip, default)))
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};

    #[test]
    fn the_first_line_alone_tells_the_status_that_the_facts_have() {
        let captured = call(&answered()).messages.remove(0).captured;
        let mut found = Vec::new();
        for (raw, protocol_type) in [
            ("SIP/2.0 486 Busy Here\r\nCSeq: 1 INVITE\r\n\r\n", PROTOCOL_SIP),
            ("\r\nsip/2.0 200\r\n", PROTOCOL_SIP),
            ("SIP/2.0 700 High\r\n", PROTOCOL_SIP),
            ("OPTIONS sip:a@example.net SIP/2.0\r\n\r\n", PROTOCOL_SIP),
            ("SIP/2.0 486 Busy Here\r\n", 100),
            ("", PROTOCOL_SIP),
        ] {
            let captured = Captured { raw: raw.into(), protocol_type, ..captured.clone() };
            let status = captured.lent().status();
            found.push(status);
            assert_eq!(status, Message::read(MessageId::default(), captured).sip.status, "{raw:?}");
        }
        assert_eq!(found, [Some(486), Some(200), None, None, None, None]);
    }
}
