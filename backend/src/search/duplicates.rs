//! The same message twice. Two backends that were fed the same traffic, or a backend that took over from another, store
//! it each on its own; it is shown and counted once.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::call::message::{CapturedRef, Message};

/// After so many messages what cannot come again is forgotten.
const LOOK_AFTER: usize = 64 * 1024;

/// The hash has a seed of its own in each process, so nobody can prepare two messages that share one.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));

/// What a message is recognised by: its time of capture, and the hash of all that was captured.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Print(i64, u64);

impl Print {
    /// Of a captured message.
    pub fn of(captured: &CapturedRef<'_>) -> Self {
        let mut chained = Chained(*SEED);
        captured.hash(&mut chained);
        Self(captured.captured_at_us, chained.finish())
    }
}

/// Hashes each part with the hash of those before it as its seed; what is no longer than a word is folded in.
struct Chained(u64);

impl Hasher for Chained {
    fn write(&mut self, octets: &[u8]) {
        self.0 = xxh3_64_with_seed(octets, self.0);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio: odd, and about as many ones as zeros.
        let wide = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = wide as u64 ^ (wide >> 64) as u64;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Takes what has a hash in it, made with a seed of this process, as it is.
#[derive(Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.write_u64(u64::from(*octet)));
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(32) ^ number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What has been seen.
#[derive(Default)]
pub struct Seen {
    prints: HashSet<Print, BuildHasherDefault<Hashed>>,
    look_at: usize,
}

impl Seen {
    /// Whether a message was not seen before; from now on it is.
    pub fn is_new(&mut self, message: &Message) -> bool {
        self.is_new_print(Print::of(&message.captured.lent()))
    }

    /// The same for what a message is recognised by.
    pub fn is_new_print(&mut self, print: Print) -> bool {
        self.prints.insert(print)
    }

    /// These are seen from now on.
    pub fn extend(&mut self, prints: &[Print]) {
        self.prints.extend(prints);
    }

    /// Tells that a walk has come to the slice whose last message is of this time: what is captured after it
    /// cannot come again, and is forgotten now and then.
    pub fn reached(&mut self, last_us: i64) {
        if self.prints.len() < self.look_at.max(LOOK_AFTER) {
            return;
        }
        self.prints.retain(|Print(captured_at_us, _)| *captured_at_us <= last_us);
        self.look_at = self.prints.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::sample::{answered, call};

    #[test]
    fn a_message_is_new_once_and_each_difference_makes_another() {
        let messages = call(&answered()).messages;
        let first = &messages[0];
        let mut seen = Seen::default();
        assert!(messages.iter().all(|m| seen.is_new(m)));
        let mut copy = first.clone();
        copy.id.slice += 1;
        assert!(!seen.is_new(&copy), "the place in the store does not count");
        copy.captured.agent_id += 1;
        assert!(seen.is_new(&copy));
        copy.captured.captured_at_us += 1;
        assert!(seen.is_new(&copy));
    }

    #[test]
    fn what_a_walk_has_left_behind_is_forgotten_and_the_rest_is_not() {
        let mut message = call(&answered()).messages.remove(0);
        let mut seen = Seen::default();
        let newest_us = message.captured.captured_at_us;
        let mut at = |seen: &mut Seen, before_us: i64| {
            message.captured.captured_at_us = newest_us - before_us;
            seen.is_new(&message)
        };
        // Of slices that span a second.
        for n in 0..100_000 {
            assert!(at(&mut seen, n * 100));
            seen.reached(newest_us - n * 100 + 1_000_000);
        }
        assert!(seen.prints.len() < LOOK_AFTER + 1, "{}", seen.prints.len());
        assert!((90_000..100_000).all(|n| !at(&mut seen, n * 100)));
    }
}
