//! The calls of a session are found by their first slices, and listed as if all slices had been looked at.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::gate::{Gate, Last};
use super::pages::{Counting, calls_of};
use super::*;
use crate::call::message::Message;
use crate::store::{Retention, clickhouse};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Of the session `s`.
fn of(at_us: i64, call: &'static str) -> Message {
    Draft { at_us, call, session: Some("s"), ..Draft::default() }.message()
}

fn bye(at_us: i64, call: &'static str) -> Message {
    let draft = Draft { at_us, call, session: Some("s"), ..Draft::default() };
    Draft { line: "BYE sip:bob@example.net SIP/2.0", cseq: "2 BYE", ..draft }.message()
}

/// With each call on a shard of its own, as a backend cuts for a store of several.
async fn write(store: &Arc<dyn Store>, offset: u64, messages: Vec<Message>) {
    let cutter = Cutter { homes: clickhouse::HOMES, ..Cutter::default() };
    let packs = cutter.cut(messages).expect("packs");
    store.write(&Flush { packs, end: Position { segment: 1, offset } }).await.expect("written");
}

async fn slices_of(store: &Arc<dyn Store>, key: Key) -> Vec<Message> {
    let walked =
        store.walk(&Walk { keys: key.into(), limit: 100_000, ..Walk::default() }).await.expect("a walk");
    assert!(!walked.partial);
    walked.slices.iter().flat_map(|slice| slice.messages().expect("readable")).collect()
}

/// How many calls of the session `s` have how many first slices.
async fn firsts(store: &Arc<dyn Store>) -> BTreeMap<String, usize> {
    let walk = Walk { keys: Key::firsts("s").into(), limit: 100_000, ..Walk::default() };
    let mut firsts = BTreeMap::new();
    for slice in store.walk(&walk).await.expect("a walk").slices {
        let messages = slice.messages().expect("readable");
        *firsts.entry(messages[0].sip.call_id.clone().expect("a Call-ID")).or_default() += 1;
    }
    firsts
}

/// The calls of the session `s`, newest first, each with the time by which it is listed. Pages of any size, up to any time, are what
/// all its slices tell.
async fn listed(store: &Arc<dyn Store>) -> Vec<(i64, String)> {
    let mut begun: BTreeMap<String, (i64, MessageId)> = BTreeMap::new();
    for message in slices_of(store, Key::correlation("s")).await {
        let call = begun.entry(message.sip.call_id.clone().expect("a Call-ID")).or_insert(message.order());
        *call = message.order().min(*call);
    }
    let mut begun: Vec<_> = begun.into_iter().map(|(call_id, order)| (order, call_id)).collect();
    begun.sort_by(|(a, _), (b, _)| b.cmp(a));
    let search = Search::new(Arc::clone(store), Arc::default());
    let untils = begun.iter().step_by(begun.len().div_ceil(4).max(1)).map(|((at_us, _), _)| Some(*at_us - 1));
    for until_us in untils.chain([None]) {
        let filter = Filter { correlation_id: Some("s".into()), until_us, ..Filter::default() };
        let expected: Vec<_> = begun
            .iter()
            .filter(|((at_us, _), _)| until_us.is_none_or(|until_us| *at_us <= until_us))
            .map(|((at_us, _), call_id)| (*at_us, call_id.clone()))
            .collect();
        for limit in [1, 3, 100] {
            let found = calls_of(&search, &filter, &page(limit, None)).await;
            let found: Vec<_> =
                found.into_iter().map(|call| (call.listed_us.unwrap_or_default(), call.call_id)).collect();
            assert_eq!(found, expected, "{limit} a page, {until_us:?}");
        }
    }
    begun.into_iter().map(|((at_us, _), call_id)| (at_us - START_US, call_id)).collect()
}

fn names(listed: &[(i64, String)]) -> Vec<&str> {
    listed.iter().map(|(_, call_id)| &**call_id).collect()
}

