//! Where one packet ends in a stream of bytes (TCP, TLS). HEP3 packets follow each other with nothing between them;
//! HEP1 and HEP2 have no length and cannot be sent over a stream.

use crate::FramingError;
use crate::error::first_four;

/// First octets of a packet. HEP3 rev. 37 keeps this name; the EEP draft of the same repository does not.
pub const MAGIC_HEP3: [u8; 4] = *b"HEP3";

/// The other name rev. 37 allows.
pub const MAGIC_EEP3: [u8; 4] = *b"EEP3";

/// Octets before the first chunk: magic and length.
pub const HEP3_HEADER_LEN: usize = 6;

/// What the start of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole packet, so many octets long. [`decode`](crate::decode()) reads it.
    Complete(usize),
    /// The start of a packet.
    Incomplete {
        /// Octets still missing, at least one. Before the packet's header is there, only those of the header count.
        needed: usize,
    },
}

/// Looks for one packet at the start of `buf`. A buffer of [`MAX_PACKET_LEN`](crate::MAX_PACKET_LEN) octets holds every
/// packet there can be.
pub fn frame(buf: &[u8]) -> Result<Frame, FramingError> {
    if let &[a, b, c, d, high, low, ..] = buf
        && is_magic([a, b, c, d])
    {
        let length = u16::from_be_bytes([high, low]);
        let total = usize::from(length);
        if total < HEP3_HEADER_LEN {
            return Err(FramingError::Length { found: length });
        }
        return Ok(match total.checked_sub(buf.len()) {
            None | Some(0) => Frame::Complete(total),
            Some(needed) => Frame::Incomplete { needed },
        });
    }
    let start = &buf[..buf.len().min(MAGIC_HEP3.len())];
    if MAGIC_HEP3.starts_with(start) || MAGIC_EEP3.starts_with(start) {
        Ok(Frame::Incomplete { needed: HEP3_HEADER_LEN - buf.len() })
    } else {
        Err(FramingError::Magic { found: first_four(buf) })
    }
}

pub(crate) fn is_magic(octets: [u8; 4]) -> bool {
    octets == MAGIC_HEP3 || octets == MAGIC_EEP3
}
