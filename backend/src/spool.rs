//! The durable bounded queue between ingest and store. What a sender has handed over waits here, on disk, until the
//! store has committed it: through a crash of this process or of the machine, and while the store is away.
//!
//! # Promise
//!
//! - [`SpoolHandle::offer`] never waits for the disk. A record it took is in memory.
//! - A record at or below [`SpoolHandle::durable`] is on disk: the group it belongs to was written and `fdatasync`
//!   returned. Groups are synced after [`SpoolConfig::sync_bytes`] or [`SpoolConfig::sync_interval`], whichever is
//!   first, so a crash loses at most what one interval brought.
//! - The reader sees durable records only, in the order in which they were taken, and sees them again after a restart
//!   until their position is passed to [`SpoolReader::release`] and was the checkpoint at the next
//!   [`Spool::open`]. Delivery is at least once.
//! - The spool never grows beyond [`SpoolConfig::max_bytes`] on disk nor [`SpoolConfig::memory_bytes`] in memory. A
//!   record beyond that is refused and counted: the newest is dropped, never one that was taken.
//!
//! # Files
//!
//! A directory of segments, named by their number in twenty decimal digits and `.seg`, a file `id` that names the
//! spool, and a file `lock` that is locked while the spool is open. Numbers grow by one and are never used twice for records that were durable; a
//! position is a segment's number and an offset in its file, so positions grow with time. All numbers are little
//! endian.
//!
//! A segment is a header and records until its end:
//!
//! | offset | octets | header |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `SLSPOOL\n` |
//! | 8 | 4 | version, 2 |
//! | 12 | 8 | the segment's number |
//! | 20 | 4 | CRC32C of the 20 octets before |
//!
//! | offset | octets | record |
//! | --- | --- | --- |
//! | 0 | 4 | length of what follows the CRC, 16 to 1,048,576 |
//! | 4 | 4 | CRC32C of the length and of what follows this CRC |
//! | 8 | 8 | time of receipt, microseconds since 1970, signed |
//! | 16 | 1 | transport, as in Siplens' HEP chunk: 1 UDP, 2 TCP, 3 TLS, 4 SCTP, 5 WS, 6 WSS; 0x80 is added where the packet is numbered |
//! | 17 | 1 | peer's address family, 4 or 6 |
//! | 18 | 2 | peer's port |
//! | 20 | 4 or 16 | peer's address |
//! | then | 8 + 8 | where the packet is numbered: its stream, and its number |
//! | then | rest | the HEP packet as it was received, a key in it overwritten with zeros |
//!
//! A length of zero is never valid, so a tail of zeros is no record.
//!
//! Where the octet at 16 is 0, the record holds no packet, but what all segments before this one tell of streams. It
//! stands before a segment's first record, where any stream is known, and is synced with it:
//!
//! | offset | octets | streams |
//! | --- | --- | --- |
//! | 8 | 8 | when it was written, microseconds since 1970, signed |
//! | 16 | 4 | 0 |
//! | then | 8 + 8 each | stream, and the highest number of it; the stream that was quiet for the longest time first |
//!
//! Version 1 has neither numbered packets nor streams; it is read as it ever was.
//!
//! # Streams
//!
//! Packets of our own modules are numbered (`docs/hep.md`). What came before is not taken again
//! ([`SpoolHandle::taking`]), also when it came before a crash: the highest number of each stream is as durable as the
//! records. So the last segment is kept even when the store has all of it. The 4,096 streams used last are known.
//!
//! # Who owns what
//!
//! - The writer's thread alone creates segments and appends to them. It begins a new one when a record would make the
//!   current one longer than [`SpoolConfig::segment_bytes`], at each opening, and after an error.
//! - The reader alone deletes segments: those wholly before the position released.
//! - What both need, the durable length of each segment, is under one lock that nobody holds during I/O.
//!
//! # When the disk fails
//!
//! The group that could not be synced stays in memory and is tried again, in a new segment, as after a failed
//! `fdatasync` nothing is known of the old one beyond its durable length; the old one is cut there. Meanwhile
//! [`SpoolStats`] says unhealthy, and offers are taken until the memory bound is reached.
//!
//! # Recovery
//!
//! At opening, segments wholly before the checkpoint are deleted, but for the last. The last one is read: at the first record whose
//! length or CRC is wrong it is cut, since a crash leaves such an end. A wrong record in an earlier segment is damage:
//! it is counted when the reader comes there, and what follows it in that segment is skipped. A segment whose header
//! is wrong is put aside as `.bad`; one of a later version stops the opening. The reader begins at the checkpoint, or
//! at the oldest record.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod disk;
mod identity;
pub mod inspect;
mod reader;
mod recovery;
mod segment;
mod shared;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod writer;

pub use identity::identity;
pub use reader::{Batch, SpoolReader};
pub use recovery::lock;
pub use segment::MAX_RECORD_LEN;
pub use shared::Taking;
pub use stats::{SpoolSnapshot, SpoolStats};
pub use streams::{Standing, WINDOW};
pub use writer::{SpoolHandle, SpoolWriter};

use disk::{Disk, RealDisk};
use shared::Shared;
use streams::Streams;

