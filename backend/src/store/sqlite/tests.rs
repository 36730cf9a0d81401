//! What only this store does: several files for a flush, damaged files, merged and closed buckets.

mod damage;
mod firsts;

use sqlx::{Connection, SqliteConnection};

use super::*;
use crate::store::rule::{self, Bounds, Rule};
use crate::store::{Class, Key, Slice, StoredSlice};

/// 2026-01-01T00:00:00Z.
const START_US: i64 = 1_767_225_600_000_000;

/// Enough for two writers.
const LARGE: u32 = 1_200;

fn slice(n: u32) -> Slice {
    let mut keys =
        vec![Key::call(&n.to_string()), Key::from_user(&(n % 7).to_string()), Key::method("INVITE")];
    keys.sort_unstable();
    Slice {
        first_us: START_US + i64::from(n % 100) * 10_000,
        last_us: START_US + i64::from(n % 100) * 10_000 + i64::from(n),
        count: 1,
        class: Class::Call,
        keys,
        home: Key::call(&n.to_string()),
        in_session: None,
    }
}

/// Slices with these numbers in packs, not all of which are full.
fn packs(numbers: impl Iterator<Item = u32>, rule: &Arc<str>) -> Vec<Pack> {
    let line = |n: &u32| format!("slice {n} {}", "x".repeat(*n as usize % 300));
    let numbers: Vec<u32> = numbers.collect();
    let pack = |numbers: &[u32]| Pack {
        slices: numbers.iter().map(|n| slice(*n)).collect(),
        rule: Arc::clone(rule),
        dictionary: None,
        blob: numbers.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes(),
    };
    numbers.chunks(7).map(pack).collect()
}

/// Slices with these numbers.
fn flush(numbers: std::ops::Range<u32>, offset: u64) -> Flush {
    Flush { packs: packs(numbers, &rule::default_name()), end: Position { segment: 1, offset } }
}

async fn open(dir: &Path) -> SqliteStore {
    let two = NonZeroUsize::new(2).expect("not zero");
    SqliteStore::open_with(dir, "test", two).await.expect("a store")
}

/// The numbers of all slices of a key, in the order of a walk in steps; whether something may be missing.
async fn walk(store: &SqliteStore, key: Option<Key>) -> (Vec<u32>, bool) {
    let (mut found, mut partial, mut after) = (Vec::new(), false, None);
    loop {
        let step = Walk { keys: key.into(), after, limit: 97, ..Walk::default() };
        let Walked { slices, partial: here } = store.walk(&step).await.expect("a walk");
        partial |= here;
        after = slices.last().map(StoredSlice::place);
        let places: Vec<_> = slices.iter().map(StoredSlice::place).collect();
        assert!(places.windows(2).all(|w| w[0] > w[1]), "newest first");
        found.extend(slices.iter().map(|slice| {
            let text = String::from_utf8_lossy(&slice.blob);
            let line = text.lines().nth(slice.index).expect("a line");
            line.split(' ').nth(1).and_then(|n| n.parse::<u32>().ok()).expect("a number")
        }));
        if slices.len() < 97 {
            return (found, partial);
        }
    }
}

/// Exactly these slices are found, each once and by each of its keys; nothing is missing.
async fn holds(store: &SqliteStore, numbers: impl Iterator<Item = u32>) {
    let expected: Vec<u32> = numbers.collect();
    let sorted = |mut found: Vec<u32>| {
        found.sort_unstable();
        found
    };
    for key in [None, Some(Key::method("INVITE"))] {
        let (found, partial) = walk(store, key).await;
        assert!(!partial);
        assert_eq!(sorted(found), expected, "{key:?}");
    }
    let of_user = |n: &u32| n % 7 == 3;
    let (found, _) = walk(store, Some(Key::from_user("3"))).await;
    assert_eq!(sorted(found), expected.iter().copied().filter(of_user).collect::<Vec<_>>());
    for n in [expected.first(), expected.last()].into_iter().flatten() {
        assert_eq!(walk(store, Some(Key::call(&n.to_string()))).await, (vec![*n], false));
    }
}

async fn checkpoint(store: &SqliteStore) -> Option<u64> {
    store.checkpoint().await.expect("readable").map(|position| position.offset)
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries
        .filter(|path| {
            path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with("bucket-") && name.ends_with(ending)
            })
        })
        .collect();
    files.sort();
    files
}

/// SQL by somebody else.
async fn run(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnection::connect_with(&file::options(path)).await.expect("the file");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("run");
    connection.close().await.expect("closed");
}

#[tokio::test]
async fn a_large_flush_is_divided_among_writers_and_found_as_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.write(&flush(0..LARGE, 1)).await.expect("written");
    store.write(&flush(LARGE..LARGE + 10, 2)).await.expect("written");
    assert_eq!(files(dir.path(), ".sqlite").len(), 2);
    holds(&store, 0..LARGE + 10).await;
    drop(store);
    let store = open(dir.path()).await;
    holds(&store, 0..LARGE + 10).await;
    assert_eq!(checkpoint(&store).await, Some(2));
}

