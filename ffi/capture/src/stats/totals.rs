//! All counters at one moment, and what was counted between two.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{
    COUNTS, CollectorCounters, CollectorStats, Count, Dropped, LinkState, ProcessCounters, Stats, TALLIES,
    Tally, total,
};
use crate::layout::COLLECTORS;

/// Counters of which there is one each: strays, damages, what was lost with a sender.
pub(crate) const SINGLES: usize = 3;
/// Words of [`Totals`].
pub(crate) const TOTALS: usize = COUNTS + SINGLES + COLLECTORS * TALLIES;

/// Every counter that only grows, summed over the processes: counts, the single ones, then the tallies by slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Totals([u64; TOTALS]);

impl Totals {
    /// What is counted in these words, in their order.
    pub fn of(words: impl Iterator<Item = u64>) -> Self {
        let mut totals = [0; TOTALS];
        totals.iter_mut().zip(words).for_each(|(to, from)| *to = from);
        Self(totals)
    }

    /// What is counted now.
    pub fn read(
        collectors: impl Iterator<Item = CollectorCounters>,
        processes: impl Iterator<Item = ProcessCounters>,
        singles: [&AtomicU64; SINGLES],
    ) -> Self {
        let mut totals = [0; TOTALS];
        let (of_processes, of_collectors) = totals.split_at_mut(COUNTS + SINGLES);
        // What leaves the queues is read before what enters them, so that the difference is never negative.
        for (to, from) in of_collectors.as_chunks_mut::<TALLIES>().0.iter_mut().zip(collectors) {
            to.iter_mut().zip(from.0).for_each(|(to, word)| *to = word.load(Ordering::Relaxed));
        }
        let singles = singles.map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let (counts, others) = of_processes.split_at_mut(COUNTS);
        for process in processes {
            counts
                .iter_mut()
                .enumerate()
                .for_each(|(count, to)| *to = to.saturating_add(process.load(count)));
        }
        others.copy_from_slice(&singles);
        Self(totals)
    }

    pub fn words(&self) -> impl Iterator<Item = u64> {
        self.0.into_iter()
    }

    /// What was counted since then.
    pub fn since(&self, then: &Self) -> Self {
        Self::of(self.words().zip(then.words()).map(|(now, then)| now.saturating_sub(then)))
    }

    fn count(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    fn singles(&self) -> [u64; SINGLES] {
        let singles = self.0.get(COUNTS..).and_then(<[u64]>::first_chunk);
        singles.copied().unwrap_or_default()
    }

    fn tally(&self, slot: usize, tally: Tally) -> u64 {
        self.0.get(COUNTS + SINGLES + slot * TALLIES + tally as usize).copied().unwrap_or_default()
    }

    /// The sum over all collectors but the mirror, whose messages are copies.
    fn tallies(&self, tally: Tally, mirror: Option<usize>) -> u64 {
        total((0..COLLECTORS).filter(|&slot| mirror != Some(slot)).map(|slot| self.tally(slot, tally)))
    }

    /// Messages on their way. To be asked of what was counted since the start: what is on its way does not begin anew
    /// with the counters.
    pub fn in_queue(&self, mirror: Option<usize>) -> u64 {
        let left = [Tally::Sent, Tally::BacklogFull, Tally::SendFailed];
        let left = total(left.into_iter().map(|tally| self.tallies(tally, mirror)));
        let [_, _, lost] = self.singles();
        self.count(Count::Queued).saturating_sub(left.saturating_add(lost))
    }

    /// The statistics of these counters, but for the collectors. What is on its way counts as offered: so the sum is
    /// right whenever the counters began.
    pub fn stats(&self, in_queue: u64, mirror: Option<usize>) -> Stats {
        let [strays, damages, sender_lost] = self.singles();
        let dropped = Dropped {
            backlog_full: self.tallies(Tally::BacklogFull, mirror),
            panicked: self.count(Count::Panicked),
            // A process without a queue refuses all it sees.
            refused: self.count(Count::Refused).saturating_add(strays),
            ring_full: self.count(Count::RingFull),
            send_failed: self.tallies(Tally::SendFailed, mirror),
            sender_lost,
        };
        let (filtered, sent) = (self.count(Count::Filtered), self.tallies(Tally::Sent, mirror));
        Stats {
            offered: total([filtered, dropped.total(), sent, in_queue]),
            filtered,
            dropped,
            sent,
            acknowledged: self.tallies(Tally::Acknowledged, mirror),
            in_queue,
            sent_again: self.tallies(Tally::SentAgain, mirror),
            sent_bytes: self.tallies(Tally::SentBytes, mirror),
            truncated: self.count(Count::Truncated),
            masked: self.count(Count::Masked),
            table_full: self.count(Count::TableFull),
            not_followed: self.count(Count::NotFollowed),
            port_unknown: self.count(Count::PortUnknown),
            queue_damages: damages,
            ..Stats::default()
        }
    }

    /// The statistics of one collector: these counters, and what is true of it at this second.
    pub fn collector(
        &self,
        slot: usize,
        counters: CollectorCounters,
        uri: String,
        mirror: bool,
        now: u64,
    ) -> CollectorStats {
        let link = match counters.load(Tally::Link) {
            1 => LinkState::Up,
            2 => LinkState::Down,
            _ => LinkState::Idle,
        };
        CollectorStats {
            uri,
            active: counters.load(Tally::Active),
            mirror,
            link,
            sent: self.tally(slot, Tally::Sent),
            acknowledged: self.tally(slot, Tally::Acknowledged),
            sent_again: self.tally(slot, Tally::SentAgain),
            sent_bytes: self.tally(slot, Tally::SentBytes),
            backlog_full: self.tally(slot, Tally::BacklogFull),
            send_failed: self.tally(slot, Tally::SendFailed),
            sender_lost: self.tally(slot, Tally::SenderLost),
            backlog: counters.load(Tally::Backlog),
            waiting: counters.load(Tally::Waiting),
            connects: self.tally(slot, Tally::Connects),
            refusals: self.tally(slot, Tally::Refusals),
            last_error: counters.error(now),
        }
    }
}
