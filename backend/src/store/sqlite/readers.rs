//! Connections that buckets are read by: so many at a time over all buckets, and so many kept for the next search. They
//! read on the thread that asks: a row that is handed from thread to thread costs more than SQLite needs to read it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bucket::Bucket;

/// So many read at a time, over all buckets; each has one connection at a time.
const BUSY: usize = 8;

/// Connections that are kept open while nobody uses them, unless another number is wanted.
const IDLE: usize = 256;

/// The connections of a store.
pub struct Readers {
    idle: Mutex<Idle>,
    permits: Arc<Semaphore>,
    most_idle: AtomicUsize,
}

/// Connections that nobody uses.
#[derive(Default)]
struct Idle {
    /// By number of their bucket, of each one at least.
    of_bucket: HashMap<u32, Vec<Connection>>,
    count: usize,
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
            idle.take(bucket.number())
        };
        let connection = match kept {
            Some(connection) => connection,
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
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.take(bucket).is_some() {}
    }
}

impl Reader<'_> {
    /// Keeps the connection for others.
    pub fn done(self) {
        let ended = self.connection.prepare_cached("commit").and_then(|mut commit| commit.execute([]));
        // What it has read is most of what it holds, and the kernel has it too.
        if ended.and_then(|_| self.connection.release_memory()).is_err() {
            return;
        }
        let most = self.readers.most_idle.load(Ordering::Relaxed);
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = if idle.count < most { None } else { idle.take_any() };
        if idle.count < most {
            idle.keep(self.bucket, self.connection);
        }
        drop((idle, closed));
    }
}

impl Idle {
    fn keep(&mut self, bucket: u32, connection: Connection) {
        self.of_bucket.entry(bucket).or_default().push(connection);
        self.count += 1;
    }

    fn take(&mut self, bucket: u32) -> Option<Connection> {
        let Entry::Occupied(mut of_bucket) = self.of_bucket.entry(bucket) else { return None };
        let connection = of_bucket.get_mut().pop();
        if of_bucket.get().is_empty() {
            of_bucket.remove();
        }
        self.count -= usize::from(connection.is_some());
        connection
    }

    /// That of any bucket: the one that was not used for longest would be the next that is wanted, since most searches go over all
    /// buckets in the same order.
    fn take_any(&mut self) -> Option<Connection> {
        let bucket = *self.of_bucket.keys().next()?;
        self.take(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_kept_at_most_and_each_is_given_to_its_own_bucket() {
        let readers = Readers::default();
        readers.keep(10);
        let done = |bucket: u32| {
            let connection = Connection::open_in_memory().expect("a database");
            connection.pragma_update(None, "user_version", bucket).expect("written");
            connection.execute_batch("begin").expect("begun");
            Reader { readers: &readers, bucket, connection }.done();
        };
        let lock = || readers.idle.lock().expect("nobody panicked");
        // Over all buckets again and again: most of those that are kept stay.
        for bucket in (0..12).cycle().take(100) {
            let kept = lock().take(bucket);
            let version = |kept: Connection| kept.pragma_query_value(None, "user_version", |row| row.get(0));
            assert_eq!(kept.map_or(Ok(bucket), version), Ok(bucket));
            done(bucket);
            assert!(lock().count <= 10);
        }
        assert!((9..=10).contains(&lock().count));
        done(3);
        done(3);
        readers.forget(3);
        assert!(lock().take(3).is_none());
        let idle = lock();
        assert_eq!(idle.count, idle.of_bucket.values().map(Vec::len).sum::<usize>());
        drop(idle);
        readers.keep(0);
        done(50);
        assert!(lock().take(50).is_none());
    }
}
