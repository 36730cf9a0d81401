//! Counters, in messages. Each has one writer, and they add up:
//! `offered = filtered + dropped (every cause) + sent + in_queue`.

mod totals;

use std::sync::atomic::{AtomicU64, Ordering, fence};

pub(crate) use totals::{TOTALS, Totals};

/// What became of all messages since the start, or since the counters were last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether messages are taken at present.
    pub enabled: bool,
    /// Messages that the proxy showed to the agent.
    pub offered: u64,
    /// Of these, not wanted: capture was switched off, there was nothing in them, their method or their ends are not to be
    /// captured, the script dropped them, or the collector had been given them already.
    pub filtered: u64,
    /// Of these, lost; by cause.
    pub dropped: Dropped,
    /// Of these, acknowledged by a collector that acknowledges, or handed to the network for one that does not.
    pub sent: u64,
    /// Of those sent, acknowledged.
    pub acknowledged: u64,
    /// Of these, on their way: in a queue, waiting for a collector, or for its acknowledgement.
    pub in_queue: u64,
    /// Of those on their way, handed to the network and kept until they are acknowledged.
    pub waiting: u64,
    /// Times that a message was sent again, because the connection was lost before it was acknowledged.
    pub sent_again: u64,
    /// Octets of HEP sent.
    pub sent_bytes: u64,
    /// Messages of which only the first part was sent, because HEP has no room for more.
    pub truncated: u64,
    /// Messages of which something was masked before they left this process.
    pub masked: u64,
    /// Messages whose session could not be followed because the session table was full.
    pub table_full: u64,
    /// Messages that could not be followed for lack of a Call-ID or because their correlation id is too long.
    pub not_followed: u64,
    /// Messages that were sent by a connection whose own end the proxy did not tell: they show its listening socket's.
    pub port_unknown: u64,
    /// Times that a queue's content made no sense. Anything but 0 is a defect.
    pub queue_damages: u64,
    /// The sender's process; 0 when there is none, and messages wait in the queues.
    pub sender_pid: u64,
    /// Times that a sender began: 1 if none ever died.
    pub sender_starts: u64,
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
    /// The sender died while it had it. A few of these may have reached the collector.
    pub sender_lost: u64,
}

impl Dropped {
    /// All causes together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let causes = [
            self.backlog_full,
            self.panicked,
            self.refused,
            self.ring_full,
            self.send_failed,
            self.sender_lost,
        ];
        total(causes)
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
    /// Messages acknowledged, or handed to the network if it does not acknowledge.
    pub sent: u64,
    /// Of these, acknowledged.
    pub acknowledged: u64,
    /// Times that a message was sent again, because the connection was lost before it was acknowledged.
    pub sent_again: u64,
    /// Octets of these.
    pub sent_bytes: u64,
    /// Lost because the backlog was full.
    pub backlog_full: u64,
    /// Lost because the network did not take them.
    pub send_failed: u64,
    /// Lost because the sender died while it had them.
    pub sender_lost: u64,
    /// Messages waiting in the sender.
    pub backlog: u64,
    /// Of these, handed to the network and not acknowledged.
    pub waiting: u64,
    /// Times a connection (for UDP: a socket) was made.
    pub connects: u64,
    /// UDP only: times the collector's host said that nobody listens there. The datagram before was lost unseen.
    pub refusals: u64,
    /// The last thing that went wrong, and how many seconds ago; it stays when the way is up again.
    pub last_error: Option<(String, u64)>,
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

/// Words of a process's counters. An offer ends in exactly one of the outcomes; `Truncated`, `TableFull`, `NotFollowed`,
/// `Masked` and `PortUnknown` come on top of one.
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
    Masked,
    PortUnknown,
}

/// How many there are.
const COUNTS: usize = Count::PortUnknown as usize + 1;

/// The counters of one process; only that process writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessCounters(pub &'static [AtomicU64]);

impl ProcessCounters {
    /// One more. With one writer, load and store do what a locked addition would, without its price.
    pub fn add(&self, count: Count) {
        let word = &self.0[count as usize];
        word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn load(&self, count: usize) -> u64 {
        self.0.get(count).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Whether this process has met a message.
    pub fn are_used(&self) -> bool {
        (0..COUNTS).any(|count| self.load(count) != 0)
    }
}

/// Words of a collector's counters. Those before `Backlog` only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Tally {
    Sent,
    SentBytes,
    BacklogFull,
    SendFailed,
    Connects,
    Refusals,
    /// Messages that the sender had for this collector, whatever became of them.
    Given,
    SenderLost,
    Acknowledged,
    SentAgain,
    Backlog,
    Waiting,
    Link,
    Active,
}

/// How many of them only grow.
const TALLIES: usize = Tally::Backlog as usize;
/// Words of the last error: the second, a mark of its state and its length, its text.
const ERROR_AT: usize = Tally::Active as usize + 1;
const ERROR_META: usize = ERROR_AT + 1;
const ERROR_TEXT: usize = ERROR_META + 1;
/// In the mark: the text is being written. Its low octet is the length, what is above counts the errors.
const ERROR_BUSY: u64 = 1 << 8;
/// Octets of an error's text that are kept.
const ERROR_BYTES: usize = 144;

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

