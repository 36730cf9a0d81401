//! Connections that searches read buckets by: so many at a time over all buckets, and so many kept for the next search.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::bucket::Bucket;
use crate::store::StoreError;

/// Readers that are busy at a time, over all buckets.
const BUSY: usize = 8;

/// Connections that are kept open while nobody uses them, unless fewer are wanted; each is a thread and some 200 kB.
const IDLE: usize = 256;

/// The connections of a store.
pub struct Readers {
    /// By number of their bucket, those used last at the end.
    idle: Mutex<VecDeque<(u32, SqliteConnection)>>,
    permits: Semaphore,
    most_idle: AtomicUsize,
}

/// A connection in use. It is kept for others by [`Reader::done`]; one that failed is not.
pub struct Reader<'a> {
    readers: &'a Readers,
    bucket: u32,
    pub connection: SqliteConnection,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Default for Readers {
    fn default() -> Self {
        Self { idle: Mutex::default(), permits: Semaphore::new(BUSY), most_idle: AtomicUsize::new(IDLE) }
    }
}

impl Readers {
    /// A connection to a bucket, when it is its turn.
    pub async fn take(&self, bucket: &Bucket) -> Result<Reader<'_>, StoreError> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok();
        let kept = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let place = idle.iter().rposition(|(number, _)| *number == bucket.number());
            place.and_then(|place| idle.remove(place))
        };
        let connection = match kept {
            Some((_, connection)) => connection,
            None => SqliteConnection::connect_with(&bucket.read_options()).await?,
        };
        Ok(Reader { readers: self, bucket: bucket.number(), connection, _permit: permit })
    }

    /// Keeps so many from now on while nobody uses them.
    pub fn keep(&self, most: usize) {
        self.most_idle.store(most, Ordering::Relaxed);
    }

    /// Closes what is kept for a bucket.
    pub async fn forget(&self, bucket: u32) {
        let forgotten = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let (forgotten, kept): (VecDeque<_>, _) =
                std::mem::take(&mut *idle).into_iter().partition(|(number, _)| *number == bucket);
            *idle = kept;
            forgotten
        };
        for (_, connection) in forgotten {
            // It was only read by; nothing is lost.
            let _closed = connection.close().await;
        }
    }
}

impl Reader<'_> {
    /// Keeps the connection for others.
    pub fn done(self) {
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back((self.bucket, self.connection));
        if idle.len() > self.readers.most_idle.load(Ordering::Relaxed) {
            idle.pop_front();
        }
    }
}
