use std::net::SocketAddr;

use crate::chunk::{
    AGENT_ID, AGENT_NAME, AUTH_KEY, CORRELATION_ID, DST_IPV4, DST_IPV6, DST_PORT, HEADER_LEN, IP_FAMILY,
    IP_PROTOCOL, MICROSECONDS, PAYLOAD, PROTOCOL_TYPE, SECONDS, SIPLENS_TRANSPORT, SRC_IPV4, SRC_IPV6,
    SRC_PORT, VENDOR_GENERIC, VENDOR_SIPLENS,
};
use crate::framing::MAGIC_HEP3;
use crate::{EncodeError, Timestamp, Transport};

/// What all packets of one capture agent have in common, encoded once.
///
/// A proxy's worker pays for each message it shows to us. [`encode`](crate::encode()) goes through all chunks there
/// are, twice; an agent needs a dozen of them, most at a place that never changes. It also copies the message, which
/// here is the caller's: only what stands before it is written.
///
/// ```
/// use hep::{Payload, Seen, Template, Timestamp, Transport};
///
/// let template = Template::new(2001, 1, None, Some(b"edge-1"));
/// let seen = Seen {
///     source: Some("192.0.2.1:5060".parse()?),
///     destination: Some("192.0.2.2:5060".parse()?),
///     transport: Transport::Udp,
///     time: Timestamp { seconds: 1_700_000_000, microseconds: 42 },
///     correlation_id: Some(b"our-session-id"),
/// };
/// let payload = b"OPTIONS sip:192.0.2.2 SIP/2.0\r\n\r\n";
/// let mut head = [0; 256];
/// let len = template.head(&seen, payload.len(), &mut head)?;
/// let wire = [&head[..len], payload].concat();
/// assert_eq!(hep::decode(&wire)?.payload, Payload::Plain(payload));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Template {
    agent_id: u32,
    protocol_type: u8,
    /// Whole chunks.
    texts: Box<[u8]>,
}

/// What differs from packet to packet, but for the payload. The fields are those of [`Packet`](crate::Packet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Where the message came from. The IP family is that of this address, else of the destination.
    pub source: Option<SocketAddr>,
    /// Where it goes.
    pub destination: Option<SocketAddr>,
    /// What carries it; also said as IP protocol.
    pub transport: Transport,
    /// When it was seen.
    pub time: Timestamp,
    /// What joins the messages of one session.
    pub correlation_id: Option<&'a [u8]>,
}

/// Octets of what comes first, at places that never change.
const FIXED_LEN: usize = 57;

impl Template {
    /// For an agent with this number, which sends payloads of one type (1 SIP) and, if given, a key and its name.
    pub fn new(
        agent_id: u32,
        protocol_type: u8,
        auth_key: Option<&[u8]>,
        agent_name: Option<&[u8]>,
    ) -> Template {
        let mut texts = Vec::new();
        for (id, text) in [(AUTH_KEY, auth_key), (AGENT_NAME, agent_name)] {
            if let Some(text) = text {
                // A longer one makes every packet too long, and is refused with it.
                let len = u16::try_from(HEADER_LEN + text.len()).unwrap_or(u16::MAX);
                texts.extend_from_slice(&header(VENDOR_GENERIC, id, len));
                texts.extend_from_slice(text);
            }
        }
        Template { agent_id, protocol_type, texts: texts.into() }
    }

    /// Writes a packet up to its payload, which must follow and have just this many octets; says how many octets that
    /// took. The payload comes last, unlike in a packet made by [`encode`](crate::encode()).
    pub fn head(&self, seen: &Seen<'_>, payload_len: usize, out: &mut [u8]) -> Result<usize, EncodeError> {
        let correlation_len = seen.correlation_id.map_or(0, |id| HEADER_LEN + id.len());
        let family = seen.source.or(seen.destination).map(family);
        let len = FIXED_LEN
            + family.map_or(0, |_| HEADER_LEN + 1)
            + endpoint_len(seen.source)
            + endpoint_len(seen.destination)
            + self.texts.len()
            + correlation_len
            + HEADER_LEN;
        let packet_len = length_field(len + payload_len)?;
        let found = out.len();
        let out = out.get_mut(..len).and_then(<[u8]>::split_first_chunk_mut::<FIXED_LEN>);
        let (fixed, left) = out.ok_or(EncodeError::BufferTooShort { expected: len, found })?;
        self.fixed(seen, packet_len, fixed);
        let mut out = Out { left };
        if let Some(family) = family {
            let [a, b, c, d, e, f] = header(VENDOR_GENERIC, IP_FAMILY, 7);
            out.put(&[a, b, c, d, e, f, family]);
        }
        out.endpoint(seen.source, SRC_PORT, SRC_IPV4, SRC_IPV6);
        out.endpoint(seen.destination, DST_PORT, DST_IPV4, DST_IPV6);
        if !self.texts.is_empty() {
            out.put_all(&self.texts);
        }
        // No chunk is longer than its packet, whose length was checked.
        if let Some(id) = seen.correlation_id {
            out.put(&header(VENDOR_GENERIC, CORRELATION_ID, correlation_len as u16));
            out.put_all(id);
        }
        out.put(&header(VENDOR_GENERIC, PAYLOAD, (HEADER_LEN + payload_len) as u16));
        debug_assert!(out.left.is_empty(), "the length was computed from the same chunks");
        Ok(len)
    }

