//! What all stores must do. Each case is written once and run on each store: on SQLite always, on PostgreSQL where
//! `SIPLENS_TEST_POSTGRES_URL` names a server that it may make databases on, and so on two ClickHouses, an old and a new one.

mod clickhouse;
mod dictionaries;
mod events;
mod firsts;
mod gate;
mod pages;
mod retention;
mod scans;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::{Connection, PgPool};

use super::postgres::{PostgresStore, connection};
use super::slice::Cutter;
use super::sqlite::SqliteStore;
use super::{Flush, Key, Keys, Store, StoredSlice, Walk};
use crate::call::message::{Captured, Kind, Message, MessageId, Transport};
use crate::search::filter::{AddressFilter, Filter, HeaderFilter, Octets, StatusFilter, UserFilter};
use crate::search::scope::{Scope, ScopeError, Scoped, Subject};
use crate::search::{Page, Search, Window};
use crate::spool::Position;
use crate::store::clickhouse::ClickhouseStore;
use crate::store::clickhouse::http::{self, Access, ServerUrl};
use crate::store::clickhouse::schema::Layout;
use dictionaries::{
    slices_are_read_by_the_dictionaries_they_were_made_with,
    without_its_dictionary_a_slice_is_damaged_and_the_rest_is_found,
};
use events::{
    a_path_finds_also_what_was_stored_before_it_was_indexed, a_scope_never_shows_an_event,
    events_are_found_by_their_hep_fields_and_their_json,
    events_are_shown_in_the_calls_they_name_and_in_no_others,
};
use firsts::{
    calls_of_a_session_have_one_first_slice_until_an_earlier_one_comes,
    the_newest_calls_of_a_session_are_found_without_how_all_of_them_ended,
};
use scans::{
    what_is_rare_is_found_wherever_it_is_in_a_long_walk, what_is_too_much_for_one_step_comes_in_several,
};

use pages::{
    a_page_of_large_messages_is_shorter_and_the_next_goes_on,
    a_page_reads_no_slice_that_is_older_than_its_last_message,
    pages_of_any_size_are_what_a_sort_of_everything_gives, pages_stay_as_they_are_while_newer_messages_come,
};

/// 2026-01-01T00:00:00Z.
pub(super) const START_US: i64 = 1_767_225_600_000_000;

static NEXT_DATABASE: AtomicU32 = AtomicU32::new(0);

struct Fresh {
    store: Arc<dyn Store>,
    /// What must live as long as the store.
    _files: Option<tempfile::TempDir>,
}

async fn sqlite() -> Fresh {
    let files = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(files.path(), "contract").await.expect("an empty store");
    Fresh { store: Arc::new(store), _files: Some(files) }
}

