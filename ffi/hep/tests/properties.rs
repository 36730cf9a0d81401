//! What holds for every packet and every input.
#![expect(clippy::unwrap_used, reason = "input that cannot be made fails its test")]

use std::net::IpAddr;

use hep::framing::{Frame, frame};
use hep::{Packet, Payload, Timestamp, Transport, VendorChunks};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// The octets a packet borrows.
#[derive(Clone, Debug)]
struct Texts {
    fields: [Option<Vec<u8>>; 10],
    payload: Option<(bool, Vec<u8>)>,
    vendor: Vec<u8>,
}

fn texts() -> impl Strategy<Value = Texts> {
    let octets = || vec(any::<u8>(), 0..40);
    let vendor_chunk = (1u16.., any::<u16>(), octets()).prop_map(|(vendor, id, body)| {
        let length = u16::try_from(body.len() + 6).unwrap();
        [&vendor.to_be_bytes()[..], &id.to_be_bytes(), &length.to_be_bytes(), &body].concat()
    });
    let fields = std::array::from_fn(|_| option::of(octets()));
    let payload = option::of((any::<bool>(), vec(any::<u8>(), 0..600)));
    (fields, payload, vec(vendor_chunk, 0..3)).prop_map(|(fields, payload, vendor)| Texts {
        fields,
        payload,
        vendor: vendor.concat(),
    })
}

#[derive(Clone, Debug)]
struct Numbers {
    bytes: [Option<u8>; 5],
    shorts: [Option<u16>; 9],
    words: [Option<u32>; 3],
    longs: [Option<u64>; 3],
    macs: [Option<u64>; 2],
    addresses: [Option<IpAddr>; 2],
    time: Option<(u32, u32)>,
    transport: Option<usize>,
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let bytes: [_; 5] = std::array::from_fn(|_| any::<Option<u8>>());
    let shorts: [_; 9] = std::array::from_fn(|_| any::<Option<u16>>());
    let words: [_; 3] = std::array::from_fn(|_| any::<Option<u32>>());
    let longs: [_; 3] = std::array::from_fn(|_| any::<Option<u64>>());
    let macs = [any::<Option<u64>>(), any::<Option<u64>>()];
    let addresses = [any::<Option<IpAddr>>(), any::<Option<IpAddr>>()];
    let transport = option::of(0..Transport::ALL.len());
    (bytes, shorts, words, longs, macs, addresses, any::<Option<(u32, u32)>>(), transport).prop_map(
        |(bytes, shorts, words, longs, macs, addresses, time, transport)| Numbers {
            bytes,
            shorts,
            words,
            longs,
            macs,
            addresses,
            time,
            transport,
        },
    )
}

fn packet<'a>(numbers: &Numbers, texts: &'a Texts) -> Packet<'a> {
    let [ip_family, ip_protocol, protocol_type, tcp_flags, ip_tos] = numbers.bytes;
    let [src_port, dst_port, keep_alive, vlan, ethernet_type, mos, r_factor, tag_type, event_type] =
        numbers.shorts;
    let [src_ip, dst_ip] = numbers.addresses;
    let [agent_id, jitter, full_length] = numbers.words;
    let [stream, number, first] = numbers.longs;
    let [src_mac, dst_mac] = numbers.macs;
    let [a, b, c, d, e, f, g, h, i, j] = texts.fields.each_ref().map(Option::as_deref);
    Packet {
        version: hep::Version::Hep3,
        ip_family,
        ip_protocol,
        src_ip,
        dst_ip,
        src_port,
        dst_port,
        time: numbers.time.map(|(seconds, microseconds)| Timestamp { seconds, microseconds }),
        protocol_type,
        agent_id,
        keep_alive,
        auth_key: a,
        payload: match &texts.payload {
            None => Payload::None,
            Some((false, octets)) => Payload::Plain(octets),
            Some((true, octets)) => Payload::Compressed(octets),
        },
        correlation_id: b,
        vlan,
        agent_name: c,
        src_mac,
        dst_mac,
        ethernet_type,
        tcp_flags,
        ip_tos,
        mos,
        r_factor,
        geo_location: d,
        jitter,
        transaction_type: e,
        payload_json_keys: f,
        tag_values: g,
        tag_type,
        event_type,
        group_id: h,
        extra_correlation: i,
        transport: numbers.transport.map(|at| Transport::ALL[at]),
        full_length,
        call_id: j,
        sequence: stream.zip(number).zip(first).map(|((stream, number), first)| hep::Sequence {
            stream,
            number,
            first,
        }),
        acknowledged: number.zip(first).map(|(stream, number)| hep::Acknowledged { stream, number }),
        vendor: VendorChunks::new(&texts.vendor).unwrap(),
    }
}

