//! Packs by their numbers: most of a range at once, others one by one.

use std::ops::RangeInclusive;

use bytes::Bytes;
use rusqlite::CachedStatement;
use rusqlite::types::ValueRef;

use super::Inner;
use super::bucket::Bucket;
use crate::store::runs::Runs;
use crate::store::{Room, StoreError, pack};

const RANGE: &str = "select id, blob from pack where id between ?1 and ?2";

/// What memory is taken for a pack beforehand, octets; most are smaller.
const USUAL: usize = 1536;

impl Inner {
    /// The packs of these slices, whose ids are those in the bucket, in this order; `None` for those that are not there.
    ///
    /// # Errors
    /// When there is no room for all of them, or the bucket cannot be read.
    pub(super) fn blobs(
        &self,
        bucket: &Bucket,
        ids: &[i64],
        room: &mut Room,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut wanted: Vec<(i64, usize)> = ids.iter().map(|id| pack::number_of(*id).0).zip(0..).collect();
        wanted.sort_unstable();
        let mut packs: Vec<i64> = wanted.iter().map(|(pack, _)| *pack).collect();
        packs.dedup();
        let Runs { ranges, single } = Runs::of(&packs);
        let mut blobs = vec![None; ids.len()];
        let reader = self.readers.take(bucket)?;
        let mut statement = reader.connection.prepare_cached(RANGE)?;
        for range in ranges.into_iter().chain(single.into_iter().map(|pack| pack..=pack)) {
            let begin = wanted.partition_point(|(pack, _)| pack < range.start());
            let end = wanted.partition_point(|(pack, _)| pack <= range.end());
            let of_range = wanted.get(begin..end).unwrap_or_default();
            let mut found = Found::with_memory(of_range);
            let read = found.read(&mut statement, &range, of_range, room);
            found.put(of_range, &mut blobs);
            match read {
                Ok(()) => {}
                // What was not read yet of this range is missing then, and nothing else.
                Err(StoreError::Damaged(error)) => bucket.report(&error),
                Err(error) => return Err(error),
            }
        }
        drop(statement);
        reader.done();
        Ok(blobs)
    }
}

/// The packs of a range, one behind the other: a piece of memory for all of them.
struct Found {
    octets: Vec<u8>,
    /// Of each its number, and where it ends.
    ends: Vec<(i64, usize)>,
}

impl Found {
    fn with_memory(wanted: &[(i64, usize)]) -> Self {
        let packs = wanted.chunk_by(|a, b| a.0 == b.0).count();
        Self { octets: Vec::with_capacity(packs * USUAL), ends: Vec::with_capacity(packs) }
    }

    /// Reads those packs of a range that are wanted, which are in order.
    fn read(
        &mut self,
        statement: &mut CachedStatement<'_>,
        range: &RangeInclusive<i64>,
        wanted: &[(i64, usize)],
        room: &mut Room,
    ) -> Result<(), StoreError> {
        let mut wanted = wanted.chunk_by(|a, b| a.0 == b.0).filter_map(<[_]>::first).peekable();
        let mut rows = statement.query((range.start(), range.end()))?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            while wanted.next_if(|(pack, _)| *pack < number).is_some() {}
            if wanted.next_if(|(pack, _)| *pack == number).is_some()
                && let ValueRef::Blob(blob) = row.get_ref(1)?
            {
                room.take(blob.len())?;
                self.octets.extend_from_slice(blob);
                self.ends.push((number, self.octets.len()));
            }
        }
        Ok(())
    }

    /// Puts each to the places where it is wanted.
    fn put(mut self, wanted: &[(i64, usize)], blobs: &mut [Option<Bytes>]) {
        self.octets.shrink_to_fit();
        let mut rest = Bytes::from(self.octets);
        let mut begin = 0;
        let mut wanted = wanted.iter().peekable();
        for (number, end) in self.ends {
            let blob = rest.split_to(end - begin);
            begin = end;
            while wanted.next_if(|(pack, _)| *pack < number).is_some() {}
            while let Some((_, place)) = wanted.next_if(|(pack, _)| *pack == number) {
                if let Some(slot) = blobs.get_mut(*place) {
                    *slot = Some(blob.clone());
                }
            }
        }
    }
}
