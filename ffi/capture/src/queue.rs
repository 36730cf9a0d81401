//! A bounded queue from one process to the sender: one writer, one reader, no lock, no waiting.
//!
//! A record is a header and two parts, each of which begins with a 64-bit word of its own: what is put together by the
//! reader costs the writer nothing. The writer stores the words of a record, then publishes them with one release store
//! of its position; what a killed writer left unfinished was never published, so there is nothing to repair. A full
//! queue drops the newest record: the caller counts it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{LINE, RING_HEAD};

/// Octets of the largest record; HEP's own limit, which also bounds what a damaged length can make the reader take.
pub const MAX_RECORD_BYTES: usize = 65_535;

const WORD: usize = size_of::<u64>();

/// The positions count words since the start and never go back; `position & (len - 1)` is the index.
#[derive(Clone, Copy, Debug)]
struct Ring {
    written: &'static AtomicU64,
    read: &'static AtomicU64,
    journal: [Entry; 2],
    words: &'static [AtomicU64],
}

/// How many records the reader had taken when it was at a position.
///
/// There are two, written in turn, each before the reader's position is: whenever a reader is killed, one of them is
/// about the position that stands. So the next reader knows to the record how many were taken.
#[derive(Clone, Copy, Debug)]
struct Entry {
    position: &'static AtomicU64,
    taken: &'static AtomicU64,
}

impl Ring {
    /// Takes apart one ring of the mapping; `None` unless its length is a power of two behind the two positions.
    fn new(words: &'static [AtomicU64]) -> Option<Self> {
        let (head, words) = words.split_at_checked(RING_HEAD)?;
        words.len().is_power_of_two().then_some(())?;
        let entry = |at: usize| Some(Entry { position: head.get(at)?, taken: head.get(at + 1)? });
        let journal = [entry(2 * LINE + 1)?, entry(2 * LINE + 3)?];
        Some(Self { written: head.first()?, read: head.get(2 * LINE)?, journal, words })
    }

    fn word(&self, position: u64) -> &'static AtomicU64 {
        // The mask keeps the index inside: the length is a power of two.
        &self.words[position as usize & (self.words.len() - 1)]
    }

    /// The words from this position to the end of the memory, and those before it, where writing goes on.
    fn around(&self, position: u64) -> (&'static [AtomicU64], &'static [AtomicU64]) {
        let (before, from) = self.words.split_at(position as usize & (self.words.len() - 1));
        (from, before)
    }
}

/// The writing end. One per process.
#[derive(Debug)]
pub struct Writer {
    ring: Ring,
    position: u64,
    /// The reader's position when last looked at; looking again costs a cache miss.
    read_seen: u64,
}

/// The queue had no room for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Writer {
    /// The writing end of a ring that lies in `words`; `None` if that is no ring.
    #[must_use]
    pub fn new(words: &'static [AtomicU64]) -> Option<Self> {
        let ring = Ring::new(words)?;
        Some(Self {
            ring,
            position: ring.written.load(Ordering::Relaxed),
            read_seen: ring.read.load(Ordering::Acquire),
        })
    }

    /// Appends a record with a small number beside it (the collector's slot). Never waits.
    ///
    /// # Errors
    /// [`Full`] if there is no room, or the record is larger than [`MAX_RECORD_BYTES`] or than the ring.
    pub fn push(&mut self, slot: u8, record: &[u8]) -> Result<(), Full> {
        self.push_joined(slot, record, &[])
    }

    /// As [`push`](Self::push), for a record that lies in two parts: they are joined here and nowhere else.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn push_joined(&mut self, slot: u8, head: &[u8], rest: &[u8]) -> Result<(), Full> {
        let len = head.len() + rest.len();
        let needed = words(head.len(), rest.len());
        if len > MAX_RECORD_BYTES || !self.has_room(needed as u64) {
            return Err(Full);
        }
        let header = header(slot, head.len(), rest.len());
        let (until_end, from_start) = self.ring.around(self.position);
        match until_end.get(..needed) {
            Some(words) => fill(words, header, head, rest),
            None => fill_around(until_end, from_start, header, head, rest),
        }
        self.position += needed as u64;
        self.ring.written.store(self.position, Ordering::Release);
        Ok(())
    }

    fn has_room(&mut self, needed: u64) -> bool {
        let size = self.ring.words.len() as u64;
        if self.position.wrapping_sub(self.read_seen).wrapping_add(needed) <= size {
            return true;
        }
        self.read_seen = self.ring.read.load(Ordering::Acquire);
        self.position.wrapping_sub(self.read_seen).saturating_add(needed) <= size
    }
}

