//! Finding slices: three queries, in one snapshot unless they read many partitions. Which segments may hold something; their pages, as many at once as the
//! walk needs for its next step; and the slices that it came to.
//!
//! Partitions are read by their names: a query over all of them would be planned for each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sqlx::PgPool;

use super::bucket::Bucket;
use super::connection::Lease;
use super::copy::Found;
use crate::store::postings::{Next, Posting, Source, Walker, Wanted};
use crate::store::runs::Runs;
use crate::store::{MAX_SPAN_US, Room, StoreError, StoredSlice, Walk, Walked, pack};

/// Partitions that one transaction reads at most. Each takes two places in the server's table of locks, which everybody
/// shares and which has some 6,400 by default; a lookup without a time range may have to read one for each hour that is kept.
const PARTITIONS: usize = 64;

/// Pages of postings that are read at once to begin with: as many as an hour has segments, since a further question costs more than
/// a page.
const PAGES: usize = 32;

/// For several keys they are so many times as many at most.
const MOST_TIMES: usize = 8;

/// A walk is begun anew for so long when segments were merged or dropped between its queries.
const PATIENCE: Duration = Duration::from_secs(10);

/// PostgreSQL's code for a table that is not there: let go of between two queries.
const UNDEFINED_TABLE: &str = "42P01";

/// Pages of a bucket that a walk needs, each of which is the last of a run of so many.
type Pages = ((Bucket, usize), Vec<Wanted<i64>>);

/// The next slices of a walk.
pub async fn walk(pool: &PgPool, walk: &Walk) -> Result<Walked, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match walk_once(&mut Reader::new(pool).await?, walk).await {
            Ok(Some(walked)) => return Ok(walked),
            Ok(None) if Instant::now() < deadline => {}
            Ok(None) => return Ok(Walked { slices: Vec::new(), partial: true }),
            Err(StoreError::Unavailable(sqlx::Error::Database(error)))
                if error.code().as_deref() == Some(UNDEFINED_TABLE) && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
}

/// The next slices; `None` where what it reads was changed meanwhile.
async fn walk_once(reader: &mut Reader<'_>, walk: &Walk) -> Result<Option<Walked>, StoreError> {
    let Some((places, damaged)) = places(reader, walk).await? else { return Ok(None) };
    let slices = read(reader, &places, Room::of(walk)).await?;
    reader.end().await?;
    let partial = damaged || slices.len() < places.len();
    Ok(Some(Walked { slices, partial }))
}

/// Reads partitions in one snapshot after the other, each of a bounded number.
struct Reader<'a> {
    pool: &'a PgPool,
    snapshot: Option<Lease>,
    partitions: usize,
}

impl<'a> Reader<'a> {
    async fn new(pool: &'a PgPool) -> Result<Self, StoreError> {
        Ok(Self { pool, snapshot: Some(Lease::snapshot(pool).await?), partitions: 0 })
    }

    async fn query(&mut self, query: &str) -> Result<Found, StoreError> {
        self.query_within(query, &mut Room::unbounded()).await
    }

    async fn query_within(&mut self, query: &str, room: &mut Room) -> Result<Found, StoreError> {
        let snapshot = match &mut self.snapshot {
            Some(snapshot) => snapshot,
            none => none.insert(Lease::snapshot(self.pool).await?),
        };
        snapshot.query_within(query, room).await
    }

    /// How many of so many partitions can be read at once. Ends the snapshot where there is no room left in it; then the
    /// second is true, and the next query sees a later one.
    async fn room(&mut self, wanted: usize) -> Result<(usize, bool), StoreError> {
        let later = self.partitions >= PARTITIONS;
        if later {
            self.end().await?;
            self.partitions = 0;
        }
        let read = wanted.min(PARTITIONS - self.partitions);
        self.partitions += read;
        Ok((read, later))
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        match self.snapshot.take() {
            Some(snapshot) => snapshot.commit().await,
            None => Ok(()),
        }
    }
}

/// Where the next slices of a walk are (id and time of the last message), and whether there may be more, because
/// postings are damaged. `None` where segments were changed meanwhile.
async fn places(reader: &mut Reader<'_>, walk: &Walk) -> Result<Option<(Vec<(i64, i64)>, bool)>, StoreError> {
    let (after_us, _) = walk.after.unwrap_or((i64::MAX, i64::MAX));
    let until_us =
        walk.until_us.map_or(i64::MAX, |until_us| until_us.saturating_add(MAX_SPAN_US)).min(after_us);
    // The least number has no literal.
    let since_us = walk.since_us.unwrap_or(i64::MIN).max(-i64::MAX);
    let found = reader
        .query(&format!(
            "select id, oldest_us, newest_us from segment where newest_us >= {since_us} and oldest_us <= {until_us}"
        ))
        .await?;
    let segments = found.read(|row| Some((row.bigint()?, row.bigint()?, row.bigint()?)))?;
    let mut walker = Walker::new(walk).asking_for(PAGES * walk.keys.len().clamp(1, MOST_TIMES));
    for (segment, oldest_us, newest_us) in &segments {
        let (segment, oldest_us, newest_us) = (*segment, *oldest_us, *newest_us);
        walker.add(Source { segment, base: Bucket::of(segment).first_id(), oldest_us, newest_us });
    }
    let (mut places, mut damaged) = (Vec::new(), false);
    while places.len() < walk.limit as usize {
        match walker.step() {
            Next::Slice { id, last_us, .. } => places.push((id, last_us)),
            Next::Pages => {
                let mut by_bucket: BTreeMap<(Bucket, usize), Vec<Wanted<i64>>> = BTreeMap::new();
                for wanted in walker.wanted() {
                    by_bucket.entry((Bucket::of(wanted.segment), wanted.run)).or_default().push(wanted);
                }
                let mut wanted: Vec<_> = by_bucket.into_iter().collect();
                while !wanted.is_empty() {
                    let (read, later) = reader.room(wanted.len()).await?;
                    if later && !are_in_force(reader, &segments).await? {
                        return Ok(None);
                    }
                    let rest = wanted.split_off(read);
                    damaged |= feed(reader, &mut walker, wanted).await?;
                    wanted = rest;
                }
            }
            Next::End => break,
        }
    }
    Ok(Some((places, damaged)))
}

