//! A row of Homer's → a message.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;

use crate::call::message::{Captured, PROTOCOL_SIP};
use crate::decode::transport_of;
use crate::tenant::Tenants;

/// What is read of a row. Texts are what the database shows; JSON values as texts, whatever kind they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Row {
    /// Column `create_date`, µs since the epoch.
    pub at_us: i64,
    /// Column `sid`: the Call-ID of SIP, the correlation id of everything else.
    pub sid: Option<String>,
    /// Column `raw`.
    pub raw: Option<Vec<u8>>,
    /// Column `protocol_header`, by the names in [`HEADER`].
    pub header: [Option<String>; HEADER.len()],
}

/// The fields of `protocol_header` that are read. `capturePass`, the agents' password, is none of them.
pub const HEADER: [&str; 10] = [
    "srcIp",
    "srcPort",
    "dstIp",
    "dstPort",
    "protocol",
    "timeSeconds",
    "timeUseconds",
    "payloadType",
    "captureId",
    "correlation_id",
];

/// Why a row is no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeftOut {
    /// Nothing was captured, or not kept.
    WithoutPayload,
}

impl Row {
    /// Its octets in memory, about.
    pub fn bytes(&self) -> usize {
        let header = self.header.iter().flatten().map(String::len).sum::<usize>();
        self.raw.as_ref().map_or(0, Vec::len) + self.sid.as_ref().map_or(0, String::len) + header
    }
}

/// Whose messages they are.
#[derive(Clone, Debug, Default)]
pub struct Whose {
    /// Those who share the backend.
    pub tenants: Tenants,
    /// The one whose all are.
    pub noted: Option<String>,
}

/// The message of a row, and whether the row tells both its ends. `protocol_type` is that of the table.
pub fn read(row: Row, protocol_type: u8, whose: &Whose) -> Result<(Captured, bool), LeftOut> {
    let raw = row.raw.filter(|raw| !raw.is_empty()).ok_or(LeftOut::WithoutPayload)?;
    let [src_ip, src_port, dst_ip, dst_port, protocol, seconds, useconds, payload_type, capture_id, id] =
        row.header.map(|field| field.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
    let (src, dst) = (address(src_ip, src_port), address(dst_ip, dst_port));
    let protocol_type = number(payload_type).filter(|number| *number > 0).unwrap_or(protocol_type);
    // Homer puts an agent's name in place of its id.
    let agent_id = capture_id.as_deref().and_then(|text| text.parse().ok());
    let agent_name = capture_id.filter(|_| agent_id.is_none());
    let id = id.or_else(|| row.sid.filter(|sid| protocol_type != PROTOCOL_SIP && !sid.is_empty()));
    let agent_id = agent_id.unwrap_or(0);
    let captured = Captured {
        captured_at_us: time_us(number(seconds), number(useconds)).unwrap_or(row.at_us),
        src: src.unwrap_or(NOWHERE),
        dst: dst.unwrap_or(NOWHERE),
        transport: transport_of(number(protocol)),
        agent_id,
        agent_name: agent_name.map(Into::into),
        protocol_type,
        // Where the agent sent from Homer does not keep.
        tenant: whose.tenants.of(whose.noted.as_deref().map(str::as_bytes), NOWHERE.ip(), agent_id),
        correlation_id: id.map(Into::into),
        call_id: None,
        full_length: None,
        raw: Bytes::from(raw),
    };
    Ok((captured, src.is_some() && dst.is_some()))
}

/// What a message without an address has, as when an agent does not say it.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn address(ip: Option<String>, port: Option<String>) -> Option<SocketAddr> {
    let ip = ip?.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, number(port)?))
}

fn number<N: std::str::FromStr>(text: Option<String>) -> Option<N> {
    text?.parse().ok()
}

