//! Memory that another program wrote: whatever stands in it, the sender neither panics nor reads outside of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use capture::{AttachError, Layout, Limits, Sender, Shared};
use proptest::prelude::*;

const RING_KIB: u32 = 1;

fn memory() -> Vec<AtomicU64> {
    let layout = Layout::new(2, RING_KIB).with_sessions(16).with_filters(1);
    (0..layout.words().unwrap_or_default()).map(|_| AtomicU64::new(0)).collect()
}

#[test]
fn memory_that_is_none_of_ours_is_refused() {
    for words in [0, 1, 15, 5000] {
        let words: Vec<_> = (0..words).map(|_| AtomicU64::new(0)).collect();
        assert_eq!(Shared::attach(words.leak(), Duration::ZERO).err(), Some(AttachError::Foreign));
    }
}

#[test]
fn memory_that_is_shorter_or_longer_than_it_says_is_refused() {
    let layout = Layout::new(2, RING_KIB).with_sessions(16).with_filters(1);
    for change in [-1, 1] {
        let words = memory().leak();
        assert!(Shared::new(words, layout, true).is_some());
        let other = 0..words.len().saturating_add_signed(change);
        let copy =
            other.map(|at| AtomicU64::new(words.get(at).map_or(0, |word| word.load(Ordering::Relaxed))));
        let attached = Shared::attach(copy.collect::<Vec<_>>().leak(), Duration::ZERO);
        assert!(matches!(attached, Err(AttachError::Size { .. })), "{attached:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_that_stands_in_it_makes_the_sender_panic(
        garbage in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![any::<u64>(), 0u64..4, Just(u64::MAX), 0u64..70_000]),
            0..600,
        ),
        more in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..50),
    ) {
        let words: &'static [AtomicU64] = memory().leak();
        let layout = Layout::new(2, RING_KIB).with_sessions(16).with_filters(1);
        prop_assert!(Shared::new(words, layout, true).is_some());
        // The description stays, or nothing would be read at all.
        let (before, rest) = words.split_at(24);
        let (_description, after) = rest.split_at(8);
        let place = |at: &prop::sample::Index| {
            let at = at.index(before.len() + after.len());
            before.get(at).or_else(|| after.get(at.saturating_sub(before.len())))
        };
        let write = |values: &[(prop::sample::Index, u64)]| {
            for (at, value) in values {
                if let Some(word) = place(at) {
                    word.store(*value, Ordering::Relaxed);
                }
            }
        };
        write(&garbage);
        let shared = Shared::attach(words, Duration::ZERO);
        prop_assert!(shared.is_ok());
        let Ok(shared) = shared else { return Ok(()) };
        let (events, _said) = sync_channel(64);
        let mut sender = Sender::new(shared, Limits::default(), events);
        for _ in 0..3 {
            sender.turn();
            write(&more);
        }
        let _ = shared.stats();
        let _ = shared.sender_ended();
        let _ = shared.stats();
    }
}
