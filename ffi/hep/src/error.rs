use crate::chunk::Width;

/// A packet that cannot be read: one variant per rule broken. Nothing of the packet is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A chunk's length counts its own header, so six is the least.
    #[error("chunk 0x{id:04x} of vendor 0x{vendor:04x}: expected a length of at least 6, found {found}")]
    ChunkLength {
        /// Vendor id.
        vendor: u16,
        /// Type id.
        id: u16,
        /// The length field.
        found: u16,
    },
    /// A chunk reaches beyond the end of its packet.
    #[error(
        "chunk 0x{id:04x} of vendor 0x{vendor:04x}: expected {expected} octets, found {found} to the packet's end"
    )]
    ChunkOverrun {
        /// Vendor id.
        vendor: u16,
        /// Type id.
        id: u16,
        /// The length field.
        expected: usize,
        /// Octets left, the chunk's header included.
        found: usize,
    },
    /// What is left after the last chunk is too short to be a chunk.
    #[error("after the last chunk: expected a chunk header of 6 octets, found {found}")]
    ChunkHeader {
        /// Octets left.
        found: usize,
    },
    /// A generic chunk whose body is not as wide as its type says.
    #[error("chunk 0x{id:04x}: expected {expected} octets, found {found}")]
    ChunkWidth {
        /// Type id.
        id: u16,
        /// What the table says.
        expected: Width,
        /// Octets of the body.
        found: usize,
    },
    /// HEP1 or HEP2 with an address family that is neither IPv4 nor IPv6.
    #[error("address family: expected 2 (IPv4), 10, 28 or 30 (IPv6), found {found}")]
    Family {
        /// The family octet.
        found: u8,
    },
    /// HEP1 or HEP2 whose header length does not fit its address family.
    #[error("header length: expected {expected}, found {found}")]
    HeaderLength {
        /// Fixed header and both addresses.
        expected: u8,
        /// The length octet.
        found: u8,
    },
    /// The packet's length counts its own header, so six is the least.
    #[error("packet length: expected at least 6, found {found}")]
    Length {
        /// The length field.
        found: u16,
    },
    /// Neither the octets `HEP3` or `EEP3` nor the version octet of HEP1 or HEP2 at the start.
    #[error("expected HEP1, HEP2 or HEP3, found octets {found:02x?}")]
    NotHep {
        /// The first four octets, or zeros where there are less.
        found: [u8; 4],
    },
    /// The packet ends before its length, or before its fixed header is complete.
    #[error("packet: expected {expected} octets, found {found}")]
    Truncated {
        /// Octets the packet must have at least.
        expected: usize,
        /// Octets given.
        found: usize,
    },
}

/// A packet that cannot be written; nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The buffer given is shorter than the packet.
    #[error("buffer: expected {expected} octets, found {found}")]
    BufferTooShort {
        /// Octets of the packet.
        expected: usize,
        /// Octets of the buffer.
        found: usize,
    },
    /// The packet would be longer than its length field can say.
    #[error("packet length: expected at most 65535 octets, found {found}")]
    TooLong {
        /// Octets the packet would have.
        found: usize,
    },
}

/// A stream that cannot go on: HEP has no mark to find the next packet by, so the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A packet's length counts its own header, so six is the least.
    #[error("stream cannot go on: expected a packet length of at least 6, found {found}")]
    Length {
        /// The length field.
        found: u16,
    },
    /// No HEP3 packet starts here.
    #[error("stream cannot go on: expected HEP3, found octets {found:02x?}")]
    Magic {
        /// The octets in its place, or zeros where there are less than four.
        found: [u8; 4],
    },
}

/// A compressed payload that cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The octets are neither zlib nor raw deflate, or are cut short.
    #[error("compressed payload: expected zlib or deflate, found other or incomplete data")]
    Corrupt,
    /// The inflated payload is longer than allowed.
    #[error("compressed payload: expected at most {limit} octets when inflated, found more")]
    TooLong {
        /// Octets allowed.
        limit: usize,
    },
}

/// The first four octets for an error message.
pub(crate) fn first_four(bytes: &[u8]) -> [u8; 4] {
    let mut found = [0; 4];
    for (to, from) in found.iter_mut().zip(bytes) {
        *to = *from;
    }
    found
}
