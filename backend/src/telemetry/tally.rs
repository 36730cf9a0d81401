//! Who sent what, and what became of it: by peer and by agent, in tables of bounded size.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::network::peer;
use crate::spool::Standing;

/// Peers, and agents, that have an entry of their own. Further ones are counted together.
const MOST_ENTRIES: usize = 1024;

/// How long the freshest packet tells an agent's clock, µs.
const CLOCK_WINDOW_US: i64 = 60_000_000;

/// An agent whose clock differs by so much is one whose times cannot be compared with others', µs.
pub const SKEWED_US: i64 = 2_000_000;

/// What became of packets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Packets that were taken.
    pub accepted: u64,
    /// Packets that were not, by reason: refused, or left out by a rule.
    pub refused: BTreeMap<&'static str, u64>,
    /// The last packet, µs since the epoch.
    pub last_seen_us: i64,
}

/// A capture agent, as it says who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentCounts {
    /// What became of its packets.
    pub counts: Counts,
    /// What its packets' numbers tell.
    pub delivery: Delivery,
    /// Who sent the last one.
    pub peer: SocketAddr,
    /// Its clock less ours, µs, as told by the freshest packet of the last minute or two. What an agent kept for a
    /// while looks like a slow clock until something fresh comes. `None` before the first time was sent.
    pub clock_offset_us: Option<i64>,
}

/// What the numbers of an agent's packets tell, where it numbers them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Delivery {
    /// Packets that had not come when a later one did.
    pub missing: u64,
    /// Of these, those that came after all.
    pub late: u64,
    /// Packets that came again, and were not taken again.
    pub repeated: u64,
}

impl Delivery {
    /// Packets that are lost, as far as is known.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.missing.saturating_sub(self.late)
    }

    fn note(&mut self, counted: &Counted) {
        match counted.standing {
            // A number is whatever its sender says.
            Standing::New { missing } => self.missing = self.missing.saturating_add(missing),
            Standing::Late => self.late += counted.packets,
            Standing::Again => self.repeated += counted.packets,
        }
    }
}

/// What is known of packets when they are counted: one, or several that came together and differ in nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Who sent them.
    pub peer: SocketAddr,
    /// How many they are.
    pub packets: u64,
    /// When they came, µs since the epoch.
    pub received_at_us: i64,
    /// Which agent they are of, where it could be read.
    pub agent_id: Option<u32>,
    /// When the agent captured the last of them, µs since the epoch, where it says so.
    pub captured_at_us: Option<i64>,
    /// What became of them: taken, or refused for this reason.
    pub result: Result<(), &'static str>,
    /// How their numbers stand to those that came before; what is missing before any of them, in all.
    pub standing: Standing,
}

/// The tables.
#[derive(Debug, Default)]
pub struct Tally {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    peers: Table<IpAddr, Counts>,
    agents: Table<u32, Agent>,
    /// Of agents that have no entry of their own.
    other_delivery: Delivery,
}

#[derive(Debug)]
struct Table<K, V> {
    entries: HashMap<K, V>,
    others: Counts,
}

#[derive(Debug)]
struct Agent {
    counts: Counts,
    delivery: Delivery,
    peer: SocketAddr,
    clock: Clock,
}

/// The greatest offset of this window and of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    since_us: i64,
    now: Option<i64>,
    before: Option<i64>,
}

impl Tally {
    /// Counts packets. Tells whether the first of its peer that was refused for its reason is among them.
    pub fn count(&self, counted: &Counted) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { peers, agents, other_delivery } = &mut *inner;
        if let Some(agent_id) = counted.agent_id {
            let new = || Agent {
                counts: Counts::default(),
                delivery: Delivery::default(),
                peer: counted.peer,
                clock: Clock::default(),
            };
            match agents.entry(agent_id, counted.result.is_ok(), new, |agent| &agent.counts) {
                Some(agent) => {
                    agent.counts.count(counted);
                    agent.delivery.note(counted);
                    agent.peer = counted.peer;
                    if let Some(captured_at_us) = counted.captured_at_us.filter(|_| counted.result.is_ok()) {
                        agent.clock.note(counted.received_at_us, captured_at_us);
                    }
                }
                None => {
                    agents.others.count(counted);
                    other_delivery.note(counted);
                }
            }
        }
        let taken = counted.result.is_ok();
        match peers.entry(peer(counted.peer.ip()), taken, Counts::default, |counts| counts) {
            Some(counts) => counts.count(counted),
            None => peers.others.count(counted),
        }
    }

    /// All peers by address, and what became of those who have no entry of their own.
    #[must_use]
    pub fn peers(&self) -> (BTreeMap<IpAddr, Counts>, Counts) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = inner.peers.entries.iter().map(|(ip, counts)| (*ip, counts.clone())).collect();
        (peers, inner.peers.others.clone())
    }

    /// All agents by id, what became of the packets of those that have no entry of their own, and what those tell.
    #[must_use]
    pub fn agents(&self) -> (BTreeMap<u32, AgentCounts>, Counts, Delivery) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |agent: &Agent| AgentCounts {
            counts: agent.counts.clone(),
            delivery: agent.delivery,
            peer: agent.peer,
            clock_offset_us: agent.clock.now.max(agent.clock.before),
        };
        let agents = inner.agents.entries.iter().map(|(id, agent)| (*id, seen(agent))).collect();
        (agents, inner.agents.others.clone(), inner.other_delivery)
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), others: Counts::default() }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// The entry of this key. In a full table, one whose packets are taken gets the place of one whose never were, so
    /// that invented peers cannot hide real ones; what was counted there is counted under the others.
    fn entry(
        &mut self,
        key: K,
        taken: bool,
        new: impl FnOnce() -> V,
        counts: impl Fn(&V) -> &Counts,
    ) -> Option<&mut V> {
        if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(&key) {
            let idle = self.entries.iter().find(|(_, entry)| counts(entry).is_idle()).map(|(key, _)| *key);
            let gone = self.entries.remove(&idle.filter(|_| taken)?)?;
            self.others.add(counts(&gone));
        }
        Some(self.entries.entry(key).or_insert_with(new))
    }
}

