//! What real senders write, and what it means.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a vector that cannot be read fails its test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hep::framing::{Frame, frame};
use hep::{Packet, Payload, Timestamp, Version};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The packets of one file.
fn vectors(file: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    text.lines().map(octets).collect()
}

fn octets(line: &str) -> Vec<u8> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

fn text<'a>(packet: &Packet<'a>) -> &'a str {
    let Payload::Plain(octets) = packet.payload else { panic!("no plain payload in {packet:?}") };
    std::str::from_utf8(octets).unwrap()
}

fn first_line<'a>(packet: &Packet<'a>) -> &'a str {
    text(packet).lines().next().unwrap()
}

fn call_id<'a>(packet: &Packet<'a>) -> &'a str {
    text(packet).lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap()
}

#[test]
fn worked_example_of_the_specification_means_what_it_says() {
    let vectors = vectors("hep3-rev37-example.hexl");
    let [wire] = vectors.as_slice() else { panic!("expected one vector") };
    assert_eq!(wire.len(), 113);
    let expected = Packet {
        ip_family: Some(2),
        ip_protocol: Some(17),
        src_ip: Some([212, 202, 0, 1].into()),
        dst_ip: Some([82, 116, 0, 211].into()),
        src_port: Some(12010),
        dst_port: Some(5060),
        time: Some(Timestamp { seconds: 1_313_440_459, microseconds: 120_000 }),
        protocol_type: Some(1),
        agent_id: Some(228),
        payload: Payload::Plain(b"INVITE sip:bob"),
        ..Packet::default()
    };
    assert_eq!(hep::decode(wire), Ok(expected.clone()));

    let mut encoded = Vec::new();
    assert_eq!(hep::encode(&expected, &mut encoded), Ok(113));
    assert_eq!(&encoded, wire, "the encoder writes chunks in the example's order");
}

/// In all three versions: what came in twice and what went out, over UDP/IPv4, UDP/IPv6 and TCP/IPv4.
fn assert_kamailio_legs(packets: &[Packet<'_>], version: Version, number: u8) {
    let legs = [(2, 17, "127.0.0.1", "udp4", "INVITE"), (10, 17, "::1", "udp6", "INVITE")];
    let legs = legs.into_iter().chain([(2, 6, "127.0.0.1", "tcp4", "OPTIONS")]);
    for (leg, (family, protocol, ip, name, method)) in packets.chunks(3).zip(legs) {
        for (place, packet) in leg.iter().enumerate() {
            let is_reply = place == 2;
            assert_eq!(packet.version, version);
            assert_eq!(packet.ip_family, Some(family));
            assert_eq!(packet.ip_protocol, Some(protocol));
            assert_eq!(packet.src_ip, Some(ip.parse().unwrap()));
            assert_eq!(packet.dst_ip, Some(ip.parse().unwrap()));
            let proxy_port = if is_reply { packet.src_port } else { packet.dst_port };
            assert_eq!(proxy_port, Some(27160));
            assert_eq!(packet.protocol_type, Some(1));
            assert_eq!(call_id(packet), format!("{name}-v{number}@example.com"));
            let start = if is_reply { "SIP/2.0 486 Busy Here" } else { method };
            assert!(first_line(packet).starts_with(start), "{}", first_line(packet));
            assert!(text(packet).ends_with("\r\n\r\n"));
        }
    }
}

fn decode_all(wire: &[Vec<u8>]) -> Vec<Packet<'_>> {
    wire.iter().map(|octets| hep::decode(octets).unwrap()).collect()
}

#[test]
fn kamailio_hep1_gives_addresses_and_text_but_no_time() {
    let wire = vectors("kamailio-5.6-siptrace-hep1.hexl");
    let packets = decode_all(&wire);
    assert_eq!(packets.len(), 9);
    assert_kamailio_legs(&packets, Version::Hep1, 1);
    assert!(packets.iter().all(|packet| packet.time.is_none() && packet.agent_id.is_none()));
}

#[test]
fn kamailio_hep2_gives_time_and_capture_id_in_little_endian() {
    let wire = vectors("kamailio-5.6-siptrace-hep2.hexl");
    let packets = decode_all(&wire);
    assert_eq!(packets.len(), 9);
    assert_kamailio_legs(&packets, Version::Hep2, 2);
    assert!(packets.iter().all(|packet| packet.agent_id == Some(2001)));
    let first = Timestamp { seconds: 0x6b01_7519, microseconds: 0x000b_97c6 };
    assert_eq!(packets[0].time, Some(first));
    assert!(packets.is_sorted_by_key(|packet| packet.time));
}

