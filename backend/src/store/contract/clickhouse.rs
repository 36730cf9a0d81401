//! What only a store on several servers must do: count each message once whenever a backend ends or a server goes, say
//! when a shard is away, and let go of days.

use std::path::Path;

use super::gate::{Gate, Last};
use super::*;
use crate::store::clickhouse;
use crate::store::retention::Reason;
use crate::store::{Retention, Rule, StoreError};

const DAY_US: i64 = 86_400_000_000;

/// Twelve calls of two messages each, at this second.
fn calls(second: i64) -> Vec<Message> {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let draft = |call: &'static str| Draft { at_us: second * 1_000_000, call, ..Draft::default() };
    names
        .into_iter()
        .flat_map(|call| {
            [draft(call).message(), draft(call).reply(second * 1_000_000 + 9, "SIP/2.0 200 OK").message()]
        })
        .collect()
}

fn flush(messages: Vec<Message>, offset: u64) -> Flush {
    let cutter = Cutter { homes: clickhouse::HOMES, ..Cutter::default() };
    let packs = cutter.cut(messages).expect("packs");
    Flush { packs, end: Position { segment: 1, offset } }
}

/// Every message that the store brings, without what a search does about duplicates; and whether it says `partial`.
async fn stored(store: &ClickhouseStore) -> (usize, bool) {
    let (mut count, mut partial, mut walk) = (0, false, Walk { limit: 5, ..Walk::default() });
    loop {
        let step = store.walk(&walk).await.expect("a step");
        partial |= step.partial;
        count += step.slices.iter().map(|slice| slice.messages().expect("readable").len()).sum::<usize>();
        match step.slices.last() {
            Some(last) if step.slices.len() == 5 => walk.after = Some(last.place()),
            _ => return (count, partial),
        }
    }
}

async fn open(shards: &[String; 2], spool: &Path) -> ClickhouseStore {
    clickhouse_in(shards, spool).await
}

/// A backend is killed at each insert of a flush, before it and after it; what is not counted comes again, cut otherwise.
async fn a_flush_that_was_cut_off_anywhere_is_stored_once(variable: &str) {
    for last in [Last::Request, Last::Answer] {
        for inserts in 0.. {
            let Some(shards) = new_databases(variable) else { return };
            let spool = tempfile::tempdir().expect("a folder");
            let gates = [Gate::before(&shards[0]).await, Gate::before(&shards[1]).await];
            let gated = gates.each_ref().map(|gate| gate.url().to_owned());
            let store = open(&gated, spool.path()).await;
            store.write(&flush(calls(0), 10)).await.expect("written");
            // Both at once, as the end of a process is.
            gates.iter().for_each(|gate| gate.shut_after(inserts, last));
            let whole = store.write(&flush(calls(10), 20)).await;
            drop(store);

            let store = open(&shards, spool.path()).await;
            let reached = store.checkpoint().await.expect("readable");
            if whole.is_ok() {
                assert!(inserts >= 2, "a flush is two inserts a shard");
                assert_eq!(reached, Some(Position { segment: 1, offset: 20 }));
                assert_eq!(stored(&store).await, (48, false));
                break;
            }
            assert_eq!(reached, Some(Position { segment: 1, offset: 10 }), "{inserts}, {last:?}");
            for (offset, messages) in (12..).step_by(4).zip(calls(10).chunks(7)) {
                store.write(&flush(messages.to_vec(), offset)).await.expect("written");
            }
            assert_eq!(stored(&store).await, (48, false), "{inserts}, {last:?}");
            let call = Search::new(Arc::new(store), Arc::default()).call("e", None, Window::default()).await;
            assert_eq!(call.expect("found").expect("the call").messages.len(), 4);
        }
    }
}

