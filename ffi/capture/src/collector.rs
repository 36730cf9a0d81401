//! Where messages go: a collector's URI.

use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

/// How packets reach a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One packet per segment stream, framed by HEP3's own length.
    Tcp,
    /// As TCP, inside TLS 1.2 or 1.3 with the collector's certificate verified.
    Tls,
    /// One packet per datagram.
    Udp,
}

/// A collector's URI, taken apart. Names are not resolved here: only the sender does that.
///
/// Understood are `udp:host:port`, `tcp:host:port`, `tls:host:port`, and what Kamailio's siptrace takes:
/// `sip:host:port` (UDP) with an optional `;transport=` and `udp`, `tcp` or `tls`. An IPv6 address stands in brackets.
/// Without a port, `udp:` and `tcp:` mean 9060, `tls:` 9061, and `sip:` means 5060 as everywhere in SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectorUri<'a> {
    /// UDP, TCP or TLS.
    pub protocol: Protocol,
    /// Name or address, without brackets.
    pub host: &'a str,
    /// 1 to 65535.
    pub port: u16,
}

/// Why a text is no collector's URI.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UriError {
    /// Empty, or what is no host name, IPv4 address or IPv6 address in brackets.
    #[error("no valid host name or address")]
    Host,
    /// More than [`CollectorUri::MAX_BYTES`] octets.
    #[error("longer than 255 octets")]
    Length,
    /// Not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Something else than `udp:`, `tcp:`, `tls:` or `sip:`.
    #[error("expected udp:host:port, tcp:host:port, tls:host:port or sip:host:port[;transport=tcp]")]
    Scheme,
    /// `sips:`, or a `transport=` that is none of ours.
    #[error("only udp, tcp and tls transport are available")]
    Transport,
}

impl<'a> CollectorUri<'a> {
    /// Octets of the longest URI.
    pub const MAX_BYTES: usize = 255;

    /// Takes a URI apart.
    ///
    /// # Errors
    /// The first rule of [`UriError`] that the text breaks.
    pub fn parse(text: &'a [u8]) -> Result<Self, UriError> {
        if text.len() > Self::MAX_BYTES {
            return Err(UriError::Length);
        }
        let text = std::str::from_utf8(text).map_err(|_| UriError::Host)?.trim();
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let (protocol, rest, default_port) = if scheme.eq_ignore_ascii_case("udp") {
            (Protocol::Udp, rest, 9060)
        } else if scheme.eq_ignore_ascii_case("tcp") {
            (Protocol::Tcp, rest, 9060)
        } else if scheme.eq_ignore_ascii_case("tls") {
            (Protocol::Tls, rest, 9061)
        } else if scheme.eq_ignore_ascii_case("sip") {
            let mut parts = rest.split(';');
            let address = parts.next().unwrap_or_default();
            let address = address.rsplit_once('@').map_or(address, |(_user, host)| host);
            (sip_transport(parts)?, address, 5060)
        } else if scheme.eq_ignore_ascii_case("sips") {
            return Err(UriError::Transport);
        } else {
            return Err(UriError::Scheme);
        };
        let (host, port) = host_and_port(rest)?;
        Ok(Self { protocol, host, port: port.unwrap_or(default_port) })
    }
}

/// One or more collectors, separated by commas: the first that is there gets the messages, the others stand by.
///
/// The whole text has at most [`CollectorUri::MAX_BYTES`] octets.
///
/// # Errors
/// The first rule of [`UriError`] that one of them, or the whole, breaks.
pub fn collectors(text: &[u8]) -> Result<Vec<CollectorUri<'_>>, UriError> {
    if text.len() > CollectorUri::MAX_BYTES {
        return Err(UriError::Length);
    }
    text.split(|&octet| octet == b',').map(CollectorUri::parse).collect()
}

impl fmt::Display for CollectorUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
            Protocol::Udp => "udp",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}:{}:{}", self.host, self.port)
        }
    }
}

fn sip_transport<'a>(parameters: impl Iterator<Item = &'a str>) -> Result<Protocol, UriError> {
    let mut protocol = Protocol::Udp;
    for parameter in parameters {
        if let Some((name, value)) = parameter.split_once('=')
            && name.eq_ignore_ascii_case("transport")
        {
            protocol = if value.eq_ignore_ascii_case("udp") {
                Protocol::Udp
            } else if value.eq_ignore_ascii_case("tcp") {
                Protocol::Tcp
            } else if value.eq_ignore_ascii_case("tls") {
                Protocol::Tls
            } else {
                return Err(UriError::Transport);
            };
        }
    }
    Ok(protocol)
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let (host, rest) = inside.split_once(']').ok_or(UriError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| UriError::Host)?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(UriError::Port)?) };
        (host, port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(valid) {
            return Err(UriError::Host);
        }
        (host, port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|&port: &u16| port > 0).ok_or(UriError::Port)?)
        }
        Some(_) => return Err(UriError::Port),
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, UriError> {
        CollectorUri::parse(text.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn the_forms_operators_write_are_understood() {
        for (text, expected) in [
            ("sip:127.0.0.1:9060", "udp:127.0.0.1:9060"),
            ("sip:collector.example.net:9060;transport=TCP", "tcp:collector.example.net:9060"),
            ("sip:hep@10.0.0.1", "udp:10.0.0.1:5060"),
            ("sip:[::1]:9060;transport=udp;lr", "udp:[::1]:9060"),
            ("udp:[2001:db8::7]", "udp:[2001:db8::7]:9060"),
            ("TCP:homer-1:9061", "tcp:homer-1:9061"),
            ("tls:homer-1", "tls:homer-1:9061"),
            ("sip:homer-1:9062;transport=tls", "tls:homer-1:9062"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_collector_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", UriError::Scheme),
            ("127.0.0.1", UriError::Scheme),
            ("http:host:80", UriError::Scheme),
            ("sips:host:9060", UriError::Transport),
            ("sip:host:9060;transport=ws", UriError::Transport),
            ("udp:", UriError::Host),
            ("udp:a b:9060", UriError::Host),
            ("udp:[::1", UriError::Host),
            ("udp:[fe80::zz]:1", UriError::Host),
            ("udp:::1:9060", UriError::Host),
            ("udp:host:0", UriError::Port),
            ("udp:host:65536", UriError::Port),
            ("udp:host:+9060", UriError::Port),
            ("udp:[::1]9060", UriError::Port),
            ("sip:host:<null>", UriError::Port),
        ] {
            assert_eq!(shown(text), Err(expected), "{text}");
        }
        assert_eq!(shown(&format!("udp:{}:1", "a".repeat(255))), Err(UriError::Length));
    }

    #[test]
    fn a_list_is_read_in_its_order_and_each_part_is_checked() {
        let list = collectors(b"tls:a:9061, tcp:[::1]:9060,sip:b").unwrap();
        let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["tls:a:9061", "tcp:[::1]:9060", "udp:b:5060"]);
        assert_eq!(collectors(b"tcp:a,"), Err(UriError::Scheme));
        assert_eq!(collectors(b"tcp:a,udp:b:0"), Err(UriError::Port));
        assert_eq!(collectors("udp:a,".repeat(60).as_bytes()), Err(UriError::Length));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_shown_parses_again(text in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(uri) = CollectorUri::parse(&text) {
                let shown = uri.to_string();
                prop_assert_eq!(CollectorUri::parse(shown.as_bytes()), Ok(uri));
            }
        }
    }
}
