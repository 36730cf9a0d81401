use std::net::IpAddr;

use crate::{Acknowledged, Payload, Sequence, Transport, VendorChunks};

/// What one packet says, borrowed from its bytes. A field is `None` if its chunk is absent; of a chunk that comes twice
/// the last one counts. Ids are those of HEP3 rev. 37, "Generic chunk types".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packet<'a> {
    /// The version it was read from. The encoder writes HEP3 always.
    pub version: Version,
    /// 0x0001, IP family: 2 IPv4, 10 IPv6; some senders give their own AF constant. HEP1 and HEP2 have it too.
    pub ip_family: Option<u8>,
    /// 0x0002, IP protocol: 17 UDP, 6 TCP, 132 SCTP; 22 stands for TLS, WS and WSS. HEP1 and HEP2 have it too.
    pub ip_protocol: Option<u8>,
    /// 0x0003 or 0x0005, source address. It may be of another family than the destination's.
    pub src_ip: Option<IpAddr>,
    /// 0x0004 or 0x0006, destination address.
    pub dst_ip: Option<IpAddr>,
    /// 0x0007, source port.
    pub src_port: Option<u16>,
    /// 0x0008, destination port.
    pub dst_port: Option<u16>,
    /// 0x0009 and 0x000a, time of capture. `None` for HEP1, and for HEP2 if neither byte order gives a likely time.
    pub time: Option<Timestamp>,
    /// 0x000b, what the payload is: 1 SIP, 100 a log line, … Always 1 for HEP1 and HEP2.
    pub protocol_type: Option<u8>,
    /// 0x000c, number of the capture agent; of HEP2 its 16-bit capture id.
    pub agent_id: Option<u32>,
    /// 0x000d, keep-alive timer, seconds; obsolete.
    pub keep_alive: Option<u16>,
    /// 0x000e, authentication key in clear text. Keep it out of logs and stores.
    pub auth_key: Option<&'a [u8]>,
    /// 0x000f or 0x0010, the captured message.
    pub payload: Payload<'a>,
    /// 0x0011, correlation id.
    pub correlation_id: Option<&'a [u8]>,
    /// 0x0012, VLAN id.
    pub vlan: Option<u16>,
    /// 0x0013, name of the capture agent's node.
    pub agent_name: Option<&'a [u8]>,
    /// 0x0014, source MAC address in the low 48 bits.
    pub src_mac: Option<u64>,
    /// 0x0015, destination MAC address in the low 48 bits.
    pub dst_mac: Option<u64>,
    /// 0x0016, EtherType.
    pub ethernet_type: Option<u16>,
    /// 0x0017, TCP flags.
    pub tcp_flags: Option<u8>,
    /// 0x0018, IP type of service.
    pub ip_tos: Option<u8>,
    /// 0x0020, mean opinion score, hundredths.
    pub mos: Option<u16>,
    /// 0x0021, R-factor.
    pub r_factor: Option<u16>,
    /// 0x0022, geo location.
    pub geo_location: Option<&'a [u8]>,
    /// 0x0023, jitter.
    pub jitter: Option<u32>,
    /// 0x0024, transaction type: `call`, `registration`, …
    pub transaction_type: Option<&'a [u8]>,
    /// 0x0025, keys of a JSON payload.
    pub payload_json_keys: Option<&'a [u8]>,
    /// 0x0026, tag values.
    pub tag_values: Option<&'a [u8]>,
    /// 0x0027, type of tag.
    pub tag_type: Option<u16>,
    /// 0x0028, event type: 1 recording, 2 lawful recording.
    pub event_type: Option<u16>,
    /// 0x0029, group id.
    pub group_id: Option<&'a [u8]>,
    /// 0x0065, a JSON object of further correlation ids. Not in rev. 37; OpenSIPS sends it as a generic chunk.
    pub extra_correlation: Option<&'a [u8]>,
    /// Siplens' vendor chunk 0x0001: the transport, where 0x0002 cannot tell.
    pub transport: Option<Transport>,
    /// Siplens' vendor chunk 0x0002: octets that the message had before its end was cut off.
    pub full_length: Option<u32>,
    /// Siplens' vendor chunk 0x0003: Call-ID of the call that a payload other than SIP is about.
    pub call_id: Option<&'a [u8]>,
    /// Siplens' vendor chunk 0x0101: which packet of its sender's this is.
    pub sequence: Option<Sequence>,
    /// Siplens' vendor chunk 0x0102: what a collector has of a stream.
    pub acknowledged: Option<Acknowledged>,
    /// Vendor chunks that are not read into a field.
    pub vendor: VendorChunks<'a>,
}

impl<'a> Packet<'a> {
    /// The vendor chunks that are not read into a field, in the packet's order.
    pub fn vendor_chunks(&self) -> VendorChunks<'a> {
        self.vendor
    }
}

/// Version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Fixed header, SIP only, no time.
    Hep1,
    /// HEP1 with time and capture id.
    Hep2,
    /// Chunks.
    #[default]
    Hep3,
}

/// A time of capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970, UTC. HEP3 rev. 37, 0x0009.
    pub seconds: u32,
    /// Microseconds within the second. HEP3 rev. 37, 0x000a; a careless sender may give a million or more.
    pub microseconds: u32,
}

impl Timestamp {
    /// From microseconds since 1970; `None` before 1970 and after 2106.
    pub fn from_micros(micros: i64) -> Option<Timestamp> {
        let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
        let microseconds = u32::try_from(micros.rem_euclid(1_000_000)).ok()?;
        Some(Timestamp { seconds, microseconds })
    }

    /// Microseconds since 1970.
    pub fn as_micros(self) -> i64 {
        i64::from(self.seconds) * 1_000_000 + i64::from(self.microseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_microseconds_and_back() {
        let time = Timestamp { seconds: 1_313_440_459, microseconds: 120_000 };
        assert_eq!(time.as_micros(), 1_313_440_459_120_000);
        assert_eq!(Timestamp::from_micros(time.as_micros()), Some(time));
        assert_eq!(Timestamp::from_micros(-1), None);
        assert_eq!(Timestamp::from_micros(i64::MAX), None);
    }
}
