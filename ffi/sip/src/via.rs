use crate::params::{find_unquoted, first_of_list, param};

/// One hop a request took. RFC 3261 §20.42.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// Transport as written: `UDP`, `TCP`, `TLS`, `SCTP`, `WS` or `WSS`.
    pub transport: &'a [u8],
    /// Host and port as written.
    pub sent_by: &'a [u8],
    /// Branch parameter.
    pub branch: Option<&'a [u8]>,
}

impl<'a> Via<'a> {
    /// The first of a header's hops.
    pub(crate) fn read_first(value: &'a [u8]) -> Option<Self> {
        let value = first_of_list(value);
        let params = find_unquoted(value, b';').unwrap_or(value.len());
        let (hop, params) = value.split_at(params);
        // Protocol, version and transport may have space around their slashes.
        let mut slashes = memchr::memchr_iter(b'/', hop);
        let transport_start = slashes.nth(1)? + 1;
        let rest = hop[transport_start..].trim_ascii();
        let transport_end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (transport, sent_by) = rest.split_at(transport_end);
        Some(Via { transport, sent_by: sent_by.trim_ascii(), branch: param(params, b"branch") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_is_read_for_every_transport() {
        for transport in ["UDP", "TCP", "TLS", "SCTP", "WS", "WSS"] {
            let value = format!("SIP/2.0/{transport} [2001:db8::9:1]:5060;rport;branch=z9hG4bK1");
            let via = Via::read_first(value.as_bytes()).unwrap();
            assert_eq!(via.transport, transport.as_bytes());
            assert_eq!(via.sent_by, b"[2001:db8::9:1]:5060");
            assert_eq!(via.branch, Some(&b"z9hG4bK1"[..]));
        }
    }

    #[test]
    fn topmost_of_several_hops_in_one_header_is_taken() {
        let via = Via::read_first(b"SIP/2.0/WSS a.invalid , SIP/2.0/UDP b;branch=z9hG4bKb");
        assert_eq!(via, Some(Via { transport: b"WSS", sent_by: b"a.invalid", branch: None }));
    }

    #[test]
    fn space_is_tolerated_where_the_grammar_has_it() {
        let via = Via::read_first(b"SIP / 2.0 / UDP first.example.com: 4000;ttl=16\r\n ;branch = z9hG4bKa7");
        assert_eq!(via.map(|via| (via.transport, via.branch)), Some((&b"UDP"[..], Some(&b"z9hG4bKa7"[..]))));
    }

    #[test]
    fn what_is_no_hop_gives_none() {
        for value in [&b""[..], b"UDP host", b"SIP/2.0/UDP", b"SIP/2.0/", b";branch=1"] {
            assert_eq!(Via::read_first(value), None);
        }
    }
}
