//! What slices are found by: 64-bit hashes, so that indexes stay narrow. The text is always compared afterwards.

use std::net::IpAddr;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::call::event::JsonPath;

/// A hashed key of a slice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// Of a Call-ID; each slice has at most one.
    Call(i64),
    /// Of a correlation id; each slice has at most one.
    Correlation(i64),
    /// Of anything else (a From user, a To user, a host, what an event belongs to); a slice has several.
    Other(i64),
}

impl Key {
    /// What every slice is found by.
    pub const EVERYTHING: Self = Self::Other(0);

    /// The key of a Call-ID.
    #[must_use]
    pub fn call(call_id: &str) -> Self {
        Self::Call(xxh3_64(call_id.as_bytes()).cast_signed())
    }

    /// The key of a correlation id.
    #[must_use]
    pub fn correlation(correlation_id: &str) -> Self {
        Self::Correlation(xxh3_64(correlation_id.as_bytes()).cast_signed())
    }

    /// The key of the user of From.
    #[must_use]
    pub fn from_user(user: &str) -> Self {
        Self::other(b'f', user.as_bytes())
    }

    /// The key of the user of To.
    #[must_use]
    pub fn to_user(user: &str) -> Self {
        Self::other(b't', user.as_bytes())
    }

    /// The key of a sending or receiving host.
    #[must_use]
    pub fn host(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::other(b'4', &ip.octets()),
            IpAddr::V6(ip) => Self::other(b'6', &ip.octets()),
        }
    }

    /// The key of what an event names: its correlation id, or a Call-ID in its payload.
    #[must_use]
    pub fn event(name: &str) -> Self {
        Self::other(b'e', name.as_bytes())
    }

    /// The key of an event's HEP protocol type.
    #[must_use]
    pub fn protocol(protocol_type: u8) -> Self {
        Self::other(b'p', &[protocol_type])
    }

    /// The key of a value in an event's JSON payload.
    #[must_use]
    pub fn json(path: &JsonPath, value: &str) -> Self {
        // A path holds no '=', so no two pairs read the same.
        Self::other(b'j', format!("{}={value}", path.as_str()).as_bytes())
    }

    fn other(kind: u8, value: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&[kind]);
        hash.update(value);
        Self::Other(hash.digest().cast_signed())
    }

    /// The hash alone, as the stores keep it.
    #[must_use]
    pub const fn hash(self) -> i64 {
        match self {
            Self::Call(hash) | Self::Correlation(hash) | Self::Other(hash) => hash,
        }
    }
}
