//! Rules of decoding, and what is said when one is broken.
#![expect(clippy::unwrap_used, reason = "a chunk too long fails its test")]

use hep::chunk::{VENDOR_SIPLENS, Width};
use hep::{DecodeError, Packet, Payload, Transport, VendorChunk, VendorChunks, Version};

/// A chunk: vendor, type, body.
fn chunk(vendor: u16, id: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 6).unwrap();
    [&vendor.to_be_bytes()[..], &id.to_be_bytes(), &length.to_be_bytes(), body].concat()
}

/// A packet of these chunks.
fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    let length = u16::try_from(body.len() + 6).unwrap();
    [b"HEP3", &length.to_be_bytes()[..], &body].concat()
}

#[test]
fn vendor_chunk_is_never_read_as_the_generic_one_of_its_number() {
    let wire = packet(&[
        chunk(0, 0x000f, b"OPTIONS"),
        chunk(0x0003, 0x000f, b"not the payload"),
        chunk(0x0002, 0x0009, b"any width"),
        chunk(0x0005, 0x0011, b"not the correlation id"),
    ]);
    let packet = hep::decode(&wire).unwrap();
    assert_eq!(packet.payload, Payload::Plain(b"OPTIONS"));
    assert_eq!((packet.time, packet.correlation_id), (None, None));
    let vendor: Vec<_> = packet.vendor_chunks().collect();
    let expected = [
        VendorChunk { vendor: 3, id: 0x000f, body: b"not the payload" },
        VendorChunk { vendor: 2, id: 0x0009, body: b"any width" },
        VendorChunk { vendor: 5, id: 0x0011, body: b"not the correlation id" },
    ];
    assert_eq!(vendor, expected);
}

#[test]
fn transport_is_read_from_our_vendor_chunk_alone() {
    let wire = packet(&[chunk(VENDOR_SIPLENS, 1, &[6])]);
    let decoded = hep::decode(&wire).unwrap();
    assert_eq!(decoded.transport, Some(Transport::Wss));
    assert_eq!(decoded.vendor_chunks().count(), 0, "it has a field of its own");

    let other = packet(&[chunk(0x0005, 1, &[6])]);
    assert_eq!(hep::decode(&other).unwrap().transport, None);
}

#[test]
fn transport_chunk_of_a_later_version_is_kept_but_not_understood() {
    for body in [&[7][..], &[], &[1, 0]] {
        let wire = packet(&[chunk(VENDOR_SIPLENS, 1, body)]);
        let decoded = hep::decode(&wire).unwrap();
        assert_eq!(decoded.transport, None);
        let kept = VendorChunk { vendor: VENDOR_SIPLENS, id: 1, body };
        assert_eq!(decoded.vendor_chunks().collect::<Vec<_>>(), [kept]);
    }
}

#[test]
fn unknown_generic_chunks_and_octets_after_the_packet_are_passed_over() {
    let mut wire = packet(&[chunk(0, 0x0019, b"?"), chunk(0, 0xffff, b""), chunk(0, 0x000c, &[0, 0, 0, 7])]);
    wire.extend_from_slice(b"rest");
    assert_eq!(hep::decode(&wire), Ok(Packet { agent_id: Some(7), ..Packet::default() }));
}

#[test]
fn the_other_magic_of_rev_37_is_read_and_that_of_the_draft_is_not() {
    let mut wire = packet(&[]);
    wire[..4].copy_from_slice(b"EEP3");
    assert_eq!(hep::decode(&wire), Ok(Packet::default()));
    wire[..4].copy_from_slice(b"EEP1");
    assert_eq!(hep::decode(&wire), Err(DecodeError::NotHep { found: *b"EEP1" }));
}

#[test]
fn last_of_repeated_chunks_counts_and_seconds_make_the_time() {
    let seconds = |value: u32| chunk(0, 0x0009, &value.to_be_bytes());
    let microseconds = chunk(0, 0x000a, &5u32.to_be_bytes());
    let time = |chunks: &[Vec<u8>]| hep::decode(&packet(chunks)).unwrap().time.map(|time| time.as_micros());
    assert_eq!(time(&[microseconds.clone(), seconds(1), seconds(2)]), Some(2_000_005));
    assert_eq!(time(&[seconds(2)]), Some(2_000_000));
    assert_eq!(time(&[microseconds]), None);
}

