//! One end of a message, as a script writes it.

use std::net::SocketAddr;

use hep::Transport;
use thiserror::Error;

/// Where a message came from or goes to, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// UDP if the text does not say.
    pub transport: Transport,
}

/// The text is no [`Endpoint`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("expected transport:address:port, such as udp:192.0.2.1:5060 or tls:[2001:db8::1]:5061")]
pub struct EndpointError;

impl Endpoint {
    /// Reads `udp:192.0.2.1:5060`, as siptrace writes it; the transport may be left out, an IPv6 address stands in
    /// brackets. Names are not looked up.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &[u8]) -> Result<Self, EndpointError> {
        let text = std::str::from_utf8(text).map_err(|_| EndpointError)?;
        let (transport, address) = match text.split_once(':') {
            Some((name, rest)) if name.bytes().all(|letter| letter.is_ascii_alphabetic()) => {
                (transport(name).ok_or(EndpointError)?, rest)
            }
            _ => (Transport::Udp, text),
        };
        let address = address.parse().map_err(|_| EndpointError)?;
        Ok(Self { address, transport })
    }
}

fn transport(name: &str) -> Option<Transport> {
    let known = [
        ("udp", Transport::Udp),
        ("tcp", Transport::Tcp),
        ("tls", Transport::Tls),
        ("sctp", Transport::Sctp),
        ("ws", Transport::Ws),
        ("wss", Transport::Wss),
    ];
    known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, transport)| transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_transport_address_and_port() {
        let parse =
            |text: &str| Endpoint::parse(text.as_bytes()).map(|end| (end.transport, end.address.to_string()));
        assert_eq!(parse("tcp:127.0.0.1:5062"), Ok((Transport::Tcp, "127.0.0.1:5062".to_owned())));
        assert_eq!(parse("WSS:[::1]:443"), Ok((Transport::Wss, "[::1]:443".to_owned())));
        assert_eq!(parse("192.0.2.1:5060"), Ok((Transport::Udp, "192.0.2.1:5060".to_owned())));
        assert_eq!(parse("[2001:db8::1]:5060"), Ok((Transport::Udp, "[2001:db8::1]:5060".to_owned())));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "udp:",
            "udp:127.0.0.1",
            "udp:edge.example:5060",
            "quic:127.0.0.1:1",
            "::1",
            "udp:127.0.0.1:70000",
        ] {
            assert_eq!(Endpoint::parse(text.as_bytes()), Err(EndpointError), "{text}");
        }
        assert_eq!(Endpoint::parse(b"udp:\xff"), Err(EndpointError));
    }
}
