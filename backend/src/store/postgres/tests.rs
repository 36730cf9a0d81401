//! What only this store has: partitions, several backends on one database, answers that are lost, a replica. On the server that
//! `SIPLENS_TEST_POSTGRES_URL` names.

mod link;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::call::message::Message;
use crate::store::contract::{Draft, START_US, database};
use crate::store::retention::Reason;
use crate::store::slice::Cutter;
use crate::store::{Bounds, Key, Rule, StoredSlice};
use link::Link;

/// A clock that a test sets, hours after the start.
#[derive(Clone, Default)]
struct Hours(Arc<AtomicI64>);

impl Hours {
    fn set(&self, hours: i64) {
        self.0.store(hours, Ordering::Relaxed);
    }

    fn now_us(&self) -> i64 {
        START_US + self.0.load(Ordering::Relaxed) * HOUR_US
    }
}

async fn open(pool: &PgPool, spool: &str, hours: &Hours) -> PostgresStore {
    let hours = hours.clone();
    let store = PostgresStore::open(pool.clone(), spool).await.expect("a store");
    store.with_clock(move || hours.now_us())
}

fn message(at_us: i64, call: &'static str) -> Message {
    Draft { at_us, call, ..Draft::default() }.message()
}

fn flush(offset: u64, rule: &str, messages: Vec<Message>) -> Flush {
    let mut packs = Cutter::default().cut(messages).expect("packs");
    packs.iter_mut().for_each(|pack| pack.rule = rule.into());
    Flush { packs, end: Position { segment: 1, offset } }
}

/// The slices of a key, page by page.
async fn found(store: &PostgresStore, key: Option<Key>) -> Vec<StoredSlice> {
    let mut found: Vec<StoredSlice> = Vec::new();
    loop {
        let after = found.last().map(StoredSlice::place);
        let walked =
            store.walk(&Walk { keys: key.into(), after, limit: 7, ..Walk::default() }).await.expect("a walk");
        assert!(!walked.partial);
        if walked.slices.is_empty() {
            return found;
        }
        found.extend(walked.slices);
    }
}

async fn rows(pool: &PgPool, query: &str) -> Vec<i64> {
    let mut lease = Lease::snapshot(pool).await.expect("a connection");
    let rows = lease.query(query).await.expect("an answer").read(|row| row.bigint()).expect("readable");
    lease.commit().await.expect("an end");
    rows
}

/// How many partitions there are.
async fn partitions(pool: &PgPool) -> i64 {
    rows(pool, "select count(*) from pg_inherits where inhparent in ('pack'::regclass, 'page'::regclass)")
        .await[0]
}

fn hours_kept(hours: i64) -> Retention {
    Retention { age_us: Some(hours * HOUR_US), ..Retention::default() }
}

#[tokio::test]
async fn postings_are_found_before_and_after_they_are_merged() {
    let Some(pool) = database().await else { return };
    let hours = Hours::default();
    let store = open(&pool, "merged", &hours).await;
    let write = async |numbers: std::ops::Range<i64>| {
        for n in numbers {
            let calls = [message(n * 10, "often@host"), message(n * 10, format!("call-{n}@host").leak())];
            store.write(&flush(n.unsigned_abs(), "default", calls.to_vec())).await.expect("written");
        }
    };
    write(0..125).await;
    let keys =
        [None, Some(Key::call("often@host")), Some(Key::call("call-7@host")), Some(Key::from_user("alice"))];
    let mut before = Vec::new();
    for key in keys {
        before.push(found(&store, key).await);
    }
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [250, 125, 1, 250]);

    assert_eq!(maintain_once(&pool, hours.now_us()).await.expect("maintained"), 1);
    assert_eq!(rows(&pool, "select count(*) from segment").await, [1]);
    for (key, before) in keys.into_iter().zip(&before) {
        assert_eq!(found(&store, key).await, *before, "{key:?}");
    }
    write(125..130).await;
    assert_eq!(maintain_once(&pool, hours.now_us()).await.expect("maintained"), 0, "too few");
    // When the hour is over, all become one.
    hours.set(1);
    assert_eq!(maintain_once(&pool, hours.now_us()).await.expect("maintained"), 1);
    assert_eq!(rows(&pool, "select count(*) from segment").await, [1]);
    assert_eq!(found(&store, Some(Key::call("often@host"))).await.len(), 130);
    assert_eq!(found(&store, keys[2]).await, before[2]);
    assert_eq!(maintain_once(&pool, hours.now_us()).await.expect("maintained"), 0);
}

