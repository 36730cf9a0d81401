//! Who reads slices: threads beside those of the runtime, and for long walks at lower priority than what comes in.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, available_parallelism};

use futures_util::future::try_join_all;
use rustix::process::setpriority_process;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use crate::store::{StoreError, StoredSlice, pack};

/// At most so many threads read the slices of one step.
const MOST: usize = 4;

/// A thread takes slices of so many packs at a time at least, so that none waits long for another that is slower.
const AT_A_TIME: usize = 128;

/// How nice a thread is that reads for a long walk: of a processor that ingest wants too it gets a tenth.
const NICENESS: i32 = 10;

static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));

/// All long walks together are read by as many threads as there are processors.
static SEATS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*PROCESSORS));

/// A slice with its place among those that were read together.
pub type Numbered = (usize, StoredSlice);

/// Reads slices on several threads, each the next few of them; those of a pack together. The results are in the order of the slices.
///
/// # Errors
/// When a thread cannot be had, or panics.
pub async fn share<T: Send + 'static>(
    stored: Arc<Vec<Numbered>>,
    is_long: bool,
    read: impl Fn(&[Numbered]) -> T + Clone + Send + 'static,
) -> Result<Vec<T>, StoreError> {
    let shares = shares(&stored, stored.len().div_ceil(*PROCESSORS).clamp(1, AT_A_TIME));
    let parts = shares.len();
    let shared = Arc::new((stored, shares, AtomicUsize::new(0)));
    let read = |_| {
        let (shared, read) = (Arc::clone(&shared), read.clone());
        let work = move || {
            let (stored, shares, taken) = &*shared;
            let next = || {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                let part = shares.get(number).and_then(|share| stored.get(share.clone()))?;
                Some((number, read(part)))
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        async move {
            if is_long {
                return behind(work).await;
            }
            spawn_blocking(work).await.map_err(|error| StoreError::Away(error.to_string()))
        }
    };
    let threads = (*PROCESSORS).min(MOST).min(parts);
    let mut read: Vec<_> = try_join_all((0..threads).map(read)).await?.into_iter().flatten().collect();
    read.sort_unstable_by_key(|(number, _)| *number);
    Ok(read.into_iter().map(|(_, part)| part).collect())
}

/// Divides slices into shares of so many or a few more.
fn shares(stored: &[Numbered], few: usize) -> Vec<Range<usize>> {
    let mut shares = Vec::with_capacity(stored.len() / few + 1);
    let (mut begin, mut end) = (0, 0);
    for pack in stored.chunk_by(|(_, a), (_, b)| pack::is_one(a, b)) {
        end += pack.len();
        if end - begin >= few {
            shares.push(begin..end);
            begin = end;
        }
    }
    if begin < end {
        shares.push(begin..end);
    }
    shares
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

    /// So many slices, each of a pack of its own.
    fn slices(count: i64) -> Arc<Vec<Numbered>> {
        let packs = Bytes::from(vec![0; usize::try_from(count).expect("few")]);
        let slice = |(place, id)| {
            let blob = packs.slice(place..=place);
            (place, StoredSlice { id, last_us: 0, index: 0, dictionary: None, blob })
        };
        Arc::new((0..count).enumerate().map(slice).collect())
    }

    #[test]
    fn slices_of_a_pack_are_in_one_share() {
        let mut stored = slices(100);
        for (_, slice) in &mut Arc::make_mut(&mut stored)[10..30] {
            slice.blob = Bytes::from_static(b"one pack");
        }
        let shares = shares(&stored, 15);
        assert_eq!(shares, [0..30, 30..45, 45..60, 60..75, 75..90, 90..100]);
        assert!(super::shares(&[], 15).is_empty());
    }

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).expect("this thread's")
    }

    #[tokio::test]
    async fn shares_come_back_in_order_and_long_walks_are_read_behind_all_else() {
        let own = niceness();
        for (count, is_long) in [(0, true), (1, true), (1001, true), (1001, false)] {
            let read = |part: &[Numbered]| (niceness(), part.iter().map(|(_, s)| s.id).collect::<Vec<_>>());
            let shares = share(slices(count), is_long, read).await.expect("read");
            let ids: Vec<_> = shares.iter().flat_map(|(_, ids)| ids.clone()).collect();
            assert_eq!(ids, (0..count).collect::<Vec<_>>());
            let nicer = if is_long { NICENESS.max(own) } else { own };
            assert!(shares.iter().all(|(niceness, _)| *niceness == nicer), "{shares:?}");
        }
        assert_eq!(niceness(), own, "this thread's own priority is as it was");
    }

    #[tokio::test]
    async fn who_is_slow_does_not_keep_the_rest_waiting() {
        if *PROCESSORS < 2 {
            return;
        }
        let parts = 10;
        let done = Arc::new(AtomicUsize::new(0));
        let read = move |part: &[Numbered]| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            // The first is slower than all others together.
            while part[0].1.id == 0 && done.load(Ordering::Acquire) < parts - 1 {
                assert!(std::time::Instant::now() < deadline, "others wait for the first");
                thread::yield_now();
            }
            done.fetch_add(1, Ordering::AcqRel);
            part[0].1.id
        };
        let stored = slices(i64::try_from(parts * AT_A_TIME).expect("few"));
        let found = share(stored, true, read).await.expect("read");
        let expected: Vec<i64> = (0..).step_by(AT_A_TIME).take(parts).collect();
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_takes_no_seat_away() {
        for _ in 0..*PROCESSORS + 1 {
            assert!(share(slices(10), true, |_| panic!("on purpose")).await.map(|_: Vec<()>| ()).is_err());
        }
        assert_eq!(share(slices(10), true, <[Numbered]>::len).await.expect("read").iter().sum::<usize>(), 10);
    }
}
