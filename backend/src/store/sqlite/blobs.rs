//! Blobs of slices by their rows: most of a range at once, others one by one.

use std::ops::RangeInclusive;

use bytes::Bytes;
use rusqlite::CachedStatement;
use rusqlite::types::ValueRef;

use super::Inner;
use super::bucket::Bucket;
use crate::store::StoreError;
use crate::store::runs::Runs;

const RANGE: &str = "select id, blob from slice where id between ?1 and ?2";

/// What room is made for a blob, octets; most are smaller.
const ROOM: usize = 256;

impl Inner {
    /// The blobs of the slices in these rows, in this order; `None` for those that are not there.
    pub(super) fn blobs(&self, bucket: &Bucket, rows: &[i64]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut wanted: Vec<(i64, usize)> = rows.iter().copied().zip(0..).collect();
        wanted.sort_unstable();
        let sorted: Vec<i64> = wanted.iter().map(|(row, _)| *row).collect();
        let Runs { ranges, single } = Runs::of(&sorted);
        let mut blobs = vec![None; rows.len()];
        let reader = self.readers.take(bucket)?;
        let mut statement = reader.connection.prepare_cached(RANGE)?;
        for range in ranges.into_iter().chain(single.into_iter().map(|row| row..=row)) {
            let begin = wanted.partition_point(|(row, _)| row < range.start());
            let end = wanted.partition_point(|(row, _)| row <= range.end());
            let of_range = wanted.get(begin..end).unwrap_or_default();
            let mut found = Found::with_room(of_range.len());
            let read = found.read(&mut statement, &range, of_range);
            found.put(&mut blobs);
            match read.map_err(StoreError::from) {
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

/// The blobs of a range, one behind the other: a piece of memory for all of them.
struct Found {
    octets: Vec<u8>,
    /// Where each ends, and its place in what was asked for.
    ends: Vec<(usize, usize)>,
}

impl Found {
    fn with_room(blobs: usize) -> Self {
        Self { octets: Vec::with_capacity(blobs * ROOM), ends: Vec::with_capacity(blobs) }
    }

    /// Reads those rows of a range that are wanted, which are in order.
    fn read(
        &mut self,
        statement: &mut CachedStatement<'_>,
        range: &RangeInclusive<i64>,
        wanted: &[(i64, usize)],
    ) -> Result<(), rusqlite::Error> {
        let mut wanted = wanted.iter().peekable();
        let mut rows = statement.query((range.start(), range.end()))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            while wanted.next_if(|(row, _)| *row < id).is_some() {}
            while let Some((_, place)) = wanted.next_if(|(row, _)| *row == id) {
                if let ValueRef::Blob(blob) = row.get_ref(1)? {
                    self.octets.extend_from_slice(blob);
                    self.ends.push((self.octets.len(), *place));
                }
            }
        }
        Ok(())
    }

    /// Puts each to its place.
    fn put(self, blobs: &mut [Option<Bytes>]) {
        let mut rest = Bytes::from(self.octets);
        let mut begin = 0;
        for (end, place) in self.ends {
            let blob = rest.split_to(end - begin);
            begin = end;
            if let Some(slot) = blobs.get_mut(place) {
                *slot = Some(blob);
            }
        }
    }
}
