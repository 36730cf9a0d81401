//! What one message costs a worker of the proxy.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up shall stop")]

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use capture::parts::{Taken, readers};
use capture::{Agent, Config, Delivered, Layout, Message, Offer, Scope, Settings, Shared, Transport};
use criterion::{Criterion, criterion_group, criterion_main};

/// About 520 octets, as an OPTIONS or a short INVITE.
fn request() -> Vec<u8> {
    let mut text = b"OPTIONS sip:service@127.0.0.1:5060 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-524287-1---abcdef\r\n\
        From: <sip:caller@127.0.0.1>;tag=1\r\nTo: <sip:service@127.0.0.1>\r\n\
        Call-ID: 1-4242@127.0.0.1\r\nCSeq: 1 OPTIONS\r\nContact: <sip:caller@127.0.0.1:5070>\r\n\
        Max-Forwards: 70\r\nContent-Length: 0\r\nX-Filler: "
        .to_vec();
    text.resize(516, b'x');
    text.extend_from_slice(b"\r\n\r\n");
    text
}

fn offer(criterion: &mut Criterion) {
    /// Messages between two emptyings of the queue, which holds some 6000.
    const BATCH: u64 = 4000;
    let settings =
        |mask_headers: &str| Settings { mask_headers: mask_headers.to_owned(), ..Settings::default() };
    let config = Config::check(settings("")).unwrap();
    let layout = Layout::new(1, config.ring_size_kib);
    let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    let shared = Shared::new(words, layout, true).unwrap();
    let mut queues = readers(shared);
    let mut record = Vec::new();
    let raw = request();

    let mut group = criterion.benchmark_group("offer");
    for (name, correlation, on, mask) in [
        ("given id", Some(&b"our-session-id"[..]), true, ""),
        ("nothing to mask", Some(&b"our-session-id"[..]), true, "Authorization"),
        ("masked", Some(&b"our-session-id"[..]), true, "X-Filler"),
        ("call-id", None, true, ""),
        ("switched off", None, false, ""),
    ] {
        shared.set_enabled(on);
        let config = Config::check(settings(mask)).unwrap();
        let mut agent = Agent::new(shared, 0, &config).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    let now = left.min(BATCH);
                    let start = Instant::now();
                    for _ in 0..now {
                        let message = Message {
                            raw: black_box(&raw),
                            source: Some(([127, 0, 0, 1], 5070).into()),
                            destination: Some(([127, 0, 0, 1], 5060).into()),
                            transport: Transport::Udp,
                            captured_at: capture::now(),
                            inner_call_id: None,
                        };
                        let collector = Some(&b"sip:127.0.0.1:9060"[..]);
                        agent.offer(&Offer { message, collector, correlation, template: None }).unwrap();
                    }
                    spent += start.elapsed();
                    // The sender's work is not the worker's.
                    while queues[0].take(&mut record) != Taken::Empty {}
                    left -= now;
                }
                spent
            });
        });
    }
    group.finish();
    assert_eq!(shared.stats().dropped.total(), 0, "the queue was emptied often enough");
}

/// What the host's events cost: a message of a session, one of no session, one while nothing is followed, and one that
/// none of four trace filters matches.
fn observe(criterion: &mut Criterion) {
    const BATCH: u64 = 4000;
    let config = Config::check(Settings::default()).unwrap();
    let raw = request();
    let other = String::from_utf8(raw.clone()).unwrap().replace("1-4242@", "2-4242@").into_bytes();
    let mut group = criterion.benchmark_group("observe");
    for (name, opened, filters, seen) in [
        ("of a session", true, 0, &raw),
        ("of none", true, 0, &other),
        ("nothing followed", false, 0, &raw),
        ("four filters", false, 4, &raw),
    ] {
        let layout =
            Layout::new(1, config.ring_size_kib).with_sessions(config.sessions).with_filters(filters);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        let shared = Shared::new(words, layout, true).unwrap();
        let mut agent = Agent::new(shared, 0, &config).unwrap();
        let mut queues = readers(shared);
        let mut record = Vec::new();
        let message = |raw| Message {
            raw,
            source: Some(([127, 0, 0, 1], 5070).into()),
            destination: Some(([127, 0, 0, 1], 5060).into()),
            transport: Transport::Udp,
            captured_at: capture::now(),
            inner_call_id: None,
        };
        if opened {
            let offer = Offer {
                message: message(&raw),
                collector: Some(b"sip:127.0.0.1:9060"),
                correlation: Some(b"our-session-id"),
                template: None,
            };
            agent.follow(&offer, Scope::Dialog, &mut Delivered::default()).unwrap();
        }
        for number in 0..filters {
            let words = [format!("caller=c{number}"), "collector=sip:127.0.0.1:9060".to_owned()];
            shared.add_trace_filter(words.iter().map(String::as_bytes), &config).unwrap();
        }
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    let now = left.min(BATCH);
                    let start = Instant::now();
                    for _ in 0..now {
                        agent.observe(&message(black_box(seen)), &mut Delivered::default()).unwrap();
                    }
                    spent += start.elapsed();
                    while queues[0].take(&mut record) != Taken::Empty {}
                    left -= now;
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, offer, observe);
criterion_main!(benches);
