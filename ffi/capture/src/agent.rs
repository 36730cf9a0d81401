//! What a worker of the proxy calls for each message.

mod log;
mod offer;
mod packet;
mod session;

use hep::Template;

use crate::config::Config;
use crate::correlation::Sources;
use crate::filter;
use crate::lookup::Lookup;
use crate::mask::Mask;
use crate::message::Message;
use crate::network::Network;
use crate::queue::Writer;
use crate::sessions::{Facts, Keys, Lifetimes, Session};
use crate::shared::Shared;
use crate::stats::{Count, ProcessCounters};
use crate::trace_filter::Filters;

pub use offer::{Delivered, Followed, Offer, Refusal, Scope};
use packet::{PROTOCOL_LOG, PROTOCOL_SIP};

/// Octets of the largest packet: what fits a UDP datagram over IPv4, whatever the transport to the collector, less what the
/// sender adds.
pub const MAX_PACKET_BYTES: usize = 65_507 - hep::SEQUENCE_LEN;

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
        let facts = Facts::of(&offer.message);
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
        let facts = Facts::of(&offer.message);
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
        let Some(facts) = Facts::of(message) else { return Ok(()) };
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
}
