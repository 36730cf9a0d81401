//! What cannot be read, or not be stored, stands in the way of nothing else.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use siplens_backend::call::event::PathSet;
use siplens_backend::spool::{Position, Record, inspect};
use siplens_backend::store::sqlite::SqliteStore;
use siplens_backend::store::{
    Dictionary, Flush, Key, Plan, Retention, Slice, Store, StoreError, Walk, Walked,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::pipeline::{Pipeline, packet, sqlite, until};

/// A store that refuses slices of some calls, and with them the flush that they are in.
struct Picky(SqliteStore);

fn is_refused(slice: &Slice) -> bool {
    ["13@host", "77@host"].iter().any(|call| slice.keys.contains(&Key::call(call)))
}

#[async_trait]
impl Store for Picky {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        self.0.checkpoint().await
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        if flush.packs.iter().flat_map(|pack| &pack.slices).any(is_refused) {
            return Err(StoreError::Refused("a value out of range".into()));
        }
        self.0.write(flush).await
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        self.0.note_paths(paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        self.0.noted_paths().await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        self.0.newest_dictionary().await
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        self.0.walk(walk).await
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.0.plan(retention, now_us).await
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.0.retain(retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
}

/// What was put aside.
fn put_aside(dir: &Path) -> Vec<Vec<u8>> {
    let files = inspect::segments(&dir.join("quarantine")).expect("a folder");
    let records = files.iter().flat_map(|file| inspect::inspect(file).expect("readable").records);
    records.map(|record| record.hep.to_vec()).collect()
}

async fn send(pipeline: &Pipeline, packets: std::ops::Range<usize>) {
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    stream.write_all(&packets.flat_map(packet).collect::<Vec<_>>()).await.expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_put_aside_and_all_else_is_stored_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("store"), "ingest").await.expect("a store");
    let pipeline = Pipeline::start(dir.path(), Arc::new(Picky(store)), 8 << 20).await;
    send(&pipeline, 0..200).await;
    until("198 messages", async || pipeline.stored().await == 198).await;
    until("2 put aside", async || pipeline.metric("siplens_store_left_out_messages_total") == 2).await;
    assert!(pipeline.metrics.is_store_up());
    pipeline.stop().await;

    let mut calls = Vec::new();
    for hep in put_aside(dir.path()) {
        let packet = hep::decode(&hep).expect("a packet");
        assert_eq!((packet.agent_id, packet.correlation_id), (Some(7), Some(&b"session"[..])));
        let raw = packet.payload.inflate(usize::MAX).expect("plain").into_owned();
        calls.push(String::from_utf8_lossy(&raw).lines().nth(1).unwrap_or_default().to_owned());
    }
    calls.sort_unstable();
    assert_eq!(calls, ["Call-ID: 13@host", "Call-ID: 77@host"]);

    // Nothing of it comes again.
    let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
    send(&pipeline, 200..201).await;
    until("another message", async || pipeline.stored().await >= 199).await;
    assert_eq!(pipeline.stored().await, 199);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_put_aside_and_all_else_is_stored() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = Pipeline::start(dir.path(), sqlite(dir.path()).await, 8 << 20).await;
    for n in 0..3 {
        send(&pipeline, n..n + 1).await;
        let record = Record {
            received_at_us: 1,
            peer: "192.0.2.1:9060".parse().expect("an address"),
            transport: hep::Transport::Tcp,
            hep: format!("no HEP {n}").into_bytes().into(),
        };
        pipeline.offer(record);
    }
    until("3 messages", async || pipeline.stored().await == 3).await;
    until("3 records", async || pipeline.metric("siplens_decode_failed_records_total") == 3).await;
    pipeline.stop().await;
    let mut found = put_aside(dir.path());
    found.sort_unstable();
    assert_eq!(found, [b"no HEP 0", b"no HEP 1", b"no HEP 2"]);
}
