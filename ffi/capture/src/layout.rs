//! What lies where in the memory that all processes share.
//!
//! ```text
//! head        switch, sizes, what was said once, the sender's own counters
//! collectors  16 slots: state, URI text, counters of what became of their messages, the last error
//! baseline    what the counters were when they were reset
//! filters     the table of `trace_filter`
//! processes   per process: counters of what it offered
//! sessions    the table of `sessions`: keys, then entries
//! rings       per process: read and write position on lines of their own, then the records
//! ```
//!
//! Everything is an `AtomicU64`, so no lock can be left behind by a process that dies, and no unsafe code is needed.

use std::sync::atomic::AtomicU64;

use crate::stats::TOTALS;

/// Words in a cache line of 64 octets.
pub const LINE: usize = 8;
/// Collectors that one host can send to; a text that needs a seventeenth is refused and counted.
pub const COLLECTORS: usize = 16;

/// Words of the head.
pub const HEAD: usize = 4 * LINE;
/// Words of one collector slot.
pub const COLLECTOR: usize = 9 * LINE;
/// Words of one process's counters.
pub const PROCESS: usize = 2 * LINE;
/// Words before the records of a ring: the two positions, each on two lines, because processors fetch lines in pairs.
pub const RING_HEAD: usize = 4 * LINE;

/// Entries of the session table that are searched together; their keys fill two lines.
pub const BUCKET: usize = 2 * LINE;
/// Words of one entry of the session table.
pub const ENTRY: usize = 4 * LINE;

/// Words of one trace filter.
pub const FILTER: usize = 17 * LINE;
/// Words of the counters' baseline.
pub const BASELINE: usize = 2 * LINE + 2 * TOTALS;
/// Words before those of which there are more or less of.
const FIXED: usize = (HEAD + COLLECTORS * COLLECTOR + BASELINE).next_multiple_of(LINE);

/// Sizes of one mapping; all processes compute the same from the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Processes with a ring of their own.
    pub processes: usize,
    /// Words of records in each ring; a power of two.
    pub ring_words: usize,
    /// Entries of the session table; a power of two, or 0 for no table.
    pub sessions: usize,
    /// Trace filters that can be active at once.
    pub filters: usize,
}

impl Layout {
    /// For `processes` processes with rings of at least `ring_kib` KiB (rounded up to a power of two).
    #[must_use]
    pub fn new(processes: usize, ring_kib: u32) -> Self {
        let words = (ring_kib.max(1) as usize) * 1024 / size_of::<u64>();
        Self { processes, ring_words: words.next_power_of_two(), sessions: 0, filters: 0 }
    }

    /// The same with a table for at least `sessions` sessions (rounded up to a power of two).
    #[must_use]
    pub fn with_sessions(self, sessions: u32) -> Self {
        Self { sessions: (sessions as usize).max(BUCKET).next_power_of_two(), ..self }
    }

    /// The same with room for so many trace filters.
    #[must_use]
    pub fn with_filters(self, filters: u32) -> Self {
        Self { filters: filters as usize, ..self }
    }

    /// Words of the whole mapping; `None` if that is more than the address space.
    #[must_use]
    pub fn words(&self) -> Option<usize> {
        let per_process = self.ring_words.checked_add(PROCESS + RING_HEAD)?;
        let sessions = self.sessions.checked_mul(1 + ENTRY)?;
        let filters = self.filters.checked_mul(FILTER)?;
        self.processes
            .checked_mul(per_process)?
            .checked_add(FIXED)?
            .checked_add(filters)?
            .checked_add(sessions)
    }

    pub(crate) fn head<'m>(&self, words: &'m [AtomicU64]) -> &'m [AtomicU64] {
        part(words, 0, HEAD)
    }

    pub(crate) fn collector<'m>(&self, words: &'m [AtomicU64], slot: usize) -> &'m [AtomicU64] {
        part(words, HEAD + slot * COLLECTOR, COLLECTOR)
    }

    pub(crate) fn process<'m>(&self, words: &'m [AtomicU64], index: usize) -> &'m [AtomicU64] {
        part(words, self.first_process() + index * PROCESS, PROCESS)
    }

    pub(crate) fn baseline<'m>(&self, words: &'m [AtomicU64]) -> &'m [AtomicU64] {
        part(words, HEAD + COLLECTORS * COLLECTOR, BASELINE)
    }

    pub(crate) fn filters<'m>(&self, words: &'m [AtomicU64]) -> &'m [AtomicU64] {
        part(words, FIXED, self.filters * FILTER)
    }

    fn first_process(&self) -> usize {
        FIXED + self.filters * FILTER
    }

    /// Keys and entries of the session table.
    pub(crate) fn sessions<'m>(&self, words: &'m [AtomicU64]) -> (&'m [AtomicU64], &'m [AtomicU64]) {
        let first = self.first_process() + self.processes * PROCESS;
        (part(words, first, self.sessions), part(words, first + self.sessions, self.sessions * ENTRY))
    }

    pub(crate) fn ring<'m>(&self, words: &'m [AtomicU64], index: usize) -> &'m [AtomicU64] {
        let before = self.first_process() + self.processes * PROCESS;
        let first = before + self.sessions * (1 + ENTRY);
        part(words, first + index * (RING_HEAD + self.ring_words), RING_HEAD + self.ring_words)
    }
}

/// The caller has checked its index against the layout, and the mapping's length was checked when it was made.
fn part(words: &[AtomicU64], start: usize, len: usize) -> &[AtomicU64] {
    words.get(start..start + len).unwrap_or_default()
}
