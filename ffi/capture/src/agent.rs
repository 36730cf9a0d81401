//! What a worker of the proxy calls for each message.

mod log;

use hep::{Seen, Template};
use thiserror::Error;

use crate::collector::{UriError, collectors};
use crate::config::Config;
use crate::correlation::{Sources, correlation_id};
use crate::filter;
use crate::lookup::Lookup;
use crate::mask::Mask;
use crate::message::Message;
use crate::network::Network;
use crate::queue::{Full, Writer};
use crate::sessions::{Facts, Keys, Lifetimes, Refused, Session};
use crate::shared::{Notice, Shared};
use crate::stats::{Count, ProcessCounters};
use crate::trace_filter::{Filters, Match};

/// Octets of the largest packet: what fits a UDP datagram over IPv4, whatever the transport to the collector.
pub const MAX_PACKET_BYTES: usize = 65_507;

/// What a packet carries.
#[derive(Clone, Copy)]
enum Payload<'a> {
    Sip,
    /// A line about the message with this Call-ID, where the correlation id does not say so.
    Log(Option<&'a [u8]>),
}

/// HEP's numbers for them, chunk 0x000b.
const PROTOCOL_SIP: u8 = 1;
const PROTOCOL_LOG: u8 = 100;

impl<'a> Payload<'a> {
    fn call_id(self) -> Option<&'a [u8]> {
        match self {
            Self::Sip => None,
            Self::Log(call_id) => call_id,
        }
    }
}

/// Octets that the chunks other than texts and payload take at most, rounded up.
const FIXED_BYTES: usize = 256;

/// One worker's end of the capture: made once per process, then offered every message.
#[derive(Debug)]
pub struct Agent {
    shared: Shared,
    counters: ProcessCounters,
    queue: Writer,
    template: Template,
    log_template: Template,
    /// Collectors met in this process; at most one entry per slot.
    known: Vec<(Box<[u8]>, u8)>,
    lookup: Lookup,
    filters: Filters,
    mask: Option<Box<Mask>>,
    drops: Option<fn(&Message<'_>) -> bool>,
    /// Whether a message may have to be masked or dropped.
    guarded: bool,
    lifetimes: Lifetimes,
    automatic: bool,
    scripted: bool,
    methods: Vec<Box<[u8]>>,
    networks: Vec<Network>,
    /// Octets of a packet around its message, but for the correlation id.
    around: usize,
    default_collector: Option<Box<[u8]>>,
}

/// One message to capture, and what the script said about it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// What was seen.
    pub message: Message<'a>,
    /// The collector's URI; `None` for the one of the configuration.
    pub collector: Option<&'a [u8]>,
    /// The correlation id; `None` or empty for that of the message's session, of the configured header, of `template`,
    /// or the message's Call-ID, in this order.
    pub correlation: Option<&'a [u8]>,
    /// What the host made of the configured template for this message.
    pub template: Option<&'a [u8]>,
}

/// How much an offer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This message.
    Message,
    /// It, and every other message of its transaction: requests, replies, ACK, CANCEL, retransmissions.
    Transaction,
    /// It, and every other message with its Call-ID.
    Dialog,
}

/// The collectors that were given a message. The host keeps it with the message, so that none is given it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered(u16);

impl Delivered {
    /// Whether this is the first time for this collector; it is not from now on.
    pub(crate) fn first_time(&mut self, slot: u8) -> bool {
        let bit = 1 << (slot % u16::BITS as u8);
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}

/// Whether the rest of the transaction or dialog will be captured, too. The message itself was in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It will, or was not asked for.
    Yes,
    /// The correlation id is longer than [`MAX_SESSION_ID_BYTES`](crate::MAX_SESSION_ID_BYTES).
    IdTooLong,
    /// There is no Call-ID, or for a transaction no `CSeq`, to know the rest by.
    NoCallId,
    /// No room; see the parameter `sessions`.
    TableFull,
}

impl Followed {
    /// What to log, and under which notice; `None` if there is nothing to say.
    #[must_use]
    pub fn complaint(self) -> Option<(Notice, &'static str)> {
        match self {
            Self::Yes => None,
            Self::IdTooLong => Some((
                Notice::IdTooLong,
                "correlation id longer than 192 octets: only the message itself is captured under it",
            )),
            Self::NoCallId => Some((
                Notice::NoCallId,
                "message without Call-ID or CSeq: nothing else of its call can be captured",
            )),
            Self::TableFull => Some((
                Notice::TableFull,
                "session table full: only the message itself is captured; raise the parameter sessions",
            )),
        }
    }
}

