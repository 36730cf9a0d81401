//! A stream against a connection that plays a script.

use std::collections::VecDeque;
use std::io::ErrorKind;

use proptest::prelude::*;

use super::*;
use crate::sender::backlog::{Backlog, Put};

/// Plays a script and keeps what was written, one entry per connection.
#[derive(Debug, Default)]
struct Played {
    opens: VecDeque<io::Result<()>>,
    writes: VecDeque<io::Result<usize>>,
    closed_by_peer: bool,
    received: Vec<Vec<u8>>,
    /// What the collector says next.
    says: Vec<u8>,
}

impl Connection for Played {
    fn open(&mut self) -> io::Result<()> {
        self.closed_by_peer = false;
        self.opens.pop_front().unwrap_or(Ok(()))?;
        self.received.push(Vec::new());
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let took = self.writes.pop_front().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.received.last_mut().unwrap().extend_from_slice(&bytes[..took]);
        Ok(took)
    }
    fn hear(&mut self, heard: &mut dyn FnMut(&[u8])) -> bool {
        heard(&std::mem::take(&mut self.says));
        !self.closed_by_peer
    }
    fn close(&mut self) {}
}

fn packet(len: u8) -> Vec<u8> {
    let mut packet = vec![b'H', b'E', b'P', b'3', 0, len];
    packet.resize(len.into(), len);
    packet
}

fn stream(played: Played) -> Stream<Played> {
    Stream::new(played, &Limits::default())
}

#[test]
fn a_refused_connection_is_tried_again_with_growing_pauses() {
    let refused = || Err(ErrorKind::ConnectionRefused.into());
    let mut stream = stream(Played { opens: [refused(), refused()].into(), ..Played::default() });
    let mut batch = Batch::of(&[&packet(20)]);
    let start = Instant::now();
    let ms = Duration::from_millis;

    let step = stream.step(start, &mut batch);
    assert_eq!(step.change, Some(Change::Lost(ErrorKind::ConnectionRefused)));
    assert_eq!(stream.step(start, &mut batch).pause, ms(100));
    assert_eq!(stream.step(start + ms(40), &mut batch).pause, ms(60));
    stream.step(start + ms(100), &mut batch);
    assert_eq!(stream.step(start + ms(100), &mut batch).pause, ms(200));
    assert_eq!(stream.step(start + ms(300), &mut batch).change, Some(Change::Connected));
    assert_eq!(stream.step(start + ms(300), &mut batch).sent, 1);
    assert!(batch.is_empty());
}

#[test]
fn after_a_reconnect_the_stream_begins_with_a_whole_packet() {
    let mut stream = stream(Played {
        writes: [Ok(20 + 7), Err(ErrorKind::BrokenPipe.into())].into(),
        ..Played::default()
    });
    let mut batch = Batch::of(&[&packet(20), &packet(30), &packet(10)]);
    let mut now = Instant::now();
    let mut sent = 0;
    while !batch.is_empty() {
        let step = stream.step(now, &mut batch);
        sent += step.sent;
        now += step.pause;
    }
    assert_eq!(sent, 3);
    let received = &stream.connection.received;
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].len(), 27);
    assert_eq!(received[1], [packet(30), packet(10)].concat());
}

#[test]
fn a_collector_that_closed_is_noticed_before_anything_is_written_to_it() {
    let mut stream = stream(Played::default());
    let now = Instant::now();
    let mut nothing = Batch::default();
    assert_eq!(stream.step(now, &mut nothing).change, Some(Change::Connected));
    stream.connection.closed_by_peer = true;
    let mut batch = Batch::of(&[&packet(20)]);
    let step = stream.step(now, &mut batch);
    assert_eq!(step.change, Some(Change::Lost(ErrorKind::ConnectionReset)));
    assert_eq!(batch.len(), 1);
}

