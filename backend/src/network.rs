//! Networks of addresses, as filters and lists of allowed peers name them.

use std::net::{IpAddr, Ipv6Addr};

/// All addresses with the same leading bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    ip: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`; an address alone is a network of one. `None` where it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self { ip, bits: if ip.is_ipv4() { 32 } else { 128 } });
        }
        let (ip, bits) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let bits = bits.parse().ok()?;
        (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some(Self { ip, bits })
    }

    /// Whether an address is in it; an IPv4 address is never in an IPv6 network, nor the other way round.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                a.to_bits() & mask == b.to_bits() & mask
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                a.to_bits() & mask == b.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Whom an address stands for when peers are counted or limited: itself, or for IPv6 its /64, of which one host has
/// all addresses. IPv4 in IPv6 is IPv4.
#[must_use]
pub fn peer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let parsed = Network::parse(network).expect(network);
            assert!(parsed.contains(inside.parse().expect("an address")), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().expect("an address")), "{network} {outside}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "host", "10.0.0.1:5060", "10.0.0.0/-1"] {
            assert!(Network::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_addresses_of_one_ipv6_host_are_one_peer() {
        let of = |text: &str| peer(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
