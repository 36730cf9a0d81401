//! Packets that come together are taken as if each had come alone, only cheaper.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hep::Sequence;
use sha2::{Digest, Sha256};
use siplens_backend::ingest::content::{ContentRules, Discard};
use siplens_backend::ingest::keys::{Keys, KnownKey};
use siplens_backend::ingest::{Admission, Arrival, Outcome, Refusal, Rules, Way};
use siplens_backend::spool::{Record, Spool, SpoolConfig};
use siplens_backend::telemetry::Metrics;

use crate::pipeline::packet;

/// A door to a spool of its own, which holds so many octets.
fn door(dir: &Path, max_bytes: u64, rules: Rules) -> (Admission, impl FnOnce() -> Vec<Record>) {
    let config = SpoolConfig { dir: dir.join("spool"), max_bytes, ..SpoolConfig::default() };
    let (writer, mut reader) = Spool::open(config, None).expect("a spool");
    let keys = Keys::default();
    let known = |key: &str, tenant: Option<&str>| KnownKey {
        hash: Sha256::digest(key).into(),
        agent_id: Some(7),
        tenant: tenant.map(Into::into),
    };
    keys.replace(vec![known("nobody's", None), known("acme's", Some("acme")), known("bell's", Some("bell"))]);
    let admission = Admission::new(writer.handle(), Arc::new(Metrics::default()), rules, keys);
    let close = move || {
        writer.close().expect("synced");
        reader.next_batch(100_000, 1 << 24, Duration::ZERO).expect("records").records
    };
    (admission, close)
}

/// Everything that can become of a packet, in an order that changes with the seed.
fn packets(seed: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let peer = |n: usize| SocketAddr::from(([192, 0, 2, u8::try_from(n % 3).expect("small")], 9));
    let of = |n: usize| {
        let place = n.wrapping_mul(7919).wrapping_add(seed) % 300;
        let plain = packet(place);
        let mut changed = hep::decode(&plain).expect("a packet");
        let mut octets = Vec::new();
        match place % 10 {
            0 => changed.payload = hep::Payload::None,
            1 => changed.payload = hep::Payload::Compressed(b"it does not inflate"),
            2 => changed.auth_key = Some([&b"acme's"[..], b"bell's", b"nobody's", b"another"][place % 4]),
            3 => changed.agent_id = Some(8 + u32::try_from(place % 3).expect("small")),
            4 => changed.payload = hep::Payload::Plain(b"REGISTER sip:x SIP/2.0\r\n\r\n"),
            5 => changed.time = None,
            _ => {}
        }
        match place % 10 {
            6 => octets.extend_from_slice(&plain[..place % plain.len()]),
            7 | 8 => {
                assert!(hep::append_sequence(&packet(place), &mut octets));
                let stream = u64::try_from(place % 2).expect("small");
                // Gaps, and numbers that come again.
                let number = u64::try_from(n + n % 7).expect("small");
                Sequence { stream, number, first: 1 }.stamp(&mut octets);
            }
            _ => drop(hep::encode(&changed, &mut octets)),
        }
        (peer(n), octets)
    };
    (0..300).map(of).collect()
}

/// What is told of a door that these packets were offered to, so many at once.
fn told(packets: &[(SocketAddr, Vec<u8>)], way: Way, at_once: usize) -> impl PartialEq + std::fmt::Debug {
    let dir = tempfile::tempdir().expect("a folder");
    let discard = Discard { name: "r".into(), methods: vec!["REGISTER".into()], ..Discard::default() };
    let content = ContentRules { discard: vec![discard], ..ContentRules::default() };
    let rules = Rules { content, quarantine_bytes: 1 << 20, ..Rules::default() };
    let (admission, close) = door(dir.path(), 1 << 24, rules);
    let mut outcomes = Vec::new();
    for packets in packets.chunks(at_once) {
        let mut batch = admission.batch();
        for (peer, packet) in packets {
            let _told_below = batch.add(Arrival { way, peer: *peer, packet });
        }
        assert!(batch.take(false, |Outcome { result, receipt }| {
            outcomes.push((result, receipt.map(|receipt| receipt.sequence)));
        }));
    }
    let lines = |text: String| -> Vec<String> {
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.contains("ingest_")).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let refused: Vec<_> = admission.quarantine().newest(1000).into_iter().map(|kept| kept.octets).collect();
    let metrics = admission.metrics().text(&Arc::default());
    let lines: Vec<_> = lines(metrics).into_iter().filter(|line| !line.contains("clock")).collect();
    assert!(lines.len() > 20, "{lines:?}");
    let records = close().into_iter().map(|record| (record.peer, record.hep)).collect::<Vec<_>>();
    assert!(records.len() > 100 && refused.len() > 50, "{} {}", records.len(), refused.len());
    (outcomes, refused, lines, records)
}

#[test]
fn what_comes_together_is_taken_refused_and_counted_like_what_comes_alone() {
    for seed in 0..10 {
        let packets = packets(seed * 31);
        for way in [Way::Tcp, Way::Udp] {
            let alone = told(&packets, way, 1);
            for at_once in [2, 17, 300] {
                assert_eq!(told(&packets, way, at_once), alone, "{way:?}, {at_once} at once");
            }
        }
    }
}

#[test]
fn behind_a_numbered_packet_that_finds_no_room_none_is_taken_or_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let discard = Discard { name: "r".into(), methods: vec!["REGISTER".into()], ..Discard::default() };
    let content = ContentRules { discard: vec![discard], ..ContentRules::default() };
    let (admission, close) = door(dir.path(), 2000, Rules { content, ..Rules::default() });
    let numbered = |number: u64, sip: &[u8]| {
        let mut octets = Vec::new();
        let whole = hep::Packet { payload: hep::Payload::Plain(sip), ..hep::Packet::default() };
        let mut plain = Vec::new();
        hep::encode(&whole, &mut plain).expect("a packet");
        assert!(hep::append_sequence(&plain, &mut octets));
        Sequence { stream: 5, number, first: 1 }.stamp(&mut octets);
        octets
    };
    let packets = [
        numbered(1, b"small"),
        numbered(2, &[b'x'; 3000]),
        numbered(3, b"small"),
        numbered(4, b"REGISTER sip:x SIP/2.0\r\n\r\n"),
    ];
    let peer = SocketAddr::from(([192, 0, 2, 1], 9));
    let mut batch = admission.batch();
    for packet in &packets {
        batch.add(Arrival { way: Way::Tcp, peer, packet }).expect("nothing is wrong with it");
    }
    let mut outcomes = Vec::new();
    let mut tell = |outcome: Outcome| {
        outcomes.push((outcome.result, outcome.receipt.map(|receipt| receipt.sequence.number)));
    };
    assert!(!batch.take(false, &mut tell), "the second has to wait");
    assert!(batch.take(true, &mut tell), "nothing waits at a stop");
    let full = (Err(Refusal::SpoolFull), None);
    assert_eq!(outcomes, [(Ok(()), Some(1)), full, full, full]);
    assert_eq!(close().len(), 1);
}