/// A database of its own on the server that `SIPLENS_TEST_POSTGRES_URL` names.
pub(super) async fn database() -> Option<PgPool> {
    let Ok(url) = std::env::var("SIPLENS_TEST_POSTGRES_URL") else {
        // Past cargo's capture, so that the summary of `./test` can tell.
        let _seen = writeln!(
            std::io::stderr(),
            "SKIPPED: contract on PostgreSQL: SIPLENS_TEST_POSTGRES_URL is not set"
        );
        return None;
    };
    let name = format!("contract_{}_{}", std::process::id(), NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
    let server = connection::options(&url).expect("a PostgreSQL URL");
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    let mut connection = sqlx::PgConnection::connect_with(&server).await.expect("the PostgreSQL server");
    drop_databases_of_earlier_runs(&mut connection).await;
    sqlx::raw_sql(create).execute(&mut connection).await.expect("a database");
    Some(connection::pool(server.database(&name), 4))
}

/// Each takes 8 MB, and a server may serve many runs.
async fn drop_databases_of_earlier_runs(connection: &mut sqlx::PgConnection) {
    let names: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where datname like 'contract\\_%'")
            .fetch_all(&mut *connection)
            .await
            .expect("the databases");
    for name in names {
        let process = name.split('_').nth(1).unwrap_or_default();
        if !std::path::Path::new("/proc").join(process).exists() {
            let drop = sqlx::AssertSqlSafe(format!("drop database if exists {name}"));
            // Another test may have done so, or PgBouncer may still be connected to it.
            let _dropped = sqlx::raw_sql(drop).execute(&mut *connection).await;
        }
    }
}

/// The same by way of the PgBouncer that `SIPLENS_TEST_PGBOUNCER_URL` names.
async fn database_behind_pgbouncer() -> Option<PgPool> {
    let database = database().await?;
    let url = std::env::var("SIPLENS_TEST_PGBOUNCER_URL").ok().or_else(|| {
        let _seen = writeln!(
            std::io::stderr(),
            "SKIPPED: contract behind PgBouncer: SIPLENS_TEST_PGBOUNCER_URL is not set"
        );
        None
    })?;
    let bouncer = connection::options(&url).expect("a PostgreSQL URL");
    let name = database.connect_options().get_database().map(str::to_owned)?;
    Some(connection::pool(bouncer.database(&name), 4))
}

async fn postgres(database: Option<PgPool>) -> Option<Fresh> {
    let store = PostgresStore::open(database?, "contract").await.expect("an empty store");
    Some(Fresh { store: Arc::new(store), _files: None })
}

/// Which ClickHouse is asked for, by the variable that says where one is.
const CLICKHOUSE: &str = "SIPLENS_TEST_CLICKHOUSE_URL";
const CLICKHOUSE_CURRENT: &str = "SIPLENS_TEST_CLICKHOUSE_CURRENT_URL";

/// A store of two shards, each a database of its own on one server.
async fn on_clickhouse_of(variable: &str) -> Option<Fresh> {
    let files = tempfile::tempdir().expect("a temporary folder");
    let store = clickhouse_in(&new_databases(variable)?, files.path()).await;
    Some(Fresh { store: Arc::new(store), _files: Some(files) })
}

/// The URLs of two databases that are not there yet.
fn new_databases(variable: &str) -> Option<[String; 2]> {
    let Ok(url) = std::env::var(variable) else {
        let _seen = writeln!(std::io::stderr(), "SKIPPED: contract on ClickHouse: {variable} is not set");
        return None;
    };
    let server = url.rsplit_once('/').expect("a URL with a database").0;
    let (process, number) = (std::process::id(), NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
    Some([1, 2].map(|shard| format!("{server}/contract_{process}_{number}_{shard}")))
}

async fn clickhouse_in(shards: &[String], spool: &std::path::Path) -> ClickhouseStore {
    let shards = shards.iter().map(|url| vec![ServerUrl::parse(url).expect("a URL")]).collect();
    ClickhouseStore::open(shards, &access(), &Layout::default(), Some(spool), &Gauge::default())
        .await
        .expect("a store")
}

fn access() -> Access {
    Access {
        password: String::new(),
        timeout: std::time::Duration::from_secs(30),
        insert_quorum: 0,
        tls: http::tls(None).expect("TLS"),
    }
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::sqlite().await.store).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $case() {
                if let Some(subject) = super::postgres(super::database().await).await {
                    super::$case(&subject.store).await;
                }
            })*
        }
        mod behind_pgbouncer {
            $(#[tokio::test]
            async fn $case() {
                if let Some(subject) = super::postgres(super::database_behind_pgbouncer().await).await {
                    super::$case(&subject.store).await;
                }
            })*
        }
        mod on_clickhouse {
            $(#[tokio::test]
            async fn $case() {
                if let Some(subject) = super::on_clickhouse_of(super::CLICKHOUSE).await {
                    super::$case(&subject.store).await;
                }
            })*
        }
        mod on_the_current_clickhouse {
            $(#[tokio::test]
            async fn $case() {
                if let Some(subject) = super::on_clickhouse_of(super::CLICKHOUSE_CURRENT).await {
                    super::$case(&subject.store).await;
                }
            })*
        }
    };
}

contract!(
    what_is_written_comes_back_octet_for_octet,
    a_checkpoint_is_that_of_the_last_flush,
    an_empty_flush_moves_the_checkpoint,
    walks_are_newest_first_and_go_on_where_they_stopped,
    pages_of_any_size_are_what_a_sort_of_everything_gives,
    pages_stay_as_they_are_while_newer_messages_come,
    every_filter_finds_its_messages_and_no_others,
    messages_are_listed_in_exact_order_over_slices_and_pages,
    calls_are_listed_once_each_newest_first_over_pages,
    a_call_is_whole_over_several_flushes,
    a_session_counts_all_its_calls_and_no_others,
    malformed_and_other_payloads_are_kept_and_found,
    a_scope_shows_its_subject_in_its_window_and_nothing_else,
    long_spans_and_large_payloads_are_cut_into_several_slices,
    events_are_shown_in_the_calls_they_name_and_in_no_others,
    events_are_found_by_their_hep_fields_and_their_json,
    a_path_finds_also_what_was_stored_before_it_was_indexed,
    a_scope_never_shows_an_event,
    a_page_of_large_messages_is_shorter_and_the_next_goes_on,
    a_page_reads_no_slice_that_is_older_than_its_last_message,
    what_two_backends_stored_is_shown_once,
    calls_are_listed_by_the_message_that_was_looked_for,
    slices_are_read_by_the_dictionaries_they_were_made_with,
    without_its_dictionary_a_slice_is_damaged_and_the_rest_is_found,
    what_is_rare_is_found_wherever_it_is_in_a_long_walk,
    what_is_too_much_for_one_step_comes_in_several,
    calls_of_a_session_have_one_first_slice_until_an_earlier_one_comes,
    the_newest_calls_of_a_session_are_found_without_how_all_of_them_ended,
);

