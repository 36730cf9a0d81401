//! Packets waiting for one collector, bounded in octets.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hep::framing::{Frame, frame};

/// Packets back to back. HEP3 packets say their own length, so nothing lies between them, and a stream takes them as
/// they are.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    messages: u64,
    /// Nobody will put anything in any more.
    closed: bool,
}

/// Where the draining thread puts packets and a lane's thread takes them.
#[derive(Debug)]
pub struct Backlog {
    pending: Mutex<Pending>,
    arrived: Condvar,
    limit: usize,
}

impl Backlog {
    pub fn new(limit: usize) -> Self {
        Self { pending: Mutex::default(), arrived: Condvar::new(), limit }
    }

    /// Appends one packet; `false` if there is no room.
    pub fn put(&self, packet: &[u8]) -> bool {
        let mut pending = self.lock();
        let room = pending.bytes.len() + packet.len() <= self.limit;
        if room {
            pending.bytes.extend_from_slice(packet);
            pending.messages += 1;
        }
        room
    }

    /// Lets the lane's thread look. Once per turn is enough for many packets.
    pub fn wake(&self) {
        if self.lock().messages > 0 {
            self.arrived.notify_one();
        }
    }

    /// Messages waiting.
    pub fn len(&self) -> u64 {
        self.lock().messages
    }

    /// Lets the lane's thread end once it has emptied this.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits until there is something or the time is over, then takes all of it in exchange for the batch's old
    /// memory. `false` if there is nothing and never will be.
    pub fn swap(&self, batch: &mut Batch, wait: Duration) -> bool {
        let mut pending = self.lock();
        if pending.messages == 0 {
            let idle = |pending: &mut Pending| pending.messages == 0 && !pending.closed;
            let waited = self.arrived.wait_timeout_while(pending, wait, idle);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        batch.bytes.clear();
        std::mem::swap(&mut batch.bytes, &mut pending.bytes);
        batch.at = 0;
        batch.messages = std::mem::take(&mut pending.messages);
        !(pending.closed && batch.is_empty())
    }

    /// A thread that panicked while it held the lock left at worst a packet too few.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packets that a lane's thread is sending.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    at: usize,
    messages: u64,
}

impl Batch {
    /// The octets that are not sent yet; they begin with a packet.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Octets of the first packet; 0 if there is none.
    pub fn first_len(&self) -> usize {
        match frame(self.rest()) {
            Ok(Frame::Complete(len)) => len,
            // Only whole packets of our own encoder are put in; should that ever be wrong, the rest is dropped.
            Ok(Frame::Incomplete { .. }) | Err(_) => self.rest().len(),
        }
    }

    /// The first packet.
    pub fn first(&self) -> &[u8] {
        self.rest().get(..self.first_len()).unwrap_or_default()
    }

    /// The first packet is done with, sent or not.
    pub fn advance(&mut self) {
        self.at += self.first_len();
        self.messages = self.messages.saturating_sub(1);
    }

    /// Messages that are not done with.
    pub fn len(&self) -> u64 {
        self.messages
    }

    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    #[cfg(test)]
    pub fn of(packets: &[&[u8]]) -> Self {
        Self { bytes: packets.concat(), at: 0, messages: packets.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of `len` octets.
    fn packet(len: u8) -> Vec<u8> {
        let mut packet = vec![b'H', b'E', b'P', b'3', 0, len];
        packet.resize(len.into(), len);
        packet
    }

    #[test]
    fn what_exceeds_the_limit_is_refused_and_the_rest_comes_out_whole() {
        let backlog = Backlog::new(50);
        assert!(backlog.put(&packet(20)));
        assert!(backlog.put(&packet(30)));
        assert!(!backlog.put(&packet(10)));
        let mut batch = Batch::default();
        backlog.swap(&mut batch, Duration::ZERO);
        assert_eq!((batch.len(), backlog.len()), (2, 0));
        assert_eq!(batch.first(), packet(20));
        batch.advance();
        assert_eq!(batch.first(), packet(30));
        batch.advance();
        assert!(batch.is_empty());
        assert!(backlog.put(&packet(50)));
    }
}
