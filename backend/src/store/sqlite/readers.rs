//! Connections that buckets are read by: so many at a time over all buckets, and so many kept for the next search. They
//! read on the thread that asks: a row that is handed from thread to thread costs more than SQLite needs to read it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bucket::Bucket;

/// So many read at a time, over all buckets; each has one connection at a time.
const BUSY: usize = 8;

/// Connections that are kept open while nobody uses them, unless fewer are wanted; each takes some 200 kB.
const IDLE: usize = 256;

/// The connections of a store.
pub struct Readers {
    /// By number of their bucket, those used last at the end.
    idle: Mutex<VecDeque<(u32, Connection)>>,
    permits: Arc<Semaphore>,
    most_idle: AtomicUsize,
}

/// A connection in use. It is kept for others by [`Reader::done`]; one that failed is not.
pub struct Reader<'a> {
    readers: &'a Readers,
    bucket: u32,
    pub connection: Connection,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(BUSY)),
            most_idle: AtomicUsize::new(IDLE),
        }
    }
}

impl Readers {
    /// Waits until one more may read; it may for as long as it holds what comes.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// A connection to a bucket, for one whose turn it is. What is read by it is read in one transaction: each begins with locks,
    /// and with looking whether what is in memory still holds.
    pub fn take(&self, bucket: &Bucket) -> Result<Reader<'_>, Error> {
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let place = idle.iter().rposition(|(number, _)| *number == bucket.number());
            place.and_then(|place| idle.remove(place))
        };
        let connection = match kept {
            Some((_, connection)) => connection,
            None => bucket.reader()?,
        };
        connection.prepare_cached("begin")?.execute([])?;
        Ok(Reader { readers: self, bucket: bucket.number(), connection })
    }

    /// Keeps so many from now on while nobody uses them.
    pub fn keep(&self, most: usize) {
        self.most_idle.store(most, Ordering::Relaxed);
    }

    /// Closes what is kept for a bucket.
    pub fn forget(&self, bucket: u32) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|(number, _)| *number != bucket);
    }
}

impl Reader<'_> {
    /// Keeps the connection for others.
    pub fn done(self) {
        let ended = self.connection.prepare_cached("commit").and_then(|mut commit| commit.execute([]));
        if ended.is_err() {
            return;
        }
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back((self.bucket, self.connection));
        if idle.len() > self.readers.most_idle.load(Ordering::Relaxed) {
            idle.pop_front();
        }
    }
}
