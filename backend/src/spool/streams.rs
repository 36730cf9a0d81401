//! Streams of numbered packets: what was taken of each, so that nothing is taken twice, and what is missing.

use std::collections::HashMap;

use hep::Sequence;

/// Streams that are known at once. Each life of a sender, and each of its collectors, is a stream.
pub(super) const MOST_STREAMS: usize = 4096;

/// Numbers behind the highest for which it is known whether they came. Datagrams that are later than this are taken,
/// whether or not they came before.
pub const WINDOW: u64 = 1024;

/// How a numbered packet stands to what came of its stream before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It was not there; so many numbers before it have been left out.
    New {
        /// Packets that should have come before it and did not.
        missing: u64,
    },
    /// A datagram that was held to be missing.
    Late,
    /// It came before.
    Again,
}

impl Default for Standing {
    fn default() -> Self {
        Self::New { missing: 0 }
    }
}

/// Values by stream. When there are too many, the eighth that was used the longest time ago goes.
#[derive(Debug)]
pub(super) struct Table<V> {
    entries: HashMap<u64, (V, u64)>,
    uses: u64,
    most: usize,
    /// Entries that had to go.
    pub(super) forgotten: u64,
}

impl<V> Table<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), uses: 0, most: most.max(1), forgotten: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, stream: u64) -> Option<&V> {
        self.entries.get(&stream).map(|(value, _)| value)
    }

    /// The value of a stream, made if it is not known.
    fn entry(&mut self, stream: u64, new: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() >= self.most && !self.entries.contains_key(&stream) {
            self.make_room();
        }
        self.uses += 1;
        let uses = self.uses;
        let (value, used) = self.entries.entry(stream).or_insert_with(|| (new(), uses));
        *used = uses;
        value
    }

    fn make_room(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|(_, used)| *used).collect();
        let going = (uses.len() / 8).max(1);
        let (_, newest_to_go, _) = uses.select_nth_unstable(going - 1);
        let newest_to_go = *newest_to_go;
        self.entries.retain(|_, (_, used)| *used > newest_to_go);
        self.forgotten += going as u64;
    }
}

/// The highest number of each stream that is in the spool: what outlives a crash.
pub(super) type Highest = Table<u64>;

impl Highest {
    /// Notes a record.
    pub(super) fn note(&mut self, stream: u64, number: u64) {
        let highest = self.entry(stream, || number);
        *highest = number.max(*highest);
    }

    /// Streams and their highest numbers, the one that was used the longest time ago first.
    pub(super) fn by_age(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<_> =
            self.entries.iter().map(|(stream, (highest, used))| (*used, *stream, *highest)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, stream, highest)| (stream, highest)).collect()
    }
}

/// What came of one stream.
#[derive(Clone, Debug)]
pub(super) struct Came {
    highest: u64,
    /// Numbers below this one were never held to be missing.
    from: u64,
    /// Which of the last [`WINDOW`] numbers came; a number's place is its remainder.
    seen: [u64; WINDOW as usize / 64],
}

impl Came {
    /// All up to this number came, or is no matter.
    fn until(highest: u64) -> Self {
        Self { highest, from: highest.saturating_add(1), seen: [0; _] }
    }

    fn has_seen(&self, number: u64) -> bool {
        let place = (number % WINDOW) as usize;
        self.seen[place / 64] & 1 << (place % 64) != 0
    }

    fn see(&mut self, number: u64) {
        let place = (number % WINDOW) as usize;
        self.seen[place / 64] |= 1 << (place % 64);
    }

    fn standing(&self, sequence: Sequence, is_datagram: bool) -> Standing {
        let number = sequence.number;
        if number > self.highest {
            let before = self.highest.max(sequence.first.saturating_sub(1));
            return Standing::New { missing: number.saturating_sub(before).saturating_sub(1) };
        }
        if !is_datagram {
            // A stream of octets keeps its order.
            return Standing::Again;
        }
        if self.highest - number >= WINDOW {
            return Standing::New { missing: 0 };
        }
        match self.has_seen(number) {
            true => Standing::Again,
            false if number >= self.from => Standing::Late,
            false => Standing::New { missing: 0 },
        }
    }

    fn take(&mut self, number: u64) {
        if number > self.highest {
            if number - self.highest >= WINDOW {
                self.seen = [0; _];
            } else {
                for skipped in self.highest + 1..number {
                    let place = (skipped % WINDOW) as usize;
                    self.seen[place / 64] &= !(1 << (place % 64));
                }
            }
            self.highest = number;
        }
        if self.highest - number < WINDOW {
            self.see(number);
        }
    }
}