#[tokio::test]
async fn each_rule_and_hour_has_partitions_which_are_made_ahead_and_go_by_themselves() {
    let Some(pool) = database().await else { return };
    let hours = Hours::default();
    let store = open(&pool, "partitions", &hours).await;
    for hour in 0..3 {
        hours.set(hour);
        for (rule, call) in [("default", "call@host"), ("short", "probe@host")] {
            let offset = hour.unsigned_abs() * 2 + u64::from(rule == "short");
            let flush = flush(offset, rule, vec![message(hour * HOUR_US, call)]);
            store.write(&flush).await.expect("written");
        }
    }
    assert_eq!(partitions(&pool).await, 2 * 6);
    maintain_once(&pool, hours.now_us()).await.expect("maintained");
    assert_eq!(partitions(&pool).await, 2 * 8, "those of the next hour");
    maintain_once(&pool, hours.now_us()).await.expect("maintained");
    assert_eq!(partitions(&pool).await, 2 * 8);

    let bounds = |hours: i64| Bounds { age_us: Some(hours * HOUR_US), bytes: None };
    let short = Rule { name: "short".into(), classes: Vec::new(), tenants: Vec::new(), bounds: bounds(1) };
    let retention = Retention { rules: vec![short].into(), ..Retention::default() };
    let now_us = START_US + 2 * HOUR_US + 600_000_000;
    let plan = store.plan(&retention, now_us).await.expect("a plan");
    let expired = plan.expired.iter().map(|e| (&*e.rule, e.newest_us, e.reason)).collect::<Vec<_>>();
    assert_eq!(
        expired,
        [("short", Some(START_US), Reason::Age), ("short", Some(START_US + HOUR_US), Reason::Age)]
    );
    assert!(plan.expired.iter().all(|e| e.bytes > 0) && plan.rules.len() == 2);
    assert_eq!(store.retain(&retention, now_us).await.expect("done").expired, plan.expired);
    assert_eq!(partitions(&pool).await, 2 * 6);
    assert_eq!(found(&store, None).await.len(), 4);
    assert_eq!(rows(&pool, "select count(*) from segment").await, [4]);

    // Of too much the oldest hour goes, but nothing that may still be written to.
    let retention = Retention { bytes: Some(1), ..Retention::default() };
    let gone = store.retain(&retention, now_us).await.expect("done").expired;
    assert!(gone.iter().all(|e| e.reason == Reason::Size));
    assert_eq!(found(&store, None).await.len(), 2, "the hour that is not over");
}

/// How far each of two writers is. One that ends, however it does, is past all rounds.
struct Progress {
    rounds: Arc<[AtomicI64; 2]>,
    n: usize,
}

impl Progress {
    /// Waits for the other one as soon as it is more than an hour behind: what it writes to would be too old.
    async fn reached(&self, round: i64) {
        self.rounds[self.n].store(round, Ordering::Release);
        while self.rounds[1 - self.n].load(Ordering::Acquire) < round - 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.rounds[self.n].store(i64::MAX, Ordering::Release);
    }
}

