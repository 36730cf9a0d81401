//! Rules of encoding.

use std::net::IpAddr;

use hep::{EncodeError, MAX_PACKET_LEN, Packet, Payload, Transport};

#[test]
fn each_address_is_written_in_the_chunk_of_its_own_family() {
    let v4: IpAddr = "192.0.2.1".parse().unwrap();
    let v6: IpAddr = "2001:db8::2".parse().unwrap();
    for (src, dst, ids) in [(v4, v6, [3, 6]), (v6, v4, [5, 4])] {
        let sent = Packet { ip_family: Some(2), src_ip: Some(src), dst_ip: Some(dst), ..Packet::default() };
        let mut wire = Vec::new();
        hep::encode(&sent, &mut wire).unwrap();
        assert_eq!(hep::decode(&wire), Ok(sent));
        let mut found = Vec::new();
        let mut at = 6;
        while at < wire.len() {
            found.push(wire[at + 3]);
            at += usize::from(wire[at + 5]);
        }
        found.retain(|id| (3..=6).contains(id));
        found.sort_unstable();
        let mut ids = ids;
        ids.sort_unstable();
        assert_eq!(found, ids);
    }
}

#[test]
fn mapped_address_stays_the_ipv6_address_it_is() {
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let sent = Packet { src_ip: Some(mapped), ..Packet::default() };
    let mut wire = Vec::new();
    hep::encode(&sent, &mut wire).unwrap();
    assert_eq!(hep::decode(&wire).unwrap().src_ip, Some(mapped));
}

#[test]
fn encoding_appends_and_reuses_the_capacity() {
    let packet = Packet { payload: Payload::Plain(b"OPTIONS"), ..Packet::default() };
    let len = hep::encoded_len(&packet).unwrap();
    let mut out = Vec::with_capacity(3 + len);
    out.extend_from_slice(b"abc");
    let before = out.as_ptr();
    assert_eq!(hep::encode(&packet, &mut out), Ok(len));
    assert_eq!(out.as_ptr(), before);
    assert_eq!(&out[..3], b"abc");
    assert_eq!(hep::decode(&out[3..]), Ok(packet));
}

#[test]
fn buffer_too_short_is_refused_and_left_alone() {
    let packet = Packet { payload: Payload::Plain(b"OPTIONS"), ..Packet::default() };
    let expected = hep::encoded_len(&packet).unwrap();
    let mut out = vec![0xaa; expected - 1];
    let refused = EncodeError::BufferTooShort { expected, found: expected - 1 };
    assert_eq!(hep::encode_into(&packet, &mut out), Err(refused));
    assert!(out.iter().all(|&octet| octet == 0xaa));

    let mut out = vec![0xaa; expected + 1];
    assert_eq!(hep::encode_into(&packet, &mut out), Ok(expected));
    assert_eq!(hep::decode(&out[..expected]), Ok(packet));
    assert_eq!(out[expected], 0xaa);
}

#[test]
fn longest_packet_is_written_and_one_octet_more_is_refused() {
    let payload = vec![b'x'; MAX_PACKET_LEN - 12 + 1];
    let longest = Packet { payload: Payload::Plain(&payload[1..]), ..Packet::default() };
    let mut out = Vec::new();
    assert_eq!(hep::encode(&longest, &mut out), Ok(MAX_PACKET_LEN));
    assert_eq!(hep::decode(&out), Ok(longest));

    out.clear();
    let too_long = Packet { payload: Payload::Plain(&payload), ..Packet::default() };
    let refused = hep::encode(&too_long, &mut out).unwrap_err();
    assert_eq!(refused, EncodeError::TooLong { found: MAX_PACKET_LEN + 1 });
    assert_eq!(refused.to_string(), "packet length: expected at most 65535 octets, found 65536");
    assert!(out.is_empty());
}

#[test]
fn transport_goes_into_the_vendor_chunk_and_not_into_0x0002() {
    let sent = Packet { ip_protocol: Some(22), transport: Some(Transport::Ws), ..Packet::default() };
    let mut wire = Vec::new();
    hep::encode(&sent, &mut wire).unwrap();
    assert_eq!(wire, b"HEP3\0\x14\0\0\0\x02\0\x07\x16\x53\x4c\0\x01\0\x07\x05");
}