/// A message that is easy to vary.
pub(super) struct Draft {
    pub(super) at_us: i64,
    pub(super) call: &'static str,
    pub(super) session: Option<&'static str>,
    pub(super) line: &'static str,
    pub(super) cseq: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) src: &'static str,
    pub(super) dst: &'static str,
    pub(super) agent: u32,
    pub(super) transport: Transport,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            at_us: 0,
            call: "a@host",
            session: None,
            line: "INVITE sip:bob@example.net SIP/2.0",
            cseq: "1 INVITE",
            from: "alice",
            to: "bob",
            src: "10.0.0.1:5060",
            dst: "10.0.0.2:5060",
            agent: 1,
            transport: Transport::Udp,
        }
    }
}

impl Draft {
    fn captured(&self, raw: Vec<u8>) -> Message {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        Message::read(
            MessageId::default(),
            Captured {
                captured_at_us: START_US + self.at_us,
                src: address(self.src),
                dst: address(self.dst),
                transport: self.transport,
                agent_id: self.agent,
                agent_name: None,
                protocol_type: 1,
                tenant: None,
                correlation_id: self.session.map(Into::into),
                call_id: None,
                full_length: None,
                raw: Bytes::from(raw),
            },
        )
    }

    pub(super) fn message(&self) -> Message {
        let Self { line, call, cseq, from, to, .. } = self;
        let raw = format!(
            "{line}\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{call}{cseq}\r\nFrom: <sip:{from}@example.net>;tag=1\r\n\
             To: <sip:{to}@example.net>\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\nUser-Agent: Tester/1.0\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.captured(raw.into_bytes())
    }

    fn reply(self, at_us: i64, line: &'static str) -> Self {
        Self { at_us, line, src: self.dst, dst: self.src, ..self }
    }
}

async fn write(store: &Arc<dyn Store>, offset: u64, messages: Vec<Message>) {
    let packs = Cutter::default().cut(messages).expect("packs");
    let flush = Flush { packs, end: Position { segment: 1, offset } };
    store.write(&flush).await.expect("written");
}

fn page(limit: usize, cursor: Option<String>) -> Page {
    Page { cursor, limit, ..Page::default() }
}

fn at(message: &Message) -> i64 {
    message.captured.captured_at_us - START_US
}

async fn what_is_written_comes_back_octet_for_octet(store: &Arc<dyn Store>) {
    let mut raw = Draft::default().message().captured.raw.to_vec();
    raw.extend_from_slice(&[0, 0xff, 0xfe, b'\r', 0x80]);
    let draft = Draft {
        src: "[2001:db8::1]:5061",
        dst: "[::1]:1",
        session: Some("s"),
        agent: 2001,
        ..Draft::default()
    };
    let mut written = draft.captured(raw);
    written.captured.agent_name = Some("edge-1".into());
    written.captured.transport = Transport::Wss;
    write(store, 1, vec![written.clone()]).await;
    let call = Search::new(Arc::clone(store), Arc::default())
        .call("a@host", None, Window::default())
        .await
        .expect("found");
    let messages = call.expect("the call").messages;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].captured, written.captured);
    assert_eq!(messages[0].sip, written.sip);
}

async fn a_checkpoint_is_that_of_the_last_flush(store: &Arc<dyn Store>) {
    assert_eq!(store.checkpoint().await.expect("readable"), None);
    for offset in [10, u64::MAX, 3] {
        write(store, offset, vec![Draft::default().message()]).await;
        assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset }));
    }
}

async fn an_empty_flush_moves_the_checkpoint(store: &Arc<dyn Store>) {
    write(store, 77, Vec::new()).await;
    assert_eq!(store.checkpoint().await.expect("readable"), Some(Position { segment: 1, offset: 77 }));
}