/// Of flushes in one second some share their ids, since ids have ten bits to tell them apart. What was captured at the same time then
/// has the same place in walks, and a step that ends there leaves none out.
async fn slices_at_the_same_place_are_all_found(variable: &str) {
    const FLUSHES: u64 = 200;
    let Some(shards) = new_databases(variable) else { return };
    let spool = tempfile::tempdir().expect("a folder");
    let store = open(&shards, spool.path()).await.at(|| START_US);
    for offset in 1..=FLUSHES {
        let call: &'static str = format!("{offset}@host").leak();
        store
            .write(&flush(vec![Draft { call, ..Draft::default() }.message()], offset))
            .await
            .expect("written");
    }
    let all = store.walk(&Walk { limit: 1000, ..Walk::default() }).await.expect("a walk").slices;
    assert_eq!(all.len() as u64, FLUSHES);
    assert!(all.windows(2).any(|w| w[0].place() == w[1].place()), "one chance in 10⁸ that there is none");
    for limit in [1, 5] {
        let (mut found, mut walk) = (Vec::new(), Walk { limit, ..Walk::default() });
        loop {
            let step = store.walk(&walk).await.expect("a step").slices;
            let is_end = step.len() < limit as usize;
            walk.after = step.last().map(StoredSlice::place);
            found.extend(step);
            if is_end {
                break;
            }
        }
        assert!(found == all, "{} of {FLUSHES} in steps of {limit}", found.len());
    }
}

/// Neither a lost answer nor a flush that another one takes the place of stores anything twice.
async fn the_same_process_goes_on_after_a_failure(variable: &str) {
    for another in [false, true] {
        let Some(shards) = new_databases(variable) else { return };
        let spool = tempfile::tempdir().expect("a folder");
        let gates = [Gate::before(&shards[0]).await, Gate::before(&shards[1]).await];
        let store = open(&gates.each_ref().map(|gate| gate.url().to_owned()), spool.path()).await;
        gates.iter().for_each(|gate| gate.shut_after(1, Last::Answer));
        assert!(matches!(store.write(&flush(calls(0), 10)).await, Err(StoreError::Away(_))));
        gates.iter().for_each(Gate::open);
        // A server that was away is left alone for a while.
        tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
        let messages = calls(0);
        let (first, rest) = messages.split_at(if another { 4 } else { messages.len() });
        store.write(&flush(first.to_vec(), 10)).await.expect("written");
        store.write(&flush(rest.to_vec(), 11)).await.expect("written");
        assert_eq!(stored(&store).await, (24, false), "another: {another}");
    }
}

/// With a shard away the rest is found and said to be partial, and what comes in is stored; with it back all is there.
async fn a_shard_that_is_away_is_said_and_nothing_is_lost(variable: &str) {
    let Some(shards) = new_databases(variable) else { return };
    let spool = tempfile::tempdir().expect("a folder");
    let gate = Gate::before(&shards[1]).await;
    let gated = [shards[0].clone(), gate.url().to_owned()];
    let store = Arc::new(open(&gated, spool.path()).await);
    store.write(&flush(calls(0), 10)).await.expect("written");
    assert_eq!(stored(&store).await, (24, false));

    gate.shut();
    let (some, partial) = stored(&store).await;
    assert!(partial && some > 0 && some < 24, "{some}");
    let search = Search::new(Arc::clone(&store) as Arc<dyn Store>, Arc::default());
    let listed = search.messages(&Filter::default(), &page(100, None)).await.expect("found");
    assert!(listed.partial && listed.items.len() == some);
    // What is not found may be on the shard that is away: that is not the same as not being there.
    let absent = search.call("absent", None, Window::default()).await.expect_err("not known");
    assert!(absent.to_string().contains("cannot be read"), "{absent}");
    assert!(search.session("absent", Window::default()).await.is_err());
    store.write(&flush(calls(10), 20)).await.expect("stored without it");
    assert_eq!(stored(&store).await, (some + 24, true));
    store.ping().await.expect("one shard answers");
    assert!(
        open(&gated, spool.path()).await.walk(&Walk::default()).await.expect("opened without it").partial
    );

    gate.open();
    tokio::time::sleep(std::time::Duration::from_millis(4_500)).await;
    assert_eq!(stored(&store).await, (48, false));
    let call = search.call("absent", None, Window::default()).await.expect("known");
    assert!(call.is_none());
}

