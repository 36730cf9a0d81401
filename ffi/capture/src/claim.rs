//! Leave to change something in shared memory that only one process may change at a time. Nobody waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds after which the holder is taken for dead; a change takes microseconds.
const STALE_AFTER: u64 = 2;
const FREE: u64 = 0;

/// Held until dropped.
#[derive(Debug)]
pub struct Claim {
    word: &'static AtomicU64,
    since: u64,
}

impl Claim {
    /// `None` while another holds it. `now` are seconds, never 0, on the clock of all who ask.
    pub fn take(word: &'static AtomicU64, now: u64) -> Option<Self> {
        let held = word.load(Ordering::Relaxed);
        if held != FREE && now.saturating_sub(held) < STALE_AFTER {
            return None;
        }
        word.compare_exchange(held, now, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Self { word, since: now })
    }
}

impl Drop for Claim {
    /// One that was taken over is no longer ours to give back.
    fn drop(&mut self) {
        let _ = self.word.compare_exchange(self.since, FREE, Ordering::Release, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_until_it_is_given_back_or_its_holder_is_dead() {
        let word: &AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let first = Claim::take(word, 10).unwrap();
        assert!(Claim::take(word, 11).is_none());
        let second = Claim::take(word, 12).unwrap();
        drop(first);
        assert!(Claim::take(word, 13).is_none(), "what was taken over is not given back by the first");
        drop(second);
        assert!(Claim::take(word, 13).is_some());
    }
}