#[test]
fn a_collector_that_never_reads_is_given_up_after_the_stall_limit() {
    let mut stream = stream(Played {
        writes: std::iter::repeat_with(|| Err(ErrorKind::WouldBlock.into())).take(40).collect(),
        ..Played::default()
    });
    let mut batch = Batch::of(&[&packet(20)]);
    let start = Instant::now();
    stream.step(start, &mut batch);
    let lost = (0..40).find(|&second| {
        let step = stream.step(start + Duration::from_secs(second), &mut batch);
        step.change == Some(Change::Lost(ErrorKind::TimedOut))
    });
    assert_eq!(lost, Some(30));
    assert_eq!(batch.len(), 1, "nothing is lost by the stall itself");
}

const STREAM: u64 = 77;

/// A batch of packets that are numbered, with these payloads.
fn numbered(payloads: std::ops::Range<u8>) -> Batch {
    let (backlog, mut batch) = (Backlog::new(1 << 20, true), Batch::new(Some(STREAM)));
    for payload in payloads {
        assert_eq!(backlog.put(&hep3(payload)), Put::Taken);
    }
    backlog.fill(&mut batch, Duration::ZERO);
    batch
}

fn hep3(payload: u8) -> Vec<u8> {
    let mut octets = Vec::new();
    let packet = hep::Packet { payload: hep::Payload::Plain(&[payload]), ..hep::Packet::default() };
    hep::encode(&packet, &mut octets).unwrap();
    octets
}

fn answer(number: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    let acknowledged = Some(hep::Acknowledged { stream: STREAM, number });
    hep::encode(&hep::Packet { acknowledged, ..hep::Packet::default() }, &mut octets).unwrap();
    octets
}

/// Numbers, `first`, and payloads of the whole packets of a connection.
fn read(mut received: &[u8]) -> Vec<(u64, u64, u8)> {
    let mut packets = Vec::new();
    while let Ok(hep::framing::Frame::Complete(len)) = hep::framing::frame(received) {
        let packet = hep::decode(&received[..len]).unwrap();
        let sequence = packet.sequence.unwrap();
        assert_eq!(sequence.stream, STREAM);
        packets.push((sequence.number, sequence.first, packet.payload.plain().unwrap()[0]));
        received = &received[len..];
    }
    packets
}

#[test]
fn what_is_not_acknowledged_is_sent_again_with_its_number() {
    let mut stream = stream(Played::default());
    let mut batch = numbered(0..5);
    let now = Instant::now();
    stream.step(now, &mut batch);
    assert_eq!(stream.step(now, &mut batch), Step::default(), "kept until it is known who that is");
    assert_eq!((batch.len(), batch.waiting()), (0, 5));
    stream.connection.says = [answer(0), answer(2)].concat();
    let step = stream.step(now, &mut batch);
    assert_eq!((step.sent, step.acknowledged, batch.waiting()), (2, 2, 3));
    stream.connection.closed_by_peer = true;
    let step = stream.step(now, &mut batch);
    assert_eq!((step.sent, step.again, batch.len(), batch.waiting()), (0, 3, 3, 0));
    let later = now + Duration::from_secs(1);
    stream.step(later, &mut batch);
    stream.step(later, &mut batch);
    let received: Vec<_> = stream.connection.received.iter().map(|octets| read(octets)).collect();
    assert_eq!(received[0], (0..5).map(|n| (u64::from(n) + 1, 1, n)).collect::<Vec<_>>());
    assert_eq!(received[1], (2..5).map(|n| (u64::from(n) + 1, 1, n)).collect::<Vec<_>>());
}

#[test]
fn a_collector_that_never_answers_gets_everything_once_and_it_counts_as_sent() {
    let mut stream = stream(Played::default());
    let (mut batch, now) = (numbered(0..5), Instant::now());
    stream.step(now, &mut batch);
    stream.step(now, &mut batch);
    let step = stream.step(now + Limits::default().answer, &mut batch);
    assert_eq!((step.sent, step.acknowledged, batch.waiting()), (5, 0, 0));
    // Nor is anything sent again if it goes before that.
    let mut quick = self::stream(Played::default());
    let mut batch = numbered(0..5);
    quick.step(now, &mut batch);
    quick.step(now, &mut batch);
    quick.connection.closed_by_peer = true;
    let step = quick.step(now, &mut batch);
    assert_eq!((step.sent, step.again, batch.len()), (5, 0, 0));
}