async fn walks_are_newest_first_and_go_on_where_they_stopped(store: &Arc<dyn Store>) {
    // The same time twice, so that the id must decide.
    for (flush, at_us) in [(0, 0), (1, 5), (2, 5), (3, 2)] {
        let calls = ["a@host", "b@host", "c@host"];
        let messages = calls.map(|call| Draft { at_us, call, ..Draft::default() }.message());
        write(store, flush, messages.to_vec()).await;
    }
    let (alice, [a, b, c]) = (Key::from_user("alice"), ["a@host", "b@host", "c@host"].map(Key::call));
    for (keys, count) in [
        (vec![Key::EVERYTHING], 12),
        (vec![alice], 12),
        (vec![b], 4),
        (vec![a, c], 8),
        (vec![a, c, a], 8),
        (vec![alice, b, Key::call("d@host")], 12),
        (vec![], 0),
    ] {
        let keys: Keys = keys.into_iter().collect();
        let walk = Walk { keys, limit: 100, ..Walk::default() };
        let all = store.walk(&walk).await.expect("a walk").slices;
        assert_eq!(all.len(), count, "{:?}", walk.keys);
        assert!(all.windows(2).all(|w| w[0].place() > w[1].place()));
        let mut steps = Vec::new();
        let mut after = None;
        loop {
            let step = store.walk(&Walk { after, limit: 1, ..walk.clone() }).await.expect("a step").slices;
            let Some(slice) = step.into_iter().next() else { break };
            after = Some(slice.place());
            steps.push(slice);
        }
        assert_eq!(steps, all);
    }
    let bounded =
        Walk { since_us: Some(START_US + 2), until_us: Some(START_US + 4), limit: 9, ..Walk::default() };
    let found = store.walk(&bounded).await.expect("a walk").slices;
    let within = |slice: &&StoredSlice| slice.last_us <= START_US + 4;
    assert_eq!(found.iter().filter(within).count(), 3);
    assert!(found.iter().all(|slice| slice.last_us >= START_US + 2));
}