    /// The packet's header, and the chunks that every packet has.
    #[inline]
    fn fixed(&self, seen: &Seen<'_>, packet_len: u16, out: &mut [u8; FIXED_LEN]) {
        let mut out = Out { left: out };
        out.put(&MAGIC_HEP3);
        out.put(&packet_len.to_be_bytes());
        out.put(&header(VENDOR_GENERIC, IP_PROTOCOL, 7));
        out.put(&[seen.transport.ip_protocol()]);
        out.put(&header(VENDOR_GENERIC, SECONDS, 10));
        out.put(&seen.time.seconds.to_be_bytes());
        out.put(&header(VENDOR_GENERIC, MICROSECONDS, 10));
        out.put(&seen.time.microseconds.to_be_bytes());
        out.put(&header(VENDOR_GENERIC, PROTOCOL_TYPE, 7));
        out.put(&[self.protocol_type]);
        out.put(&header(VENDOR_GENERIC, AGENT_ID, 10));
        out.put(&self.agent_id.to_be_bytes());
        out.put(&header(VENDOR_SIPLENS, SIPLENS_TRANSPORT, 7));
        out.put(&[seen.transport.code()]);
        debug_assert!(out.left.is_empty(), "the chunks above have as many octets");
    }
}

/// Octets of port and address.
fn endpoint_len(endpoint: Option<SocketAddr>) -> usize {
    match endpoint {
        Some(SocketAddr::V4(_)) => 8 + 10,
        Some(SocketAddr::V6(_)) => 8 + 22,
        None => 0,
    }
}

/// What the packet's length field says; it reaches to [`MAX_PACKET_LEN`](crate::MAX_PACKET_LEN).
fn length_field(len: usize) -> Result<u16, EncodeError> {
    u16::try_from(len).map_err(|_| EncodeError::TooLong { found: len })
}

/// The family's number as every sender gives it, whatever its own constants are.
fn family(address: SocketAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

const fn header(vendor: u16, id: u16, len: u16) -> [u8; HEADER_LEN] {
    let ([v0, v1], [t0, t1], [l0, l1]) = (vendor.to_be_bytes(), id.to_be_bytes(), len.to_be_bytes());
    [v0, v1, t0, t1, l0, l1]
}

/// A buffer of the length that was computed, being filled.
struct Out<'b> {
    left: &'b mut [u8],
}

impl Out<'_> {
    /// Octets whose number is known when this is compiled: no loop, no call.
    #[inline]
    fn put<const N: usize>(&mut self, octets: &[u8; N]) {
        if let Some((to, left)) = std::mem::take(&mut self.left).split_first_chunk_mut::<N>() {
            *to = *octets;
            self.left = left;
        }
    }

    fn put_all(&mut self, octets: &[u8]) {
        if let Some((to, left)) = std::mem::take(&mut self.left).split_at_mut_checked(octets.len()) {
            to.copy_from_slice(octets);
            self.left = left;
        }
    }

    /// Room for so many octets, for what is put there piece by piece without looking at the end each time.
    #[inline]
    fn part<const N: usize>(&mut self, fill: impl FnOnce(Out<'_>)) {
        if let Some((to, left)) = std::mem::take(&mut self.left).split_first_chunk_mut::<N>() {
            fill(Out { left: to });
            self.left = left;
        }
    }

    /// Port and address, in the chunks of the address's own family.
    #[inline]
    fn endpoint(&mut self, endpoint: Option<SocketAddr>, port: u16, v4: u16, v6: u16) {
        match endpoint {
            Some(SocketAddr::V4(endpoint)) => self.part::<{ 8 + 10 }>(|mut out| {
                out.put(&header(VENDOR_GENERIC, port, 8));
                out.put(&endpoint.port().to_be_bytes());
                out.put(&header(VENDOR_GENERIC, v4, 10));
                out.put(&endpoint.ip().octets());
            }),
            Some(SocketAddr::V6(endpoint)) => self.part::<{ 8 + 22 }>(|mut out| {
                out.put(&header(VENDOR_GENERIC, port, 8));
                out.put(&endpoint.port().to_be_bytes());
                out.put(&header(VENDOR_GENERIC, v6, 22));
                out.put(&endpoint.ip().octets());
            }),
            None => {}
        }
    }
}
