//! Whether a packet is taken.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use hep::Sequence;
use tokio::sync::watch;

use super::content::{ContentRules, Duplicates, Verdict};
use super::keys::Keys;
use super::quarantine::{Quarantine, Refused as Quarantined};
use super::rate::RateLimit;
use super::{Receipt, Way};
use crate::network::Network;
use crate::spool::{Record, Refused, SpoolHandle, Standing, Taken};
use crate::telemetry::tally::Counted;
use crate::telemetry::{Metrics, clock};

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// The backend is stopping.
    Closed,
    /// Its compressed payload does not inflate, or to more than the bound.
    Inflate,
    /// Its key is missing, unknown, or another agent's.
    Key,
    /// It isn't HEP.
    Malformed,
    /// It holds what has to be made unreadable, and is too long to be written so.
    Mask,
    /// Its peer is not in an allowed network.
    Network,
    /// It carries no payload.
    NoPayload,
    /// Its peer sends more than the rate allows.
    Rate,
    /// It is longer than the bound, or has no room for the name of its tenant.
    Size,
    /// The spool is full, on disk or in memory.
    SpoolFull,
}

impl Refusal {
    /// The value of the metric's label `result`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Inflate => "inflate",
            Self::Key => "key",
            Self::Malformed => "malformed",
            Self::Mask => "mask",
            Self::Network => "network",
            Self::NoPayload => "no_payload",
            Self::Rate => "rate",
            Self::Size => "size",
            Self::SpoolFull => "spool_full",
        }
    }

    /// Whether the packet itself is at fault, and worth a look.
    const fn is_garbage(self) -> bool {
        matches!(self, Self::Inflate | Self::Malformed | Self::NoPayload | Self::Size)
    }
}

/// What is taken, of whom, and how much.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may send; everybody where it is empty.
    pub networks: Vec<Network>,
    /// Whether every packet must carry a known key.
    pub require_key: bool,
    /// Packets a second of one peer; 0 is no limit.
    pub packets_per_second: u32,
    /// Longest packet, octets.
    pub packet_bytes: usize,
    /// Bound on an inflated payload, octets.
    pub inflated_bytes: usize,
    /// Octets of refused packets that are kept for a look.
    pub quarantine_bytes: usize,
    /// What is left out or made unreadable.
    pub content: ContentRules,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            require_key: false,
            packets_per_second: 0,
            packet_bytes: hep::MAX_PACKET_LEN,
            inflated_bytes: 256 * 1024,
            quarantine_bytes: 0,
            content: ContentRules::default(),
        }
    }
}

/// The door to the spool that all transports share.
#[derive(Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

struct Inner {
    spool: SpoolHandle,
    metrics: Arc<Metrics>,
    rules: RwLock<Arc<Rules>>,
    keys: Keys,
    rate: RateLimit,
    quarantine: Arc<Quarantine>,
    seen: Duplicates,
}

/// What a packet says of itself, as far as it could be read.
#[derive(Debug, Default)]
struct Read {
    agent_id: Option<u32>,
    captured_at_us: Option<i64>,
    has_key: bool,
    /// Whether it says itself whose it is.
    has_tenant: bool,
    /// Whose it is by its key.
    tenant: Option<Arc<str>>,
    sequence: Option<Sequence>,
    /// What is kept in its place, where something in it was made unreadable.
    masked: Option<Vec<u8>>,
    /// What it is remembered by, where duplicates are looked for.
    mark: Option<u64>,
}

/// Why a packet is not in the spool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Not {
    /// A rule leaves it out. To its sender it is as good as taken.
    LeftOut(&'static str),
    Refused(Refusal),
}

impl Not {
    /// Whether the packet, if it is numbered, will not be taken another time either. A datagram does not come again.
    fn is_final(self, way: Way) -> bool {
        match self {
            Self::LeftOut(_) => true,
            Self::Refused(Refusal::SpoolFull | Refusal::Closed) => way == Way::Udp,
            // Whoever has no key has no say in what is missing.
            Self::Refused(Refusal::Key) => false,
            Self::Refused(_) => true,
        }
    }
}

impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Outcome {
    /// Why it was not taken, if it was not. What came before, or what a rule leaves out, is as good as taken to its sender.
    pub result: Result<(), Refusal>,
    /// Of a numbered packet that need not come again: when that is so.
    pub receipt: Option<Receipt>,
}

/// A packet at the door.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// How it came.
    pub way: Way,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Its octets.
    pub packet: &'a [u8],
}

