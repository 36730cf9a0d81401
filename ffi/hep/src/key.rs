use crate::chunk::{AUTH_KEY, COMPRESSED_PAYLOAD, HEADER_LEN, PAYLOAD, VENDOR_GENERIC};
use crate::framing::{Frame, HEP3_HEADER_LEN, frame, is_magic};

/// Overwrites the authentication key, chunk 0x000e, with zeros, so that the packet can be kept. The rest stays as it
/// is, lengths included. Of a damaged packet, what can be found of a key is overwritten. HEP1 and HEP2 have none.
pub fn erase_key(packet: &mut [u8]) {
    erase(packet, VENDOR_GENERIC, AUTH_KEY);
}

/// Overwrites all payloads, chunks 0x000f and 0x0010, with zeros: a packet may have several, of which the last one counts.
/// HEP1 and HEP2 are left as they are.
pub fn erase_payloads(packet: &mut [u8]) {
    erase(packet, VENDOR_GENERIC, PAYLOAD);
    erase(packet, VENDOR_GENERIC, COMPRESSED_PAYLOAD);
}

/// The packet without what stands behind its own length, which [`decode`](crate::decode()) ignores. What is no HEP3, or is
/// cut short, stays as it is.
pub fn own_octets(packet: &[u8]) -> &[u8] {
    match frame(packet) {
        Ok(Frame::Complete(len)) => packet.get(..len).unwrap_or(packet),
        _ => packet,
    }
}

/// Overwrites the bodies of all chunks of this kind with zeros.
pub(crate) fn erase(packet: &mut [u8], vendor: u16, id: u16) {
    if !matches!(*packet, [a, b, c, d, ..] if is_magic([a, b, c, d])) {
        return;
    }
    let mut rest = packet.get_mut(HEP3_HEADER_LEN..).unwrap_or_default();
    while let Some((&mut [v0, v1, t0, t1, l0, l1], after)) = rest.split_first_chunk_mut::<HEADER_LEN>() {
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(body_len) = length.checked_sub(HEADER_LEN) else { return };
        let (body, next) = after.split_at_mut(body_len.min(after.len()));
        if (u16::from_be_bytes([v0, v1]), u16::from_be_bytes([t0, t1])) == (vendor, id) {
            body.fill(0);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, Payload, decode, encode};

    fn packet(key: Option<&'static [u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let packet = Packet {
            auth_key: key,
            payload: Payload::Plain(b"a-secret in the payload"),
            ..Packet::default()
        };
        encode(&packet, &mut bytes).expect("a packet");
        bytes
    }

    #[test]
    fn the_key_is_gone_and_all_else_is_there() {
        let mut bytes = packet(Some(b"a-secret"));
        erase_key(&mut bytes);
        let erased = decode(&bytes).expect("still a packet");
        assert_eq!(erased.auth_key, Some(&[0; 8][..]));
        assert_eq!(erased.payload, Payload::Plain(b"a-secret in the payload"));
        let mut without = packet(None);
        erase_key(&mut without);
        assert_eq!(without, packet(None));
    }

    #[test]
    fn a_cut_packet_keeps_no_part_of_its_key() {
        let whole = packet(Some(b"KKKKKKKKKKKK"));
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            erase_key(&mut cut);
            assert!(!cut.contains(&b'K'), "{length}");
            assert_eq!(cut.len(), length);
        }
    }

    #[test]
    fn all_payloads_go_and_what_stands_behind_the_packet_too() {
        let mut bytes = packet(Some(b"key"));
        let compressed = [&[0, 0, 0, 16, 0, 12][..], b"SECRET"].concat();
        bytes.splice(6..6, compressed);
        let length = bytes.len() as u16;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        let whole = bytes.clone();
        bytes.extend_from_slice(b"a-secret behind");
        assert_eq!(own_octets(&bytes), whole);
        assert_eq!(own_octets(&whole[..10]), &whole[..10]);
        assert_eq!(own_octets(b"\x01\x10more"), b"\x01\x10more");
        let mut erased = whole.clone();
        erase_payloads(&mut erased);
        assert_eq!(erased.len(), whole.len());
        let read = decode(&erased).expect("still a packet");
        assert_eq!((read.auth_key, read.payload), (Some(&b"key"[..]), Payload::Plain(&[0; 23])));
        assert!(!erased.windows(6).any(|part| part.eq_ignore_ascii_case(b"secret")));
    }

    #[test]
    fn what_is_no_hep3_is_left_alone() {
        for bytes in [&b""[..], b"HEP", b"\x01\x10\x02\x11", b"HEP3", b"HEP3\0\x06\0\0\0\x0e\0\x01x"] {
            let mut copy = bytes.to_vec();
            erase_key(&mut copy);
            assert_eq!(copy, bytes);
        }
    }
}
