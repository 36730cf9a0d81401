//! Which calls are kept where only some are.

use hep::Packet;
use xxhash_rust::xxh3::xxh3_64;

/// Whether a packet is of a call that is kept, where one in so many is. The Call-ID alone decides, so a call is kept as a
/// whole, and on each node alike. What names no call is kept.
pub(super) fn keeps(one_in: u32, packet: &Packet<'_>, sip: Option<&[u8]>) -> bool {
    let call_id = match sip {
        // One that stands far behind is found by reading all headers.
        Some(raw) => sip::call_id(raw).or_else(|| sip::parse(raw).ok()?.call_id()),
        None => packet.call_id.filter(|id| !id.is_empty()),
    };
    call_id.is_none_or(|call_id| xxh3_64(call_id).is_multiple_of(u64::from(one_in.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_kept_as_a_whole_or_not_at_all() {
        let mut kept = 0;
        for n in 0..4000 {
            let request = format!("INVITE sip:x SIP/2.0\r\nCall-ID: {n}@host\r\n\r\n");
            let reply = format!("SIP/2.0 200 OK\r\nTo: y\r\ni: {n}@host\r\n\r\n");
            let far = format!("BYE sip:x SIP/2.0\r\nX: {}\r\nCall-ID: {n}@host\r\n\r\n", "y".repeat(9000));
            let call_id = format!("{n}@host");
            let event = Packet { call_id: Some(call_id.as_bytes()), ..Packet::default() };
            let sip = |raw: &String| keeps(4, &Packet::default(), Some(raw.as_bytes()));
            let decided = [sip(&request), sip(&reply), sip(&far), keeps(4, &event, None)];
            assert!(decided == [true; 4] || decided == [false; 4], "{n}: {decided:?}");
            kept += u32::from(decided[0]);
        }
        assert!((900..1100).contains(&kept), "{kept}");
    }

    #[test]
    fn the_decision_is_that_of_every_version() {
        // Nodes of different versions must agree: these are part of the format, so to say.
        let keeps = |id: &str| keeps(4, &Packet { call_id: Some(id.as_bytes()), ..Packet::default() }, None);
        let kept: Vec<_> = (0..20).filter(|n| keeps(&format!("{n}@host"))).collect();
        assert_eq!(kept, [7, 13]);
    }

    #[test]
    fn what_names_no_call_is_kept() {
        assert!(keeps(1000, &Packet::default(), None));
        assert!(keeps(1000, &Packet::default(), Some(b"INVITE sip:x SIP/2.0\r\n\r\n")));
        assert!(keeps(1000, &Packet::default(), Some(b"\xff\xff")));
    }
}
