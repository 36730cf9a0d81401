//! Packets over a connection: whole ones only, in order, beginning anew at a packet after each reconnect.

use std::io;
use std::time::{Duration, Instant};

use crate::sender::Limits;
use crate::sender::backlog::Batch;
use crate::sender::lane::{Change, Delivery, Step};

/// A connection to a collector, or the lack of one. The socket's side of [`Stream`]; tests have their own.
pub trait Connection: Send + 'static {
    /// Resolves the name and connects; waits no longer than its limit.
    fn open(&mut self) -> io::Result<()>;
    /// Writes as much as goes, waiting no longer than its limit. `WouldBlock` or `TimedOut` if nothing went.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Whether the other side has not closed.
    fn is_open(&mut self) -> bool;
    /// Gives it up.
    fn close(&mut self);
    /// More than the kind of error tells about why the last attempt failed.
    fn reason(&self) -> Option<&str> {
        None
    }
}

/// Octets of one write; smaller than a batch, so that the counters follow a slow collector.
const WRITE_BYTES: usize = 256 * 1024;

/// Sends batches over a [`Connection`].
#[derive(Debug)]
pub struct Stream<C> {
    connection: C,
    limits: Limits,
    state: State,
    retry: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down {
        again_at: Option<Instant>,
    },
    /// So many octets of the first packet have gone; nothing has moved since.
    Up {
        gone: usize,
        stalled_since: Option<Instant>,
    },
}

impl<C: Connection> Stream<C> {
    pub fn new(connection: C, limits: &Limits) -> Self {
        let state = State::Down { again_at: None };
        Self { connection, limits: *limits, state, retry: limits.retry_least }
    }

    fn connect(&mut self, now: Instant) -> Step {
        match self.connection.open() {
            Ok(()) => {
                self.state = State::Up { gone: 0, stalled_since: None };
                Step { change: Some(Change::Connected), ..Step::default() }
            }
            Err(error) => self.lose(now, error.kind()),
        }
    }

    /// What has gone of an unfinished packet is lost with the connection; it is sent again from its start.
    fn lose(&mut self, now: Instant, why: io::ErrorKind) -> Step {
        self.connection.close();
        self.state = State::Down { again_at: Some(now + self.retry) };
        self.retry = (self.retry * 2).min(self.limits.retry_most);
        Step { change: Some(Change::Lost(why)), ..Step::default() }
    }

    fn write(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        gone: usize,
        stalled_since: Option<Instant>,
    ) -> Step {
        // A write to a connection that the other side has closed succeeds once, and loses what it wrote.
        if !self.connection.is_open() {
            return self.lose(now, io::ErrorKind::ConnectionReset);
        }
        let rest = batch.rest();
        let bytes = rest.get(gone..rest.len().min(gone + WRITE_BYTES)).unwrap_or_default();
        if bytes.is_empty() {
            return Step::default();
        }
        match self.connection.write(bytes) {
            Ok(0) => self.lose(now, io::ErrorKind::WriteZero),
            Ok(written) => {
                self.retry = self.limits.retry_least;
                let mut gone = gone + written;
                let mut step = Step::default();
                while !batch.is_empty() && gone >= batch.first_len() {
                    gone -= batch.first_len();
                    step.sent += 1;
                    step.sent_bytes += batch.first_len() as u64;
                    batch.advance();
                }
                self.state = State::Up { gone, stalled_since: None };
                step
            }
            Err(error) if waits(error.kind()) => {
                let since = stalled_since.unwrap_or(now);
                if now.saturating_duration_since(since) >= self.limits.stall {
                    return self.lose(now, io::ErrorKind::TimedOut);
                }
                self.state = State::Up { gone, stalled_since: Some(since) };
                Step::default()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::default(),
            Err(error) => self.lose(now, error.kind()),
        }
    }
}

impl<C: Connection> Delivery for Stream<C> {
    fn step(&mut self, now: Instant, batch: &mut Batch) -> Step {
        match self.state {
            State::Down { again_at: Some(at) } if now < at => Step { pause: at - now, ..Step::default() },
            State::Down { .. } => self.connect(now),
            State::Up { gone, stalled_since } => self.write(now, batch, gone, stalled_since),
        }
    }

    fn rest(&mut self) {
        self.connection.close();
        self.state = State::Down { again_at: None };
        self.retry = self.limits.retry_least;
    }

    fn reason(&self) -> Option<&str> {
        self.connection.reason()
    }
}

fn waits(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::ErrorKind;

    use proptest::prelude::*;

    use super::*;

    /// Plays a script and keeps what was written, one entry per connection.
    #[derive(Debug, Default)]
    struct Played {
        opens: VecDeque<io::Result<()>>,
        writes: VecDeque<io::Result<usize>>,
        closed_by_peer: bool,
        received: Vec<Vec<u8>>,
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
        fn is_open(&mut self) -> bool {
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

    proptest! {
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
                while let Ok(hep::framing::Frame::Complete(len)) = hep::framing::frame(batch.rest()) {
                    whole.extend_from_slice(&batch.rest()[..len]);
                    batch.advance();
                }
            }
            prop_assert_eq!(whole, packets.concat());
        }
    }
}