/// One flush after the other.
async fn write_all(store: &Arc<dyn Store>, flushes: Vec<Vec<Message>>) {
    for (offset, messages) in (1..).zip(flushes) {
        write(store, offset, messages).await;
    }
}

pub(super) async fn calls_of_a_session_have_one_first_slice_until_an_earlier_one_comes(
    store: &Arc<dyn Store>,
) {
    let outside = Draft { at_us: 1, call: "b@host", ..Draft::default() }.message();
    let mut of_tenant = of(30, "c@host");
    of_tenant.captured.tenant = Some("acme".into());
    let flushes = vec![
        vec![of(20, "b@host"), of(10, "a@host"), of(3_000_000, "a@host"), of(25, "s"), outside],
        vec![of(40, "c@host"), bye(4_000_000, "a@host"), bye(4_100_000, "b@host"), bye(4_200_000, "s")],
        // The same call of another's; and a leg that one hears of late, which began before.
        vec![of_tenant, of(5, "c@host"), of(50, "d@host")],
    ];
    write_all(store, flushes).await;
    assert_eq!(names(&listed(store).await), ["d@host", "s", "b@host", "a@host", "c@host"]);
    // Of the call that the session is named after none is needed.
    let expected = [("a@host", 1), ("b@host", 1), ("c@host", 3), ("d@host", 1)];
    assert_eq!(firsts(store).await, expected.map(|(call, count)| (call.to_owned(), count)).into());
    let search = Search::new(Arc::clone(store), Arc::default());
    for (tenant, expected) in [("acme", vec!["c@host"]), ("other", vec![])] {
        let filter =
            Filter { correlation_id: Some("s".into()), tenant: Some(tenant.into()), ..Filter::default() };
        let found = calls_of(&search, &filter, &page(2, None)).await;
        assert_eq!(found.iter().map(|call| &*call.call_id).collect::<Vec<_>>(), expected);
    }
    // A call that began before is listed by what comes after.
    let since =
        |us| Filter { correlation_id: Some("s".into()), since_us: Some(START_US + us), ..Filter::default() };
    let found = calls_of(&search, &since(45), &page(3, None)).await;
    let found: Vec<_> = found.iter().map(|call| &*call.call_id).collect();
    assert_eq!(found, ["s", "b@host", "a@host", "d@host"]);
}

/// A session that has ended: what was captured last of all its calls is how they ended.
pub(super) async fn the_newest_calls_of_a_session_are_found_without_how_all_of_them_ended(
    store: &Arc<dyn Store>,
) {
    const CALLS: i64 = 3_000;
    let calls: Vec<&'static str> = (0..CALLS).map(|n| &*format!("call-{n:04}@host").leak()).collect();
    let flushes = (0..6).map(|flush| {
        let (ends, half) = (flush >= 3, flush % 3);
        let calls = (0..).zip(calls.iter().copied()).skip(half * 1000).take(1000);
        // The first slices of many begin before others end.
        let messages = |(n, call): (i64, &'static str)| {
            let at_us = n * 10_000;
            if ends {
                vec![bye(90_000_000 + at_us, call)]
            } else {
                vec![of(at_us, call), of(at_us + 1_500_000, call)]
            }
        };
        calls.flat_map(messages).collect()
    });
    write_all(store, flushes.collect()).await;
    let counting = Arc::new(Counting::of(store));
    let search = Search::new(Arc::clone(&counting) as Arc<dyn Store>, Arc::default());
    let filter = Filter { correlation_id: Some("s".into()), ..Filter::default() };
    let mut cursor = None;
    for n in 0..8 {
        let before = counting.slices();
        let found = search.calls(&filter, &page(20, cursor)).await.expect("a page");
        let newest: Vec<_> = calls.iter().rev().skip(n * 20).take(20).copied().collect();
        assert_eq!(found.items.iter().map(|call| &*call.call_id).collect::<Vec<_>>(), newest);
        let slices = counting.slices() - before;
        // One step of the walk, and two slices of each call that is looked up.
        assert!(slices <= 256 + 2 * (20 + 8), "{slices} for page {n}");
        cursor = found.next_cursor;
    }
}