#[test]
fn a_collector_that_answered_and_falls_silent_is_left_and_then_believed_to_be_another() {
    let mut stream = stream(Played::default());
    let (mut batch, start) = (numbered(0..5), Instant::now());
    stream.step(start, &mut batch);
    stream.step(start, &mut batch);
    stream.connection.says = answer(1);
    assert_eq!(stream.step(start, &mut batch).acknowledged, 1);
    stream.step(start, &mut batch);
    let mut now = start + Duration::from_secs(29);
    assert_eq!(stream.step(now, &mut batch), Step::default());
    now += Duration::from_secs(1);
    let step = stream.step(now, &mut batch);
    assert_eq!((step.change, step.again), (Some(Change::Lost(ErrorKind::TimedOut)), 4));
    // The next connection: not a word.
    now += Duration::from_secs(1);
    stream.step(now, &mut batch);
    stream.step(now, &mut batch);
    now += Duration::from_secs(30);
    assert_eq!(stream.step(now, &mut batch).again, 4);
    now += Duration::from_secs(1);
    stream.step(now, &mut batch);
    stream.step(now, &mut batch);
    assert_eq!(stream.step(now + Limits::default().answer, &mut batch).sent, 4);
}

#[test]
fn rubbish_is_not_listened_to_and_ends_the_trust_in_who_had_answered() {
    let (now, mut batch) = (Instant::now(), numbered(0..5));
    let mut other = stream(Played::default());
    other.step(now, &mut batch);
    other.step(now, &mut batch);
    other.connection.says = b"220 mail.example.net ESMTP\r\n".to_vec();
    let step = other.step(now, &mut batch);
    assert_eq!((step.sent, step.change), (5, None));

    for rubbish in [answer(6), b"garbage".to_vec()] {
        let (mut batch, mut liar) = (numbered(0..5), stream(Played::default()));
        liar.step(now, &mut batch);
        liar.step(now, &mut batch);
        liar.connection.says = answer(2);
        assert_eq!(liar.step(now, &mut batch).acknowledged, 2);
        liar.connection.says = rubbish;
        let step = liar.step(now, &mut batch);
        assert_eq!((step.change, step.again), (Some(Change::Lost(ErrorKind::InvalidData)), 3));
    }
}

/// What happens to a connection in the model below.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The sender makes a step, and so many octets go.
    Write(usize),
    /// The collector has all up to here of what has come, in tenths, and says so.
    Answer(u64),
    /// It says so, and then the connection is lost.
    Lose,
    /// The sender takes another connection, as to another collector.
    Rest,
    Arrive,
}

