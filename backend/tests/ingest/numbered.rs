//! Packets that their sender numbers: acknowledged once they are safe, taken once, and counted where they are missing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hep::{Acknowledged, Sequence};
use siplens_backend::ingest::places::Places;
use siplens_backend::ingest::{tcp, unix};
use siplens_backend::store::Store;
use siplens_backend::telemetry::tally::Delivery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream};

use crate::Flaky;
use crate::pipeline::{Pipeline, packet, sqlite, until};

/// The packet with this number of a stream.
fn numbered(stream: u64, number: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    let n = usize::try_from(number).expect("small");
    assert!(hep::append_sequence(&packet(n), &mut octets));
    Sequence { stream, number, first: 1 }.stamp(&mut octets);
    octets
}

async fn send(stream: &mut TcpStream, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        stream.write_all(&numbered(5, number)).await.expect("written");
    }
}

/// The next answer.
async fn answer(stream: &mut TcpStream) -> Acknowledged {
    let mut octets = [0; 28];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut octets));
    read.await.expect("in time").expect("an answer");
    hep::decode(&octets).expect("HEP").acknowledged.expect("an acknowledgement")
}

/// Reads answers up to this one; how many they were.
async fn answered(stream: &mut TcpStream, number: u64) -> usize {
    let mut last = 0;
    for count in 1.. {
        let Acknowledged { stream: id, number: safe } = answer(stream).await;
        assert_eq!(id, 5);
        assert!(last <= safe && safe <= number, "{last} {safe} {number}");
        last = safe;
        if safe == number {
            return count;
        }
    }
    0
}

async fn start(dir: &std::path::Path) -> Pipeline {
    Pipeline::start(dir, sqlite(dir).await, 8 << 20).await
}

fn delivery(pipeline: &Pipeline) -> Delivery {
    pipeline.metrics.tally.agents().0[&7].delivery
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_acknowledged_in_few_answers_and_what_comes_again_is_not_stored_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path()).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    send(&mut stream, 1..=1).await;
    assert_eq!(
        answer(&mut stream).await,
        Acknowledged { stream: 5, number: 0 },
        "that there will be answers"
    );
    send(&mut stream, 2..=300).await;
    let answers = answered(&mut stream, 300).await;
    assert!(answers < 100, "{answers}");

    // By the same connection, and by another.
    send(&mut stream, 290..=300).await;
    answered(&mut stream, 300).await;
    let mut other = TcpStream::connect(pipeline.tcp).await.expect("connected");
    send(&mut other, 1..=310).await;
    answered(&mut other, 310).await;
    until("310 messages", async || pipeline.stored().await == 310).await;
    let of = |result| {
        pipeline.metric(&format!("siplens_ingest_packets_total{{transport=\"tcp\",result=\"{result}\"}}"))
    };
    assert_eq!((of("accepted"), of("repeated")), (310, 311));
    assert_eq!(delivery(&pipeline), Delivery { missing: 0, late: 0, repeated: 311 });
    assert_eq!(pipeline.metric("siplens_store_messages_total"), 310);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_was_acknowledged_is_known_and_the_rest_is_taken() {
    let dir = tempfile::tempdir().expect("a folder");
    for run in 0..4 {
        let pipeline = start(dir.path()).await;
        let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
        send(&mut stream, 1..=(run + 1) * 50).await;
        answered(&mut stream, (run + 1) * 50).await;
        let repeated = pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"repeated\"}");
        assert_eq!(repeated, run * 50);
        until("all messages", async || pipeline.stored().await as u64 == (run + 1) * 50).await;
        assert_eq!(pipeline.metric("siplens_store_messages_total"), 50);
        pipeline.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_stop_what_was_taken_is_acknowledged() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path()).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    send(&mut stream, 1..=100).await;
    until("100 taken", async || {
        pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"accepted\"}") == 100
    })
    .await;
    pipeline.stop().await;
    answered(&mut stream, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_numbers_nothing_is_answered_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path()).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    stream.write_all(&packet(1)).await.expect("written");
    until("a message", async || pipeline.stored().await == 1).await;
    stream.shutdown().await.expect("ended");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.expect("ended");
    assert!(answers.is_empty(), "{answers:?}");
    assert_eq!(pipeline.metric("siplens_ingest_acknowledgements_total"), 0);
    pipeline.stop().await;
}