/// What is written by a store in one hour of the test, and in the next, when the hour before may go.
async fn hours_go(store: &Arc<dyn Store>, hour_us: i64, set_clock: impl Fn(i64), grace_us: i64) {
    set_clock(START_US);
    write(store, 1, vec![of(0, "a@host"), of(10, "b@host"), of(20, "c@host")]).await;
    write(store, 2, vec![of(30, "d@host"), of(40, "a@host"), of(50, "b@host")]).await;
    let each_once: BTreeMap<_, _> =
        ["a@host", "b@host", "c@host", "d@host"].map(|call| (call.to_owned(), 1)).into();
    assert_eq!(firsts(store).await, each_once);
    set_clock(START_US + hour_us);
    write(store, 3, vec![of(hour_us, "e@host"), bye(hour_us + 10, "a@host"), bye(hour_us + 20, "c@host")])
        .await;
    write(store, 4, vec![bye(hour_us + 30, "a@host"), bye(hour_us + 40, "c@host")]).await;
    assert_eq!(names(&listed(store).await), ["e@host", "d@host", "c@host", "b@host", "a@host"]);

    let now_us = START_US + hour_us + grace_us;
    let retention = Retention { age_us: Some(grace_us.max(hour_us / 2)), ..Retention::default() };
    assert_eq!(store.retain(&retention, now_us).await.expect("done").expired.len(), 1);
    assert_eq!(
        listed(store).await,
        [(hour_us + 20, "c@host".into()), (hour_us + 10, "a@host".into()), (hour_us, "e@host".into())]
    );
}

#[tokio::test]
async fn on_postgres_a_call_whose_first_hour_is_gone_is_listed_by_the_next() {
    let Some(database) = database().await else { return };
    let now_us = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let clock = Arc::clone(&now_us);
    let store = PostgresStore::open(database, "contract").await.expect("a store");
    let store: Arc<dyn Store> = Arc::new(store.with_clock(move || clock.load(Ordering::Relaxed)));
    hours_go(&store, HOUR_US, |us| now_us.store(us, Ordering::Relaxed), HOUR_US / 2).await;
}

thread_local! {
    static NOW_US: Cell<i64> = const { Cell::new(0) };
}

async fn on_clickhouse_a_call_whose_first_day_is_gone_is_listed_by_the_next(variable: &str) {
    let Some(shards) = new_databases(variable) else { return };
    let spool = tempfile::tempdir().expect("a folder");
    let store = clickhouse_in(&shards, spool.path()).await.at(|| NOW_US.get());
    let store: Arc<dyn Store> = Arc::new(store);
    hours_go(&store, DAY_US, |us| NOW_US.set(us), DAY_US / 2).await;
}

#[tokio::test]
async fn on_the_old_clickhouse_days_go() {
    on_clickhouse_a_call_whose_first_day_is_gone_is_listed_by_the_next(CLICKHOUSE).await;
}

#[tokio::test]
async fn on_the_current_clickhouse_days_go() {
    on_clickhouse_a_call_whose_first_day_is_gone_is_listed_by_the_next(CLICKHOUSE_CURRENT).await;
}

/// What two backends store of the same calls, each what it hears; and one of them after a start.
async fn two_share_a_store(one: &Arc<dyn Store>, other: &Arc<dyn Store>, again: &Arc<dyn Store>) {
    write(one, 1, vec![of(0, "a@host"), of(10, "b@host")]).await;
    write(other, 1, vec![bye(5_000_000, "a@host"), of(20, "c@host"), of(5, "b@host")]).await;
    write(one, 2, vec![bye(6_000_000, "c@host"), bye(6_100_000, "b@host")]).await;
    write(again, 3, vec![bye(7_000_000, "c@host"), of(30, "d@host")]).await;
    assert_eq!(names(&listed(one).await), ["d@host", "c@host", "b@host", "a@host"]);
    let expected = [("a@host", 2), ("b@host", 2), ("c@host", 3), ("d@host", 1)];
    assert_eq!(firsts(other).await, expected.map(|(call, count)| (call.to_owned(), count)).into());
}

