//! Which packets came already: the same agent, addresses and payload, captured at about the same time.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hep::{Packet, Payload};
use xxhash_rust::xxh3::Xxh3;

/// Parts of the table, each with a lock of its own.
const PARTS: usize = 16;

/// Packets that a generation of a part remembers. With two generations that is half a million in all, some 20 MB.
const MOST: usize = 16_384;

/// Remembers packets for the window at least, unless more than a quarter of a million came in it.
#[derive(Debug)]
pub struct Duplicates {
    /// Makes hashes that nobody else can foresee.
    seed: u64,
    parts: [Mutex<Part>; PARTS],
}

/// Hash of a packet → its time of capture, µs.
type Generation = HashMap<u64, i64, BuildHasherDefault<AsIs>>;

#[derive(Debug, Default)]
struct Part {
    now: Generation,
    before: Generation,
    since_us: i64,
}

impl Default for Duplicates {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Without randomness it still works; only somebody who makes collisions on purpose would be no worse off.
        let _random = getrandom::fill(&mut seed);
        Self { seed: u64::from_le_bytes(seed), parts: Default::default() }
    }
}

impl Duplicates {
    /// Remembers a packet, by what is returned; `None` if the same came already, captured no more than `window_us` from it.
    #[must_use]
    pub fn remember(&self, packet: &Packet<'_>, window_us: i64, now_us: i64) -> Option<u64> {
        let hash = self.hash(packet);
        let captured_at_us = packet.time.map_or(now_us, hep::Timestamp::as_micros);
        let mut part = self.part(hash);
        part.age(window_us, now_us);
        let Part { now, before, .. } = &mut *part;
        let close = |at: &i64| captured_at_us.abs_diff(*at) <= window_us.unsigned_abs();
        if now.get(&hash).or_else(|| before.get(&hash)).is_some_and(close) {
            return None;
        }
        now.insert(hash, captured_at_us);
        Some(hash)
    }

    /// Forgets a packet that was not kept after all.
    pub fn forget(&self, hash: u64) {
        self.part(hash).now.remove(&hash);
    }

    fn part(&self, hash: u64) -> MutexGuard<'_, Part> {
        let at = (hash >> 60) as usize % PARTS;
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, packet: &Packet<'_>) -> u64 {
        let mut hash = Xxh3::with_seed(self.seed);
        hash.update(&packet.agent_id.unwrap_or_default().to_le_bytes());
        for (ip, port) in [(packet.src_ip, packet.src_port), (packet.dst_ip, packet.dst_port)] {
            let ip = ip.map_or(0, |ip| match ip {
                std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
                std::net::IpAddr::V6(ip) => ip.to_bits(),
            });
            hash.update(&ip.to_le_bytes());
            hash.update(&port.unwrap_or_default().to_le_bytes());
        }
        hash.update(&[packet.protocol_type.unwrap_or(super::SIP)]);
        match packet.payload {
            Payload::Plain(payload) | Payload::Compressed(payload) => hash.update(payload),
            Payload::None => {}
        }
        hash.digest()
    }
}

impl Part {
    /// Begins a generation when this one is old or full, and forgets the one before.
    fn age(&mut self, window_us: i64, now_us: i64) {
        let old = now_us.abs_diff(self.since_us) > window_us.unsigned_abs();
        if old || self.now.len() >= MOST {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            self.since_us = now_us;
        }
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _octets: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_US: i64 = 100_000;

    fn packet(at_us: i64, payload: &[u8]) -> Packet<'_> {
        Packet {
            agent_id: Some(7),
            src_ip: Some([192, 0, 2, 1].into()),
            src_port: Some(5060),
            time: hep::Timestamp::from_micros(at_us),
            payload: Payload::Plain(payload),
            ..Packet::default()
        }
    }

    #[test]
    fn only_the_same_at_about_the_same_time_is_a_duplicate() {
        let seen = Duplicates::default();
        let new = |packet: &Packet<'_>| seen.remember(packet, WINDOW_US, 1_000_000).is_some();
        let first = packet(1_000_000, b"INVITE");
        assert!(new(&first));
        assert!(!new(&first));
        assert!(!new(&packet(1_099_999, b"INVITE")));
        for other in [
            packet(1_000_000, b"BYE"),
            Packet { agent_id: Some(8), ..first.clone() },
            Packet { src_port: Some(5061), ..first.clone() },
            Packet { dst_ip: Some([192, 0, 2, 2].into()), ..first.clone() },
            Packet { protocol_type: Some(100), ..first.clone() },
        ] {
            assert!(new(&other), "{other:?}");
        }
        // Sent again by the far side, half a second later, it is another message.
        assert!(new(&packet(1_500_000, b"INVITE")));
    }

    #[test]
    fn it_is_remembered_for_the_window_and_forgotten_after_two() {
        let seen = Duplicates::default();
        let first = packet(1_000_000, b"INVITE");
        let new = |now_us| seen.remember(&first, WINDOW_US, now_us).is_some();
        assert!(new(1_000_000));
        assert!(!new(1_100_000));
        assert!(!new(1_150_000), "in the generation before");
        assert!(new(1_400_000), "forgotten: it came too late to be known");
    }

    #[test]
    fn what_could_not_be_kept_is_not_missed_when_it_comes_again() {
        let seen = Duplicates::default();
        let first = packet(1_000_000, b"INVITE");
        let mark = seen.remember(&first, WINDOW_US, 1_000_000).expect("new");
        seen.forget(mark);
        assert!(seen.remember(&first, WINDOW_US, 1_000_000).is_some());
    }

    #[test]
    fn the_memory_is_bounded() {
        let seen = Duplicates::default();
        for n in 0..1_000_000_u32 {
            assert!(seen.remember(&packet(1_000_000, &n.to_le_bytes()), WINDOW_US, 1_000_000).is_some());
        }
        let held: usize = seen
            .parts
            .iter()
            .map(|part| part.lock().expect("a part"))
            .map(|p| p.now.len() + p.before.len())
            .sum();
        assert!(held <= 2 * PARTS * MOST, "{held}");
    }
}
