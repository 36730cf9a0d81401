//! Packets that were captured → slices → the same messages, whatever they hold; each slice is found by all that its
//! messages say; one thread or two, with a dictionary or without, it comes to the same.
#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use siplens_backend::call::message::Captured;
use siplens_backend::store::slice::{Cutter, Item, MAX_MESSAGES, MAX_SPAN_US};
use siplens_backend::store::{Dictionary, pack};

static PLAIN: LazyLock<Cutter> =
    LazyLock::new(|| Cutter { paths: Arc::new(common::paths()), ..Cutter::default() });
static WITH_DICTIONARY: LazyLock<Cutter> = LazyLock::new(|| {
    let same = Dictionary::read(common::dictionary().octets().to_vec(), 0);
    Cutter { dictionary: Some(Arc::new(same.expect("a dictionary"))), ..PLAIN.clone() }
});

/// How often each message is there.
fn counted(messages: impl IntoIterator<Item = Captured>) -> HashMap<Captured, usize> {
    let mut counted = HashMap::new();
    messages.into_iter().for_each(|message| *counted.entry(message).or_default() += 1);
    counted
}

fuzz_target!(|octets: &[u8]| {
    let captured = common::captured(octets);
    let items: Vec<_> = captured.iter().map(|captured| Item::read(captured.lent(), &PLAIN.paths)).collect();
    let expected = counted(captured.iter().cloned());
    for (cutter, threads) in [(&*PLAIN, 1), (&*WITH_DICTIONARY, 2)] {
        let cut = cutter.cut_items(&items, threads);
        assert!(cut.left_out.is_empty(), "{:?}", cut.left_out);
        assert!(cut.packs.iter().all(|pack| (1..=pack::SLICES).contains(&pack.slices.len())));
        let mut all = Vec::new();
        let stored = cut.packs.iter().flat_map(|pack| pack.slices.iter().zip(pack.stored(8)));
        for (slice, stored) in stored {
            let first_us = slice.first_us;
            let messages = stored.messages().expect("what was written can be read");
            assert_eq!(messages.last().map(|m| m.captured.captured_at_us), Some(slice.last_us));
            assert_eq!(messages.len(), slice.count as usize);
            assert!((1..=MAX_MESSAGES).contains(&messages.len()));
            assert!(messages.is_sorted_by_key(|m| m.captured.captured_at_us));
            assert!(
                messages
                    .iter()
                    .all(|m| { m.captured.captured_at_us.abs_diff(first_us) <= MAX_SPAN_US.unsigned_abs() })
            );
            common::assert_found(slice, &messages, &PLAIN.paths);
            all.extend(messages.into_iter().map(|message| message.captured));
        }
        assert_eq!(counted(all), expected);
    }
});