fn time_us(seconds: Option<u32>, useconds: Option<u32>) -> Option<i64> {
    let seconds = seconds.filter(|seconds| *seconds > 0)?;
    Some(i64::from(seconds) * 1_000_000 + i64::from(useconds.unwrap_or(0).min(999_999)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::call::message::Transport;
    use crate::tenant::Tenant;

    const INVITE: &[u8] = b"INVITE sip:b@h SIP/2.0\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";

    fn row(fields: &[(&str, &str)]) -> Row {
        let field =
            |name| fields.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        Row { at_us: 7, sid: Some("c1".to_owned()), raw: Some(INVITE.to_vec()), header: HEADER.map(field) }
    }

    #[test]
    fn a_whole_row_is_the_message_that_homer_was_sent() {
        let row = row(&[
            ("srcIp", "192.0.2.1"),
            ("srcPort", "5060"),
            ("dstIp", "2001:db8::2"),
            ("dstPort", " 5061"),
            ("protocol", "6"),
            ("timeSeconds", "1700000000"),
            ("timeUseconds", "42"),
            ("payloadType", "1"),
            ("captureId", "2001"),
            ("correlation_id", "session"),
        ]);
        let (found, is_located) = read(row, 100, &Whose::default()).expect("a message");
        assert!(is_located);
        assert_eq!(found.captured_at_us, 1_700_000_000_000_042);
        assert_eq!(found.src, "192.0.2.1:5060".parse().expect("an address"));
        assert_eq!(found.dst, "[2001:db8::2]:5061".parse().expect("an address"));
        assert_eq!((found.transport, found.protocol_type), (Transport::Tcp, PROTOCOL_SIP));
        assert_eq!((found.agent_id, &found.agent_name), (2001, &None));
        assert_eq!(found.correlation_id.as_deref(), Some("session"));
        assert_eq!(found.raw, INVITE);
    }

    #[test]
    fn what_a_row_does_not_say_is_taken_from_elsewhere_or_left_open() {
        let (found, is_located) =
            read(row(&[("srcIp", "nowhere"), ("srcPort", "-1")]), PROTOCOL_SIP, &Whose::default())
                .expect("a message");
        assert!(!is_located);
        assert_eq!((found.src, found.dst, found.captured_at_us), (NOWHERE, NOWHERE, 7));
        assert_eq!((found.agent_id, found.transport), (0, Transport::Udp));
        // A Call-ID is in the message itself.
        assert_eq!(found.correlation_id, None);
        let (log, _) = read(row(&[("captureId", "edge-1")]), 100, &Whose::default()).expect("an event");
        assert_eq!(log.correlation_id.as_deref(), Some("c1"));
        assert_eq!(log.agent_name.as_deref(), Some("edge-1"));
    }

    #[test]
    fn rows_are_the_tenants_that_is_named_or_whose_agent_it_was() {
        let tenant = Tenant { name: "acme".into(), networks: Vec::new(), agents: vec![7] };
        let mut whose = Whose { tenants: Tenants::new(vec![tenant]), noted: None };
        let of = |agent: &str, whose: &Whose| {
            let (found, _) = read(row(&[("captureId", agent)]), 1, whose).expect("a message");
            found.tenant.map(|name| name.to_string())
        };
        assert_eq!((of("7", &whose).as_deref(), of("8", &whose)), (Some("acme"), None));
        whose.noted = Some("bell".to_owned());
        assert_eq!(of("7", &whose).as_deref(), Some("bell"));
    }

    #[test]
    fn a_row_without_payload_is_left_out() {
        for raw in [None, Some(Vec::new())] {
            assert_eq!(read(Row { raw, ..row(&[]) }, 1, &Whose::default()), Err(LeftOut::WithoutPayload));
        }
    }

    proptest! {
        #[test]
        fn no_content_of_a_row_makes_anything_panic(
            raw in prop::collection::vec(any::<u8>(), 1..300),
            header in prop::array::uniform10(prop::option::of(".{0,20}")),
            protocol_type in any::<u8>(), at_us in any::<i64>(),
        ) {
            let row = Row { at_us, sid: None, raw: Some(raw.clone()), header };
            let (found, _) = read(row, protocol_type, &Whose::default()).expect("it has a payload");
            prop_assert_eq!(&found.raw[..], &raw[..]);
        }
    }
}
