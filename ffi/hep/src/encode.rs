use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::chunk::{
    HEADER_LEN, Mac, SIPLENS_ACKNOWLEDGED, SIPLENS_CALL_ID, SIPLENS_FULL_LENGTH, SIPLENS_SEQUENCE,
    SIPLENS_TRANSPORT, VENDOR_GENERIC, VENDOR_SIPLENS, Wire, generic_chunks,
};
use crate::framing::{HEP3_HEADER_LEN, MAGIC_HEP3};
use crate::{EncodeError, MAX_PACKET_LEN, Packet};

/// Octets that [`encode`] would write for this packet.
pub fn encoded_len(packet: &Packet<'_>) -> Result<usize, EncodeError> {
    let mut count = Count(HEP3_HEADER_LEN);
    each_chunk(packet, &mut count);
    if count.0 > MAX_PACKET_LEN { Err(EncodeError::TooLong { found: count.0 }) } else { Ok(count.0) }
}

/// Appends the packet to `out` as HEP3, and says how many octets that took. `out` grows at most once, and not at all if
/// its capacity suffices; on an error it is as before.
///
/// Just the fields that are there are written, each address in the chunk of its own family, whatever
/// [`Packet::ip_family`] says. A message between two families is thus kept as it was.
pub fn encode(packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
    let len = encoded_len(packet)?;
    let start = out.len();
    out.resize(start + len, 0);
    write(packet, len, &mut out[start..]);
    Ok(len)
}

/// Writes the packet as HEP3 to the start of `out`, and says how many octets that took. On an error `out` is as before.
/// See [`encode`].
pub fn encode_into(packet: &Packet<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    let len = encoded_len(packet)?;
    let found = out.len();
    let out = out.get_mut(..len).ok_or(EncodeError::BufferTooShort { expected: len, found })?;
    write(packet, len, out);
    Ok(len)
}

fn write(packet: &Packet<'_>, len: usize, out: &mut [u8]) {
    let mut fill = Fill { left: out };
    fill.put(&MAGIC_HEP3);
    fill.put(&length_field(len));
    each_chunk(packet, &mut fill);
    debug_assert!(fill.left.is_empty(), "the length was computed from the same chunks");
}

/// What is done with each chunk: its length is counted, then it is written.
trait Sink {
    fn chunk(&mut self, vendor: u16, id: u16, body: &[u8]);
}

/// Counts octets.
struct Count(usize);

impl Sink for Count {
    #[inline]
    fn chunk(&mut self, _vendor: u16, _id: u16, body: &[u8]) {
        self.0 += HEADER_LEN + body.len();
    }
}

/// Fills a buffer that has just the length counted before.
struct Fill<'b> {
    left: &'b mut [u8],
}

impl Fill<'_> {
    #[inline]
    fn put(&mut self, octets: &[u8]) {
        if let Some((to, left)) = std::mem::take(&mut self.left).split_at_mut_checked(octets.len()) {
            to.copy_from_slice(octets);
            self.left = left;
        }
    }
}

impl Sink for Fill<'_> {
    #[inline]
    fn chunk(&mut self, vendor: u16, id: u16, body: &[u8]) {
        let ([v0, v1], [t0, t1]) = (vendor.to_be_bytes(), id.to_be_bytes());
        let [l0, l1] = length_field(HEADER_LEN + body.len());
        self.put(&[v0, v1, t0, t1, l0, l1]);
        self.put(body);
    }
}

/// A length field; the packet's length was checked, and no chunk is longer than its packet.
fn length_field(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

macro_rules! writer {
    (($p:ident, $d:ident, $v:ident)
     $($id:literal $constant:ident: $ty:ty, $name:literal, $doc:literal => [$get:expr], [$set:expr];)*) => {
        /// Gives every chunk to the sink: the generic ones in the table's order, then those of vendors.
        #[inline]
        fn each_chunk<'a>($p: &Packet<'a>, sink: &mut impl Sink) {
            $({
                let value: Option<$ty> = $get;
                if let Some(value) = value {
                    value.write(|body| sink.chunk(VENDOR_GENERIC, $id, body));
                }
            })*
            if let Some(transport) = $p.transport {
                sink.chunk(VENDOR_SIPLENS, SIPLENS_TRANSPORT, &[transport.code()]);
            }
            if let Some(len) = $p.full_length {
                sink.chunk(VENDOR_SIPLENS, SIPLENS_FULL_LENGTH, &len.to_be_bytes());
            }
            if let Some(id) = $p.call_id {
                sink.chunk(VENDOR_SIPLENS, SIPLENS_CALL_ID, id);
            }
            if let Some(sequence) = $p.sequence {
                sink.chunk(VENDOR_SIPLENS, SIPLENS_SEQUENCE, &sequence.body());
            }
            if let Some(acknowledged) = $p.acknowledged {
                sink.chunk(VENDOR_SIPLENS, SIPLENS_ACKNOWLEDGED, &acknowledged.body());
            }
            for chunk in $p.vendor_chunks() {
                sink.chunk(chunk.vendor, chunk.id, chunk.body);
            }
        }
    };
}

generic_chunks!(writer);

fn ipv4(address: Option<IpAddr>) -> Option<Ipv4Addr> {
    match address {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    }
}

fn ipv6(address: Option<IpAddr>) -> Option<Ipv6Addr> {
    match address {
        Some(IpAddr::V6(address)) => Some(address),
        _ => None,
    }
}
