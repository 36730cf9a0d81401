use crate::chunk::{HEADER_LEN, Mac, VENDOR_GENERIC, Wire, generic_chunks};
use crate::error::first_four;
use crate::framing::{HEP3_HEADER_LEN, is_magic};
use crate::vendor::Ours;
use crate::{DecodeError, Packet, Payload, Timestamp, VendorChunks, legacy};

/// Reads one packet: a whole datagram, or what [`framing`](crate::framing) cut out of a stream. The version is told by
/// the first octets. Chunks nobody knows are passed over; octets after the packet's own length are ignored.
///
/// HEP3 rev. 37, "HEP/EEP protocol"; HEP1 and HEP2 as Kamailio sends them.
pub fn decode(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    match bytes {
        [a, b, c, d, ..] if is_magic([*a, *b, *c, *d]) => hep3(bytes),
        [1 | 2, ..] => legacy::decode(bytes),
        _ => Err(DecodeError::NotHep { found: first_four(bytes) }),
    }
}

/// A packet while its chunks are read: time comes in two chunks.
#[derive(Default)]
struct Draft<'a> {
    packet: Packet<'a>,
    seconds: Option<u32>,
    microseconds: Option<u32>,
}

fn hep3(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let &[_, _, _, _, high, low, ref rest @ ..] = bytes else {
        return Err(DecodeError::Truncated { expected: HEP3_HEADER_LEN, found: bytes.len() });
    };
    let length = u16::from_be_bytes([high, low]);
    let Some(chunks_len) = usize::from(length).checked_sub(HEP3_HEADER_LEN) else {
        return Err(DecodeError::Length { found: length });
    };
    let Some(chunks) = rest.get(..chunks_len) else {
        return Err(DecodeError::Truncated { expected: length.into(), found: bytes.len() });
    };

    let mut draft = Draft::default();
    walk(chunks, &mut draft)?;
    // Microseconds without seconds say nothing.
    draft.packet.time = draft
        .seconds
        .map(|seconds| Timestamp { seconds, microseconds: draft.microseconds.unwrap_or_default() });
    Ok(draft.packet)
}

/// Reads all chunks. It stands apart so that what it reads is written to where it stays, and not put together from pieces at
/// the end, which costs a fifth more.
#[inline(never)]
fn walk<'a>(chunks: &'a [u8], draft: &mut Draft<'a>) -> Result<(), DecodeError> {
    for chunk in Chunks::new(chunks) {
        let (vendor, id, body) = chunk?;
        if vendor == VENDOR_GENERIC {
            read_generic(draft, id, body)?;
            continue;
        }
        match Ours::read(vendor, id, body) {
            Some(Ours::Transport(transport)) => draft.packet.transport = Some(transport),
            Some(Ours::FullLength(len)) => draft.packet.full_length = Some(len),
            Some(Ours::CallId(id)) => draft.packet.call_id = Some(id),
            Some(Ours::Sequence(sequence)) => draft.packet.sequence = Some(sequence),
            Some(Ours::Acknowledged(acknowledged)) => draft.packet.acknowledged = Some(acknowledged),
            // Set only now, so that an ordinary packet is not walked a second time by whoever asks.
            None => draft.packet.vendor = VendorChunks::walked(chunks),
        }
    }
    Ok(())
}

macro_rules! reader {
    (($p:ident, $d:ident, $v:ident)
     $($id:literal $constant:ident: $ty:ty, $name:literal, $doc:literal => [$get:expr], [$set:expr];)*) => {
        /// Puts a generic chunk where the table says; unknown ones are passed over.
        #[inline]
        fn read_generic<'a>($d: &mut Draft<'a>, id: u16, body: &'a [u8]) -> Result<(), DecodeError> {
            match id {
                $($id => {
                    let $v = read::<$ty>($id, body)?;
                    $set;
                })*
                _ => {}
            }
            Ok(())
        }
    };
}

generic_chunks!(reader);

#[inline]
fn read<'a, T: Wire<'a>>(id: u16, body: &'a [u8]) -> Result<T, DecodeError> {
    T::read(body).ok_or(DecodeError::ChunkWidth { id, expected: T::WIDTH, found: body.len() })
}

/// Walks a sequence of chunks: vendor id, type id, body. It ends after the first error.
pub(crate) struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(chunks: &'a [u8]) -> Self {
        Chunks { rest: chunks }
    }

    /// What has not been walked yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(u16, u16, &'a [u8]), DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        let &[v0, v1, t0, t1, l0, l1, ref body @ ..] = bytes else {
            return (!bytes.is_empty()).then_some(Err(DecodeError::ChunkHeader { found: bytes.len() }));
        };
        let vendor = u16::from_be_bytes([v0, v1]);
        let id = u16::from_be_bytes([t0, t1]);
        let length = u16::from_be_bytes([l0, l1]);
        let Some(body_len) = usize::from(length).checked_sub(HEADER_LEN) else {
            return Some(Err(DecodeError::ChunkLength { vendor, id, found: length }));
        };
        let Some((body, rest)) = body.split_at_checked(body_len) else {
            let (expected, found) = (length.into(), bytes.len());
            return Some(Err(DecodeError::ChunkOverrun { vendor, id, expected, found }));
        };
        self.rest = rest;
        Some(Ok((vendor, id, body)))
    }
}
