//! Any octets as a slice of each format, with a dictionary or without: what is read is within bounds, and reading a part of
//! it gives a part of it.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use siplens_backend::store::slice::MAX_MESSAGES;
use siplens_backend::store::{Dictionary, StoredSlice};

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
    let slice = StoredSlice { id: 7, last_us: 0, dictionary: dictionary.cloned(), blob: blob.into() };
    let _ = slice.dictionary_id();
    let visited = |wanted: fn(&[u8]) -> bool| {
        let mut seen = Vec::new();
        let visited = slice.visit(wanted, |id, captured| seen.push((id, captured.to_captured())));
        visited.map(|()| seen)
    };
    let Ok(captured) = visited(|_| true) else { return assert!(slice.messages().is_err()) };
    assert!(captured.len() <= MAX_MESSAGES);
    let wanted = |payload: &[u8]| payload.contains(&b'I');
    let part = visited(wanted).expect("readable before");
    assert!(part.iter().eq(captured.iter().filter(|(_, captured)| wanted(&captured.raw))));
    let messages = slice.messages().expect("readable before");
    assert!(messages.into_iter().map(|message| (message.id, message.captured)).eq(captured));
}

fuzz_target!(|octets: &[u8]| {
    for dictionary in [None, Some(&*DICTIONARY)] {
        read(octets.to_vec(), dictionary);
        let frame = compressed(octets, dictionary.map(Arc::as_ref));
        read([&[3][..], &frame].concat(), dictionary);
    }
    // The header of a format before, and as payloads the same octets once more.
    for format in [1, 2] {
        let length = (octets.len() as u32).to_le_bytes();
        read([&[format][..], &length, octets, &compressed(octets, None)].concat(), None);
    }
});
