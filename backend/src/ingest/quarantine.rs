//! What came and was garbage: the newest of it, in memory, for an engineer to look at.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use super::{Refusal, Way};

/// Octets that are kept of one packet.
const KEPT_BYTES: usize = 4096;

/// What an entry takes besides its octets, at least.
const ENTRY_BYTES: usize = 128;

/// A packet that was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Counted from 1 on, so that a gap tells what is no longer kept.
    pub number: u64,
    /// When it came, µs since the epoch.
    pub received_at_us: i64,
    /// Who sent it.
    pub peer: SocketAddr,
    /// How it came.
    pub way: Way,
    /// Why it was refused.
    pub reason: Refusal,
    /// How long it was, octets.
    pub size: usize,
    /// The first of its octets, a key overwritten with zeros.
    pub octets: Vec<u8>,
}

/// The newest refused packets, up to so many octets in all.
#[derive(Debug, Default)]
pub struct Quarantine {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    packets: VecDeque<Refused>,
    bytes: usize,
    count: u64,
}

impl Quarantine {
    /// Keeps a packet, and drops the oldest ones until all take no more than `most` octets.
    pub fn keep(&self, packet: &[u8], most: usize, refused: impl FnOnce(u64, Vec<u8>) -> Refused) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count += 1;
        if most >= ENTRY_BYTES + packet.len().min(KEPT_BYTES) {
            let mut octets = packet.get(..packet.len().min(KEPT_BYTES)).unwrap_or_default().to_vec();
            hep::erase_key(&mut octets);
            inner.bytes += ENTRY_BYTES + octets.len();
            let refused = refused(inner.count, octets);
            inner.packets.push_back(refused);
        }
        while inner.bytes > most
            && let Some(oldest) = inner.packets.pop_front()
        {
            inner.bytes -= ENTRY_BYTES + oldest.octets.len();
        }
    }

    /// Those that are kept, newest first, at most so many.
    #[must_use]
    pub fn newest(&self, limit: usize) -> Vec<Refused> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.packets.iter().rev().take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(quarantine: &Quarantine, packet: &[u8], most: usize) {
        quarantine.keep(packet, most, |number, octets| Refused {
            number,
            received_at_us: 0,
            peer: "192.0.2.1:1".parse().expect("an address"),
            way: Way::Udp,
            reason: Refusal::Malformed,
            size: packet.len(),
            octets,
        });
    }

    #[test]
    fn the_newest_are_kept_within_the_bound() {
        let quarantine = Quarantine::default();
        for n in 0..100u8 {
            keep(&quarantine, &[n; 72], 1000);
        }
        let kept = quarantine.newest(99);
        assert_eq!(
            kept.iter().map(|r| (r.number, r.octets[0])).collect::<Vec<_>>(),
            [(100, 99), (99, 98), (98, 97), (97, 96), (96, 95)]
        );
        assert_eq!(quarantine.newest(1).len(), 1);
        keep(&quarantine, &[7; 60_000], 10_000);
        assert_eq!(
            (quarantine.newest(1)[0].size, quarantine.newest(1)[0].octets.len()),
            (60_000, KEPT_BYTES)
        );
        keep(&quarantine, &[7; 60_000], 0);
        assert!(quarantine.newest(9).is_empty());
    }

    #[test]
    fn a_key_is_not_kept() {
        let quarantine = Quarantine::default();
        keep(&quarantine, b"HEP3\xff\xff\0\0\0\x0e\0\x20secret, cut", 1000);
        assert!(!quarantine.newest(1)[0].octets.windows(6).any(|w| w == b"secret"));
    }
}
