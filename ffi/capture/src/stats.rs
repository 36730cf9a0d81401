//! Counters, in messages. Each has one writer, and they add up:
//! `offered = filtered + dropped (every cause) + sent + in_queue`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of all messages so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether messages are taken at present.
    pub enabled: bool,
    /// Messages that the proxy showed to the agent.
    pub offered: u64,
    /// Of these, not wanted: capture was switched off, there was nothing in them, their method or their ends are not to be captured,
    /// or the collector had been given them already.
    pub filtered: u64,
    /// Of these, lost; by cause.
    pub dropped: Dropped,
    /// Of these, handed to the network.
    pub sent: u64,
    /// Of these, on their way: in a queue, or waiting for a collector.
    pub in_queue: u64,
    /// Octets of HEP sent.
    pub sent_bytes: u64,
    /// Messages of which only the first part was sent, because HEP has no room for more.
    pub truncated: u64,
    /// Messages whose session could not be followed because the session table was full.
    pub table_full: u64,
    /// Messages that could not be followed for lack of a Call-ID or because their correlation id is too long.
    pub not_followed: u64,
    /// Times that a queue's content made no sense. Anything but 0 is a defect.
    pub queue_damages: u64,
    /// By collector, in the order in which they were first used.
    pub collectors: Vec<CollectorStats>,
}

/// Messages lost, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The collector takes less than is captured, and its backlog is full.
    pub backlog_full: u64,
    /// Our own code panicked on it. Anything but 0 is a defect.
    pub panicked: u64,
    /// The call could not be followed: no or no valid collector, too many collectors, an unknown mode.
    pub refused: u64,
    /// The process captured faster than the sender drained its queue.
    pub ring_full: u64,
    /// The network did not take it.
    pub send_failed: u64,
}

impl Dropped {
    /// All causes together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.backlog_full + self.panicked + self.refused + self.ring_full + self.send_failed
    }
}

/// What became of the messages for one collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectorStats {
    /// As the script or the parameter names it; several separated by commas.
    pub uri: String,
    /// Which of several gets the messages, 0 for the first; the one that was ready last.
    pub active: u64,
    /// Whether it gets copies: of what others get, so that nothing of it is in the sums.
    pub mirror: bool,
    /// Whether packets can be sent at present.
    pub link: LinkState,
    /// Messages handed to the network.
    pub sent: u64,
    /// Octets of these.
    pub sent_bytes: u64,
    /// Lost because the backlog was full.
    pub backlog_full: u64,
    /// Lost because the network did not take them.
    pub send_failed: u64,
    /// Messages waiting in the sender.
    pub backlog: u64,
    /// Times a connection (for UDP: a socket) was made.
    pub connects: u64,
    /// UDP only: times the collector's host said that nobody listens there. The datagram before was lost unseen.
    pub refusals: u64,
}

/// State of the way to a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Not tried yet.
    #[default]
    Idle,
    /// Ready to send.
    Up,
    /// Failed; it is tried again.
    Down,
}

impl LinkState {
    /// The word for it in statistics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Words of a process's counters. An offer ends in exactly one of the outcomes; `Truncated`, `TableFull` and
/// `NotFollowed` come on top of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Count {
    Filtered,
    Queued,
    Truncated,
    Panicked,
    Refused,
    RingFull,
    TableFull,
    NotFollowed,
}

/// The counters of one process; only that process writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessCounters(pub &'static [AtomicU64]);

impl ProcessCounters {
    /// One more. With one writer, load and store do what a locked addition would, without its price.
    pub fn add(&self, count: Count) {
        let word = &self.0[count as usize];
        word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn load(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

/// Words of a collector's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Tally {
    Sent,
    SentBytes,
    BacklogFull,
    SendFailed,
    Backlog,
    Connects,
    Refusals,
    Link,
    Active,
}

/// The counters of one collector; only the sender's process writes them, from two threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectorCounters(pub &'static [AtomicU64]);

impl CollectorCounters {
    pub fn add(&self, tally: Tally, by: u64) {
        self.0[tally as usize].fetch_add(by, Ordering::Relaxed);
    }

    pub fn set(&self, tally: Tally, to: u64) {
        self.0[tally as usize].store(to, Ordering::Relaxed);
    }

    pub fn set_link(&self, state: LinkState) {
        self.set(Tally::Link, state as u64);
    }

    fn load(&self, tally: Tally) -> u64 {
        self.0[tally as usize].load(Ordering::Relaxed)
    }

    pub fn snapshot(&self, uri: String, mirror: bool) -> CollectorStats {
        let link = match self.load(Tally::Link) {
            1 => LinkState::Up,
            2 => LinkState::Down,
            _ => LinkState::Idle,
        };
        CollectorStats {
            uri,
            active: self.load(Tally::Active),
            mirror,
            link,
            sent: self.load(Tally::Sent),
            sent_bytes: self.load(Tally::SentBytes),
            backlog_full: self.load(Tally::BacklogFull),
            send_failed: self.load(Tally::SendFailed),
            backlog: self.load(Tally::Backlog),
            connects: self.load(Tally::Connects),
            refusals: self.load(Tally::Refusals),
        }
    }
}

/// Adds up what collectors and processes counted.
pub(crate) fn sum(
    enabled: bool,
    collectors: Vec<CollectorStats>,
    processes: impl Iterator<Item = ProcessCounters>,
    strays: u64,
    damages: u64,
) -> Stats {
    let mut stats = Stats { enabled, queue_damages: damages, ..Stats::default() };
    for collector in collectors.iter().filter(|collector| !collector.mirror) {
        stats.sent += collector.sent;
        stats.sent_bytes += collector.sent_bytes;
        stats.dropped.backlog_full += collector.backlog_full;
        stats.dropped.send_failed += collector.send_failed;
    }
    let mut queued = 0;
    for process in processes {
        queued += process.load(Count::Queued);
        stats.filtered += process.load(Count::Filtered);
        stats.truncated += process.load(Count::Truncated);
        stats.table_full += process.load(Count::TableFull);
        stats.not_followed += process.load(Count::NotFollowed);
        stats.dropped.panicked += process.load(Count::Panicked);
        stats.dropped.refused += process.load(Count::Refused);
        stats.dropped.ring_full += process.load(Count::RingFull);
    }
    // A process without a queue refuses all it sees.
    stats.dropped.refused += strays;
    stats.offered =
        queued + stats.filtered + stats.dropped.panicked + stats.dropped.refused + stats.dropped.ring_full;
    stats.in_queue =
        queued.saturating_sub(stats.sent + stats.dropped.backlog_full + stats.dropped.send_failed);
    stats.collectors = collectors;
    stats
}