#[tokio::test]
async fn on_postgres_two_backends_share_a_session() {
    let Some(database) = database().await else { return };
    let mut stores = Vec::new();
    for spool in ["one", "other", "one"] {
        let store = PostgresStore::open(database.clone(), spool).await.expect("a store");
        stores.push(Arc::new(store) as Arc<dyn Store>);
    }
    two_share_a_store(&stores[0], &stores[1], &stores[2]).await;
}

#[tokio::test]
async fn on_clickhouse_two_backends_share_a_session() {
    let Some(shards) = new_databases(CLICKHOUSE) else { return };
    let spools = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let mut stores = Vec::new();
    for spool in &spools {
        stores.push(Arc::new(clickhouse_in(&shards, spool.path()).await) as Arc<dyn Store>);
    }
    two_share_a_store(&stores[0], &stores[1], &stores[2]).await;
}

/// What could not be written, and is not written later either, is no reason to leave the key out of what is.
#[tokio::test]
async fn on_postgres_what_was_refused_is_not_remembered() {
    let Some(database) = database().await else { return };
    let store = PostgresStore::open(database, "contract").await.expect("a store");
    let store: Arc<dyn Store> = Arc::new(store);
    write(&store, 1, vec![of(0, "a@host")]).await;
    let cut = |message, rule: &str| {
        let mut packs = Cutter::default().cut(vec![message]).expect("packs");
        packs.iter_mut().for_each(|pack| pack.rule = rule.into());
        packs
    };
    // A name that no database takes, and that comes after the other.
    let packs = [cut(of(10, "b@host"), "default"), cut(of(20, "c@host"), "z\0")].concat();
    store.write(&Flush { packs, end: Position { segment: 1, offset: 2 } }).await.expect_err("refused");
    write(&store, 3, vec![bye(5_000_000, "b@host"), bye(5_000_000, "a@host")]).await;
    assert_eq!(names(&listed(&store).await), ["b@host", "a@host"]);
}

async fn what_did_not_reach_a_shard_is_not_remembered(variable: &str) {
    for inserts in 0..4 {
        let Some(shards) = new_databases(variable) else { return };
        let spool = tempfile::tempdir().expect("a folder");
        let gates = [Gate::before(&shards[0]).await, Gate::before(&shards[1]).await];
        let gated = gates.each_ref().map(|gate| gate.url().to_owned());
        let store: Arc<dyn Store> = Arc::new(clickhouse_in(&gated, spool.path()).await);
        write(&store, 1, vec![of(0, "a@host")]).await;
        gates.iter().for_each(|gate| gate.shut_after(inserts, Last::Request));
        let calls = ["b@host", "c@host", "d@host", "e@host", "f@host"];
        let packs = Cutter::default().cut(calls.map(|call| of(10, call)).to_vec()).expect("packs");
        let flush = Flush { packs, end: Position { segment: 1, offset: 2 } };
        let is_written = store.write(&flush).await.is_ok();
        gates.iter().for_each(Gate::open);
        // A server that was away is left alone for a while.
        tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
        write(&store, 3, calls.map(|call| bye(5_000_000, call)).to_vec()).await;
        assert_eq!(listed(&store).await.len(), 6, "{inserts}");
        if is_written {
            return;
        }
    }
}

#[tokio::test]
async fn on_the_old_clickhouse_what_did_not_reach_a_shard_is_not_remembered() {
    what_did_not_reach_a_shard_is_not_remembered(CLICKHOUSE).await;
}

#[tokio::test]
async fn on_the_current_clickhouse_what_did_not_reach_a_shard_is_not_remembered() {
    what_did_not_reach_a_shard_is_not_remembered(CLICKHOUSE_CURRENT).await;
}
