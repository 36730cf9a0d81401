//! Where the counters began when they were last reset.
//!
//! Nobody but its owner writes a counter, so a reset writes none: it keeps what they were, and readers subtract it.
//! Two banks take turns, so that a reader always finds one that is whole.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::claim::Claim;
use crate::layout::LINE;
use crate::stats::{TOTALS, Totals};

/// Words: who is resetting, how often that was done, when the last was, then the banks.
const CLAIM: usize = 0;
const RESETS: usize = 1;
const AT: usize = 2;
const BANKS: usize = 2 * LINE;

/// A handle on it; copies refer to the same.
#[derive(Clone, Copy, Debug)]
pub struct Baseline(pub &'static [AtomicU64]);

/// Another process is resetting at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Baseline {
    /// What the counters were; zeroes before the first reset.
    pub fn totals(&self) -> Totals {
        loop {
            let resets = self.0[RESETS].load(Ordering::Acquire);
            let totals = Totals::of(self.bank(resets).iter().map(|word| word.load(Ordering::Relaxed)));
            fence(Ordering::Acquire);
            // A bank is written again by the second reset from here, so this one was whole. Resets come from people.
            if self.0[RESETS].load(Ordering::Relaxed) == resets {
                return totals;
            }
        }
    }

    /// The second in which the counters began.
    pub fn second(&self) -> u64 {
        self.0[AT].load(Ordering::Relaxed).max(1)
    }

    /// Lets the counters begin anew with what they are now, which `read` tells; answers that and what they were before.
    pub fn reset(&self, now: u64, read: impl FnOnce() -> Totals) -> Result<(Totals, Totals), Busy> {
        let _claim = Claim::take(&self.0[CLAIM], now).ok_or(Busy)?;
        let before = self.totals();
        let totals = read();
        let resets = self.0[RESETS].load(Ordering::Relaxed).wrapping_add(1);
        for (to, from) in self.bank(resets).iter().zip(totals.words()) {
            to.store(from, Ordering::Relaxed);
        }
        self.0[AT].store(now, Ordering::Relaxed);
        self.0[RESETS].store(resets, Ordering::Release);
        Ok((totals, before))
    }

    fn bank(&self, resets: u64) -> &'static [AtomicU64] {
        let first = if resets.is_multiple_of(2) { BANKS } else { BANKS + TOTALS };
        self.0.get(first..first + TOTALS).unwrap_or_default()
    }
}
