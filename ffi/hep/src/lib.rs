#![forbid(unsafe_code)]
//! HEP, the protocol between those who capture and those who collect: HEP3 revision 37 both ways, HEP1 and HEP2 to
//! read.
//!
//! The capture agent encodes with it, the backend and the test collector decode with it. There is no I/O here, no
//! clock and no `unsafe`; decoding borrows from the bytes given and allocates nothing.
//!
//! ```
//! use hep::{Packet, Payload, Transport};
//!
//! let sent = Packet {
//!     src_ip: Some("192.0.2.1".parse()?),
//!     dst_ip: Some("192.0.2.2".parse()?),
//!     payload: Payload::Plain(b"OPTIONS sip:192.0.2.2 SIP/2.0\r\n\r\n"),
//!     correlation_id: Some(b"our-session-id"),
//!     transport: Some(Transport::Tls),
//!     ..Packet::default()
//! };
//! let mut wire = Vec::new();
//! hep::encode(&sent, &mut wire)?;
//! assert_eq!(hep::decode(&wire)?, sent);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`chunk`]: the one table of chunks; encoder, decoder and `docs/hep.md` follow it
//! - [`Packet`]: what one packet says
//! - [`decode()`], [`encode()`]: bytes to packet and back
//! - [`Template`]: the packets of one agent, quicker
//! - [`Sequence`] and [`Acknowledged`]: what lets a sender lose nothing
//! - [`erase_key`]: a packet that can be kept
//! - [`tenant()`]: whose a packet is, as a collector notes it
//! - [`framing`]: where a packet ends in a stream of bytes

pub mod chunk;
mod decode;
mod encode;
mod error;
pub mod framing;
mod key;
mod legacy;
mod packet;
mod payload;
mod sequence;
mod template;
mod tenant;
mod transport;
mod vendor;

pub use decode::decode;
pub use encode::{encode, encode_into, encoded_len};
pub use error::{DecodeError, EncodeError, FramingError, InflateError};
pub use key::{erase_key, erase_payloads, own_octets};
pub use packet::{Packet, Timestamp, Version};
pub use payload::{Payload, compress};
pub use sequence::{Acknowledged, SEQUENCE_LEN, Sequence, append_sequence};
pub use template::{Seen, Template};
pub use tenant::{append_tenant, erase_tenant, tenant};
pub use transport::Transport;
pub use vendor::{VendorChunk, VendorChunks};

/// Longest packet, octets: the length field of HEP3 has 16 bits and counts the whole packet.
pub const MAX_PACKET_LEN: usize = u16::MAX as usize;
