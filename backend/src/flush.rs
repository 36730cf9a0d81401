//! Moves what is safe in the spool into the store: a thread that collects for a while, cuts into slices, and writes.
//! While the store is away it tries again; the spool keeps what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::decode::decode;
use crate::spool::{Position, SpoolReader};
use crate::store::slice::Cutter;
use crate::store::{Flush, Store, StoreError};
use crate::telemetry::Metrics;
use crate::tenant::Tenants;

/// Records that one flush takes at most.
const FLUSH_RECORDS: usize = 100_000;

/// The longest pause before a store that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a flusher needs.
pub struct Flusher {
    /// Where messages go.
    pub store: Arc<dyn Store>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Octets of HEP that one flush takes at most.
    pub most_bytes: usize,
    /// Longest wait for a flush.
    pub interval: Duration,
    /// Bound on an inflated payload, octets.
    pub inflated_bytes: usize,
    /// Whose a packet may be.
    pub tenants: Arc<Tenants>,
    /// Makes slices.
    pub cutter: Cutter,
    /// Set when the backend stops: what the spool still holds is written, and then the flusher ends.
    pub stop: Arc<AtomicBool>,
}

/// What came of a flush.
enum Flushed {
    /// There was nothing to flush.
    Nothing,
    /// The backend stops, and the store could not be written.
    StoreAway,
    /// Everything in the spool before this is stored.
    UpTo(Position),
}

impl Flusher {
    /// Flushes until stopped.
    pub fn run(self, mut reader: SpoolReader, runtime: &Handle) {
        loop {
            // Asked before reading: what was synced before the stop is then certainly read.
            let last = self.stop.load(Ordering::Acquire);
            match self.collect_and_write(&mut reader, runtime, last) {
                Flushed::UpTo(end) => {
                    if let Err(error) = reader.release(end) {
                        tracing::error!(%error, "what is stored cannot be deleted from the spool");
                    }
                }
                Flushed::Nothing if last => return,
                Flushed::Nothing => {}
                // What was read is not stored. Reading on would leave a gap, so the next start reads it again.
                Flushed::StoreAway => return,
            }
        }
    }

    /// Collects for one flush and writes it.
    fn collect_and_write(&self, reader: &mut SpoolReader, runtime: &Handle, last: bool) -> Flushed {
        let mut messages = Vec::new();
        let (mut end, mut records, mut bytes) = (None, 0, 0);
        let begun = Instant::now();
        loop {
            let left = self.interval.saturating_sub(begun.elapsed());
            if records >= FLUSH_RECORDS || bytes >= self.most_bytes || left.is_zero() {
                break;
            }
            let wait = if last { Duration::ZERO } else { left };
            let batch = match reader.next_batch(FLUSH_RECORDS - records, self.most_bytes - bytes, wait) {
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
            for record in &batch.records {
                records += 1;
                bytes += record.hep.len();
                match decode(record, self.inflated_bytes, &self.tenants) {
                    Ok(message) => messages.push(message),
                    Err(error) => {
                        self.metrics.undecodable.inc();
                        tracing::error!(peer = %record.peer, %error, "a spooled record cannot be read");
                    }
                }
            }
            if !batch.records.is_empty() {
                end = Some(batch.end);
            }
        }
        let Some(end) = end else { return Flushed::Nothing };
        let count = messages.len() as u64;
        let slices = match self.cutter.cut(messages) {
            Ok(slices) => slices,
            Err(error) => {
                self.metrics.undecodable.inc_by(count);
                tracing::error!(%error, messages = count, "messages cannot be encoded");
                Vec::new()
            }
        };
        if self.write(&Flush { slices, end }, runtime) {
            self.metrics.stored(count);
            return Flushed::UpTo(end);
        }
        Flushed::StoreAway
    }

    /// Writes until it succeeds, or fails at a stop; whether it was written.
    fn write(&self, flush: &Flush, runtime: &Handle) -> bool {
        let mut pause = Duration::from_millis(100);
        let mut tried = false;
        loop {
            let error: StoreError = match runtime.block_on(self.write_once(flush, tried)) {
                Ok(()) => {
                    self.metrics.store_up(true);
                    return true;
                }
                Err(error) => error,
            };
            self.metrics.store_up(false);
            tracing::error!(%error, "the store failed; what came in waits in the spool");
            if self.stop.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            tried = true;
        }
    }

    /// Writes a flush, unless an earlier try that seemed to fail has stored it: maybe all that failed was its answer.
    async fn write_once(&self, flush: &Flush, tried: bool) -> Result<(), StoreError> {
        if tried && self.store.checkpoint().await? == Some(flush.end) {
            return Ok(());
        }
        self.store.write(flush).await
    }
}
