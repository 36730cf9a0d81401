//! Moves what is safe in the spool into the store. One thread collects records for a while, and cuts them into slices on
//! several; another writes them, while the first collects again. One flush is made while the one before is written, and
//! no more: what is held in memory is bounded in octets, and the spool keeps what waits.

mod aside;
mod beginning;
mod trainer;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

pub use aside::Aside;
pub use beginning::Beginning;
pub use trainer::Trainer;

use crate::decode::decode;
use crate::parallel;
use crate::spool::{Position, Record, SpoolReader};
use crate::store::slice::{Cut, Cutter, Item};
use crate::store::{Flush, Store};
use crate::telemetry::Metrics;
use crate::tenant::Tenants;
use writer::{Stored, Writer};

/// Records that one flush takes at most.
const FLUSH_RECORDS: usize = 200_000;

/// Fewer records than this are not worth another thread.
const RECORDS_OF_A_THREAD: usize = 500;

/// Longest pause after the spool could not be read.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a flusher needs.
pub struct Flusher {
    /// Where messages go.
    pub store: Arc<dyn Store>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Octets of HEP that are between spool and store at most.
    pub most_bytes: usize,
    /// Longest wait from a message's coming until it can be found.
    pub interval: Duration,
    /// Bound on an inflated payload, octets.
    pub inflated_bytes: usize,
    /// Whose a packet may be.
    pub tenants: Arc<Tenants>,
    /// Makes slices. Its dictionary is the first one; others are trained.
    pub cutter: Cutter,
    /// Whether the reader begins where the store stands, and the cutter has its dictionary; otherwise it is asked when it can be.
    pub has_begun: bool,
    /// On so many threads slices are made.
    pub threads: usize,
    /// Where what cannot be stored is kept.
    pub aside: Aside,
    /// Set when the backend stops: what the spool still holds is written, and then the flusher ends.
    pub stop: Arc<AtomicBool>,
}

/// Records that go to the store together, and where they end in the spool.
struct Collected {
    records: Vec<Record>,
    end: Position,
}

impl Flusher {
    /// Flushes until stopped.
    pub fn run(mut self, mut reader: SpoolReader, runtime: &Handle) {
        if !self.find_beginning(&mut reader, runtime) {
            return;
        }
        let mut trainer = Trainer::new(self.cutter.dictionary.take());
        let (stored, aside) = (Stored::default(), self.aside.clone());
        let (store, metrics, stop) =
            (Arc::clone(&self.store), Arc::clone(&self.metrics), Arc::clone(&self.stop));
        std::thread::scope(|scope| {
            // A flush is handed over when the one before is stored.
            let (ready, flushes) = sync_channel(0);
            let writer = Writer {
                store: &store,
                metrics: &metrics,
                stop: &stop,
                runtime,
                aside: &aside,
                stored: &stored,
                begin: reader.position(),
            };
            scope.spawn(move || writer.run(&flushes));
            let mut making = Duration::ZERO;
            loop {
                // Asked before reading: what was synced before the stop is then certainly read.
                let last = self.stop.load(Ordering::Acquire);
                let wait = self.interval.saturating_sub(making).max(self.interval / 4);
                let collected = self.collect(&mut reader, wait, last);
                release(&mut reader, &stored);
                let begun = Instant::now();
                let Some(collected) = collected else {
                    if last {
                        break;
                    }
                    continue;
                };
                // A writer that is gone could not store what it has. Reading on would leave a gap, so the next start reads
                // it again.
                if ready.send(self.make(collected, &mut trainer)).is_err() {
                    break;
                }
                making = begun.elapsed();
            }
        });
        release(&mut reader, &stored);
    }

    /// Collects for one flush.
    fn collect(&self, reader: &mut SpoolReader, wait: Duration, last: bool) -> Option<Collected> {
        let most_bytes = (self.most_bytes / 2).max(1);
        let (mut records, mut end, mut bytes) = (Vec::new(), None, 0);
        let begun = Instant::now();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            if records.len() >= FLUSH_RECORDS || bytes >= most_bytes || left.is_zero() {
                break;
            }
            let wait = if last { Duration::ZERO } else { left };
            let mut batch = match reader.next_batch(FLUSH_RECORDS - records.len(), most_bytes - bytes, wait) {
                Ok(batch) => batch,
                Err(error) => {
                    self.metrics.spool_readable(false);
                    tracing::error!(%error, "the spool cannot be read; it is tried again");
                    std::thread::sleep(if last { Duration::ZERO } else { LONGEST_PAUSE.min(left) });
                    break;
                }
            };
            self.metrics.spool_readable(true);
            if batch.records.is_empty() && (last || self.stop.load(Ordering::Acquire)) {
                break;
            }
            if !batch.records.is_empty() {
                end = Some(batch.end);
            }
            bytes += batch.records.iter().map(|record| record.hep.len()).sum::<usize>();
            if records.is_empty() {
                records = batch.records;
            } else {
                records.append(&mut batch.records);
            }
        }
        end.map(|end| Collected { records, end })
    }

    /// Makes slices of what was collected. What cannot be read or put into a slice is left out, counted and kept aside.
    fn make(&mut self, collected: Collected, trainer: &mut Trainer) -> Flush {
        let Collected { records, end } = collected;
        self.cutter.dictionary = trainer.dictionary();
        self.cutter.sample_bytes = trainer.wanted_bytes();
        let threads = self.threads.min(records.len() / RECORDS_OF_A_THREAD).max(1);
        let parts: Vec<_> = records.chunks(records.len().div_ceil(threads).max(1)).collect();
        // What was read stays where each thread put it: it is too much to be copied together.
        let read = parallel::map(parts, |part| self.read(part));
        let read = || read.iter().flatten();
        let mut bad = Vec::new();
        let mut of = Vec::with_capacity(records.len());
        for (record, read) in records.iter().zip(read()) {
            match read {
                Ok(_) => of.push(record),
                Err(error) => {
                    self.metrics.undecodable.inc();
                    tracing::error!(peer = %record.peer, %error, "a spooled record cannot be read");
                    bad.push(record);
                }
            }
        }
        let mut cut = self.cutter.cut_items(read().filter_map(|read| read.as_ref().ok()), threads);
        trainer.see(&mut cut);
        let Cut { packs, left_out, .. } = cut;
        for (item, error) in left_out {
            self.metrics.left_out.inc();
            tracing::error!(%error, "a message cannot be put into a slice");
            bad.extend(of.get(item));
        }
        if !bad.is_empty() {
            self.aside.keep(&bad);
        }
        Flush { packs, end }
    }

    /// Reads records. What is wrong with one concerns no other.
    fn read<'a>(&self, records: &'a [Record]) -> Vec<Result<Item<'a>, String>> {
        let read = |record: &'a Record| {
            let captured =
                decode(record, self.inflated_bytes, &self.tenants).map_err(|error| error.to_string())?;
            Ok(Item::read(captured, &self.cutter.paths))
        };
        let all = || records.iter().map(read).collect();
        // One by one only where it has to be: what is read is large to be handed through a fence.
        catch_unwind(AssertUnwindSafe(all)).unwrap_or_else(|_| {
            let fenced = |record: &'a Record| catch_unwind(AssertUnwindSafe(|| read(record)));
            records.iter().map(|record| fenced(record).unwrap_or_else(|_| Err("a panic".into()))).collect()
        })
    }
}

/// Lets the spool forget what is stored.
fn release(reader: &mut SpoolReader, stored: &Stored) {
    if let Some(end) = stored.take()
        && let Err(error) = reader.release(end)
    {
        tracing::error!(%error, "what is stored cannot be deleted from the spool");
    }
}
