//! SCTP around one message: the common header and one DATA chunk. RFC 9260 §3.1, §3.3.1.

use crate::checksum::crc32c;

/// DATA.
const TYPE_DATA: u8 = 0;

/// Whole message: first and last fragment at once.
const WHOLE: u8 = 0b11;

/// One packet with one message. `number` is the chunk's TSN.
pub fn data(src_port: u16, dst_port: u16, number: u32, payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(16 + payload.len()).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(28 + payload.len() + 3);
    packet.extend_from_slice(&src_port.to_be_bytes());
    packet.extend_from_slice(&dst_port.to_be_bytes());
    // Verification tag, and the checksum, which is computed with zeros here.
    packet.extend_from_slice(&1u32.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(&[TYPE_DATA, WHOLE]);
    packet.extend_from_slice(&size.to_be_bytes());
    packet.extend_from_slice(&number.to_be_bytes());
    // Stream 0, its message's number, and no payload protocol, as RFC 4168 asks.
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&((number & 0xffff) as u16).to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(payload);
    packet.resize(packet.len().next_multiple_of(4), 0);
    // Little-endian, other than all else. RFC 9260, Appendix A.
    let checksum = crc32c([&packet]).to_le_bytes();
    if let Some(place) = packet.get_mut(8..12) {
        place.copy_from_slice(&checksum);
    }
    packet
}
