//! What is made unreadable before it is kept.

use hep::{Packet, Payload};
use prometheus_client::metrics::counter::Counter;

/// A rule about SIP messages.
#[derive(Clone, Debug, Default)]
pub struct MaskRule {
    /// What it is counted under.
    pub name: String,
    /// Methods of requests, and by their CSeq of replies; all where it is empty, also of what has no method.
    pub methods: Vec<String>,
    /// What of them.
    pub mask: sip::Mask,
    /// Counts packets that match.
    pub counter: Counter,
}

/// The packet cannot be written with what is masked in it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Unmaskable;

/// The packet with everything masked in its payload that is to be; `None` if there is nothing of that in it.
pub(super) fn apply(
    rules: &[MaskRule],
    octets: &[u8],
    packet: &Packet<'_>,
    sip: &[u8],
) -> Result<Option<Vec<u8>>, Unmaskable> {
    let mut places = Vec::new();
    for rule in rules.iter().filter(|rule| rule.is_about(sip)) {
        let before = places.len();
        rule.mask.find(sip, |place| places.push(place));
        if places.len() > before {
            rule.counter.inc();
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    let cover = |copy: &mut [u8], from: usize| {
        for place in &places {
            let place = from + place.start..from + place.end;
            sip::cover(copy.get_mut(place).ok_or(Unmaskable)?);
        }
        Ok(())
    };
    match packet.payload {
        Payload::None => Ok(None),
        // What was lent lies in the packet.
        Payload::Plain(payload) => {
            let from = payload.as_ptr().addr().checked_sub(octets.as_ptr().addr()).ok_or(Unmaskable)?;
            let mut copy = hep::own_octets(octets).to_vec();
            // One that does not count may say the same.
            hep::erase_payloads(&mut copy);
            let place = copy.get_mut(from..).and_then(|rest| rest.get_mut(..payload.len()));
            place.ok_or(Unmaskable)?.copy_from_slice(payload);
            cover(&mut copy, from)?;
            Ok(Some(copy))
        }
        Payload::Compressed(_) => {
            let mut copy = sip.to_vec();
            cover(&mut copy, 0)?;
            let compressed = hep::compress(&copy);
            let masked = Packet { payload: Payload::Compressed(&compressed), ..packet.clone() };
            let mut copy = Vec::new();
            hep::encode(&masked, &mut copy).map_err(|_| Unmaskable)?;
            Ok(Some(copy))
        }
    }
}

impl MaskRule {
    fn is_about(&self, sip: &[u8]) -> bool {
        // Of what cannot be read nobody knows that it may be seen.
        let Ok(message) = sip::parse(sip) else { return true };
        let of = |method: &[u8]| self.methods.iter().any(|wanted| wanted.as_bytes() == method);
        self.methods.is_empty() || message.method().is_none_or(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] =
        b"MESSAGE sip:b@h SIP/2.0\r\nCSeq: 1 MESSAGE\r\nAuthorization: Digest x\r\n\r\nPIN 4711";

    fn rule(methods: &[&str], headers: &[&str], body: &str) -> MaskRule {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let body = sip::BodyMask::parse(body.split_whitespace()).expect("types");
        let mask = sip::Mask { headers: texts(headers), body, body_lines: Vec::new() };
        MaskRule { methods: texts(methods), mask, ..MaskRule::default() }
    }

    fn masked(rules: &[MaskRule], payload: Payload<'_>) -> Option<Vec<u8>> {
        let whole =
            Packet { agent_id: Some(7), correlation_id: Some(b"PIN 4711"), payload, ..Packet::default() };
        let mut octets = Vec::new();
        hep::encode(&whole, &mut octets).expect("a packet");
        let packet = hep::decode(&octets).expect("a packet");
        let sip = packet.payload.inflate(1 << 20).expect("it inflates");
        let masked = apply(rules, &octets, &packet, &sip).expect("maskable")?;
        let packet = hep::decode(&masked).expect("still a packet");
        assert_eq!((packet.agent_id, packet.correlation_id), (Some(7), Some(&b"PIN 4711"[..])));
        Some(packet.payload.inflate(1 << 20).expect("it inflates").into_owned())
    }

    #[test]
    fn all_rules_that_match_are_applied_also_to_a_compressed_payload() {
        let rules = [
            rule(&["MESSAGE"], &[], "all"),
            rule(&[], &["Authorization"], ""),
            rule(&["INVITE"], &["CSeq"], ""),
        ];
        let expected =
            b"MESSAGE sip:b@h SIP/2.0\r\nCSeq: 1 MESSAGE\r\nAuthorization: xxxxxxxx\r\n\r\nxxxxxxxx";
        let compressed = hep::compress(RAW);
        for payload in [Payload::Plain(RAW), Payload::Compressed(&compressed)] {
            assert_eq!(masked(&rules, payload).as_deref(), Some(&expected[..]));
        }
        assert_eq!(masked(&rules[2..], Payload::Plain(RAW)), None);
        assert_eq!(masked(&rules[..1], Payload::Plain(b"BYE sip:x SIP/2.0\r\n\r\nbody")), None);
    }

    #[test]
    fn a_payload_that_does_not_count_and_what_stands_behind_the_packet_are_not_kept() {
        let mut octets = Vec::new();
        hep::encode(&Packet { payload: Payload::Plain(RAW), ..Packet::default() }, &mut octets)
            .expect("a packet");
        let first = [&[0, 0, 0, 15][..], &(6 + RAW.len() as u16).to_be_bytes(), RAW].concat();
        octets.splice(6..6, first);
        let length = octets.len() as u16;
        octets[4..6].copy_from_slice(&length.to_be_bytes());
        octets.extend_from_slice(RAW);
        let packet = hep::decode(&octets).expect("a packet");
        let masked =
            apply(&[rule(&[], &[], "all")], &octets, &packet, RAW).expect("maskable").expect("masked");
        assert!(!masked.windows(4).any(|part| part == b"4711"), "{}", masked.escape_ascii());
        let kept = hep::decode(&masked).expect("still a packet").payload;
        assert!(kept.plain().is_some_and(|kept| kept.starts_with(b"MESSAGE") && kept.len() == RAW.len()));
    }

    #[test]
    fn what_is_no_sip_and_what_has_no_method_is_masked_by_every_rule() {
        let rules = [rule(&["MESSAGE"], &[], "all")];
        for (raw, expected) in [
            (&b"MESSAG\r\n\r\nbody"[..], &b"MESSAG\r\n\r\nxxxx"[..]),
            (b"SIP/2.0 200 OK\r\n\r\nbody", b"SIP/2.0 200 OK\r\n\r\nxxxx"),
        ] {
            assert_eq!(masked(&rules, Payload::Plain(raw)).as_deref(), Some(expected));
        }
    }
}
