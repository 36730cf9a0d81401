//! A call as a classic pcap file with µs (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>), link type RAW:
//! each packet begins with its IP header.
//!
//! Events are left out: they were never packets between these hosts.
//!
//! The headers are made up around what was captured, so that tools follow it: right addresses, ports and transport,
//! running sequence numbers, valid checksums. TLS and WebSocket are gone from what was captured (a proxy sees the
//! message inside), so these are TCP with the bare message.

mod sctp;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use etherparse::{IpNumber, PacketBuilder};

use crate::call::Call;
use crate::call::message::{Captured, Transport};

/// Written by the machine that reads it first, so in its order; ours is always little-endian.
const MAGIC_US: u32 = 0xa1b2_c3d4;

/// LINKTYPE_RAW.
const LINK_RAW: u32 = 101;

/// The largest IP packet.
const SNAP_LEN: u32 = 65_535;

/// Hops left, as usual for a host's own packet.
const TTL: u8 = 64;

/// Payload of one packet at most, below every header's bound: 65,535 less 20 (IPv4) and 60 (TCP with options).
const MOST_PAYLOAD: usize = 65_400;

/// What a first sequence number is; any would do.
const FIRST_SEQUENCE: u32 = 1;

/// A window that never closes.
const WINDOW: u16 = 65_535;

type Direction = (SocketAddr, SocketAddr);

