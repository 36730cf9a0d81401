use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::disk::{Disk, SegmentFile};
use super::segment;
use super::shared::{Group, Shared, lock};
use super::streams::Highest;
use super::{Position, Record, Refused, SpoolConfig, SpoolError, SpoolStats, Taking};
use crate::telemetry::clock;

/// First pause after a failed attempt; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Room for so many streams of a group is kept.
const USUAL_NUMBERS: usize = 4096;

/// The end of the spool that takes records in. It owns the thread that writes and syncs; dropping it is closing it.
pub struct SpoolWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), SpoolError>>>,
}

/// Offers records to the spool; cheap to clone.
#[derive(Clone)]
pub struct SpoolHandle {
    shared: Arc<Shared>,
}

impl SpoolWriter {
    pub(super) fn start(
        shared: Arc<Shared>,
        disk: impl Disk,
        config: SpoolConfig,
        next_segment: u64,
        streams: Highest,
    ) -> Result<Self, SpoolError> {
        let dir = config.dir.clone();
        let mut writing = WriteLoop {
            shared: Arc::clone(&shared),
            sync_interval: config.sync_interval,
            sync_bytes: usize::try_from(config.sync_bytes).unwrap_or(usize::MAX),
            memory_bytes: usize::try_from(config.memory_bytes).unwrap_or(usize::MAX),
            segments: Segments {
                disk,
                segment_len: config.segment_len(),
                dir: config.dir,
                next: next_segment,
                current: None,
                streams,
            },
        };
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || writing.run());
        let thread = thread.map_err(SpoolError::io("start a thread for", dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A way to offer records.
    #[must_use]
    pub fn handle(&self) -> SpoolHandle {
        SpoolHandle { shared: Arc::clone(&self.shared) }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<SpoolStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Takes no more records, and returns when those taken are synced.
    ///
    /// # Errors
    /// When the disk does not take them; they are lost then.
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.shared.close();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            tracing::error!(%error, "the spool was dropped with records in it");
        }
    }
}

impl SpoolHandle {
    /// Takes a record into memory; never waits for the disk. Refusals are counted.
    ///
    /// # Errors
    /// When a bound is reached, or the spool is closed.
    pub fn offer(&self, record: Record) -> Result<(), Refused> {
        self.taking(|taking| taking.take(&record.lend(), None)).map(drop)
    }

