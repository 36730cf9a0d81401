//! What handles, writer and reader share.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::segment::{HEADER_LEN, Head};
use super::{Position, Record, Refused, SpoolConfig, SpoolStats};

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
}

/// The group that is being gathered.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) group: Group,
    /// Octets in memory: of this group, and of the one the writer has.
    pub(super) held_bytes: u64,
    pub(super) closed: bool,
}

/// Which octets on disk are durable records.
#[derive(Default)]
pub(super) struct Extent {
    /// Durable length of each segment. When there is a later segment, the length is final.
    pub(super) segments: BTreeMap<u64, u64>,
    /// The segment the writer appends to; not to be deleted.
    pub(super) active: Option<u64>,
    /// End of what is durable.
    pub(super) durable: Position,
}

impl Shared {
    pub(super) fn new(config: &SpoolConfig, extent: Extent, cut_bytes: u64, lock: File) -> Self {
        let stats = SpoolStats::new(&extent, cut_bytes);
        Self {
            stats: Arc::new(stats),
            pending: Mutex::default(),
            pending_changed: Condvar::new(),
            extent: Mutex::new(extent),
            extent_changed: Condvar::new(),
            max_bytes: config.max_bytes,
            memory_bytes: config.memory_bytes,
            segment_len: config.segment_len(),
            sync_bytes: usize::try_from(config.sync_bytes).unwrap_or(usize::MAX),
            _lock: lock,
        }
    }

    /// Takes a record into memory.
    pub(super) fn offer(&self, record: &Record) -> Result<(), Refused> {
        let Some(head) = Head::new(record) else {
            self.stats.refused();
            return Err(Refused::Full);
        };
        let len = head.octets().len() + record.hep.len();

        let mut pending = lock(&self.pending);
        if pending.closed {
            return Err(Refused::Closed);
        }
        let held = pending.held_bytes + len as u64;
        if held > self.memory_bytes || self.stats.disk_bytes() + held + self.headers(held) > self.max_bytes {
            drop(pending);
            self.stats.refused();
            return Err(Refused::Full);
        }
        let before = pending.group.octets.len();
        pending.group.octets.extend_from_slice(head.octets());
        pending.group.octets.extend_from_slice(&record.hep);
        pending.group.records += 1;
        pending.held_bytes = held;
        drop(pending);
        self.stats.offered();
        // The writer sleeps until a group begins, and then until it is due or large enough.
        if before == 0 || (before < self.sync_bytes && before + len >= self.sync_bytes) {
            self.pending_changed.notify_one();
        }
        Ok(())
    }

    /// Octets that the headers of new segments may take for what is held. A segment ends where the next record does not
    /// fit, so two in a row hold more than the length of one.
    fn headers(&self, held: u64) -> u64 {
        (2 * held / self.segment_len + 2) * HEADER_LEN
    }

    /// Ends the taking of records; what was taken is still written.
    pub(super) fn close(&self) {
        lock(&self.pending).closed = true;
        self.pending_changed.notify_all();
    }
}

impl Extent {
    /// Adds durable records at the end of a segment.
    pub(super) fn grow(&mut self, segment: u64, len: u64) {
        self.segments.insert(segment, len);
        self.active = Some(segment);
        self.durable = Position { segment, offset: len };
    }

    /// Segments that hold nothing at or behind `position` and will not grow.
    pub(super) fn before(&self, position: Position) -> Vec<u64> {
        let wholly_before = |(&segment, &len): (&u64, &u64)| {
            let last = segment == position.segment && len <= position.offset;
            (segment < position.segment || last) && self.active != Some(segment)
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
