//! The way in and the way out of a backend, without its HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use siplens_backend::flush::{Aside, Flusher};
use siplens_backend::ingest::keys::Keys;
use siplens_backend::ingest::places::Places;
use siplens_backend::ingest::quarantine::Quarantine;
use siplens_backend::ingest::{Admission, Rules, tcp, udp};
use siplens_backend::search::filter::Filter;
use siplens_backend::search::{Page, Search};
use siplens_backend::spool::{Record, Spool, SpoolConfig, SpoolError, SpoolWriter};
use siplens_backend::store::Store;
use siplens_backend::store::slice::Cutter;
use siplens_backend::store::sqlite::SqliteStore;
use siplens_backend::telemetry::Metrics;
use siplens_backend::tenant::Tenants;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The way in and the way out of a backend, without its HTTP.
pub struct Pipeline {
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub search: Search,
    pub metrics: Arc<Metrics>,
    pub quarantine: Arc<Quarantine>,
    pub admission: Admission,
    writer: SpoolWriter,
    ingest: TaskTracker,
    stop: CancellationToken,
    stop_flushing: Arc<AtomicBool>,
    flusher: std::thread::JoinHandle<()>,
}

impl Pipeline {
    pub async fn start(dir: &Path, store: Arc<dyn Store>, spool_bytes: u64) -> Self {
        Self::start_with(dir, store, spool_bytes, Rules::default(), Keys::default()).await
    }

    pub async fn start_with(
        dir: &Path,
        store: Arc<dyn Store>,
        spool_bytes: u64,
        rules: Rules,
        keys: Keys,
    ) -> Self {
        Self::start_for(dir, store, spool_bytes, rules, keys, Arc::default()).await
    }

    pub async fn start_for(
        dir: &Path,
        store: Arc<dyn Store>,
        spool_bytes: u64,
        rules: Rules,
        keys: Keys,
        tenants: Arc<Tenants>,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let checkpoint = store.checkpoint().await.expect("a checkpoint");
        let config = SpoolConfig {
            dir: dir.join("spool"),
            max_bytes: spool_bytes,
            segment_bytes: spool_bytes / 2,
            ..SpoolConfig::default()
        };
        // Streams of the run before may still be at their end.
        let mut tries = 0;
        let (writer, reader) = loop {
            match Spool::open(config.clone(), checkpoint) {
                Err(SpoolError::InUse { .. }) if tries < 500 => tries += 1,
                opened => break opened.expect("a spool"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let stop_flushing = Arc::new(AtomicBool::new(false));
        let flusher = Flusher {
            store: Arc::clone(&store),
            most_bytes: 32 << 20,
            metrics: Arc::clone(&metrics),
            interval: Duration::from_millis(50),
            inflated_bytes: 65_536,
            tenants,
            cutter: Cutter::default(),
            has_begun: true,
            threads: 2,
            aside: Aside::new(dir.join("quarantine")),
            stop: Arc::clone(&stop_flushing),
        };
        let runtime = tokio::runtime::Handle::current();
        let flusher = std::thread::spawn(move || flusher.run(reader, &runtime));
        let rules = Rules { inflated_bytes: 65_536, ..rules };
        let admission = Admission::new(writer.handle(), Arc::clone(&metrics), rules, keys);
        let quarantine = admission.quarantine();
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let tcp_address = listener.local_addr().expect("bound");
        let limits = tcp::Limits {
            places: Places::new(2, 2),
            opening: tcp::OPENING,
            idle: None,
            balancers: Arc::default(),
        };
        let ingest = TaskTracker::new();
        ingest.spawn(tcp::accept(listener, tcp::Speaks::Hep, limits, admission.clone(), stop.clone()));
        let bound = udp::bind("127.0.0.1:0".parse().expect("an address"), 2, 1 << 20).expect("a port");
        let udp_address = bound.local_addr().expect("bound");
        metrics.udp_sockets(bound.inodes());
        bound.receive(&admission, &stop, &ingest).expect("threads");
        Self {
            udp: udp_address,
            tcp: tcp_address,
            search: Search::new(store, Arc::default()).counting(metrics.duplicates.clone()),
            metrics,
            quarantine,
            admission,
            writer,
            ingest,
            stop,
            stop_flushing,
            flusher,
        }
    }

    /// Cancelled when the pipeline stops.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.ingest.close();
        // Whoever still receives keeps the spool open, and the next pipeline out of it.
        self.ingest.wait().await;
        let (writer, flag, flusher) = (self.writer, self.stop_flushing, self.flusher);
        tokio::task::spawn_blocking(move || {
            writer.close().expect("synced");
            flag.store(true, Ordering::Release);
            flusher.join().expect("the flusher");
        })
        .await
        .expect("stopped");
    }

    /// Puts a record into the spool that ingest would not have taken.
    pub fn offer(&self, record: Record) {
        self.writer.handle().offer(record).expect("room");
    }

    pub async fn stored(&self) -> usize {
        let page = Page { limit: 1000, ..Page::default() };
        self.search.messages(&Filter::default(), &page).await.expect("found").items.len()
    }

    /// The value of one line of the metrics.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.text(&self.writer.stats());
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or(0)
    }
}

pub async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !reached().await {
        assert!(Instant::now() < limit, "{what}: not reached");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn packet(n: usize) -> Vec<u8> {
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

pub async fn sqlite(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&dir.join("store"), "ingest").await.expect("a store"))
}
