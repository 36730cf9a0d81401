//! Any octets as a pack, with a dictionary or without: what is read is within bounds, and reading a part of it gives a part of it.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use siplens_backend::store::slice::MAX_MESSAGES;
use siplens_backend::store::{Dictionary, StoredSlice, pack};

static DICTIONARY: LazyLock<Arc<Dictionary>> = LazyLock::new(|| {
    let same = Dictionary::read(common::dictionary().octets().to_vec(), 0);
    Arc::new(same.expect("what a store keeps is a dictionary"))
});

/// Content that its frame holds undamaged, so that what reads the content is reached.
fn compressed(content: &[u8], dictionary: Option<&Dictionary>) -> Vec<u8> {
    let octets = dictionary.map(Dictionary::octets).unwrap_or_default();
    let mut compressor = zstd::bulk::Compressor::with_dictionary(1, octets).expect("a compressor");
    compressor.compress(content).expect("memory enough")
}

fn read(blob: Vec<u8>, dictionary: Option<&Arc<Dictionary>>) {
    let blob = Bytes::from(blob);
    let _ = pack::dictionary_of(&blob);
    // Two of its slices, and one that it cannot have.
    let slice = |index: usize| {
        let (id, dictionary, blob) = (56 + index as i64, dictionary.cloned(), blob.clone());
        StoredSlice { id, last_us: 0, index, dictionary, blob }
    };
    for indexes in [&[0][..], &[0, 1], &[pack::SLICES]] {
        let slices = pack::together(indexes.iter().map(|index| slice(*index)).collect());
        let visited = |wanted: fn(&[u8]) -> bool| {
            let mut seen = Vec::new();
            let see = |number: usize, id, captured: siplens_backend::call::message::CapturedRef<'_>| {
                seen.push((number, id, captured.to_captured()));
            };
            pack::visit(&slices, wanted, see).map(|()| seen)
        };
        let Ok(captured) = visited(|_| true) else { continue };
        assert!(indexes != [pack::SLICES], "more than there can be");
        assert!(captured.len() <= indexes.len() * MAX_MESSAGES);
        assert!(captured.is_sorted_by_key(|(number, id, _)| (*number, id.index)));
        let wanted = |payload: &[u8]| payload.contains(&b'I');
        let part = visited(wanted).expect("readable before");
        assert!(part.iter().eq(captured.iter().filter(|(.., captured)| wanted(&captured.raw))));
        if let [(_, slice)] = &slices[..] {
            let messages = slice.messages().expect("readable before");
            let messages = messages.into_iter().map(|message| (0, message.id, message.captured));
            assert!(messages.eq(captured));
        }
    }
}

fuzz_target!(|octets: &[u8]| {
    for dictionary in [None, Some(&*DICTIONARY)] {
        read(octets.to_vec(), dictionary);
        let frame = compressed(octets, dictionary.map(Arc::as_ref));
        read([&[4][..], &frame].concat(), dictionary);
    }
});
