//! What a template writes says the same as what the encoder writes.

use std::net::SocketAddr;

use hep::{EncodeError, MAX_PACKET_LEN, Packet, Payload, Seen, Template, Timestamp, Transport};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const TIME: Timestamp = Timestamp { seconds: 1_700_000_000, microseconds: 42 };

fn seen(correlation_id: Option<&[u8]>) -> Seen<'_> {
    Seen {
        source: None,
        destination: None,
        transport: Transport::Udp,
        time: TIME,
        correlation_id,
        full_length: None,
        call_id: None,
    }
}

#[test]
fn longest_packet_is_written_and_one_octet_more_is_refused() {
    let mut template = Template::new(1, 1, None, None);
    let len = template.head(&seen(None), 0).unwrap().len();
    let most = MAX_PACKET_LEN - len;
    assert_eq!(template.head(&seen(None), most).map(<[u8]>::len), Ok(len));
    let too_long = EncodeError::TooLong { found: MAX_PACKET_LEN + 1 };
    assert_eq!(template.head(&seen(None), most + 1), Err(too_long));
}

#[test]
fn texts_that_no_packet_can_hold_are_refused_with_each_packet() {
    let key = vec![b'k'; MAX_PACKET_LEN];
    let mut template = Template::new(1, 1, Some(&key), None);
    assert!(matches!(template.head(&seen(None), 0), Err(EncodeError::TooLong { .. })));
}

#[test]
fn longest_correlation_id_is_written_and_one_octet_more_is_refused() {
    let mut template = Template::new(1, 1, None, Some(b"edge-1"));
    let address = SocketAddr::from(([0; 16], 5060));
    let addresses = |correlation_id| Seen {
        source: Some(&address),
        destination: Some(&address),
        full_length: Some(1),
        call_id: Some(&[b'c'; Template::MAX_CORRELATION_LEN]),
        ..seen(correlation_id)
    };
    let id = [b'i'; Template::MAX_CORRELATION_LEN + 1];
    let len = template.head(&addresses(Some(&id[1..])), 9).unwrap().len();
    let refused = EncodeError::BufferTooShort { expected: len + 1, found: len };
    assert_eq!(template.head(&addresses(Some(&id)), 9), Err(refused));
}

fn octets() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..40))
}

proptest! {
    #[test]
    fn head_and_payload_decode_to_what_the_encoder_is_given(
        packets in vec((any::<[Option<SocketAddr>; 2]>(), 0..Transport::ALL.len(), any::<(u32, u32, Option<u32>)>(), [octets(), octets()]), 1..8),
        (agent_id, protocol_type) in any::<(u32, u8)>(),
        (key, name) in (octets(), octets()),
        payload in vec(any::<u8>(), 0..600),
    ) {
        // Several with one template: nothing of a packet is left in the next.
        let mut template = Template::new(agent_id, protocol_type, key.as_deref(), name.as_deref());
        for ([source, destination], transport, (seconds, microseconds, full_length), [id, call_id]) in packets {
            let transport = Transport::ALL[transport];
            let time = Timestamp { seconds, microseconds };
            let packet = Packet {
                ip_family: source.or(destination).map(|address| if address.is_ipv4() { 2 } else { 10 }),
                ip_protocol: Some(transport.ip_protocol()),
                src_ip: source.map(|address| address.ip()),
                dst_ip: destination.map(|address| address.ip()),
                src_port: source.map(|address| address.port()),
                dst_port: destination.map(|address| address.port()),
                time: Some(time),
                protocol_type: Some(protocol_type),
                agent_id: Some(agent_id),
                auth_key: key.as_deref(),
                agent_name: name.as_deref(),
                payload: Payload::Plain(&payload),
                correlation_id: id.as_deref(),
                transport: Some(transport),
                full_length,
                call_id: call_id.as_deref(),
                ..Packet::default()
            };
            let seen = Seen {
                source: source.as_ref(),
                destination: destination.as_ref(),
                transport,
                time,
                correlation_id: id.as_deref(),
                full_length,
                call_id: call_id.as_deref(),
            };
            let head = template.head(&seen, payload.len()).unwrap();
            let wire = [head, &payload].concat();
            prop_assert_eq!(Ok(wire.len()), hep::encoded_len(&packet));
            prop_assert_eq!(hep::decode(&wire), Ok(packet));
        }
    }
}
