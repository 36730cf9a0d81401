//! One collector's backlog and the thread that empties it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustls::crypto::ring;

use crate::collector::CollectorUri;
use crate::sender::backlog::{Amount, Backlog, Batch, Put};
use crate::sender::{Events, Level, Limits};
use crate::shared::Shared;
use crate::stats::{CollectorCounters, LinkState, Tally};

/// How long a lane with nothing to do sleeps.
const IDLE: Duration = Duration::from_secs(1);
/// How long one sleeps between two looks for answers.
const ANSWER: Duration = Duration::from_millis(5);

/// How packets of a batch reach a collector: a state machine that is told the time and waits only where it says so.
pub trait Delivery: Send + 'static {
    /// Does the next thing: connect, send, or find out that it must wait.
    fn step(&mut self, now: Instant, batch: &mut Batch) -> Step;
    /// Closes what is open: another takes over. The next step begins anew. What has gone out and is kept is done with, or
    /// goes out again.
    fn rest(&mut self, batch: &mut Batch) -> Step;
    /// More than the kind of error tells about why the last attempt failed.
    fn reason(&self) -> Option<&str> {
        None
    }
    /// Which of several collectors the last step was about.
    fn active(&self) -> usize {
        0
    }
}

impl<D: Delivery + ?Sized> Delivery for Box<D> {
    fn step(&mut self, now: Instant, batch: &mut Batch) -> Step {
        (**self).step(now, batch)
    }
    fn rest(&mut self, batch: &mut Batch) -> Step {
        (**self).rest(batch)
    }
    fn reason(&self) -> Option<&str> {
        (**self).reason()
    }
    fn active(&self) -> usize {
        (**self).active()
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Packets that are done with, and their octets: acknowledged, or taken by the network where nobody acknowledges.
    pub sent: u64,
    pub sent_bytes: u64,
    /// Of these, packets that were acknowledged.
    pub acknowledged: u64,
    /// Packets that had gone out and go out again.
    pub again: u64,
    /// Packets given up.
    pub failed: u64,
    /// Times that the other side said that nobody listens.
    pub refusals: u64,
    /// How long to wait before the next step.
    pub pause: Duration,
    /// What changed.
    pub change: Option<Change>,
}

impl Step {
    /// So much is done with.
    pub fn sent(amount: Amount) -> Self {
        Self { sent: amount.packets, sent_bytes: amount.bytes, ..Self::default() }
    }

    /// Both together; pause and change are the later one's, if it has any.
    pub fn and(self, later: Self) -> Self {
        Self {
            sent: self.sent + later.sent,
            sent_bytes: self.sent_bytes + later.sent_bytes,
            acknowledged: self.acknowledged + later.acknowledged,
            again: self.again + later.again,
            failed: self.failed + later.failed,
            refusals: self.refusals + later.refusals,
            pause: if later.pause.is_zero() { self.pause } else { later.pause },
            change: later.change.or(self.change),
        }
    }
}

/// A change of the way to the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ready to send.
    Connected,
    /// Could not connect, or lost the connection.
    Lost(std::io::ErrorKind),
}

/// The draining thread's end.
#[derive(Debug)]
pub struct Lane {
    backlog: Arc<Backlog>,
    /// Messages that the thread holds.
    held: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Lane {
    /// Starts a lane; `None` if the system has no thread to give.
    pub fn start(
        delivery: impl Delivery,
        collectors: &[CollectorUri<'_>],
        shared: Shared,
        slot: usize,
        events: &Events,
        limits: &Limits,
    ) -> Option<Self> {
        let stream = if limits.acknowledge { random() } else { None };
        let backlog = Arc::new(Backlog::new(limits.backlog_bytes, stream.is_some()));
        let held = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            delivery,
            backlog: Arc::clone(&backlog),
            held: Arc::clone(&held),
            batch: Batch::new(stream),
            counters: shared.collector_counters(slot),
            shared,
            events: events.clone(),
            names: collectors.iter().map(ToString::to_string).collect(),
            ready: None,
            link: LinkState::Idle,
        };
        let thread = Builder::new().name("siplens lane".to_owned()).spawn(|| worker.run()).ok()?;
        Some(Self { backlog, held, thread })
    }

    pub fn put(&self, packet: &[u8]) -> Put {
        self.backlog.put(packet)
    }

    pub fn wake(&self) {
        self.backlog.wake();
    }

    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Messages that are lost with a lane whose thread has ended.
    pub fn abandoned(&self) -> u64 {
        self.backlog.len() + self.held.load(Ordering::Relaxed)
    }
}

/// The name of a stream: no other sender has it, nor this one after a restart. `None` if the system has no random numbers.
fn random() -> Option<u64> {
    let mut octets = [0; 8];
    ring::default_provider().secure_random.fill(&mut octets).ok()?;
    Some(u64::from_ne_bytes(octets))
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.backlog.close();
    }
}

struct Worker<D> {
    delivery: D,
    backlog: Arc<Backlog>,
    held: Arc<AtomicU64>,
    batch: Batch,
    counters: CollectorCounters,
    shared: Shared,
    events: Events,
    /// The collectors, in the order in which they are preferred.
    names: Vec<String>,
    /// The one that was ready last.
    ready: Option<usize>,
    link: LinkState,
}

impl<D: Delivery> Worker<D> {
    fn run(mut self) {
        loop {
            let wait = if self.batch.waiting() == 0 { IDLE } else { ANSWER };
            // What comes meanwhile is taken all at once: while nothing is kept, that is an exchange of memory.
            if self.batch.is_empty() && !self.backlog.fill(&mut self.batch, wait) {
                return;
            }
            let step = self.delivery.step(Instant::now(), &mut self.batch);
            self.tell(step);
            if !step.pause.is_zero() {
                std::thread::sleep(step.pause);
            }
        }
    }

    /// Counts and reports what a step came to.
    fn tell(&mut self, step: Step) {
        let held = self.batch.len() + self.batch.waiting();
        self.held.store(held, Ordering::Relaxed);
        self.counters.add(Tally::Sent, step.sent);
        self.counters.add(Tally::SentBytes, step.sent_bytes);
        self.counters.add(Tally::Acknowledged, step.acknowledged);
        self.counters.add(Tally::SentAgain, step.again);
        self.counters.add(Tally::SendFailed, step.failed);
        self.counters.add(Tally::Refusals, step.refusals);
        self.counters.set(Tally::Backlog, held + self.backlog.len());
        self.counters.set(Tally::Waiting, self.batch.waiting());
        let active = self.delivery.active();
        let name = self.names.get(active).map_or("", String::as_str);
        match step.change {
            None => {}
            Some(Change::Connected) => {
                self.counters.add(Tally::Connects, 1);
                if self.link != LinkState::Up || self.ready != Some(active) {
                    self.events.say(Level::Notice, format!("collector {name}: ready"));
                }
                self.link = LinkState::Up;
                self.ready = Some(active);
                self.counters.set(Tally::Active, active as u64);
            }
            Some(Change::Lost(why)) => {
                let more = self.delivery.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
                let error = format!("{name}: {why}{more}");
                self.counters.set_error(&error, self.shared.seconds());
                // Said when it begins, not at each further attempt.
                if self.link != LinkState::Down {
                    self.events.say(Level::Warning, format!("collector {error}; trying again"));
                }
                self.link = LinkState::Down;
            }
        }
        self.counters.set_link(self.link);
    }
}