#[test]
fn mac_addresses_have_six_or_eight_octets() {
    for (body, mac) in
        [(&[1, 2, 3, 4, 5, 6][..], 0x0102_0304_0506), (&[0, 0, 1, 2, 3, 4, 5, 6], 0x0102_0304_0506)]
    {
        assert_eq!(hep::decode(&packet(&[chunk(0, 0x0014, body)])).unwrap().src_mac, Some(mac));
    }
    let wire = packet(&[chunk(0, 0x0015, &[1; 7])]);
    let refused = DecodeError::ChunkWidth { id: 0x0015, expected: Width::Mac, found: 7 };
    assert_eq!(hep::decode(&wire), Err(refused));
    assert_eq!(refused.to_string(), "chunk 0x0015: expected 6 or 8 octets, found 7");
}

#[test]
fn every_chunk_of_a_wrong_width_is_refused_by_its_id() {
    for row in hep::chunk::GENERIC {
        let Width::Fixed(width) = row.width else { continue };
        for found in [usize::from(width) - 1, usize::from(width) + 1] {
            let refused = hep::decode(&packet(&[chunk(0, row.id, &vec![0; found])])).map(drop);
            assert_eq!(refused, Err(DecodeError::ChunkWidth { id: row.id, expected: row.width, found }));
        }
    }
}

#[test]
fn refusals_say_what_was_expected_and_what_was_found() {
    let refusals: [(&[u8], &str); 10] = [
        (b"", "expected HEP1, HEP2 or HEP3, found octets [00, 00, 00, 00]"),
        (b"HEP", "expected HEP1, HEP2 or HEP3, found octets [48, 45, 50, 00]"),
        (b"\x03abc", "expected HEP1, HEP2 or HEP3, found octets [03, 61, 62, 63]"),
        (b"HEP3\0", "packet: expected 6 octets, found 5"),
        (b"HEP3\0\x05", "packet length: expected at least 6, found 5"),
        (b"HEP3\0\x07", "packet: expected 7 octets, found 6"),
        (b"HEP3\0\x0b\0\0\0\x0f\0", "after the last chunk: expected a chunk header of 6 octets, found 5"),
        (
            b"HEP3\0\x0c\0\x01\0\x0f\0\x05",
            "chunk 0x000f of vendor 0x0001: expected a length of at least 6, found 5",
        ),
        (
            b"HEP3\0\x0d\0\0\0\x0f\0\x08x",
            "chunk 0x000f of vendor 0x0000: expected 8 octets, found 7 to the packet's end",
        ),
        (b"HEP3\0\x0f\0\0\0\x09\0\x09abc", "chunk 0x0009: expected 4 octets, found 3"),
    ];
    for (wire, text) in refusals {
        assert_eq!(hep::decode(wire).unwrap_err().to_string(), text);
    }
}

/// HEP1 or HEP2 over IPv4: fixed header, addresses, what follows them.
fn legacy(version: u8, header_len: u8, rest: &[u8]) -> Vec<u8> {
    let fixed = [version, header_len, 2, 17, 0x13, 0xc4, 0x13, 0xc5, 192, 0, 2, 1, 192, 0, 2, 2];
    [&fixed[..], rest].concat()
}

const SIP: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\r\n";
const SECONDS: u32 = 1_700_000_000;
const MICROSECONDS: u32 = 123_456;

fn little_endian_time() -> Vec<u8> {
    [&SECONDS.to_le_bytes()[..], &MICROSECONDS.to_le_bytes(), &2001u16.to_le_bytes()].concat()
}

fn big_endian_time() -> Vec<u8> {
    [&SECONDS.to_be_bytes()[..], &MICROSECONDS.to_be_bytes(), &2001u16.to_be_bytes()].concat()
}