async fn every_filter_finds_its_messages_and_no_others(store: &Arc<dyn Store>) {
    let wanted = || Draft {
        at_us: 50,
        call: "wanted@host",
        session: Some("wanted"),
        line: "SIP/2.0 486 Busy Here",
        cseq: "7 UPDATE",
        from: "carol",
        to: "dave",
        src: "192.0.2.7:5070",
        dst: "[2001:db8::7]:5080",
        agent: 77,
        transport: Transport::Tls,
    };
    let noise = (0..40).map(|n| Draft { at_us: n, agent: 1, ..Draft::default() }.message());
    write(store, 1, noise.chain([wanted().message()]).collect()).await;
    let text = |text: &str| Some(text.to_owned());
    let user = |text: &str| Some(UserFilter::Exact(text.to_owned()));
    let header = |text: &str| Some(HeaderFilter::parse(text).expect("a header"));
    let not = |filter: Filter| Some(Box::new(filter));
    let address = |text: &str| Some(AddressFilter::parse("src", text).expect("an address"));
    let filters = [
        Filter { correlation_id: text("wanted"), ..Filter::default() },
        Filter { call_id: text("wanted@host"), ..Filter::default() },
        Filter { from_user: user("carol"), ..Filter::default() },
        Filter { to_user: user("dave"), ..Filter::default() },
        Filter { from_user: Some(UserFilter::Prefix("ca".into())), ..Filter::default() },
        Filter { to_user: Some(UserFilter::Suffix("ve".into())), ..Filter::default() },
        Filter { contains: Some(Octets::of("CSeq: 7 UPDATE")), ..Filter::default() },
        Filter { header: header("cseq:7 UPDATE "), ..Filter::default() },
        Filter { header: header("i: wanted@host"), ..Filter::default() },
        Filter { not: not(Filter { from_user: user("alice"), ..Filter::default() }), ..Filter::default() },
        Filter {
            not: not(Filter { status: Some(StatusFilter::Class(2)), agent_id: Some(1), ..Filter::default() }),
            ..Filter::default()
        },
        Filter { method: text("update"), ..Filter::default() },
        Filter { status: Some(StatusFilter::Code(486)), ..Filter::default() },
        Filter { status: Some(StatusFilter::Class(4)), ..Filter::default() },
        Filter { src: address("192.0.2.7"), ..Filter::default() },
        Filter { src: address("192.0.2.7:5070"), ..Filter::default() },
        Filter { src: address("192.0.2.0/24"), ..Filter::default() },
        Filter { dst: address("2001:db8::/32"), ..Filter::default() },
        Filter { dst: address("[2001:db8::7]:5080"), ..Filter::default() },
        Filter { agent_id: Some(77), ..Filter::default() },
        Filter { transport: Some(Transport::Tls), ..Filter::default() },
        Filter { kind: Some(Kind::Reply), ..Filter::default() },
        Filter { since_us: Some(START_US + 50), ..Filter::default() },
        Filter {
            from_user: user("carol"),
            agent_id: Some(77),
            user_agent: text("tester"),
            ..Filter::default()
        },
    ];
    let search = Search::new(Arc::clone(store), Arc::default());
    for filter in filters {
        let found = search.messages(&filter, &page(10, None)).await.expect("found");
        assert_eq!(found.items.iter().map(at).collect::<Vec<_>>(), [50], "{filter:?}");
        let calls = search.calls(&filter, &page(10, None)).await.expect("found");
        let calls: Vec<_> = calls.items.iter().map(|c| c.call_id.as_str()).collect();
        assert_eq!(calls, ["wanted@host"], "{filter:?}");
    }
    // A call is left out if one of its messages meets what must not be met.
    let busy = Draft { at_us: 60, call: "busy@host", ..Draft::default() };
    let ringing = Draft { at_us: 61, call: "busy@host", ..Draft::default() };
    write(store, 2, vec![busy.message(), ringing.reply(62, "SIP/2.0 486 Busy Here").message()]).await;
    let never_busy = Filter {
        method: text("INVITE"),
        not: not(Filter { status: Some(StatusFilter::Code(486)), ..Filter::default() }),
        ..Filter::default()
    };
    let calls = search.calls(&never_busy, &page(10, None)).await.expect("found").items;
    assert_eq!(calls.iter().map(|c| c.call_id.as_str()).collect::<Vec<_>>(), ["a@host"]);
    let not_alice =
        Filter { not: not(Filter { from_user: user("alice"), ..Filter::default() }), ..Filter::default() };
    let calls = search.calls(&not_alice, &page(10, None)).await.expect("found").items;
    assert_eq!(calls.iter().map(|c| c.call_id.as_str()).collect::<Vec<_>>(), ["wanted@host"]);
    let asked_for = Filter { request_user: user("bob"), until_us: Some(START_US + 50), ..Filter::default() };
    let found = search.messages(&asked_for, &page(100, None)).await.expect("found").items;
    assert_eq!(found.len(), 40);

    let nothing = Filter { from_user: user("carol"), agent_id: Some(1), ..Filter::default() };
    assert!(search.messages(&nothing, &page(10, None)).await.expect("found").items.is_empty());
}

async fn messages_are_listed_in_exact_order_over_slices_and_pages(store: &Arc<dyn Store>) {
    // Interleaved calls, late data, and equal times: 240 messages in 4 flushes.
    let calls = ["a@host", "b@host", "c@host"];
    for flush in 0..4_i64 {
        let messages = (0..60_i64).map(|n| {
            let at_us = n * 400_000 - flush * 7 + if n % 5 == 0 { 0 } else { flush };
            let call = calls[usize::try_from(n % 3).expect("small")];
            Draft { at_us, call, ..Draft::default() }.message()
        });
        write(store, flush.unsigned_abs(), messages.collect()).await;
    }
    let search = Search::new(Arc::clone(store), Arc::default());
    let all = search.messages(&Filter::default(), &page(1000, None)).await.expect("all").items;
    assert_eq!(all.len(), 240);
    assert!(all.windows(2).all(|w| w[0].order() > w[1].order()));
    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let list = search.messages(&Filter::default(), &page(7, cursor)).await.expect("a page");
        paged.extend(list.items);
        cursor = list.next_cursor;
        if cursor.is_none() {
            break;
        }
        // What comes in meanwhile, newer, does not disturb the pages.
        if paged.len() == 70 {
            write(store, 9, vec![Draft { at_us: 99_000_000, ..Draft::default() }.message()]).await;
        }
    }
    assert_eq!(paged, all);
}