    /// Lets several records be taken, one after the other and with none of others in between: cheaper than one by one.
    /// While `take` runs nothing else is taken, and nothing written.
    pub fn taking<T>(&self, take: impl FnOnce(&mut Taking<'_>) -> T) -> T {
        self.shared.taking(take)
    }

    /// How many records are synced, as it changes; counted as [`Taken::ticket`](super::Taken::ticket) counts.
    #[must_use]
    pub fn durable_records(&self) -> watch::Receiver<u64> {
        self.shared.durable_records.subscribe()
    }

    /// The end of what is synced: all before it outlives a crash.
    #[must_use]
    pub fn durable(&self) -> Position {
        lock(&self.shared.extent).durable
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<SpoolStats> {
        Arc::clone(&self.shared.stats)
    }
}

/// What the thread does.
struct WriteLoop<D> {
    shared: Arc<Shared>,
    sync_interval: Duration,
    sync_bytes: usize,
    memory_bytes: usize,
    segments: Segments<D>,
}

impl<D: Disk> WriteLoop<D> {
    /// Writes group after group until the spool is closed and empty.
    fn run(&mut self) -> Result<(), SpoolError> {
        let mut group = Group::default();
        while self.take_group(&mut group) {
            let used = group.octets.len();
            self.write(&mut group)?;
            group.octets.shrink_to(kept(used, self.sync_bytes, self.memory_bytes));
            group.numbers.shrink_to(USUAL_NUMBERS);
        }
        Ok(())
    }

    /// Waits for a group to begin, and then until it is due or large enough. `false` when there will be none. `group`
    /// is empty, and its memory is used for the next one.
    fn take_group(&self, group: &mut Group) -> bool {
        let pending = lock(&self.shared.pending);
        let begun = self
            .shared
            .pending_changed
            .wait_while(pending, |pending| pending.group.records == 0 && !pending.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if begun.group.records == 0 {
            return false;
        }
        let (mut pending, _) = self
            .shared
            .pending_changed
            .wait_timeout_while(begun, self.sync_interval, |pending| {
                pending.group.octets.len() < self.sync_bytes && !pending.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut pending.group, group);
        true
    }

    /// Makes a group durable, however often that has to be tried; after closing, once more.
    fn write(&mut self, group: &mut Group) -> Result<(), SpoolError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let was_closed = lock(&self.shared.pending).closed;
            let error = match self.segments.append(group, &self.shared) {
                Ok(()) => {
                    if self.shared.stats.disk_works() {
                        tracing::info!("the spool can be written again");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if was_closed {
                let records = group.records + lock(&self.shared.pending).group.records;
                return Err(SpoolError::Undrained { records, source: error });
            }
            if pause == FIRST_PAUSE {
                tracing::error!(%error, "the spool cannot be written; what comes in is kept in memory");
            }
            self.shared.stats.disk_failed();
            let pending = lock(&self.shared.pending);
            let changed = &self.shared.pending_changed;
            drop(changed.wait_timeout_while(pending, pause, |pending| !pending.closed));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The segments as the writer sees them.
struct Segments<D> {
    disk: D,
    dir: PathBuf,
    segment_len: u64,
    /// Number of the next one.
    next: u64,
    current: Option<Current>,
    /// What the durable records tell of streams: where a new segment begins, it is written down.
    streams: Highest,
}

/// The segment that is appended to.
struct Current {
    number: u64,
    file: Box<dyn SegmentFile>,
    /// Octets before its first record.
    head_len: u64,
    /// Its length, which is durable but for what stands before the first record of a new one.
    len: u64,
}

impl<D: Disk> Segments<D> {
    /// Appends and syncs; of what is durable nothing is left in `group`, also after an error.
    fn append(&mut self, group: &mut Group, shared: &Shared) -> io::Result<()> {
        let mut from = 0;
        let result = loop {
            if from == group.octets.len() {
                break Ok(());
            }
            match self.append_piece(group, from, shared) {
                Ok((len, records)) => {
                    from += len;
                    group.records -= records;
                }
                Err(error) => break Err(error),
            }
        };
        group.octets.drain(..from);
        if group.octets.is_empty() {
            group.numbers.clear();
        }
        result
    }

    /// Appends as many records from there on as the segment has room for, and syncs them: their octets, and how many they are.
    fn append_piece(&mut self, group: &Group, from: usize, shared: &Shared) -> io::Result<(usize, u64)> {
        let rest = &group.octets[from..];
        let first = first_len(rest);
        let mut current = match self.current.take() {
            Some(current) if current.len + first <= self.segment_len => current,
            _ => self.begin(shared)?,
        };
        // A record longer than a segment has one for itself.
        let room = self.segment_len.saturating_sub(current.len).max(first);
        // Mostly there is room for all, and the records need not be looked at.
        let fits = rest.len() as u64 <= room;
        let (len, records) =
            if fits { (rest.len(), group.records) } else { segment::whole_records(rest, room) };
        let piece = &rest[..len];
        if let Err(error) = current.file.append(piece).and_then(|()| current.file.sync()) {
            self.abandon(current, shared);
            return Err(error);
        }
        if fits {
            // Those of the pieces before, too, which does no harm.
            group.numbers.iter().for_each(|(stream, number)| self.streams.note(*stream, *number));
        } else {
            segment::each_record(piece, |record| {
                segment::each_number(record, |stream, number| self.streams.note(stream, number));
            });
        }
        let octets = len as u64;
        current.len += octets;
        shared.stats.disk_grew(octets);
        let mut extent = lock(&shared.extent);
        extent.grow(current.number, current.len);
        let oldest = extent.oldest();
        drop(extent);
        shared.stats.set_oldest(oldest);
        shared.stats.synced(records, octets);
        shared.extent_changed.notify_all();
        shared.durable_records.send_modify(|durable| *durable += records);
        lock(&shared.pending).held_bytes -= octets;
        self.current = Some(current);
        Ok((len, records))
    }

    /// Leaves the current segment and makes the next one. Its header is synced with its first records.
    fn begin(&mut self, shared: &Shared) -> io::Result<Current> {
        let number = self.next;
        let path = segment::path(&self.dir, number);
        let file = self.disk.create(&path)?;
        let head = [&segment::header(number)[..], &segment::streams(&self.streams.by_age(), clock::now_us())]
            .concat();
        let head_len = head.len() as u64;
        let mut current = Current { number, file, head_len, len: head_len };
        shared.stats.disk_grew(head_len);
        if let Err(error) = current.file.append(&head) {
            self.abandon(current, shared);
            return Err(error);
        }
        self.next += 1;
        Ok(current)
    }

    /// Leaves a segment after an error, without what may have been written behind its durable end. If nothing of it is
    /// durable it goes, and its number is used again; should that fail too, creating it anew empties it.
    fn abandon(&mut self, mut current: Current, shared: &Shared) {
        if current.len > current.head_len {
            // Failing here is no matter while we run: readers stop at the durable length. After a restart the records
            // behind it are read twice, or cut.
            let _ = current.file.cut(current.len);
        } else {
            drop(current.file);
            let _ = self.disk.remove(&segment::path(&self.dir, current.number));
            shared.stats.disk_shrank(current.head_len);
            self.next = current.number;
        }
    }
}

/// How much of its memory a group leaves to a later one, which has its place, after it has used so much itself, octets. A burst
/// must not keep its memory for ever; but while groups are large each needs as much as the one before, and the kernel takes
/// longer to give new memory than it takes to fill it. There are two such places.
fn kept(used: usize, sync_bytes: usize, memory_bytes: usize) -> usize {
    used.min(memory_bytes / 4).max(sync_bytes.saturating_mul(4))
}

/// Octets of the first record of a group.
fn first_len(group: &[u8]) -> u64 {
    let length = group.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
    segment::PREFIX_LEN as u64 + u64::from(length)
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn large_groups_keep_what_they_use_up_to_the_bound_and_small_ones_give_it_back() {
        let (sync, memory) = (1 << 20, 64 << 20);
        assert_eq!(kept(12 << 20, sync, memory), 12 << 20);
        assert_eq!(kept(60 << 20, sync, memory), 16 << 20, "two of them keep half of the bound");
        assert_eq!(kept(100, sync, memory), 4 << 20, "after a burst");
    }
}
