//! The same work on several threads.

use std::panic::resume_unwind;

/// Does `work` with each of these, each on a thread of its own, the last on this one. The results are in the same order.
pub fn map<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut parts = parts.into_iter();
    let last = parts.next_back();
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let last = last.map(work);
        let done =
            |thread: std::thread::ScopedJoinHandle<'_, R>| thread.join().unwrap_or_else(|p| resume_unwind(p));
        others.into_iter().map(done).chain(last).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_come_in_the_order_of_what_they_are_made_of() {
        assert_eq!(map((0..50).collect(), |n| n * 2), (0..50).map(|n| n * 2).collect::<Vec<_>>());
        assert!(map(Vec::<u8>::new(), |n| n).is_empty());
    }
}
