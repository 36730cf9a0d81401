//! Takes HEP from the network and hands it to the spool. What is not HEP is refused here, and every refusal is counted
//! by its reason; what the spool took is safe once it is synced.

mod admission;
pub mod tcp;
pub mod udp;

pub use admission::{Admission, Refusal};
