use memchr::{memchr, memchr3};

/// User of a `sip:` or `sips:` URI without its password, or number of a `tel:` URI without its parameters. Escapes
/// (`%23`) are kept. `None` if there is none, and for other schemes.
///
/// RFC 3261 §19.1.1, RFC 3966 §3.
pub fn uri_user(uri: &[u8]) -> Option<&[u8]> {
    let user = match split(uri)? {
        (Scheme::Sip, rest) => {
            let userinfo = &rest[..memchr(b'@', rest)?];
            &userinfo[..memchr(b':', userinfo).unwrap_or(userinfo.len())]
        }
        (Scheme::Tel, rest) => &rest[..memchr(b';', rest).unwrap_or(rest.len())],
    };
    (!user.is_empty()).then_some(user)
}

/// Host of a `sip:` or `sips:` URI without its port; an IPv6 address keeps its square brackets. `None` for other
/// schemes.
///
/// RFC 3261 §19.1.1.
pub fn uri_host(uri: &[u8]) -> Option<&[u8]> {
    let (Scheme::Sip, rest) = split(uri)? else { return None };
    let rest = memchr(b'@', rest).map_or(rest, |at| &rest[at + 1..]);
    let end = match rest.first()? {
        b'[' => memchr(b']', rest)? + 1,
        _ => memchr3(b':', b';', b'?', rest).unwrap_or(rest.len()),
    };
    (end > 0).then_some(&rest[..end])
}

enum Scheme {
    Sip,
    Tel,
}

fn split(uri: &[u8]) -> Option<(Scheme, &[u8])> {
    let behind = |scheme: &[u8]| {
        let (begin, rest) = uri.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let sip = behind(b"sip:").or_else(|| behind(b"sips:"));
    sip.map(|rest| (Scheme::Sip, rest)).or_else(|| Some((Scheme::Tel, behind(b"tel:")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(uri: &str) -> (Option<&str>, Option<&str>) {
        let text = |octets| std::str::from_utf8(octets).unwrap();
        (uri_user(uri.as_bytes()).map(text), uri_host(uri.as_bytes()).map(text))
    }

    #[test]
    fn sip_uris_give_user_and_host() {
        assert_eq!(both("sip:bob@example.com"), (Some("bob"), Some("example.com")));
        assert_eq!(both("SIPS:bob:secret@example.com:5061;lr?a=b"), (Some("bob"), Some("example.com")));
        assert_eq!(both("sip:example.com;transport=ws"), (None, Some("example.com")));
        assert_eq!(both("sip:+49;phone-context=x@h?Subject=1"), (Some("+49;phone-context=x"), Some("h")));
        assert_eq!(both("sip:%23123@h"), (Some("%23123"), Some("h")));
    }

    #[test]
    fn ipv6_hosts_keep_their_brackets() {
        assert_eq!(both("sip:bob@[2001:db8::1]:5060"), (Some("bob"), Some("[2001:db8::1]")));
        assert_eq!(both("sip:[::1]"), (None, Some("[::1]")));
        assert_eq!(both("sip:bob@[::1"), (Some("bob"), None));
    }

    #[test]
    fn tel_uris_give_the_number_and_no_host() {
        assert_eq!(both("tel:+491234;phone-context=example.com"), (Some("+491234"), None));
    }

    #[test]
    fn other_schemes_and_broken_uris_give_nothing() {
        for uri in ["", "sip:", "bob@example.com", "urn:service:sos", "tel:", "sip:@", ":"] {
            assert_eq!(both(uri), (None, None), "{uri}");
        }
    }
}
