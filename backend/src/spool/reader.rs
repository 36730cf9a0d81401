use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::segment::{self, HEADER_LEN, Parsed};
use super::shared::{Extent, Shared, lock};
use super::{Position, Record, SpoolError};

/// How much of a segment is read at a time, octets.
const PIECE: usize = 1 << 20;

/// The end of the spool that gives records out.
pub struct SpoolReader {
    shared: Arc<Shared>,
    dir: PathBuf,
    position: Position,
    /// The first segment that was begun since the opening.
    opened: u64,
    /// The segment of `position`, once something was read of it.
    file: Option<(u64, File)>,
    /// Whole pieces that were read for the last batch: the next one takes their memory, once no record needs it.
    pieces: Vec<Bytes>,
    /// How many records the last batch had.
    usual: usize,
}

/// Some records.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they were taken; empty if none came in time.
    pub records: Vec<Record>,
    /// The position behind the last of them.
    pub end: Position,
}

impl SpoolReader {
    pub(super) fn new(shared: Arc<Shared>, dir: PathBuf, start: Position, opened: u64) -> Self {
        Self { shared, dir, position: start, opened, file: None, pieces: Vec::new(), usual: 0 }
    }

    /// The next records, all of them durable: as many as there are, up to `max_records` and to `max_bytes` octets of
    /// HEP, but one at least. If there is none, waits for one, at most so long. A batch may be smaller than it could
    /// be: it ends with its segment.
    ///
    /// # Errors
    /// When a segment cannot be read. The next call tries the same place again.
    pub fn next_batch(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Batch, SpoolError> {
        let mut wait = Some(wait);
        let mut idle = std::mem::take(&mut self.pieces);
        while let Some(end) = self.readable(wait.take()) {
            let records = self.read(end, max_records.max(1), max_bytes, &mut idle)?;
            if !records.is_empty() {
                self.usual = records.len();
                return Ok(Batch { records, end: self.position });
            }
            // All of it was damaged: there may be a next segment.
        }
        Ok(Batch { records: Vec::new(), end: self.position })
    }

    /// Deletes the segments wholly before `position`: the store has committed everything up to there.
    ///
    /// # Errors
    /// When a segment cannot be deleted. It is tried again at the next release.
    pub fn release(&mut self, position: Position) -> Result<(), SpoolError> {
        let before = lock(&self.shared.extent).before(position);
        for number in before {
            let path = segment::path(&self.dir, number);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(SpoolError::io("remove", path)(error));
                }
                _ => {}
            }
            let mut extent = lock(&self.shared.extent);
            let len = extent.segments.remove(&number).unwrap_or(0);
            let oldest = extent.oldest();
            drop(extent);
            self.shared.stats.disk_shrank(len);
            self.shared.stats.set_oldest(oldest);
        }
        Ok(())
    }

    /// Goes to the position up to which the store has everything, before anything is read: for a spool that was opened
    /// without knowing it. One that can be of no segment that was there then, because these were deleted by hand, is no reason to leave out
    /// what has come in since.
    pub fn begin_at(&mut self, checkpoint: Option<Position>) {
        let Some(checkpoint) = checkpoint else { return };
        if checkpoint.segment >= self.opened {
            tracing::warn!(
                ?checkpoint,
                "the store knows more of this spool than is there; what is there is stored from its beginning"
            );
            return;
        }
        self.position = self.position.max(checkpoint);
    }

    /// Where the next batch begins.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Moves to the segment where there is something to read, and says up to which offset. With `wait`, waits for it.
    fn readable(&mut self, wait: Option<Duration>) -> Option<u64> {
        let position = self.position;
        let extent = lock(&self.shared.extent);
        let found = match wait {
            None => next_readable(&extent, position),
            Some(wait) => {
                let nothing = |extent: &mut Extent| next_readable(extent, position).is_none();
                let (extent, _) = self
                    .shared
                    .extent_changed
                    .wait_timeout_while(extent, wait, nothing)
                    .unwrap_or_else(PoisonError::into_inner);
                next_readable(&extent, position)
            }
        };
        let (position, end) = found?;
        self.position = position;
        Some(end)
    }

    /// Reads records of the current segment up to the offset `end`.
    fn read(
        &mut self,
        end: u64,
        max_records: usize,
        max_bytes: usize,
        idle: &mut Vec<Bytes>,
    ) -> Result<Vec<Record>, SpoolError> {
        let mut records = Vec::with_capacity(self.usual.min(max_records));
        let mut bytes = 0;
        let mut wanted = PIECE;
        while self.position.offset < end
            && records.len() < max_records
            && (records.is_empty() || bytes < max_bytes)
        {
            let piece = self.piece(end, wanted, idle)?;
            wanted = PIECE;
            let mut at = 0;
            while records.len() < max_records {
                match segment::parse(&piece[at..]) {
                    Parsed::Record(record, total) => {
                        if !records.is_empty() && bytes + record.hep.len() > max_bytes {
                            self.position.offset += at as u64;
                            return Ok(records);
                        }
                        bytes += record.hep.len();
                        records.push(record.with(piece.slice_ref(record.hep)));
                        at += total;
                    }
                    Parsed::Streams(total) => at += total,
                    Parsed::Incomplete(needed) if self.position.offset + (at + needed) as u64 <= end => {
                        wanted = wanted.max(needed);
                        break;
                    }
                    _ if self.position.offset + at as u64 == end => break,
                    _ => {
                        self.skip_damage(at, end);
                        return Ok(records);
                    }
                }
            }
            self.position.offset += at as u64;
        }
        Ok(records)
    }

    /// What stands at the position: `wanted` octets, or what there is up to `end`.
    fn piece(&mut self, end: u64, wanted: usize, idle: &mut Vec<Bytes>) -> Result<Bytes, SpoolError> {
        let Position { segment, offset } = self.position;
        let path = || segment::path(&self.dir, segment);
        let file = match self.file.take() {
            Some((number, file)) if number == segment => file,
            _ => File::open(path()).map_err(|error| SpoolError::io("open", path())(error))?,
        };
        let len = usize::try_from(end - offset).unwrap_or(usize::MAX).min(wanted);
        let mut piece = memory(idle, len);
        file.read_exact_at(&mut piece, offset).map_err(|error| SpoolError::io("read", path())(error))?;
        self.file = Some((segment, file));
        let piece = piece.freeze();
        if len == PIECE {
            self.pieces.push(piece.clone());
        }
        Ok(piece)
    }

    /// Leaves out what follows a bad record, up to the offset `end`: where the next one begins cannot be known.
    fn skip_damage(&mut self, at: usize, end: u64) {
        let bad = self.position.offset + at as u64;
        let path = segment::path(&self.dir, self.position.segment);
        tracing::error!(path = %path.display(), offset = bad, skipped_bytes = end - bad, "a spool segment is damaged");
        self.shared.stats.damaged(end - bad);
        self.position.offset = end;
    }
}

/// Room for so many octets: that of an idle piece, if it has as many and nobody needs it.
fn memory(idle: &mut Vec<Bytes>, len: usize) -> BytesMut {
    let free = if len == PIECE { idle.pop().and_then(|piece| piece.try_into_mut().ok()) } else { None };
    free.unwrap_or_else(|| BytesMut::zeroed(len))
}

/// The first place at or behind `position` where a durable record begins, and where those of its segment end.
fn next_readable(extent: &Extent, position: Position) -> Option<(Position, u64)> {
    extent.segments.range(position.segment..).find_map(|(&segment, &len)| {
        let offset = if segment == position.segment { position.offset.max(HEADER_LEN) } else { HEADER_LEN };
        (offset < len).then_some((Position { segment, offset }, len))
    })
}
