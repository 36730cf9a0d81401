//! Who reads slices: threads beside those of the runtime, and for long walks at lower priority than what comes in.

use std::sync::LazyLock;
use std::thread::{self, available_parallelism};

use futures_util::future::try_join_all;
use rustix::process::setpriority_process;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use crate::store::{StoreError, StoredSlice};

/// At most so many threads read the slices of one step.
const MOST: usize = 4;

/// How nice a thread is that reads for a long walk: of a processor that ingest wants too it gets a tenth.
const NICENESS: i32 = 10;

static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

/// All long walks together are read by as many threads as there are processors.
static SEATS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*PROCESSORS));

/// Reads slices on several threads, each its share of them; the results are in the order of the slices.
///
/// # Errors
/// When a thread cannot be had, or panics.
pub async fn share<T: Send + 'static>(
    stored: Vec<StoredSlice>,
    is_long: bool,
    read: impl Fn(&[StoredSlice]) -> T + Clone + Send + 'static,
) -> Result<Vec<T>, StoreError> {
    let share = stored.len().div_ceil((*PROCESSORS).min(MOST)).max(1);
    let mut stored = stored.into_iter();
    let parts = std::iter::from_fn(|| {
        let part: Vec<_> = stored.by_ref().take(share).collect();
        (!part.is_empty()).then_some(part)
    });
    let read = |part: Vec<StoredSlice>| {
        let read = read.clone();
        let work = move || read(&part);
        async move {
            if is_long {
                return behind(work).await;
            }
            spawn_blocking(work).await.map_err(|error| StoreError::Away(error.to_string()))
        }
    };
    try_join_all(parts.map(read)).await
}

/// Does some work on a thread of its own, behind all that has normal priority.
async fn behind<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let seat = SEATS.acquire().await;
    let (done, result) = oneshot::channel();
    let thread = thread::Builder::new().name("reader".into()).spawn(move || {
        // Of this thread alone.
        if let Err(error) = setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "slices are read at normal priority");
        }
        // Nobody waits any more where the search was given up.
        let _sent = done.send(work());
        drop(seat);
    });
    thread.map_err(|error| StoreError::Away(format!("no thread to read on: {error}")))?;
    result.await.map_err(|_| StoreError::Away("a thread that read slices panicked".into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn slices(count: i64) -> Vec<StoredSlice> {
        (0..count).map(|id| StoredSlice { id, last_us: 0, dictionary: None, blob: Bytes::new() }).collect()
    }

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).expect("this thread's")
    }

    #[tokio::test]
    async fn shares_come_back_in_order_and_long_walks_are_read_behind_all_else() {
        let own = niceness();
        for (count, is_long) in [(0, true), (1, true), (1001, true), (1001, false)] {
            let read = |part: &[StoredSlice]| (niceness(), part.iter().map(|s| s.id).collect::<Vec<_>>());
            let shares = share(slices(count), is_long, read).await.expect("read");
            let ids: Vec<_> = shares.iter().flat_map(|(_, ids)| ids.clone()).collect();
            assert_eq!(ids, (0..count).collect::<Vec<_>>());
            let nicer = if is_long { NICENESS.max(own) } else { own };
            assert!(shares.iter().all(|(niceness, _)| *niceness == nicer), "{shares:?}");
        }
        assert_eq!(niceness(), own, "this thread's own priority is as it was");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_takes_no_seat_away() {
        for _ in 0..*PROCESSORS + 1 {
            assert!(share(slices(10), true, |_| panic!("on purpose")).await.map(|_: Vec<()>| ()).is_err());
        }
        assert_eq!(
            share(slices(10), true, <[StoredSlice]>::len).await.expect("read").iter().sum::<usize>(),
            10
        );
    }
}
