//! Cost of storing a flush and of finding a call, on the embedded store. Figures are for one thread.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use siplens_backend::call::event::EventPaths;
use siplens_backend::call::message::{Captured, Message, MessageId, Transport};
use siplens_backend::decode::decode;
use siplens_backend::search::{Search, Window};
use siplens_backend::spool::{Position, Record};
use siplens_backend::store::slice::{Cutter, Item};
use siplens_backend::store::sqlite::SqliteStore;
use siplens_backend::store::{Dictionary, Flush, Store};
use siplens_backend::tenant::Tenants;

const CALLS: usize = 500;

/// An answered call as a proxy sees it on one side.
const LINES: [(&str, &str); 6] = [
    ("INVITE sip:bob@example.net SIP/2.0", "1 INVITE"),
    ("SIP/2.0 100 Trying", "1 INVITE"),
    ("SIP/2.0 180 Ringing", "1 INVITE"),
    ("SIP/2.0 200 OK", "1 INVITE"),
    ("ACK sip:bob@192.0.2.9 SIP/2.0", "1 ACK"),
    ("BYE sip:bob@192.0.2.9 SIP/2.0", "2 BYE"),
];

fn raw(call: usize, line: &str, cseq: &str) -> Vec<u8> {
    format!(
        "{line}\r\nVia: SIP/2.0/UDP 192.0.2.{}:5060;branch=z9hG4bK{call:x}{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: \"User {call}\" <sip:{call}@example.net>;tag={call:x}\r\nTo: <sip:bob@example.net>;tag=b{call:x}\r\n\
         Call-ID: {call:016x}@192.0.2.1\r\nCSeq: {cseq}\r\nContact: <sip:{call}@192.0.2.1:5060>\r\n\
         User-Agent: Bench/1.0\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY\r\nSupported: timer, replaces\r\n\
         Content-Type: application/sdp\r\nContent-Length: 160\r\n\r\nv=0\r\no=- {call} 1 IN IP4 192.0.2.1\r\ns=-\r\n\
         c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\n",
        call % 250
    )
    .into_bytes()
}

fn captured(flush: usize) -> Vec<Captured> {
    let calls = (0..CALLS).map(|call| flush * CALLS + call);
    calls
        .flat_map(|call| {
            (0..).zip(LINES).map(move |(n, (line, cseq))| Captured {
                captured_at_us: i64::try_from(flush * 1_000_000 + call % CALLS * 100 + n * 10).unwrap_or(0),
                src: ([192, 0, 2, u8::try_from(call % 250).unwrap_or(0)], 5060).into(),
                dst: ([198, 51, 100, 1], 5060).into(),
                transport: Transport::Udp,
                agent_id: 2001,
                agent_name: None,
                protocol_type: 1,
                tenant: None,
                correlation_id: Some(format!("session-{}", call / 100).into()),
                call_id: None,
                full_length: None,
                raw: Bytes::from(raw(call, line, cseq)),
            })
        })
        .collect()
}

/// A message as its agent would send it.
fn record(captured: &Captured) -> Record {
    let packet = hep::Packet {
        ip_family: Some(2),
        ip_protocol: Some(17),
        src_ip: Some(captured.src.ip()),
        dst_ip: Some(captured.dst.ip()),
        src_port: Some(captured.src.port()),
        dst_port: Some(captured.dst.port()),
        time: hep::Timestamp::from_micros(captured.captured_at_us),
        protocol_type: Some(captured.protocol_type),
        agent_id: Some(captured.agent_id),
        correlation_id: captured.correlation_id.as_deref().map(str::as_bytes),
        transport: Some(hep::Transport::Udp),
        payload: hep::Payload::Plain(&captured.raw),
        ..hep::Packet::default()
    };
    let mut hep = Vec::new();
    hep::encode(&packet, &mut hep).expect("a packet");
    Record {
        received_at_us: captured.captured_at_us,
        peer: captured.src,
        transport: hep::Transport::Tcp,
        hep: hep.into(),
    }
}

fn read(captured: Vec<Captured>) -> Vec<Message> {
    captured.into_iter().map(|captured| Message::read(MessageId::default(), captured)).collect()
}

fn store(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let files = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> =
        Arc::new(runtime.block_on(SqliteStore::open(files.path(), "bench")).expect("a store"));
    let mut group = c.benchmark_group("store");
    group.sample_size(20).throughput(Throughput::Elements((CALLS * LINES.len()) as u64));
    let mut flushes = 0;
    let mut next = || {
        flushes += 1;
        captured(flushes)
    };

    // The way of a flush, on one thread.
    let paths = EventPaths::default();
    let tenants = Tenants::default();
    let records: Vec<Record> = captured(1).iter().map(record).collect();
    let item = |record| Some(Item::read(decode(record, 65_536, &tenants).ok()?, &paths));
    group.bench_function("decode, and read what slices are made by", |b| {
        b.iter(|| black_box(records.iter().filter_map(item).count()))
    });
    let first = captured(0);
    let samples = Cutter { sample_bytes: 1 << 22, ..Cutter::default() }
        .cut_items(&first.iter().map(|m| Item::read(m.lent(), &paths)).collect::<Vec<_>>(), 1);
    let trained = Dictionary::train(&samples.samples, &samples.lengths, 65_536, 0).expect("a dictionary");
    let messages = captured(1);
    let items: Vec<_> = messages.iter().map(|m| Item::read(m.lent(), &paths)).collect();
    for (name, dictionary) in
        [("cut, without a dictionary", None), ("cut, with a dictionary", Some(Arc::new(trained)))]
    {
        let cutter = Cutter { dictionary, ..Cutter::default() };
        group.bench_function(name, |b| b.iter(|| black_box(cutter.cut_items(&items, 1))));
    }

    group.bench_function("read facts", |b| {
        b.iter_batched(&mut next, |m| black_box(read(m)), BatchSize::LargeInput)
    });
    group.bench_function("cut into slices", |b| {
        b.iter_batched(
            || read(next()),
            |m| black_box(Cutter::default().cut(m).expect("packs")),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("write a flush of 500 calls", |b| {
        b.iter_batched(
            || Flush { packs: Cutter::default().cut(read(next())).expect("packs"), end: Position::default() },
            |flush| runtime.block_on(store.write(&flush)).expect("written"),
            BatchSize::LargeInput,
        );
    });
    group.finish();

    let search = Search::new(store, Arc::default());
    let mut group = c.benchmark_group("search");
    let stored = runtime.block_on(search.messages(&Default::default(), &page())).expect("a page");
    let call_id = stored.items.first().and_then(|m| m.sip.call_id.clone()).expect("a call");
    let session = stored.items.first().and_then(|m| m.captured.correlation_id.clone()).expect("a session");
    group.bench_function("a call", |b| {
        b.iter(|| runtime.block_on(search.call(&call_id, None, Window::default())).expect("found"));
    });
    group.bench_function("a session of 100 calls", |b| {
        b.iter(|| runtime.block_on(search.session(&session, Window::default())).expect("found"));
    });
    group.bench_function("the newest 100 calls", |b| {
        b.iter(|| runtime.block_on(search.calls(&Default::default(), &page())).expect("found"));
    });
    group.finish();
}

fn page() -> siplens_backend::search::Page {
    siplens_backend::search::Page::default()
}

criterion_group!(benches, store);
criterion_main!(benches);
