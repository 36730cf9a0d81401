use std::net::SocketAddr;

use crate::chunk::{
    AGENT_ID, AGENT_NAME, AUTH_KEY, CORRELATION_ID, DST_IPV4, DST_IPV6, DST_PORT, HEADER_LEN, IP_FAMILY,
    IP_PROTOCOL, MICROSECONDS, PAYLOAD, PROTOCOL_TYPE, SECONDS, SIPLENS_CALL_ID, SIPLENS_FULL_LENGTH,
    SIPLENS_TRANSPORT, SRC_IPV4, SRC_IPV6, SRC_PORT, VENDOR_GENERIC, VENDOR_SIPLENS,
};
use crate::framing::MAGIC_HEP3;
use crate::{EncodeError, Timestamp, Transport};

/// What all packets of one capture agent have in common, and the head of the packet that was made last.
///
/// A proxy's worker pays for each message it shows to us. [`encode`](crate::encode()) goes through all chunks there
/// are, twice; an agent needs a dozen of them, most at a place that never changes. Here the head of one packet becomes
/// that of the next: as long as transport and address families stay the same, only numbers, addresses and the
/// correlation id are written. The message itself is the caller's, and not copied.
///
/// ```
/// use hep::{Payload, Seen, Template, Timestamp, Transport};
///
/// let mut template = Template::new(2001, 1, None, Some(b"edge-1"));
/// let seen = Seen {
///     source: Some(&"192.0.2.1:5060".parse()?),
///     destination: Some(&"192.0.2.2:5060".parse()?),
///     transport: Transport::Udp,
///     time: Timestamp { seconds: 1_700_000_000, microseconds: 42 },
///     correlation_id: Some(b"our-session-id"),
///     call_id: None,
///     full_length: None,
/// };
/// let payload = b"OPTIONS sip:192.0.2.2 SIP/2.0\r\n\r\n";
/// let head = template.head(&seen, payload.len())?;
/// let wire = [head, payload].concat();
/// assert_eq!(hep::decode(&wire)?.payload, Payload::Plain(payload));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Template {
    agent_id: u32,
    protocol_type: u8,
    /// Whole chunks.
    texts: Box<[u8]>,
    /// The last head, and room for the longest.
    out: Box<[u8]>,
    /// What stands in `out`, if anything does.
    shape: Option<Shape>,
    /// Octets in `out` before the correlation id's chunk.
    leading: usize,
}

/// What differs from packet to packet, but for the payload. The fields are those of [`Packet`](crate::Packet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Where the message came from. The IP family is that of this address, else of the destination.
    pub source: Option<&'a SocketAddr>,
    /// Where it goes.
    pub destination: Option<&'a SocketAddr>,
    /// What carries it; also said as IP protocol.
    pub transport: Transport,
    /// When it was seen.
    pub time: Timestamp,
    /// What joins the messages of one session; at most [`Template::MAX_CORRELATION_LEN`] octets.
    pub correlation_id: Option<&'a [u8]>,
    /// Octets that the message had, if only its first part is the payload.
    pub full_length: Option<u32>,
    /// Call-ID of the call that a payload other than SIP is about; at most as long as a correlation id.
    pub call_id: Option<&'a [u8]>,
}

/// What decides which chunks a head has, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    transport: Transport,
    source: Family,
    destination: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    None,
    V4,
    V6,
}

impl Family {
    fn of(endpoint: Option<&SocketAddr>) -> Self {
        match endpoint {
            None => Self::None,
            Some(SocketAddr::V4(_)) => Self::V4,
            Some(SocketAddr::V6(_)) => Self::V6,
        }
    }

    /// Its number as every sender gives it, whatever its own constants are.
    fn number(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::V4 => Some(2),
            Self::V6 => Some(10),
        }
    }
}