/// A segment that is written as a whole, and the name of its file. Records that are longer than any can be are left out.
#[must_use]
pub fn segment_of(number: u64, records: &[&Record]) -> (String, Vec<u8>) {
    let mut octets = segment::header(number).to_vec();
    for record in records {
        if let Some(head) = segment::Head::new(&record.lend(), None) {
            head.append(&record.hep, &mut octets);
        }
    }
    (segment::name(number), octets)
}

/// The number of the segment in a file of this name.
#[must_use]
pub fn segment_number(file_name: &std::ffi::OsStr) -> Option<u64> {
    segment::number(file_name.to_str()?)
}

/// A place in the spool: a segment, and an offset in it. Positions grow with time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// Number of the segment file.
    pub segment: u64,
    /// Offset in the segment, octets.
    pub offset: u64,
}

/// One HEP packet as it was received: lent when it is offered, and shared with what was read of the spool at once when it
/// comes out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record<Octets = Bytes> {
    /// Time of receipt, microseconds since 1970.
    pub received_at_us: i64,
    /// Who sent it. Flow label and scope of an IPv6 address are not kept.
    pub peer: SocketAddr,
    /// How it came to us.
    pub transport: hep::Transport,
    /// The packet.
    pub hep: Octets,
}

impl Record {
    /// The same, its packet lent.
    fn lend(&self) -> Record<&[u8]> {
        self.with(&self.hep)
    }
}

impl<Octets> Record<Octets> {
    /// The same with this packet.
    fn with<Others>(&self, hep: Others) -> Record<Others> {
        let Self { received_at_us, peer, transport, .. } = *self;
        Record { received_at_us, peer, transport, hep }
    }
}

/// What became of a packet that was offered and not refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// Once so many records are synced ([`SpoolHandle::durable_records`]), this packet is safe.
    pub ticket: u64,
    /// Whether it is in order, and whether it was taken at all.
    pub standing: Standing,
}

/// Where the spool is, and its bounds.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Directory of the segments; made if it isn't there.
    pub dir: PathBuf,
    /// Largest size on disk, octets.
    pub max_bytes: u64,
    /// Size of one segment, octets; half of `max_bytes` is the most that is used.
    pub segment_bytes: u64,
    /// Longest wait before what came in is synced.
    pub sync_interval: Duration,
    /// How much is gathered for one sync, octets.
    pub sync_bytes: u64,
    /// Largest amount that is not yet on disk, octets.
    pub memory_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("spool"),
            max_bytes: 4 << 30,
            segment_bytes: 64 << 20,
            sync_interval: Duration::from_millis(5),
            sync_bytes: 1 << 20,
            memory_bytes: 64 << 20,
        }
    }
}

impl SpoolConfig {
    /// The length that ends a segment: there have to be two of them at least, since the one that is written cannot be
    /// deleted.
    fn segment_len(&self) -> u64 {
        self.segment_bytes.min(self.max_bytes / 2).max(1)
    }
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The writer was closed.
    #[error("the spool is closed")]
    Closed,
    /// A bound is reached, on disk or in memory, or the record alone is longer than [`MAX_RECORD_LEN`].
    #[error("the spool is full")]
    Full,
}

/// The spool cannot be opened, read, or closed without loss.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it open.
    #[error("spool {}: in use by another process", dir.display())]
    InUse {
        /// The spool's directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("spool: cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Records were still in memory when the spool was closed, and the disk took no more.
    #[error("spool: {records} records could not be written at the end")]
    Undrained {
        /// How many are lost.
        records: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A segment's number, or that of the checkpoint, is so great that few come after it. None that was counted up to is.
    #[error("spool {}: expected segment numbers below 2^63, found {found}", dir.display())]
    Number {
        /// The spool's directory.
        dir: PathBuf,
        /// The number.
        found: u64,
    },
    /// A segment was written by a later version of Siplens.
    #[error("spool segment {}: expected version 1 or 2, found {found}", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl SpoolError {
    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// The queue; its two ends are all there is.
#[derive(Debug)]
pub struct Spool;

impl Spool {
    /// Opens the spool, recovers what is there, and starts the writer's thread. `checkpoint` is the position up to
    /// which the store has everything.
    ///
    /// # Errors
    /// When the directory is in use, cannot be read or written, or holds a segment of a later version.
    pub fn open(
        config: SpoolConfig,
        checkpoint: Option<Position>,
    ) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
        Self::open_on(RealDisk, config, checkpoint)
    }

    /// The same on any disk: tests have one that fails.
    fn open_on(
        disk: impl Disk,
        config: SpoolConfig,
        checkpoint: Option<Position>,
    ) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
        let recovered = recovery::recover(&config.dir, checkpoint)?;
        let recovery::Recovered { extent, start, next_segment, streams, cut_bytes, lock } = recovered;
        let taken = Streams::restored(&streams);
        let shared = Arc::new(Shared::new(&config, extent, taken, cut_bytes, lock));
        let reader = SpoolReader::new(Arc::clone(&shared), config.dir.clone(), start, next_segment);
        let writer = SpoolWriter::start(shared, disk, config, next_segment, streams)?;
        Ok((writer, reader))
    }
}
