//! What the backend tells about itself: metrics, logs, and the clock that both use.

pub mod clock;
mod kernel;
pub mod log;
mod metrics;
pub mod tally;

pub use metrics::{Metrics, ReplicaMetrics};
