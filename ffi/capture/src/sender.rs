//! The sender: takes records out of all queues and gives each to its collector's lane.
//!
//! It runs in a process of its own, because it waits: for DNS, for connections, for sockets. One thread drains the
//! queues; each collector has a lane, a bounded backlog with a thread that sends. A collector that is down or slow
//! fills its own backlog and costs the others nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use crate::collector::{CollectorUri, Protocol, collectors};
use crate::layout::COLLECTORS;
use crate::queue::{Reader, Taken};
use crate::shared::{Shared, without_mark};
use crate::stats::{Stats, Tally};
use crate::tls::Tls;

mod backlog;
mod datagram;
mod ear;
mod failover;
mod lane;
mod stream;
mod tcp;
mod tls;
mod udp;

use backlog::Put;
use failover::Failover;
use lane::{Delivery, Lane};

/// Bounds of what the sender waits for and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets that wait for one collector; as many again may be on their way to it.
    pub backlog_bytes: usize,
    /// For a connection to be made, per address.
    pub connect: Duration,
    /// For one write to make progress before the lane looks around.
    pub write: Duration,
    /// A connection that takes nothing for so long is given up.
    pub stall: Duration,
    /// How long a collector may take to answer for the first time, before it is taken for one that never will.
    pub answer: Duration,
    /// Whether packets are numbered, and kept until a collector that acknowledges has done so.
    pub acknowledge: bool,
    /// The first pause before connecting again; it doubles up to `retry_most`.
    pub retry_least: Duration,
    /// The longest pause before connecting again.
    pub retry_most: Duration,
    /// How often a collector that is preferred to the present one is tried.
    pub prefer: Duration,
    /// The pause between two looks at queues that were not empty.
    pub poll_least: Duration,
    /// The longest pause between two looks when nothing comes.
    pub poll_most: Duration,
    /// Between two lines about messages that were dropped.
    pub report: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            backlog_bytes: 8 << 20,
            connect: Duration::from_secs(3),
            write: Duration::from_secs(1),
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(1),
            acknowledge: true,
            retry_least: Duration::from_millis(100),
            retry_most: Duration::from_secs(3),
            prefer: Duration::from_secs(10),
            poll_least: Duration::from_micros(500),
            poll_most: Duration::from_millis(20),
            report: Duration::from_secs(10),
        }
    }
}

/// Something an operator should read; the host writes it to its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How bad.
    pub level: Level,
    /// One line, readable alone.
    pub text: String,
}

/// How bad an [`Event`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Things are as they should be again.
    Notice,
    /// Messages are or may soon be lost.
    Warning,
}

/// How long a sender that is to empty the queues looks at empty ones.
const LAST_MESSAGES: Duration = Duration::from_millis(300);

/// What a sender is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Take messages out of the queues and send them.
    Work,
    /// The host has gone: take what is left in the queues, send it, and end.
    EmptyQueues,
    /// Another sender will come: leave the queues alone, send what was taken, and end.
    LeaveQueues,
}

/// How a [`Sender`] that runs in another thread is told what to do; copies refer to the same.
#[derive(Clone, Debug, Default)]
pub struct Orders(Arc<AtomicU8>);

impl Orders {
    /// What was ordered last; at first to work.
    #[must_use]
    pub fn get(&self) -> Order {
        match self.0.load(Ordering::Relaxed) {
            1 => Order::EmptyQueues,
            2 => Order::LeaveQueues,
            _ => Order::Work,
        }
    }

    /// Orders something else.
    pub fn set(&self, order: Order) {
        self.0.store(order as u8, Ordering::Relaxed);
    }
}

/// Where lanes put their events. Bounded; what does not fit is lost, because log lines matter less than messages.
#[derive(Clone, Debug)]
pub(crate) struct Events(SyncSender<Event>);

