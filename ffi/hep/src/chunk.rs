//! The table of chunks. A chunk is a vendor id, a type id, a length and a body; what the generic ones (vendor 0) mean
//! is written here once. Decoder and encoder are generated from this table, a test compares `docs/hep.md` with it.
//!
//! Source: HEP3 rev. 37, "Generic chunk types".

mod wire;

pub(crate) use wire::{Mac, Wire};

/// Vendor id of the generic chunks.
pub const VENDOR_GENERIC: u16 = 0x0000;

/// Vendor id of Siplens: "SL". It is not registered; see `docs/adr/0003-hep-vendor-chunk.md`.
pub const VENDOR_SIPLENS: u16 = 0x534c;

/// Type id of the Siplens chunk that carries a [`Transport`](crate::Transport), one octet.
pub const SIPLENS_TRANSPORT: u16 = 0x0001;

/// Type id of the Siplens chunk of a message that was cut: the octets that it had, 32 bits.
pub const SIPLENS_FULL_LENGTH: u16 = 0x0002;

/// Type id of the Siplens chunk that names the call which a payload is about, where the payload is no SIP: its Call-ID.
pub const SIPLENS_CALL_ID: u16 = 0x0003;

/// Type id of the Siplens chunk in which a collector notes whose a packet is: the tenant's name. Never sent by an agent.
pub const SIPLENS_TENANT: u16 = 0x0004;

/// Type id of the Siplens chunk that numbers a sender's packets: a [`Sequence`](crate::Sequence). No generic chunk has this
/// number, nor that of the next one: collectors that ignore vendor ids pass over them.
pub const SIPLENS_SEQUENCE: u16 = 0x0101;

/// Type id of the Siplens chunk that tells a sender what a collector has: [`Acknowledged`](crate::Acknowledged).
pub const SIPLENS_ACKNOWLEDGED: u16 = 0x0102;

/// Octets before a chunk's body: vendor id, type id, length.
pub const HEADER_LEN: usize = 6;

/// How many octets a chunk's body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Just so many.
    Fixed(u8),
    /// Eight, or six as senders with plain MAC addresses have it.
    Mac,
    /// Any number, none included.
    Octets,
}

