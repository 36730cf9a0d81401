//! Networks and sockets that an operator lists.

use std::net::{IpAddr, SocketAddr};

/// A network (`10.0.0.0/8`), an address (`192.0.2.1`), or one port of an address (`192.0.2.1:5060`, `[::1]:5060`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    /// Leading bits that count.
    prefix: u8,
    port: Option<u16>,
}

impl Network {
    /// Reads one entry; `None` if it is none of the three.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((ip, prefix)) = text.split_once('/') {
            let (ip, prefix) = (ip.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
            return (prefix <= bits(ip)).then_some(Self { ip, prefix, port: None });
        }
        let single = |ip, port| Self { ip, prefix: bits(ip), port };
        match text.parse::<SocketAddr>() {
            Ok(socket) => Some(single(socket.ip(), Some(socket.port()))),
            Err(_) => {
                let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
                bare.parse().ok().map(|ip| single(ip, None))
            }
        }
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: SocketAddr) -> bool {
        let same_network = match (self.ip, address.ip()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                leading(u32::from(ours) ^ u32::from(theirs), 32) >= self.prefix.into()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                leading(u128::from(ours) ^ u128::from(theirs), 128) >= self.prefix.into()
            }
            _ => false,
        };
        same_network && self.port.is_none_or(|port| port == address.port())
    }
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Bits, of `width`, in which two addresses agree, given the bits in which they differ.
fn leading(difference: impl Into<u128>, width: u32) -> u32 {
    difference.into().leading_zeros() + width - u128::BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn networks_addresses_and_sockets_match_what_lies_in_them() {
        assert!(matches("10.0.0.0/8", "10.255.0.1:5060"));
        assert!(!matches("10.0.0.0/8", "11.0.0.1:5060"));
        assert!(matches("0.0.0.0/0", "203.0.113.9:1"));
        assert!(!matches("0.0.0.0/0", "[::1]:1"));
        assert!(matches("192.0.2.1", "192.0.2.1:9"));
        assert!(!matches("192.0.2.1", "192.0.2.2:9"));
        assert!(matches("192.0.2.1:5060", "192.0.2.1:5060"));
        assert!(!matches("192.0.2.1:5060", "192.0.2.1:5061"));
        assert!(matches("2001:db8::/32", "[2001:db8:1::1]:5060"));
        assert!(!matches("2001:db8::/32", "[2001:db9::1]:5060"));
        assert!(matches("[::1]:5060", "[::1]:5060"));
        assert!(matches("[::1]", "[::1]:7"));
        assert!(matches("::/0", "[::1]:7"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0", "10.0.0.0/8:5060", "::/129", "[::1"]
        {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