#[tokio::test]
async fn two_backends_write_merge_and_let_go_on_one_database() {
    const ROUNDS: i64 = 40;
    let Some(pool) = database().await else { return };
    let hours = Hours::default();
    // All open the empty database at once.
    let opened = (0..6).map(|n| {
        let (pool, hours) = (pool.clone(), hours.clone());
        tokio::spawn(async move { open(&pool, &format!("spool-{n}"), &hours).await })
    });
    let mut stores = Vec::new();
    for store in opened.collect::<Vec<_>>() {
        stores.push(Arc::new(store.await.expect("opened")));
    }
    let stores = [stores.remove(0), stores.remove(0)];
    let rounds = Arc::new([AtomicI64::new(0), AtomicI64::new(0)]);
    let mut tasks = Vec::new();
    for (n, store) in stores.iter().enumerate() {
        let (writer, hours_now) = (Arc::clone(store), hours.clone());
        let progress = Progress { rounds: Arc::clone(&rounds), n };
        tasks.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                progress.reached(round).await;
                hours_now.set(round / 4);
                let at_us = round / 4 * HOUR_US + round % 4 * 10 + n as i64;
                let calls = ["a@host", "b@host", "c@host"].map(|call| message(at_us, call));
                let rule = if round % 2 == 0 { "default" } else { "other" };
                writer.write(&flush(round.unsigned_abs() + 1, rule, calls.to_vec())).await.expect("written");
            }
        }));
        let (keeper, pool, hours) = (Arc::clone(store), pool.clone(), hours.clone());
        let rounds = Arc::clone(&rounds);
        tasks.push(tokio::spawn(async move {
            loop {
                let last = rounds.iter().all(|round| round.load(Ordering::Acquire) == i64::MAX);
                maintain_once(&pool, hours.now_us()).await.expect("maintained");
                keeper.retain(&hours_kept(5), hours.now_us()).await.expect("let go");
                if last {
                    return;
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    // The last round was in hour 9: what was captured in hour 3 and before is too old and its hour over.
    let retention = hours_kept(5);
    stores[0].retain(&retention, hours.now_us() + 600_000_000).await.expect("let go");
    let mut by_time: BTreeMap<i64, usize> = BTreeMap::new();
    for slice in found(&stores[1], None).await {
        *by_time.entry((slice.last_us - START_US) / HOUR_US).or_default() += 1;
    }
    // Two backends, four rounds, three calls each.
    let expected: BTreeMap<i64, usize> = (5..10).map(|hour| (hour, 24)).collect();
    assert_eq!(by_time.into_iter().filter(|(hour, _)| *hour > 4).collect::<BTreeMap<_, _>>(), expected);
    for key in ["a@host", "b@host", "c@host"] {
        assert!(found(&stores[0], Some(Key::call(key))).await.len() >= 40);
    }
    for store in &stores {
        let checkpoint = store.checkpoint().await.expect("readable");
        assert_eq!(checkpoint, Some(Position { segment: 1, offset: ROUNDS.unsigned_abs() }));
    }
    assert_eq!(
        rows(&pool, "select count(*) from bucket group by rule, hour having count(*) > 1").await,
        [0_i64; 0],
        "a rule has one bucket an hour"
    );
}

/// More partitions than one transaction reads, so a merge may come between two of a walk.
#[tokio::test]
async fn a_walk_over_many_hours_finds_everything_while_they_are_merged_and_the_oldest_go() {
    const HOURS: i64 = 100;
    let Some(pool) = database().await else { return };
    let hours = Hours::default();
    let store = open(&pool, "many hours", &hours).await;
    for n in 0..3 * HOURS {
        hours.set(n / 3);
        let flush = flush(n.unsigned_abs(), "default", vec![message(n / 3 * HOUR_US + n, "a@host")]);
        store.write(&flush).await.expect("written");
    }
    let upkeep = tokio::spawn({
        let (pool, hours) = (pool.clone(), hours.clone());
        async move { maintain_once(&pool, hours.now_us()).await.expect("maintained") }
    });
    let mut walks = 0;
    while !upkeep.is_finished() || walks < 2 {
        let found =
            store.walk(&Walk { keys: Key::call("a@host").into(), limit: 1000, ..Walk::default() }).await;
        let found = found.expect("a walk").slices;
        assert_eq!(found.len(), 3 * HOURS as usize);
        assert!(found.windows(2).all(|w| w[0].place() > w[1].place()));
        walks += 1;
    }
    assert_eq!(upkeep.await.expect("no panic"), HOURS as usize - 1, "hours that are over");

    let retention = hours_kept(10);
    let letting_go = store.retain(&retention, hours.now_us());
    let walking = async {
        for _ in 0..10 {
            let found =
                store.walk(&Walk { keys: Key::call("a@host").into(), limit: 1000, ..Walk::default() }).await;
            let found = found.expect("a walk").slices.len();
            assert!((30..=300).contains(&found), "{found}");
        }
    };
    let (gone, ()) = tokio::join!(letting_go, walking);
    // What was read for longer than is waited for goes with the next.
    let rest = store.retain(&retention, hours.now_us()).await;
    let gone = [gone, rest].map(|gone| gone.expect("done").expired.len());
    assert!(gone[0] > 0 && gone.iter().sum::<usize>() > 80, "{gone:?}");
}

#[tokio::test]
async fn a_partition_that_is_read_keeps_no_other_one() {
    let Some(pool) = database().await else { return };
    let hours = Hours::default();
    let store = open(&pool, "in use", &hours).await;
    for hour in 0..=20 {
        hours.set(hour);
        let flush = flush(hour.unsigned_abs(), "default", vec![message(hour * HOUR_US, "a@host")]);
        store.write(&flush).await.expect("written");
    }
    let oldest = rows(&pool, "select min(number)::bigint from bucket").await[0];
    let mut reader = Lease::snapshot(&pool).await.expect("a snapshot");
    reader.query(&format!("select id from pack_{oldest}")).await.expect("an answer");
    let kept = hours_kept(2);
    let retain = || store.retain(&kept, hours.now_us());
    let gone = retain().await.expect("done").expired;
    assert!(gone.len() >= 15, "{gone:?}");
    assert!(gone.iter().all(|expired| expired.name != format!("pack_{oldest}")));
    reader.commit().await.expect("ended");
    assert_eq!(retain().await.expect("done").expired.len(), 1);
}

#[tokio::test]
async fn a_partition_that_is_read_is_let_go_of_later_and_nobody_waits_for_that() {
    let Some(pool) = database().await else { return };
    let hours = Hours::default();
    let store = open(&pool, "in use", &hours).await;
    for hour in [0, 5] {
        hours.set(hour);
        let flush = flush(hour.unsigned_abs(), "default", vec![message(hour * HOUR_US, "a@host")]);
        store.write(&flush).await.expect("written");
    }
    let mut reader = Lease::snapshot(&pool).await.expect("a snapshot");
    let old = reader.query("select id, blob from pack").await.expect("an answer");
    assert_eq!(old.read(|row| Some((row.bigint()?, row.bytea()?.len()))).expect("rows").len(), 2);

    let begun = Instant::now();
    let retention = hours_kept(2);
    let (gone, written) = tokio::join!(store.retain(&retention, hours.now_us()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        for n in 10..20 {
            let calls = vec![message(5 * HOUR_US + 1, "b@host")];
            store.write(&flush(n, "default", calls)).await.expect("written");
        }
        begun.elapsed()
    });
    assert_eq!(gone.expect("tried").expired, []);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(written < Duration::from_secs(3), "ten flushes took {written:?}");
    assert_eq!(partitions(&pool).await, 4);

    reader.commit().await.expect("an end");
    assert_eq!(store.retain(&hours_kept(2), hours.now_us()).await.expect("done").expired.len(), 1);
    assert_eq!(partitions(&pool).await, 2);
}

#[tokio::test]
async fn a_store_of_an_earlier_schema_is_refused_and_left_as_it_is() {
    for version in [1, 3] {
        let Some(pool) = database().await else { return };
        let made = format!(
            "create table siplens_schema (version bigint not null); insert into siplens_schema values ({version});
             create table slice (id bigint, blob bytea); insert into slice values (7, 'kept')"
        );
        Lease::begin(&pool, &made).await.expect("made");
        let Err(error) = PostgresStore::open(pool.clone(), "refused").await else { panic!("it was opened") };
        assert!(matches!(error, StoreError::Schema { found, .. } if found == version), "{error}");
        assert_eq!(rows(&pool, "select id from slice").await, [7]);
        assert_eq!(rows(&pool, "select version from siplens_schema").await, [version]);
    }
}

/// However the commit's answer gets lost, what `checkpoint` says afterwards is what became of the flush.
#[tokio::test]
async fn after_a_lost_answer_the_checkpoint_tells_whether_the_flush_was_stored() {
    let Some(pool) = database().await else { return };
    let link = Link::to(&pool).await;
    let store = open(&link.pool, "lost", &Hours::default()).await;
    for (offset, late) in [(1, Duration::ZERO), (2, Duration::from_secs(2))] {
        // The server gets the commit, at once or when the backend has long given up; its answer goes nowhere.
        link.lose_the_answer_to_a_commit(late);
        let flush = flush(offset, "default", vec![message(offset.cast_signed(), "a@host")]);
        let begun = Instant::now();
        store.write(&flush).await.expect_err("no answer");
        assert!(begun.elapsed() < Duration::from_secs(1), "it did not wait for the late commit");
        let checkpoint = store.checkpoint().await.expect("readable");
        assert_eq!(checkpoint, Some(flush.end), "late by {late:?}");
        assert!(begun.elapsed() >= late, "it could not be known before");
        assert_eq!(found(&store, None).await.len(), usize::try_from(offset).expect("small"));
    }
    // And where the server never got it, it was not stored.
    link.lose_the_next_commit();
    let flush = flush(3, "default", vec![message(3, "a@host")]);
    store.write(&flush).await.expect_err("no answer");
    assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset: 2 }));
    store.write(&flush).await.expect("written");
    assert_eq!(found(&store, None).await.len(), 3);
}

#[tokio::test]
async fn searches_read_from_the_replica_and_while_it_is_away_from_the_database_itself() {
    let Some(pool) = database().await else { return };
    let link = Link::to(&pool).await;
    let metrics = ReplicaMetrics::default();
    let store =
        open(&pool, "replica", &Hours::default()).await.with_replica(link.pool.clone(), metrics.clone());
    store.write(&flush(1, "default", vec![message(1, "a@host")])).await.expect("written");
    assert_eq!(found(&store, None).await.len(), 1);
    assert_eq!((metrics.is_up.get(), metrics.fallbacks.get()), (1, 0));
    assert!(link.connections() > 0);

    link.cut();
    assert_eq!(found(&store, None).await.len(), 1);
    assert_eq!(metrics.is_up.get(), 0);
    let fallbacks = metrics.fallbacks.get();
    assert!(fallbacks > 0);
    let begun = Instant::now();
    assert_eq!(found(&store, None).await.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(1), "a replica that is away is left alone for a while");
    assert!(metrics.fallbacks.get() > fallbacks);

    link.mend();
    let deadline = Instant::now() + Duration::from_secs(20);
    while metrics.is_up.get() == 0 {
        assert!(Instant::now() < deadline, "the replica was not asked again");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(found(&store, None).await.len(), 1);
    }
}
