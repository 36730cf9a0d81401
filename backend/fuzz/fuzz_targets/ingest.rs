//! Any octets as a stream and as the body of an HTTP request: both take the same packets into the spool, count each once, and
//! what a sender is answered names what it sent. The first octet says in which pieces the stream comes.
#![no_main]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Extension};
use axum::http::Request;
use libfuzzer_sys::fuzz_target;
use siplens_backend::ingest::keys::Keys;
use siplens_backend::ingest::places::{Place, Places};
use siplens_backend::ingest::stream::{Origin, receive};
use siplens_backend::ingest::{Admission, Rules, Way, http};
use siplens_backend::spool::{Spool, SpoolConfig, SpoolReader, SpoolWriter};
use siplens_backend::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

struct Door {
    admission: Admission,
    metrics: Arc<Metrics>,
    writer: SpoolWriter,
    reader: SpoolReader,
}

impl Door {
    fn open(dir: &Path) -> Self {
        let config = SpoolConfig { dir: dir.into(), sync_interval: Duration::ZERO, ..SpoolConfig::default() };
        let (writer, reader) = Spool::open(config, None).expect("a spool");
        let metrics = Arc::new(Metrics::default());
        let admission =
            Admission::new(writer.handle(), Arc::clone(&metrics), Rules::default(), Keys::default());
        Self { admission, metrics, writer, reader }
    }

    /// What is in the spool, and how many packets were taken, came again, and were refused.
    fn close(mut self) -> (Vec<Vec<u8>>, [u64; 3]) {
        let text = self.metrics.text(&self.writer.stats());
        self.writer.close().expect("the disk works");
        let mut packets = Vec::new();
        loop {
            let batch = self.reader.next_batch(1000, 1 << 20, Duration::ZERO).expect("readable");
            if batch.records.is_empty() {
                break;
            }
            packets.extend(batch.records.into_iter().map(|record| record.hep.to_vec()));
        }
        let mut counts = [0; 3];
        for line in text.lines().filter(|line| line.starts_with("siplens_ingest_packets_total{")) {
            let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
            let kind = if line.contains("\"accepted\"") {
                0
            } else if line.contains("\"repeated\"") {
                1
            } else {
                2
            };
            counts[kind] += count;
        }
        assert_eq!(counts[0], packets.len() as u64, "{text}");
        (packets, counts)
    }
}

fn peer() -> SocketAddr {
    ([192, 0, 2, 1], 9060).into()
}

fn place() -> Place {
    Places::new(8, 8).take(Some(peer().ip())).expect("a place")
}

async fn as_stream(door: &Door, octets: &[u8], piece: usize) -> Vec<u8> {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let (stop, place) = (CancellationToken::new(), place());
    let origin = Origin { way: Way::Tcp, peer: peer() };
    let send = async {
        for piece in octets.chunks(piece) {
            if ours.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _gone = ours.shutdown().await;
        let mut answers = Vec::new();
        let _gone = ours.read_to_end(&mut answers).await;
        answers
    };
    let (_ended, answers) = tokio::join!(receive(theirs, origin, None, &place, &door.admission, &stop), send);
    answers
}

async fn as_body(door: &Door, octets: &[u8]) -> (u64, u64) {
    let routes = http::router(door.admission.clone(), None, CancellationToken::new())
        .layer(Extension(ConnectInfo(peer())))
        .layer(Extension(Arc::new(place())));
    let body = axum::body::Body::from(octets.to_vec());
    let response =
        routes.oneshot(Request::post("/hep").body(body).expect("a request")).await.expect("answered");
    let answer = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let refused = answer["refused"].as_object().expect("by reason").values();
    (answer["accepted"].as_u64().expect("a number"), refused.filter_map(serde_json::Value::as_u64).sum())
}

fuzz_target!(|octets: &[u8]| {
    let Some((piece, octets)) = octets.split_first() else { return };
    if octets.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (packets, rest) = common::packets(octets);
    let unfinished = u64::from(!rest.is_empty());
    let came = packets.len() as u64 + unfinished;

    let door = Door::open(dir.path());
    let answers = runtime.block_on(as_stream(&door, octets, usize::from(*piece).max(1) * 16));
    let (kept, counts) = door.close();
    assert_eq!(counts.iter().sum::<u64>(), came, "each is counted once");
    let sequences: Vec<_> = packets.iter().filter_map(|packet| hep::decode(packet).ok()?.sequence).collect();
    let (answers, half) = common::packets(&answers);
    assert!(half.is_empty());
    for answer in answers {
        let acknowledged = hep::decode(answer).expect("HEP").acknowledged.expect("an acknowledgement");
        let sent = |number| {
            number == 0 || sequences.iter().any(|s| (s.stream, s.number) == (acknowledged.stream, number))
        };
        assert!(sequences.iter().any(|s| s.stream == acknowledged.stream) && sent(acknowledged.number));
    }
    for (packet, kept) in
        kept.iter().map(|kept| (packets.iter().find(|packet| packet.len() == kept.len()), kept))
    {
        assert!(
            packet.is_some()
                && hep::decode(kept).is_ok_and(|packet| {
                    packet.auth_key.is_none_or(|key| key.iter().all(|octet| *octet == 0))
                        && hep::tenant(&packet).is_none()
                })
        );
    }

    let door = Door::open(other.path());
    let (taken, refused) = runtime.block_on(as_body(&door, octets));
    let (kept_of_body, counts_of_body) = door.close();
    assert_eq!(taken, counts_of_body[0] + counts_of_body[1]);
    assert_eq!(refused, counts_of_body[2]);
    assert_eq!((kept_of_body, counts_of_body), (kept, counts), "a stream and a body of the same packets");
});
