//! Packets waiting for one collector, bounded in octets.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hep::framing::{Frame, frame};
use hep::{SEQUENCE_LEN, Sequence, append_sequence};

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
    /// Whether packets get room for a sequence.
    numbered: bool,
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Taken,
    /// There is no room.
    Full,
    /// It is no packet: something is wrong in the memory that it comes from.
    NoPacket,
}

impl Backlog {
    pub fn new(limit: usize, numbered: bool) -> Self {
        Self { pending: Mutex::default(), arrived: Condvar::new(), limit, numbered }
    }

    /// Appends one packet.
    pub fn put(&self, packet: &[u8]) -> Put {
        let mut pending = self.lock();
        let len = packet.len() + if self.numbered { SEQUENCE_LEN } else { 0 };
        if pending.bytes.len() + len > self.limit {
            return Put::Full;
        }
        let taken = if self.numbered {
            append_sequence(packet, &mut pending.bytes)
        } else {
            let is_whole = frame(packet) == Ok(Frame::Complete(packet.len()));
            if is_whole {
                pending.bytes.extend_from_slice(packet);
            }
            is_whole
        };
        if !taken {
            return Put::NoPacket;
        }
        pending.messages += 1;
        Put::Taken
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

    /// Waits until there is something or the time is over, then moves all of it behind what the batch still holds, if it
    /// has room. `false` if there is nothing and never will be.
    pub fn fill(&self, batch: &mut Batch, wait: Duration) -> bool {
        let mut pending = self.lock();
        if pending.messages == 0 && !wait.is_zero() {
            let idle = |pending: &mut Pending| pending.messages == 0 && !pending.closed;
            let waited = self.arrived.wait_timeout_while(pending, wait, idle);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let Pending { bytes, messages, closed } = &mut *pending;
        batch.append(bytes, messages, self.limit);
        !(*closed && *messages == 0 && batch.is_empty() && batch.waiting() == 0)
    }

    /// A thread that panicked while it held the lock left at worst a packet too few.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Packets that a lane's thread has: first those that have gone out and are kept until they are acknowledged, then those
/// that have not gone out.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the first packet begins that is kept.
    kept: usize,
    /// Where the first packet begins that has not gone out.
    at: usize,
    /// Packets from `kept` to `at`.
    waiting: u64,
    /// Packets from `at` on.
    messages: u64,
    /// Whether there was no room for more.
    crowded: bool,
    numbers: Option<Numbers>,
}

/// Where the lane is in its stream.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    stream: u64,
    /// The first number for the present collector.
    first: u64,
    /// The number of the last packet that is done with: the first that is kept has the next one.
    done: u64,
    /// The highest number that has ever gone out.
    most: u64,
    /// Packets that begin before this place have their sequence.
    stamped: usize,
    /// The number of the last of them.
    stamped_number: u64,
}

/// Packets and their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub packets: u64,
    pub bytes: u64,
}

impl Batch {
    /// For packets that are numbered in this stream; for packets as they are, if there is none.
    pub fn new(stream: Option<u64>) -> Self {
        let numbers = stream.map(|stream| Numbers {
            stream,
            first: 1,
            done: 0,
            most: 0,
            stamped: 0,
            stamped_number: 0,
        });
        Self { numbers, ..Self::default() }
    }

    /// The stream in which they are numbered.
    pub fn stream(&self) -> Option<u64> {
        self.numbers.map(|numbers| numbers.stream)
    }