impl std::fmt::Display for Width {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Width::Fixed(n) => write!(f, "{n}"),
            Width::Mac => f.write_str("6 or 8"),
            Width::Octets => f.write_str("any number of"),
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generic {
    /// Type id.
    pub id: u16,
    /// Name, as `docs/hep.md` has it.
    pub name: &'static str,
    /// Width of the body.
    pub width: Width,
    /// What it means; unit and source where they matter.
    pub doc: &'static str,
}

/// Calls the macro named with the whole table.
///
/// A row is `id CONSTANT: type, "name", "doc" => [value to encode], [what decoding does with the value]`. In it `p` is
/// the packet to encode, `d` the packet being decoded and `v` the value read.
macro_rules! generic_chunks {
    ($then:ident) => {
        $then! { (p, d, v)
            0x0001 IP_FAMILY: u8, "ip family", "2 IPv4, 10 IPv6; the sender's AF constant"
                => [p.ip_family], [d.packet.ip_family = Some(v)];
            0x0002 IP_PROTOCOL: u8, "ip protocol", "17 UDP, 6 TCP, 132 SCTP; 22 stands for TLS, WS and WSS"
                => [p.ip_protocol], [d.packet.ip_protocol = Some(v)];
            0x0003 SRC_IPV4: std::net::Ipv4Addr, "ipv4 source", "source address"
                => [ipv4(p.src_ip)], [d.packet.src_ip = Some(v.into())];
            0x0004 DST_IPV4: std::net::Ipv4Addr, "ipv4 destination", "destination address"
                => [ipv4(p.dst_ip)], [d.packet.dst_ip = Some(v.into())];
            0x0005 SRC_IPV6: std::net::Ipv6Addr, "ipv6 source", "source address"
                => [ipv6(p.src_ip)], [d.packet.src_ip = Some(v.into())];
            0x0006 DST_IPV6: std::net::Ipv6Addr, "ipv6 destination", "destination address"
                => [ipv6(p.dst_ip)], [d.packet.dst_ip = Some(v.into())];
            0x0007 SRC_PORT: u16, "source port", "source port"
                => [p.src_port], [d.packet.src_port = Some(v)];
            0x0008 DST_PORT: u16, "destination port", "destination port"
                => [p.dst_port], [d.packet.dst_port = Some(v)];
            0x0009 SECONDS: u32, "seconds", "time of capture, seconds since 1970"
                => [p.time.map(|time| time.seconds)], [d.seconds = Some(v)];
            0x000a MICROSECONDS: u32, "microseconds", "time of capture, microseconds within the second"
                => [p.time.map(|time| time.microseconds)], [d.microseconds = Some(v)];
            0x000b PROTOCOL_TYPE: u8, "protocol type", "what the payload is; 1 SIP, 100 log line"
                => [p.protocol_type], [d.packet.protocol_type = Some(v)];
            0x000c AGENT_ID: u32, "agent id", "number of the capture agent"
                => [p.agent_id], [d.packet.agent_id = Some(v)];
            0x000d KEEP_ALIVE: u16, "keep-alive", "keep-alive timer, seconds; obsolete"
                => [p.keep_alive], [d.packet.keep_alive = Some(v)];
            0x000e AUTH_KEY: &[u8], "authentication key", "shared secret in clear text"
                => [p.auth_key], [d.packet.auth_key = Some(v)];
            0x000f PAYLOAD: &[u8], "payload", "the captured message"
                => [p.payload.plain()], [d.packet.payload = Payload::Plain(v)];
            0x0010 COMPRESSED_PAYLOAD: &[u8], "compressed payload", "the captured message, zlib or raw deflate"
                => [p.payload.compressed()], [d.packet.payload = Payload::Compressed(v)];
            0x0011 CORRELATION_ID: &[u8], "correlation id", "what joins the messages of one session"
                => [p.correlation_id], [d.packet.correlation_id = Some(v)];
            0x0012 VLAN: u16, "vlan", "VLAN id"
                => [p.vlan], [d.packet.vlan = Some(v)];
            0x0013 AGENT_NAME: &[u8], "agent name", "name of the capture agent's node"
                => [p.agent_name], [d.packet.agent_name = Some(v)];
            0x0014 SRC_MAC: Mac, "source mac", "source MAC address, the low 48 bits"
                => [p.src_mac.map(Mac)], [d.packet.src_mac = Some(v.0)];
            0x0015 DST_MAC: Mac, "destination mac", "destination MAC address, the low 48 bits"
                => [p.dst_mac.map(Mac)], [d.packet.dst_mac = Some(v.0)];
            0x0016 ETHERNET_TYPE: u16, "ethernet type", "EtherType of the frame"
                => [p.ethernet_type], [d.packet.ethernet_type = Some(v)];
            0x0017 TCP_FLAGS: u8, "tcp flags", "flags of the TCP segment"
                => [p.tcp_flags], [d.packet.tcp_flags = Some(v)];
            0x0018 IP_TOS: u8, "ip tos", "type of service, or DSCP and ECN"
                => [p.ip_tos], [d.packet.ip_tos = Some(v)];
            0x0020 MOS: u16, "mos", "mean opinion score, hundredths"
                => [p.mos], [d.packet.mos = Some(v)];
            0x0021 R_FACTOR: u16, "r-factor", "R-factor"
                => [p.r_factor], [d.packet.r_factor = Some(v)];
            0x0022 GEO_LOCATION: &[u8], "geo location", "where the agent is"
                => [p.geo_location], [d.packet.geo_location = Some(v)];
            0x0023 JITTER: u32, "jitter", "jitter"
                => [p.jitter], [d.packet.jitter = Some(v)];
            0x0024 TRANSACTION_TYPE: &[u8], "transaction type", "call, registration, …"
                => [p.transaction_type], [d.packet.transaction_type = Some(v)];
            0x0025 PAYLOAD_JSON_KEYS: &[u8], "payload json keys", "keys of a JSON payload"
                => [p.payload_json_keys], [d.packet.payload_json_keys = Some(v)];
            0x0026 TAG_VALUES: &[u8], "tag values", "tags, separated by commas"
                => [p.tag_values], [d.packet.tag_values = Some(v)];
            0x0027 TAG_TYPE: u16, "tag type", "type of tag"
                => [p.tag_type], [d.packet.tag_type = Some(v)];
            0x0028 EVENT_TYPE: u16, "event type", "1 recording, 2 lawful recording"
                => [p.event_type], [d.packet.event_type = Some(v)];
            0x0029 GROUP_ID: &[u8], "group id", "group the agent belongs to"
                => [p.group_id], [d.packet.group_id = Some(v)];
            0x0065 EXTRA_CORRELATION: &[u8], "extra correlation",
                "JSON object of further correlation ids; not in rev. 37, sent by OpenSIPS"
                => [p.extra_correlation], [d.packet.extra_correlation = Some(v)];
        }
    };
}
pub(crate) use generic_chunks;

macro_rules! table {
    (($p:ident, $d:ident, $v:ident)
     $($id:literal $constant:ident: $ty:ty, $name:literal, $doc:literal => [$get:expr], [$set:expr];)*) => {
        $(
            #[doc = concat!("Type id of the generic chunk “", $name, "”: ", $doc, ".")]
            pub const $constant: u16 = $id;
        )*

        /// Every generic chunk that is read and written, by ascending type id.
        pub const GENERIC: &[Generic] = &[$(
            Generic { id: $id, name: $name, width: width::<$ty>(), doc: $doc },
        )*];
    };
}

const fn width<'a, T: Wire<'a>>() -> Width {
    T::WIDTH
}

generic_chunks!(table);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ascending_and_names_unique() {
        assert!(GENERIC.windows(2).all(|pair| pair[0].id < pair[1].id));
        let mut names: Vec<_> = GENERIC.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), GENERIC.len());
    }
}