/// The reading end. The sender has one per process.
#[derive(Debug)]
pub struct Reader {
    ring: Ring,
    position: u64,
    taken: u64,
    /// The entry of the journal that is about the present position.
    entry: usize,
}

/// What a look into the queue found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The records up to the writer's position made no sense and were skipped. Needs a stray write by somebody else.
    Damaged,
    /// Nothing to take.
    Empty,
    /// A record was copied out; the number is the collector's slot.
    Record(u8),
}

impl Reader {
    /// The reading end of a ring that lies in `words`; `None` if that is no ring.
    #[must_use]
    pub fn new(words: &'static [AtomicU64]) -> Option<Self> {
        let ring = Ring::new(words)?;
        let position = ring.read.load(Ordering::Acquire);
        let about = |entry: &Entry| entry.position.load(Ordering::Relaxed) == position;
        let entry = ring.journal.iter().position(about).unwrap_or_default();
        let taken = ring.journal.get(entry).map_or(0, |entry| entry.taken.load(Ordering::Relaxed));
        Some(Self { ring, position, taken, entry })
    }

    /// Records taken so far, by this reader and by those before it.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Copies the oldest record into `record`, which is cleared first, and frees its place.
    pub fn take(&mut self, record: &mut Vec<u8>) -> Taken {
        record.clear();
        let written = self.ring.written.load(Ordering::Acquire);
        let available = written.wrapping_sub(self.position);
        if available == 0 {
            return Taken::Empty;
        }
        let (slot, head, rest) = from_header(self.ring.word(self.position).load(Ordering::Relaxed));
        let needed = words(head, rest) as u64;
        if head + rest > MAX_RECORD_BYTES || needed > available || available > self.ring.words.len() as u64 {
            // Where the next record starts is unknown; the writer's position is the next sure boundary.
            self.release(written, 0);
            return Taken::Damaged;
        }
        let (until_end, from_start) = self.ring.around(self.position.wrapping_add(1));
        let mut from = until_end.iter().chain(from_start);
        for len in [head, rest] {
            let end = record.len() + len;
            for word in from.by_ref().take(len.div_ceil(WORD)) {
                record.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
            record.truncate(end);
        }
        self.release(self.position.wrapping_add(needed), 1);
        Taken::Record(slot)
    }

    fn release(&mut self, position: u64, records: u64) {
        self.position = position;
        self.taken = self.taken.wrapping_add(records);
        self.entry ^= 1;
        if let Some(entry) = self.ring.journal.get(self.entry) {
            entry.taken.store(self.taken, Ordering::Relaxed);
            entry.position.store(position, Ordering::Relaxed);
        }
        self.ring.read.store(position, Ordering::Release);
    }
}

/// Writes a record into just as many words as it needs.
#[inline]
fn fill(words: &[AtomicU64], header: u64, head: &[u8], rest: &[u8]) {
    let Some((first, words)) = words.split_first() else { return };
    first.store(header, Ordering::Relaxed);
    store(store(words, head), rest);
}

/// The same, when the record goes on at the ring's start: once in a turn, so it may take its time.
#[cold]
#[inline(never)]
fn fill_around(until_end: &[AtomicU64], from_start: &[AtomicU64], header: u64, head: &[u8], rest: &[u8]) {
    let octets = [head, rest].into_iter().flat_map(|part| part.chunks(WORD)).map(last_octets);
    for (word, octets) in until_end.iter().chain(from_start).zip([header].into_iter().chain(octets)) {
        word.store(octets, Ordering::Relaxed);
    }
}

/// Stores octets, sixteen words at a time: an atomic store is an ordinary one here, but no compiler joins or unrolls
/// it. Hands back the words behind them.
#[inline]
fn store<'w>(words: &'w [AtomicU64], octets: &[u8]) -> &'w [AtomicU64] {
    let (whole, end) = octets.as_chunks::<WORD>();
    let Some((to, words)) = words.split_at_checked(whole.len()) else { return &[] };
    let (many, few) = to.as_chunks::<16>();
    let (many_octets, few_octets) = whole.as_chunks::<16>();
    for (words, octets) in many.iter().zip(many_octets) {
        for (word, octets) in words.iter().zip(octets) {
            word.store(u64::from_ne_bytes(*octets), Ordering::Relaxed);
        }
    }
    for (word, octets) in few.iter().zip(few_octets) {
        word.store(u64::from_ne_bytes(*octets), Ordering::Relaxed);
    }
    match words.split_first() {
        Some((word, words)) if !end.is_empty() => {
            // What stands before the last few is read with them where it can be: that needs neither loop nor call.
            let last = match octets.last_chunk::<WORD>() {
                Some(last) => (u64::from_le_bytes(*last) >> (8 * (WORD - end.len()))).to_le(),
                None => last_octets(end),
            };
            word.store(last, Ordering::Relaxed);
            words
        }
        _ => words,
    }
}