async fn calls_are_listed_once_each_newest_first_over_pages(store: &Arc<dyn Store>) {
    // Each call in three flushes; the flushes overlap.
    let names: Vec<&'static str> = (0..25).map(|n| &*format!("call-{n:02}@host").leak()).collect();
    for flush in 0..3_i64 {
        let messages = (0..).zip(&names).map(|(n, call)| {
            Draft { at_us: n * 1_000_000 + flush * 20_000_000, call, session: Some("s"), ..Draft::default() }
                .message()
        });
        write(store, flush.unsigned_abs(), messages.collect()).await;
    }
    let newest_first: Vec<&str> = names.iter().rev().copied().collect();
    let search = Search::new(Arc::clone(store), Arc::default());
    let filters = [
        Filter::default(),
        Filter { correlation_id: Some("s".into()), ..Filter::default() },
        Filter {
            from_user: Some(UserFilter::Exact("alice".into())),
            method: Some("INVITE".into()),
            ..Filter::default()
        },
    ];
    for filter in filters {
        for limit in [1, 4, 25, 100] {
            let mut listed = Vec::new();
            let mut cursor = None;
            loop {
                let list = search.calls(&filter, &page(limit, cursor)).await.expect("a page");
                assert!(list.items.iter().all(|call| call.messages.len() == 3));
                listed.extend(list.items.into_iter().map(|call| call.call_id));
                cursor = list.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(listed, newest_first, "{filter:?}, {limit} a page");
        }
    }
    // A window holds the calls that were active in it, whole.
    let window = Filter { since_us: Some(START_US + 41_000_000), ..Filter::default() };
    let list = search.calls(&window, &page(100, None)).await.expect("a page");
    assert_eq!(list.items.len(), 24);
}

async fn a_call_is_whole_over_several_flushes(store: &Arc<dyn Store>) {
    let other = Draft { call: "other@host", ..Draft::default() }.message();
    let bye =
        Draft { at_us: 9_000, line: "BYE sip:alice@example.net SIP/2.0", cseq: "1 BYE", ..Draft::default() };
    write(store, 1, vec![bye.message(), other]).await;
    write(store, 2, vec![Draft::default().message()]).await;
    write(store, 3, vec![Draft::default().reply(500, "SIP/2.0 200 OK").message()]).await;
    let search = Search::new(Arc::clone(store), Arc::default());
    let call = search.call("a@host", None, Window::default()).await.expect("found").expect("the call");
    assert_eq!(call.messages.iter().map(at).collect::<Vec<_>>(), [0, 500, 9_000]);
    let window = Window { since_us: Some(START_US + 1), until_us: Some(START_US + 8_999) };
    let call = search.call("a@host", None, window).await.expect("found").expect("the call");
    assert_eq!(call.messages.iter().map(at).collect::<Vec<_>>(), [500]);
    assert!(search.call("absent@host", None, Window::default()).await.expect("no error").is_none());
}

async fn a_session_counts_all_its_calls_and_no_others(store: &Arc<dyn Store>) {
    let names: Vec<&'static str> = (0..30).map(|n| &*format!("call-{n}@host").leak()).collect();
    let mut messages = Vec::new();
    for (n, call) in (0..).zip(names) {
        let session = if n < 20 { "ours" } else { "theirs" };
        let invite = || Draft { at_us: n * 10, call, session: Some(session), ..Draft::default() };
        let line = if n % 4 == 0 { "SIP/2.0 486 Busy Here" } else { "SIP/2.0 200 OK" };
        messages.extend([invite().message(), invite().reply(n * 10 + 1, line).message()]);
    }
    write(store, 1, messages).await;
    let search = Search::new(Arc::clone(store), Arc::default());
    let session = search.session("ours", Window::default()).await.expect("found").expect("the session");
    assert_eq!((session.messages, session.calls), (40, 20));
    assert_eq!((session.first_seen_us, session.last_seen_us), (START_US, START_US + 191));
    assert_eq!(session.outcomes.into_iter().collect::<Vec<_>>(), [("answered", 15), ("busy", 5)]);
    assert_eq!(session.responses.into_iter().collect::<Vec<_>>(), [(200, 15), (486, 5)]);
    assert!(search.session("nobody's", Window::default()).await.expect("no error").is_none());
}

async fn calls_are_listed_by_the_message_that_was_looked_for(store: &Arc<dyn Store>) {
    // Calls that begin one after the other and fail in another order, each in flushes of its own.
    let failures = [("a@host", 90), ("b@host", 70), ("c@host", 80), ("d@host", 60)];
    for (begun, (call, failed)) in (0..).zip(failures) {
        let draft = |at_us| Draft { at_us: at_us * 1_000_000, call, ..Draft::default() };
        write(store, begun, vec![draft(begun.try_into().expect("small")).message()]).await;
        let busy = Draft { src: "10.0.0.9:5060", ..draft(failed) };
        write(store, begun, vec![busy.reply(failed * 1_000_000, "SIP/2.0 486 Busy Here").message()]).await;
        write(store, begun, vec![draft(100 - failed / 10).message()]).await;
    }
    let search = Search::new(Arc::clone(store), Arc::default());
    for filter in [
        Filter { status: Some(StatusFilter::Code(486)), ..Filter::default() },
        Filter { contains: Some(Octets::of("486 Busy")), ..Filter::default() },
        Filter {
            dst: Some(AddressFilter::parse("dst", "10.0.0.8/29").expect("a network")),
            ..Filter::default()
        },
        Filter {
            kind: Some(Kind::Reply),
            not: Some(Box::new(Filter { method: Some("BYE".into()), ..Filter::default() })),
            ..Filter::default()
        },
    ] {
        for limit in 1..5 {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let list = search.calls(&filter, &page(limit, cursor)).await.expect("found");
                assert!(list.items.iter().all(|call| call.messages.len() == 3));
                found.extend(list.items.into_iter().map(|call| call.call_id));
                cursor = list.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, ["a@host", "c@host", "b@host", "d@host"], "{limit} a page of {filter:?}");
        }
    }
}

