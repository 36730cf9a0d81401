//! Places for streams: how many there may be at a time, in all and of one peer. A stream that has not brought a packet
//! yet, the one that has waited for longest first, gives way to a new one when there is no place left: whoever only
//! opens connections cannot keep those out who have something to send. What a stream sent before it had to give way is
//! still read, and if that is a packet, the stream stays: in a burst of connections nobody goes for not having been read.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::network;

/// How long a stream that has to give way is still read. The runtime looks at sockets before it looks at the time, so
/// that what has come until then is seen, however late it is.
const LAST_CHANCE: Duration = Duration::from_millis(20);

/// All places; cheap to clone.
#[derive(Clone, Debug)]
pub struct Places {
    most: usize,
    most_of_peer: usize,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    streams: HashMap<u64, Stream>,
    /// How many of them have a place: all that do not have to go.
    taken: usize,
    /// Those that have brought no packet, oldest first.
    idle: BTreeSet<u64>,
    peers: HashMap<IpAddr, Peer>,
}

#[derive(Debug)]
struct Stream {
    peer: Option<IpAddr>,
    leaving: bool,
    give_way: CancellationToken,
}

#[derive(Debug, Default)]
struct Peer {
    streams: usize,
    idle: BTreeSet<u64>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoPlace {
    /// All are taken by streams that have brought packets.
    Total,
    /// The peer has as many as one may have, and all have brought packets.
    Peer,
}

impl NoPlace {
    /// The value of the metric's label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Peer => "peer",
        }
    }
}

/// The place of one stream; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    number: u64,
    give_way: CancellationToken,
}

impl Places {
    /// So many in all, and of one peer; above that only those that brought a packet when they had just been told to go.
    #[must_use]
    pub fn new(most: usize, most_of_peer: usize) -> Self {
        Self { most, most_of_peer, table: Arc::default() }
    }

    /// A place for a stream; `None` as peer where that is not known yet, or is nobody in particular.
    ///
    /// # Errors
    /// When there is none, and nobody to give way.
    pub fn take(&self, peer: Option<IpAddr>) -> Result<Place, NoPlace> {
        let mut table = self.lock();
        if table.taken >= self.most {
            let oldest = table.idle.first().copied().ok_or(NoPlace::Total)?;
            table.give_way(oldest);
        }
        table.taken += 1;
        let number = table.next;
        table.next += 1;
        let give_way = CancellationToken::new();
        table.streams.insert(number, Stream { peer: None, leaving: false, give_way: give_way.clone() });
        table.idle.insert(number);
        drop(table);
        let place = Place { places: self.clone(), number, give_way };
        if let Some(peer) = peer {
            place.belongs_to(peer)?;
        }
        Ok(place)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the stream as one of this peer's.
    ///
    /// # Errors
    /// When the peer has too many, and none of them to give way.
    pub fn belongs_to(&self, peer: IpAddr) -> Result<(), NoPlace> {
        let ip = network::peer(peer);
        let mut table = self.places.lock();
        if let Some(peer) = table.peers.get(&ip)
            && peer.streams >= self.places.most_of_peer
        {
            let oldest = peer.idle.first().copied().ok_or(NoPlace::Peer)?;
            table.give_way(oldest);
        }
        let Table { streams, idle, peers, .. } = &mut *table;
        let Some(stream) = streams.get_mut(&self.number) else { return Ok(()) };
        stream.peer = Some(ip);
        // It may have had to give way meanwhile.
        if !stream.leaving {
            let peer = peers.entry(ip).or_default();
            peer.streams += 1;
            if idle.contains(&self.number) {
                peer.idle.insert(self.number);
            }
        }
        Ok(())
    }

    /// The stream has brought a packet: it keeps its place.
    pub fn keep(&self) {
        let mut table = self.places.lock();
        let Table { streams, idle, peers, taken, .. } = &mut *table;
        idle.remove(&self.number);
        let Some(stream) = streams.get_mut(&self.number) else { return };
        let returns = std::mem::take(&mut stream.leaving);
        *taken += usize::from(returns);
        if let Some(ip) = stream.peer {
            let peer = peers.entry(ip).or_default();
            peer.idle.remove(&self.number);
            peer.streams += usize::from(returns);
        }
    }

    /// Ends when the stream has to give way, and what it had sent until then brought no packet. In a `select!` it must
    /// stand behind what reads the stream, and be `biased`.
    pub async fn gives_way(&self) {
        self.give_way.cancelled().await;
        tokio::time::sleep(LAST_CHANCE).await;
        if !self.is_leaving() {
            std::future::pending::<()>().await;
        }
    }

    fn is_leaving(&self) -> bool {
        self.places.lock().streams.get(&self.number).is_some_and(|stream| stream.leaving)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        table.free(self.number);
        table.streams.remove(&self.number);
    }
}

impl Table {
    fn give_way(&mut self, number: u64) {
        self.free(number);
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.leaving = true;
            stream.give_way.cancel();
        }
    }