#[test]
fn kamailio_hep3_has_a_correlation_id_where_the_script_gave_one() {
    let wire = vectors("kamailio-5.6-siptrace-hep3.hexl");
    let packets = decode_all(&wire);
    assert_eq!(packets.len(), 9);
    assert_kamailio_legs(&packets, Version::Hep3, 3);
    for leg in packets.chunks(3) {
        let ids: Vec<_> = leg.iter().map(|packet| packet.correlation_id).collect();
        assert_eq!(ids, [None, Some(&b"our-session-id"[..]), None]);
    }
    assert!(
        packets.iter().all(|packet| packet.agent_id == Some(2001) && packet.vendor_chunks().count() == 0)
    );
}

/// Both OpenSIPS files hold the same three calls: two over UDP, one that came in over TCP and went on over UDP.
fn assert_opensips_calls(packets: &[Packet<'_>]) {
    assert_eq!(packets.len(), 48);
    let (sip, log): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.protocol_type == Some(1));
    assert_eq!((sip.len(), log.len()), (39, 9));
    for packet in packets {
        assert_eq!(packet.version, Version::Hep3);
        assert_eq!(packet.ip_family, Some(2));
        assert_eq!(packet.src_ip, Some([127, 0, 0, 1].into()));
        assert_eq!(packet.dst_ip, Some([127, 0, 0, 1].into()));
        assert_eq!(packet.agent_id, Some(2002));
        assert_eq!(packet.time.map(|time| time.seconds >> 8), Some(0x006b_0118));
        assert!([packet.src_port, packet.dst_port].contains(&Some(26060)), "one end is the proxy");
    }
    for packet in &log {
        assert_eq!(packet.protocol_type, Some(100));
        assert!(text(packet).starts_with("NOTICE:hello from the script, call "));
        let call = std::str::from_utf8(packet.correlation_id.unwrap()).unwrap();
        assert!(text(packet).contains(call.strip_suffix("@127.0.0.1").unwrap()));
    }
    for packet in &sip {
        assert_eq!(packet.correlation_id, Some(&b"our-session-id"[..]));
    }
    let calls: BTreeSet<_> = sip.iter().map(|packet| call_id(packet)).collect();
    assert_eq!(calls.len(), 3);
    for call in calls {
        let of_call: Vec<_> = sip.iter().filter(|packet| call_id(packet) == call).collect();
        for start in ["INVITE ", "SIP/2.0 100", "SIP/2.0 180", "SIP/2.0 200", "ACK ", "BYE "] {
            assert!(of_call.iter().any(|packet| first_line(packet).starts_with(start)), "{start} in {call}");
        }
    }
    for packet in sip {
        let outside = if packet.src_port == Some(26060) { packet.dst_port } else { packet.src_port };
        let transport = if outside == Some(26082) { 6 } else { 17 };
        assert_eq!(packet.ip_protocol, Some(transport), "port {outside:?}");
    }
}

#[test]
fn opensips_over_udp_gives_calls_and_log_lines() {
    let wire = vectors("opensips-3.6-tracer-udp-transaction.hexl");
    assert_opensips_calls(&decode_all(&wire));
}

#[test]
fn opensips_over_tcp_is_cut_into_packets() {
    let wire = vectors("opensips-3.6-tracer-tcp-dialog.hexl");
    let stream = wire.concat();
    let mut rest = stream.as_slice();
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let Ok(Frame::Complete(len)) = frame(rest) else { panic!("no packet at {}", rest.len()) };
        packets.push(hep::decode(&rest[..len]).unwrap());
        rest = &rest[len..];
    }
    assert_opensips_calls(&packets);
}

#[test]
fn every_vector_survives_encoding_and_every_cut_of_it_is_refused() {
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "hexl"));
    assert_eq!(files.len(), 6, "a new file needs a test that says what it means");
    for file in files {
        for wire in vectors(file.file_name().unwrap().to_str().unwrap()) {
            let packet = hep::decode(&wire).unwrap();
            let mut encoded = Vec::new();
            hep::encode(&packet, &mut encoded).unwrap();
            let again = Packet { version: packet.version, ..hep::decode(&encoded).unwrap() };
            assert_eq!(again, packet);
            if packet.version == Version::Hep3 {
                assert_eq!(encoded.len(), wire.len(), "no chunk is lost");
                for end in 0..wire.len() {
                    assert!(hep::decode(&wire[..end]).is_err());
                }
            }
        }
    }
}