impl Counts {
    /// Whether nothing of it was ever taken.
    fn is_idle(&self) -> bool {
        self.accepted == 0
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.last_seen_us = self.last_seen_us.max(other.last_seen_us);
        for (reason, count) in &other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }

    /// Counts; whether it is the first refusal for its reason.
    fn count(&mut self, counted: &Counted) -> bool {
        self.last_seen_us = counted.received_at_us;
        match counted.result {
            Ok(()) if counted.standing == Standing::Again => false,
            Ok(()) => {
                self.accepted += counted.packets;
                false
            }
            Err(reason) => {
                let count = self.refused.entry(reason).or_default();
                *count += counted.packets;
                *count == counted.packets
            }
        }
    }
}

impl Clock {
    fn note(&mut self, received_at_us: i64, captured_at_us: i64) {
        if received_at_us.saturating_sub(self.since_us) > CLOCK_WINDOW_US {
            *self = Self { since_us: received_at_us, now: None, before: self.now };
        }
        self.now = self.now.max(Some(captured_at_us.saturating_sub(received_at_us)));
    }
}

/// The tally as metrics: refusals by peer and by agent, what agents sent, and their clocks.
#[derive(Debug)]
pub(super) struct Exported(pub(super) Arc<Tally>);

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefusedLabels {
    who: String,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AgentLabels {
    /// Its number; `other` for those that have no entry of their own.
    agent_id: String,
}

/// Reads one number of them.
type Count = fn(&Delivery) -> u64;

impl Collector for Exported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (peers, other_peers) = self.0.peers();
        let (agents, other_agents, other_delivery) = self.0.agents();
        let others = "other".to_owned();
        let by_peer = peers.iter().map(|(ip, counts)| (ip.to_string(), counts));
        refused(
            &mut encoder,
            "ingest_peer_refused",
            "HEP packets refused, by sending address and reason",
            by_peer.chain([(others.clone(), &other_peers)]),
        )?;
        let by_agent = agents.iter().map(|(id, agent)| (id.to_string(), &agent.counts));
        refused(
            &mut encoder,
            "ingest_agent_refused",
            "HEP packets refused, by agent id and reason",
            by_agent.chain([(others.clone(), &other_agents)]),
        )?;
        let (name, help) = ("ingest_agent_packets", "HEP packets taken, by agent id");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let labels = |agent_id: &u32| AgentLabels { agent_id: agent_id.to_string() };
        let other = AgentLabels { agent_id: others };
        for (agent_id, agent) in &agents {
            let labels = labels(agent_id);
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&agent.counts.accepted, None)?;
        }
        let mut metric = family.encode_family(&other)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&other_agents.accepted, None)?;
        let told: [(&str, &str, Count); 3] = [
            ("ingest_agent_missing", "HEP packets that had not come when a later one did", |told| {
                told.missing
            }),
            ("ingest_agent_late", "HEP packets that came after a later one; less of missing, lost", |told| {
                told.late
            }),
            ("ingest_agent_repeated", "HEP packets that came again and were not taken again", |told| {
                told.repeated
            }),
        ];
        for (name, help, count) in told {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (agent_id, agent) in &agents {
                let labels = labels(agent_id);
                let mut metric = family.encode_family(&labels)?;
                metric.encode_counter::<NoLabelSet, _, u64>(&count(&agent.delivery), None)?;
            }
            let mut metric = family.encode_family(&other)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&count(&other_delivery), None)?;
        }
        let (name, help) = ("agent_clock_offset_microseconds", "an agent's clock less ours");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (agent_id, agent) in &agents {
            if let Some(offset_us) = agent.clock_offset_us {
                family.encode_family(&labels(agent_id))?.encode_gauge(&offset_us)?;
            }
        }
        Ok(())
    }
}

