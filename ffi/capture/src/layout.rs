//! What lies where in the memory that all processes share.
//!
//! ```text
//! head        switch, what was said once, about the sender, what the memory is and its sizes
//! collectors  16 slots: state, URI text, counters of what became of their messages, the last error
//! baseline    what the counters were when they were reset
//! filters     the table of `trace_filter`
//! processes   per process: counters of what it offered
//! sessions    the table of `sessions`: keys, then entries
//! rings       per process: read and write position on lines of their own, then the records
//! ```
//!
//! Everything is an `AtomicU64`, so no lock can be left behind by a process that dies, and no unsafe code is needed.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use crate::stats::TOTALS;

/// Begins the description: "siplens" and a version. Whatever changes the meaning of a word gets another version.
const MARK: u64 = u64::from_be_bytes(*b"siplens\x02");
/// Where the description lies in the head.
const DESCRIPTION: usize = 3 * LINE;

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

/// Why memory that another program made is not used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AttachError {
    /// It was made by something else, or by another version of this program.
    #[error("memory of another kind or version: proxy module and siplens-agent must be of the same build")]
    Foreign,
    /// It says sizes that it does not have.
    #[error(
        "memory of {found} words describes itself as {described} processes, {ring_words} words of ring, {sessions} sessions and {filters} filters"
    )]
    Size {
        /// Words that there are.
        found: usize,
        /// Processes described.
        described: u64,
        /// Words of each ring described.
        ring_words: u64,
        /// Entries of the session table described.
        sessions: u64,
        /// Trace filters described.
        filters: u64,
    },
}

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

    /// Writes into the memory what it is, for a process that knows nothing of it.
    pub(crate) fn describe(&self, words: &[AtomicU64]) {
        let sizes = [self.processes, self.ring_words, self.sessions, self.filters].map(|size| size as u64);
        for (word, value) in words.iter().skip(DESCRIPTION).zip([MARK].into_iter().chain(sizes)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The layout of memory that describes itself. What is said in it is not trusted: the sizes fit the memory.
    pub(crate) fn described(words: &[AtomicU64]) -> Result<Self, AttachError> {
        let word = |index: usize| words.get(DESCRIPTION + index).map(|word| word.load(Ordering::Relaxed));
        let (Some(MARK), Some(processes), Some(ring_words), Some(sessions), Some(filters)) =
            (word(0), word(1), word(2), word(3), word(4))
        else {
            return Err(AttachError::Foreign);
        };
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let layout = Self {
            processes: size(processes),
            ring_words: size(ring_words),
            sessions: size(sessions),
            filters: size(filters),
        };
        let sound = layout.ring_words.is_power_of_two()
            && (layout.sessions == 0 || layout.sessions.is_power_of_two() && layout.sessions >= BUCKET)
            && layout.words() == Some(words.len());
        let wrong =
            AttachError::Size { found: words.len(), described: processes, ring_words, sessions, filters };
        sound.then_some(layout).ok_or(wrong)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory(layout: Layout) -> Vec<AtomicU64> {
        let words: Vec<_> = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect();
        layout.describe(&words);
        words
    }

    #[test]
    fn memory_says_what_it_is() {
        let layout = Layout::new(3, 128).with_sessions(100).with_filters(3);
        assert_eq!(Layout::described(&memory(layout)), Ok(layout));
        assert_eq!(Layout::described(&[]), Err(AttachError::Foreign));
        let other = memory(layout);
        other[DESCRIPTION].store(MARK + 1, Ordering::Relaxed);
        assert_eq!(Layout::described(&other), Err(AttachError::Foreign));
    }

    proptest! {
        #[test]
        fn sizes_that_the_memory_has_not_are_refused(
            sizes in prop::array::uniform4(prop_oneof![any::<u64>(), 0u64..70, (0u32..64).prop_map(|n| 1 << n)]),
        ) {
            let layout = Layout::new(2, 1);
            let words = memory(layout);
            for (word, size) in words.iter().skip(DESCRIPTION + 1).zip(sizes) {
                word.store(size, Ordering::Relaxed);
            }
            if let Ok(found) = Layout::described(&words) {
                prop_assert_eq!(found.words(), Some(words.len()));
            }
        }
    }
}
