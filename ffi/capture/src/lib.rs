#![forbid(unsafe_code)]
//! The capture agent, without any host: both proxy modules are this crate plus glue.
//!
//! A worker of the proxy offers each message it sees; the sender, in a process of its own, puts it on the wire:
//!
//! ```text
//! worker:  agent::offer → filter → session → correlation → HEP3 → queue (one per process, in memory all processes share)
//! sender:  queues → backlog (one per collector, bounded) → UDP, TCP or TLS
//! ```
//!
//! A script's call offers one message, and may open a session: the later messages of that transaction or dialog, which
//! the host shows to `agent::observe` in whichever process meets them, go the same way under the same id.
//!
//! On the worker's side nothing waits, locks, resolves names, makes a system call or, once warm, allocates. What
//! cannot be taken is dropped and counted by cause; the counters are in messages and add up ([`Stats`]).
//!
//! ```
//! use capture::{Agent, Config, Layout, Message, Offer, Settings, Shared, Transport};
//!
//! let config = Config::check(Settings { hep_capture_id: 2001, ..Settings::default() }).unwrap();
//! let layout = Layout::new(1, config.ring_size_kib);
//! // A proxy module passes memory that its processes share.
//! let words = (0..layout.words().unwrap()).map(|_| Default::default()).collect::<Vec<_>>().leak();
//! let shared = Shared::new(words, layout, config.enabled).unwrap();
//!
//! let mut agent = Agent::new(shared, 0, &config).unwrap();
//! let message = Message {
//!     raw: b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\n",
//!     source: Some("127.0.0.1:5070".parse().unwrap()),
//!     destination: Some("127.0.0.1:5060".parse().unwrap()),
//!     transport: Transport::Udp,
//!     captured_at: capture::now(),
//!     inner_call_id: None,
//! };
//! agent.offer(&Offer { message, collector: Some(b"udp:127.0.0.1:9060"), correlation: None, template: None }).unwrap();
//! assert_eq!(shared.stats().in_queue, 1);
//! ```

mod agent;
mod baseline;
mod checksum;
mod claim;
mod collector;
mod config;
mod correlation;
mod endpoint;
mod filter;
mod layout;
mod lookup;
mod mask;
mod message;
mod network;
mod queue;
mod sender;
mod sessions;
mod shared;
mod shown;
mod stats;
mod tls;
mod trace_filter;

pub use agent::{Agent, Delivered, Followed, MAX_PACKET_BYTES, Offer, Refusal, Scope};
pub use baseline::Busy;
pub use collector::{CollectorUri, Protocol, UriError, collectors};
pub use config::{Config, ConfigError, Settings};
pub use correlation::MAX_CORRELATION_BYTES;
pub use endpoint::{Endpoint, EndpointError};
pub use hep::{Timestamp, Transport};
pub use layout::{AttachError, COLLECTORS, Layout};
pub use lookup::Lookup;
pub use message::{Message, now};
pub use network::Network;
pub use sender::{Event, Level, Limits, Order, Orders, Sender};
pub use sessions::MAX_SESSION_ID_BYTES;
pub use shared::{Notice, Shared, Status};
pub use shown::{Held, Shown};
pub use sip::call_id;
pub use stats::{CollectorStats, Dropped, LinkState, Stats};
pub use tls::{Tls, TlsError};
pub use trace_filter::{FilterError, RuleError, TraceFilter};

/// The parts of the queue, for benchmarks and tests of this crate.
#[doc(hidden)]
pub mod parts {
    pub use crate::queue::{Full, MAX_RECORD_BYTES, Reader, Taken, Writer};

    /// The reading end of every queue.
    pub fn readers(shared: crate::Shared) -> Vec<Reader> {
        shared.readers()
    }
}