proptest! {
    /// Whatever is lost: the collector has every packet, in order, and none that it had acknowledged comes again.
    #[test]
    fn every_packet_arrives_in_order_and_nothing_acknowledged_is_sent_again(
        events in prop::collection::vec(
            prop_oneof![
                4 => (1usize..400).prop_map(Event::Write),
                3 => (0u64..=10).prop_map(Event::Answer),
                1 => Just(Event::Lose),
                1 => Just(Event::Rest),
                2 => Just(Event::Arrive),
            ],
            0..120,
        ),
    ) {
        let backlog = Backlog::new(1 << 20, true);
        let mut batch = Batch::new(Some(STREAM));
        let patient = Limits { stall: Duration::from_secs(100_000), ..Limits::default() };
        let mut stream = Stream::new(Played::default(), &patient);
        let mut now = Instant::now();
        // One has been acknowledged, so that answers are expected.
        let mut arrived = 1u64;
        backlog.put(&hep3(1));
        backlog.fill(&mut batch, Duration::ZERO);
        stream.step(now, &mut batch);
        stream.step(now, &mut batch);
        stream.connection.says = answer(1);
        stream.step(now, &mut batch);
        let (mut sent, mut acknowledged) = (1, 1u64);
        let mut stored = 1u64;
        // What was acknowledged when each connection began.
        let mut begun_after = vec![0];
        let last = [Event::Write(usize::MAX), Event::Write(usize::MAX), Event::Answer(10), Event::Write(1)];
        for event in events.into_iter().chain(last) {
            now += Duration::from_millis(200);
            match event {
                Event::Arrive => {
                    arrived += 1;
                    backlog.put(&hep3(u8::try_from(arrived % 256).unwrap()));
                    backlog.fill(&mut batch, Duration::ZERO);
                }
                Event::Write(octets) => {
                    stream.connection.writes = [Ok(octets)].into();
                    now += Duration::from_secs(3);
                    sent += stream.step(now, &mut batch).sent;
                }
                Event::Answer(tenths) => {
                    let here = read(stream.connection.received.last().unwrap());
                    let here = here.last().map_or(acknowledged, |packet| packet.0).max(acknowledged);
                    let part = acknowledged + (here - acknowledged) * tenths / 10;
                    if matches!(stream.state, State::Up(_)) && stream.connection.says.is_empty() {
                        acknowledged = part;
                        stream.connection.says = answer(part);
                        sent += stream.step(now, &mut batch).sent;
                    }
                }
                Event::Lose => {
                    stream.connection.closed_by_peer = true;
                    sent += stream.step(now, &mut batch).sent;
                }
                Event::Rest => {
                    sent += stream.rest(&mut batch).sent;
                    batch.elsewhere();
                }
            }
            begun_after.resize(stream.connection.received.len(), acknowledged);
            // The collector reads all there is; a packet of the last connection may be cut.
            for (number, first, payload) in read(stream.connection.received.last().unwrap()) {
                prop_assert!(number <= stored + 1, "{number} after {stored}");
                prop_assert!(first <= number);
                prop_assert_eq!(payload, u8::try_from(number % 256).unwrap());
                stored = stored.max(number);
            }
            prop_assert_eq!(sent, acknowledged, "sent is what was acknowledged");
            prop_assert_eq!(sent + batch.waiting() + batch.len(), arrived);
        }
        for (connection, received) in stream.connection.received.iter().enumerate() {
            let numbers: Vec<u64> = read(received).into_iter().map(|(number, ..)| number).collect();
            prop_assert!(numbers.first().is_none_or(|&number| number == begun_after[connection] + 1));
            prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{connection} {numbers:?}");
        }
        prop_assert_eq!(stored, arrived);
        prop_assert_eq!(acknowledged, arrived);
    }

    #[test]
    fn however_writes_go_each_connection_carries_whole_packets_in_order(
        lens in prop::collection::vec(6u8..60, 1..40),
        writes in prop::collection::vec(prop::option::weighted(0.8, 0usize..100), 0..60),
    ) {
        let packets: Vec<Vec<u8>> = lens.iter().map(|&len| packet(len)).collect();
        let mut batch = Batch::of(&packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let writes = writes.iter().map(|write| match write {
            Some(len) => Ok(*len),
            None => Err(ErrorKind::ConnectionReset.into()),
        });
        let mut stream = stream(Played { writes: writes.collect(), ..Played::default() });
        let mut now = Instant::now();
        let mut sent = 0;
        while !batch.is_empty() {
            let step = stream.step(now, &mut batch);
            sent += step.sent;
            now += step.pause;
        }
        prop_assert_eq!(sent, lens.len() as u64);
        // Cut each connection's octets at its last whole packet; together they are all packets, each once.
        let mut whole = Vec::new();
        for received in &stream.connection.received {
            let mut batch = Batch::of(&[received]);
            while let Ok(hep::framing::Frame::Complete(len)) = hep::framing::frame(batch.first()) {
                whole.extend_from_slice(&batch.first()[..len]);
                batch.advance();
            }
        }
        prop_assert_eq!(whole, packets.concat());
    }
}
