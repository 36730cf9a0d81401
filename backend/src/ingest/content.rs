//! Rules about what a packet holds: what is left out, and what of the rest is made unreadable. They are applied before the
//! spool, so what they keep out is never on disk. See docs/adr/0027-rules-at-ingest.md.

mod discard;
mod duplicates;
mod mask;
mod sampling;

pub use discard::Discard;
pub use duplicates::Duplicates;
pub use mask::MaskRule;

use hep::Packet;
use prometheus_client::metrics::counter::Counter;

use crate::telemetry::Metrics;

/// HEP's protocol type of SIP; also that of a packet that says none.
const SIP: u8 = 1;

/// The rules, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct ContentRules {
    /// What is left out; the first rule that matches counts it.
    pub discard: Vec<Discard>,
    /// The calls of which messages are kept: one in so many. 0 and 1 keep all.
    pub keep_one_in: u32,
    /// A packet is a duplicate within so much time of capture, ms; 0 for no look.
    pub duplicate_milliseconds: u32,
    /// What is made unreadable; all that match are applied.
    pub mask: Vec<MaskRule>,
    /// Counts what is left out with its call.
    pub sampled_out: Counter,
    /// Counts duplicates.
    pub duplicates: Counter,
}

/// What the rules say of a packet.
#[derive(Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is kept.
    Keep {
        /// What to keep in its place, where something in it was made unreadable.
        masked: Option<Vec<u8>>,
        /// What it is remembered by, to be forgotten if it could not be kept after all.
        mark: Option<u64>,
    },
    /// It is left out, for this reason.
    LeftOut(&'static str),
    /// It holds what would have to be made unreadable, and cannot be.
    Unmaskable,
}

impl Default for ContentRules {
    fn default() -> Self {
        Self {
            discard: Vec::new(),
            keep_one_in: 1,
            duplicate_milliseconds: 0,
            mask: Vec::new(),
            sampled_out: Counter::default(),
            duplicates: Counter::default(),
        }
    }
}

impl ContentRules {
    /// Whether there is any. Where there is none, nothing of a packet is looked at.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.discard.is_empty()
            || !self.mask.is_empty()
            || self.keep_one_in > 1
            || self.duplicate_milliseconds > 0
    }

    /// Makes each rule count under its kind and name.
    pub(super) fn count_in(&mut self, metrics: &Metrics) {
        for rule in &mut self.discard {
            rule.counter = metrics.rule("discard", &rule.name);
        }
        for rule in &mut self.mask {
            rule.counter = metrics.rule("mask", &rule.name);
        }
        self.sampled_out = metrics.rule("sampling", "");
        self.duplicates = metrics.rule("duplicates", "");
    }

    /// Applies them to a packet that was decoded from these octets, whose payload inflates to at most so much.
    #[must_use]
    pub fn apply(
        &self,
        octets: &[u8],
        packet: &Packet<'_>,
        inflated_bytes: usize,
        seen: &Duplicates,
        now_us: i64,
    ) -> Verdict {
        let Ok(payload) = packet.payload.inflate(inflated_bytes) else { return Verdict::Unmaskable };
        let is_sip = packet.protocol_type.is_none_or(|protocol_type| protocol_type == SIP);
        let sip = is_sip.then_some(&*payload);
        if let Some(rule) = discard::first_match(&self.discard, packet, sip) {
            rule.counter.inc();
            return Verdict::LeftOut("discard");
        }
        if self.keep_one_in > 1 && !sampling::keeps(self.keep_one_in, packet, sip) {
            self.sampled_out.inc();
            return Verdict::LeftOut("sampling");
        }
        let mut mark = None;
        if self.duplicate_milliseconds > 0 {
            let window_us = i64::from(self.duplicate_milliseconds) * 1000;
            let Some(new) = seen.remember(packet, window_us, now_us) else {
                self.duplicates.inc();
                return Verdict::LeftOut("duplicate");
            };
            mark = Some(new);
        }
        match sip.map_or(Ok(None), |sip| mask::apply(&self.mask, octets, packet, sip)) {
            Ok(masked) => Verdict::Keep { masked, mark },
            Err(mask::Unmaskable) => Verdict::Unmaskable,
        }
    }
}
