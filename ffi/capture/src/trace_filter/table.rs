//! Trace filters as they lie in shared memory.
//!
//! One process writes at a time; nobody waits for it. What a killed writer left half written has a wrong checksum, and
//! counts as absent, as does what is being written at this moment: readers look again when the set has its new number.

use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::MAX_TEXT_BYTES;
use crate::checksum::checksum;
use crate::layout::{FILTER, LINE};

/// Words of an entry.
const NUMBER: usize = 0;
const UNTIL: usize = 1;
const META: usize = 2;
const CHECK: usize = 3;
/// Counted by everybody, so no part of what is checked.
const MATCHES: usize = 4;
const TEXT: usize = LINE;

const WORD: usize = size_of::<u64>();
const _: () = assert!(MAX_TEXT_BYTES <= (FILTER - TEXT) * WORD, "the longest text fits an entry");

/// A handle on the table; copies refer to the same.
#[derive(Clone, Copy, Debug)]
pub struct Table(&'static [[AtomicU64; FILTER]]);

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Never 0.
    pub number: u64,
    /// The second in which it ends.
    pub until: u64,
    /// The collector's.
    pub slot: u8,
    /// What was asked for.
    pub text: Vec<u8>,
}

impl Table {
    /// The table in these words.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        Self(words.as_chunks().0)
    }

    /// How many filters it can hold.
    pub fn room(self) -> usize {
        self.0.len()
    }

    /// A place that holds no active filter.
    pub fn free(self, now: u64) -> Option<usize> {
        (0..self.room()).find(|&index| self.read(index, now).is_none())
    }

    /// Active filters and their places.
    pub fn active(self, now: u64) -> impl Iterator<Item = (usize, Entry)> {
        (0..self.room()).filter_map(move |index| Some((index, self.read(index, now)?)))
    }

    /// Only for who holds the claim.
    pub fn write(self, index: usize, entry: &Entry) {
        let Some(words) = self.0.get(index) else { return };
        words[CHECK].store(0, Ordering::Relaxed);
        words[NUMBER].store(entry.number, Ordering::Relaxed);
        words[UNTIL].store(entry.until, Ordering::Relaxed);
        words[META].store((entry.text.len() as u64) << 8 | u64::from(entry.slot), Ordering::Relaxed);
        words[MATCHES].store(0, Ordering::Relaxed);
        for (word, octets) in words[TEXT..].iter().zip(entry.text.chunks(WORD)) {
            let mut bytes = [0; WORD];
            bytes[..octets.len()].copy_from_slice(octets);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        words[CHECK].store(sum(words), Ordering::Release);
    }

    /// Only for who holds the claim.
    pub fn remove(self, index: usize) {
        if let Some(words) = self.0.get(index) {
            words[CHECK].store(0, Ordering::Release);
        }
    }

    /// One more match, unless the place has another filter by now.
    pub fn count_match(self, index: usize, number: u64) {
        if let Some(words) = self.0.get(index)
            && words[NUMBER].load(Ordering::Relaxed) == number
        {
            words[MATCHES].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Matches that were counted.
    pub fn matches(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |words| words[MATCHES].load(Ordering::Relaxed))
    }

    fn read(self, index: usize, now: u64) -> Option<Entry> {
        // Copied first: the copy is what is checked.
        let words = self.0.get(index)?.each_ref().map(|word| word.load(Ordering::Acquire));
        let until = words[UNTIL];
        if now >= until {
            return None;
        }
        let copy = words.map(AtomicU64::new);
        if words[CHECK] != sum(&copy) {
            return None;
        }
        let len = text_len(words[META]);
        let text = words[TEXT..].iter().flat_map(|word| word.to_ne_bytes()).take(len).collect();
        Some(Entry { number: words[NUMBER], until, slot: (words[META] & 0xFF) as u8, text })
    }
}

fn text_len(meta: u64) -> usize {
    usize::try_from(meta >> 8).unwrap_or_default().min(MAX_TEXT_BYTES)
}

fn sum(words: &[AtomicU64; FILTER]) -> u64 {
    let text = &words[TEXT..][..text_len(words[META].load(Ordering::Relaxed)).div_ceil(WORD)];
    let fields = [NUMBER, UNTIL, META].into_iter().map(|field| &words[field]);
    checksum(fields.chain(text).map(|word| word.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(words: impl Iterator<Item = u64>) -> Table {
        Table::new(words.map(AtomicU64::new).collect::<Vec<_>>().leak())
    }

    fn entry(number: u64, text: &[u8]) -> Entry {
        Entry { number, until: 100, slot: 3, text: text.to_vec() }
    }

    #[test]
    fn what_was_written_is_read_until_it_ends_or_is_removed() {
        let table = table([0; 3 * FILTER].into_iter());
        let longest = vec![b'x'; MAX_TEXT_BYTES];
        table.write(1, &entry(7, &longest));
        assert_eq!(table.active(99).collect::<Vec<_>>(), [(1, entry(7, &longest))]);
        assert_eq!(table.active(100).count(), 0);
        assert_eq!(table.free(99), Some(0));
        table.count_match(1, 7);
        table.count_match(1, 8);
        assert_eq!(table.matches(1), 1);
        table.remove(1);
        assert_eq!(table.active(99).count(), 0);
    }

    #[test]
    fn what_a_killed_writer_left_counts_as_absent_and_its_place_is_used_again() {
        let table = table([0; FILTER].into_iter());
        table.write(0, &entry(7, b"caller=alice"));
        table.0[0][TEXT].store(42, Ordering::Relaxed);
        assert_eq!(table.active(1).count(), 0);
        assert_eq!(table.free(1), Some(0));
    }

    proptest! {
        #[test]
        fn no_content_of_the_words_makes_anything_panic(
            words in prop::collection::vec(any::<u64>(), FILTER), now in any::<u64>()
        ) {
            let table = table(words.into_iter());
            let _ = (table.active(now).count(), table.matches(0), table.matches(9));
            table.write(9, &entry(1, b""));
            table.count_match(9, 1);
        }
    }
}
