//! Packets over a connection: whole ones only, in order, beginning anew at a packet after each reconnect.

use std::io;
use std::time::{Duration, Instant};

use crate::sender::Limits;
use crate::sender::backlog::Batch;
use crate::sender::ear::{Ear, Heard};
use crate::sender::lane::{Change, Delivery, Step};

/// A connection to a collector, or the lack of one. The socket's side of [`Stream`]; tests have their own.
pub trait Connection: Send + 'static {
    /// Resolves the name and connects; waits no longer than its limit.
    fn open(&mut self) -> io::Result<()>;
    /// Writes as much as goes, waiting no longer than its limit. `WouldBlock` or `TimedOut` if nothing went.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Gives what the other side has said to `heard`, without waiting for more, and bounded; whether it has not closed.
    fn hear(&mut self, heard: &mut dyn FnMut(&[u8])) -> bool;
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
    ear: Ear,
    /// Whether this collector acknowledges: it has done so, and has not been found to have left it since.
    acknowledges: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { again_at: Option<Instant> },
    Up(Up),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Up {
    /// So many octets of the first packet have gone.
    gone: usize,
    /// Since when no octet has.
    stalled_since: Option<Instant>,
    answers: Answers,
    /// Since when packets wait and no more of them were acknowledged.
    unanswered_since: Option<Instant>,
}

/// What is known of the answers on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// None yet.
    Awaited,
    Come,
    /// None in time; what goes out is done with, as it is with a collector that knows of no answers.
    None,
}

impl<C: Connection> Stream<C> {
    pub fn new(connection: C, limits: &Limits) -> Self {
        let state = State::Down { again_at: None };
        let (retry, ear) = (limits.retry_least, Ear::new());
        Self { connection, limits: *limits, state, retry, ear, acknowledges: false }
    }

    fn connect(&mut self, now: Instant, batch: &mut Batch) -> Step {
        match self.connection.open() {
            Ok(()) => {
                self.ear.forget();
                self.state = State::Up(Up {
                    gone: 0,
                    stalled_since: None,
                    answers: Answers::Awaited,
                    unanswered_since: None,
                });
                Step { change: Some(Change::Connected), ..Step::default() }
            }
            Err(error) => self.lose(now, batch, error.kind()),
        }
    }

    /// What has gone of an unfinished packet is lost with the connection; it is sent again from its start.
    fn lose(&mut self, now: Instant, batch: &mut Batch, why: io::ErrorKind) -> Step {
        self.connection.close();
        self.state = State::Down { again_at: Some(now + self.retry) };
        self.retry = (self.retry * 2).min(self.limits.retry_most);
        Step { change: Some(Change::Lost(why)), ..self.settle(batch) }
    }

    /// Decides about what has gone out on a connection that is no more.
    fn settle(&mut self, batch: &mut Batch) -> Step {
        if self.acknowledges {
            Step { again: batch.again(), ..Step::default() }
        } else {
            Step::sent(batch.forget())
        }
    }

    /// Listens, and then writes.
    fn go_on(&mut self, now: Instant, batch: &mut Batch, mut up: Up) -> Step {
        let (ear, stream) = (&mut self.ear, batch.stream());
        // A write to a connection that the other side has closed succeeds once, and loses what it wrote.
        let is_open = self.connection.hear(&mut |octets| {
            if let Some(stream) = stream {
                ear.hear(octets, stream);
            }
        });
        let mut step = Step::default();
        match self.ear.take() {
            Heard::Nothing => {}
            Heard::Number(number) => {
                let Some(amount) = batch.acknowledge(number) else { return self.distrust(now, batch) };
                up.answers = Answers::Come;
                self.acknowledges = true;
                step = Step { acknowledged: amount.packets, ..Step::sent(amount) };
                if amount.packets > 0 {
                    up.unanswered_since = None;
                }
            }
            Heard::Rubbish if up.answers == Answers::Come => return self.distrust(now, batch),
            // It speaks another language: what it says is thrown away from now on.
            Heard::Rubbish => {
                up.answers = Answers::None;
                self.acknowledges = false;
            }
        }
        if !is_open {
            return step.and(self.lose(now, batch, io::ErrorKind::ConnectionReset));
        }
        self.state = State::Up(up);
        step = step.and(self.write(now, batch, up));
        if let State::Up(up) = self.state {
            step = step.and(self.wait(now, batch, up));
        }
        step
    }

    /// Gives up a connection whose answers were right until now. What waits is sent again; whether answers are to be
    /// expected is found out anew.
    fn distrust(&mut self, now: Instant, batch: &mut Batch) -> Step {
        self.acknowledges = true;
        let step = self.lose(now, batch, io::ErrorKind::InvalidData);
        self.acknowledges = false;
        step
    }

    fn write(&mut self, now: Instant, batch: &mut Batch, up: Up) -> Step {
        let bytes = batch.outgoing(up.gone, WRITE_BYTES);
        if bytes.is_empty() {
            return Step::default();
        }
        match self.connection.write(bytes) {
            Ok(0) => self.lose(now, batch, io::ErrorKind::WriteZero),
            Ok(written) => {
                self.retry = self.limits.retry_least;
                let mut gone = up.gone + written;
                while !batch.is_empty() && gone >= batch.first_len() {
                    gone -= batch.first_len();
                    batch.advance();
                }
                self.state = State::Up(Up { gone, stalled_since: None, ..up });
                Step::default()
            }
            Err(error) if waits(error.kind()) => {
                let since = up.stalled_since.unwrap_or(now);
                if now.saturating_duration_since(since) >= self.limits.stall {
                    return self.lose(now, batch, io::ErrorKind::TimedOut);
                }
                self.state = State::Up(Up { stalled_since: Some(since), ..up });
                Step::default()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Step::default(),
            Err(error) => self.lose(now, batch, error.kind()),
        }
    }

    /// Decides how long what has gone out is kept.
    fn wait(&mut self, now: Instant, batch: &mut Batch, mut up: Up) -> Step {
        if batch.stream().is_none() || up.answers == Answers::None {
            return Step::sent(batch.forget());
        }
        if batch.waiting() == 0 {
            self.state = State::Up(Up { unanswered_since: None, ..up });
            return Step::default();
        }
        let since = *up.unanswered_since.get_or_insert(now);
        self.state = State::Up(up);
        let waited = now.saturating_duration_since(since);
        if self.acknowledges {
            if waited < self.limits.stall {
                return Step::default();
            }
            let step = self.lose(now, batch, io::ErrorKind::TimedOut);
            // Not one answer: it may be another program by now.
            self.acknowledges = up.answers == Answers::Come;
            return step;
        }
        if waited < self.limits.answer && !batch.is_crowded() {
            return Step::default();
        }
        self.state = State::Up(Up { answers: Answers::None, ..up });
        Step::sent(batch.forget())
    }
}

impl<C: Connection> Delivery for Stream<C> {
    fn step(&mut self, now: Instant, batch: &mut Batch) -> Step {
        match self.state {
            State::Down { again_at: Some(at) } if now < at => Step { pause: at - now, ..Step::default() },
            State::Down { .. } => self.connect(now, batch),
            State::Up(up) => self.go_on(now, batch, up),
        }
    }

    fn rest(&mut self, batch: &mut Batch) -> Step {
        let was_up = matches!(self.state, State::Up(_));
        self.connection.close();
        self.state = State::Down { again_at: None };
        self.retry = self.limits.retry_least;
        if was_up { self.settle(batch) } else { Step::default() }
    }

    fn reason(&self) -> Option<&str> {
        self.connection.reason()
    }
}

fn waits(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests;