fn refused<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl Iterator<Item = (String, &'a Counts)>,
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (who, counts) in counts {
        for (reason, count) in &counts.refused {
            let labels = RefusedLabels { who: who.clone(), reason };
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(peer: &str, agent_id: u32, at_us: i64, result: Result<(), &'static str>) -> Counted {
        Counted {
            packets: 1,
            peer: peer.parse().expect("an address"),
            received_at_us: at_us,
            agent_id: Some(agent_id),
            captured_at_us: Some(at_us),
            result,
            standing: Standing::default(),
        }
    }

    #[test]
    fn each_refusal_is_counted_by_peer_agent_and_reason_and_told_once() {
        let tally = Tally::default();
        assert!(!tally.count(&counted("192.0.2.1:1", 7, 1, Ok(()))));
        assert!(tally.count(&counted("192.0.2.1:2", 7, 2, Err("key"))));
        assert!(!tally.count(&counted("192.0.2.1:3", 7, 3, Err("key"))));
        assert!(tally.count(&counted("192.0.2.1:3", 8, 4, Err("rate"))));
        let (peers, others) = tally.peers();
        let counts = &peers[&"192.0.2.1".parse::<IpAddr>().expect("an address")];
        assert_eq!((counts.accepted, counts.last_seen_us), (1, 4));
        assert_eq!(counts.refused, BTreeMap::from([("key", 2), ("rate", 1)]));
        assert_eq!(others, Counts::default());
        let (agents, ..) = tally.agents();
        assert_eq!(agents[&7].counts.refused, BTreeMap::from([("key", 2)]));
        assert_eq!(agents[&8].counts.refused, BTreeMap::from([("rate", 1)]));
    }

    #[test]
    fn what_an_agents_numbers_tell_is_summed_and_what_came_again_is_not_taken() {
        let tally = Tally::default();
        let standings =
            [Standing::New { missing: 5 }, Standing::Late, Standing::Again, Standing::New { missing: 0 }];
        for standing in standings {
            tally.count(&Counted { standing, ..counted("192.0.2.1:1", 7, 1, Ok(())) });
        }
        let agent = &tally.agents().0[&7];
        assert_eq!(agent.delivery, Delivery { missing: 5, late: 1, repeated: 1 });
        assert_eq!((agent.delivery.lost(), agent.counts.accepted), (4, 3));
    }

    #[test]
    fn numbers_that_no_sender_has_reach_are_counted_up_to_the_most_there_is() {
        let tally = Tally::default();
        for _ in 0..2 {
            let standing = Standing::New { missing: u64::MAX - 1 };
            tally.count(&Counted { standing, ..counted("192.0.2.1:1", 7, 1, Ok(())) });
        }
        assert_eq!(tally.agents().0[&7].delivery.missing, u64::MAX);
    }

    #[test]
    fn what_numbers_tell_is_known_of_agents_without_an_entry_too() {
        let tally = Tally::default();
        for agent_id in 0..=MOST_ENTRIES as u32 {
            let standing = Standing::New { missing: 3 };
            tally.count(&Counted { standing, ..counted("192.0.2.1:1", agent_id, 1, Ok(())) });
        }
        let (agents, others, delivery) = tally.agents();
        assert_eq!((agents.len(), others.accepted, delivery.missing), (MOST_ENTRIES, 1, 3));
    }

    #[test]
    fn invented_peers_fill_neither_the_memory_nor_the_place_of_real_ones() {
        let tally = Tally::default();
        for n in 0..5000u32 {
            let peer = SocketAddr::from((std::net::Ipv4Addr::from_bits(n), 1));
            tally.count(&Counted { peer, ..counted("0.0.0.0:1", n, 1, Err("network")) });
        }
        tally.count(&counted("192.0.2.1:1", 100_000, 2, Ok(())));
        let (peers, others) = tally.peers();
        // Also what was counted of the one who had to go is still there.
        assert_eq!((peers.len(), others.refused["network"]), (MOST_ENTRIES, 5001 - MOST_ENTRIES as u64));
        assert!(peers.contains_key(&"192.0.2.1".parse().expect("an address")));
        let (agents, ..) = tally.agents();
        assert_eq!((agents.len(), agents.contains_key(&100_000)), (MOST_ENTRIES, true));
    }

    #[test]
    fn a_clock_is_told_by_the_freshest_packet_of_late() {
        let tally = Tally::default();
        let sent = |received: i64, captured: i64| {
            let counted = counted("192.0.2.1:1", 7, received * 1_000_000, Ok(()));
            tally.count(&Counted { captured_at_us: Some(captured * 1_000_000), ..counted });
            tally.agents().0[&7].clock_offset_us.expect("an offset") / 1_000_000
        };
        assert_eq!(sent(1000, 400), -600, "kept for ten minutes, or a clock that is slow");
        assert_eq!(sent(1001, 1001), 0, "it was kept");
        assert_eq!(sent(1002, 500), 0);
        assert_eq!(sent(1003, 1033), 30, "and now its clock is fast");
        assert_eq!(sent(1070, 1070), 30);
        assert_eq!(sent(1140, 1140), 0, "which is forgotten when it is right again");
    }
}
