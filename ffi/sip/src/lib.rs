#![forbid(unsafe_code)]
//! The SIP facts that correlation and search need, cut out of a message as it was captured.
//!
//! This is a scanner, not a parser: it lends slices of the message, checks no grammar beyond the first line, and
//! needs no UTF-8. A header it cannot make sense of is a field that is `None`, never a message refused, since what is
//! broken is what people look for in a trace.
//!
//! The backend reads every message with [`parse`]; the capture agent, which has less time, takes [`call_id`].
//!
//! ```
//! let raw = b"INVITE sip:bob@example.com SIP/2.0\r\n\
//!     v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK776\r\n\
//!     From: \"Alice\" <sip:alice@example.com>;tag=88\r\n\
//!     i: a84b4c76e66710\r\n\
//!     CSeq: 314159 INVITE\r\n\r\n";
//! let message = sip::parse(raw)?;
//! assert_eq!(message.call_id(), Some(&b"a84b4c76e66710"[..]));
//! assert_eq!(message.branch(), Some(&b"z9hG4bK776"[..]));
//! let from = message.from().ok_or("no From")?;
//! assert_eq!((from.user, from.tag), (Some(&b"alice"[..]), Some(&b"88"[..])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod header;
mod mask;
mod message;
mod params;
mod party;
mod quick;
mod start;
mod uri;
mod via;

pub use header::{Header, Headers};
pub use mask::{BodyMask, Mask, cover};
pub use message::{CSeq, Message, parse, parse_identity};
pub use party::Party;
pub use quick::{QUICK_SCAN_LEN, call_id};
pub use start::{NotSip, StartLine, start_line};
pub use uri::{uri_host, uri_user};
pub use via::Via;