    /// Makes the place of a stream free, if it has one.
    fn free(&mut self, number: u64) {
        let Some(Stream { peer, leaving: false, .. }) = self.streams.get(&number) else { return };
        self.taken -= 1;
        self.idle.remove(&number);
        if let Some(ip) = peer
            && let Some(peer) = self.peers.get_mut(ip)
        {
            peer.idle.remove(&number);
            peer.streams -= 1;
            if peer.streams == 0 {
                self.peers.remove(ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn gave_way(place: &Place) -> bool {
        place.is_leaving()
    }

    #[test]
    fn who_has_brought_nothing_gives_way_and_who_has_does_not() {
        let places = Places::new(3, 3);
        let take = |peer| places.take(ip(peer));
        let (silent, busy) = (take("192.0.2.1").expect("a place"), take("192.0.2.2").expect("a place"));
        busy.keep();
        let later = take("192.0.2.1").expect("a place");
        let new = take("192.0.2.3").expect("the place of the oldest");
        assert_eq!([&silent, &busy, &later, &new].map(gave_way), [true, false, false, false]);
        later.keep();
        new.keep();
        assert_eq!(take("192.0.2.9").err(), Some(NoPlace::Total));
        drop(later);
        assert!(take("192.0.2.9").is_ok());
    }

    #[test]
    fn a_peer_has_its_bound_and_takes_nothing_from_others() {
        let places = Places::new(100, 2);
        let other = places.take(ip("2001:db8:2::1")).expect("a place");
        let first = places.take(ip("2001:db8::1")).expect("a place");
        let second = places.take(ip("2001:db8::2")).expect("the same host, as far as anybody knows");
        let third = places.take(None).expect("a place");
        third.belongs_to("2001:db8::3".parse().expect("an address")).expect("the place of the first");
        assert_eq!([&other, &first, &second, &third].map(gave_way), [false, true, false, false]);
        second.keep();
        third.keep();
        assert_eq!(places.take(ip("2001:db8::4")).err(), Some(NoPlace::Peer));
        assert!(places.take(ip("2001:db8:3::1")).is_ok());
    }

    #[tokio::test]
    async fn who_brings_a_packet_when_told_to_go_stays_and_counts_again() {
        let places = Places::new(2, 9);
        let take = || places.take(ip("192.0.2.1"));
        let (late, silent) = (take().expect("a place"), take().expect("a place"));
        let newer = take().expect("the place of the first");
        late.keep();
        newer.keep();
        let newest = take().expect("the place of the silent one");
        newest.keep();
        assert_eq!([&late, &silent, &newer, &newest].map(gave_way), [false, true, false, false]);
        silent.gives_way().await;
        let stays = tokio::time::timeout(LAST_CHANCE * 3, late.gives_way()).await;
        assert!(stays.is_err(), "it was let go");
        // Three have brought packets where there are places for two: one has to end before the next may come.
        drop(silent);
        drop(newest);
        assert_eq!(take().err(), Some(NoPlace::Total));
        drop(newer);
        assert!(take().is_ok());
    }

    #[test]
    fn nothing_is_left_of_those_that_ended() {
        let places = Places::new(10, 4);
        for round in 0..1000 {
            let taken: Vec<_> = (0..20).map(|n| places.take(ip(&format!("192.0.2.{}", n % 3)))).collect();
            if let Some(Ok(place)) = taken.get(round % 20) {
                place.keep();
            }
        }
        let table = places.lock();
        assert!(
            table.taken == 0 && table.streams.is_empty() && table.idle.is_empty() && table.peers.is_empty(),
            "{table:?}"
        );
    }
}
