use crate::chunk::{
    SIPLENS_ACKNOWLEDGED, SIPLENS_CALL_ID, SIPLENS_FULL_LENGTH, SIPLENS_SEQUENCE, SIPLENS_TRANSPORT,
    VENDOR_GENERIC, VENDOR_SIPLENS,
};
use crate::decode::Chunks;
use crate::{Acknowledged, DecodeError, Sequence, Transport};

/// A chunk of a vendor: its type id has the meaning the vendor gives it, never that of the generic chunk of the same
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorChunk<'a> {
    /// Vendor id, not 0.
    pub vendor: u16,
    /// Type id among this vendor's.
    pub id: u16,
    /// Body, as it came.
    pub body: &'a [u8],
}

/// The vendor chunks of a packet that are not read into a field, in the packet's order. It is an iterator over borrowed
/// bytes: copying it costs nothing, and two are equal if they yield equal chunks.
#[derive(Clone, Copy, Debug, Default)]
pub struct VendorChunks<'a> {
    /// Chunks, generic ones among them; known to be well formed.
    rest: &'a [u8],
}

impl<'a> VendorChunks<'a> {
    /// From encoded chunks, for a packet to be written. Generic chunks among them are passed over, and so are
    /// those of Siplens, which have fields of their own.
    pub fn new(chunks: &'a [u8]) -> Result<Self, DecodeError> {
        Chunks::new(chunks).try_for_each(|chunk| chunk.map(drop))?;
        Ok(VendorChunks { rest: chunks })
    }

    /// From chunks that have been walked before.
    pub(crate) fn walked(rest: &'a [u8]) -> Self {
        VendorChunks { rest }
    }
}

impl<'a> Iterator for VendorChunks<'a> {
    type Item = VendorChunk<'a>;

    fn next(&mut self) -> Option<VendorChunk<'a>> {
        let mut chunks = Chunks::new(self.rest);
        while let Some(Ok((vendor, id, body))) = chunks.next() {
            if vendor != VENDOR_GENERIC && Ours::read(vendor, id, body).is_none() {
                self.rest = chunks.rest();
                return Some(VendorChunk { vendor, id, body });
            }
        }
        self.rest = &[];
        None
    }
}

impl PartialEq for VendorChunks<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

/// What a chunk of Siplens says.
pub(crate) enum Ours<'a> {
    Transport(Transport),
    FullLength(u32),
    CallId(&'a [u8]),
    Sequence(Sequence),
    Acknowledged(Acknowledged),
}

impl<'a> Ours<'a> {
    /// `None` for any other vendor's, and for what this version does not know.
    pub(crate) fn read(vendor: u16, id: u16, body: &'a [u8]) -> Option<Self> {
        match (vendor, id, body) {
            (VENDOR_SIPLENS, SIPLENS_TRANSPORT, &[code]) => Transport::from_code(code).map(Self::Transport),
            (VENDOR_SIPLENS, SIPLENS_FULL_LENGTH, &[a, b, c, d]) => {
                Some(Self::FullLength(u32::from_be_bytes([a, b, c, d])))
            }
            (VENDOR_SIPLENS, SIPLENS_CALL_ID, _) => Some(Self::CallId(body)),
            (VENDOR_SIPLENS, SIPLENS_SEQUENCE, _) => Sequence::read(body).map(Self::Sequence),
            (VENDOR_SIPLENS, SIPLENS_ACKNOWLEDGED, _) => Acknowledged::read(body).map(Self::Acknowledged),
            _ => None,
        }
    }
}