/// Where a process ends as it writes a flush.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    BeforeAll,
    AfterTheFirstBucket,
    AfterAllBuckets,
    AfterTheLedger,
}

/// Does what a write does up to there, and no further.
async fn write_until(store: &SqliteStore, flush: &Flush, end: End) {
    let mut current = store.inner.current.lock().await;
    let number = current.next_flush;
    current.next_flush += 1;
    let parts =
        store.inner.divide(&mut current, &mut Firsts::default(), &flush.packs).await.expect("divided");
    assert_eq!(parts.len(), 2);
    let stored = match end {
        End::BeforeAll => 0,
        End::AfterTheFirstBucket => 1,
        End::AfterAllBuckets | End::AfterTheLedger => 2,
    };
    for part in parts.iter().take(stored) {
        let _unseen = part.bucket.store(number, &part.packs, &part.pages).await.expect("stored");
    }
    if end == End::AfterTheLedger {
        store.inner.ledger.count(number, "test", flush.end).await.expect("counted");
    }
}

#[tokio::test]
async fn a_flush_that_was_cut_off_between_its_commits_is_stored_as_a_whole_or_not_at_all() {
    for end in [End::BeforeAll, End::AfterTheFirstBucket, End::AfterAllBuckets, End::AfterTheLedger] {
        // As the first flush of all, into buckets that hold others, and into buckets that are new.
        for before in [0, 1, 2] {
            let dir = tempfile::tempdir().expect("a folder");
            let mut store = open(dir.path()).await;
            for n in 0..before {
                store.write(&flush(n * LARGE..(n + 1) * LARGE, n.into())).await.expect("written");
            }
            if before == 2 {
                drop(store);
                store = open(dir.path()).await;
            }
            let first = before * LARGE;
            write_until(&store, &flush(first..first + LARGE, 77), end).await;
            holds(&store, 0..first).await;
            drop(store);

            let store = open(dir.path()).await;
            let counts = end == End::AfterTheLedger;
            let next = if counts { first + LARGE } else { first };
            holds(&store, 0..next).await;
            let expected = if counts { Some(77) } else { before.checked_sub(1).map(u64::from) };
            assert_eq!(checkpoint(&store).await, expected, "{end:?}");
            // What is sent again is there once.
            store.write(&flush(next..next + LARGE, 88)).await.expect("written");
            drop(store);
            let store = open(dir.path()).await;
            holds(&store, 0..next + LARGE).await;
            assert_eq!(checkpoint(&store).await, Some(88), "{end:?}");
        }
    }
}

#[tokio::test]
async fn a_flush_that_failed_is_stored_once_when_it_is_tried_again() {
    // What cannot be written: the second bucket, or the ledger.
    for ledger in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path()).await;
        store.write(&flush(0..LARGE, 1)).await.expect("written");
        let buckets = files(dir.path(), ".sqlite");
        let (path, away, back) = if ledger {
            let path = dir.path().join("store.sqlite");
            (path, "alter table checkpoint rename to away", "alter table away rename to checkpoint")
        } else {
            (buckets[1].clone(), "alter table pack rename to away", "alter table away rename to pack")
        };
        let next = flush(LARGE..2 * LARGE, 2);
        run(&path, away).await;
        for _ in 0..3 {
            assert!(store.write(&next).await.is_err());
        }
        run(&path, back).await;
        holds(&store, 0..LARGE).await;
        assert_eq!(checkpoint(&store).await, Some(1));
        store.write(&next).await.expect("written");
        holds(&store, 0..2 * LARGE).await;
        // One that fails for good, and then a crash.
        run(&path, away).await;
        assert!(store.write(&flush(2 * LARGE..3 * LARGE, 3)).await.is_err());
        run(&path, back).await;
        drop(store);
        let store = open(dir.path()).await;
        holds(&store, 0..2 * LARGE).await;
        assert_eq!(checkpoint(&store).await, Some(2));
    }
}

#[tokio::test]
async fn segments_are_merged_while_it_is_searched_and_a_bucket_that_is_done_is_one_closed_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    for n in 0..60 {
        store.write(&flush(n * 40..(n + 1) * 40, n.into())).await.expect("written");
        if n % 7 == 0 {
            let (searched, ()) = tokio::join!(walk(&store, None), store.inner.tend());
            assert_eq!(searched.0.len() as u32, (n + 1) * 40);
        }
    }
    store.inner.tend().await;
    let bucket = Arc::clone(&store.inner.buckets()[0]);
    assert!(bucket.live().len() < 20, "{} segments", bucket.live().len());
    assert!(!bucket.is_closed(), "it is written");
    holds(&store, 0..2400).await;
    drop((bucket, store));

    let store = open(dir.path()).await;
    let bucket = Arc::clone(&store.inner.buckets()[0]);
    // The store does it by itself.
    for _ in 0..100 {
        if bucket.is_closed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(bucket.is_closed());
    assert_eq!(bucket.live().len(), 1);
    holds(&store, 0..2400).await;
    assert!(files(dir.path(), "-wal").is_empty() && files(dir.path(), "-shm").is_empty());
    drop(store);
    let store = open(dir.path()).await;
    assert!(store.inner.buckets()[0].is_closed());
    holds(&store, 0..2400).await;
    store.write(&flush(2400..2410, 99)).await.expect("written");
    holds(&store, 0..2410).await;
}

