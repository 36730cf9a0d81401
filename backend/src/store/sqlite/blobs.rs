//! Blobs of slices by their rows: most of a range with few statements, others by a list of rows.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Inner;
use super::bucket::Bucket;
use super::file;
use super::rows::list;
use crate::store::StoreError;
use crate::store::runs::Runs;

/// Rows that are found one by one by one statement; SQLite takes 32,766 parameters in one.
const LISTED: usize = 4096;

/// A whole range as one row, since a row that is handed from thread to thread costs more than SQLite needs to read it.
/// `group_concat` takes the octets of a blob as they are.
const RANGE: &str = "select group_concat(length(blob)), cast(group_concat(blob, '') as blob) from slice
    where id between $1 and $2";

impl Inner {
    /// The blobs of the slices in these rows, in this order; `None` for those that are not there.
    pub(super) async fn blobs(
        &self,
        bucket: &Bucket,
        rows: &[i64],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut wanted: Vec<(i64, usize)> = rows.iter().copied().zip(0..).collect();
        wanted.sort_unstable();
        let sorted: Vec<i64> = wanted.iter().map(|(row, _)| *row).collect();
        let Runs { ranges, mut single } = Runs::of(&sorted);
        let mut blobs = vec![None; rows.len()];
        let mut reader = self.readers.take(bucket).await?;
        for range in ranges {
            let begin = wanted.partition_point(|(row, _)| row < range.start());
            let end = wanted.partition_point(|(row, _)| row <= range.end());
            let of_range = wanted.get(begin..end).unwrap_or_default();
            match read_range(&mut reader.connection, &range).await {
                Ok(Some(found)) => {
                    for (row, place) in of_range {
                        let n = usize::try_from(row - range.start()).ok();
                        if let (Some(n), Some(slot)) = (n, blobs.get_mut(*place)) {
                            *slot = found.get(n).cloned();
                        }
                    }
                }
                Ok(None) => single.extend(of_range.iter().map(|(row, _)| *row)),
                // These are missing then, and no others.
                Err(StoreError::Unavailable(error)) if file::is_damage(&error) => bucket.report(&error),
                Err(error) => return Err(error),
            }
        }
        let mut found: HashMap<i64, Bytes> = HashMap::with_capacity(single.len());
        for rows in single.chunks(LISTED) {
            // A few lengths, so that few statements are prepared; what is too many is the last one again.
            let length = rows.len().next_power_of_two();
            let sql = format!("select id, blob from slice where id in ({})", list("?", length));
            let padded = rows.iter().chain(rows.last().into_iter().cycle()).take(length);
            let query = padded.fold(sqlx::query_as(AssertSqlSafe(sql)), |query, row| query.bind(*row));
            let read: Vec<(i64, Vec<u8>)> = query.fetch_all(&mut reader.connection).await?;
            found.extend(read.into_iter().map(|(row, blob)| (row, Bytes::from(blob))));
        }
        reader.done();
        if !found.is_empty() {
            for (row, slot) in rows.iter().zip(&mut blobs).filter(|(_, slot)| slot.is_none()) {
                *slot = found.get(row).cloned();
            }
        }
        Ok(blobs)
    }
}

/// The blobs of a range of rows; `None` where one is missing among them, or they are too long for one row.
async fn read_range(
    connection: &mut SqliteConnection,
    range: &RangeInclusive<i64>,
) -> Result<Option<Vec<Bytes>>, StoreError> {
    let read: Result<(Option<String>, Option<Vec<u8>>), _> =
        sqlx::query_as(RANGE).bind(range.start()).bind(range.end()).fetch_one(connection).await;
    let (lengths, octets) = match read.map_err(StoreError::from) {
        Ok((Some(lengths), Some(octets))) => (lengths, octets),
        Ok(_) | Err(StoreError::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut rest = Bytes::from(octets);
    let mut blobs = Vec::with_capacity(lengths.len() / 4);
    for length in lengths.split(',') {
        match length.parse() {
            Ok(length) if length <= rest.len() => blobs.push(rest.split_to(length)),
            _ => return Ok(None),
        }
    }
    let is_whole = i64::try_from(blobs.len()) == Ok(range.end() - range.start() + 1);
    Ok(is_whole.then_some(blobs))
}