#[test]
fn hep2_is_read_in_both_byte_orders_and_with_or_without_padding() {
    for time in [little_endian_time(), big_endian_time()] {
        for padding in [&b""[..], b"\0\0", b"\xd7\x7f", b"ab"] {
            for text in [SIP, b"SIP/2.0 200 OK\r\n\r\n", b"OPTIONS sip:x SIP/2.0\r\n"] {
                let wire = legacy(2, 16, &[&time, padding, text].concat());
                let packet = hep::decode(&wire).unwrap();
                assert_eq!(packet.version, Version::Hep2);
                let micros = i64::from(SECONDS) * 1_000_000 + i64::from(MICROSECONDS);
                assert_eq!(packet.time.map(|time| time.as_micros()), Some(micros));
                assert_eq!(packet.agent_id, Some(2001));
                assert_eq!(packet.payload, Payload::Plain(text), "padding {padding:?}");
            }
        }
    }
}

#[test]
fn hep2_text_that_is_no_known_method_is_found_by_its_padding() {
    let unknown = &b"FOO sip:x SIP/2.0\r\n"[..];
    for padding in [&b""[..], b"\0\0", b"\xd7\x7f"] {
        let wire = legacy(2, 16, &[&little_endian_time(), padding, unknown].concat());
        assert_eq!(hep::decode(&wire).unwrap().payload, Payload::Plain(unknown));
    }
}

#[test]
fn hep2_without_a_likely_time_has_none() {
    let wire = legacy(2, 16, &[&[0xff; 8][..], &[1, 0], SIP].concat());
    let packet = hep::decode(&wire).unwrap();
    assert_eq!((packet.time, packet.agent_id), (None, Some(1)));
}

#[test]
fn ipv6_is_read_under_the_family_numbers_of_three_systems() {
    for family in [10, 28, 30] {
        let mut wire = vec![1, 40, family, 6, 0, 1, 0, 2];
        wire.extend_from_slice(&[[0x20; 16], [0x30; 16]].concat());
        wire.extend_from_slice(SIP);
        let packet = hep::decode(&wire).unwrap();
        assert_eq!(packet.version, Version::Hep1);
        assert_eq!(packet.src_ip, Some([0x20; 16].into()));
        assert_eq!(packet.dst_ip, Some([0x30; 16].into()));
        assert_eq!(packet.payload, Payload::Plain(SIP));
    }
}

#[test]
fn legacy_headers_that_do_not_fit_are_refused() {
    let family = [1, 16, 3, 17, 0, 0, 0, 0];
    assert_eq!(hep::decode(&family), Err(DecodeError::Family { found: 3 }));
    let length = legacy(1, 17, SIP);
    assert_eq!(hep::decode(&length), Err(DecodeError::HeaderLength { expected: 16, found: 17 }));
    assert!(hep::decode(&legacy(2, 28, &[&little_endian_time(), SIP].concat())).is_ok());
    for version in [1, 2] {
        let wire = legacy(version, 16, &[]);
        for end in 1..wire.len() {
            assert!(matches!(hep::decode(&wire[..end]), Err(DecodeError::Truncated { .. })));
        }
    }
    let no_time = legacy(2, 16, &[0; 9]);
    assert_eq!(hep::decode(&no_time), Err(DecodeError::Truncated { expected: 26, found: 25 }));
}

#[test]
fn vendor_chunks_to_be_sent_have_to_be_well_formed() {
    assert!(VendorChunks::new(&chunk(9, 1, b"x")).is_ok());
    assert_eq!(VendorChunks::new(b"x"), Err(DecodeError::ChunkHeader { found: 1 }));
}

#[test]
fn full_length_is_read_from_our_vendor_chunk_if_it_has_four_octets() {
    let wire = packet(&[chunk(VENDOR_SIPLENS, 2, &[0, 1, 0x11, 0x70])]);
    assert_eq!(hep::decode(&wire).unwrap().full_length, Some(70_000));
    let other = packet(&[chunk(VENDOR_SIPLENS, 2, &[1, 0x11, 0x70])]);
    assert_eq!(hep::decode(&other).unwrap().full_length, None);
}