    /// Messages of which it is known what became of them.
    pub fn settled(&self) -> u64 {
        total([Tally::Sent, Tally::BacklogFull, Tally::SendFailed].map(|tally| self.load(tally)))
    }

    /// Messages that the sender has at this moment, if it is still there.
    pub fn in_sender(&self) -> u64 {
        let settled = self.settled();
        self.load(Tally::Given).saturating_sub(settled.saturating_add(self.load(Tally::SenderLost)))
    }

    /// Books what the sender had as lost with it.
    pub fn lose(&self) {
        self.add(Tally::SenderLost, self.in_sender());
        self.set(Tally::Backlog, 0);
        self.set(Tally::Waiting, 0);
        self.set_link(LinkState::Idle);
    }

    /// Keeps what went wrong at the second `now`. Only the collector's own thread may call it.
    pub fn set_error(&self, text: &str, now: u64) {
        let text = text.as_bytes();
        let text = text.get(..ERROR_BYTES).unwrap_or(text);
        let Some(words) = self.0.get(ERROR_TEXT..) else { return };
        let next = (self.0[ERROR_META].load(Ordering::Relaxed) >> 9).wrapping_add(1) << 9;
        self.0[ERROR_META].store(next | ERROR_BUSY, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, octets) in words.iter().zip(text.chunks(size_of::<u64>())) {
            let mut bytes = [0; size_of::<u64>()];
            bytes[..octets.len()].copy_from_slice(octets);
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        self.0[ERROR_AT].store(now, Ordering::Relaxed);
        self.0[ERROR_META].store(next | text.len() as u64, Ordering::Release);
    }

    fn error(&self, now: u64) -> Option<(String, u64)> {
        let words = self.0.get(ERROR_TEXT..)?;
        for _ in 0..256 {
            let meta = self.0[ERROR_META].load(Ordering::Acquire);
            if meta & ERROR_BUSY != 0 {
                std::hint::spin_loop();
                continue;
            }
            let len = usize::try_from(meta & 0xFF).unwrap_or_default().min(ERROR_BYTES);
            let at = self.0[ERROR_AT].load(Ordering::Relaxed);
            let mut text: Vec<u8> =
                words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).take(len).collect();
            fence(Ordering::Acquire);
            if self.0[ERROR_META].load(Ordering::Relaxed) != meta {
                continue;
            }
            // A text that was cut may have been cut inside a letter.
            while std::str::from_utf8(&text).is_err() {
                text.pop();
            }
            return (meta != 0)
                .then(|| (String::from_utf8(text).unwrap_or_default(), now.saturating_sub(at)));
        }
        None
    }
}

/// A sum that does not overflow, whatever stands in the shared memory.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> CollectorCounters {
        CollectorCounters((0..40).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak())
    }

    #[test]
    fn the_last_error_is_kept_with_its_age_and_cut_between_letters() {
        let counters = counters();
        assert_eq!(counters.error(5), None);
        counters.set_error("tcp:h:1: connection refused", 5);
        assert_eq!(counters.error(9), Some(("tcp:h:1: connection refused".to_owned(), 4)));
        counters.set_error(&"\u{e9}".repeat(100), 10);
        assert_eq!(counters.error(10), Some(("\u{e9}".repeat(ERROR_BYTES / 2), 0)));
        counters.set_error("", 11);
        assert_eq!(counters.error(11), Some((String::new(), 0)));
    }

    #[test]
    fn an_error_that_is_being_replaced_is_read_as_one_or_the_other() {
        let counters = counters();
        let texts = ["a".repeat(140), "b".repeat(70)];
        counters.set_error(&texts[0], 1);
        let writer = {
            let texts = texts.clone();
            std::thread::spawn(move || (0..20_000).for_each(|turn| counters.set_error(&texts[turn % 2], 1)))
        };
        while !writer.is_finished() {
            if let Some((text, _)) = counters.error(1) {
                assert!(texts.contains(&text), "{text}");
            }
        }
        writer.join().unwrap();
    }
}
