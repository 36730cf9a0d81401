//! Packets that came together go through the door together: what is asked of rules, keys, clock and counters is asked
//! once for all of them, and the spool is locked once.

use std::sync::Arc;

use hep::{Packet, Payload, Sequence};

use super::ledger::{Entry, Ledger};
use super::{Admission, Arrival, Not, Outcome, Refusal, Rules};
use crate::ingest::Receipt;
use crate::ingest::content::Verdict;
use crate::ingest::keys::{Known, Opened};
use crate::spool::{Record, Refused, Taken, Taking};
use crate::telemetry::clock;

/// Room for so many packets is made at first.
const USUAL: usize = 32;

/// Packets at the door, in the order in which they came. Each is looked at when it is added.
pub struct Batch<'a> {
    admission: &'a Admission,
    rules: Arc<Rules>,
    keys: Arc<Known>,
    received_at_us: i64,
    /// What the last key opened that opened anything: that of the next packet is mostly the same.
    opened: Option<(&'a [u8], Option<u32>, Opened)>,
    packets: Vec<Checked<'a>>,
    /// So many have been taken, or refused.
    done: usize,
    /// So many have had their share of their peer's rate.
    within_rate: usize,
}

/// A packet that was looked at.
struct Checked<'a> {
    arrival: Arrival<'a>,
    agent_id: Option<u32>,
    captured_at_us: Option<i64>,
    sequence: Option<Sequence>,
    /// What is kept in its place, where something in it was made unreadable.
    kept: Option<Vec<u8>>,
    /// What it is remembered by, where duplicates are looked for.
    mark: Option<u64>,
    /// Why it is not in the spool, as far as that is known.
    not: Option<Not>,
    taken: Option<Taken>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(admission: &'a Admission) -> Self {
        Self {
            admission,
            rules: admission.rules(),
            keys: admission.inner.keys.known(),
            received_at_us: clock::now_us(),
            opened: None,
            packets: Vec::with_capacity(USUAL),
            done: 0,
            within_rate: 0,
        }
    }

    /// Adds a packet. The refusal is for information: it is counted when the batch is taken.
    ///
    /// # Errors
    /// When the packet will not be taken.
    pub fn add(&mut self, arrival: Arrival<'a>) -> Result<(), Refusal> {
        let mut checked = Checked {
            arrival,
            agent_id: None,
            captured_at_us: None,
            sequence: None,
            kept: None,
            mark: None,
            not: None,
            taken: None,
        };
        checked.not = self.look(&mut checked).err();
        let refusal = match checked.not {
            Some(Not::Refused(refusal)) => Err(refusal),
            None | Some(Not::LeftOut(_)) => Ok(()),
        };
        self.packets.push(checked);
        refusal
    }

    /// Takes what was added into the spool, as far as that needs no waiting, and tells what became of each packet, in their
    /// order. `false` where the next packet of a stream has to wait since the spool is full, or its peer over its rate; not
    /// when `stopping`. Datagrams never wait. All is counted.
    pub fn take(&mut self, stopping: bool, mut told: impl FnMut(Outcome)) -> bool {
        let begun = self.done;
        if begun > 0 {
            // It has waited.
            self.received_at_us = clock::now_us();
        }
        let ready = self.ready(stopping);
        let received_at_us = self.received_at_us;
        let packets = self.packets.get_mut(begun..ready).unwrap_or_default();
        let spooled = self.admission.inner.spool.taking(|spool| {
            let mut offer = Offer { spool, received_at_us, stopping, shut: None };
            packets.iter_mut().map(|packet| offer.take(packet)).take_while(|taken| *taken).count()
        });
        self.done += spooled;
        let mut ledger = Ledger::default();
        for packet in self.packets.iter().take(self.done).skip(begun) {
            packet.end(self.admission, &self.rules, received_at_us, &mut ledger);
            told(packet.outcome());
        }
        ledger.count(&self.admission.inner.metrics);
        self.done == self.packets.len()
    }

    /// How many of the packets need not wait for their peer's rate.
    fn ready(&mut self, stopping: bool) -> usize {
        while let Some(packet) = self.packets.get(self.within_rate) {
            let waits = packet.not.is_none() && !packet.arrival.way.is_datagram() && !stopping;
            if waits && !self.admission.in_rate(&self.rules, packet.arrival) {
                break;
            }
            self.within_rate += 1;
        }
        self.within_rate
    }

    /// Whether this is a packet that can be stored, of an agent that may send it, and that no rule leaves out.
    fn look(&mut self, checked: &mut Checked<'a>) -> Result<(), Not> {
        let Self { admission, rules, .. } = self;
        let Arrival { way, peer, packet: octets } = checked.arrival;
        if way.is_datagram() {
            if !rules.allow(peer.ip()) {
                return Err(Refusal::Network.into());
            }
            if !admission.in_rate(rules, checked.arrival) {
                return Err(Refusal::Rate.into());
            }
        }
        if octets.len() > rules.packet_bytes {
            return Err(Refusal::Size.into());
        }
        let packet = hep::decode(octets).map_err(|_| Refusal::Malformed)?;
        let octets = hep::own_octets(octets);
        checked.agent_id = packet.agent_id;
        checked.captured_at_us = packet
            .time
            .filter(|time| time.seconds > 0)
            .map(|time| i64::from(time.seconds) * 1_000_000 + i64::from(time.microseconds.min(999_999)));
        checked.sequence = packet.sequence;
        let tenant = self.tenant(&packet)?;
        let Self { admission, rules, received_at_us, .. } = self;
        match packet.payload {
            Payload::None => return Err(Refusal::NoPayload.into()),
            Payload::Plain(_) => {}
            Payload::Compressed(_) => {
                packet.payload.inflate(rules.inflated_bytes).map(drop).map_err(|_| Refusal::Inflate)?
            }
        }
        if rules.content.is_any() {
            let seen = &admission.inner.seen;
            match rules.content.apply(octets, &packet, rules.inflated_bytes, seen, *received_at_us) {
                Verdict::Keep { masked, mark } => (checked.kept, checked.mark) = (masked, mark),
                Verdict::LeftOut(why) => return Err(Not::LeftOut(why)),
                Verdict::Unmaskable => return Err(Refusal::Mask.into()),
            }
        }
        let (has_key, has_tenant) = (packet.auth_key.is_some(), hep::tenant(&packet).is_some());
        if has_key || has_tenant || tenant.is_some() {
            // A key goes no further than this, nor does what an agent says of its tenant.
            let kept = checked.kept.get_or_insert_with(|| octets.to_vec());
            if has_key {
                hep::erase_key(kept);
            }
            if has_tenant {
                hep::erase_tenant(kept);
            }
            if let Some(tenant) = tenant {
                hep::append_tenant(kept, tenant.as_bytes()).map_err(|_| Refusal::Size)?;
            }
        }
        Ok(())
    }

    /// Whose the packet is by its key, if it may be sent with it.
    fn tenant(&mut self, packet: &Packet<'a>) -> Result<Option<Arc<str>>, Refusal> {
        let wanted = self.rules.require_key || self.keys.tell_tenants();
        let Some(key) = packet.auth_key.filter(|_| wanted) else {
            return if self.rules.require_key { Err(Refusal::Key) } else { Ok(None) };
        };
        let is_last = |(last, agent_id, _): &&(&[u8], Option<u32>, Opened)| {
            *agent_id == packet.agent_id && subtle::ConstantTimeEq::ct_eq(*last, key).into()
        };
        if let Some((_, _, opened)) = self.opened.as_ref().filter(is_last) {
            return Ok(opened.tenant.clone());
        }
        match self.keys.open(key, packet.agent_id) {
            Some(opened) => {
                let tenant = opened.tenant.clone();
                self.opened = Some((key, packet.agent_id, opened));
                Ok(tenant)
            }
            None if self.rules.require_key => Err(Refusal::Key),
            None => Ok(None),
        }
    }
}

