//! Packets as datagrams: one each, sent or given up.

use std::io;
use std::time::{Duration, Instant};

use crate::sender::Limits;
use crate::sender::backlog::Batch;
use crate::sender::lane::{Change, Delivery, Step};

/// A connected datagram socket, or the lack of one. The socket's side of [`Datagrams`]; tests have their own.
pub trait Socket: Send + 'static {
    /// Resolves the name and makes a socket.
    fn open(&mut self) -> io::Result<()>;
    /// Sends one datagram.
    fn send(&mut self, packet: &[u8]) -> io::Result<()>;
}

/// Packets per step, so that counters and log keep up.
const PACKETS: usize = 256;
/// A collector that does not answer may have moved; its name is resolved again, but not for each packet.
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);

/// Sends batches through a [`Socket`].
#[derive(Debug)]
pub struct Datagrams<S> {
    socket: S,
    limits: Limits,
    state: State,
    retry: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { again_at: Option<Instant> },
    Up { since: Instant, unheard: bool },
}

impl<S: Socket> Datagrams<S> {
    pub fn new(socket: S, limits: &Limits) -> Self {
        let state = State::Down { again_at: None };
        Self { socket, limits: *limits, state, retry: limits.retry_least }
    }

    fn open(&mut self, now: Instant) -> Step {
        match self.socket.open() {
            Ok(()) => {
                self.retry = self.limits.retry_least;
                self.state = State::Up { since: now, unheard: false };
                Step { change: Some(Change::Connected), ..Step::default() }
            }
            Err(error) => {
                self.state = State::Down { again_at: Some(now + self.retry) };
                self.retry = (self.retry * 2).min(self.limits.retry_most);
                Step { change: Some(Change::Lost(error.kind())), ..Step::default() }
            }
        }
    }

    fn send(&mut self, since: Instant, batch: &mut Batch) -> Step {
        let mut step = Step::default();
        let mut unheard = false;
        for _ in 0..PACKETS {
            if batch.is_empty() {
                break;
            }
            let mut sent = self.socket.send(batch.first());
            if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                // The refusal is about an earlier datagram; this one was not even tried.
                step.refusals += 1;
                unheard = true;
                sent = self.socket.send(batch.first());
            }
            batch.advance();
            // Nothing tells whether it arrives.
            let gone = batch.forget();
            match sent {
                Ok(()) => step = step.and(Step::sent(gone)),
                Err(_) => {
                    step.failed += gone.packets;
                    unheard = true;
                }
            }
        }
        self.state = State::Up { since, unheard };
        step
    }
}

impl<S: Socket> Delivery for Datagrams<S> {
    fn step(&mut self, now: Instant, batch: &mut Batch) -> Step {
        match self.state {
            State::Down { again_at: Some(at) } if now < at => Step { pause: at - now, ..Step::default() },
            State::Down { .. } => self.open(now),
            State::Up { since, unheard: true } if now.saturating_duration_since(since) >= RESOLVE_AGAIN => {
                self.open(now)
            }
            State::Up { since, .. } => self.send(since, batch),
        }
    }

    fn rest(&mut self, _batch: &mut Batch) -> Step {
        self.state = State::Down { again_at: None };
        self.retry = self.limits.retry_least;
        Step::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::ErrorKind;

    use super::*;

    #[derive(Debug, Default)]
    struct Played {
        opens: VecDeque<io::Result<()>>,
        sends: VecDeque<io::Result<()>>,
        opened: usize,
        received: Vec<usize>,
    }

    impl Socket for Played {
        fn open(&mut self) -> io::Result<()> {
            self.opened += 1;
            self.opens.pop_front().unwrap_or(Ok(()))
        }
        fn send(&mut self, packet: &[u8]) -> io::Result<()> {
            self.sends.pop_front().unwrap_or(Ok(()))?;
            self.received.push(packet.len());
            Ok(())
        }
    }

    fn packet(len: u8) -> Vec<u8> {
        let mut packet = vec![b'H', b'E', b'P', b'3', 0, len];
        packet.resize(len.into(), len);
        packet
    }

    #[test]
    fn a_refusal_is_retried_once_and_other_failures_are_counted() {
        let refused = || Err(ErrorKind::ConnectionRefused.into());
        let sends = [refused(), Ok(()), refused(), refused(), Err(ErrorKind::PermissionDenied.into())].into();
        let mut datagrams = Datagrams::new(Played { sends, ..Played::default() }, &Limits::default());
        let mut batch = Batch::of(&[&packet(10), &packet(11), &packet(12), &packet(13)]);
        let now = Instant::now();
        assert_eq!(datagrams.step(now, &mut batch).change, Some(Change::Connected));
        let step = datagrams.step(now, &mut batch);
        assert_eq!((step.sent, step.sent_bytes, step.failed, step.refusals), (2, 23, 2, 2));
        assert_eq!(datagrams.socket.received, [10, 13]);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_name_that_does_not_resolve_keeps_the_packets_and_is_tried_again() {
        let opens = [Err(ErrorKind::NotFound.into())].into();
        let mut datagrams = Datagrams::new(Played { opens, ..Played::default() }, &Limits::default());
        let mut batch = Batch::of(&[&packet(10)]);
        let start = Instant::now();
        assert_eq!(datagrams.step(start, &mut batch).change, Some(Change::Lost(ErrorKind::NotFound)));
        let pause = datagrams.step(start, &mut batch).pause;
        assert_eq!(pause, Limits::default().retry_least);
        assert_eq!(datagrams.step(start + pause, &mut batch).change, Some(Change::Connected));
        assert_eq!(datagrams.step(start + pause, &mut batch).sent, 1);
    }

    #[test]
    fn a_collector_that_refuses_is_looked_up_again_after_a_while() {
        let sends = [Err(ErrorKind::ConnectionRefused.into())].into();
        let mut datagrams = Datagrams::new(Played { sends, ..Played::default() }, &Limits::default());
        let start = Instant::now();
        datagrams.step(start, &mut Batch::default());
        datagrams.step(start, &mut Batch::of(&[&packet(10)]));
        datagrams.step(start + Duration::from_secs(9), &mut Batch::of(&[]));
        assert_eq!(datagrams.socket.opened, 1);
    }
}
