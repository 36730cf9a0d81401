//! What was counted, and what is going on.

use std::sync::atomic::Ordering;

use super::{Shared, without_mark};
use crate::baseline::{Baseline, Busy};
use crate::layout::{COLLECTORS, LINE};
use crate::queue::Reader;
use crate::stats::{self, ProcessCounters, Stats, Totals};

/// Words of the head.
const STRAY_OFFERS: usize = LINE;
const DAMAGES: usize = LINE + 1;
const SENDER_SEEN: usize = 2 * LINE;
const SENDER_PID: usize = 2 * LINE + 1;
const SENDER_STARTS: usize = 2 * LINE + 2;
const SENDER_LOST: usize = 2 * LINE + 3;

/// What is going on in the shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether messages are taken.
    pub enabled: bool,
    /// Transactions and dialogs that are followed.
    pub sessions: usize,
    /// How many can be followed.
    pub session_room: usize,
    /// Processes that have a queue.
    pub processes: usize,
    /// Of these, how many have met a message.
    pub capturing: usize,
    /// Seconds since the sender's last sign of life; `None` if there was none yet.
    pub sender_silence: Option<u64>,
    /// Trace filters that are active.
    pub filters: usize,
    /// How many can be active at once.
    pub filter_room: usize,
    /// Seconds since the start.
    pub uptime: u64,
    /// Seconds since the counters began.
    pub counting: u64,
}

impl Status {
    /// Seconds of silence after which the sender is taken for dead or stuck. It gives a sign at least every 20 ms.
    pub const SILENCE: u64 = 3;

    /// Whether the sender is at work.
    #[must_use]
    pub fn sender_alive(&self) -> bool {
        self.sender_silence.is_some_and(|silence| silence < Self::SILENCE)
    }
}

impl Shared {
    /// Counts a message offered by a process that has no queue.
    pub fn count_stray_offer(&self) {
        self.head(STRAY_OFFERS).fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the process with this id is the sender from now on.
    pub fn sender_began(&self, pid: u32) {
        self.head(SENDER_PID).store(pid.into(), Ordering::Relaxed);
        self.head(SENDER_STARTS).fetch_add(1, Ordering::Relaxed);
        self.note_sender();
    }

    /// Notes that the sender's process has ended, and books what it had as lost; answers how many messages that were.
    ///
    /// Must not be called while it can still send.
    pub fn sender_ended(&self) -> u64 {
        self.head(SENDER_PID).store(0, Ordering::Relaxed);
        let mirror = self.mirror();
        let settled = (0..COLLECTORS).map(|slot| {
            let counters = self.collector_counters(slot);
            counters.lose();
            if mirror == Some(slot) { 0 } else { counters.settled() }
        });
        let settled = stats::total(settled);
        let taken = stats::total(self.readers().iter().map(Reader::taken));
        let lost = taken.saturating_sub(settled);
        lost.saturating_sub(self.head(SENDER_LOST).swap(lost, Ordering::Relaxed))
    }

    /// Seconds since the sender was last seen at work; none if it never was.
    #[must_use]
    pub fn sender_silence(&self) -> Option<u64> {
        let seen = self.head(SENDER_SEEN).load(Ordering::Relaxed);
        (seen != 0).then(|| self.seconds().saturating_sub(seen))
    }

    /// Messages that the sender has taken out of the queues and not yet got rid of, copies included.
    pub(crate) fn in_sender(&self) -> u64 {
        stats::total((0..COLLECTORS).map(|slot| self.collector_counters(slot).in_sender()))
    }

    pub(crate) fn count_damage(&self) {
        self.head(DAMAGES).fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since the start or the last [`reset`](Self::reset), summed over all processes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        // A baseline is never newer than what it is subtracted from.
        let then = self.baseline().totals();
        self.stats_between(&then, &self.totals())
    }

    /// What was counted since the start, whatever was reset.
    pub(crate) fn stats_since_start(&self) -> Stats {
        let totals = self.totals();
        self.stats_between(&totals.since(&totals), &totals)
    }

    /// Lets all counters begin anew; answers what they were. No message is missing in the sum of both: what is on its
    /// way at this moment counts as offered afterwards, and what was answered here holds it as `in_queue`.
    ///
    /// # Errors
    /// [`Busy`] while another process does the same.
    pub fn reset(&self) -> Result<Stats, Busy> {
        let (totals, then) = self.baseline().reset(self.seconds(), || self.totals())?;
        Ok(self.stats_between(&then, &totals))
    }

    fn stats_between(&self, then: &Totals, totals: &Totals) -> Stats {
        let (since, mirror, now) = (totals.since(then), self.mirror(), self.seconds());
        let collectors: Vec<_> = (0..COLLECTORS)
            .filter_map(|slot| {
                let text = self.collector_text(slot)?;
                let (text, is_mirror) = without_mark(&text);
                let uri = String::from_utf8_lossy(text).into_owned();
                Some(since.collector(slot, self.collector_counters(slot), uri, is_mirror, now))
            })
            .collect();
        let waiting = collectors.iter().filter(|collector| !collector.mirror);
        Stats {
            enabled: self.is_enabled(),
            sender_pid: self.head(SENDER_PID).load(Ordering::Relaxed),
            sender_starts: self.head(SENDER_STARTS).load(Ordering::Relaxed),
            waiting: stats::total(waiting.map(|collector| collector.waiting)),
            collectors,
            ..since.stats(totals.in_queue(mirror), mirror)
        }
    }

    fn totals(&self) -> Totals {
        let collectors = (0..COLLECTORS).map(|slot| self.collector_counters(slot));
        let processes = (0..self.layout.processes).filter_map(|process| self.process_counters(process));
        let singles = [STRAY_OFFERS, DAMAGES, SENDER_LOST].map(|word| self.head(word));
        Totals::read(collectors, processes, singles)
    }

    fn baseline(&self) -> Baseline {
        Baseline(self.layout.baseline(self.words))
    }

    /// Says that the sender lives.
    pub(crate) fn note_sender(&self) {
        self.head(SENDER_SEEN).store(self.seconds(), Ordering::Relaxed);
    }

    /// What is going on at this moment. Looks at every session.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.seconds();
        let (sessions, session_room) =
            self.sessions().map(|sessions| sessions.occupancy(now)).unwrap_or_default();
        let processes = (0..self.layout.processes).filter_map(|process| self.process_counters(process));
        Status {
            enabled: self.is_enabled(),
            sessions,
            session_room,
            processes: self.layout.processes,
            capturing: processes.filter(ProcessCounters::are_used).count(),
            sender_silence: self.sender_silence(),
            filters: self.trace_filters().len(),
            filter_room: self.layout.filters,
            uptime: now - 1,
            counting: now.saturating_sub(self.baseline().second()),
        }
    }
}