/// Why an offer could not be followed. The proxy's routing goes on; the host is told once per kind.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The script's URI breaks a rule.
    #[error("collector URI: {0}")]
    BadCollector(UriError),
    /// Neither the script nor the configuration names a collector.
    #[error("no collector: neither the call nor the parameter duplicate_uri names one")]
    NoCollector,
    /// Sixteen others are in use.
    #[error("more than 16 different collectors")]
    TooManyCollectors,
    /// HEP cannot say it.
    #[error("message does not fit HEP")]
    Unencodable,
}

impl Refusal {
    /// Under which notice it is logged.
    #[must_use]
    pub fn notice(self) -> Notice {
        match self {
            Self::BadCollector(_) => Notice::BadCollector,
            Self::NoCollector => Notice::NoCollector,
            Self::TooManyCollectors => Notice::TooManyCollectors,
            Self::Unencodable => Notice::Unencodable,
        }
    }
}

impl Agent {
    /// The agent of the process with this index; `None` if there is no queue for it.
    ///
    /// All memory that offers need is taken here.
    #[must_use]
    pub fn new(shared: Shared, process: usize, config: &Config) -> Option<Self> {
        let texts =
            [config.auth_key.as_deref(), config.agent_name.as_deref()].map(|text| text.map(str::as_bytes));
        let [auth_key, agent_name] = texts;
        let template = |protocol| Template::new(config.agent_id, protocol, auth_key, agent_name);
        let around = FIXED_BYTES + texts.iter().flatten().map(|text| text.len()).sum::<usize>();
        Some(Self {
            shared,
            counters: shared.process_counters(process)?,
            queue: shared.writer(process)?,
            template: template(PROTOCOL_SIP),
            log_template: template(PROTOCOL_LOG),
            known: Vec::with_capacity(crate::COLLECTORS),
            lookup: Lookup::new(shared, config),
            filters: Filters::new(shared),
            mask: Mask::new(config).map(Box::new),
            drops: None,
            guarded: config.masks(),
            lifetimes: Lifetimes {
                transaction: config.transaction_expires.into(),
                dialog: config.dialog_expires.into(),
            },
            automatic: config.automatic,
            scripted: config.scripted,
            methods: config.methods.iter().map(|method| method.as_bytes().into()).collect(),
            networks: config.networks.clone(),
            around,
            default_collector: config.collector.as_deref().map(|text| text.as_bytes().into()),
        })
    }

    /// Lets the host have the last word on each message: it answers whether to drop it, and changes nothing.
    #[must_use]
    pub fn dropping(self, drops: Option<fn(&Message<'_>) -> bool>) -> Self {
        Self { drops, guarded: self.guarded || drops.is_some(), ..self }
    }

    /// Takes one message: filter, collector, correlation, HEP, queue. Never waits.
    ///
    /// A message that is not wanted or finds the queue full is counted, and that is all; the answer is still `Ok`.
    ///
    /// # Errors
    /// [`Refusal`] if the offer itself cannot be followed; counted, too.
    pub fn offer(&mut self, offer: &Offer<'_>) -> Result<(), Refusal> {
        self.follow(offer, Scope::Message, &mut Delivered::default()).map(|_followed| ())
    }

    /// The same, and opens a session if `scope` says so: then [`observe`](Self::observe) captures the rest of it.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn follow(
        &mut self,
        offer: &Offer<'_>,
        scope: Scope,
        delivered: &mut Delivered,
    ) -> Result<Followed, Refusal> {
        let raw = offer.message.raw;
        if !self.scripted || !filter::wants(&self.shared, raw) {
            self.counters.add(Count::Filtered);
            return Ok(Followed::Yes);
        }
        let slot = self.slot(offer.collector).inspect_err(|_refusal| self.counters.add(Count::Refused))?;
        let curious = scope != Scope::Message
            || self.shared.is_following()
            || self.lookup.names_header()
            || !self.methods.is_empty();
        if curious {
            return self.follow_parsed(offer, scope, slot, delivered);
        }
        let chosen = offer.correlation.filter(|id| !id.is_empty()).or(offer.template);
        if self.guarded {
            self.send::<true>(slot, &offer.message, None, chosen, delivered)?;
        } else {
            self.send::<false>(slot, &offer.message, None, chosen, delivered)?;
        }
        Ok(Followed::Yes)
    }

