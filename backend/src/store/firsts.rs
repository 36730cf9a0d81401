//! The first slices of the calls of a session: in each part of a store that goes as a whole, the slices that hold the earliest message
//! of a call. They have a key of their own ([`Key::firsts`]), so that the newest calls of a session are found without its other
//! slices (ADR 0035).
//!
//! Who writes tells them, by what it remembers to have written. What it has forgotten is taken for the first once more: a slice too
//! many costs a reading, one too few would hide a call.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Key, Pack, Slice};

/// So many calls a generation remembers, some 4.5 MB.
const MOST: usize = 200_000;

/// What a store remembers of what it has written. A write that fails has to leave it behind: what was to be written then may not be there.
#[derive(Debug)]
pub struct Firsts {
    /// The hash of a call and its part of the store, and the time of the first message of its first slice there, µs since the epoch.
    young: HashMap<u64, i64>,
    /// The generation before; what is met of it again moves to the young.
    old: HashMap<u64, i64>,
    most: usize,
}

impl Default for Firsts {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most: MOST }
    }
}

impl Firsts {
    /// For each slice of packs that go to one part of the store, one after the other: the key of first slices, if it is one. `part` is
    /// of parts that go as a whole the only one with this number.
    pub fn keys<'a>(&mut self, part: u64, packs: impl IntoIterator<Item = &'a Pack>) -> Vec<Option<Key>> {
        let slices = packs.into_iter().flat_map(|pack| &pack.slices);
        let key = |slice: &Slice| {
            let of = slice.in_session?;
            let call = xxh3_64_with_seed(&of.call.to_le_bytes(), part);
            self.is_first(call, slice.first_us).then_some(of.key)
        };
        slices.map(key).collect()
    }

    /// Whether no slice of this call that is remembered begins as early; this one is from now on.
    fn is_first(&mut self, call: u64, first_us: i64) -> bool {
        if let Some(known_us) = self.young.get_mut(&call) {
            let is_first = first_us < *known_us;
            *known_us = first_us.min(*known_us);
            return is_first;
        }
        let known_us = self.old.get(&call).copied();
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(call, known_us.unwrap_or(i64::MAX).min(first_us));
        known_us.is_none_or(|known_us| first_us < known_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::slice::InSession;
    use crate::store::{Class, rule};

    fn pack(slices: &[(u64, i64)]) -> Pack {
        let slice = |(call, first_us): &(u64, i64)| Slice {
            first_us: *first_us,
            last_us: *first_us,
            count: 1,
            keys: Vec::new(),
            home: Key::EVERYTHING,
            class: Class::Call,
            in_session: (*call > 0).then(|| InSession { key: Key::firsts("s"), call: *call }),
        };
        Pack {
            slices: slices.iter().map(slice).collect(),
            rule: rule::default_name(),
            dictionary: None,
            blob: Vec::new(),
        }
    }

    fn told(firsts: &mut Firsts, part: u64, slices: &[(u64, i64)]) -> Vec<bool> {
        let keys = firsts.keys(part, [&pack(slices)]);
        assert!(keys.iter().flatten().all(|key| *key == Key::firsts("s")));
        keys.iter().map(Option::is_some).collect()
    }

    #[test]
    fn a_slice_is_the_first_of_its_call_until_one_with_an_earlier_message_comes() {
        let mut firsts = Firsts::default();
        let slices = [(1, 50), (1, 60), (2, 55), (0, 1), (1, 50), (1, 49), (1, 50), (2, 54)];
        let first = [true, false, true, false, false, true, false, true];
        assert_eq!(told(&mut firsts, 7, &slices), first);
        assert_eq!(told(&mut firsts, 8, &slices), first, "in another part they are told anew");
        assert_eq!(told(&mut firsts, 7, &[(1, 49), (1, 48)]), [false, true]);
        assert_eq!(told(&mut Firsts::default(), 7, &[(1, 49)]), [true], "what is not remembered is a first");
    }

    #[test]
    fn so_many_calls_are_remembered_at_most_and_those_that_go_on_longest() {
        let mut firsts = Firsts { most: 10, ..Firsts::default() };
        for call in 1..1000 {
            assert_eq!(told(&mut firsts, 1, &[(call, 5), (1, 6)]), [true, false], "{call}");
            assert!(firsts.young.len() <= 10 && firsts.old.len() <= 10);
        }
        assert_eq!(told(&mut firsts, 1, &[(999, 5), (990, 5), (900, 5)]), [false, false, true]);
        assert_eq!(told(&mut firsts, 1, &[(990, 4)]), [true], "earlier than what is known of it");
    }
}
