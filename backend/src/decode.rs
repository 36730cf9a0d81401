//! A spooled record → a message.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::call::message::{CapturedRef, PROTOCOL_SIP, Transport};
use crate::spool::Record;
use crate::tenant::Tenants;
use crate::text;

/// HEP's protocol number for TLS and WebSocket, where the agent tells no more. Chunk 0x0002, as Kamailio sends it.
const PROTOCOL_TLS_OR_WS: u8 = 22;

/// A record cannot be read. Ingest refuses what can't, so this is one of an older version or of a damaged disk.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It isn't HEP.
    #[error(transparent)]
    Hep(#[from] hep::DecodeError),
    /// Its payload does not inflate.
    #[error(transparent)]
    Inflate(#[from] hep::InflateError),
}

/// Reads a record; a compressed payload may inflate to so many octets, and it may be one of these tenants'.
///
/// # Errors
/// When it is not HEP, or its payload does not inflate.
pub fn decode<'a>(
    record: &'a Record,
    inflated_bytes: usize,
    tenants: &Tenants,
) -> Result<CapturedRef<'a>, DecodeError> {
    let packet = hep::decode(&record.hep)?;
    let payload = packet.payload.inflate(inflated_bytes)?;
    let protocol_type = packet.protocol_type.unwrap_or(PROTOCOL_SIP);
    let agent_id = packet.agent_id.unwrap_or(0);
    Ok(CapturedRef {
        captured_at_us: captured_at_us(&packet).unwrap_or(record.received_at_us),
        src: address(packet.src_ip, packet.src_port),
        dst: address(packet.dst_ip, packet.dst_port),
        transport: transport(&packet),
        agent_id,
        agent_name: text(packet.agent_name),
        protocol_type,
        tenant: tenants.of(hep::tenant(&packet), record.peer.ip(), agent_id),
        correlation_id: text(packet.correlation_id),
        // SIP says itself which call it belongs to.
        call_id: text(packet.call_id).filter(|_| protocol_type != PROTOCOL_SIP),
        full_length: packet.full_length,
        raw: payload,
    })
}

/// When the agent saw the message. HEP1 does not say, and some agents send zeros.
fn captured_at_us(packet: &hep::Packet<'_>) -> Option<i64> {
    let time = packet.time.filter(|time| time.seconds > 0)?;
    Some(i64::from(time.seconds) * 1_000_000 + i64::from(time.microseconds.min(999_999)))
}

fn address(ip: Option<IpAddr>, port: Option<u16>) -> SocketAddr {
    SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port.unwrap_or(0))
}

fn transport(packet: &hep::Packet<'_>) -> Transport {
    if let Some(transport) = packet.transport {
        return match transport {
            hep::Transport::Udp => Transport::Udp,
            hep::Transport::Tcp => Transport::Tcp,
            hep::Transport::Tls => Transport::Tls,
            hep::Transport::Sctp => Transport::Sctp,
            hep::Transport::Ws => Transport::Ws,
            hep::Transport::Wss => Transport::Wss,
        };
    }
    transport_of(packet.ip_protocol)
}

/// The transport that an IP protocol number stands for; UDP if it is unknown or not told.
pub fn transport_of(ip_protocol: Option<u8>) -> Transport {
    match ip_protocol {
        Some(6) => Transport::Tcp,
        Some(132) => Transport::Sctp,
        Some(PROTOCOL_TLS_OR_WS) => Transport::Tls,
        _ => Transport::Udp,
    }
}

fn text(octets: Option<&[u8]>) -> Option<Cow<'_, str>> {
    fn trimmed(text: &str) -> &str {
        text.trim_matches('\0').trim()
    }
    let text = match text::lossy(octets?) {
        Cow::Borrowed(text) => Cow::Borrowed(trimmed(text)),
        Cow::Owned(text) => Cow::Owned(trimmed(&text).to_owned()),
    };
    (!text.is_empty()).then_some(text)
}
