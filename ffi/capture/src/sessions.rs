//! The sessions that are being followed: which transaction or dialog goes to which collector under which id.
//!
//! A fixed table in the memory that all processes share, so that whichever process meets a later message knows what
//! one process was told about the first. Everything is an `AtomicU64`, nobody waits, and no lock exists:
//!
//! ```text
//! keys     one word per entry, sixteen to a bucket; 0 was never used. A key has two buckets to choose from
//! entries  state, key, expiry, collector and length, checksum, correlation id
//! ```
//!
//! The state is even when the entry can be read, and odd, with the time in its upper half, while it is written. A
//! reader that finds the state changed under it reads again, or takes the entry for absent. A writer that was killed
//! leaves an odd state behind: after [`STALE_AFTER`] seconds the next one takes over. Should the first writer have
//! been asleep rather than dead, both write at once; then the checksum is wrong, and the entry counts as absent.

mod key;
mod lifetime;

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::checksum::checksum;
use crate::layout::{BUCKET, ENTRY};

pub(crate) use key::{Facts, Keys};
pub(crate) use lifetime::Lifetimes;

/// Octets of the longest correlation id that an entry holds.
pub const MAX_SESSION_ID_BYTES: usize = TEXT_WORDS * WORD;

const WORD: usize = size_of::<u64>();

/// Words of an entry.
const STATE: usize = 0;
const KEY: usize = 1;
const EXPIRY: usize = 2;
const META: usize = 3;
const CHECK: usize = 4;
const TEXT: usize = LEADING;
const LEADING: usize = 8;
const TEXT_WORDS: usize = ENTRY - LEADING;

/// Seconds after which a writer is taken for dead; writing takes less than a microsecond.
const STALE_AFTER: u64 = 2;
/// How often a reader looks again while somebody writes.
const ATTEMPTS: usize = 256;

const BUSY: u64 = 1;
/// The part of the state that counts writes.
const COUNT_MASK: u64 = 0xFFFF_FFFE;
/// The lowest bit of the expiry: a dialog is established.
const ESTABLISHED: u64 = 1;

/// A handle on the table; copies refer to the same.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    keys: &'static [AtomicU64],
    entries: &'static [AtomicU64],
}

/// How long an entry lives, and what is known of its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The second in which it ends, on the clock of the callers.
    pub until: u64,
    /// Whether the dialog was established by a positive reply.
    pub established: bool,
}

impl Life {
    fn word(self) -> u64 {
        (self.until << 1) | if self.established { ESTABLISHED } else { 0 }
    }

    fn of(word: u64) -> Self {
        Self { until: word >> 1, established: word & ESTABLISHED != 0 }
    }
}

/// What an entry says, copied out of it.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// The collector's slot.
    pub collector: u8,
    /// How long it lives.
    pub life: Life,
    index: usize,
    id: [u8; MAX_SESSION_ID_BYTES],
    id_len: usize,
}

impl Session {
    /// The correlation id; empty for each message's Call-ID.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        self.id.get(..self.id_len).unwrap_or_default()
    }
}

/// There is no room for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Both buckets of its key are full of sessions that live.
    Full,
    /// The id is longer than [`MAX_SESSION_ID_BYTES`].
    TooLong,
}

impl Sessions {
    /// The table in these words; `None` unless there are as many as `keys` needs, and these are whole buckets.
    #[must_use]
    pub fn new(keys: &'static [AtomicU64], entries: &'static [AtomicU64]) -> Option<Self> {
        let buckets = keys.len() / BUCKET;
        (buckets.is_power_of_two()
            && keys.len().is_multiple_of(BUCKET)
            && entries.len() == keys.len() * ENTRY)
            .then_some(Self { keys, entries })
    }

    /// What was opened under this key and has not expired by `now`.
    #[must_use]
    pub fn find(&self, key: u64, now: u64) -> Option<Session> {
        self.places(key).filter(|&index| self.holds(index, key)).find_map(|index| self.read(index, key, now))
    }