impl Events {
    pub fn say(&self, level: Level, text: String) {
        match self.0.try_send(Event { level, text }) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Drains all queues of a host. There must be only one.
#[derive(Debug)]
pub struct Sender {
    shared: Shared,
    limits: Limits,
    tls: Tls,
    events: Events,
    readers: Vec<Reader>,
    lanes: [Option<Lane>; COLLECTORS],
    record: Vec<u8>,
    told: Stats,
    told_at: Instant,
}

impl Sender {
    /// A sender for these queues; lines for the log go to `events`.
    #[must_use]
    pub fn new(shared: Shared, limits: Limits, events: SyncSender<Event>) -> Self {
        Self {
            shared,
            limits,
            tls: Tls::default(),
            events: Events(events),
            readers: shared.readers(),
            lanes: [const { None }; COLLECTORS],
            record: Vec::with_capacity(crate::queue::MAX_RECORD_BYTES),
            told: shared.stats_since_start(),
            told_at: Instant::now(),
        }
    }

    /// With what collectors over TLS need; without it they are not reached.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// Drains until it is ordered to end, and then until what has to be sent is sent. It may panic, which the caller
    /// must fence.
    pub fn run(&mut self, orders: &Orders) {
        let mut pause = self.limits.poll_least;
        let mut ending: Option<Instant> = None;
        loop {
            let order = orders.get();
            let moved = if order == Order::LeaveQueues { 0 } else { self.turn() };
            let now = Instant::now();
            self.report(now);
            if order != Order::Work {
                let since = *ending.get_or_insert(now);
                // Processes of the host that are still ending may have a last message.
                let waited = order == Order::LeaveQueues || now.duration_since(since) >= LAST_MESSAGES;
                if moved == 0 && waited && self.shared.in_sender() == 0 {
                    return;
                }
            }
            pause = next_pause(pause, moved, &self.limits);
            std::thread::sleep(pause);
        }
    }

    /// Moves what is in the queues now to the lanes; answers how many records that were.
    pub fn turn(&mut self) -> usize {
        self.shared.note_sender();
        for slot in 0..COLLECTORS {
            self.tend(slot);
        }
        let mut moved = 0;
        for index in 0..self.readers.len() {
            // A queue that fills as fast as it is drained must not starve the others.
            for _ in 0..4096 {
                let Some(reader) = self.readers.get_mut(index) else { break };
                match reader.take(&mut self.record) {
                    Taken::Empty => break,
                    Taken::Damaged => self.shared.count_damage(),
                    Taken::Record(slot) => {
                        moved += 1;
                        self.forward(usize::from(slot));
                    }
                }
            }
        }
        self.lanes.iter().flatten().for_each(Lane::wake);
        moved
    }

    /// Starts the lane of a collector that is in use and has none; that is also what brings back one that panicked.
    fn tend(&mut self, slot: usize) {
        let Some(place) = self.lanes.get(slot) else { return };
        if place.as_ref().is_some_and(Lane::is_alive) {
            return;
        }
        let Some(text) = self.shared.collector_text(slot) else { return };
        if let Some(lost) = self.lanes.get_mut(slot).and_then(Option::take) {
            let counters = self.shared.collector_counters(slot);
            counters.add(Tally::SendFailed, lost.abandoned());
            counters.set(Tally::Backlog, 0);
            counters.set(Tally::Waiting, 0);
        }
        let Ok(collectors) = collectors(without_mark(&text).0) else { return };
        let members: Vec<Box<dyn Delivery>> = collectors.iter().map(|uri| self.delivery(uri)).collect();
        let failover = Failover::new(members, &self.limits);
        let lane = Lane::start(failover, &collectors, self.shared, slot, &self.events, &self.limits);
        if let Some(place) = self.lanes.get_mut(slot) {
            *place = lane;
        }
    }

    fn delivery(&self, uri: &CollectorUri<'_>) -> Box<dyn Delivery> {
        let limits = &self.limits;
        match uri.protocol {
            Protocol::Tcp => Box::new(stream::Stream::new(tcp::Tcp::new(uri, limits), limits)),
            Protocol::Tls => Box::new(stream::Stream::new(tls::Tls::new(uri, &self.tls, limits), limits)),
            Protocol::Udp => Box::new(datagram::Datagrams::new(udp::Udp::new(uri, limits), limits)),
        }
    }

    /// Gives the record to its collector's lane, and to the mirror's.
    fn forward(&mut self, slot: usize) {
        self.put(slot);
        if let Some(mirror) = self.shared.mirror() {
            self.put(mirror);
        }
    }

    fn put(&mut self, slot: usize) {
        if self.lanes.get(slot).is_none_or(Option::is_none) {
            self.tend(slot);
        }
        let counters = if slot < COLLECTORS { self.shared.collector_counters(slot) } else { return };
        counters.add(Tally::Given, 1);
        match self.lanes.get(slot).and_then(Option::as_ref).map(|lane| lane.put(&self.record)) {
            Some(Put::Taken) => {}
            Some(Put::Full) => counters.add(Tally::BacklogFull, 1),
            Some(Put::NoPacket) | None => counters.add(Tally::SendFailed, 1),
        }
    }

    /// Says now and then how many messages were lost since it was last said.
    fn report(&mut self, now: Instant) {
        if now.duration_since(self.told_at) < self.limits.report {
            return;
        }
        self.told_at = now;
        let stats = self.shared.stats_since_start();
        let lost = |of: fn(&Stats) -> u64| of(&stats).saturating_sub(of(&self.told));
        let parts: Vec<String> = [
            ("queue full", lost(|stats| stats.dropped.ring_full)),
            ("backlog full", lost(|stats| stats.dropped.backlog_full)),
            ("send failed", lost(|stats| stats.dropped.send_failed)),
            ("sender lost", lost(|stats| stats.dropped.sender_lost)),
            ("refused", lost(|stats| stats.dropped.refused)),
            ("panicked", lost(|stats| stats.dropped.panicked)),
        ]
        .into_iter()
        .filter(|(_, lost)| *lost > 0)
        .map(|(cause, lost)| format!("{cause} {lost}"))
        .collect();
        if !parts.is_empty() {
            let seconds = self.limits.report.as_secs();
            self.events.say(
                Level::Warning,
                format!("messages dropped in the last {seconds} s: {}", parts.join(", ")),
            );
        }
        self.told = stats;
    }
}

/// Short while there is work, then longer and longer.
fn next_pause(pause: Duration, moved: usize, limits: &Limits) -> Duration {
    if moved > 0 { limits.poll_least } else { (pause * 2).min(limits.poll_most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_when_idle_and_falls_back_at_once() {
        let limits = Limits::default();
        let mut pause = limits.poll_least;
        for _ in 0..10 {
            pause = next_pause(pause, 0, &limits);
        }
        assert_eq!(pause, limits.poll_most);
        assert_eq!(next_pause(pause, 1, &limits), limits.poll_least);
    }
}
