//! From the socket to the search: what is sent as HEP is found, what is not HEP is counted, and a store that is away costs nothing.

mod admission;
mod connections;
mod numbered;
mod pipeline;
mod poison;
mod rules;
mod tenants;
mod together;
mod ways;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use siplens_backend::call::event::PathSet;
use siplens_backend::search::Page;
use siplens_backend::search::filter::Filter;
use siplens_backend::spool::Position;
use siplens_backend::store::postgres::{PostgresStore, connection};
use siplens_backend::store::{Dictionary, Flush, Plan, Retention, Store, StoreError, Walk, Walked};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use pipeline::{Pipeline, packet, sqlite, until};

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_found_and_garbage_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for n in 0..50 {
        socket.send_to(&packet(n), pipeline.udp).await.expect("sent");
        let cut = packet(n);
        socket.send_to(&cut[..n], pipeline.udp).await.expect("sent");
    }
    until("50 messages", async || pipeline.stored().await == 50).await;
    until("50 refusals", async || {
        pipeline.metric("siplens_ingest_packets_total{transport=\"udp\",result=\"malformed\"}") == 50
    })
    .await;
    assert_eq!(pipeline.metric("siplens_ingest_packets_total{transport=\"udp\",result=\"accepted\"}"), 50);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_cut_message_was_and_which_call_a_line_is_about_are_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    let whole = packet(0);
    let cut = hep::Packet { full_length: Some(90_500), ..hep::decode(&whole).expect("a packet") };
    let line = hep::Packet {
        protocol_type: Some(100),
        payload: hep::Payload::Plain(b"a line"),
        call_id: Some(b"0@host"),
        ..hep::decode(&whole).expect("a packet")
    };
    // SIP says itself which call it belongs to.
    let liar = hep::Packet { call_id: Some(b"another"), ..hep::decode(&whole).expect("a packet") };
    let mut octets = Vec::new();
    for packet in [cut, line, liar] {
        hep::encode(&packet, &mut octets).expect("a packet");
    }
    stream.write_all(&octets).await.expect("written");
    until("3 messages", async || pipeline.stored().await == 3).await;
    let page = Page { limit: 9, ..Page::default() };
    let found = pipeline.search.messages(&Filter::default(), &page).await.expect("found").items;
    let mut kept: Vec<_> = found
        .iter()
        .map(|m| (m.captured.protocol_type, m.captured.full_length, m.captured.call_id.as_deref()))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [(1, None, None), (1, Some(90_500), None), (100, None, Some("0@host"))]);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_framed_wherever_it_is_cut_and_closed_where_it_is_not_hep() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    let all: Vec<u8> = (0..20).flat_map(packet).collect();
    for piece in all.chunks(37) {
        stream.write_all(piece).await.expect("written");
        stream.flush().await.expect("flushed");
        tokio::task::yield_now().await;
    }
    until("20 messages", async || pipeline.stored().await == 20).await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("written");
    until("the stream's end", async || pipeline.metric("siplens_ingest_tcp_connections ") == 0).await;
    assert_eq!(pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"malformed\"}"), 1);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_there_after_a_stop_and_stored_once() {
    let dir = tempfile::tempdir().expect("a folder");
    for run in 1..=3 {
        let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
        let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
        for n in 0..100 {
            stream.write_all(&packet(run * 100 + n)).await.expect("written");
        }
        until("100 taken", async || {
            pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"accepted\"}") == 100
        })
        .await;
        let twice = Counter::default();
        let search = pipeline.search.clone().counting(twice.clone());
        pipeline.stop().await;
        let found = search
            .messages(&Filter::default(), &Page { limit: 1000, ..Page::default() })
            .await
            .expect("found");
        assert_eq!((found.items.len(), twice.get()), (run * 100, 0));
    }
}

/// A store that is away for its first writes, and then does some of which it says that it failed.
struct Flaky {
    store: Arc<dyn Store>,
    failures: AtomicU32,
    lost_answers: AtomicU32,
}

impl Flaky {
    fn new(store: Arc<dyn Store>, failures: u32, lost_answers: u32) -> Arc<Self> {
        let (failures, lost_answers) = (failures.into(), lost_answers.into());
        Arc::new(Self { store, failures, lost_answers })
    }
}

/// Counts down; whether it was above zero.
fn one_of(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl Store for Flaky {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        self.store.checkpoint().await
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        let failed = || Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut));
        if one_of(&self.failures) {
            return failed();
        }
        self.store.write(flush).await?;
        if one_of(&self.lost_answers) { failed() } else { Ok(()) }
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        self.store.note_paths(paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        self.store.noted_paths().await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        self.store.newest_dictionary().await
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        self.store.walk(walk).await
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.store.plan(retention, now_us).await
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.store.retain(retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_loses_nothing_and_streams_are_held_back_when_the_spool_is_full() {
    let dir = tempfile::tempdir().expect("a folder");
    let flaky = Flaky::new(sqlite(dir.path()).await, u32::MAX, 0);
    // Room for a fraction of what is sent.
    let pipeline = Pipeline::start(dir.path(), Arc::clone(&flaky) as Arc<dyn Store>, 64 << 10).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    let sender = tokio::spawn(async move {
        for n in 0..900 {
            stream.write_all(&packet(n)).await.expect("written");
        }
    });
    until("a full spool", async || pipeline.metric("siplens_ingest_tcp_held_back_total") > 0).await;
    until("a store that is away", async || !pipeline.metrics.is_store_up()).await;
    flaky.failures.store(0, Ordering::Release);
    until("900 messages", async || pipeline.stored().await == 900).await;
    sender.await.expect("sent");
    until("a store that is back", async || pipeline.metrics.is_store_up()).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_whose_answer_was_lost_is_not_stored_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut stores = vec![sqlite(dir.path()).await];
    stores.extend(postgres().await);
    for (n, store) in stores.into_iter().enumerate() {
        let dir = dir.path().join(n.to_string());
        let flaky = Flaky::new(Arc::clone(&store), 0, 3);
        let pipeline = Pipeline::start(&dir, Arc::clone(&flaky) as Arc<dyn Store>, 8 << 20).await;
        let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
        for sent in 0..10 {
            for n in sent * 10..sent * 10 + 10 {
                stream.write_all(&packet(n)).await.expect("written");
            }
            until("what was sent", async || pipeline.stored().await == (sent + 1) * 10).await;
        }
        assert_eq!(flaky.lost_answers.load(Ordering::Acquire), 0);
        pipeline.stop().await;
        // A search would show what is stored twice once.
        let walked = store.walk(&Walk { limit: 1000, ..Walk::default() }).await.expect("a walk");
        let stored: usize = walked.slices.iter().map(|s| s.messages().expect("readable").len()).sum();
        assert_eq!(stored, 100);
    }
}

/// A store in a database of its own on the server that `SIPLENS_TEST_POSTGRES_URL` names.
async fn postgres() -> Option<Arc<dyn Store>> {
    let Ok(url) = std::env::var("SIPLENS_TEST_POSTGRES_URL") else {
        let _seen = writeln!(
            std::io::stderr(),
            "SKIPPED: ingest on PostgreSQL: SIPLENS_TEST_POSTGRES_URL is not set"
        );
        return None;
    };
    let options = connection::options(&url).expect("a PostgreSQL URL");
    let name = format!("ingest_{}", std::process::id());
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    let pool = connection::pool(options.clone(), 1);
    sqlx::raw_sql(create).execute(&pool).await.expect("a database");
    let pool = connection::pool(options.database(&name), 4);
    Some(Arc::new(PostgresStore::open(pool, "ingest").await.expect("a store")))
}