/// Bytes that look like a packet far enough to reach the code behind the first check.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(b"HEP3".to_vec()),
        Just(b"EEP3".to_vec()),
        Just(vec![1, 16, 2, 17]),
        Just(vec![2, 40, 10, 6]),
        Just(Vec::new()),
    ];
    (start, vec(prop_oneof![Just(0u8), 0u8..40, any::<u8>()], 0..300)).prop_map(|(start, rest)| {
        let mut bytes = [start, rest].concat();
        if let (Ok(length), Some(field)) = (u16::try_from(bytes.len()), bytes.get_mut(4..6)) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        bytes
    })
}

proptest! {
    #[test]
    fn decoding_what_was_encoded_gives_the_packet_back(numbers in numbers(), texts in texts()) {
        let sent = packet(&numbers, &texts);
        let mut wire = Vec::new();
        let len = hep::encode(&sent, &mut wire).unwrap();
        prop_assert_eq!(len, wire.len());
        prop_assert_eq!(hep::encoded_len(&sent), Ok(len));
        prop_assert_eq!(hep::decode(&wire), Ok(sent.clone()));

        let mut slice = vec![0; len];
        prop_assert_eq!(hep::encode_into(&sent, &mut slice), Ok(len));
        prop_assert_eq!(slice, wire);
    }

    #[test]
    fn packet_cut_at_any_octet_is_refused(numbers in numbers(), texts in texts()) {
        let mut wire = Vec::new();
        hep::encode(&packet(&numbers, &texts), &mut wire).unwrap();
        for end in 0..wire.len() {
            prop_assert!(hep::decode(&wire[..end]).is_err());
            let needed = match frame(&wire[..end]).unwrap() {
                Frame::Incomplete { needed } => needed,
                Frame::Complete(_) => return Err(TestCaseError::fail("complete before its end")),
            };
            prop_assert!(needed > 0 && end + needed <= wire.len());
        }
    }

    #[test]
    fn no_input_panics(bytes in prop_oneof![vec(any::<u8>(), 0..400), nearly_a_packet()]) {
        let _ = frame(&bytes);
        if let Ok(packet) = hep::decode(&bytes) {
            let _ = packet.payload.inflate(4096);
            // What was read can be written, and reads the same again.
            let mut wire = Vec::new();
            hep::encode(&packet, &mut wire).unwrap();
            let again = hep::decode(&wire).unwrap();
            prop_assert_eq!(Packet { version: packet.version, ..again }, packet);
        }
    }

    #[test]
    fn stream_split_anywhere_yields_the_packets_sent(
        payloads in vec(vec(any::<u8>(), 0..200), 1..6),
        cuts in vec(1usize..64, 1..200),
    ) {
        let mut stream = Vec::new();
        for payload in &payloads {
            hep::encode(&Packet { payload: Payload::Plain(payload), ..Packet::default() }, &mut stream).unwrap();
        }
        let mut cuts = cuts.into_iter().cycle();
        let (mut buffer, mut unread, mut received) = (Vec::new(), stream.as_slice(), Vec::new());
        loop {
            match frame(&buffer).unwrap() {
                Frame::Complete(len) => {
                    let packet = hep::decode(&buffer[..len]).unwrap();
                    received.push(packet.payload.plain().unwrap().to_vec());
                    buffer.drain(..len);
                }
                Frame::Incomplete { .. } if unread.is_empty() => break,
                Frame::Incomplete { .. } => {
                    let (read, rest) = unread.split_at(cuts.next().unwrap().min(unread.len()));
                    buffer.extend_from_slice(read);
                    unread = rest;
                }
            }
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(received, payloads);
    }
}
