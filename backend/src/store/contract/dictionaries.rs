//! Slices that cannot be read without a dictionary, and the dictionary with them.

use super::*;
use crate::store::Dictionary;
use crate::store::dictionary::tests::trained;

fn messages(hour: i64, call: &'static str) -> Vec<Message> {
    let draft = |n: i64| Draft { at_us: hour * 3_600_000_000 + n, call, ..Draft::default() };
    (0..5).map(|n| draft(n).message()).collect()
}

fn flush(offset: u64, messages: Vec<Message>, dictionary: Option<&Arc<Dictionary>>) -> Flush {
    let packs = Cutter { dictionary: dictionary.cloned(), ..Cutter::default() }.cut(messages).expect("packs");
    assert!(packs.iter().all(|pack| pack.dictionary.as_ref() == dictionary));
    Flush { packs, end: Position { segment: 1, offset } }
}

/// The newest message's call, and how many messages there are; whether something is missing.
async fn found(store: &Arc<dyn Store>) -> (Vec<String>, bool) {
    let search = Search::new(Arc::clone(store), Arc::default());
    let found = search.messages(&Filter::default(), &page(99, None)).await.expect("found");
    let mut calls: Vec<_> = found.items.iter().filter_map(|m| m.sip.call_id.clone()).collect();
    let expected: Vec<_> = calls.iter().map(|call| format!("Call-ID: {call}\r\n")).collect();
    for (message, line) in found.items.iter().zip(expected) {
        assert!(String::from_utf8_lossy(&message.captured.raw).contains(&line), "{message:?}");
    }
    calls.dedup();
    (calls, found.partial)
}

pub(super) async fn slices_are_read_by_the_dictionaries_they_were_made_with(store: &Arc<dyn Store>) {
    let made = |octets: &Dictionary, at_us| {
        Arc::new(Dictionary::read(octets.octets().to_vec(), at_us).expect("a dictionary"))
    };
    let (older, newer) = (made(&trained("older"), 1), made(&trained("newer"), 2));
    assert_eq!(store.newest_dictionary().await.expect("readable"), None);
    for (offset, call, dictionary) in [
        (1, "plain@host", None),
        (2, "older@host", Some(&older)),
        (3, "newer@host", Some(&newer)),
        (4, "again@host", Some(&older)),
    ] {
        store.write(&flush(offset, messages(offset as i64, call), dictionary)).await.expect("written");
        assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset }));
    }
    let calls = ["again@host", "newer@host", "older@host", "plain@host"].map(str::to_owned).to_vec();
    // Once as it is read the first time, and once more.
    for _ in 0..2 {
        assert_eq!(found(store).await, (calls.clone(), false));
    }
    let newest = store.newest_dictionary().await.expect("readable").expect("a dictionary");
    assert_eq!((newest.id(), newest.made_at_us()), (newer.id(), 2));
    assert_eq!(newest.octets(), newer.octets());
}

pub(super) async fn without_its_dictionary_a_slice_is_damaged_and_the_rest_is_found(store: &Arc<dyn Store>) {
    let dictionary = trained("lost");
    let mut lost = flush(1, messages(1, "lost@host"), Some(&dictionary));
    for pack in &mut lost.packs {
        pack.dictionary = None;
    }
    store.write(&lost).await.expect("written");
    store.write(&flush(2, messages(2, "kept@host"), None)).await.expect("written");
    assert_eq!(found(store).await, (vec!["kept@host".to_owned()], true));
    // Another dictionary is of no use.
    store.write(&flush(3, messages(3, "other@host"), Some(&trained("other")))).await.expect("written");
    assert_eq!(found(store).await, (vec!["other@host".to_owned(), "kept@host".to_owned()], true));
}

#[tokio::test]
async fn on_sqlite_a_bucket_is_readable_by_what_is_in_it() {
    let files = tempfile::tempdir().expect("a temporary folder");
    let dictionary = trained("bucket");
    // Each opening begins a bucket at its first flush.
    for offset in 1..=3 {
        let store = SqliteStore::open(files.path(), "contract").await.expect("a store");
        store
            .write(&flush(offset, messages(offset as i64, "call@host"), Some(&dictionary)))
            .await
            .expect("written");
    }
    std::fs::remove_file(files.path().join("bucket-000001.sqlite")).expect("removed");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(files.path(), "contract").await.expect("a store"));
    assert_eq!(found(&store).await, (vec!["call@host".to_owned()], false));
    assert_eq!(store.newest_dictionary().await.expect("readable").as_deref(), Some(&*dictionary));
}
