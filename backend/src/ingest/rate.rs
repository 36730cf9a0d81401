//! How much each peer may send: a bucket of tokens for each, filled as time goes on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::network::peer;

/// Peers that have a bucket of their own. When there are more, those who have not sent for longest lose theirs,
/// which makes them no poorer: a bucket that was left alone for a second is full.
const MOST_PEERS: usize = 4096;

/// Buckets of one second's tokens.
#[derive(Debug)]
pub struct RateLimit {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { buckets: Mutex::new(HashMap::new()) }
    }
}

impl RateLimit {
    /// Takes a token of this peer's; `false` where it has none left. `per_second` is the rate and the size of the
    /// bucket.
    pub fn take(&self, ip: IpAddr, per_second: u32, now: Instant) -> bool {
        let size = f64::from(per_second);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let ip = peer(ip);
        if buckets.len() >= MOST_PEERS && !buckets.contains_key(&ip) {
            make_room(&mut buckets);
        }
        let bucket = buckets.entry(ip).or_insert(Bucket { tokens: size, at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * size).min(size);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// Drops the older half, so that making room costs little for each peer.
fn make_room(buckets: &mut HashMap<IpAddr, Bucket>) {
    let mut times: Vec<_> = buckets.values().map(|bucket| bucket.at).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    buckets.retain(|_, bucket| bucket.at > median);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_gets_its_rate_and_takes_nothing_from_others() {
        let limit = RateLimit::default();
        let start = Instant::now();
        let (one, other) =
            ("192.0.2.1".parse().expect("an address"), "192.0.2.2".parse().expect("an address"));
        let taken = |ip, now| (0..1000).filter(|_| limit.take(ip, 100, now)).count();
        assert_eq!(taken(one, start), 100);
        assert_eq!(taken(one, start + Duration::from_millis(500)), 50);
        assert_eq!(taken(one, start + Duration::from_secs(100)), 100, "what was not sent is not saved up");
        assert_eq!(taken(other, start), 100);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_those_who_send() {
        let limit = RateLimit::default();
        let start = Instant::now();
        let busy = "192.0.2.1".parse().expect("an address");
        for n in 0..20_000u32 {
            let now = start + Duration::from_micros(u64::from(n));
            let _spoofed = limit.take(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n)), 10, now);
            let _busy = limit.take(busy, 10, now);
            let size = limit.buckets.lock().expect("the table").len();
            assert!(size <= MOST_PEERS, "{size}");
        }
        assert!(!limit.take(busy, 10, start + Duration::from_micros(20_000)), "its bucket is still the same");
    }
}
