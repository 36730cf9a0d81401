//! The single conditions, and how they are written.

use std::net::{IpAddr, SocketAddr};

use memchr::memmem;

use crate::call::event::{self, JsonPath};
use crate::call::message::MessageRef;
use crate::network::Network;

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

/// A user part to look for. Case counts (RFC 3261 §19.1.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UserFilter {
    /// This user.
    Exact(String),
    /// All users that begin so.
    Prefix(String),
    /// All users that end so.
    Suffix(String),
}

/// Octets to look for in a payload. Case counts.
#[derive(Clone)]
pub struct Octets(memmem::Finder<'static>);

/// A header of a SIP message: its name, any case and in its compact form too, and its whole value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderFilter {
    name: String,
    value: String,
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

    pub(super) fn accepts(&self, message: &MessageRef<'_>) -> bool {
        event::payload(message).and_then(|payload| self.path.text(&payload)).as_ref() == Some(&self.value)
    }
}

impl UserFilter {
    /// The user, where it can only be one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(user) => Some(user),
            Self::Prefix(_) | Self::Suffix(_) => None,
        }
    }

    /// What the payload of a message with such a user holds, where it can be one of many.
    pub(super) fn needle(&self) -> Option<Octets> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(part) | Self::Suffix(part) => Octets::verbatim(part),
        }
    }

    /// Whether the user meets the condition.
    #[must_use]
    pub fn accepts(&self, user: &str) -> bool {
        match self {
            Self::Exact(wanted) => user == wanted,
            Self::Prefix(wanted) => user.starts_with(wanted.as_str()),
            Self::Suffix(wanted) => user.ends_with(wanted.as_str()),
        }
    }
}

impl Octets {
    /// Looks for the octets of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(memmem::Finder::new(text).into_owned())
    }

    /// Those of a text that was read out of a payload; `None` where the payload may have had others, which are no UTF-8.
    fn verbatim(text: &str) -> Option<Self> {
        (!text.contains(char::REPLACEMENT_CHARACTER)).then(|| Self::of(text))
    }

    /// Whether the payload holds them.
    #[must_use]
    pub fn are_in(&self, payload: &[u8]) -> bool {
        self.0.find(payload).is_some()
    }
}

impl std::fmt::Debug for Octets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0.needle()))
    }
}

impl Eq for Octets {}

impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        self.0.needle() == other.0.needle()
    }
}

impl HeaderFilter {
    /// Reads `Name: value`; white space around the value does not count.
    ///
    /// # Errors
    /// When there is no name, or no value.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let read = || {
            let (name, value) = text.split_once(':')?;
            let (name, value) = (name.trim(), value.trim());
            let whole = !name.is_empty() && !value.is_empty() && !name.contains(char::is_whitespace);
            whole.then(|| Self { name: name.to_owned(), value: value.to_owned() })
        };
        read().ok_or_else(|| FilterError {
            field: "header",
            expected: "Name: value such as X-Tenant: acme",
            found: text.chars().take(64).collect(),
        })
    }

    /// What the payload of a message with this header holds.
    pub(super) fn needle(&self) -> Option<Octets> {
        Octets::verbatim(&self.value)
    }

    pub(super) fn accepts(&self, message: &MessageRef<'_>) -> bool {
        sip::parse(&message.captured.raw).is_ok_and(|message| {
            message
                .headers()
                .any(|header| header.is(self.name.as_bytes()) && header.value == self.value.as_bytes())
        })
    }
}