/// Whether all these segments are still there.
async fn are_in_force(reader: &mut Reader<'_>, segments: &[(i64, i64, i64)]) -> Result<bool, StoreError> {
    let ids = segments.iter().map(|(id, ..)| id.to_string()).collect::<Vec<_>>().join(",");
    let found =
        reader.query(&format!("select count(*) from segment where id = any('{{{ids}}}'::bigint[])")).await?;
    let count = found.read(|row| row.bigint())?.first().copied();
    Ok(count.and_then(|count| usize::try_from(count).ok()) == Some(segments.len()))
}

/// Reads the pages that a walk needs next; whether one is damaged.
async fn feed(
    reader: &mut Reader<'_>,
    walker: &mut Walker<i64>,
    by_bucket: Vec<Pages>,
) -> Result<bool, StoreError> {
    let all: Vec<_> = by_bucket.iter().flat_map(|(_, wanted)| wanted.clone()).collect();
    let queries = by_bucket.into_iter().map(|((bucket, run), wanted)| {
        let mut values = String::new();
        for Wanted { source, segment, at, .. } in wanted {
            let comma = if values.is_empty() { "" } else { "," };
            let at = u128::from_be_bytes(at.to_octets());
            // A String takes whatever is written to it.
            let _written = write!(values, "{comma}({source}::bigint, {segment}::bigint, decode('{at:032x}', 'hex'))");
        }
        format!(
            "select w.source, p.first, p.data from (values {values}) w (source, segment, at), lateral (
             select first, data from {} where segment = w.segment and first <= w.at order by first desc limit {run}) p",
            bucket.partition("page")
        )
    });
    let query = queries.collect::<Vec<_>>().join(" union all ");
    let pages = reader.query(&query).await?;
    let mut runs: HashMap<i64, Vec<(Posting, &[u8])>> = HashMap::new();
    pages.read(|row| {
        let source = row.bigint()?;
        let first = Posting::from_octets(row.bytea()?.try_into().ok()?);
        runs.entry(source).or_default().push((first, row.bytea()?));
        Some(())
    })?;
    let mut damaged = false;
    for Wanted { source, segment, .. } in all {
        let mut run = i64::try_from(source).ok().and_then(|source| runs.remove(&source)).unwrap_or_default();
        run.sort_unstable_by_key(|(first, _)| Reverse(*first));
        if let Err(error) = walker.feed(source, run) {
            tracing::error!(segment, %error, "a damaged page of postings is left out");
            damaged = true;
        }
    }
    Ok(damaged)
}

/// Reads the slices at these places, in their order.
async fn read(
    reader: &mut Reader<'_>,
    places: &[(i64, i64)],
    mut room: Room,
) -> Result<Vec<StoredSlice>, StoreError> {
    let mut wanted: Vec<(i64, usize)> =
        places.iter().map(|(id, _)| pack::number_of(*id).0).zip(0..).collect();
    wanted.sort_unstable();
    let mut packs: Vec<i64> = wanted.iter().map(|(pack, _)| *pack).collect();
    packs.dedup();
    let bucket_of = |pack: i64| Bucket::of(pack::first_id(pack));
    let mut queries: Vec<_> = packs
        .chunk_by(|a, b| bucket_of(*a) == bucket_of(*b))
        .filter_map(|packs| {
            let table = bucket_of(*packs.first()?).partition("pack");
            let Runs { ranges, single } = Runs::of(packs);
            let ids =
                single.iter().map(|pack| pack::first_id(*pack).to_string()).collect::<Vec<_>>().join(",");
            let mut query = format!("select id, blob from {table} where id = any('{{{ids}}}'::bigint[])");
            for range in ranges {
                let (first, last) = (pack::first_id(*range.start()), pack::first_id(*range.end()));
                let _written = write!(
                    query,
                    " union all select id, blob from {table} where id between {first} and {last}"
                );
            }
            Some(query)
        })
        .collect();
    let mut blobs: Vec<Option<Bytes>> = vec![None; places.len()];
    while !queries.is_empty() {
        // A pack never changes, so it does not matter in which snapshot it is read.
        let (read, _) = reader.room(queries.len()).await?;
        let rest = queries.split_off(read);
        let found = reader.query_within(&queries.join(" union all "), &mut room).await?;
        // Rows come in about the order in which they are wanted.
        let mut next = 0;
        found.read(|row| {
            let ((pack, _), blob) = (pack::number_of(row.bigint()?), row.bytea()?);
            if wanted.get(next).is_none_or(|(next, _)| *next != pack) {
                next = wanted.partition_point(|(wanted, _)| *wanted < pack);
            }
            let mut shared = None;
            while let Some((_, place)) = wanted.get(next).filter(|(wanted, _)| *wanted == pack) {
                next += 1;
                if let Some(slot) = blobs.get_mut(*place) {
                    *slot = Some(Bytes::clone(shared.get_or_insert_with(|| found.share(blob))));
                }
            }
            Some(())
        })?;
        queries = rest;
    }
    let slices = places.iter().zip(blobs).filter_map(|((id, last_us), blob)| {
        let (_, index) = pack::number_of(*id);
        Some(StoredSlice { id: *id, last_us: *last_us, index, dictionary: None, blob: blob? })
    });
    Ok(slices.collect())
}
