//! What handles, writer and reader share.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hep::{Sequence, Transport};
use tokio::sync::watch;

use super::segment::{self, HEADER_LEN, Head};
use super::streams::{Standing, Streams};
use super::{Position, Record, Refused, SpoolConfig, SpoolStats, Taken};

/// State of an open spool.
pub(super) struct Shared {
    /// Counters, also for those outside.
    pub(super) stats: Arc<SpoolStats>,
    /// What was taken and the writer has not picked up.
    pub(super) pending: Mutex<Pending>,
    /// Told when a group begins, is large enough, or the spool is closed.
    pub(super) pending_changed: Condvar,
    /// What is durable.
    pub(super) extent: Mutex<Extent>,
    /// Told when more is durable.
    pub(super) extent_changed: Condvar,
    /// How many records are durable, counted as [`Taken::ticket`] counts.
    pub(super) durable_records: watch::Sender<u64>,
    max_bytes: u64,
    memory_bytes: u64,
    segment_len: u64,
    sync_bytes: usize,
    /// Keeps other processes out for as long as either end is in use.
    _lock: File,
}

/// Records that were taken, encoded one after another.
#[derive(Default)]
pub(super) struct Group {
    /// Their octets.
    pub(super) octets: Vec<u8>,
    /// How many they are.
    pub(super) records: u64,
    /// Their streams and numbers, where they are numbered: of several in a row of one stream the highest.
    pub(super) numbers: Vec<(u64, u64)>,
}

impl Group {
    fn push(&mut self, head: &Head, packet: &[u8], sequence: Option<Sequence>) {
        head.append(packet, &mut self.octets);
        self.records += 1;
        let Some(Sequence { stream, number, .. }) = sequence else { return };
        match self.numbers.last_mut() {
            Some((last, highest)) if *last == stream => *highest = number.max(*highest),
            _ => self.numbers.push((stream, number)),
        }
    }
}

/// The group that is being gathered.
pub(super) struct Pending {
    pub(super) group: Group,
    /// Octets in memory: of this group, and of the one the writer has.
    pub(super) held_bytes: u64,
    pub(super) closed: bool,
    /// Records taken since the opening.
    pub(super) taken: u64,
    /// What was taken of numbered packets.
    pub(super) streams: Streams,
}

/// Which octets on disk are durable records.
#[derive(Default)]
pub(super) struct Extent {
    /// Durable length of each segment. When there is a later segment, the length is final.
    pub(super) segments: BTreeMap<u64, u64>,
    /// End of what is durable.
    pub(super) durable: Position,
}

impl Shared {
    pub(super) fn new(
        config: &SpoolConfig,
        extent: Extent,
        streams: Streams,
        cut_bytes: u64,
        lock: File,
    ) -> Self {
        let stats = SpoolStats::new(&extent, cut_bytes);
        stats.set_streams(streams.len(), 0);
        let pending = Pending { group: Group::default(), held_bytes: 0, closed: false, taken: 0, streams };
        Self {
            stats: Arc::new(stats),
            pending: Mutex::new(pending),
            pending_changed: Condvar::new(),
            extent: Mutex::new(extent),
            extent_changed: Condvar::new(),
            durable_records: watch::Sender::new(0),
            max_bytes: config.max_bytes,
            memory_bytes: config.memory_bytes,
            segment_len: config.segment_len(),
            sync_bytes: usize::try_from(config.sync_bytes).unwrap_or(usize::MAX),
            _lock: lock,
        }
    }