    /// Opens a session for a message that the host will show later, to [`observe`](Self::observe): that takes the message
    /// itself. Opened now, the session is known before the first reply comes.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn follow_later(&mut self, offer: &Offer<'_>, scope: Scope) -> Result<Followed, Refusal> {
        if !self.scripted || !self.shared.is_enabled() {
            return Ok(Followed::Yes);
        }
        let slot = self.slot(offer.collector).inspect_err(|_refusal| self.counters.add(Count::Refused))?;
        let facts = Facts::of(offer.message.raw);
        let keys = facts.as_ref().and_then(|facts| Keys::of(facts, self.shared.seed()));
        let header = facts.as_ref().and_then(|facts| self.lookup.header(facts));
        let chosen =
            Sources { given: offer.correlation, session: None, header, template: offer.template }.chosen();
        Ok(self.open(scope, facts.as_ref().zip(keys), slot, chosen))
    }

    /// The part of [`follow`](Self::follow) that has to read the message. Apart, so that it costs others nothing.
    #[inline(never)]
    fn follow_parsed(
        &mut self,
        offer: &Offer<'_>,
        scope: Scope,
        slot: u8,
        delivered: &mut Delivered,
    ) -> Result<Followed, Refusal> {
        let facts = Facts::of(offer.message.raw);
        let keys = facts.as_ref().and_then(|facts| Keys::of(facts, self.shared.seed()));
        let session = keys.and_then(|keys| self.lookup.session(keys)).map(|(_, session)| session);
        let chosen = Sources {
            given: offer.correlation,
            session: session.as_ref().map(Session::id),
            header: facts.as_ref().and_then(|facts| self.lookup.header(facts)),
            template: offer.template,
        }
        .chosen();
        let followed = self.open(scope, facts.as_ref().zip(keys), slot, chosen);
        let method = facts.and_then(|facts| facts.method());
        self.send::<true>(slot, &offer.message, method, chosen, delivered)?;
        Ok(followed)
    }

    /// Takes one message that the host shows of its own accord, if it belongs to a session, or everything is captured.
    ///
    /// A message that does neither is not counted.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn observe(&mut self, message: &Message<'_>, delivered: &mut Delivered) -> Result<(), Refusal> {
        self.observe_with(message, delivered, |_message| true)
    }

    /// The same for a message of which it takes time to tell between which addresses it goes: `locate` corrects them, once
    /// it is clear that the message is captured. Its answer is whether it knows them; if not, that is counted.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn observe_with(
        &mut self,
        message: &Message<'_>,
        delivered: &mut Delivered,
        locate: impl FnOnce(&mut Message<'_>) -> bool,
    ) -> Result<(), Refusal> {
        if !self.shared.is_enabled() || !(self.automatic || self.shared.is_watching()) {
            return Ok(());
        }
        // Keep-alives and whatever else is no SIP.
        let Some(facts) = Facts::of(message.raw) else { return Ok(()) };
        let following = self.shared.is_following();
        let seed = self.shared.seed();
        let known = if following || self.automatic { Keys::of(&facts, seed) } else { None };
        let session = known.filter(|_| following).and_then(|keys| self.refreshed(keys, &facts));
        let found = if session.is_none() { self.found(message, &facts) } else { None };
        // Most messages that are read for a filter's sake only are none that it is for.
        let keys = known.or_else(|| found.as_ref().and_then(|_| Keys::of(&facts, seed)));
        let (slot, chosen) = match (&session, &found) {
            (Some(session), _) => (session.collector, Some(session.id())),
            (None, Some(found)) => (found.collector, self.open_found(found, &facts, keys)),
            (None, None) if self.automatic => {
                let slot = self.slot(None).inspect_err(|_refusal| self.counters.add(Count::Refused))?;
                let header = self.lookup.header(&facts);
                if keys.is_none() {
                    self.counters.add(Count::NotFollowed);
                } else if header.is_some() && facts.request.is_some() {
                    // Replies, and requests of the other side, lack the header.
                    self.open(Scope::Dialog, Some(&facts).zip(keys), slot, header);
                }
                (slot, header)
            }
            (None, None) => return Ok(()),
        };
        let mut message = *message;
        if !locate(&mut message) {
            self.count_unknown_port();
        }
        self.send::<true>(slot, &message, facts.method(), chosen, delivered)
    }

    /// Counts a message of which only the listening socket of the connection it was sent by is known.
    pub fn count_unknown_port(&self) {
        self.counters.add(Count::PortUnknown);
    }

    /// Opens the session of a message that matches a trace filter, for a host that will show it to
    /// [`observe`](Self::observe) only later: what it causes meanwhile belongs to the session, too.
    pub fn expect(&mut self, message: &Message<'_>) {
        if !self.shared.is_enabled() || self.shared.filters_serial() == 0 {
            return;
        }
        let Some(facts) = Facts::of(message.raw) else { return };
        let Some(keys) = Keys::of(&facts, self.shared.seed()) else { return };
        if self.lookup.session(keys).is_none()
            && let Some(found) = self.found(message, &facts)
        {
            self.open_found(&found, &facts, Some(keys));
        }
    }

    /// Opens the session of a message that a trace filter has found; answers its correlation id.
    fn open_found<'m>(&self, found: &'m Match, facts: &Facts<'m>, keys: Option<Keys>) -> Option<&'m [u8]> {
        let id = found.id().or_else(|| self.lookup.header(facts));
        self.open(Scope::Dialog, Some(facts).zip(keys), found.collector, id);
        id
    }

    /// The trace filter that a message matches. Costs a load while there is none.
    fn found(&mut self, message: &Message<'_>, facts: &Facts<'_>) -> Option<Match> {
        match self.shared.filters_serial() {
            0 => None,
            serial => self.filters.find(self.shared, serial, message, facts),
        }
    }

    /// Counts a message whose offer ended in a panic.
    pub fn count_panic(&self) {
        self.counters.add(Count::Panicked);
    }

    /// Counts a message that the host could not offer, because the script's call could not be followed.
    pub fn count_refused(&self) {
        self.counters.add(Count::Refused);
    }

    /// Counts a message of which the host cannot show the rest; it is captured by itself.
    pub fn count_not_followed(&self) {
        self.counters.add(Count::NotFollowed);
    }

    /// The session that a message belongs to, the narrower one if there are two; this message prolongs its life, or
    /// shortens it.
    fn refreshed(&self, keys: Keys, facts: &Facts<'_>) -> Option<Session> {
        let sessions = self.lookup.sessions()?;
        let now = self.shared.seconds();
        let refresh = |key, scope| {
            let session = sessions.find(key, now)?;
            sessions.extend(&session, self.lifetimes.after(facts, scope, session.life.established, now));
            Some(session)
        };
        let transaction = keys.transaction.and_then(|key| refresh(key, Scope::Transaction));
        let dialog = refresh(keys.dialog, Scope::Dialog);
        transaction.or(dialog)
    }

    /// Opens the session of a message, so that all processes know it.
    fn open(
        &self,
        scope: Scope,
        message: Option<(&Facts<'_>, Keys)>,
        collector: u8,
        id: Option<&[u8]>,
    ) -> Followed {
        if scope == Scope::Message {
            return Followed::Yes;
        }
        let known = message.and_then(|(facts, keys)| {
            let key = if scope == Scope::Dialog { Some(keys.dialog) } else { keys.transaction };
            Some((facts, key?))
        });
        let Some((facts, key)) = known else {
            self.counters.add(Count::NotFollowed);
            return Followed::NoCallId;
        };
        let now = self.shared.seconds();
        let established = self
            .lookup
            .sessions()
            .and_then(|sessions| sessions.find(key, now))
            .is_some_and(|session| session.life.established);
        let life = self.lifetimes.after(facts, scope, established, now);
        let opened = self
            .lookup
            .sessions()
            .ok_or(Refused::Full)
            .and_then(|sessions| sessions.open(key, collector, id.unwrap_or_default(), life, now));
        match opened {
            Ok(()) => {
                // Nearly always so already: a load spares the other processes a contended write.
                if !self.shared.is_following() {
                    self.shared.set_following();
                }
                Followed::Yes
            }
            Err(Refused::Full) => {
                self.counters.add(Count::TableFull);
                Followed::TableFull
            }
            Err(Refused::TooLong) => {
                self.counters.add(Count::NotFollowed);
                Followed::IdTooLong
            }
        }
    }

    /// Puts a message into the queue, if its method and its ends are wanted and the collector has not got it yet.
    /// Unless `GUARDED`, nothing may have to be masked or dropped: see `guarded`.
    #[inline]
    fn send<const GUARDED: bool>(
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
        let id = correlation_id(correlation, message.raw);
        self.queue::<GUARDED>(Payload::Sip, slot, message, id)
    }

    /// The slot of a collector; known ones are found without touching shared memory.
    #[inline]
    fn slot(&mut self, collector: Option<&[u8]>) -> Result<u8, Refusal> {
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
    fn queue<const GUARDED: bool>(
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
