//! Several walks as one: slices that have one of several keys, in the order of one walk.

use std::collections::VecDeque;

use super::SearchError;
use super::steps::Fetched;
use crate::store::{Key, Store, StoredSlice, Walk};

/// A place in a walk.
type Place = (i64, i64);

/// What one of the walks brought, and was not given on yet.
struct Source {
    key: Key,
    after: Option<Place>,
    slices: VecDeque<StoredSlice>,
    ended: bool,
}

/// Walks over slices of several keys.
pub struct Union {
    sources: Vec<Source>,
}

impl Union {
    /// Of these keys.
    pub fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        let source = |key| Source { key, after: None, slices: VecDeque::new(), ended: false };
        Self { sources: keys.into_iter().map(source).collect() }
    }

    /// The next slices. `walk` says which slices each of the walks visits, and how many it brings at a time; not its key, nor where it goes on.
    pub async fn next(&mut self, store: &dyn Store, walk: &Walk) -> Result<Fetched, SearchError> {
        let mut partial = false;
        for source in self.sources.iter_mut().filter(|source| !source.ended && source.slices.is_empty()) {
            let asked = Walk { key: Some(source.key), after: source.after.or(walk.after), ..*walk };
            let fetched = Fetched::from(store, asked).await?;
            partial |= fetched.partial;
            source.ended = fetched.next.is_none();
            source.after = fetched.next.or(source.after);
            source.slices = fetched.slices.into();
        }
        // A walk that goes on may bring more behind its last slice: so far, and no further, all is known.
        let known = self.sources.iter().filter(|s| !s.ended).filter_map(|s| s.after).max();
        let mut slices: Vec<StoredSlice> = Vec::new();
        for source in &mut self.sources {
            let count =
                source.slices.partition_point(|slice| known.is_none_or(|known| slice.place() >= known));
            slices.extend(source.slices.drain(..count));
        }
        slices.sort_unstable_by_key(|slice| std::cmp::Reverse(slice.place()));
        // What two keys lead to.
        slices.dedup_by_key(|slice| slice.place());
        Ok(Fetched { slices, partial, next: known })
    }
}
