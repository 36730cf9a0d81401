//! What slices are found by: 64-bit hashes, so that indexes stay narrow. The text is always compared afterwards.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::slice::Facts;
use crate::call::event::{JsonPath, PathSet};

/// A hashed key of a slice. Of which kind it is went into the hash: no two kinds share a key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(i64);

/// What slices are found by: those that have one of these keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys(Arc<[Key]>);

impl Default for Keys {
    fn default() -> Self {
        Key::EVERYTHING.into()
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        [key].into_iter().collect()
    }
}

/// Everything where there is none.
impl From<Option<Key>> for Keys {
    fn from(key: Option<Key>) -> Self {
        key.unwrap_or(Key::EVERYTHING).into()
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl Deref for Keys {
    type Target = [Key];

    fn deref(&self) -> &[Key] {
        &self.0
    }
}

/// The kinds, each with the number that it is hashed with. A number is never used for another kind.
#[derive(Clone, Copy)]
enum Kind {
    Call = 1,
    Correlation = 2,
    FromUser = 3,
    ToUser = 4,
    RequestUser = 5,
    Host = 6,
    Method = 7,
    Status = 8,
    Reply = 9,
    StatusClass = 10,
    Event = 11,
    Protocol = 12,
    Json = 13,
    Tenant = 14,
    PathSet = 15,
    First = 16,
}

impl Key {
    /// What every slice is found by.
    pub const EVERYTHING: Self = Self(0);

    /// The key of a Call-ID.
    #[must_use]
    pub fn call(call_id: &str) -> Self {
        Self::of(Kind::Call, call_id.as_bytes())
    }

    /// The key of a correlation id.
    #[must_use]
    pub fn correlation(correlation_id: &str) -> Self {
        Self::of(Kind::Correlation, correlation_id.as_bytes())
    }

    /// The key of the [first slices](super::firsts) of the calls of a session.
    #[must_use]
    pub fn firsts(correlation_id: &str) -> Self {
        Self::of(Kind::First, correlation_id.as_bytes())
    }

    /// The key of the user of From.
    #[must_use]
    pub fn from_user(user: &str) -> Self {
        Self::of(Kind::FromUser, user.as_bytes())
    }

    /// The key of the user of To.
    #[must_use]
    pub fn to_user(user: &str) -> Self {
        Self::of(Kind::ToUser, user.as_bytes())
    }

    /// The key of the user of a Request-URI.
    #[must_use]
    pub fn request_user(user: &str) -> Self {
        Self::of(Kind::RequestUser, user.as_bytes())
    }

    /// The key of a sending or receiving host.
    #[must_use]
    pub fn host(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of(Kind::Host, &ip.octets()),
            IpAddr::V6(ip) => Self::of(Kind::Host, &ip.octets()),
        }
    }

    /// The key of a method, any case: of a request, or of the CSeq of a reply.
    #[must_use]
    pub fn method(method: &str) -> Self {
        in_capitals(&[], method, |octets| Self::of(Kind::Method, octets))
    }

    /// The key of the status of a reply.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Status, &status.to_be_bytes())
    }

    /// The key of the status of a reply and the method of its CSeq, any case.
    #[must_use]
    pub fn reply(status: u16, method: &str) -> Self {
        in_capitals(&status.to_be_bytes(), method, |octets| Self::of(Kind::Reply, octets))
    }

    /// The key of a class of replies, 3 to 6. Provisional replies and successes have none: they are nearly everywhere.
    #[must_use]
    pub fn status_class(class: u8) -> Option<Self> {
        (3..=6).contains(&class).then(|| Self::of(Kind::StatusClass, &[class]))
    }

    /// The key of what an event names: its correlation id, or a Call-ID in its payload.
    #[must_use]
    pub fn event(name: &str) -> Self {
        Self::of(Kind::Event, name.as_bytes())
    }

    /// The key of an event's HEP protocol type.
    #[must_use]
    pub fn protocol(protocol_type: u8) -> Self {
        Self::of(Kind::Protocol, &[protocol_type])
    }

    /// The key of a value in an event's JSON payload.
    #[must_use]
    pub fn json(path: &JsonPath, value: &str) -> Self {
        // A path holds no '=', so no two pairs read the same.
        Self::of(Kind::Json, format!("{}={value}", path.as_str()).as_bytes())
    }