/// Octets of what comes first, at places that never change.
const FIXED_LEN: usize = 57;
/// Where the numbers in it stand.
const LENGTH_AT: usize = 4;
const SECONDS_AT: usize = 19;
const MICROSECONDS_AT: usize = 29;
/// Octets of port and address: two chunks.
const V4_LEN: usize = 8 + 10;
const V6_LEN: usize = 8 + 22;
/// Octets of the chunk that says how long a message was.
const CUT_LEN: usize = HEADER_LEN + 4;
/// Where the address stands in them; the port's number stands behind the first chunk's header.
const IP_AT: usize = 8 + HEADER_LEN;

impl Template {
    /// Octets of the longest correlation id.
    pub const MAX_CORRELATION_LEN: usize = 1024;

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
        let family = HEADER_LEN + 1;
        let longest = FIXED_LEN
            + family
            + 2 * V6_LEN
            + texts.len()
            + 3 * HEADER_LEN
            + CUT_LEN
            + 2 * Self::MAX_CORRELATION_LEN;
        Template {
            agent_id,
            protocol_type,
            texts: texts.into(),
            out: vec![0; longest].into(),
            shape: None,
            leading: 0,
        }
    }

    /// A packet up to its payload, which must follow and have just this many octets. The payload comes last, unlike in
    /// a packet made by [`encode`](crate::encode()).
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] if the packet would be longer than HEP can say, [`EncodeError::BufferTooShort`] if the
    /// correlation id and the Call-ID are too long.
    #[inline(always)]
    pub fn head(&mut self, seen: &Seen<'_>, payload_len: usize) -> Result<&[u8], EncodeError> {
        let shape = Shape {
            transport: seen.transport,
            source: Family::of(seen.source),
            destination: Family::of(seen.destination),
        };
        if self.shape != Some(shape) {
            self.prepare(shape);
        }
        let correlation_len = seen.correlation_id.map_or(0, |id| HEADER_LEN + id.len());
        let cut_len = if seen.full_length.is_some() { CUT_LEN } else { 0 };
        let call_id_len = seen.call_id.map_or(0, |id| HEADER_LEN + id.len());
        let len = self.leading + correlation_len + cut_len + call_id_len + HEADER_LEN;
        let packet_len = length_field(len + payload_len)?;
        let found = self.out.len();
        let parts = self.out.get_mut(..len).and_then(|out| out.split_at_mut_checked(self.leading));
        let (leading, left) = parts.ok_or(EncodeError::BufferTooShort { expected: len, found })?;
        patch(leading, shape, seen, packet_len);
        let mut out = Out { left };
        // No chunk is longer than its packet, whose length was checked.
        if let Some(id) = seen.correlation_id {
            out.put(&header(VENDOR_GENERIC, CORRELATION_ID, correlation_len as u16));
            out.put_all(id);
        }
        if let Some(len) = seen.full_length {
            out.put(&header(VENDOR_SIPLENS, SIPLENS_FULL_LENGTH, CUT_LEN as u16));
            out.put(&len.to_be_bytes());
        }
        if let Some(id) = seen.call_id {
            out.put(&header(VENDOR_SIPLENS, SIPLENS_CALL_ID, call_id_len as u16));
            out.put_all(id);
        }
        out.put(&header(VENDOR_GENERIC, PAYLOAD, (HEADER_LEN + payload_len) as u16));
        debug_assert!(out.left.is_empty(), "the length was computed from the same chunks");
        Ok(self.out.get(..len).unwrap_or_default())
    }

    /// Writes everything that stands before the correlation id, with 0 in the place of what [`patch`] fills in.
    #[cold]
    #[inline(never)]
    fn prepare(&mut self, shape: Shape) {
        let room = self.out.len();
        let mut out = Out { left: &mut self.out };
        out.put(&MAGIC_HEP3);
        out.put(&[0; 2]);
        out.put(&header(VENDOR_GENERIC, IP_PROTOCOL, 7));
        out.put(&[shape.transport.ip_protocol()]);
        out.put(&header(VENDOR_GENERIC, SECONDS, 10));
        out.put(&[0; 4]);
        out.put(&header(VENDOR_GENERIC, MICROSECONDS, 10));
        out.put(&[0; 4]);
        out.put(&header(VENDOR_GENERIC, PROTOCOL_TYPE, 7));
        out.put(&[self.protocol_type]);
        out.put(&header(VENDOR_GENERIC, AGENT_ID, 10));
        out.put(&self.agent_id.to_be_bytes());
        out.put(&header(VENDOR_SIPLENS, SIPLENS_TRANSPORT, 7));
        out.put(&[shape.transport.code()]);
        debug_assert_eq!(room - out.left.len(), FIXED_LEN, "the chunks above have as many octets");
        if let Some(family) = shape.source.number().or(shape.destination.number()) {
            out.put(&header(VENDOR_GENERIC, IP_FAMILY, 7));
            out.put(&[family]);
        }
        out.endpoint(shape.source, SRC_PORT, SRC_IPV4, SRC_IPV6);
        out.endpoint(shape.destination, DST_PORT, DST_IPV4, DST_IPV6);
        out.put_all(&self.texts);
        self.leading = room - out.left.len();
        self.shape = Some(shape);
    }
}