/// What goes on while the spool is locked.
struct Offer<'a, 'spool> {
    spool: &'a mut Taking<'spool>,
    received_at_us: i64,
    stopping: bool,
    /// Why packets that are sent again are no longer taken: one of them was not, and a later one must not be taken before it.
    shut: Option<Not>,
}

impl Offer<'_, '_> {
    /// Offers a packet; `false` where it has to wait for room.
    fn take(&mut self, packet: &mut Checked<'_>) -> bool {
        let Arrival { way, peer, packet: octets } = packet.arrival;
        let sent_again = packet.sequence.is_some() && !way.is_datagram();
        if sent_again && self.shut.is_some() {
            packet.not = self.shut;
        }
        if packet.not.is_none() {
            let hep = packet.kept.as_deref().unwrap_or_else(|| hep::own_octets(octets));
            let record = Record { received_at_us: self.received_at_us, peer, transport: way.recorded(), hep };
            let refusal = match self.spool.take(&record, packet.sequence) {
                Ok(taken) => {
                    packet.taken = Some(taken);
                    return true;
                }
                Err(Refused::Full) if !way.is_datagram() && !self.stopping => return false,
                Err(Refused::Full) => Refusal::SpoolFull,
                Err(Refused::Closed) => Refusal::Closed,
            };
            packet.not = Some(refusal.into());
            self.shut = packet.not;
        }
        if let (Some(not), Some(sequence)) = (packet.not, packet.sequence)
            && not.is_final(way)
        {
            // Else it would look like a gap, and its sender would keep it for ever.
            packet.taken = Some(self.spool.pass(sequence, way.is_datagram()));
        }
        true
    }
}

impl Checked<'_> {
    /// Notes what became of it.
    fn end(&self, admission: &Admission, rules: &Rules, received_at_us: i64, ledger: &mut Ledger) {
        if let (Some(_), Some(mark)) = (self.not, self.mark) {
            admission.inner.seen.forget(mark);
        }
        let Self { agent_id, captured_at_us, not, .. } = *self;
        let standing = self.taken.map(|taken| taken.standing).unwrap_or_default();
        ledger.note(self.arrival, Entry { agent_id, captured_at_us, not, standing }, received_at_us);
        if let Some(Not::Refused(refusal)) = not {
            admission.keep_garbage(rules, self.arrival, refusal, received_at_us);
        }
    }

    fn outcome(&self) -> Outcome {
        let result = match self.not {
            Some(Not::Refused(refusal)) => Err(refusal),
            None | Some(Not::LeftOut(_)) => Ok(()),
        };
        let receipt = self.sequence.zip(self.taken);
        Outcome {
            result,
            receipt: receipt.map(|(sequence, taken)| Receipt { sequence, ticket: taken.ticket }),
        }
    }
}
