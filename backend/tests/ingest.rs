//! From the socket to the search: what is sent as HEP is found, what is not HEP is counted, and a store that is away costs nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use siplens_backend::flush::Flusher;
use siplens_backend::ingest::{Admission, tcp, udp};
use siplens_backend::search::filter::Filter;
use siplens_backend::search::{Page, Search};
use siplens_backend::spool::{Position, Spool, SpoolConfig, SpoolWriter};
use siplens_backend::store::sqlite::SqliteStore;
use siplens_backend::store::{Flush, Store, StoreError, StoredSlice, Walk};
use siplens_backend::telemetry::Metrics;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// The way in and the way out of a backend, without its HTTP.
struct Pipeline {
    udp: SocketAddr,
    tcp: SocketAddr,
    search: Search,
    metrics: Arc<Metrics>,
    writer: SpoolWriter,
    stop: CancellationToken,
    stop_flushing: Arc<AtomicBool>,
    flusher: std::thread::JoinHandle<()>,
}

impl Pipeline {
    async fn start(dir: &Path, store: Arc<dyn Store>, spool_bytes: u64) -> Self {
        let metrics = Arc::new(Metrics::default());
        let checkpoint = store.checkpoint().await.expect("a checkpoint");
        let config = SpoolConfig {
            dir: dir.join("spool"),
            max_bytes: spool_bytes,
            segment_bytes: spool_bytes / 2,
            ..SpoolConfig::default()
        };
        let (writer, reader) = Spool::open(config, checkpoint).expect("a spool");
        let stop_flushing = Arc::new(AtomicBool::new(false));
        let flusher = Flusher {
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            interval: Duration::from_millis(50),
            inflated_bytes: 65_536,
            paths: Arc::default(),
            stop: Arc::clone(&stop_flushing),
        };
        let runtime = tokio::runtime::Handle::current();
        let flusher = std::thread::spawn(move || flusher.run(reader, &runtime));
        let admission = Admission::new(writer.handle(), Arc::clone(&metrics), 65_536);
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let tcp_address = listener.local_addr().expect("bound");
        let limits = tcp::Limits { connections: 2, idle: None };
        tokio::spawn(tcp::accept(listener, limits, admission.clone(), stop.clone()));
        let bound = udp::bind("127.0.0.1:0".parse().expect("an address"), 1 << 20).expect("a port");
        let udp_address = bound.local_addr().expect("bound");
        tokio::spawn(udp::receive(bound, admission, stop.clone()));
        Self {
            udp: udp_address,
            tcp: tcp_address,
            search: Search::new(store, Arc::default()),
            metrics,
            writer,
            stop,
            stop_flushing,
            flusher,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        let (writer, flag, flusher) = (self.writer, self.stop_flushing, self.flusher);
        tokio::task::spawn_blocking(move || {
            writer.close().expect("synced");
            flag.store(true, Ordering::Release);
            flusher.join().expect("the flusher");
        })
        .await
        .expect("stopped");
    }

    async fn stored(&self) -> usize {
        let page = Page { cursor: None, limit: 1000 };
        self.search.messages(&Filter::default(), &page).await.expect("found").items.len()
    }

    /// The value of one line of the metrics.
    fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.text(&self.writer.stats(), self.udp.port());
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0)
    }
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !reached().await {
        assert!(Instant::now() < limit, "{what}: not reached");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn packet(n: usize) -> Vec<u8> {
    let sip = format!("OPTIONS sip:bob@example.net SIP/2.0\r\nCall-ID: {n}@host\r\nCSeq: 1 OPTIONS\r\n\r\n");
    let packet = hep::Packet {
        version: hep::Version::Hep3,
        ip_family: Some(2),
        ip_protocol: Some(17),
        src_ip: Some([10, 0, 0, 1].into()),
        dst_ip: Some([10, 0, 0, 2].into()),
        src_port: Some(5060),
        dst_port: Some(5080),
        time: Some(hep::Timestamp { seconds: 1_767_225_600, microseconds: u32::try_from(n).expect("small") }),
        protocol_type: Some(1),
        agent_id: Some(7),
        payload: hep::Payload::Plain(sip.as_bytes()),
        correlation_id: Some(b"session"),
        ..hep::Packet::default()
    };
    let mut octets = Vec::new();
    hep::encode(&packet, &mut octets).expect("a packet");
    octets
}

async fn sqlite(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&dir.join("store"), "ingest").await.expect("a store"))
}

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
async fn streams_over_the_limit_are_closed_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
    let _streams = [
        TcpStream::connect(pipeline.tcp).await.expect("connected"),
        TcpStream::connect(pipeline.tcp).await.expect("connected"),
    ];
    until("two streams", async || pipeline.metric("siplens_ingest_tcp_connections ") == 2).await;
    let _third = TcpStream::connect(pipeline.tcp).await.expect("connected");
    until("a refusal", async || pipeline.metric("siplens_ingest_tcp_connections_refused_total") == 1).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_there_after_a_stop_and_stored_once() {
    let dir = tempfile::tempdir().expect("a folder");
    for run in 1..=3 {
        let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
        let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
        for n in 0..100 {
            stream.write_all(&packet(n)).await.expect("written");
        }
        until("100 taken", async || {
            pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"accepted\"}") == 100
        })
        .await;
        let search = pipeline.search.clone();
        pipeline.stop().await;
        let found =
            search.messages(&Filter::default(), &Page { cursor: None, limit: 1000 }).await.expect("found");
        assert_eq!(found.items.len(), run * 100);
    }
}

/// A store that is away for its first writes.
struct Flaky {
    store: SqliteStore,
    failures: AtomicU32,
}

#[async_trait]
impl Store for Flaky {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        self.store.checkpoint().await
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        let left =
            self.failures.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if left.is_ok() {
            Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))
        } else {
            self.store.write(flush).await
        }
    }

    async fn walk(&self, walk: &Walk) -> Result<Vec<StoredSlice>, StoreError> {
        self.store.walk(walk).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_loses_nothing_and_streams_are_held_back_when_the_spool_is_full() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("store"), "ingest").await.expect("a store");
    let flaky = Arc::new(Flaky { store, failures: AtomicU32::new(u32::MAX) });
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
