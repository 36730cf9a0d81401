//! Whose a packet is, as a collector notes it in the packets that it keeps: a chunk of Siplens.

use crate::chunk::{HEADER_LEN, SIPLENS_TENANT, VENDOR_SIPLENS};
use crate::framing::HEP3_HEADER_LEN;
use crate::key::erase;
use crate::{EncodeError, MAX_PACKET_LEN, Packet};

/// The tenant that a packet names; `None` where it names none, or what it named was erased.
pub fn tenant<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    let named =
        packet.vendor_chunks().filter(|c| (c.vendor, c.id) == (VENDOR_SIPLENS, SIPLENS_TENANT)).last()?;
    (!named.body.iter().all(|octet| *octet == 0)).then_some(named.body)
}

/// Overwrites with zeros what an agent says of its tenant, which it does not decide. The rest stays as it is.
pub fn erase_tenant(packet: &mut [u8]) {
    erase(packet, VENDOR_SIPLENS, SIPLENS_TENANT);
}

/// Notes the tenant in a HEP3 packet that can be read, in place of what stands behind the packet's own length.
///
/// # Errors
/// When the packet would be longer than a packet can be; it is then as before.
pub fn append_tenant(packet: &mut Vec<u8>, tenant: &[u8]) -> Result<(), EncodeError> {
    let own = match *packet.as_slice() {
        [_, _, _, _, high, low, ..] => usize::from(u16::from_be_bytes([high, low])).max(HEP3_HEADER_LEN),
        _ => packet.len(),
    };
    let own = own.min(packet.len());
    let (chunk, len) = (HEADER_LEN + tenant.len(), own + HEADER_LEN + tenant.len());
    let too_long = EncodeError::TooLong { found: len };
    let (Ok(chunk), Ok(length)) = (u16::try_from(chunk), u16::try_from(len)) else { return Err(too_long) };
    if len > MAX_PACKET_LEN {
        return Err(too_long);
    }
    packet.truncate(own);
    packet.extend_from_slice(&VENDOR_SIPLENS.to_be_bytes());
    packet.extend_from_slice(&SIPLENS_TENANT.to_be_bytes());
    packet.extend_from_slice(&chunk.to_be_bytes());
    packet.extend_from_slice(tenant);
    if let Some(field) = packet.get_mut(4..HEP3_HEADER_LEN) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Payload, decode, encode};

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        let packet = Packet { payload: Payload::Plain(payload), agent_id: Some(7), ..Packet::default() };
        encode(&packet, &mut octets).expect("a packet");
        octets
    }

    fn named(octets: &[u8]) -> Option<&[u8]> {
        tenant(&decode(octets).expect("a packet"))
    }

    #[test]
    fn what_is_noted_is_read_and_all_else_is_there() {
        let mut octets = packet(b"payload");
        assert_eq!(named(&octets), None);
        octets.extend_from_slice(b"behind the packet");
        append_tenant(&mut octets, b"acme").expect("room");
        let read = decode(&octets).expect("a packet");
        assert_eq!((tenant(&read), read.agent_id), (Some(&b"acme"[..]), Some(7)));
        assert_eq!(read.payload, Payload::Plain(b"payload"));
    }

    #[test]
    fn what_an_agent_says_of_its_tenant_is_erased_and_the_collectors_word_counts() {
        let mut octets = packet(b"payload");
        append_tenant(&mut octets, b"claimed").expect("room");
        erase_tenant(&mut octets);
        assert_eq!(named(&octets), None);
        assert!(!octets.windows(7).any(|part| part == b"claimed"));
        append_tenant(&mut octets, b"true").expect("room");
        assert_eq!(named(&octets), Some(&b"true"[..]));
        // Without an erasure the last one counts too.
        append_tenant(&mut octets, b"last").expect("room");
        assert_eq!(named(&octets), Some(&b"last"[..]));
    }

    #[test]
    fn a_packet_without_room_for_it_stays_as_it_was() {
        let overhead = packet(b"").len() + HEADER_LEN + 4;
        let mut fits = packet(&vec![b'x'; MAX_PACKET_LEN - overhead]);
        append_tenant(&mut fits, b"acme").expect("room");
        assert_eq!((fits.len(), named(&fits)), (MAX_PACKET_LEN, Some(&b"acme"[..])));
        let full = packet(&vec![b'x'; MAX_PACKET_LEN - overhead + 1]);
        let mut octets = full.clone();
        assert!(matches!(append_tenant(&mut octets, b"acme"), Err(EncodeError::TooLong { found: 65_536 })));
        assert_eq!(octets, full);
    }
}
