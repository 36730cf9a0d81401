//! The thread that writes flushes to the store, one after the other. While the store is away it tries again; what the
//! store does not take, whatever is tried, is put aside, and all else is stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::aside::Aside;
use crate::spool::Position;
use crate::store::{Flush, Pack, SliceError, Store, StoreError};
use crate::telemetry::Metrics;

/// The longest pause before a store that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far the spool is stored.
#[derive(Debug, Default)]
pub struct Stored(Mutex<Option<Position>>);

impl Stored {
    /// What was stored since this was asked the last time.
    pub fn take(&self) -> Option<Position> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, end: Position) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

/// Writes flushes.
pub struct Writer<'a> {
    pub store: &'a Arc<dyn Store>,
    pub metrics: &'a Metrics,
    pub stop: &'a AtomicBool,
    pub runtime: &'a Handle,
    pub aside: &'a Aside,
    pub stored: &'a Stored,
    /// What is stored of the spool when this begins.
    pub begin: Position,
}

/// The backend stops, and the store could not be written.
struct Away;

impl Writer<'_> {
    /// Writes what comes, until there is no more or the backend stops while the store is away.
    pub fn run(mut self, flushes: &Receiver<Flush>) {
        while let Ok(flush) = flushes.recv() {
            let end = flush.end;
            let messages: u64 = flush.packs.iter().map(Pack::messages).sum();
            let Ok(left_out) = self.write(flush) else { return };
            self.metrics.stored(messages.saturating_sub(left_out));
            self.stored.put(end);
            self.begin = end;
        }
    }

    /// Writes a flush, until it succeeds; how many messages had to be left out.
    fn write(&self, flush: Flush) -> Result<u64, Away> {
        match self.write_all(&flush)? {
            Ok(()) => Ok(0),
            Err(error) => {
                tracing::error!(%error, packs = flush.packs.len(), "the store refuses a flush; it is written in parts");
                let left_out = self.write_parts(flush.packs)?;
                // Now that all that can be stored is, its place in the spool is left behind.
                match self.write_all(&Flush { packs: Vec::new(), end: flush.end })? {
                    Ok(()) => Ok(left_out),
                    Err(error) => {
                        tracing::error!(%error, "the store refuses to note how far it is");
                        Err(Away)
                    }
                }
            }
        }
    }

    /// Writes packs in ever smaller parts, at last slice by slice, and puts aside those that are refused alone. Until all are done the store
    /// stands where it stood: a crash meanwhile stores some of them twice, which a search shows once.
    fn write_parts(&self, mut packs: Vec<Pack>) -> Result<u64, Away> {
        let others = packs.split_off(packs.len() / 2);
        let mut left_out = 0;
        for part in [packs, others] {
            if part.is_empty() {
                continue;
            }
            let flush = Flush { packs: part, end: self.begin };
            let Err(error) = self.write_all(&flush)? else { continue };
            let [pack] = flush.packs.as_slice() else {
                left_out += self.write_parts(flush.packs)?;
                continue;
            };
            if let Some(slices) = apart(pack) {
                left_out += self.write_parts(slices)?;
                continue;
            }
            let messages = pack.messages();
            tracing::error!(%error, messages, "the store refuses a slice");
            self.metrics.left_out.inc_by(messages);
            self.aside.keep_pack(pack);
            left_out += messages;
        }
        Ok(left_out)
    }

    /// Writes until it succeeds or is refused, or fails at a stop.
    fn write_all(&self, flush: &Flush) -> Result<Result<(), StoreError>, Away> {
        let mut pause = Duration::from_millis(100);
        let mut tried = false;
        // The first failure is said, and each that differs from the one before.
        let mut last = String::new();
        loop {
            let error = match self.runtime.block_on(self.write_once(flush, tried)) {
                Ok(()) => {
                    self.metrics.store_up(true);
                    if tried {
                        tracing::info!("the store takes what is written again");
                    }
                    return Ok(Ok(()));
                }
                Err(error @ StoreError::Refused(_)) => return Ok(Err(error)),
                Err(error) => error,
            };
            self.metrics.store_up(false);
            let error = error.to_string();
            if error != last {
                tracing::error!(
                    error,
                    "the store failed; what came in waits in the spool, and it is tried again"
                );
                last = error;
            }
            if self.stop.load(Ordering::Acquire) {
                return Err(Away);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            tried = true;
        }
    }

    /// Writes a flush, unless an earlier try that seemed to fail has stored it: maybe all that failed was its answer.
    async fn write_once(&self, flush: &Flush, tried: bool) -> Result<(), StoreError> {
        if tried && flush.end != self.begin && self.store.checkpoint().await? == Some(flush.end) {
            return Ok(());
        }
        self.store.write(flush).await
    }
}

/// The slices of a pack, each by itself, where they are several.
fn apart(pack: &Pack) -> Option<Vec<Pack>> {
    let said =
        |error: &SliceError| tracing::error!(%error, "a pack that the store refuses cannot be taken apart");
    if pack.slices.len() > 1 { pack.apart().inspect_err(said).ok() } else { None }
}
