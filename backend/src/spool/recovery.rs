//! What is done to the files of an earlier run before the spool is used.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::segment::{self, HEADER_LEN, HeaderIs, Parsed};
use super::shared::Extent;
use super::streams::{Highest, MOST_STREAMS};
use super::{Position, SpoolError};

/// The highest number of a segment that others can follow: as a store keeps it, a signed number.
const MOST_NUMBER: u64 = i64::MAX.cast_unsigned();

/// What was found.
pub(super) struct Recovered {
    /// Segments that are left.
    pub(super) extent: Extent,
    /// Where the reader begins.
    pub(super) start: Position,
    /// Number of the next segment.
    pub(super) next_segment: u64,
    /// The streams in it.
    pub(super) streams: Highest,
    /// Octets that were cut off.
    pub(super) cut_bytes: u64,
    /// Locked as long as it is open.
    pub(super) lock: File,
}

/// Locks the directory, which is made if need be, and reads what is in it.
pub(super) fn recover(dir: &Path, checkpoint: Option<Position>) -> Result<Recovered, SpoolError> {
    let lock = lock(dir)?;
    let mut numbers = list(dir)?;
    let mut cut_bytes = 0;
    let mut streams = Highest::new(MOST_STREAMS);

    let mut extent = Extent::default();
    let last = numbers.last().copied();
    let checkpoint_segment = checkpoint.map_or(0, |checkpoint| checkpoint.segment);
    // Beyond the checkpoint as well: its records are known to the store, and a number must not come again.
    let highest = last.unwrap_or(0).max(checkpoint_segment);
    if highest > MOST_NUMBER {
        return Err(SpoolError::Number { dir: dir.into(), found: highest });
    }
    for number in numbers.drain(..) {
        let path = segment::path(dir, number);
        // The last one stays: what it tells of streams is told by no other.
        if number < checkpoint_segment && Some(number) != last {
            remove(&path)?;
            continue;
        }
        match open(&path, number)? {
            Found::Segment(mut file, len) if Some(number) == last => {
                let good = HEADER_LEN + read(&path, &mut file, &mut streams)?;
                cut_tail(&path, &file, good, len)?;
                cut_bytes += len - good;
                extent.segments.insert(number, good);
            }
            Found::Segment(_, len) => {
                extent.segments.insert(number, len);
            }
            Found::Damaged(len) => {
                cut_bytes += len;
                put_aside(&path, len)?;
            }
        }
    }

    // Where nothing of the last one was durable, the one before it tells of streams.
    let ends = extent.segments.iter().rev().filter(|(_, len)| **len > HEADER_LEN);
    if let Some(&before) = ends.map(|(number, _)| number).next().filter(|number| Some(**number) != last) {
        let path = segment::path(dir, before);
        if let Found::Segment(mut file, _) = open(&path, before)? {
            read(&path, &mut file, &mut streams)?;
        }
    }

    let end = extent.segments.last_key_value().map(|(&segment, &offset)| Position { segment, offset });
    extent.durable = end.max(checkpoint).unwrap_or_default();
    let start = checkpoint.unwrap_or_default();
    for number in extent.before(start) {
        remove(&segment::path(dir, number))?;
        extent.segments.remove(&number);
    }
    Ok(Recovered { extent, start, next_segment: highest + 1, streams, cut_bytes, lock })
}

/// Keeps everybody else from opening the spool in this directory, until the answer is dropped.
///
/// # Errors
/// When it is open, or the directory cannot be made or written to.
pub fn lock(dir: &Path) -> Result<File, SpoolError> {
    std::fs::create_dir_all(dir).map_err(SpoolError::io("make", dir))?;
    let path = dir.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(SpoolError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { dir: dir.into() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::io("lock", &path)(error)),
    }
}

/// Numbers of the segments, ascending.
fn list(dir: &Path) -> Result<Vec<u64>, SpoolError> {
    let entries = std::fs::read_dir(dir).map_err(SpoolError::io("list", dir))?;
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SpoolError::io("list", dir))?;
        numbers.extend(entry.file_name().to_str().and_then(segment::number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

enum Found {
    /// With a good header; read up to its end; its length.
    Segment(File, u64),
    /// Without; its length.
    Damaged(u64),
}

fn open(path: &Path, number: u64) -> Result<Found, SpoolError> {
    let io = |error| SpoolError::io("read", path)(error);
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut header = Vec::new();
    (&mut file).take(HEADER_LEN).read_to_end(&mut header).map_err(io)?;
    match segment::check_header(&header, number) {
        HeaderIs::Good => Ok(Found::Segment(file, len)),
        HeaderIs::Bad => Ok(Found::Damaged(len)),
        HeaderIs::Later(found) => Err(SpoolError::Version { path: path.into(), found }),
    }
}

/// Reads a segment's records, from the first bad one on no more, and notes what they tell of streams. Octets of the good
/// ones. `file` has been read up to the first.
fn read(path: &Path, file: &mut File, streams: &mut Highest) -> Result<u64, SpoolError> {
    let note = |record: &[u8]| segment::each_number(record, |stream, number| streams.note(stream, number));
    good_records(file, note).map_err(SpoolError::io("read", path))
}

/// Cuts the last segment behind its last good record.
fn cut_tail(path: &Path, file: &File, good: u64, len: u64) -> Result<(), SpoolError> {
    if good < len {
        let cut = file.set_len(good).and_then(|()| file.sync_all());
        cut.map_err(SpoolError::io("cut", path))?;
        tracing::warn!(path = %path.display(), cut_bytes = len - good, "the spool's incomplete end was cut off");
    }
    Ok(())
}

/// Octets of the good records at the start of `octets`, which is read a piece at a time.
fn good_records(octets: &mut impl Read, mut see: impl FnMut(&[u8])) -> io::Result<u64> {
    const PIECE: u64 = 1 << 20;
    let (mut buffer, mut good) = (Vec::new(), 0);
    loop {
        let at_end = octets.take(PIECE).read_to_end(&mut buffer)? == 0;
        let mut at = 0;
        let stopped_by = loop {
            match segment::check(&buffer[at..]) {
                Ok(total) => {
                    see(&buffer[at..at + total]);
                    at += total;
                }
                Err(parsed) => break parsed,
            }
        };
        good += at as u64;
        if at_end || stopped_by == Parsed::Bad {
            return Ok(good);
        }
        buffer.drain(..at);
    }
}

/// A crash may leave a segment without a header, and then nothing is in it. Anything longer is kept for a human.
fn put_aside(path: &Path, len: u64) -> Result<(), SpoolError> {
    if len <= HEADER_LEN {
        return remove(path);
    }
    let aside = PathBuf::from(path).with_extension("bad");
    tracing::error!(path = %aside.display(), len, "a spool segment without a valid header was put aside");
    std::fs::rename(path, &aside).map_err(SpoolError::io("rename", path))
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    std::fs::remove_file(path).map_err(SpoolError::io("remove", path))
}
