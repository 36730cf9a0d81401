use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Position;
use super::shared::Extent;

/// Counters of an open spool, for metrics and for the health page. All count from its opening.
#[derive(Debug, Default)]
pub struct SpoolStats {
    records_offered: AtomicU64,
    records_durable: AtomicU64,
    bytes_durable: AtomicU64,
    groups_synced: AtomicU64,
    refused_full: AtomicU64,
    refused_disk_error: AtomicU64,
    disk_errors: AtomicU64,
    bad_records: AtomicU64,
    cut_bytes: AtomicU64,
    oldest_segment: AtomicU64,
    oldest_offset: AtomicU64,
    disk_bytes: AtomicU64,
    streams: AtomicU64,
    streams_forgotten: AtomicU64,
    unhealthy: AtomicBool,
}

/// What the counters say at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpoolSnapshot {
    /// Records taken.
    pub records_offered: u64,
    /// Records synced to disk. When this has reached what `records_offered` was, those are all safe.
    pub records_durable: u64,
    /// Octets of the records synced.
    pub bytes_durable: u64,
    /// Syncs.
    pub groups_synced: u64,
    /// Records not taken, for either of the reasons below.
    pub refused: u64,
    /// Records not taken because a bound was reached while the disk worked.
    pub refused_full: u64,
    /// Records not taken because a bound was reached while the disk failed.
    pub refused_disk_error: u64,
    /// Failed attempts to write a group.
    pub disk_errors: u64,
    /// Records that could not be read because they were damaged; what followed them in their segment was skipped.
    pub bad_records: u64,
    /// Octets cut off in recovery, or skipped because of damage.
    pub cut_bytes: u64,
    /// Where the oldest record kept begins.
    pub oldest: Position,
    /// Octets of all segments.
    pub disk_bytes: u64,
    /// Streams of numbered packets that are known.
    pub streams: u64,
    /// Streams that had to be forgotten for others. What is sent again of one of them is stored again.
    pub streams_forgotten: u64,
    /// Whether the last attempt to write succeeded.
    pub healthy: bool,
}

impl SpoolStats {
    pub(super) fn new(extent: &Extent, cut_bytes: u64) -> Self {
        let stats = Self { cut_bytes: cut_bytes.into(), ..Self::default() };
        stats.set_oldest(extent.oldest());
        stats.disk_bytes.store(extent.segments.values().sum(), Ordering::Relaxed);
        stats
    }

    /// Reads all counters; they belong together only roughly while records come in.
    #[must_use]
    pub fn snapshot(&self) -> SpoolSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (refused_full, refused_disk_error) = (get(&self.refused_full), get(&self.refused_disk_error));
        SpoolSnapshot {
            records_durable: self.records_durable.load(Ordering::Acquire),
            records_offered: get(&self.records_offered),
            bytes_durable: get(&self.bytes_durable),
            groups_synced: get(&self.groups_synced),
            refused: refused_full + refused_disk_error,
            refused_full,
            refused_disk_error,
            disk_errors: get(&self.disk_errors),
            bad_records: get(&self.bad_records),
            cut_bytes: get(&self.cut_bytes),
            oldest: Position { segment: get(&self.oldest_segment), offset: get(&self.oldest_offset) },
            disk_bytes: get(&self.disk_bytes),
            streams: get(&self.streams),
            streams_forgotten: get(&self.streams_forgotten),
            healthy: !self.unhealthy.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_streams(&self, known: usize, forgotten: u64) {
        self.streams.store(known as u64, Ordering::Relaxed);
        self.streams_forgotten.store(forgotten, Ordering::Relaxed);
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn offered(&self, records: u64) {
        self.records_offered.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        let failing = self.unhealthy.load(Ordering::Relaxed);
        let counter = if failing { &self.refused_disk_error } else { &self.refused_full };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, records: u64, bytes: u64) {
        self.bytes_durable.fetch_add(bytes, Ordering::Relaxed);
        self.groups_synced.fetch_add(1, Ordering::Relaxed);
        self.records_durable.fetch_add(records, Ordering::Release);
    }

    pub(super) fn disk_grew(&self, bytes: u64) {
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn disk_shrank(&self, bytes: u64) {
        self.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn disk_failed(&self) {
        self.disk_errors.fetch_add(1, Ordering::Relaxed);
        self.unhealthy.store(true, Ordering::Relaxed);
    }

    /// Whether it had failed before.
    pub(super) fn disk_works(&self) -> bool {
        self.unhealthy.swap(false, Ordering::Relaxed)
    }

    pub(super) fn damaged(&self, bytes: u64) {
        self.bad_records.fetch_add(1, Ordering::Relaxed);
        self.cut_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_oldest(&self, oldest: Position) {
        self.oldest_segment.store(oldest.segment, Ordering::Relaxed);
        self.oldest_offset.store(oldest.offset, Ordering::Relaxed);
    }
}
