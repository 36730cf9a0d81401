//! One SIP message (or event: a captured payload that is not SIP) as the backend knows it.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::text::lossy;

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
    /// The same, lent once more.
    #[must_use]
    pub fn lent(&self) -> CapturedRef<'_> {
        CapturedRef {
            agent_name: self.agent_name.as_deref().map(Cow::Borrowed),
            tenant: self.tenant.clone(),
            correlation_id: self.correlation_id.as_deref().map(Cow::Borrowed),
            call_id: self.call_id.as_deref().map(Cow::Borrowed),
            raw: Cow::Borrowed(&self.raw),
            ..*self
        }
    }

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
pub struct SipFacts<T = String> {
    /// Request method; for a reply that of its CSeq (RFC 3261 §8.1.1.5).
    pub method: Option<T>,
    /// Status code of a reply, 100 to 699.
    pub status: Option<u16>,
    /// Reason phrase of a reply.
    pub reason: Option<T>,
    /// CSeq number.
    pub cseq: Option<u32>,
    /// Call-ID.
    pub call_id: Option<T>,
    /// User part of the From URI.
    pub from_user: Option<T>,
    /// From tag.
    pub from_tag: Option<T>,
    /// User part of the To URI.
    pub to_user: Option<T>,
    /// To tag.
    pub to_tag: Option<T>,
    /// Request-URI of a request.
    pub request_uri: Option<T>,
    /// User-Agent, or Server.
    pub user_agent: Option<T>,
    /// Branch of the topmost Via: the transaction key (RFC 3261 §17.2.3).
    pub branch: Option<T>,
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

/// A captured message that lies elsewhere, with the facts read out of it. See [`Message`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Message`")]
pub struct MessageRef<'a> {
    pub id: MessageId,
    pub captured: CapturedRef<'a>,
    pub kind: Kind,
    pub sip: SipFacts<Cow<'a, str>>,
}

impl<T: AsRef<str>> SipFacts<T> {
    /// These, each made into another kind of text.
    fn map<'a, U>(&'a self, text: impl Fn(&'a T) -> U) -> SipFacts<U> {
        let text = |fact: &'a Option<T>| fact.as_ref().map(&text);
        SipFacts {
            method: text(&self.method),
            status: self.status,
            reason: text(&self.reason),
            cseq: self.cseq,
            call_id: text(&self.call_id),
            from_user: text(&self.from_user),
            from_tag: text(&self.from_tag),
            to_user: text(&self.to_user),
            to_tag: text(&self.to_tag),
            request_uri: text(&self.request_uri),
            user_agent: text(&self.user_agent),
            branch: text(&self.branch),
            sent_by: self.sent_by,
        }
    }

    /// User part of the Request-URI.
    #[must_use]
    pub fn request_user(&self) -> Option<&str> {
        let user = sip::uri_user(self.request_uri.as_ref()?.as_ref().as_bytes())?;
        str::from_utf8(user).ok()
    }
}

impl Message {
    /// Reads the facts out of a captured message. Never fails: what cannot be read stays `None`.
    #[must_use]
    pub fn read(id: MessageId, captured: Captured) -> Self {
        let (kind, sip) = facts(captured.protocol_type, &captured.raw);
        let sip = sip.map(|text| text.clone().into_owned());
        Self { id, captured, kind, sip }
    }

    /// The same, lent.
    #[must_use]
    pub fn lent(&self) -> MessageRef<'_> {
        let Self { id, captured, kind, sip } = self;
        let sip = sip.map(|text| Cow::Borrowed(text.as_str()));
        MessageRef { id: *id, captured: captured.lent(), kind: *kind, sip }
    }

    /// The order in which messages are listed: by time of capture, then by place in the store.
    #[must_use]
    pub fn order(&self) -> (i64, MessageId) {
        (self.captured.captured_at_us, self.id)
    }
}

impl<'a> MessageRef<'a> {
    /// Reads the facts out of a captured message. Never fails: what cannot be read stays `None`.
    #[must_use]
    pub fn read(id: MessageId, captured: &'a CapturedRef<'_>) -> Self {
        let (kind, sip) = facts(captured.protocol_type, &captured.raw);
        Self { id, captured: captured.lent(), kind, sip }
    }

    /// The same on its own.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let Self { id, captured, kind, sip } = self;
        let sip = sip.map(|text| text.clone().into_owned());
        Message { id: *id, captured: captured.to_captured(), kind: *kind, sip }
    }
}

fn facts(protocol_type: u8, raw: &[u8]) -> (Kind, SipFacts<Cow<'_, str>>) {
    if protocol_type != PROTOCOL_SIP {
        return (Kind::Other, SipFacts::default());
    }
    let Ok(message) = sip::parse(raw) else {
        // A Call-ID line may still be readable, and ties the fragment to its call.
        let call_id = sip::call_id(raw).map(lossy);
        return (Kind::Malformed, SipFacts { call_id, ..SipFacts::default() });
    };
    let cseq = message.cseq();
    let from = message.from();
    let to = message.to();
    let via = message.via();
    let mut facts = SipFacts {
        cseq: cseq.as_ref().map(|c| c.number),
        call_id: message.call_id().map(lossy),
        from_user: from.as_ref().and_then(|p| p.user).map(lossy),
        from_tag: from.as_ref().and_then(|p| p.tag).map(lossy),
        to_user: to.as_ref().and_then(|p| p.user).map(lossy),
        to_tag: to.as_ref().and_then(|p| p.tag).map(lossy),
        user_agent: message.user_agent().map(lossy),
        branch: via.as_ref().and_then(|via| via.branch).map(lossy),
        sent_by: via.as_ref().and_then(sent_by),
        ..SipFacts::default()
    };
    let kind = match message.start() {
        sip::StartLine::Request { method, uri } => {
            facts.method = Some(lossy(method));
            facts.request_uri = Some(lossy(uri));
            Kind::Request
        }
        sip::StartLine::Reply { status, reason } => {
            facts.method = cseq.map(|c| lossy(c.method));
            facts.status = Some(status);
            facts.reason = Some(lossy(reason));
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