#[tokio::test]
async fn who_reads_a_bucket_that_is_done_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.write(&flush(0..40, 1)).await.expect("written");
    drop(store);

    let store = open(dir.path()).await;
    let bucket = Arc::clone(&store.inner.buckets()[0]);
    let reader = store.inner.readers.take(&bucket).expect("a reader");
    reader.connection.execute_batch("select count(*) from pack").expect("read");
    // What SQLite would wait for a file is ten seconds.
    let in_time = tokio::time::timeout(Duration::from_secs(5), store.inner.tend()).await;
    in_time.expect("tended though somebody reads");
    assert!(!bucket.is_closed());
    reader.done();
    store.inner.tend().await;
    assert!(bucket.is_closed());
    holds(&store, 0..40).await;
}

#[tokio::test]
async fn a_closed_bucket_is_read_whatever_its_folder_is_called() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().join("50% of?mode=ro#1 ä");
    let store = open(&dir).await;
    store.write(&flush(0..40, 1)).await.expect("written");
    drop(store);
    let store = open(&dir).await;
    store.inner.tend().await;
    assert!(store.inner.buckets()[0].is_closed());
    holds(&store, 0..40).await;
}

#[tokio::test]
async fn a_merge_that_was_cut_off_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.write(&flush(0..100, 1)).await.expect("written");
    drop(store);
    let path = &files(dir.path(), ".sqlite")[0];
    run(path, "insert into page (segment, first, data) select segment + 5, first, data from page").await;
    let store = open(dir.path()).await;
    holds(&store, 0..100).await;
    drop(store);
    run(
        path,
        "create table if not exists one (n); insert into one select count(*) from page where segment = 6",
    )
    .await;
    let mut connection = SqliteConnection::connect_with(&file::options(path)).await.expect("the file");
    let left: i64 =
        sqlx::query_scalar("select n from one").fetch_one(&mut connection).await.expect("a number");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn files_of_another_version_are_refused_and_stay_as_they_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("bucket-000001.sqlite");
    run(
        &path,
        "create table slice (id integer primary key, blob blob); pragma user_version = 3;
                pragma journal_mode = delete",
    )
    .await;
    let before = std::fs::read(&path).expect("the file");
    let refused = SqliteStore::open(dir.path(), "test").await.err().expect("refused");
    assert!(matches!(refused, StoreError::Schema { expected: 6, found: 3, .. }), "{refused}");
    assert_eq!(std::fs::read(&path).expect("the file"), before);
    assert!(!dir.path().join("store.sqlite").exists());
}

#[tokio::test]
async fn a_store_that_is_written_can_be_looked_at_and_not_written_by_another() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    store.write(&flush(0..100, 1)).await.expect("written");
    let looked = SqliteStore::look(dir.path()).await.expect("a look");
    let plan = looked.plan(&Retention::default(), START_US).await.expect("a plan");
    assert!(plan.store_bytes > 0);
    assert!(looked.write(&flush(100..200, 2)).await.is_err());
    let refused = SqliteStore::open(dir.path(), "test").await.err().expect("refused");
    assert!(refused.to_string().contains("in use"), "{refused}");
    holds(&store, 0..100).await;
}

#[tokio::test]
async fn slices_of_different_rules_go_each_at_their_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    let options: Arc<str> = "options".into();
    let other = rule::default_name();
    let packs = [packs((0..20).step_by(2), &options), packs((1..20).step_by(2), &other)].concat();
    store.write(&Flush { packs, end: Position { segment: 1, offset: 1 } }).await.expect("written");
    drop(store);
    let store = open(dir.path()).await;
    store.write(&flush(20..30, 2)).await.expect("written");
    let rule = Rule {
        name: options,
        classes: vec![Class::Options],
        tenants: Vec::new(),
        bounds: Bounds { age_us: Some(1), bytes: None },
    };
    let retention = Retention { rules: Arc::new([rule]), ..Retention::default() };
    let gone = store.retain(&retention, START_US + 3_600_000_000).await.expect("done").expired;
    assert_eq!(gone.iter().map(|gone| &*gone.rule).collect::<Vec<_>>(), ["options"]);
    holds(&store, (1..20).step_by(2).chain(20..30)).await;
}
