//! Whether messages have to be looked at that no script points at.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;
use crate::layout::LINE;
use crate::trace_filter::Table;

/// Words of the head.
const WATCHING: usize = 3;
const FILTERS_CLAIM: usize = LINE + 2;
const FILTERS_SERIAL: usize = LINE + 3;
const FILTERS_NUMBER: usize = LINE + 4;

/// Bits of the word that says whether messages may have to be looked at: 0 while no session was ever opened and no
/// trace filter is active.
const FOLLOWING: u64 = 1;
/// A trace filter was added some time.
const FILTERED: u64 = 1 << 1;
/// From here on the serial number of the present set of trace filters, 0 for none.
const FILTERS_SHIFT: u32 = 2;

impl Shared {
    /// Whether a session was ever opened or a trace filter is active: until then, no message has to be looked at.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        let word = self.head(WATCHING).load(Ordering::Relaxed);
        word & FOLLOWING != 0 || word >> FILTERS_SHIFT != 0
    }

    /// Whether a session was ever opened: until then, nobody has to look for one.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.head(WATCHING).load(Ordering::Relaxed) & FOLLOWING != 0
    }

    /// Whether a trace filter was ever added: from then on, a message that comes in may be captured before the script
    /// has said anything about it.
    #[must_use]
    pub fn was_filtering(&self) -> bool {
        self.head(WATCHING).load(Ordering::Relaxed) & FILTERED != 0
    }

    pub(crate) fn set_following(&self) {
        self.head(WATCHING).fetch_or(FOLLOWING, Ordering::Relaxed);
    }

    /// The serial number of the present set of trace filters, 0 for none.
    #[inline]
    pub(crate) fn filters_serial(&self) -> u64 {
        self.head(WATCHING).load(Ordering::Acquire) >> FILTERS_SHIFT
    }

    /// The number of the next trace filter, from 1 on.
    pub(crate) fn next_filter_number(&self) -> u64 {
        self.head(FILTERS_NUMBER).fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells all processes that there is another set of trace filters, or none.
    pub(crate) fn publish_filters(&self, any: bool) {
        let serial = self.head(FILTERS_SERIAL).fetch_add(1, Ordering::Relaxed) + 1;
        let serial = if any { serial << FILTERS_SHIFT } else { 0 };
        let change = |word: u64| Some(word & FOLLOWING | FILTERED | serial);
        let _ = self.head(WATCHING).fetch_update(Ordering::Release, Ordering::Relaxed, change);
    }

    /// Ends the looking for trace filters, if the set is still the one that was found to have expired.
    pub(crate) fn retire_filters(&self, serial: u64) {
        let retire = |word: u64| (word >> FILTERS_SHIFT == serial).then_some(word & (FOLLOWING | FILTERED));
        let _ = self.head(WATCHING).fetch_update(Ordering::Relaxed, Ordering::Relaxed, retire);
    }

    /// The table of trace filters; only who holds the claim on it may write.
    pub(crate) fn filter_table(&self) -> Table {
        Table::new(self.layout.filters(self.words))
    }

    pub(crate) fn filters_claim(&self) -> &'static AtomicU64 {
        self.head(FILTERS_CLAIM)
    }
}
