//! Places for streams: how many there may be at a time, in all and of one peer. A stream that has not brought a packet
//! yet, the one that has waited for longest first, gives way to a new one when there is no place left: whoever only
//! opens connections cannot keep those out who have something to send.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::network;

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
    /// Those that have brought no packet, oldest first.
    idle: BTreeSet<u64>,
    peers: HashMap<IpAddr, Peer>,
}

#[derive(Debug)]
struct Stream {
    peer: Option<IpAddr>,
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
    /// So many in all, and of one peer.
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
        if table.streams.len() >= self.most {
            let oldest = table.idle.first().copied().ok_or(NoPlace::Total)?;
            table.give_way(oldest);
        }
        let number = table.next;
        table.next += 1;
        let give_way = CancellationToken::new();
        table.streams.insert(number, Stream { peer: None, give_way: give_way.clone() });
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
        // It may have had to give way meanwhile.
        let Some(stream) = streams.get_mut(&self.number) else { return Ok(()) };
        stream.peer = Some(ip);
        let peer = peers.entry(ip).or_default();
        peer.streams += 1;
        if idle.contains(&self.number) {
            peer.idle.insert(self.number);
        }
        Ok(())
    }

    /// The stream has brought a packet: it keeps its place.
    pub fn keep(&self) {
        let mut table = self.places.lock();
        let Table { streams, idle, peers, .. } = &mut *table;
        idle.remove(&self.number);
        if let Some(peer) = streams.get(&self.number).and_then(|stream| peers.get_mut(&stream.peer?)) {
            peer.idle.remove(&self.number);
        }
    }

    /// Ends when the stream has to give way.
    pub async fn gives_way(&self) {
        self.give_way.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.places.lock().remove(self.number));
    }
}

impl Table {
    fn give_way(&mut self, number: u64) {
        if let Some(stream) = self.remove(number) {
            stream.give_way.cancel();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Stream> {
        let stream = self.streams.remove(&number)?;
        self.idle.remove(&number);
        if let Some(ip) = stream.peer
            && let Some(peer) = self.peers.get_mut(&ip)
        {
            peer.idle.remove(&number);
            peer.streams -= 1;
            if peer.streams == 0 {
                self.peers.remove(&ip);
            }
        }
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn gave_way(place: &Place) -> bool {
        place.give_way.is_cancelled()
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
        assert!(table.streams.is_empty() && table.idle.is_empty() && table.peers.is_empty(), "{table:?}");
    }
}
