use memchr::memchr;

use crate::params::{closing_quote, find_unquoted, first_of_list, param};
use crate::{uri_host, uri_user};

/// Who a message is from, to, or to be reached at: the value of From, To or Contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party<'a> {
    /// Display name without its quotes; backslashes in it are kept. `None` if absent or empty.
    pub display: Option<&'a [u8]>,
    /// URI with its parameters, without angle brackets.
    pub uri: &'a [u8],
    /// See [`uri_user`].
    pub user: Option<&'a [u8]>,
    /// See [`uri_host`].
    pub host: Option<&'a [u8]>,
    /// Tag parameter of the header.
    pub tag: Option<&'a [u8]>,
}

/// The first party of a header. RFC 3261 §20.10, `name-addr` and `addr-spec`; without angle brackets all parameters
/// belong to the header.
pub(crate) fn first_party(value: &[u8]) -> Option<Party<'_>> {
    let parts = Parts::of(value)?;
    let Parts { before, uri, .. } = parts;
    Some(Party {
        display: display_name(before),
        uri,
        user: parts.user(),
        host: uri_host(uri),
        tag: parts.tag(),
    })
}

/// Where what a header says of its first party stands: for who wants one thing of it and not all.
pub(crate) struct Parts<'a> {
    /// What stands before the angle bracket; nothing where there is none.
    before: &'a [u8],
    uri: &'a [u8],
    params: &'a [u8],
}

impl<'a> Parts<'a> {
    #[inline]
    pub(crate) fn of(value: &'a [u8]) -> Option<Self> {
        let value = first_of_list(value).trim_ascii();
        // A quote that is never closed must not hide the URI behind it.
        let open = find_unquoted(value, b'<').or_else(|| memchr(b'<', value));
        let (before, uri, params) = match open {
            Some(open) => {
                let after = &value[open + 1..];
                let close = memchr(b'>', after).unwrap_or(after.len());
                (&value[..open], &after[..close], &after[close..])
            }
            None => {
                let end = memchr(b';', value).unwrap_or(value.len());
                (&[][..], &value[..end], &value[end..])
            }
        };
        let uri = uri.trim_ascii();
        // `*` is a Contact that names nobody.
        (!uri.is_empty() && uri != b"*").then_some(Self { before, uri, params })
    }

    pub(crate) fn user(&self) -> Option<&'a [u8]> {
        uri_user(self.uri)
    }

    pub(crate) fn tag(&self) -> Option<&'a [u8]> {
        param(self.params, b"tag")
    }
}

fn display_name(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let name = match value.first() {
        Some(b'"') => &value[1..closing_quote(value, 0).unwrap_or(value.len())],
        _ => value,
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, Option<&'a [u8]>, Option<&'a [u8]>);

    fn fields(value: &[u8]) -> Option<Fields<'_>> {
        assert_eq!(
            Parts::of(value).and_then(|parts| parts.tag()),
            first_party(value).and_then(|party| party.tag)
        );
        first_party(value).map(|party| (party.display, party.user, party.host, party.tag))
    }

    fn some(text: &str) -> Option<&[u8]> {
        Some(text.as_bytes())
    }

    #[test]
    fn quoted_display_name_may_hold_anything() {
        let value = br#""A. \"<sip:x@y>;tag=1\" Bell, Inc." <sip:bell@example.com:5060;lr>;tag=2"#;
        let display = some(r#"A. \"<sip:x@y>;tag=1\" Bell, Inc."#);
        assert_eq!(fields(value), Some((display, some("bell"), some("example.com"), some("2"))));
    }

    #[test]
    fn display_name_of_tokens_and_none_at_all() {
        let expected = Some((some("Alice B"), some("a"), some("h"), None));
        assert_eq!(fields(b"Alice B <sip:a@h>"), expected);
        assert_eq!(fields(b"\"\" <sip:a@h>;tag=x"), Some((None, some("a"), some("h"), some("x"))));
        assert_eq!(fields(b"<sip:a@h>;x;TAG=y"), Some((None, some("a"), some("h"), some("y"))));
    }

    #[test]
    fn parameters_without_brackets_are_the_headers() {
        let party = first_party(b"sip:a@h;tag=z;x=y");
        assert_eq!(party.map(|party| (party.uri, party.tag)), Some((&b"sip:a@h"[..], some("z"))));
    }

    #[test]
    fn tag_inside_the_uri_is_not_the_headers() {
        assert_eq!(fields(b"<sip:a@h;tag=no>"), Some((None, some("a"), some("h"), None)));
    }

    #[test]
    fn first_of_several_contacts_is_taken() {
        let value = b"\"x\" <sip:a,b@h>;q=0.5, <sip:c@h>";
        assert_eq!(fields(value), Some((some("x"), some("a,b"), some("h"), None)));
        assert_eq!(first_party(b"*"), None);
    }

    #[test]
    fn broken_parties_give_what_they_can() {
        assert_eq!(fields(b"<sip:a@h"), Some((None, some("a"), some("h"), None)));
        assert_eq!(fields(b"\"open <sip:a@h>"), Some((some("open"), some("a"), some("h"), None)));
        assert_eq!(fields(b""), None);
        assert_eq!(fields(b"<>;tag=1"), None);
        assert_eq!(fields(b"caf\xe9 <sip:\xff@h>").and_then(|party| party.1), Some(&b"\xff"[..]));
    }

    #[test]
    fn folded_party_is_read() {
        let value = b"\"Alice\"\r\n <sip:a@h>\r\n ;tag=1";
        assert_eq!(fields(value), Some((some("Alice"), some("a"), some("h"), some("1"))));
    }
}