/// What was taken of each stream, durable or not yet.
pub(super) type Streams = Table<Came>;

impl Streams {
    /// What an earlier run left in the spool.
    pub(super) fn restored(highest: &Highest) -> Self {
        let mut streams = Self::new(highest.most);
        for (stream, highest) in highest.by_age() {
            streams.entry(stream, || Came::until(highest));
        }
        streams
    }

    /// How a packet stands to what was taken.
    pub(super) fn standing(&self, sequence: Sequence, is_datagram: bool) -> Standing {
        // Of a stream that is not known nothing can be missing: it may have been forgotten.
        self.get(sequence.stream).map(|came| came.standing(sequence, is_datagram)).unwrap_or_default()
    }

    /// Notes that a packet was taken.
    pub(super) fn take(&mut self, sequence: Sequence) {
        let number = sequence.number;
        self.entry(sequence.stream, || Came::until(number)).take(number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(number: u64) -> Sequence {
        Sequence { stream: 9, number, first: 1 }
    }

    fn take(streams: &mut Streams, number: u64, is_datagram: bool) -> Standing {
        let standing = streams.standing(numbered(number), is_datagram);
        streams.take(numbered(number));
        standing
    }

    #[test]
    fn what_comes_again_in_a_stream_is_known_and_a_jump_is_missing() {
        let mut streams = Streams::new(8);
        let mut standings = |numbers: &[u64]| -> Vec<_> {
            numbers.iter().map(|number| take(&mut streams, *number, false)).collect()
        };
        let new = |missing| Standing::New { missing };
        assert_eq!(standings(&[5, 6, 6, 5, 9]), [new(0), new(0), Standing::Again, Standing::Again, new(2)]);
    }

    #[test]
    fn what_went_to_another_collector_is_not_missing() {
        let mut streams = Streams::new(8);
        take(&mut streams, 5, false);
        let back = |number, first| streams.standing(Sequence { first, ..numbered(number) }, false);
        assert_eq!(back(100, 100), Standing::New { missing: 0 });
        assert_eq!(back(103, 100), Standing::New { missing: 3 });
        assert_eq!(back(100, 4), Standing::New { missing: 94 });
        assert_eq!(back(100, u64::MAX), Standing::New { missing: 0 });
    }

    #[test]
    fn after_a_restart_streams_go_on_and_datagrams_from_before_are_taken() {
        let mut highest = Highest::new(8);
        (1..=5).for_each(|number| highest.note(9, number));
        let streams = Streams::restored(&highest);
        assert_eq!(streams.standing(numbered(5), false), Standing::Again);
        assert_eq!(streams.standing(numbered(5), true), Standing::New { missing: 0 });
        assert_eq!(streams.standing(numbered(8), true), Standing::New { missing: 2 });
    }

    #[test]
    fn streams_that_were_used_the_longest_time_ago_go_first() {
        let mut highest = Highest::new(16);
        for stream in 0..16 {
            highest.note(stream, 1);
        }
        highest.note(0, 2);
        highest.note(99, 1);
        let streams: Vec<_> = highest.by_age().into_iter().map(|(stream, _)| stream).collect();
        assert_eq!(streams, (3..16).chain([0, 99]).collect::<Vec<_>>());
        assert_eq!((highest.len(), highest.forgotten), (15, 2));
    }

    proptest! {
        /// Datagrams in any order, some twice: as a plain set of numbers has it.
        #[test]
        fn datagrams_are_taken_once_and_late_ones_correct_what_was_missing(
            steps in prop::collection::vec((0u64..60, any::<bool>()), 1..300),
        ) {
            let mut streams = Streams::new(8);
            let mut came = std::collections::HashSet::new();
            let (mut top, mut missing, mut late) = (2000, 0, 0);
            take(&mut streams, top, true);
            came.insert(top);
            for (step, is_ahead) in steps {
                let number = if is_ahead { top + 1 + step } else { top - step };
                let standing = take(&mut streams, number, true);
                prop_assert_eq!(standing == Standing::Again, !came.insert(number));
                match standing {
                    Standing::New { missing: more } => missing += more,
                    Standing::Late => late += 1,
                    Standing::Again => {}
                }
                top = top.max(number);
                let really = (2001..=top).filter(|number| !came.contains(number)).count() as u64;
                prop_assert_eq!(missing - late, really);
            }
        }

        #[test]
        fn no_numbers_panic(numbers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..50)) {
            let mut streams = Streams::new(8);
            for (number, first, is_datagram) in numbers {
                let sequence = Sequence { stream: number % 20, number, first };
                streams.standing(sequence, is_datagram);
                streams.take(sequence);
            }
        }
    }
}