/// A word of at most eight octets, the first of them first in memory.
fn last_octets(octets: &[u8]) -> u64 {
    octets.iter().take(WORD).rev().fold(0, |word, &octet| word << 8 | u64::from(octet)).to_le()
}

/// Words that a record takes, its header among them.
fn words(head: usize, rest: usize) -> usize {
    1 + head.div_ceil(WORD) + rest.div_ceil(WORD)
}

/// Slot, and the octets of both parts.
fn header(slot: u8, head: usize, rest: usize) -> u64 {
    (u64::from(slot) << 40) | (head as u64) << 20 | rest as u64
}

fn from_header(word: u64) -> (u8, usize, usize) {
    const LEN: u64 = (1 << 20) - 1;
    let slot = u8::try_from(word >> 40).unwrap_or(u8::MAX);
    (slot, (word >> 20 & LEN) as usize, (word & LEN) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(words: usize) -> &'static [AtomicU64] {
        (0..RING_HEAD + words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak()
    }

    fn ends(words: usize) -> (Writer, Reader) {
        let ring = ring(words);
        (Writer::new(ring).unwrap(), Reader::new(ring).unwrap())
    }

    #[test]
    fn records_come_out_in_order_with_their_slot() {
        let (mut writer, mut reader) = ends(64);
        let mut record = Vec::new();
        for round in 0..100u8 {
            let text = vec![round; usize::from(round % 40)];
            writer.push(round % 16, &text).unwrap();
            assert_eq!(reader.take(&mut record), Taken::Record(round % 16));
            assert_eq!(record, text);
        }
        assert_eq!(reader.take(&mut record), Taken::Empty);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_keeps_the_rest() {
        let (mut writer, mut reader) = ends(16);
        let mut kept = 0u8;
        while writer.push(0, &[kept; 24]).is_ok() {
            kept += 1;
        }
        assert_eq!(kept, 4, "four words each");
        let mut record = Vec::new();
        for expected in 0..kept {
            assert_eq!(reader.take(&mut record), Taken::Record(0));
            assert_eq!(record, [expected; 24]);
        }
        assert_eq!(writer.push(0, &[9; 24]), Ok(()));
    }

    #[test]
    fn what_was_not_published_is_never_seen() {
        let ring = ring(32);
        let mut reader = Reader::new(ring).unwrap();
        // A writer that died between its stores and the publication.
        ring[RING_HEAD].store(header(1, 0, 8), Ordering::Relaxed);
        ring[RING_HEAD + 1].store(42, Ordering::Relaxed);
        assert_eq!(reader.take(&mut Vec::new()), Taken::Empty);
    }

    #[test]
    fn a_damaged_length_is_skipped_and_the_queue_goes_on() {
        let ring = ring(32);
        let (mut writer, mut reader) = (Writer::new(ring).unwrap(), Reader::new(ring).unwrap());
        writer.push(0, b"damaged below").unwrap();
        ring[RING_HEAD].store(u64::MAX, Ordering::Relaxed);
        let mut record = Vec::new();
        assert_eq!(reader.take(&mut record), Taken::Damaged);
        writer.push(3, b"whole").unwrap();
        assert_eq!(reader.take(&mut record), Taken::Record(3));
        assert_eq!(record, b"whole");
    }

    #[test]
    fn a_writer_in_another_thread_loses_nothing_but_what_it_was_told() {
        let (mut writer, mut reader) = ends(256);
        let total = 100_000u64;
        let writing = std::thread::spawn(move || {
            let mut refused = 0u64;
            for number in 0..total {
                let record = [number.to_ne_bytes(), number.to_ne_bytes()].concat();
                while writer.push(0, &record).is_err() {
                    refused += 1;
                    std::thread::yield_now();
                }
            }
            refused
        });
        let mut record = Vec::new();
        let mut expected = 0u64;
        while expected < total {
            match reader.take(&mut record) {
                Taken::Record(_) => {
                    assert_eq!(record[..8], expected.to_ne_bytes());
                    assert_eq!(record[8..], expected.to_ne_bytes());
                    expected += 1;
                }
                Taken::Empty => std::thread::yield_now(),
                Taken::Damaged => panic!("damaged"),
            }
        }
        writing.join().unwrap();
    }

    proptest! {
        #[test]
        fn a_record_in_two_parts_is_the_same_as_in_one(
            head in prop::collection::vec(any::<u8>(), 0..150), rest in prop::collection::vec(any::<u8>(), 0..150)
        ) {
            let (mut writer, mut reader) = ends(64);
            let mut record = Vec::new();
            // Several, so that each part once goes on at the start of the ring.
            for _ in 0..5 {
                prop_assert_eq!(writer.push_joined(7, &head, &rest), Ok(()));
                prop_assert_eq!(reader.take(&mut record), Taken::Record(7));
                prop_assert_eq!(&record, &[head.as_slice(), &rest].concat());
            }
        }

        #[test]
        fn any_interleaving_keeps_order_and_content(
            steps in prop::collection::vec((any::<bool>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..90)), 0..200)
        ) {
            let (mut writer, mut reader) = ends(64);
            let mut model = std::collections::VecDeque::new();
            let mut used = 0;
            let mut record = Vec::new();
            for (push, slot, bytes) in steps {
                if push {
                    let words = 1 + bytes.len().div_ceil(8);
                    let fits = used + words <= 64;
                    prop_assert_eq!(writer.push(slot, &bytes).is_ok(), fits);
                    if fits {
                        used += words;
                        model.push_back((slot, bytes));
                    }
                } else {
                    match model.pop_front() {
                        None => prop_assert_eq!(reader.take(&mut record), Taken::Empty),
                        Some((slot, bytes)) => {
                            prop_assert_eq!(reader.take(&mut record), Taken::Record(slot));
                            prop_assert_eq!(&record, &bytes);
                            used -= 1 + bytes.len().div_ceil(8);
                        }
                    }
                }
            }
        }

        #[test]
        fn no_content_of_the_words_makes_the_reader_panic(
            words in prop::collection::vec(any::<u64>(), 64), written in any::<u64>(), read in any::<u64>()
        ) {
            let ring = ring(64);
            for (to, from) in ring[RING_HEAD..].iter().zip(words) {
                to.store(from, Ordering::Relaxed);
            }
            ring[0].store(written, Ordering::Relaxed);
            ring[2 * LINE].store(read, Ordering::Relaxed);
            let mut reader = Reader::new(ring).unwrap();
            let mut record = Vec::new();
            for _ in 0..100 {
                reader.take(&mut record);
                prop_assert!(record.len() <= MAX_RECORD_BYTES);
            }
        }
    }
}
