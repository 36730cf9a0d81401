//! What lets a collector know what it missed and what it has already, and lets a sender know what is safe.

use crate::chunk::{HEADER_LEN, SIPLENS_SEQUENCE, VENDOR_SIPLENS};
use crate::framing::{Frame, HEP3_HEADER_LEN, frame};

/// Octets of a sequence chunk's body: three numbers.
const BODY_LEN: usize = 24;

/// Octets that a sequence takes in a packet.
pub const SEQUENCE_LEN: usize = HEADER_LEN + BODY_LEN;

/// Which packet of a sender's this is. Siplens' vendor chunk 0x0101.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// The sender's life and what it sends to: a random number. Another life is another stream.
    pub stream: u64,
    /// The packet's number in the stream, from 1 on. What is sent again keeps its number.
    pub number: u64,
    /// The first number that goes to this collector since the sender changed to it: those before went elsewhere, and
    /// are not missing.
    pub first: u64,
}

/// What a collector has of a stream. Siplens' vendor chunk 0x0102, in a packet that a collector sends to an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acknowledged {
    /// The stream.
    pub stream: u64,
    /// All packets up to this number are where no crash loses them; 0 for none yet.
    pub number: u64,
}

impl Sequence {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (numbers, []) = body.as_chunks::<8>() else { return None };
        let &[stream, number, first] = numbers else { return None };
        let [stream, number, first] = [stream, number, first].map(u64::from_be_bytes);
        Some(Self { stream, number, first })
    }

    pub(crate) fn body(self) -> [u8; BODY_LEN] {
        let mut body = [0; BODY_LEN];
        let numbers = [self.stream, self.number, self.first];
        for (to, number) in body.as_chunks_mut().0.iter_mut().zip(numbers) {
            *to = number.to_be_bytes();
        }
        body
    }

    /// Puts this sequence into a packet in which [`append_sequence`] made room for one; other packets stay as they are.
    pub fn stamp(self, packet: &mut [u8]) {
        let Some((chunk, body)) =
            packet.last_chunk_mut::<SEQUENCE_LEN>().and_then(|chunk| chunk.split_first_chunk_mut())
        else {
            return;
        };
        if *chunk == HEADER {
            body.copy_from_slice(&self.body());
        }
    }
}

impl Acknowledged {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (numbers, []) = body.as_chunks::<8>() else { return None };
        let &[stream, number] = numbers else { return None };
        Some(Self { stream: u64::from_be_bytes(stream), number: u64::from_be_bytes(number) })
    }

    pub(crate) fn body(self) -> [u8; 16] {
        (u128::from(self.stream) << 64 | u128::from(self.number)).to_be_bytes()
    }
}

const HEADER: [u8; HEADER_LEN] = {
    let ([v0, v1], [t0, t1]) = (VENDOR_SIPLENS.to_be_bytes(), SIPLENS_SEQUENCE.to_be_bytes());
    [v0, v1, t0, t1, 0, SEQUENCE_LEN as u8]
};

/// Appends a HEP3 packet to `out`, with room for a sequence at its end, which [`Sequence::stamp`] fills in. `false`, and
/// nothing appended, if `packet` is not one whole packet, or would be longer than a packet can be.
pub fn append_sequence(packet: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(len) = u16::try_from(packet.len() + SEQUENCE_LEN).ok() else { return false };
    if frame(packet) != Ok(Frame::Complete(packet.len())) {
        return false;
    }
    let Some((magic, chunks)) = packet.split_first_chunk::<4>() else { return false };
    out.reserve(len.into());
    out.extend_from_slice(magic);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(chunks.get(HEP3_HEADER_LEN - 4..).unwrap_or_default());
    out.extend_from_slice(&HEADER);
    out.extend_from_slice(&[0; BODY_LEN]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, Payload, decode, encode};

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let packet = Packet { payload: Payload::Plain(payload), ..Packet::default() };
        encode(&packet, &mut bytes).expect("a packet");
        bytes
    }

    #[test]
    fn a_packet_gets_its_sequence_and_stays_what_it_is() {
        let mut out = b"before".to_vec();
        assert!(append_sequence(&packet(b"OPTIONS"), &mut out));
        let numbered = &mut out[6..];
        let sequence = Sequence { stream: u64::MAX - 1, number: 7, first: 3 };
        for sequence in [sequence, Sequence { first: 6, ..sequence }] {
            sequence.stamp(numbered);
            let read = decode(numbered).expect("still a packet");
            assert_eq!(read.sequence, Some(sequence));
            assert_eq!(Packet { sequence: None, ..read }, decode(&packet(b"OPTIONS")).expect("a packet"));
        }
    }

    #[test]
    fn what_is_no_packet_or_too_long_is_not_appended() {
        let mut out = Vec::new();
        let cut = packet(b"OPTIONS");
        assert!(!append_sequence(&cut[..cut.len() - 1], &mut out));
        assert!(!append_sequence(b"", &mut out));
        assert!(!append_sequence(&[packet(b"a"), packet(b"b")].concat(), &mut out));
        let longest = packet(&vec![b'x'; crate::MAX_PACKET_LEN - 12 - SEQUENCE_LEN]);
        assert!(!append_sequence(&packet(&vec![b'x'; longest.len() - 11]), &mut out));
        assert!(out.is_empty());
        assert!(append_sequence(&longest, &mut out));
        assert_eq!(out.len(), crate::MAX_PACKET_LEN);
    }

    #[test]
    fn a_packet_without_room_for_one_is_left_alone() {
        for mut bytes in [Vec::new(), b"HEP3".to_vec(), packet(b"0123456789012345678901234567890123456789")] {
            let before = bytes.clone();
            Sequence::default().stamp(&mut bytes);
            assert_eq!(bytes, before);
        }
    }
}