/// Fills in what differs between two heads of one shape, up to the correlation id.
#[inline]
fn patch(out: &mut [u8], shape: Shape, seen: &Seen<'_>, packet_len: u16) {
    let Some((fixed, mut left)) = out.split_first_chunk_mut::<FIXED_LEN>() else { return };
    fixed[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&packet_len.to_be_bytes());
    fixed[SECONDS_AT..SECONDS_AT + 4].copy_from_slice(&seen.time.seconds.to_be_bytes());
    fixed[MICROSECONDS_AT..MICROSECONDS_AT + 4].copy_from_slice(&seen.time.microseconds.to_be_bytes());
    if (shape.source, shape.destination) == (Family::None, Family::None) {
        return;
    }
    left = left.get_mut(HEADER_LEN + 1..).unwrap_or_default();
    for endpoint in [seen.source, seen.destination] {
        match endpoint {
            Some(SocketAddr::V4(endpoint)) => {
                let Some((to, rest)) = left.split_first_chunk_mut::<V4_LEN>() else { return };
                to[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&endpoint.port().to_be_bytes());
                to[IP_AT..].copy_from_slice(&endpoint.ip().octets());
                left = rest;
            }
            Some(SocketAddr::V6(endpoint)) => {
                let Some((to, rest)) = left.split_first_chunk_mut::<V6_LEN>() else { return };
                to[HEADER_LEN..HEADER_LEN + 2].copy_from_slice(&endpoint.port().to_be_bytes());
                to[IP_AT..].copy_from_slice(&endpoint.ip().octets());
                left = rest;
            }
            None => {}
        }
    }
}

/// What the packet's length field says; it reaches to [`MAX_PACKET_LEN`](crate::MAX_PACKET_LEN).
fn length_field(len: usize) -> Result<u16, EncodeError> {
    u16::try_from(len).map_err(|_| EncodeError::TooLong { found: len })
}

const fn header(vendor: u16, id: u16, len: u16) -> [u8; HEADER_LEN] {
    let ([v0, v1], [t0, t1], [l0, l1]) = (vendor.to_be_bytes(), id.to_be_bytes(), len.to_be_bytes());
    [v0, v1, t0, t1, l0, l1]
}

/// A buffer being filled.
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

    #[inline]
    fn put_all(&mut self, octets: &[u8]) {
        if let Some((to, left)) = std::mem::take(&mut self.left).split_at_mut_checked(octets.len()) {
            to.copy_from_slice(octets);
            self.left = left;
        }
    }

    /// Port and address, in the chunks of the address's own family.
    fn endpoint(&mut self, family: Family, port: u16, v4: u16, v6: u16) {
        if family == Family::None {
            return;
        }
        self.put(&header(VENDOR_GENERIC, port, 8));
        self.put(&[0; 2]);
        if family == Family::V4 {
            self.put(&header(VENDOR_GENERIC, v4, 10));
            self.put(&[0; 4]);
        } else {
            self.put(&header(VENDOR_GENERIC, v6, 22));
            self.put(&[0; 16]);
        }
    }
}
