//! What is looked for, typed: no text of a client ever becomes a column or an operator.

use std::net::{IpAddr, SocketAddr};

use crate::call::event::{self, EventPaths, JsonPath};
use crate::call::message::{Kind, Message, PROTOCOL_SIP, Transport};
use crate::network::Network;
use crate::store::Key;

/// An address to look for: a host, a host and port, or a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddressFilter {
    /// Any port of this address.
    Host(IpAddr),
    /// All addresses with these leading bits.
    Network(Network),
    /// Exactly this address and port.
    Socket(SocketAddr),
}

/// A status code, or a class of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusFilter {
    /// All codes whose first digit is this (1 to 6).
    Class(u8),
    /// Exactly this code.
    Code(u16),
}

/// A value in the JSON payload of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JsonFilter {
    /// Where.
    pub path: JsonPath,
    /// What it must be: a text, or a number or truth value as JSON writes it.
    pub value: String,
}

/// The conditions that a message must meet, all of them. Empty takes everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Exact correlation id.
    pub correlation_id: Option<String>,
    /// Exact Call-ID.
    pub call_id: Option<String>,
    /// Exact user of From.
    pub from_user: Option<String>,
    /// Exact user of To.
    pub to_user: Option<String>,
    /// Method, any case; for a reply that of its CSeq.
    pub method: Option<String>,
    /// Status of a reply.
    pub status: Option<StatusFilter>,
    /// Sender.
    pub src: Option<AddressFilter>,
    /// Receiver.
    pub dst: Option<AddressFilter>,
    /// Part of User-Agent or Server, any case.
    pub user_agent: Option<String>,
    /// Capture agent id.
    pub agent_id: Option<u32>,
    /// Transport of the hop.
    pub transport: Option<Transport>,
    /// Kind of message.
    pub kind: Option<Kind>,
    /// HEP protocol type.
    pub protocol_type: Option<u8>,
    /// Value of a JSON payload.
    pub json: Option<JsonFilter>,
    /// Captured at or after, µs since the epoch.
    pub since_us: Option<i64>,
    /// Captured before or at, µs since the epoch.
    pub until_us: Option<i64>,
}

/// The filter text could not be read.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("{field}: expected {expected}, found {found:?}")]
pub struct FilterError {
    /// The parameter's name.
    pub field: &'static str,
    /// What it takes.
    pub expected: &'static str,
    /// What came.
    pub found: String,
}

impl AddressFilter {
    /// Reads `10.0.0.1`, `10.0.0.1:5060`, `[::1]:5060`, `::1`, `10.0.0.0/8`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, FilterError> {
        let bad = || FilterError {
            field,
            expected: "an address, address:port or network/bits",
            found: text.into(),
        };
        if let Ok(ip) = text.parse() {
            return Ok(Self::Host(ip));
        }
        if let Ok(socket) = text.parse() {
            return Ok(Self::Socket(socket));
        }
        Network::parse(text).map(Self::Network).ok_or_else(bad)
    }

    /// Whether the address meets the condition.
    #[must_use]
    pub fn accepts(&self, address: &SocketAddr) -> bool {
        match self {
            Self::Host(ip) => address.ip() == *ip,
            Self::Network(network) => network.contains(address.ip()),
            Self::Socket(socket) => address.ip() == socket.ip() && address.port() == socket.port(),
        }
    }

    /// The one host it can match, if it is only one.
    #[must_use]
    pub fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Host(ip) => Some(*ip),
            Self::Network(..) => None,
            Self::Socket(socket) => Some(socket.ip()),
        }
    }
}

impl StatusFilter {
    /// Reads `486` or `4xx`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let bad = || FilterError {
            field: "status",
            expected: "a code such as 486 or a class such as 4xx",
            found: text.into(),
        };
        if let Some(class) = text.strip_suffix("xx") {
            return match class.parse() {
                Ok(class @ 1..=6) => Ok(Self::Class(class)),
                _ => Err(bad()),
            };
        }
        match text.parse() {
            Ok(code @ 100..=699) => Ok(Self::Code(code)),
            _ => Err(bad()),
        }
    }

    /// Whether the code meets the condition.
    #[must_use]
    pub fn accepts(self, status: u16) -> bool {
        match self {
            Self::Class(class) => status / 100 == u16::from(class),
            Self::Code(code) => status == code,
        }
    }
}

