//! Takes HEP from the network and hands it to the spool. What is not HEP is refused here, and every refusal is counted
//! by its reason; what the spool took is safe once it is synced.

mod acknowledge;
mod admission;
pub mod content;
pub mod http;
pub mod keys;
pub mod places;
pub mod proxied;
pub mod quarantine;
mod rate;
pub mod stream;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod unix;
mod way;

pub use acknowledge::Receipt;
pub use admission::{Admission, Arrival, Batch, Outcome, Refusal, Rules};
pub use way::Way;

/// How long a stream is held back before it is asked for again whether it may go on.
const FULL_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