    /// Gives a session that was found another life, unless somebody else changed it meanwhile.
    pub fn extend(&self, session: &Session, life: Life) {
        if life != session.life {
            let _ = self.entry(session.index)[EXPIRY].compare_exchange(
                session.life.word(),
                life.word(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Opens a session, or changes the one with this key.
    ///
    /// # Errors
    /// [`Refused`]; then nothing has changed.
    pub fn open(&self, key: u64, collector: u8, id: &[u8], life: Life, now: u64) -> Result<(), Refused> {
        if id.len() > MAX_SESSION_ID_BYTES {
            return Err(Refused::TooLong);
        }
        if let Some(session) = self.find(key, now)
            && session.collector == collector
            && session.id() == id
        {
            self.extend(&session, life);
            return Ok(());
        }
        let same = self.places(key).filter(|&index| self.holds(index, key));
        let free = self.buckets_by_room(key, now).filter(|&index| self.is_free(index, now));
        for index in same.chain(free) {
            let Some(claim) = self.claim(index, now) else { continue };
            // Between the look and the claim somebody else may have filled it.
            if self.holds(index, key) || self.is_over(index, now) {
                self.write(index, key, collector, id, life);
                self.release(index, claim);
                return Ok(());
            }
            self.release(index, claim);
        }
        Err(Refused::Full)
    }

    /// Sessions that live at this moment, and how many there is room for. Looks at every key.
    #[must_use]
    pub fn occupancy(&self, now: u64) -> (usize, usize) {
        let live = (0..self.keys.len()).filter(|&index| !self.is_over(index, now)).count();
        (live, self.keys.len())
    }

    fn entry(&self, index: usize) -> &'static [AtomicU64] {
        &self.entries[index * ENTRY..][..ENTRY]
    }

    fn holds(&self, index: usize, key: u64) -> bool {
        self.keys[index].load(Ordering::Acquire) == key
    }

    /// First entries of a key's two buckets. They may be the same.
    fn buckets(&self, key: u64) -> [usize; 2] {
        let mask = self.keys.len() / BUCKET - 1;
        [key, key >> 32].map(|part| (part as usize & mask) * BUCKET)
    }

    fn places(&self, key: u64) -> impl Iterator<Item = usize> {
        let [first, second] = self.buckets(key);
        // One bucket twice would be searched twice; an empty range spares that.
        let again = if first == second { 0 } else { BUCKET };
        (first..first + BUCKET).chain(second..second + again)
    }

    /// The places of a key, those of the emptier bucket first: that keeps both from filling up early.
    fn buckets_by_room(&self, key: u64, now: u64) -> impl Iterator<Item = usize> {
        let [first, second] = self.buckets(key);
        let room = |start: usize| (start..start + BUCKET).filter(|&index| self.is_free(index, now)).count();
        let (first, second) = if room(first) >= room(second) { (first, second) } else { (second, first) };
        (first..first + BUCKET).chain(second..second + BUCKET)
    }

    /// Whether a new session may go here; looked at without claiming.
    fn is_free(&self, index: usize, now: u64) -> bool {
        self.is_over(index, now) || is_stale(self.entry(index)[STATE].load(Ordering::Relaxed), now)
    }

    /// Whether the entry was never used, has expired, or cannot be read any more.
    fn is_over(&self, index: usize, now: u64) -> bool {
        let entry = self.entry(index);
        self.keys[index].load(Ordering::Relaxed) == 0
            || Life::of(entry[EXPIRY].load(Ordering::Relaxed)).until <= now
            || entry[CHECK].load(Ordering::Relaxed) != self.sum(index)
    }

    /// Takes the entry for writing; the answer is its state meanwhile.
    fn claim(&self, index: usize, now: u64) -> Option<u64> {
        let state = &self.entry(index)[STATE];
        let before = state.load(Ordering::Relaxed);
        if before & BUSY != 0 && !is_stale(before, now) {
            return None;
        }
        let claim = (now << 32) | (before.wrapping_add(2) & COUNT_MASK) | BUSY;
        state.compare_exchange(before, claim, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // What is stored from here on must not be seen before the claim.
        fence(Ordering::Release);
        Some(claim)
    }

    /// Ends a claim, if it is still ours.
    fn release(&self, index: usize, claim: u64) {
        let state = &self.entry(index)[STATE];
        let _ = state.compare_exchange(claim, claim & !BUSY, Ordering::Release, Ordering::Relaxed);
    }

    fn write(&self, index: usize, key: u64, collector: u8, id: &[u8], life: Life) {
        let entry = self.entry(index);
        entry[KEY].store(key, Ordering::Relaxed);
        entry[EXPIRY].store(life.word(), Ordering::Relaxed);
        let meta = (id.len() as u64) << 8 | u64::from(collector);
        entry[META].store(meta, Ordering::Relaxed);
        let text = id.chunks(WORD).map(|chunk| {
            let mut bytes = [0; WORD];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(bytes)
        });
        for (word, value) in entry[TEXT..].iter().zip(text.clone()) {
            word.store(value, Ordering::Relaxed);
        }
        // Of what was meant, not of what stands there: should a writer that was taken for dead write on, the sum of
        // what both leave is wrong.
        entry[CHECK].store(checksum([key, meta].into_iter().chain(text)), Ordering::Relaxed);
        self.keys[index].store(key, Ordering::Release);
    }

    /// The checksum of what the entry holds now.
    fn sum(&self, index: usize) -> u64 {
        let entry = self.entry(index);
        let meta = entry[META].load(Ordering::Relaxed);
        let text = &entry[TEXT..][..id_len(meta).div_ceil(WORD)];
        let words = text.iter().map(|word| word.load(Ordering::Relaxed));
        checksum([entry[KEY].load(Ordering::Relaxed), meta].into_iter().chain(words))
    }

    fn read(&self, index: usize, key: u64, now: u64) -> Option<Session> {
        let entry = self.entry(index);
        for _ in 0..ATTEMPTS {
            let before = entry[STATE].load(Ordering::Acquire);
            if is_stale(before, now) {
                return None;
            }
            if before & BUSY != 0 {
                std::hint::spin_loop();
                continue;
            }
            let meta = entry[META].load(Ordering::Relaxed);
            let life = Life::of(entry[EXPIRY].load(Ordering::Relaxed));
            let held = entry[KEY].load(Ordering::Relaxed);
            let check = entry[CHECK].load(Ordering::Relaxed);
            let id_len = id_len(meta);
            let mut id = [0; MAX_SESSION_ID_BYTES];
            let (words, _) = id.as_chunks_mut::<WORD>();
            let used = id_len.div_ceil(WORD);
            for (bytes, word) in words.iter_mut().zip(&entry[TEXT..]).take(used) {
                *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            let sum = checksum(
                [held, meta]
                    .into_iter()
                    .chain(words.iter().take(used).map(|bytes| u64::from_ne_bytes(*bytes))),
            );
            fence(Ordering::Acquire);
            if entry[STATE].load(Ordering::Relaxed) != before {
                continue;
            }
            let collector = u8::try_from(meta & 0xFF).unwrap_or_default();
            return (held == key && check == sum && life.until > now).then_some(Session {
                collector,
                life,
                index,
                id,
                id_len,
            });
        }
        None
    }
}

fn id_len(meta: u64) -> usize {
    usize::try_from(meta >> 8).unwrap_or_default().min(MAX_SESSION_ID_BYTES)
}

/// Whether this state was left behind by a writer that must be dead.
fn is_stale(state: u64, now: u64) -> bool {
    state & BUSY != 0 && now.saturating_sub(state >> 32) >= STALE_AFTER
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn zeroes(words: usize) -> &'static [AtomicU64] {
        (0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak()
    }

    fn table(sessions: usize) -> Sessions {
        Sessions::new(zeroes(sessions), zeroes(sessions * ENTRY)).unwrap()
    }

    fn until(until: u64) -> Life {
        Life { until, established: false }
    }

    fn id_at(table: Sessions, key: u64, now: u64) -> Option<Vec<u8>> {
        table.find(key, now).map(|session| session.id().to_vec())
    }

    #[test]
    fn what_was_opened_is_found_until_it_expires() {
        let table = table(16);
        table.open(7, 3, b"session", until(100), 10).unwrap();
        let session = table.find(7, 99).unwrap();
        assert_eq!((session.collector, session.id(), session.life), (3, &b"session"[..], until(100)));
        assert!(table.find(7, 100).is_none());
        assert!(table.find(8, 10).is_none());
    }

    #[test]
    fn a_session_lives_on_when_it_is_extended() {
        let table = table(16);
        table.open(7, 3, b"session", until(100), 10).unwrap();
        table.extend(&table.find(7, 50).unwrap(), Life { until: 200, established: true });
        assert_eq!(table.find(7, 150).unwrap().life, Life { until: 200, established: true });
    }

    #[test]
    fn opening_again_changes_the_session_and_takes_no_second_place() {
        let table = table(16);
        for round in 0..100u64 {
            table.open(7, 0, format!("session {round}").as_bytes(), until(100), 10).unwrap();
        }
        assert_eq!(id_at(table, 7, 10).unwrap(), b"session 99");
        let used = table.keys.iter().filter(|key| key.load(Ordering::Relaxed) != 0).count();
        assert_eq!(used, 1);
    }

    #[test]
    fn the_longest_id_fits_and_a_longer_one_is_refused() {
        let table = table(16);
        let longest = [b'x'; MAX_SESSION_ID_BYTES];
        table.open(7, 0, &longest, until(100), 10).unwrap();
        assert_eq!(id_at(table, 7, 10).unwrap(), longest);
        assert_eq!(
            table.open(7, 0, &[b'y'; MAX_SESSION_ID_BYTES + 1], until(100), 10),
            Err(Refused::TooLong)
        );
        assert_eq!(id_at(table, 7, 10).unwrap(), longest);
    }

    #[test]
    fn a_full_table_refuses_and_takes_again_what_has_expired() {
        let table = table(16);
        for key in 1..=16 {
            table.open(key, 0, b"old", until(100), 10).unwrap();
        }
        assert_eq!(table.open(17, 0, b"new", until(100), 99), Err(Refused::Full));
        for key in 1..=16 {
            assert_eq!(id_at(table, key, 99).unwrap(), b"old");
        }
        table.open(17, 0, b"new", until(200), 100).unwrap();
        assert_eq!(id_at(table, 17, 100).unwrap(), b"new");
    }

    #[test]
    fn two_buckets_let_a_table_fill_up_far() {
        let table = table(4096);
        let keys = (1..=3800u64).map(|key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let refused = keys.filter(|&key| table.open(key, 0, b"id", until(100), 10).is_err()).count();
        assert_eq!(refused, 0);
    }

    #[test]
    fn a_killed_writer_neither_stops_readers_nor_keeps_its_place() {
        let table = table(16);
        for key in 1..=16 {
            table.open(key, 0, b"before", until(1_000), 10).unwrap();
        }
        // It had claimed the entry and written half of it.
        let index = table.find(5, 10).unwrap().index;
        table.claim(index, 10).unwrap();
        table.entry(index)[TEXT].store(42, Ordering::Relaxed);

        assert!(table.find(5, 11).is_none(), "what is being written is not read");
        assert_eq!(table.open(99, 0, b"early", until(1_000), 11), Err(Refused::Full));
        table.open(5, 1, b"after", until(1_000), 12).unwrap();
        let session = table.find(5, 12).unwrap();
        assert_eq!((session.collector, session.id()), (1, &b"after"[..]));
    }

    #[test]
    fn a_place_left_by_a_killed_writer_serves_another_session() {
        let table = table(16);
        for key in 1..=16 {
            table.open(key, 0, b"before", until(1_000), 10).unwrap();
        }
        let index = table.find(5, 10).unwrap().index;
        table.claim(index, 10).unwrap();
        table.entry(index)[TEXT].store(42, Ordering::Relaxed);
        table.open(99, 0, b"another", until(1_000), 12).unwrap();
        assert_eq!(id_at(table, 99, 12).unwrap(), b"another");
        assert!(table.find(5, 12).is_none());
    }

    #[test]
    fn a_writer_that_was_asleep_and_wakes_up_is_not_believed() {
        let table = table(16);
        table.open(5, 0, b"first", until(1_000), 10).unwrap();
        let index = table.find(5, 10).unwrap().index;
        let sleeper = table.claim(index, 10).unwrap();
        table.open(5, 0, b"second", until(1_000), 20).unwrap();
        table.entry(index)[TEXT].store(u64::from_ne_bytes(*b"sleeper!"), Ordering::Relaxed);
        table.release(index, sleeper);
        assert!(table.find(5, 20).is_none(), "half of each is neither");
        table.open(5, 0, b"third", until(1_000), 21).unwrap();
        assert_eq!(id_at(table, 5, 21).unwrap(), b"third");
    }

    /// The id is a function of the key, so a reader sees at once if it was given another's.
    fn id_of(key: u64, version: u64) -> Vec<u8> {
        format!("{key}:{}", "v".repeat((key + version) as usize % 150)).into_bytes()
    }

    #[test]
    fn writers_and_readers_at_once_never_mix_sessions() {
        let table = table(64);
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut found = 0u64;
                    for round in 0..50_000u64 {
                        let now = 10 + round / 100;
                        let key = 1 + (round * 7 + thread) % 200;
                        if thread % 2 == 0 {
                            let _ = table.open(key, key as u8, &id_of(key, round), until(now + 3), now);
                        }
                        if let Some(session) = table.find(key, now) {
                            found += 1;
                            let text = String::from_utf8(session.id().to_vec()).unwrap();
                            assert_eq!(text.split(':').next().unwrap(), key.to_string());
                            assert_eq!(session.collector, key as u8);
                        }
                    }
                    found
                })
            })
            .collect();
        let found: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(found > 1000, "{found}");
    }

    proptest! {
        #[test]
        fn any_sequence_agrees_with_a_map(
            steps in prop::collection::vec((1..40u64, 0..16u8, prop::collection::vec(any::<u8>(), 0..192), 1..50u64), 0..300)
        ) {
            let table = table(64);
            let mut model: HashMap<u64, (u8, Vec<u8>, u64)> = HashMap::new();
            for (now, (key, collector, id, ttl)) in (1u64..).zip(steps) {
                // Forty keys fit two buckets of sixteen only nearly always.
                if table.open(key << 33 | key, collector, &id, until(now + ttl), now).is_ok() {
                    model.insert(key, (collector, id, now + ttl));
                }
                for (key, (collector, id, until)) in &model {
                    let found = table.find(key << 33 | key, now);
                    prop_assert_eq!(found.is_some(), *until > now);
                    if let Some(found) = found {
                        prop_assert_eq!(found.id(), &id[..]);
                        prop_assert_eq!(found.collector, *collector);
                    }
                }
            }
        }

        #[test]
        fn no_content_of_the_words_makes_anything_panic(
            words in prop::collection::vec(any::<u64>(), 16 * (ENTRY + 1)), key in any::<u64>(), now in 0..u64::from(u32::MAX)
        ) {
            let words: &[AtomicU64] = words.into_iter().map(AtomicU64::new).collect::<Vec<_>>().leak();
            let (keys, entries) = words.split_at(16);
            let table = Sessions::new(keys, entries).unwrap();
            let held = keys[3].load(Ordering::Relaxed);
            for key in [key, held] {
                let _ = table.find(key, now);
                let _ = table.open(key, 1, b"id", until(now + 1), now);
            }
        }
    }
}