    /// Lets records be taken, and gives nobody else a turn meanwhile.
    pub(super) fn taking<T>(&self, take: impl FnOnce(&mut Taking<'_>) -> T) -> T {
        let mut pending = lock(&self.pending);
        let (octets, taken) = (pending.group.octets.len(), pending.taken);
        let result = take(&mut Taking { shared: self, pending: &mut pending });
        let (more_octets, more_taken) = (pending.group.octets.len(), pending.taken);
        drop(pending);
        self.stats.offered(more_taken - taken);
        // The writer sleeps until a group begins, and then until it is due or large enough.
        let begins = octets == 0 && more_octets > 0;
        if begins || (octets < self.sync_bytes && more_octets >= self.sync_bytes) {
            self.pending_changed.notify_one();
        }
        result
    }

    fn note(&self, streams: &mut Streams, sequence: Sequence) {
        let known = streams.len();
        streams.take(sequence);
        if streams.len() != known {
            self.stats.set_streams(streams.len(), streams.forgotten);
        }
    }

    /// Octets that the headers of new segments may take for what is held. A segment ends where the next record does not
    /// fit, so two in a row hold more than the length of one.
    fn headers(&self, held: u64, streams: usize) -> u64 {
        (2 * held / self.segment_len + 2) * (HEADER_LEN + segment::streams_len(streams))
    }

    /// Ends the taking of records; what was taken is still written.
    pub(super) fn close(&self) {
        lock(&self.pending).closed = true;
        self.pending_changed.notify_all();
    }
}

/// Takes records into memory, one after the other.
pub struct Taking<'a> {
    shared: &'a Shared,
    pending: &'a mut Pending,
}

impl Taking<'_> {
    /// Takes a record, unless it came before. Never waits; refusals are counted.
    ///
    /// # Errors
    /// When a bound is reached, or the spool is closed.
    pub fn take(&mut self, record: &Record<&[u8]>, sequence: Option<Sequence>) -> Result<Taken, Refused> {
        let Self { shared, pending } = self;
        let Some(head) = Head::new(record, sequence) else {
            shared.stats.refused();
            return Err(Refused::Full);
        };
        if pending.closed {
            return Err(Refused::Closed);
        }
        let is_datagram = record.transport == Transport::Udp;
        let standing = sequence.map(|sequence| pending.streams.standing(sequence, is_datagram));
        let standing = standing.unwrap_or_default();
        if standing == Standing::Again {
            return Ok(Taken { ticket: pending.taken, standing });
        }
        let held = pending.held_bytes + head.record_len(record.hep.len()) as u64;
        let on_disk = held + shared.headers(held, pending.streams.len());
        if held > shared.memory_bytes || shared.stats.disk_bytes() + on_disk > shared.max_bytes {
            shared.stats.refused();
            return Err(Refused::Full);
        }
        if let Some(sequence) = sequence {
            shared.note(&mut pending.streams, sequence);
        }
        pending.group.push(&head, record.hep, sequence);
        pending.held_bytes = held;
        pending.taken += 1;
        Ok(Taken { ticket: pending.taken, standing })
    }

    /// Notes a numbered packet that is not to be taken: it is not missing, and need not come again.
    pub fn pass(&mut self, sequence: Sequence, is_datagram: bool) -> Taken {
        let Self { shared, pending } = self;
        let standing = pending.streams.standing(sequence, is_datagram);
        shared.note(&mut pending.streams, sequence);
        Taken { ticket: pending.taken, standing }
    }
}

impl Extent {
    /// Adds durable records at the end of a segment.
    pub(super) fn grow(&mut self, segment: u64, len: u64) {
        self.segments.insert(segment, len);
        self.durable = Position { segment, offset: len };
    }

    /// Segments that hold nothing at or behind `position`. Never the last one: it may grow, and what it tells of streams is
    /// told by no other.
    pub(super) fn before(&self, position: Position) -> Vec<u64> {
        let newest = self.segments.last_key_value().map(|(&segment, _)| segment);
        let wholly_before = |(&segment, &len): (&u64, &u64)| {
            let last = segment == position.segment && len <= position.offset;
            (segment < position.segment || last) && newest != Some(segment)
        };
        let numbers = self.segments.iter().take_while(|entry| wholly_before((entry.0, entry.1)));
        numbers.map(|(&segment, _)| segment).collect()
    }

    /// Position of the oldest record, or the end if there is none.
    pub(super) fn oldest(&self) -> Position {
        let first = self.segments.iter().find(|&(_, &len)| len > HEADER_LEN);
        first.map_or(self.durable, |(&segment, _)| Position { segment, offset: HEADER_LEN })
    }
}

/// Locks; a thread that panicked with the lock has at worst left a group half counted, which is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
