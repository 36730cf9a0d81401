//! Files that are not what was written.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};

use super::*;

/// Three buckets of 600 slices, closed.
async fn three_buckets(dir: &Path) {
    for n in 0..3 {
        let store = open(dir).await;
        store.write(&flush(n * 600..(n + 1) * 600, n.into())).await.expect("written");
    }
    let store = open(dir).await;
    store.inner.tend().await;
    assert!(store.inner.buckets().iter().all(|bucket| bucket.is_closed()));
}

fn overwrite(path: &Path, at: u64, octets: &[u8]) {
    let mut file = std::fs::File::options().write(true).open(path).expect("the file");
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(octets).expect("written");
}

#[tokio::test]
async fn a_bucket_that_is_no_database_is_set_aside_and_the_rest_serves() {
    for truncated in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        three_buckets(dir.path()).await;
        let damaged = &files(dir.path(), ".sqlite")[1];
        if truncated {
            let file = std::fs::File::options().write(true).open(damaged).expect("the file");
            file.set_len(8192 + 100).expect("cut");
        } else {
            overwrite(damaged, 0, &[0x55; 4096]);
        }
        // As often as it is opened.
        for _ in 0..2 {
            let store = open(dir.path()).await;
            let (found, partial) = walk(&store, None).await;
            assert_eq!(found.len(), 1200);
            assert!(partial);
            let plan = store.plan(&Retention::default(), START_US).await.expect("a plan");
            assert_eq!(plan.damaged, 1);
            // What reaches no further back than the file's last change misses nothing.
            let later = Walk { since_us: Some(i64::MAX - 1), limit: 9, ..Walk::default() };
            assert!(!store.walk(&later).await.expect("a walk").partial);
        }
        assert_eq!(files(dir.path(), ".damaged").len(), 1);
        let store = open(dir.path()).await;
        store.write(&flush(5000..5010, 9)).await.expect("written");
        assert_eq!(walk(&store, None).await.0.len(), 1210);
        // Retention takes it.
        let all = Retention { bytes: Some(1), ..Retention::default() };
        assert_eq!(store.retain(&all, i64::MAX).await.expect("done").expired.len(), 3);
        assert!(files(dir.path(), ".damaged").is_empty());
        assert!(!walk(&store, None).await.1);
    }
}

#[tokio::test]
async fn wherever_an_octet_of_a_bucket_is_wrong_nothing_wrong_is_found_and_the_rest_serves() {
    let dir = tempfile::tempdir().expect("a folder");
    three_buckets(dir.path()).await;
    let path = &files(dir.path(), ".sqlite")[1];
    let sound = std::fs::read(path).expect("the file");
    let mut outcomes = BTreeMap::new();
    for n in 0..40_usize {
        let at = n * sound.len() / 40 + n * 7 % 100;
        let mut octets = sound.clone();
        octets[at] ^= 0x41;
        std::fs::write(path, &octets).expect("written");
        let store = open(dir.path()).await;
        let mut found = Vec::new();
        for key in [None, Some(Key::method("INVITE"))] {
            let mut partial = false;
            let mut after = None;
            loop {
                let step = Walk { keys: key.into(), after, limit: 97, ..Walk::default() };
                let walked = store.walk(&step).await.expect("no error for one bad octet");
                partial |= walked.partial;
                after = walked.slices.last().map(StoredSlice::place);
                found.extend(walked.slices.iter().map(|slice| slice.id >> 32));
                if walked.slices.len() < 97 {
                    break;
                }
            }
            let whole = [1, 3].map(|bucket| found.iter().filter(|id| **id == bucket).count());
            assert_eq!(whole, [600, 600], "the others are whole");
            *outcomes.entry((found.len() == 1800, partial)).or_insert(0) += 1;
            found.clear();
        }
        drop(store);
        // Set aside or not, it is whole again for the next.
        for path in files(dir.path(), ".damaged") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    // Some hit a blob, whose own checks are the pack's; some hit pages, some nothing that is read.
    assert_eq!(outcomes.get(&(false, false)), None, "less is found, and nothing is said: {outcomes:?}");
    assert!(outcomes.contains_key(&(false, true)), "{outcomes:?}");
}

#[tokio::test]
async fn a_bucket_that_turns_out_damaged_as_it_is_written_makes_way_for_another() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.write(&flush(0..600, 1)).await.expect("written");
    let path = &files(dir.path(), ".sqlite")[0];
    run(path, "pragma wal_checkpoint(truncate)").await;
    let length = std::fs::metadata(path).expect("the file").len();
    overwrite(path, 8192, &vec![0x55; usize::try_from(length).expect("small") - 8192]);
    // Its pages are in memory no longer.
    store.inner.buckets()[0].writer().await.done(
        SqliteConnection::connect_with(&file::options(path).create_if_missing(false)).await.expect("opened"),
    );
    assert!(store.write(&flush(600..700, 2)).await.is_err());
    store.write(&flush(600..700, 2)).await.expect("into another");
    let (found, partial) = walk(&store, None).await;
    assert!(partial);
    assert_eq!(found.iter().filter(|n| **n >= 600).count(), 100);
    let plan = store.plan(&Retention::default(), START_US).await.expect("a plan");
    assert_eq!(plan.damaged, 1);
}

#[tokio::test]
async fn without_its_ledger_a_store_keeps_all_that_is_in_its_buckets() {
    for damaged in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path()).await;
        store.write(&flush(0..LARGE, 1)).await.expect("written");
        drop(store);
        let ledger = dir.path().join("store.sqlite");
        // Its connection is closed by a thread of its own.
        while file::with_companions(&ledger)[1].exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if damaged {
            overwrite(&ledger, 0, &[0x55; 4096]);
        } else {
            std::fs::remove_file(&ledger).expect("removed");
        }
        let store = open(dir.path()).await;
        assert_eq!(checkpoint(&store).await, None);
        holds(&store, 0..LARGE).await;
        store.write(&flush(LARGE..LARGE + 5, 2)).await.expect("written");
        drop(store);
        let store = open(dir.path()).await;
        holds(&store, 0..LARGE + 5).await;
        assert_eq!(checkpoint(&store).await, Some(2));
    }
}

#[tokio::test]
async fn a_bucket_with_values_that_none_writes_is_set_aside_and_the_rest_serves() {
    for damage in [
        "update segment set level = 300",
        "update pack set id = 5000000000 where id = (select max(id) from pack)",
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        three_buckets(dir.path()).await;
        run(&files(dir.path(), ".sqlite")[1], damage).await;
        let (found, partial) = walk(&open(dir.path()).await, None).await;
        assert_eq!((found.len(), partial), (1200, true), "{damage}");
    }
}

#[tokio::test]
async fn files_whose_names_no_bucket_has_are_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    three_buckets(dir.path()).await;
    let strays =
        ["bucket-4294967295.sqlite", "bucket-2147483648.sqlite", "bucket-7.sqlite", "bucket-+00008.sqlite"];
    strays.iter().for_each(|name| std::fs::write(dir.path().join(name), "not ours").expect("written"));
    let store = open(dir.path()).await;
    store.write(&flush(5000..5010, 9)).await.expect("written");
    let (found, partial) = walk(&store, None).await;
    assert_eq!((found.len(), partial), (1810, false));
    assert!(
        strays
            .iter()
            .all(|name| std::fs::read(dir.path().join(name)).is_ok_and(|found| found == b"not ours"))
    );
}
