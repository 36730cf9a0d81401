//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, µs since the epoch; 0 if the clock stands before it.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}
