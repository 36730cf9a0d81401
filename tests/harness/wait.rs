//! Polling instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const STEP: Duration = Duration::from_millis(25);

/// Polls `condition` until it is true; fails with `what` in the text once `limit` has passed.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    eventually(what, limit, || if condition() { Ok(()) } else { bail!("not yet") })
}

/// How long a case is to wait: longer if Kamailio runs under something that makes it slow.
pub(crate) fn patient(limit: Duration) -> Duration {
    if std::env::var_os("SIPLENS_KAMAILIO_UNDER").is_some() { limit * 4 } else { limit }
}

/// Polls `attempt` until it succeeds and returns its value; after `limit` the last error is returned.
pub fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let (started, limit) = (Instant::now(), patient(limit));
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() >= limit => {
                return Err(error.context(format!("{what}: gave up after {limit:?}")));
            }
            Err(_) => std::thread::sleep(STEP),
        }
    }
}
