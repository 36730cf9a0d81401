//! What became of packets that came together, summed up before it is counted.

use std::mem::discriminant;

use super::{Arrival, Not};
use crate::ingest::{Refusal, Way};
use crate::spool::Standing;
use crate::telemetry::Metrics;
use crate::telemetry::tally::Counted;

/// Packets that differ in nothing that is counted.
#[derive(Debug)]
struct Line {
    way: Way,
    refusal: Option<Refusal>,
    octets: u64,
    counted: Counted,
}

/// The sums.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: Vec<Line>,
}

/// What is known of a packet besides who sent it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) agent_id: Option<u32>,
    /// When the agent captured it, µs since the epoch, where it says so.
    pub(super) captured_at_us: Option<i64>,
    pub(super) not: Option<Not>,
    pub(super) standing: Standing,
}

impl Ledger {
    /// Notes a packet that came at this time, µs since the epoch.
    pub(super) fn note(&mut self, arrival: Arrival<'_>, entry: Entry, received_at_us: i64) {
        let Arrival { way, peer, packet } = arrival;
        let Entry { agent_id, captured_at_us, not, standing } = entry;
        let result = not.map_or(Ok(()), |not| Err(not.as_str()));
        let octets = packet.len() as u64;
        let same = |line: &&mut Line| {
            let counted = &line.counted;
            counted.agent_id == agent_id
                && counted.peer == peer
                && counted.result == result
                && discriminant(&counted.standing) == discriminant(&standing)
                && line.way == way
        };
        if let Some(line) = self.lines.iter_mut().find(same) {
            line.octets += octets;
            line.counted.packets += 1;
            line.counted.captured_at_us = line.counted.captured_at_us.max(captured_at_us);
            line.counted.received_at_us = line.counted.received_at_us.max(received_at_us);
            if let (Standing::New { missing: sum }, Standing::New { missing }) =
                (&mut line.counted.standing, standing)
            {
                *sum = sum.saturating_add(missing);
            }
            return;
        }
        let refusal = not.and_then(|not| match not {
            Not::LeftOut(_) => None,
            Not::Refused(refusal) => Some(refusal),
        });
        let counted =
            Counted { peer, packets: 1, received_at_us, agent_id, captured_at_us, result, standing };
        self.lines.push(Line { way, refusal, octets, counted });
    }

    /// Counts all of it, and says a refusal once for each peer and reason.
    pub(super) fn count(self, metrics: &Metrics) {
        for Line { way, refusal, octets, counted } in self.lines {
            let taken = if counted.standing == Standing::Again { "repeated" } else { "accepted" };
            let result = counted.result.err().unwrap_or(taken);
            metrics.ingested(way.as_str(), result, counted.packets, octets);
            let first = metrics.tally.count(&counted);
            if let Some(refusal) = refusal.filter(|_| first) {
                let Counted { peer, agent_id, .. } = counted;
                tracing::warn!(%peer, agent.id = agent_id, reason = refusal.as_str(), "hep is refused; further refusals of this peer are counted only");
            }
        }
    }
}
