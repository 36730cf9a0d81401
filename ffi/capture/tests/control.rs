//! What an operator does to a capture that runs: reset its counters, follow callers for a while, mask what must not leave.
#![expect(clippy::unwrap_used, reason = "tests and their helpers stop at what is unexpected")]

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use capture::parts::{Taken, readers};
use capture::{
    Agent, Config, Delivered, Layout, Limits, Message, Offer, Sender, Settings, Shared, Stats, Transport,
};

fn shared(processes: usize) -> Shared {
    let layout = Layout::new(processes, 128).with_sessions(64).with_filters(4);
    let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
    Shared::new(words, layout, true).unwrap()
}

fn config(settings: Settings) -> Config {
    let duplicate_uri = "udp:127.0.0.1:9060".to_owned();
    Config::check(Settings { duplicate_uri, ..settings }).unwrap()
}

fn message(raw: &[u8]) -> Message<'_> {
    Message {
        raw,
        source: Some("127.0.0.1:5070".parse().unwrap()),
        destination: Some("127.0.0.1:5060".parse().unwrap()),
        transport: Transport::Udp,
        captured_at: capture::now(),
        inner_call_id: None,
    }
}

/// The packets that wait in all queues.
fn queued(shared: Shared) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for mut reader in readers(shared) {
        let mut record = Vec::new();
        while let Taken::Record(_) = reader.take(&mut record) {
            packets.push(record.clone());
        }
    }
    packets
}

fn adds_up(stats: &Stats) {
    let sum = stats.filtered + stats.dropped.total() + stats.sent + stats.in_queue;
    assert_eq!(stats.offered, sum, "{stats:?}");
}

#[test]
fn resets_under_load_lose_no_message_of_the_sums() {
    const EACH: u64 = 30_000;
    let shared = shared(2);
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let settings =
        Settings { duplicate_uri: format!("udp:{}", collector.local_addr().unwrap()), ..Settings::default() };
    let config = Config::check(settings).unwrap();
    let running = Arc::new(AtomicBool::new(true));
    let sender = std::thread::spawn({
        let running = Arc::clone(&running);
        let (events, _incoming) = sync_channel(64);
        move || {
            let mut sender = Sender::new(shared, Limits::default(), events);
            while running.load(Ordering::Relaxed) {
                sender.turn();
            }
        }
    });
    let workers: Vec<_> = (0..2)
        .map(|process| {
            let mut agent = Agent::new(shared, process, &config).unwrap();
            std::thread::spawn(move || {
                let raw = b"OPTIONS sip:b@h SIP/2.0\r\nCall-ID: c\r\n\r\n";
                for number in 0..EACH {
                    // Empty ones are filtered.
                    let raw = if number % 3 == 0 { &b""[..] } else { raw };
                    let message = message(raw);
                    let offer = Offer { message, collector: None, correlation: None, template: None };
                    agent.offer(&offer).unwrap();
                }
            })
        })
        .collect();

    // What is on its way at a reset is offered anew, so it is taken out of the sum that ended.
    let (mut settled, mut filtered, mut resets) = (0, 0, 0);
    let mut end = |stats: Stats| {
        adds_up(&stats);
        settled += stats.offered - stats.in_queue;
        filtered += stats.filtered;
    };
    while !workers.iter().all(std::thread::JoinHandle::is_finished) {
        adds_up(&shared.stats());
        if let Ok(stats) = shared.reset() {
            end(stats);
            resets += 1;
        }
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let start = Instant::now();
    while shared.stats().in_queue > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", shared.stats());
    }
    end(shared.reset().unwrap());
    running.store(false, Ordering::Relaxed);
    sender.join().unwrap();
    assert!(resets > 10, "{resets}");
    assert_eq!((settled, filtered), (2 * EACH, 2 * EACH / 3));
    let stats = shared.stats();
    assert_eq!(
        (stats.offered, stats.sent, stats.collectors[0].sent, stats.collectors[0].connects),
        (0, 0, 0, 0)
    );
    assert!(shared.status().sender_alive());
}

fn sip(start: &str, from: &str, to: &str, cseq: &str) -> Vec<u8> {
    format!("{start}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: call-1\r\nCSeq: {cseq}\r\n\r\n").into_bytes()
}