/// A call as a pcap file.
#[must_use]
pub fn pcap(call: &Call) -> Vec<u8> {
    let size: usize = call.messages.iter().map(|m| m.captured.raw.len() + 80).sum();
    let mut file = Vec::with_capacity(24 + size);
    file.extend_from_slice(&MAGIC_US.to_le_bytes());
    file.extend_from_slice(&2u16.to_le_bytes());
    file.extend_from_slice(&4u16.to_le_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&SNAP_LEN.to_le_bytes());
    file.extend_from_slice(&LINK_RAW.to_le_bytes());
    let mut streams = Streams::default();
    for message in &call.messages {
        let captured = &message.captured;
        let mut rest = captured.raw.as_ref();
        // At least one packet, also for a message without a payload.
        loop {
            let (payload, after) = rest.split_at(rest.len().min(MOST_PAYLOAD));
            record(&mut file, captured.captured_at_us, &packet(captured, payload, &mut streams));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    file
}

fn record(file: &mut Vec<u8>, time_us: i64, packet: &[u8]) {
    let seconds = u32::try_from(time_us.div_euclid(1_000_000)).unwrap_or(0);
    let micros = u32::try_from(time_us.rem_euclid(1_000_000)).unwrap_or(0);
    let size = u32::try_from(packet.len()).unwrap_or(SNAP_LEN);
    for word in [seconds, micros, size, size] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(packet);
}

/// Where each direction of each stream stands.
#[derive(Default)]
struct Streams(HashMap<Direction, u32>);

impl Streams {
    /// The number of the next octet from here to there.
    fn next(&self, direction: Direction) -> u32 {
        self.0.get(&direction).copied().unwrap_or(FIRST_SEQUENCE)
    }

    fn advance(&mut self, direction: Direction, by: u32) {
        let next = self.next(direction).wrapping_add(by);
        self.0.insert(direction, next);
    }
}

fn packet(captured: &Captured, payload: &[u8], streams: &mut Streams) -> Vec<u8> {
    let (src, dst) = (captured.src, captured.dst);
    let (direction, back) = ((src, dst), (dst, src));
    let mut packet = Vec::with_capacity(payload.len() + 80);
    let ip = match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => PacketBuilder::ipv4(src.octets(), dst.octets(), TTL),
        // One of each cannot be, but an agent may say so.
        (src, dst) => PacketBuilder::ipv6(v6(src).octets(), v6(dst).octets(), TTL),
    };
    let written = match captured.transport {
        Transport::Udp => ip.udp(src.port(), dst.port()).write_to_vec(&mut packet, payload),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
            let sequence = streams.next(direction);
            streams.advance(direction, u32::try_from(payload.len()).unwrap_or(0));
            ip.tcp(src.port(), dst.port(), sequence, WINDOW)
                .psh()
                .ack(streams.next(back))
                .write_to_vec(&mut packet, payload)
        }
        Transport::Sctp => {
            let chunk = streams.next(direction);
            streams.advance(direction, 1);
            let data = sctp::data(src.port(), dst.port(), chunk, payload);
            ip.write_to_vec(&mut packet, IpNumber::SCTP, &data)
        }
    };
    if let Err(error) = written {
        // Sizes are bounded above, so this would be a mistake of ours; the file stays readable without the packet.
        tracing::error!(%error, "a packet cannot be written");
    }
    packet
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;
    use crate::call::sample::{START_US, Sample, answered, call, request};

    /// The packets of a file: time in µs, and octets from the IP header on.
    fn packets(file: &[u8]) -> Vec<(i64, Vec<u8>)> {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four octets"));
        assert_eq!((word(0), word(16), word(20)), (MAGIC_US, SNAP_LEN, LINK_RAW));
        let mut packets = Vec::new();
        let mut at = 24;
        while at < file.len() {
            let size = word(at + 8) as usize;
            assert_eq!(size, word(at + 12) as usize);
            let time_us = i64::from(word(at)) * 1_000_000 + i64::from(word(at + 4));
            packets.push((time_us, file[at + 16..at + 16 + size].to_vec()));
            at += 16 + size;
        }
        packets
    }

    fn over(transport: Transport) -> Call {
        call(&answered().into_iter().map(|sample| sample.over(transport)).collect::<Vec<_>>())
    }

    #[test]
    fn udp_messages_come_back_with_time_addresses_and_every_octet() {
        let call = over(Transport::Udp);
        let packets = packets(&pcap(&call));
        assert_eq!(packets.len(), call.messages.len());
        assert_eq!(packets[3].0, START_US + 1_020_000);
        for ((_, packet), message) in packets.iter().zip(&call.messages) {
            let sliced = SlicedPacket::from_ip(packet).expect("an IP packet");
            let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("{:?}", sliced.net) };
            assert_eq!(IpAddr::from(ip.header().source_addr()), message.captured.src.ip());
            assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
            let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("{:?}", sliced.transport) };
            assert_eq!(udp.source_port(), message.captured.src.port());
            assert_eq!(udp.destination_port(), message.captured.dst.port());
            assert_eq!(udp.payload(), message.captured.raw);
        }
    }

    #[test]
    fn tcp_sequence_numbers_run_on_in_each_direction() {
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            let call = over(transport);
            let mut next: HashMap<u16, u32> = HashMap::new();
            for ((_, packet), message) in packets(&pcap(&call)).iter().zip(&call.messages) {
                let sliced = SlicedPacket::from_ip(packet).expect("an IP packet");
                let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
                    panic!("{:?}", sliced.transport)
                };
                assert_eq!(tcp.payload(), message.captured.raw);
                let from = message.captured.src.ip().is_ipv4().then_some(message.captured.src).expect("IPv4");
                let side = if from.to_string() == "192.0.2.1:5060" { 1 } else { 2 };
                assert_eq!(tcp.sequence_number(), next.get(&side).copied().unwrap_or(FIRST_SEQUENCE));
                assert_eq!(
                    tcp.acknowledgment_number(),
                    next.get(&(3 - side)).copied().unwrap_or(FIRST_SEQUENCE)
                );
                *next.entry(side).or_insert(FIRST_SEQUENCE) +=
                    u32::try_from(tcp.payload().len()).expect("small");
            }
        }
    }

    #[test]
    fn ipv6_and_mixed_families_are_written_as_ipv6() {
        let v6 = request(0, "INVITE").hop("[2001:db8::1]:5060", "[2001:db8::2]:5060");
        let mixed = request(1, "INVITE").hop("192.0.2.1:5060", "[2001:db8::2]:5060");
        let packets = packets(&pcap(&call(&[v6, mixed])));
        let sources: Vec<_> = packets
            .iter()
            .map(|(_, packet)| match SlicedPacket::from_ip(packet).expect("an IP packet").net {
                Some(NetSlice::Ipv6(ip)) => ip.header().source_addr().to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sources, ["2001:db8::1", "::ffff:192.0.2.1"]);
    }

    #[test]
    fn a_message_larger_than_a_packet_is_split_and_none_of_it_lost() {
        let raw: Bytes = (0..200_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
        for transport in [Transport::Udp, Transport::Tcp, Transport::Sctp] {
            for hop in [("192.0.2.1:5060", "192.0.2.2:5060"), ("[2001:db8::1]:5060", "[2001:db8::2]:5060")] {
                let mut call = call(&[request(0, "INVITE").hop(hop.0, hop.1).over(transport)]);
                call.messages[0].captured.raw = raw.clone();
                let packets = packets(&pcap(&call));
                assert_eq!(packets.len(), 4);
                assert!(packets.iter().all(|(_, packet)| packet.len() <= SNAP_LEN as usize));
                let found: Vec<u8> = packets
                    .iter()
                    .flat_map(|(_, packet)| {
                        let sliced = SlicedPacket::from_ip(packet).expect("an IP packet");
                        match sliced.transport {
                            Some(TransportSlice::Udp(udp)) => udp.payload().to_vec(),
                            Some(TransportSlice::Tcp(tcp)) => tcp.payload().to_vec(),
                            _ => sctp_payload(sliced.ip_payload().expect("a payload").payload).to_vec(),
                        }
                    })
                    .collect();
                assert_eq!(found, raw, "{transport}");
            }
        }
    }

    fn sctp_payload(packet: &[u8]) -> &[u8] {
        let size = usize::from(u16::from_be_bytes([packet[14], packet[15]]));
        let mut zeroed = packet.to_vec();
        zeroed[8..12].fill(0);
        assert_eq!(crate::checksum::crc32c([&zeroed]).to_le_bytes(), packet[8..12]);
        &packet[28..12 + size]
    }

    #[test]
    fn odd_times_and_empty_messages_do_no_harm() {
        let sample: Sample = request(0, "INVITE");
        for time_us in [i64::MIN, -1, 0, i64::MAX] {
            let mut call = call(std::slice::from_ref(&sample));
            call.messages[0].captured.captured_at_us = time_us;
            call.messages[0].captured.raw = Bytes::new();
            assert_eq!(packets(&pcap(&call)).len(), 1);
        }
    }
}