impl Admission {
    /// A door with these rules and keys.
    #[must_use]
    pub fn new(spool: SpoolHandle, metrics: Arc<Metrics>, mut rules: Rules, keys: Keys) -> Self {
        rules.content.count_in(&metrics);
        let rules = RwLock::new(Arc::new(rules));
        let (rate, quarantine, seen) = (RateLimit::default(), Arc::default(), Duplicates::default());
        Self { inner: Arc::new(Inner { spool, metrics, rules, keys, rate, quarantine, seen }) }
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// What was refused, to be looked at.
    #[must_use]
    pub fn quarantine(&self) -> Arc<Quarantine> {
        Arc::clone(&self.inner.quarantine)
    }

    /// Puts other rules in force.
    pub fn replace_rules(&self, mut rules: Rules) {
        rules.content.count_in(&self.inner.metrics);
        *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Whether this address may send at all. A stream is asked for once, when it begins; the refusal is counted.
    #[must_use]
    pub fn lets_in(&self, way: Way, peer: SocketAddr) -> bool {
        let allowed = self.rules().allow(peer.ip());
        if !allowed {
            let arrival = Arrival { way, peer, packet: &[] };
            self.count(arrival, &Read::default(), Err(Refusal::Network.into()), Standing::default());
        }
        allowed
    }

    /// How many records of the spool are synced.
    pub(super) fn durable_records(&self) -> watch::Receiver<u64> {
        self.inner.spool.durable_records()
    }

    /// Offers one packet to the spool; counted either way. Never waits.
    pub fn offer(&self, arrival: Arrival<'_>) -> Outcome {
        let rules = self.rules();
        let mut read = Read::default();
        let result = if !rules.allow(arrival.peer.ip()) {
            Err(Refusal::Network.into())
        } else if !self.in_rate(&rules, arrival.peer.ip()) {
            Err(Refusal::Rate.into())
        } else {
            let checked = self.check(&rules, arrival.packet, &mut read);
            checked.and_then(|()| self.spool(arrival, &read).map_err(Not::from))
        };
        self.end(arrival, &read, result)
    }

    /// Takes one packet of a stream, however long the spool is full or its peer over its rate: while it waits nothing
    /// of the stream is read, and the agent feels it. Counted either way. `stopping` ends the waiting.
    pub async fn take(&self, arrival: Arrival<'_>, stopping: impl Fn() -> bool) -> Outcome {
        let rules = self.rules();
        let mut read = Read::default();
        let checked = self.check(&rules, arrival.packet, &mut read);
        while checked.is_ok() && !stopping() && !self.in_rate(&rules, arrival.peer.ip()) {
            self.hold_back().await;
        }
        let result = match checked {
            Err(not) => Err(not),
            Ok(()) => loop {
                let result = self.spool(arrival, &read);
                if !matches!(result, Err(Refusal::SpoolFull)) || stopping() {
                    break result.map_err(Not::from);
                }
                self.hold_back().await;
            },
        };
        self.end(arrival, &read, result)
    }

    /// Counts, and keeps, what is not even a packet.
    pub fn refuse(&self, arrival: Arrival<'_>, refusal: Refusal) {
        self.count(arrival, &Read::default(), Err(refusal.into()), Standing::default());
    }

    /// Counts a packet of which is known what became of it.
    fn end(&self, arrival: Arrival<'_>, read: &Read, result: Result<Taken, Not>) -> Outcome {
        if let (Err(_), Some(mark)) = (result, read.mark) {
            self.inner.seen.forget(mark);
        }
        let taken = match result {
            Ok(taken) => Some(taken),
            Err(not) => read.sequence.filter(|_| not.is_final(arrival.way)).map(|sequence| {
                // Else it would look like a gap, and its sender would keep it for ever.
                self.inner.spool.pass(sequence, arrival.way == Way::Udp)
            }),
        };
        self.count(arrival, read, result.map(drop), taken.map(|taken| taken.standing).unwrap_or_default());
        let receipt = read.sequence.zip(taken);
        Outcome {
            result: match result {
                Ok(_) | Err(Not::LeftOut(_)) => Ok(()),
                Err(Not::Refused(refusal)) => Err(refusal),
            },
            receipt: receipt.map(|(sequence, taken)| Receipt { sequence, ticket: taken.ticket }),
        }
    }

    async fn hold_back(&self) {
        self.inner.metrics.tcp_held_back.inc();
        tokio::time::sleep(super::FULL_PAUSE).await;
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.inner.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn in_rate(&self, rules: &Rules, ip: IpAddr) -> bool {
        self.inner.rate.take(ip, rules.packets_per_second, Instant::now())
    }

    /// Whether this is a packet that can be stored, of an agent that may send it, and that no rule leaves out.
    fn check(&self, rules: &Rules, octets: &[u8], read: &mut Read) -> Result<(), Not> {
        if octets.len() > rules.packet_bytes {
            return Err(Refusal::Size.into());
        }
        let packet = hep::decode(octets).map_err(|_| Refusal::Malformed)?;
        *read = Read {
            agent_id: packet.agent_id,
            captured_at_us: packet
                .time
                .filter(|time| time.seconds > 0)
                .map(|time| i64::from(time.seconds) * 1_000_000 + i64::from(time.microseconds.min(999_999))),
            has_key: packet.auth_key.is_some(),
            has_tenant: hep::tenant(&packet).is_some(),
            sequence: packet.sequence,
            ..Read::default()
        };
        if rules.require_key || (read.has_key && self.inner.keys.tell_tenants()) {
            let opened = packet.auth_key.and_then(|key| self.inner.keys.open(key, packet.agent_id));
            if rules.require_key && opened.is_none() {
                return Err(Refusal::Key.into());
            }
            read.tenant = opened.and_then(|opened| opened.tenant);
        }
        match packet.payload {
            hep::Payload::None => return Err(Refusal::NoPayload.into()),
            hep::Payload::Plain(_) => {}
            hep::Payload::Compressed(_) => {
                packet.payload.inflate(rules.inflated_bytes).map(drop).map_err(|_| Refusal::Inflate)?
            }
        }
        if rules.content.is_any() {
            let Inner { seen, .. } = &*self.inner;
            match rules.content.apply(octets, &packet, rules.inflated_bytes, seen, clock::now_us()) {
                Verdict::Keep { masked, mark } => (read.masked, read.mark) = (masked, mark),
                Verdict::LeftOut(why) => return Err(Not::LeftOut(why)),
                Verdict::Unmaskable => return Err(Refusal::Mask.into()),
            }
        }
        Ok(())
    }

    /// Offers a packet that was checked. A key goes no further than this, nor does what an agent says of its tenant.
    fn spool(&self, arrival: Arrival<'_>, read: &Read) -> Result<Taken, Refusal> {
        let Arrival { way, peer, packet } = arrival;
        let mut hep = read.masked.as_deref().unwrap_or(packet).to_vec();
        if read.has_key {
            hep::erase_key(&mut hep);
        }
        if read.has_tenant {
            hep::erase_tenant(&mut hep);
        }
        if let Some(tenant) = &read.tenant {
            hep::append_tenant(&mut hep, tenant.as_bytes()).map_err(|_| Refusal::Size)?;
        }
        let record = Record { received_at_us: clock::now_us(), peer, transport: way.recorded(), hep };
        self.inner.spool.take(&record, read.sequence).map_err(|refused| match refused {
            Refused::Closed => Refusal::Closed,
            Refused::Full => Refusal::SpoolFull,
        })
    }

    /// Counts a packet by what became of it, says a refusal once for each peer and reason, and keeps garbage.
    fn count(&self, arrival: Arrival<'_>, read: &Read, result: Result<(), Not>, standing: Standing) {
        let Arrival { way, peer, packet } = arrival;
        let Inner { metrics, quarantine, .. } = &*self.inner;
        let reason = result.map_err(|not| match not {
            Not::LeftOut(why) => why,
            Not::Refused(refusal) => refusal.as_str(),
        });
        let taken = if standing == Standing::Again { "repeated" } else { "accepted" };
        metrics.ingested(way.as_str(), reason.err().unwrap_or(taken), packet.len());
        let received_at_us = clock::now_us();
        let Read { agent_id, captured_at_us, .. } = *read;
        let first = metrics.tally.count(&Counted {
            peer,
            received_at_us,
            agent_id,
            captured_at_us,
            result: reason,
            standing,
        });
        let Err(Not::Refused(refusal)) = result else { return };
        if first {
            tracing::warn!(%peer, agent.id = agent_id, reason = refusal.as_str(), "hep is refused; further refusals of this peer are counted only");
        }
        if refusal.is_garbage() {
            quarantine.keep(packet, self.rules().quarantine_bytes, |number, octets| Quarantined {
                number,
                received_at_us,
                peer,
                way,
                reason: refusal,
                size: packet.len(),
                octets,
            });
        }
    }
}

impl Rules {
    fn allow(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(ip))
    }
}
