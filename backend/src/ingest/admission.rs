//! Whether a packet is taken.

mod batch;
mod ledger;
mod refusal;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::watch;

use super::content::{ContentRules, Duplicates};
use super::keys::Keys;
use super::quarantine::{Quarantine, Refused as Quarantined};
use super::rate::RateLimit;
use super::{Receipt, Way};
use crate::network::Network;
use crate::spool::SpoolHandle;
use crate::telemetry::{Metrics, clock};

pub use batch::Batch;
use ledger::{Entry, Ledger};
use refusal::Not;
pub use refusal::Refusal;

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
            self.refuse(Arrival { way, peer, packet: &[] }, Refusal::Network);
        }
        allowed
    }

    /// How many records of the spool are synced.
    pub(super) fn durable_records(&self) -> watch::Receiver<u64> {
        self.inner.spool.durable_records()
    }

    /// Packets that come now, none of them yet.
    #[must_use]
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Counts, and keeps, what is not even a packet.
    pub fn refuse(&self, arrival: Arrival<'_>, refusal: Refusal) {
        let received_at_us = clock::now_us();
        let mut ledger = Ledger::default();
        ledger.note(arrival, Entry { not: Some(refusal.into()), ..Entry::default() }, received_at_us);
        ledger.count(&self.inner.metrics);
        self.keep_garbage(&self.rules(), arrival, refusal, received_at_us);
    }

    /// Lets a stream wait for a moment.
    pub(super) async fn hold_back(&self) {
        self.inner.metrics.tcp_held_back.inc();
        tokio::time::sleep(super::FULL_PAUSE).await;
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.inner.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn in_rate(&self, rules: &Rules, arrival: Arrival<'_>) -> bool {
        let most = rules.packets_per_second;
        most == 0 || self.inner.rate.take(arrival.peer.ip(), most, Instant::now())
    }

    fn keep_garbage(&self, rules: &Rules, arrival: Arrival<'_>, reason: Refusal, received_at_us: i64) {
        if !reason.is_garbage() {
            return;
        }
        let Arrival { way, peer, packet } = arrival;
        let size = packet.len();
        self.inner.quarantine.keep(packet, rules.quarantine_bytes, |number, octets| Quarantined {
            number,
            received_at_us,
            peer,
            way,
            reason,
            size,
            octets,
        });
    }
}

impl Rules {
    fn allow(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(ip))
    }
}