async fn what_two_backends_stored_is_shown_once(store: &Arc<dyn Store>) {
    // The same time for all of a call, so that only what was captured tells messages apart.
    let calls = ["a@host", "b@host", "c@host"];
    let traffic = || {
        let invite = |call| Draft { at_us: 7, call, session: Some("s"), ..Draft::default() };
        let both = |call| [invite(call).message(), invite(call).reply(7, "SIP/2.0 200 OK").message()];
        calls.into_iter().flat_map(both).collect::<Vec<_>>()
    };
    write(store, 1, traffic()).await;
    write(store, 2, traffic()).await;
    let mut retransmitted = traffic();
    retransmitted.truncate(1);
    retransmitted[0].captured.captured_at_us += 1;
    write(store, 3, retransmitted).await;

    let search = Search::new(Arc::clone(store), Arc::default());
    for limit in 1..8 {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let list = search.messages(&Filter::default(), &page(limit, cursor)).await.expect("found");
            found.extend(list.items.into_iter().map(|m| m.captured));
            cursor = list.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 7, "{limit} a page");
        assert!((1..7).all(|n| !found[..n].contains(&found[n])));
    }
    let call = search.call("a@host", None, Window::default()).await.expect("found").expect("the call");
    assert_eq!(call.messages.len(), 3);
    let listed = search.calls(&Filter::default(), &page(10, None)).await.expect("found").items;
    assert_eq!(listed.iter().map(|call| call.messages.len()).sum::<usize>(), 7);
    let session = search.session("s", Window::default()).await.expect("found").expect("the session");
    assert_eq!((session.messages, session.calls), (7, 3));
}

async fn malformed_and_other_payloads_are_kept_and_found(store: &Arc<dyn Store>) {
    let garbage = Draft { at_us: 1, ..Draft::default() }.captured(b"\x16\x03\x01 not SIP\0\xff".to_vec());
    let mut log = Draft { at_us: 2, session: Some("s"), ..Draft::default() }.captured(b"a log line".to_vec());
    log.captured.protocol_type = 100;
    let log = Message::read(MessageId::default(), log.captured);
    write(store, 1, vec![garbage, log, Draft::default().message()]).await;
    let search = Search::new(Arc::clone(store), Arc::default());
    let of = |kind| Filter { kind: Some(kind), ..Filter::default() };
    let found = search.messages(&of(Kind::Malformed), &page(9, None)).await.expect("found").items;
    assert_eq!(found.iter().map(at).collect::<Vec<_>>(), [1]);
    assert_eq!(found[0].captured.raw.as_ref(), b"\x16\x03\x01 not SIP\0\xff");
    let found = search.messages(&of(Kind::Other), &page(9, None)).await.expect("found").items;
    assert_eq!(found.iter().map(at).collect::<Vec<_>>(), [2]);
    assert_eq!(found[0].captured.protocol_type, 100);
}

