use super::*;
use crate::call::sample::{call, request};
use crate::spool::Position;
use crate::store::slice::Cutter;
use crate::store::sqlite::SqliteStore;
use crate::store::{Flush, MOST_WALKED_BYTES};

/// What a message is longer than that is one of many here, octets.
const LONG_BODY: usize = 60_000;

/// Messages, each of a call of its own, so many µs one after the other. Every second one does not compress.
fn large_messages(count: u64) -> Vec<Message> {
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let message = |n: u64| {
        let mut message = call(&[request(0, "MESSAGE")]).messages.remove(0).captured;
        let mut raw = format!("MESSAGE sip:b@h SIP/2.0\r\nCall-ID: large-{n}\r\n\r\n").into_bytes();
        raw.extend((0..LONG_BODY).map(|_| if n.is_multiple_of(2) { noise() } else { b'x' }));
        message.captured_at_us += n as i64;
        message.raw = raw.into();
        Message::read(MessageId::default(), message)
    };
    (0..count).map(message).collect()
}

#[tokio::test]
async fn a_step_holds_a_bounded_number_of_octets_and_the_next_ones_bring_the_rest() {
    const MESSAGES: u64 = 250;
    let files = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(files.path(), "steps").await.expect("a store"));
    let packs = Cutter::default().cut(large_messages(MESSAGES)).expect("packs");
    let end = Position { segment: 1, offset: 1 };
    store.write(&Flush { packs, end }).await.expect("written");
    let walk = Walk { limit: 1000, ..Walk::default() };
    assert!(matches!(store.walk(&walk).await, Err(StoreError::TooMuch)));
    let search = Search::new(store, Arc::default());
    for steps in [Steps::new(&search, walk.clone(), Filter::default()), {
        Steps::new(&search, walk.clone(), Filter::default()).beginning_with(4096).evenly()
    }] {
        let (mut steps, mut found, mut count) = (steps, Vec::new(), 0);
        loop {
            let step = steps.next().await.expect("a step");
            let raw: usize = step.slices.iter().flat_map(|s| &s.messages).map(|m| m.captured.raw.len()).sum();
            assert!(raw <= MOST_READ_BYTES, "{raw}");
            found.extend(step.slices.into_iter().flat_map(|slice| slice.messages));
            count += 1;
            assert!(!step.partial);
            if step.next.is_none() {
                break;
            }
        }
        let times: Vec<_> = found.iter().map(|m| m.captured.captured_at_us).collect();
        assert_eq!(times.len() as u64, MESSAGES);
        assert!(times.is_sorted_by(|a, b| a > b), "newest first, each once");
        let least = MESSAGES as usize * LONG_BODY / MOST_READ_BYTES;
        assert!((least..least * 8).contains(&count), "{count} steps");
    }
    // What is looked for and not found is not held, so no step is too large.
    let filter = Filter { contains: Some(Octets::of("nowhere")), ..Filter::default() };
    let mut steps = Steps::new(&search, walk, filter);
    let mut count = 0;
    while let Some(_more) = steps.next().await.expect("a step").next {
        count += 1;
    }
    let packs = MESSAGES as usize / 2 * LONG_BODY / MOST_WALKED_BYTES;
    assert!(count <= packs * 3 + 3, "{count} steps");
}
