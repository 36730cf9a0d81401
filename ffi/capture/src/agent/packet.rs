//! From a message that is wanted to a packet in the queue.

use hep::Seen;

use super::{Agent, Delivered, MAX_PACKET_BYTES, Refusal};
use crate::collector::collectors;
use crate::correlation::correlation_id;
use crate::filter;
use crate::mask::Mask;
use crate::message::Message;
use crate::queue::Full;
use crate::shared::Shared;
use crate::stats::{Count, ProcessCounters};

/// What a packet carries.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    Sip,
    /// A line about the message with this Call-ID, where the correlation id does not say so.
    Log(Option<&'a [u8]>),
}

/// HEP's numbers for them, chunk 0x000b.
pub(super) const PROTOCOL_SIP: u8 = 1;
pub(super) const PROTOCOL_LOG: u8 = 100;

impl<'a> Payload<'a> {
    fn call_id(self) -> Option<&'a [u8]> {
        match self {
            Self::Sip => None,
            Self::Log(call_id) => call_id,
        }
    }
}

impl Agent {
    /// Puts a message into the queue, if its method and its ends are wanted and the collector has not got it yet.
    /// Unless `GUARDED`, nothing may have to be masked or dropped: see `guarded`.
    #[inline]
    pub(super) fn send<const GUARDED: bool>(
        &mut self,
        slot: u8,
        message: &Message<'_>,
        method: Option<&[u8]>,
        correlation: Option<&[u8]>,
        delivered: &mut Delivered,
    ) -> Result<(), Refusal> {
        let wanted = filter::wants_method(&self.methods, method)
            && filter::wants_ends(&self.networks, message)
            && delivered.first_time(slot)
            && !(GUARDED && self.drops.is_some_and(|drops| drops(message)));
        if !wanted {
            self.counters.add(Count::Filtered);
            return Ok(());
        }
        let id = correlation_id(correlation, message);
        self.queue::<GUARDED>(Payload::Sip, slot, message, id)
    }

    /// The slot of a collector; known ones are found without touching shared memory.
    #[inline]
    pub(super) fn slot(&mut self, collector: Option<&[u8]>) -> Result<u8, Refusal> {
        let text = match collector {
            Some(text) => text,
            None => self.default_collector.as_deref().ok_or(Refusal::NoCollector)?,
        };
        if let Some((_, slot)) = self.known.iter().find(|(known, _)| **known == *text) {
            return Ok(*slot);
        }
        meet(&self.shared, &mut self.known, text)
    }

    /// Puts a packet into the queue and counts it; shortens the payload if HEP has no room for it.
    #[inline(always)]
    pub(super) fn queue<const GUARDED: bool>(
        &mut self,
        payload: Payload<'_>,
        slot: u8,
        message: &Message<'_>,
        correlation_id: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let ids = [correlation_id, payload.call_id()].map(|id| id.map_or(0, <[u8]>::len));
        let room = MAX_PACKET_BYTES - self.around - ids[0] - ids[1];
        if message.raw.len() > room {
            return self.queue_cut::<GUARDED>(payload, slot, message, correlation_id, room);
        }
        self.put::<GUARDED>(payload, slot, message, correlation_id, None)
    }

    /// As [`queue`](Self::queue), for what is longer than the room. Apart, so that it costs others nothing.
    #[cold]
    #[inline(never)]
    fn queue_cut<const GUARDED: bool>(
        &mut self,
        payload: Payload<'_>,
        slot: u8,
        message: &Message<'_>,
        correlation_id: Option<&[u8]>,
        room: usize,
    ) -> Result<(), Refusal> {
        self.counters.add(Count::Truncated);
        let full_length = u32::try_from(message.raw.len()).unwrap_or(u32::MAX);
        let cut = Message { raw: message.raw.get(..room).unwrap_or_default(), ..*message };
        self.put::<GUARDED>(payload, slot, &cut, correlation_id, Some(full_length))
    }

    #[inline(always)]
    fn put<const GUARDED: bool>(
        &mut self,
        payload: Payload<'_>,
        slot: u8,
        message: &Message<'_>,
        correlation_id: Option<&[u8]>,
        full_length: Option<u32>,
    ) -> Result<(), Refusal> {
        let seen = Seen {
            source: message.source.as_ref(),
            destination: message.destination.as_ref(),
            transport: message.transport,
            time: message.captured_at,
            correlation_id,
            full_length,
            call_id: payload.call_id(),
        };
        let (template, raw) = match (payload, &mut self.mask) {
            (Payload::Log(_), _) => (&mut self.log_template, message.raw),
            (Payload::Sip, Some(mask)) if GUARDED => {
                (&mut self.template, masked(mask, self.counters, message.raw))
            }
            (Payload::Sip, _) => (&mut self.template, message.raw),
        };
        let Ok(head) = template.head(&seen, raw.len()) else {
            self.counters.add(Count::Refused);
            return Err(Refusal::Unencodable);
        };
        match self.queue.push_joined(slot, head, raw) {
            Ok(()) => self.counters.add(Count::Queued),
            Err(Full) => self.counters.add(Count::RingFull),
        }
        Ok(())
    }
}

/// The message as it may leave.
#[inline(never)]
fn masked<'m>(mask: &'m mut Mask, counters: ProcessCounters, payload: &'m [u8]) -> &'m [u8] {
    let Some(masked) = mask.apply(payload) else { return payload };
    counters.add(Count::Masked);
    masked
}

/// The slot of a collector that this process has not met before.
#[cold]
#[inline(never)]
fn meet(shared: &Shared, known: &mut Vec<(Box<[u8]>, u8)>, text: &[u8]) -> Result<u8, Refusal> {
    collectors(text).map_err(Refusal::BadCollector)?;
    let slot = shared.collector_slot(text).ok_or(Refusal::TooManyCollectors)?;
    known.push((text.into(), slot));
    Ok(slot)
}
