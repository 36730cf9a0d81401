//! What is too old is gone, and nothing else.

use std::sync::atomic::AtomicI64;

use super::*;
use crate::store::{Plan, Retention};

const HOUR_US: i64 = 3_600_000_000;

async fn calls(store: &Arc<dyn Store>) -> Vec<String> {
    let search = Search::new(Arc::clone(store), Arc::default());
    let found = search.calls(&Filter::default(), &page(99, None)).await.expect("found").items;
    found.into_iter().map(|call| call.call_id).collect()
}

/// What is written one after the other: each flush into a part of its own, where a store has parts.
fn flushes() -> [(u64, Vec<Message>); 3] {
    let draft = |hours: i64, call| Draft { at_us: hours * HOUR_US, call, ..Draft::default() }.message();
    [
        (1, vec![draft(0, "old@host"), draft(1, "older-than-it-seems@host")]),
        (2, vec![draft(10, "new@host")]),
        (3, vec![draft(11, "newest@host")]),
    ]
}

/// Each opening begins a bucket at its first flush.
async fn open(dir: &std::path::Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(dir, "contract").await.expect("a store"))
}

#[tokio::test]
async fn on_sqlite_what_is_too_old_goes() {
    let files = tempfile::tempdir().expect("a temporary folder");
    // Each opening begins a bucket.
    for (offset, messages) in flushes() {
        write(&open(files.path()).await, offset, messages).await;
    }
    let store = open(files.path()).await;
    what_is_too_old_goes_and_the_rest_is_found_as_before(&store).await;
    let left: Vec<_> = std::fs::read_dir(files.path())
        .expect("the folder")
        .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
        .filter(|name| name.starts_with("bucket-000001"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Each hour of arrival has a part of its own.
#[tokio::test]
async fn on_postgres_what_is_too_old_goes() {
    let Some(database) = database().await else { return };
    let now_us = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now_us);
    let store = PostgresStore::open(database, "contract").await.expect("a store");
    let store: Arc<dyn Store> = Arc::new(store.with_clock(move || clock.load(Ordering::Relaxed)));
    for ((offset, messages), hour) in flushes().into_iter().zip([0, 10, 11]) {
        now_us.store(START_US + hour * HOUR_US, Ordering::Relaxed);
        write(&store, offset, messages).await;
    }
    what_is_too_old_goes_and_the_rest_is_found_as_before(&store).await;
}

#[tokio::test]
async fn of_too_much_and_of_a_full_disk_all_but_the_newest_bucket_goes() {
    for retention in [
        Retention { bytes: Some(1), ..Retention::default() },
        Retention { free_bytes: u64::MAX, ..Retention::default() },
    ] {
        let files = tempfile::tempdir().expect("a temporary folder");
        for (offset, messages) in flushes() {
            write(&open(files.path()).await, offset, messages).await;
        }
        // What a crash in the middle of a removal leaves.
        std::fs::write(files.path().join("bucket-000099.sqlite-wal"), "left").expect("written");
        let store = open(files.path()).await;
        assert!(!files.path().join("bucket-000099.sqlite-wal").exists());
        let done = store.retain(&retention, START_US).await.expect("done");
        assert_eq!(done.expired.len(), 2, "{retention:?}");
        assert!(done.disk_free_bytes.is_some_and(|free| free > 0));
        assert_eq!(calls(&store).await, ["newest@host"]);
        assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset: 3 }));
    }
}

async fn what_is_too_old_goes_and_the_rest_is_found_as_before(store: &Arc<dyn Store>) {
    let draft = |hours: i64, call| Draft { at_us: hours * HOUR_US, call, ..Draft::default() }.message();
    let now_us = START_US + 12 * HOUR_US;
    let retention = |hours: i64| Retention { age_us: Some(hours * HOUR_US), ..Retention::default() };
    for kept in [Retention::default(), retention(13)] {
        assert!(store.plan(&kept, now_us).await.expect("a plan").expired.is_empty(), "{kept:?}");
        assert!(store.retain(&kept, now_us).await.expect("done").expired.is_empty(), "{kept:?}");
    }
    let plan = store.plan(&retention(5), now_us).await.expect("a plan");
    assert_eq!(plan.expired.len(), 1);
    assert_eq!(plan.expired[0].newest_us, Some(START_US + HOUR_US));
    assert!(plan.expired[0].bytes > 0 && plan.store_bytes >= plan.expired[0].bytes);
    assert_eq!(calls(store).await.len(), 4, "a plan changes nothing");

    let done = store.retain(&retention(5), now_us).await.expect("done");
    // A bucket's size changes when it is read: SQLite keeps an index of its log beside it.
    let named = |plan: &Plan| {
        plan.expired.iter().map(|e| (e.name.clone(), e.newest_us, e.reason)).collect::<Vec<_>>()
    };
    assert_eq!(named(&done), named(&plan));
    assert_eq!(calls(store).await, ["newest@host", "new@host"]);
    let search = Search::new(Arc::clone(store), Arc::default());
    assert!(search.call("old@host", None, Window::default()).await.expect("no error").is_none());
    let by_user = Filter { from_user: Some(UserFilter::Exact("alice".into())), ..Filter::default() };
    assert_eq!(search.messages(&by_user, &page(9, None)).await.expect("found").items.len(), 2);
    assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset: 3 }));
    assert!(store.retain(&retention(5), now_us).await.expect("done").expired.is_empty());
    write(store, 4, vec![draft(12, "after@host")]).await;
    assert_eq!(calls(store).await.len(), 3);
}