async fn a_scope_shows_its_subject_in_its_window_and_nothing_else(store: &Arc<dyn Store>) {
    let draft = |at_us, call, session| Draft { at_us, call, session, ..Draft::default() }.message();
    write(
        store,
        1,
        vec![
            draft(0, "a@host", Some("s")),
            draft(5, "a@host", Some("s")),
            draft(6, "a@host", Some("t")),
            draft(7, "b@host", Some("s")),
            draft(8, "c@host", Some("t")),
            draft(9, "d@host", None),
        ],
    )
    .await;
    let scoped = |subject, since, until| {
        let window = Window { since_us: Some(START_US + since), until_us: Some(START_US + until) };
        Scoped::new(Search::new(Arc::clone(store), Arc::default()), Scope { subject, window })
    };
    let wider = Window { since_us: Some(START_US), until_us: None };

    let call = scoped(Subject::Call("a@host".into()), 1, 100);
    let found = call.call("a@host", Window::default()).await.expect("allowed").expect("the call");
    assert_eq!(found.messages.iter().map(at).collect::<Vec<_>>(), [5, 6]);
    assert!(matches!(call.call("b@host", Window::default()).await, Err(ScopeError::Outside)));
    assert!(matches!(call.call("a@host", wider).await, Err(ScopeError::Outside)));
    assert!(matches!(call.session(Window::default()).await, Err(ScopeError::Outside)));
    let listed = call.calls(&page(9, None), Window::default()).await.expect("allowed");
    assert_eq!(listed.items.len(), 1);

    let session = scoped(Subject::Session("s".into()), 0, 100);
    let found = session.call("a@host", Window::default()).await.expect("allowed").expect("the call");
    assert_eq!(
        found.messages.iter().map(at).collect::<Vec<_>>(),
        [0, 5],
        "another session's message is not shown"
    );
    for outside in ["c@host", "d@host", "absent@host"] {
        assert!(matches!(session.call(outside, Window::default()).await, Err(ScopeError::Outside)));
    }
    let listed = session.calls(&page(9, None), Window::default()).await.expect("allowed").items;
    assert_eq!(
        listed.iter().map(|c| (c.call_id.as_str(), c.messages.len())).collect::<Vec<_>>(),
        [("b@host", 1), ("a@host", 2)]
    );
    let counted = session.session(Window::default()).await.expect("allowed").expect("the session");
    assert_eq!((counted.messages, counted.calls), (3, 2));
}

async fn long_spans_and_large_payloads_are_cut_into_several_slices(store: &Arc<dyn Store>) {
    let spread = (0..5).map(|n| Draft { at_us: n * 7_000_000, ..Draft::default() }.message());
    let large = (0..3).map(|n| {
        let mut raw = Draft::default().message().captured.raw.to_vec();
        raw.resize(600_000, b'x');
        Draft { at_us: n, ..Draft::default() }.captured(raw)
    });
    let messages: Vec<_> = spread.chain(large).collect();
    let packs = Cutter::default().cut(messages.clone()).expect("packs");
    let slices: usize = packs.iter().map(|pack| pack.slices.len()).sum();
    assert!(slices >= 5, "{slices}");
    write(store, 1, messages).await;
    let call = Search::new(Arc::clone(store), Arc::default()).call("a@host", None, Window::default()).await;
    assert_eq!(call.expect("found").expect("the call").messages.len(), 8);
}

#[tokio::test]
async fn an_embedded_store_opens_again_with_all_that_was_written() {
    let files = tempfile::tempdir().expect("a temporary folder");
    for run in 0..3_u8 {
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(files.path(), "contract").await.expect("a store"));
        let search = Search::new(Arc::clone(&store), Arc::default());
        let found = search.messages(&Filter::default(), &page(100, None)).await.expect("found");
        assert_eq!(found.items.len(), usize::from(run));
        let expected = (run > 0).then_some(Position { segment: 1, offset: run.into() });
        assert_eq!(store.checkpoint().await.expect("readable"), expected);
        let draft = Draft { at_us: run.into(), ..Draft::default() };
        write(&store, u64::from(run) + 1, vec![draft.message()]).await;
    }
}

#[tokio::test]
async fn the_checkpoint_of_another_spool_is_not_taken_for_this_ones() {
    let files = tempfile::tempdir().expect("a temporary folder");
    let one: Arc<dyn Store> = Arc::new(SqliteStore::open(files.path(), "one").await.expect("a store"));
    write(&one, 9, vec![Draft::default().message()]).await;
    drop(one);
    let other = SqliteStore::open(files.path(), "other").await.expect("a store");
    assert_eq!(other.checkpoint().await.expect("readable"), None);
}