    /// The key of events with JSON that are keyed by these paths.
    #[must_use]
    pub fn path_set(paths: &PathSet) -> Self {
        Self::of(Kind::PathSet, paths.as_str().as_bytes())
    }

    /// The key of a tenant.
    #[must_use]
    pub fn tenant(tenant: &str) -> Self {
        Self::of(Kind::Tenant, tenant.as_bytes())
    }

    /// Adds the keys of what a SIP message says, but for its Call-ID and for what the message before it has said too. Some
    /// may be there already.
    pub(super) fn push_facts(sip: &Facts<'_>, before: Option<&Facts<'_>>, keys: &mut Vec<Self>) {
        keys.extend(newly(&sip.from_user, before.map(|sip| &sip.from_user)).map(Self::from_user));
        keys.extend(newly(&sip.to_user, before.map(|sip| &sip.to_user)).map(Self::to_user));
        keys.extend(newly(&sip.request_user, before.map(|sip| &sip.request_user)).map(Self::request_user));
        keys.extend(newly(&sip.method, before.map(|sip| &sip.method)).map(Self::method));
        // A reply without a CSeq has a status all the same.
        if let Some(status) = sip.status {
            keys.push(Self::status(status));
            keys.extend(sip.method.as_deref().map(|method| Self::reply(status, method)));
            keys.extend(u8::try_from(status / 100).ok().and_then(Self::status_class));
        }
    }

    fn of(kind: Kind, value: &[u8]) -> Self {
        Self(xxh3_64_with_seed(value, kind as u64).cast_signed())
    }

    /// The hash alone, as the stores keep it.
    #[must_use]
    pub const fn hash(self) -> i64 {
        self.0
    }
}

/// Gives the text in capitals, with something before it, to `take`. Most texts are short, and need no memory of their own.
fn in_capitals<T>(before: &[u8], text: &str, take: impl FnOnce(&[u8]) -> T) -> T {
    let mut short = [0; 32];
    let Some(place) = short.get_mut(..before.len() + text.len()) else {
        return take(&[before, text.to_ascii_uppercase().as_bytes()].concat());
    };
    let (head, tail) = place.split_at_mut(before.len());
    head.copy_from_slice(before);
    tail.copy_from_slice(text.as_bytes());
    tail.make_ascii_uppercase();
    take(place)
}

/// What is said, unless it was said before.
fn newly<'a>(said: &'a Option<Cow<'_, str>>, before: Option<&Option<Cow<'_, str>>>) -> Option<&'a str> {
    said.as_deref().filter(|said| before.and_then(Option::as_deref) != Some(*said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_without_a_cseq_is_found_by_its_status() {
        let raw = b"SIP/2.0 486 Busy Here\r\nCall-ID: a\r\n\r\n";
        let mut message =
            crate::call::sample::call(&[crate::call::sample::request(0, "INVITE")]).messages.remove(0);
        message.captured.raw = raw[..].into();
        let packs = crate::store::slice::Cutter::default().cut(vec![message]).expect("a slice");
        assert!(
            [Key::status(486), Key::status_class(4).expect("a class")]
                .iter()
                .all(|k| packs[0].slices[0].keys.contains(k))
        );
    }

    #[test]
    fn each_kind_has_keys_of_its_own() {
        let same = [
            Key::EVERYTHING,
            Key::call("a"),
            Key::correlation("a"),
            Key::firsts("a"),
            Key::from_user("a"),
            Key::to_user("a"),
            Key::request_user("a"),
            Key::method("a"),
            Key::event("a"),
            Key::tenant("a"),
            Key::path_set(&PathSet::kept("a".into())),
            Key::status(97),
            Key::reply(97, ""),
            Key::protocol(b'a'),
            Key::host([0, 0, 0, 97].into()),
        ];
        let different: std::collections::HashSet<_> = same.iter().collect();
        assert_eq!(different.len(), same.len());
        assert_eq!(Key::method("invite"), Key::method("INVITE"));
        assert_eq!(Key::reply(200, "invite"), Key::reply(200, "INVITE"));
        let (long, capitals) = ("m".repeat(40), "M".repeat(40));
        assert_eq!(Key::method(&long), Key::method(&capitals));
        assert_eq!(Key::reply(200, &long), Key::reply(200, &capitals));
        assert_ne!(Key::method(&long), Key::method(&long[1..]));
        assert_eq!(Key::status_class(2), None);
    }
}
