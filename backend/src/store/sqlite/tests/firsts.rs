//! First slices of calls: one in a set of buckets, which goes as a whole.

use super::*;
use crate::store::retention::Reason;
use crate::store::slice::InSession;

/// The slice with this number, at this time, of the call of its number in a session.
fn in_session(n: u32, first_us: i64) -> Slice {
    let in_session = Some(InSession { key: Key::firsts("s"), call: n.into() });
    Slice { first_us, last_us: first_us, in_session, ..slice(n) }
}

/// A flush of such slices.
fn of_session(numbers: std::ops::Range<u32>, first_us: i64, offset: u64) -> Flush {
    let Flush { mut packs, end } = flush(numbers.clone(), offset);
    let slices = packs.iter_mut().flat_map(|pack| &mut pack.slices);
    slices.zip(numbers).for_each(|(slice, n)| *slice = in_session(n, first_us));
    Flush { packs, end }
}

async fn firsts(store: &SqliteStore) -> Vec<u32> {
    let mut found = walk(store, Some(Key::firsts("s"))).await.0;
    found.sort_unstable();
    found
}

#[tokio::test]
async fn a_call_whose_slices_lie_in_buckets_of_several_writers_has_one_first_slice_and_they_go_together() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.write(&of_session(0..LARGE, START_US, 1)).await.expect("written");
    // Those of the second writer's are with the first now.
    store.write(&of_session(LARGE - 100..LARGE, START_US + 10, 2)).await.expect("written");
    assert_eq!(files(dir.path(), ".sqlite").len(), 2);
    assert_eq!(firsts(&store).await, (0..LARGE).collect::<Vec<_>>());
    store.write(&of_session(0..10, START_US - 10, 3)).await.expect("written");
    assert_eq!(firsts(&store).await.len(), 1_210, "those begin earlier");
    drop(store);

    let store = open(dir.path()).await;
    store.write(&of_session(0..50, START_US + 20, 4)).await.expect("written");
    assert_eq!(firsts(&store).await.len(), 1_260, "another set has first slices of its own");
    // So little is too much that one of the two files would be enough.
    let bytes =
        files(dir.path(), ".sqlite").iter().map(|path| path.metadata().expect("a file").len()).sum::<u64>();
    let retention = Retention { bytes: Some(bytes - 1), ..Retention::default() };
    let plan = store.plan(&retention, START_US).await.expect("a plan");
    let done = store.retain(&retention, START_US).await.expect("done");
    for expired in [plan.expired, done.expired] {
        let names: Vec<_> = expired.iter().map(|expired| &*expired.name).collect();
        assert_eq!(names, ["bucket-000001.sqlite", "bucket-000002.sqlite"]);
        assert!(expired.iter().all(|expired| expired.bytes > 0 && expired.reason == Reason::Size));
    }
    assert_eq!(firsts(&store).await, (0..50).collect::<Vec<_>>());
    holds(&store, 0..50).await;
}

#[tokio::test]
async fn what_a_flush_that_failed_would_have_stored_is_not_remembered() {
    for (name, away, back) in [
        ("store.sqlite", "alter table checkpoint rename to away", "alter table away rename to checkpoint"),
        ("bucket-000002.sqlite", "alter table pack rename to away", "alter table away rename to pack"),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path()).await;
        store.write(&of_session(0..LARGE, START_US, 1)).await.expect("written");
        let path = dir.path().join(name);
        run(&path, away).await;
        store.write(&of_session(LARGE..2 * LARGE, START_US, 2)).await.expect_err("failed");
        run(&path, back).await;
        store.write(&of_session(LARGE..LARGE + 50, START_US + 10, 2)).await.expect("written");
        assert_eq!(firsts(&store).await, (0..LARGE + 50).collect::<Vec<_>>(), "{name}");
    }
}