    /// Takes all of these, unless that would be more than `limit` together with what is here.
    fn append(&mut self, bytes: &mut Vec<u8>, messages: &mut u64, limit: usize) {
        let len = self.bytes.len() - self.kept;
        self.crowded = *messages > 0 && len > 0 && len + bytes.len() > limit;
        if *messages == 0 || self.crowded {
            return;
        }
        if len == 0 || self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.close_up();
        }
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            self.bytes.append(bytes);
        }
        self.messages += std::mem::take(messages);
    }

    /// Frees the room before what is kept.
    fn close_up(&mut self) {
        self.bytes.drain(..self.kept);
        self.at -= self.kept;
        if let Some(numbers) = &mut self.numbers {
            numbers.stamped = numbers.stamped.saturating_sub(self.kept);
        }
        self.kept = 0;
    }

    /// The octets that have not gone out; they begin with a packet.
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Of the octets that have not gone out, those from `from` on, at most so many; their packets have their sequence.
    pub fn outgoing(&mut self, from: usize, most: usize) -> &[u8] {
        self.stamp(self.at.saturating_add(from).saturating_add(most));
        let rest = self.rest();
        rest.get(from..rest.len().min(from.saturating_add(most))).unwrap_or_default()
    }

    /// Gives all packets that begin before this place their sequence.
    fn stamp(&mut self, end: usize) {
        let Some(numbers) = &mut self.numbers else { return };
        let end = end.min(self.bytes.len());
        while numbers.stamped < end {
            let Some(rest) = self.bytes.get_mut(numbers.stamped..) else { return };
            let len = first_len(rest);
            numbers.stamped_number += 1;
            let (stream, number, first) = (numbers.stream, numbers.stamped_number, numbers.first);
            Sequence { stream, number, first }.stamp(rest.get_mut(..len).unwrap_or_default());
            numbers.stamped += len;
        }
    }

    /// Octets of the first packet that has not gone out; 0 if there is none.
    pub fn first_len(&self) -> usize {
        first_len(self.rest())
    }

    /// The first packet that has not gone out, with its sequence.
    pub fn first(&mut self) -> &[u8] {
        let len = self.first_len();
        self.outgoing(0, len)
    }

    /// The first packet has gone out, and is kept.
    pub fn advance(&mut self) {
        self.at += self.first_len();
        self.messages = self.messages.saturating_sub(1);
        self.waiting += 1;
        if let Some(numbers) = &mut self.numbers {
            numbers.most = numbers.most.max(numbers.done + self.waiting);
        }
    }

    /// Those that have gone out are done with.
    pub fn forget(&mut self) -> Amount {
        let gone = Amount { packets: self.waiting, bytes: (self.at - self.kept) as u64 };
        if let Some(numbers) = &mut self.numbers {
            numbers.done += self.waiting;
        }
        self.kept = self.at;
        self.waiting = 0;
        gone
    }

    /// Those up to this number are done with, as far as they have gone out. `None` if it is the number of none that ever has.
    pub fn acknowledge(&mut self, number: u64) -> Option<Amount> {
        let numbers = self.numbers.as_mut().filter(|numbers| number <= numbers.most)?;
        let packets = number.saturating_sub(numbers.done).min(self.waiting);
        let before = self.kept;
        for _ in 0..packets {
            self.kept += first_len(self.bytes.get(self.kept..).unwrap_or_default());
        }
        numbers.done += packets;
        self.waiting -= packets;
        Some(Amount { packets, bytes: (self.kept - before) as u64 })
    }

    /// Those that have gone out and are kept have to go out again; how many they are.
    pub fn again(&mut self) -> u64 {
        let again = std::mem::take(&mut self.waiting);
        self.messages += again;
        self.at = self.kept;
        if let Some(numbers) = &mut self.numbers {
            numbers.stamped = self.kept;
            numbers.stamped_number = numbers.done;
        }
        again
    }

    /// From here on they go to another collector.
    pub fn elsewhere(&mut self) {
        if let Some(numbers) = &mut self.numbers {
            numbers.first = numbers.done + self.waiting + 1;
            numbers.stamped = self.at;
            numbers.stamped_number = numbers.done + self.waiting;
        }
    }

    /// Messages that have not gone out.
    pub fn len(&self) -> u64 {
        self.messages
    }

    /// Messages that have gone out and are kept.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Whether more waits than there is room for here.
    pub fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Whether all have gone out.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    #[cfg(test)]
    pub fn of(packets: &[&[u8]]) -> Self {
        Self { bytes: packets.concat(), messages: packets.len() as u64, ..Self::default() }
    }
}

/// Octets of the packet at the start; 0 if there is nothing. Only whole packets are put in.
fn first_len(bytes: &[u8]) -> usize {
    match frame(bytes) {
        Ok(Frame::Complete(len)) => len,
        Ok(Frame::Incomplete { .. }) | Err(_) => bytes.len(),
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
        let backlog = Backlog::new(50, false);
        assert_eq!(backlog.put(&packet(20)), Put::Taken);
        assert_eq!(backlog.put(&packet(30)), Put::Taken);
        assert_eq!(backlog.put(&packet(10)), Put::Full);
        let mut batch = Batch::default();
        backlog.fill(&mut batch, Duration::ZERO);
        assert_eq!((batch.len(), backlog.len()), (2, 0));
        assert_eq!(batch.first(), packet(20));
        batch.advance();
        assert_eq!(batch.first(), packet(30));
        batch.advance();
        assert!(batch.is_empty());
        assert_eq!(backlog.put(&packet(50)), Put::Taken);
    }

    #[test]
    fn what_is_no_packet_is_told_apart() {
        for numbered in [true, false] {
            let backlog = Backlog::new(500, numbered);
            for octets in [&b""[..], b"HEP3\0\x07", b"HEP3\0\x06x", &[7; 40]] {
                assert_eq!(backlog.put(octets), Put::NoPacket);
            }
            assert_eq!(backlog.len(), 0);
        }
    }

    #[test]
    fn what_is_kept_and_what_waits_are_bounded_each_by_the_limit() {
        let backlog = Backlog::new(200, true);
        let mut batch = Batch::new(Some(7));
        let fill =
            |batch: &mut Batch| backlog.put(&packet(20)) == Put::Taken && backlog.fill(batch, Duration::ZERO);
        for _ in 0..8 {
            assert!(fill(&mut batch));
            while !batch.is_empty() {
                batch.advance();
            }
        }
        // Four of 50 octets are kept, four wait.
        assert!(!fill(&mut batch));
        assert_eq!((batch.waiting(), batch.is_crowded(), backlog.len()), (4, true, 4));
        assert_eq!(batch.acknowledge(2), Some(Amount { packets: 2, bytes: 100 }));
        backlog.fill(&mut batch, Duration::ZERO);
        assert_eq!((batch.len(), batch.is_crowded()), (0, true), "all or none");
        assert_eq!(batch.acknowledge(4), Some(Amount { packets: 2, bytes: 100 }));
        backlog.fill(&mut batch, Duration::ZERO);
        assert_eq!((batch.len(), batch.is_crowded(), backlog.len()), (4, false, 0));
        assert_eq!(batch.acknowledge(5), None, "that one has not gone out");
        assert_eq!(batch.acknowledge(1), Some(Amount::default()), "an old answer");
    }
}