/// Over a Unix socket, whose octets wait with their writer: a TCP connection whose reader has no memory left may lose
/// the other direction's acknowledgements, too, and that is its kernel's affair.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_an_answer_is_served_like_any_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path()).await;
    let path = dir.path().join("hep.sock");
    let bound = unix::bind(&path).await.expect("bound");
    let limits = tcp::Limits {
        places: Places::new(2, 2),
        opening: tcp::OPENING,
        idle: None,
        balancers: Arc::default(),
    };
    let accepting =
        tokio::spawn(unix::accept(bound, limits, pipeline.admission.clone(), pipeline.stop_token()));
    let mut stream = UnixStream::connect(&path).await.expect("connected");
    // One at a time, so that each has an answer of its own, until no more answers can be written.
    let (mut number, mut last, mut unanswered) = (0, 0, 0);
    while unanswered < 50 {
        number += 1;
        assert!(number < 5000, "{last} answers were written, and there is still room");
        stream.write_all(&numbered(5, number)).await.expect("written");
        until("a packet", async || {
            pipeline.metric("siplens_ingest_packets_total{transport=\"unix\",result=\"accepted\"}") == number
        })
        .await;
        let answers = pipeline.metric("siplens_ingest_acknowledgements_total");
        unanswered = if answers == last { unanswered + 1 } else { 0 };
        last = answers;
    }
    until("all messages", async || pipeline.metric("siplens_store_messages_total") == number).await;
    // What became safe meanwhile is in one answer, once there is room again.
    let mut octets = [0; 28];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut octets));
        read.await.expect("in time").expect("an answer");
        if hep::decode(&octets).expect("HEP").acknowledged == Some(Acknowledged { stream: 5, number }) {
            break;
        }
    }
    assert!(pipeline.metric("siplens_ingest_acknowledgements_total") < number);
    drop(stream);
    pipeline.stop().await;
    accepting.await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_acknowledged_and_missing_to_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path()).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    send(&mut stream, 1..=3).await;
    let mut empty = Vec::new();
    let sequence = Some(Sequence { stream: 5, number: 4, first: 1 });
    let nothing = hep::Packet { agent_id: Some(7), sequence, ..hep::Packet::default() };
    hep::encode(&nothing, &mut empty).expect("a packet");
    stream.write_all(&empty).await.expect("written");
    answered(&mut stream, 4).await;
    send(&mut stream, 5..=5).await;
    answered(&mut stream, 5).await;
    assert_eq!(delivery(&pipeline), Delivery::default());
    let refused = pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"no_payload\"}");
    assert_eq!(refused, 1);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_spool_is_full_answers_go_on_and_nothing_is_taken_out_of_its_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let away = Flaky::new(sqlite(dir.path()).await, u32::MAX, 0);
    let pipeline = Pipeline::start(dir.path(), Arc::clone(&away) as Arc<dyn Store>, 64 << 10).await;
    let stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    let (mut answers, mut sending) = stream.into_split();
    let sender = tokio::spawn(async move {
        for number in 1..=900 {
            sending.write_all(&numbered(5, number)).await.expect("written");
        }
        sending
    });
    until("a full spool", async || pipeline.metric("siplens_ingest_tcp_held_back_total") > 0).await;
    // All that has been taken is acknowledged, though the next packet waits.
    let taken = || pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"accepted\"}");
    let mut octets = [0; 28];
    loop {
        answers.read_exact(&mut octets).await.expect("an answer");
        let safe = hep::decode(&octets).expect("HEP").acknowledged.expect("an acknowledgement");
        if safe.number == taken() {
            break;
        }
    }
    // Another sender hears at once that there will be answers.
    let mut other = TcpStream::connect(pipeline.tcp).await.expect("connected");
    other.write_all(&numbered(6, 1)).await.expect("written");
    assert_eq!(answer(&mut other).await, Acknowledged { stream: 6, number: 0 });
    away.failures.store(0, Ordering::Release);
    let _sending = sender.await.expect("sent");
    until("all messages", async || pipeline.metric("siplens_store_messages_total") == 901).await;
    assert_eq!(answer(&mut other).await, Acknowledged { stream: 6, number: 1 });
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_are_missing_late_or_repeated_are_told_apart() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = start(dir.path()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for number in [1, 2, 5, 3, 3, 9, 10, 10] {
        socket.send_to(&numbered(5, number), pipeline.udp).await.expect("sent");
    }
    until("all taken", async || pipeline.stored().await == 6).await;
    // 3 and 4 were missing at 5, 6 to 8 at 9; 3 came after all.
    assert_eq!(delivery(&pipeline), Delivery { missing: 5, late: 1, repeated: 2 });
    assert_eq!(delivery(&pipeline).lost(), 4);
    for (line, count) in [
        ("siplens_ingest_agent_missing_total{agent_id=\"7\"}", 5),
        ("siplens_ingest_agent_late_total{agent_id=\"7\"}", 1),
        ("siplens_ingest_agent_repeated_total{agent_id=\"7\"}", 2),
        ("siplens_ingest_packets_total{transport=\"udp\",result=\"repeated\"}", 2),
        ("siplens_ingest_packets_total{transport=\"udp\",result=\"accepted\"}", 6),
        ("siplens_ingest_agent_packets_total{agent_id=\"7\"}", 6),
    ] {
        assert_eq!(pipeline.metric(line), count, "{line}");
    }
    pipeline.stop().await;
}