impl JsonFilter {
    /// Reads `path=value`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let bad = || FilterError {
            field: "json",
            expected: "path=value such as report.ssrc=12",
            found: text.chars().take(64).collect(),
        };
        let (path, value) = text.split_once('=').ok_or_else(bad)?;
        let path = JsonPath::parse(path).map_err(|_| bad())?;
        Ok(Self { path, value: value.to_owned() })
    }

    fn accepts(&self, message: &Message) -> bool {
        event::payload(message).and_then(|payload| self.path.text(&payload)).as_ref() == Some(&self.value)
    }
}

impl Filter {
    /// Whether it can only find events.
    #[must_use]
    pub fn wants_events(&self) -> bool {
        self.kind == Some(Kind::Other)
            || self.json.is_some()
            || self.protocol_type.is_some_and(|wanted| wanted != PROTOCOL_SIP)
    }

    /// The narrowest of the conditions that slices are keyed by, with the times, and its key. `paths` are those that
    /// events are keyed by.
    #[must_use]
    pub fn narrowest(&self, paths: &EventPaths) -> (Option<Key>, Self) {
        let times = Self { since_us: self.since_us, until_us: self.until_us, ..Self::default() };
        let host =
            |address: &Option<AddressFilter>| address.as_ref().and_then(AddressFilter::host).map(Key::host);
        if let Some(id) = &self.call_id {
            return (Some(Key::call(id)), Self { call_id: Some(id.clone()), ..times });
        }
        if let Some(id) = &self.correlation_id {
            // A session's events are few beside its SIP.
            let key = if self.wants_events() { Key::event(id) } else { Key::correlation(id) };
            return (Some(key), Self { correlation_id: Some(id.clone()), ..times });
        }
        if let Some(user) = &self.from_user {
            return (Some(Key::from_user(user)), Self { from_user: Some(user.clone()), ..times });
        }
        if let Some(user) = &self.to_user {
            return (Some(Key::to_user(user)), Self { to_user: Some(user.clone()), ..times });
        }
        if let Some(json) = self.json.as_ref().filter(|json| paths.is_indexed(&json.path)) {
            return (Some(Key::json(&json.path, &json.value)), Self { json: self.json.clone(), ..times });
        }
        if let Some(key) = host(&self.src) {
            return (Some(key), Self { src: self.src.clone(), ..times });
        }
        if let Some(key) = host(&self.dst) {
            return (Some(key), Self { dst: self.dst.clone(), ..times });
        }
        if let Some(wanted) = self.protocol_type.filter(|wanted| *wanted != PROTOCOL_SIP) {
            return (Some(Key::protocol(wanted)), Self { protocol_type: self.protocol_type, ..times });
        }
        (None, times)
    }

    /// Whether the message meets every condition.
    #[must_use]
    pub fn accepts(&self, message: &Message) -> bool {
        let captured = &message.captured;
        let sip = &message.sip;
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        self.since_us.is_none_or(|t| captured.captured_at_us >= t)
            && self.until_us.is_none_or(|t| captured.captured_at_us <= t)
            && same(&self.correlation_id, captured.correlation_id.as_deref())
            && same(&self.call_id, sip.call_id.as_deref())
            && same(&self.from_user, sip.from_user.as_deref())
            && same(&self.to_user, sip.to_user.as_deref())
            && self.method.as_deref().is_none_or(|wanted| {
                sip.method.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
            })
            && self.status.is_none_or(|wanted| sip.status.is_some_and(|found| wanted.accepts(found)))
            && self.src.as_ref().is_none_or(|wanted| wanted.accepts(&captured.src))
            && self.dst.as_ref().is_none_or(|wanted| wanted.accepts(&captured.dst))
            && self.user_agent.as_deref().is_none_or(|wanted| {
                sip.user_agent
                    .as_deref()
                    .is_some_and(|found| found.to_lowercase().contains(&wanted.to_lowercase()))
            })
            && self.agent_id.is_none_or(|wanted| captured.agent_id == wanted)
            && self.transport.is_none_or(|wanted| captured.transport == wanted)
            && self.kind.is_none_or(|wanted| message.kind == wanted)
            && self.protocol_type.is_none_or(|wanted| captured.protocol_type == wanted)
            && self.json.as_ref().is_none_or(|wanted| wanted.accepts(message))
    }
}
