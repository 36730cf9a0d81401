//! Takes HEP from the network and hands it to the spool. What is not HEP is refused here, and every refusal is counted
//! by its reason; what the spool took is safe once it is synced.

mod admission;
pub mod keys;
pub mod quarantine;
mod rate;
pub mod stream;
pub mod tcp;
pub mod udp;

pub use admission::{Admission, Arrival, Refusal, Rules};

/// How long a stream is held back before it is asked for again whether it may go on.
const FULL_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
