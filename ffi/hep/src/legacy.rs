//! HEP1 and HEP2: a fixed header, then SIP text up to the datagram's end. There is no specification; this follows what
//! Kamailio sends, and what other senders are known to do differently.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{DecodeError, Packet, Payload, Timestamp, Version};

/// Version, header length, family, protocol, two ports.
const FIXED_LEN: usize = 8;

/// HEP2: seconds, microseconds, capture id.
const TIME_LEN: usize = 10;

/// The same as most C compilers lay it out: two octets of padding follow.
const PADDED_TIME_LEN: usize = 12;

/// Reads HEP1 or HEP2; the first octet is known to be 1 or 2.
pub(crate) fn decode(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let truncated = |expected| DecodeError::Truncated { expected, found: bytes.len() };
    let &[version, header_len, family, protocol, s0, s1, d0, d1, ref rest @ ..] = bytes else {
        return Err(truncated(FIXED_LEN));
    };
    let version = if version == 1 { Version::Hep1 } else { Version::Hep2 };
    // Linux, FreeBSD and macOS number IPv6 differently, and agents send their own number.
    let address_len = match family {
        2 => 4,
        10 | 28 | 30 => 16,
        found => return Err(DecodeError::Family { found }),
    };
    check_header_len(version, header_len, address_len)?;

    let addresses_end = FIXED_LEN + 2 * address_len;
    let Some((addresses, rest)) = rest.split_at_checked(2 * address_len) else {
        return Err(truncated(addresses_end));
    };
    let (src, dst) = addresses.split_at(address_len);
    let mut packet = Packet {
        version,
        ip_family: Some(family),
        ip_protocol: Some(protocol),
        src_ip: address(src),
        dst_ip: address(dst),
        src_port: Some(u16::from_be_bytes([s0, s1])),
        dst_port: Some(u16::from_be_bytes([d0, d1])),
        protocol_type: Some(1),
        payload: Payload::Plain(rest),
        ..Packet::default()
    };
    if version == Version::Hep2 {
        let Some((time, text)) = rest.split_first_chunk::<TIME_LEN>() else {
            return Err(truncated(addresses_end + TIME_LEN));
        };
        (packet.time, packet.agent_id) = read_time(time);
        packet.payload = Payload::Plain(skip_padding(text));
    }
    Ok(packet)
}

/// Kamailio counts the addresses but not HEP2's time; some count that too.
fn check_header_len(version: Version, header_len: u8, address_len: usize) -> Result<(), DecodeError> {
    let expected = if address_len == 4 { 16 } else { 40 };
    let most = if version == Version::Hep2 { expected + PADDED_TIME_LEN as u8 } else { expected };
    if (expected..=most).contains(&header_len) {
        Ok(())
    } else {
        Err(DecodeError::HeaderLength { expected, found: header_len })
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// Time and capture id. Kamailio sends little endian, others network order; the one that gives a likely time is
/// taken, little endian first. If neither does there is no time.
fn read_time(&[s0, s1, s2, s3, u0, u1, u2, u3, c0, c1]: &[u8; TIME_LEN]) -> (Option<Timestamp>, Option<u32>) {
    let (seconds, microseconds, capture_id) = ([s0, s1, s2, s3], [u0, u1, u2, u3], [c0, c1]);
    let little =
        Timestamp { seconds: u32::from_le_bytes(seconds), microseconds: u32::from_le_bytes(microseconds) };
    let big =
        Timestamp { seconds: u32::from_be_bytes(seconds), microseconds: u32::from_be_bytes(microseconds) };
    if is_likely(little) {
        (Some(little), Some(u16::from_le_bytes(capture_id).into()))
    } else if is_likely(big) {
        (Some(big), Some(u16::from_be_bytes(capture_id).into()))
    } else {
        (None, Some(u16::from_le_bytes(capture_id).into()))
    }
}

/// Between 2000 and 2100, and microseconds within a second.
fn is_likely(time: Timestamp) -> bool {
    (946_684_800..4_102_444_800).contains(&time.seconds) && time.microseconds < 1_000_000
}

/// The SIP text starts right after the capture id, or after two octets of padding. Those are usually zero, but no
/// sender promises it, so the text itself decides.
fn skip_padding(text: &[u8]) -> &[u8] {
    let Some((padding, padded)) = text.split_first_chunk::<{ PADDED_TIME_LEN - TIME_LEN }>() else {
        return text;
    };
    if starts_like_sip(padded) {
        padded
    } else if starts_like_sip(text) || padding.iter().all(u8::is_ascii_graphic) {
        text
    } else {
        padded
    }
}

/// Begins with a reply's version or a known method. No method, less its first two letters, is another.
fn starts_like_sip(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 15] = [
        b"SIP/2.0 ",
        b"INVITE ",
        b"ACK ",
        b"BYE ",
        b"CANCEL ",
        b"REGISTER ",
        b"OPTIONS ",
        b"INFO ",
        b"PRACK ",
        b"UPDATE ",
        b"SUBSCRIBE ",
        b"NOTIFY ",
        b"REFER ",
        b"MESSAGE ",
        b"PUBLISH ",
    ];
    STARTS.iter().any(|start| text.starts_with(start))
}