#[test]
fn a_filter_follows_the_whole_call_that_it_finds_and_no_other() {
    let shared = shared(2);
    let config = config(Settings::default());
    let mut agents = [0, 1].map(|process| Agent::new(shared, process, &config).unwrap());
    let (alice, bob) = ("<sip:alice@h>;tag=a", "<sip:bob@h>");
    let invite = sip("INVITE sip:bob@h SIP/2.0", alice, bob, "1 INVITE");
    let observe = |agent: &mut Agent, raw: &[u8]| agent.observe(&message(raw), &mut Delivered::default());

    observe(&mut agents[0], &invite).unwrap();
    assert_eq!(shared.stats().offered, 0, "nobody asked for it yet");
    shared.add_trace_filter([&b"caller=alice"[..], b"id=case-7"], &config).unwrap();
    observe(&mut agents[0], &invite).unwrap();
    shared.clear_trace_filters().unwrap();
    // The rest of the call is captured, whoever meets it, and though the filter is gone.
    observe(&mut agents[1], &sip("SIP/2.0 200 OK", alice, "<sip:bob@h>;tag=b", "1 INVITE")).unwrap();
    let bye = sip("BYE sip:alice@h SIP/2.0", "<sip:bob@h>;tag=b", alice, "1 BYE");
    observe(&mut agents[1], &bye).unwrap();
    let other = String::from_utf8(invite).unwrap().replace("call-1", "call-2");
    observe(&mut agents[0], other.as_bytes()).unwrap();
    let packets = queued(shared);
    assert_eq!(packets.len(), 3);
    for packet in &packets {
        assert_eq!(hep::decode(packet).unwrap().correlation_id, Some(&b"case-7"[..]));
    }
    assert_eq!(shared.status().sessions, 1);
}

#[test]
fn a_filter_finds_nothing_while_capture_is_off() {
    let shared = shared(1);
    let config = config(Settings::default());
    let mut agent = Agent::new(shared, 0, &config).unwrap();
    shared.add_trace_filter([&b"caller=alice"[..]], &config).unwrap();
    shared.set_enabled(false);
    let invite = sip("INVITE sip:bob@h SIP/2.0", "<sip:alice@h>", "<sip:bob@h>", "1 INVITE");
    agent.observe(&message(&invite), &mut Delivered::default()).unwrap();
    assert_eq!((shared.stats().offered, shared.trace_filters()[0].matches), (0, 0));
}

#[test]
fn what_is_masked_is_masked_in_the_queue_already_and_counted() {
    let shared = shared(1);
    let config = config(Settings {
        mask_headers: "Authorization".to_owned(),
        mask_body: "text/plain".to_owned(),
        ..Settings::default()
    });
    let mut agent = Agent::new(shared, 0, &config).unwrap();
    let secret = b"MESSAGE sip:b@h SIP/2.0\r\nCall-ID: c\r\nAuthorization: Digest SECRET\r\nContent-Type: text/plain\r\n\r\nSECRET";
    let plain = b"BYE sip:b@h SIP/2.0\r\nCall-ID: c\r\n\r\n";
    for raw in [&secret[..], plain] {
        let offer = Offer { message: message(raw), collector: None, correlation: None, template: None };
        agent.offer(&offer).unwrap();
    }
    let packets = queued(shared);
    assert!(!packets[0].windows(6).any(|octets| octets == b"SECRET"));
    let payload = |packet| match hep::decode(packet).unwrap().payload {
        hep::Payload::Plain(payload) => payload.to_vec(),
        _ => Vec::new(),
    };
    assert_eq!(payload(&packets[0]).len(), secret.len());
    assert_eq!(payload(&packets[1]), plain);
    assert_eq!(shared.stats().masked, 1);
}

#[test]
fn the_host_may_drop_a_message_and_it_is_counted_as_filtered() {
    let shared = shared(1);
    let config = config(Settings::default());
    let drops: fn(&Message<'_>) -> bool = |message| message.raw.starts_with(b"OPTIONS");
    let mut agent = Agent::new(shared, 0, &config).unwrap().dropping(Some(drops));
    for raw in [&b"OPTIONS sip:b@h SIP/2.0\r\n\r\n"[..], b"BYE sip:b@h SIP/2.0\r\n\r\n"] {
        let offer = Offer { message: message(raw), collector: None, correlation: None, template: None };
        agent.offer(&offer).unwrap();
    }
    assert_eq!(queued(shared).len(), 1);
    let stats = shared.stats();
    assert_eq!((stats.offered, stats.filtered), (2, 1));
}