async fn days_go_by_rule(variable: &str) {
    let Some(shards) = new_databases(variable) else { return };
    let spool = tempfile::tempdir().expect("a folder");
    let at = async |now_us: fn() -> i64| open(&shards, spool.path()).await.at(now_us);
    let rules = Arc::from([Rule {
        name: "pings".into(),
        classes: vec![crate::store::Class::Options],
        tenants: Vec::new(),
        bounds: crate::store::Bounds { age_us: Some(DAY_US), bytes: None },
    }]);
    let retention = Retention { age_us: Some(3 * DAY_US), rules, ..Retention::default() };
    let options = || {
        Draft { line: "OPTIONS sip:b SIP/2.0", cseq: "1 OPTIONS", call: "ping", ..Draft::default() }.message()
    };
    let cutter = Cutter { retention: Arc::new(retention.clone()), ..Cutter::default() };
    for (day, now_us) in
        [(0, (|| START_US) as fn() -> i64), (2, || START_US + 2 * DAY_US), (4, || START_US + 4 * DAY_US)]
    {
        let messages = [calls(day * 86_400), vec![options()]].concat();
        let packs = cutter.cut(messages).expect("packs");
        let end = Position { segment: 1, offset: day.unsigned_abs() };
        at(now_us).await.write(&Flush { packs, end }).await.expect("written");
    }
    let store = at(clock_of_day_four).await;
    assert_eq!(stored(&store).await, (75, false));
    let now_us = START_US + 4 * DAY_US + DAY_US / 2;
    let plan = store.plan(&retention, now_us).await.expect("a plan");
    let named: Vec<_> = plan.expired.iter().map(|e| (&*e.rule, e.newest_us, e.reason)).collect();
    let end = |day: i64| Some(START_US + (day + 1) * DAY_US - 1);
    let expected =
        [("default", end(0), Reason::Age), ("pings", end(0), Reason::Age), ("pings", end(2), Reason::Age)];
    assert_eq!(named, expected);
    assert!(plan.expired.iter().all(|e| e.bytes > 0) && plan.store_bytes > plan.expired[0].bytes);
    assert_eq!(plan.rules.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["default", "pings"]);
    assert_eq!(stored(&store).await.0, 75, "a plan changes nothing");

    assert_eq!(store.retain(&retention, now_us).await.expect("done").expired, plan.expired);
    assert_eq!(stored(&store).await, (75 - 24 - 2, false));
    let search = Search::new(Arc::new(store) as Arc<dyn Store>, Arc::default());
    let ping = search.call("ping", None, Window::default()).await.expect("found").expect("the newest");
    assert_eq!(ping.messages.len(), 1);
    let store = at(clock_of_day_four).await;
    assert!(store.retain(&retention, now_us).await.expect("done").expired.is_empty());
    // Of too much all but the day that is written goes.
    let least = Retention { bytes: Some(1), ..Retention::default() };
    assert_eq!(store.retain(&least, now_us).await.expect("done").expired.len(), 1);
    assert_eq!(stored(&store).await, (25, false));
    assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset: 4 }));
}

fn clock_of_day_four() -> i64 {
    START_US + 4 * DAY_US
}

async fn what_is_no_store_of_this_version_is_refused(variable: &str) {
    let Some(shards) = new_databases(variable) else { return };
    let spool = tempfile::tempdir().expect("a folder");
    drop(open(&shards, spool.path()).await);
    let servers = || shards.iter().map(|url| vec![ServerUrl::parse(url).expect("a URL")]).collect::<Vec<_>>();
    let server = http::Server::new(servers()[1][0].clone(), access());
    server.ask("insert into siplens_schema (version) values (7)".into()).await.expect("written");
    let error =
        ClickhouseStore::open(servers(), &access(), &Layout::default(), None, &Gauge::default()).await.err();
    assert!(matches!(error, Some(StoreError::Schema { found: 7, .. })), "{error:?}");
}

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod old {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::CLICKHOUSE).await;
            })*
        }
        mod current {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::CLICKHOUSE_CURRENT).await;
            })*
        }
    };
}

on_both!(
    a_flush_that_was_cut_off_anywhere_is_stored_once,
    slices_at_the_same_place_are_all_found,
    the_same_process_goes_on_after_a_failure,
    a_shard_that_is_away_is_said_and_nothing_is_lost,
    days_go_by_rule,
    what_is_no_store_of_this_version_is_refused,
);
