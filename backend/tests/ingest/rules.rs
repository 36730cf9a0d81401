//! What rules leave out or make unreadable.

use siplens_backend::ingest::Rules;
use siplens_backend::ingest::content::{ContentRules, Discard, MaskRule};
use siplens_backend::ingest::keys::Keys;
use siplens_backend::search::Page;
use siplens_backend::search::filter::Filter;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::pipeline::{Pipeline, packet, sqlite, until};

/// A packet of agent 7 with this payload; compressed if so wanted.
fn with_payload(payload: &str, compressed: bool) -> Vec<u8> {
    let plain = packet(0);
    let zlib = hep::compress(payload.as_bytes());
    let payload =
        if compressed { hep::Payload::Compressed(&zlib) } else { hep::Payload::Plain(payload.as_bytes()) };
    let packet = hep::Packet { agent_id: Some(7), payload, ..hep::decode(&plain).expect("a packet") };
    let mut bytes = Vec::new();
    hep::encode(&packet, &mut bytes).expect("encoded");
    bytes
}

async fn start(dir: &std::path::Path, content: ContentRules) -> Pipeline {
    let rules = Rules { content, ..Rules::default() };
    Pipeline::start_with(dir, sqlite(dir).await, 8 << 20, rules, Keys::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_masked_is_on_disk_nowhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let body = sip::BodyMask::parse(["text/*"].into_iter()).expect("types");
    let mask = sip::Mask { headers: vec!["Authorization".into()], body, body_lines: Vec::new() };
    let mask = vec![MaskRule { name: "all".into(), mask, ..MaskRule::default() }];
    let pipeline = start(dir.path(), ContentRules { mask, ..ContentRules::default() }).await;
    let raw = "MESSAGE sip:b@h SIP/2.0\r\nCall-ID: 1@h\r\nAuthorization: Digest hunter2\r\nContent-Type: text/plain\r\n\r\nPIN hunter2";
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    stream.write_all(&with_payload(raw, false)).await.expect("written");
    let compressed = raw.replace("1@h", "2@h");
    stream.write_all(&with_payload(&compressed, true)).await.expect("written");
    // Nothing to mask in this one.
    stream.write_all(&packet(3)).await.expect("written");
    until("three messages", async || pipeline.stored().await == 3).await;
    let masked = pipeline.metric("siplens_ingest_rule_packets_total{kind=\"mask\",rule=\"all\"}");
    assert_eq!(masked, 2);
    let masked =
        |raw: &str| raw.replace("Digest hunter2", &"x".repeat(14)).replace("PIN hunter2", &"x".repeat(11));
    let page = Page { limit: 9, ..Page::default() };
    let found = pipeline.search.messages(&Filter::default(), &page).await.expect("found").items;
    for expected in [masked(raw), masked(&compressed)] {
        assert_eq!(found.iter().filter(|message| message.captured.raw == expected.as_bytes()).count(), 1);
    }
    let spooled = dir.path().join("spool");
    pipeline.stop().await;
    let mut marks = 0;
    for file in std::fs::read_dir(spooled).expect("the spool").map(|file| file.expect("a file").path()) {
        let octets = std::fs::read(&file).expect("readable");
        assert!(!octets.windows(7).any(|w| w == b"hunter2"), "{}", file.display());
        marks += octets.windows(11).filter(|w| w == b"xxxxxxxxxxx").count();
    }
    assert!(marks > 0, "or nothing was spooled, and this proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_counted_by_rule_and_no_refusal_to_its_sender() {
    let dir = tempfile::tempdir().expect("a folder");
    let discard =
        vec![Discard { name: "keepalives".into(), methods: vec!["OPTIONS".into()], ..Discard::default() }];
    let rules = ContentRules { discard, duplicate_milliseconds: 1000, ..ContentRules::default() };
    let pipeline = start(dir.path(), rules).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let options = with_payload("OPTIONS sip:x SIP/2.0\r\nCall-ID: 1@h\r\nCSeq: 1 OPTIONS\r\n\r\n", false);
    let invite = with_payload("INVITE sip:x SIP/2.0\r\nCall-ID: 2@h\r\nCSeq: 1 INVITE\r\n\r\n", false);
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    for packet in [&options, &invite, &invite, &options] {
        socket.send_to(packet, pipeline.udp).await.expect("sent");
        stream.write_all(packet).await.expect("written");
    }
    let counted = |what: &str| pipeline.metric(&format!("siplens_ingest_rule_packets_total{{{what}}}"));
    until("four left out by method", async || counted("kind=\"discard\",rule=\"keepalives\"") == 4).await;
    until("three duplicates", async || counted("kind=\"duplicates\",rule=\"\"") == 3).await;
    until("one message", async || pipeline.stored().await == 1).await;
    let by = |way: &str, result: &str| {
        pipeline.metric(&format!("siplens_ingest_packets_total{{transport=\"{way}\",result=\"{result}\"}}"))
    };
    assert_eq!((by("udp", "discard"), by("tcp", "discard")), (2, 2));
    assert_eq!(by("udp", "duplicate") + by("tcp", "duplicate"), 3);
    assert_eq!(by("udp", "accepted") + by("tcp", "accepted"), 1);
    assert_eq!(pipeline.metric("siplens_ingest_agent_refused_total{who=\"7\",reason=\"discard\"}"), 4);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_sample_calls_are_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path(), ContentRules { keep_one_in: 3, ..ContentRules::default() }).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    for call in 0..60 {
        for method in ["INVITE", "ACK", "BYE"] {
            let raw = format!("{method} sip:x SIP/2.0\r\nCall-ID: {call}@h\r\nCSeq: 1 {method}\r\n\r\n");
            stream.write_all(&with_payload(&raw, call % 2 == 0)).await.expect("written");
        }
    }
    let counted = |result: &str| {
        pipeline.metric(&format!("siplens_ingest_packets_total{{transport=\"tcp\",result=\"{result}\"}}"))
    };
    until("all of them", async || counted("accepted") + counted("sampling") == 180).await;
    let kept = usize::try_from(counted("accepted")).expect("few");
    assert!((24..96).contains(&kept), "{kept}");
    until("what is kept", async || pipeline.stored().await == kept).await;
    let page = Page { limit: 200, ..Page::default() };
    let found = pipeline.search.messages(&Filter::default(), &page).await.expect("found").items;
    let calls: std::collections::BTreeSet<_> =
        found.iter().map(|message| message.sip.call_id.clone()).collect();
    assert_eq!(found.len(), 3 * calls.len());
    pipeline.stop().await;
}
