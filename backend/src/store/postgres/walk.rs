//! Finding slices: three queries in one snapshot. Which segments may hold something; their pages, as many at once as the
//! walk needs for its next step; and the slices that it came to.
//!
//! Partitions are read by their names: a query over all of them would be planned for each.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use sqlx::PgPool;

use super::bucket::Bucket;
use super::connection::Lease;
use crate::store::postings::{Next, Posting, Source, Walker, Wanted};
use crate::store::{StoreError, StoredSlice, Walk, Walked};

/// The next slices of a walk.
pub async fn walk(pool: &PgPool, walk: &Walk) -> Result<Walked, StoreError> {
    let mut snapshot = Lease::snapshot(pool).await?;
    let (places, damaged) = places(&mut snapshot, walk).await?;
    let slices = read(&mut snapshot, &places).await?;
    snapshot.commit().await?;
    let partial = damaged || slices.len() < places.len();
    Ok(Walked { slices, partial })
}

/// Where the next slices of a walk are (id and time of the first message), and whether there may be more, because
/// postings are damaged.
async fn places(snapshot: &mut Lease, walk: &Walk) -> Result<(Vec<(i64, i64)>, bool), StoreError> {
    let (after_us, _) = walk.after.unwrap_or((i64::MAX, i64::MAX));
    let until_us = walk.first_until_us.unwrap_or(i64::MAX).min(after_us);
    let since_us = walk.first_since_us.unwrap_or(i64::MIN);
    // The least number has no literal.
    let since_us = since_us.max(-i64::MAX);
    let segments = snapshot
        .query(&format!(
            "select id, oldest_us, newest_us from segment where newest_us >= {since_us} and oldest_us <= {until_us}"
        ))
        .await?;
    let mut walker = Walker::new(walk);
    for (segment, oldest_us, newest_us) in
        segments.read(|row| Some((row.bigint()?, row.bigint()?, row.bigint()?)))?
    {
        walker.add(Source { segment, base: Bucket::of(segment).first_id(), oldest_us, newest_us });
    }
    let (mut places, mut damaged) = (Vec::new(), false);
    while places.len() < walk.limit as usize {
        match walker.step() {
            Next::Slice { id, first_us, .. } => places.push((id, first_us)),
            Next::Pages => damaged |= feed(snapshot, &mut walker).await?,
            Next::End => break,
        }
    }
    Ok((places, damaged))
}

/// Reads the pages that a walk needs next; whether one is damaged.
async fn feed(snapshot: &mut Lease, walker: &mut Walker<i64>) -> Result<bool, StoreError> {
    let wanted = walker.wanted();
    let mut by_bucket: BTreeMap<Bucket, Vec<Wanted<i64>>> = BTreeMap::new();
    for wanted in &wanted {
        by_bucket.entry(Bucket::of(wanted.segment)).or_default().push(*wanted);
    }
    let queries = by_bucket.into_iter().map(|(bucket, wanted)| {
        let mut values = String::new();
        for Wanted { source, segment, at } in wanted {
            let comma = if values.is_empty() { "" } else { "," };
            let at = u128::from_be_bytes(at.to_octets());
            // A String takes whatever is written to it.
            let _written = write!(values, "{comma}({source}::bigint, {segment}::bigint, decode('{at:032x}', 'hex'))");
        }
        format!(
            "select w.source, p.first, p.data from (values {values}) w (source, segment, at), lateral (
             select first, data from {} where segment = w.segment and first <= w.at order by first desc limit 1) p",
            bucket.partition("page")
        )
    });
    let query = queries.collect::<Vec<_>>().join(" union all ");
    let pages = snapshot.query(&query).await?;
    let pages: HashMap<i64, (Posting, Vec<u8>)> = pages
        .read(|row| {
            let source = row.bigint()?;
            let first = Posting::from_octets(row.bytea()?.try_into().ok()?);
            Some((source, (first, row.bytea()?.to_vec())))
        })?
        .into_iter()
        .collect();
    let mut damaged = false;
    for Wanted { source, segment, .. } in wanted {
        let page = i64::try_from(source).ok().and_then(|source| pages.get(&source));
        if let Err(error) = walker.feed(source, page.map(|(first, data)| (*first, data.as_slice()))) {
            tracing::error!(segment, %error, "a damaged page of postings is left out");
            damaged = true;
        }
    }
    Ok(damaged)
}

/// Reads the slices at these places, in their order.
async fn read(snapshot: &mut Lease, places: &[(i64, i64)]) -> Result<Vec<StoredSlice>, StoreError> {
    let mut by_bucket: BTreeMap<Bucket, String> = BTreeMap::new();
    for (id, _) in places {
        let ids = by_bucket.entry(Bucket::of(*id)).or_default();
        let comma = if ids.is_empty() { "" } else { "," };
        let _written = write!(ids, "{comma}{id}");
    }
    if by_bucket.is_empty() {
        return Ok(Vec::new());
    }
    let queries = by_bucket.into_iter().map(|(bucket, ids)| {
        format!("select id, blob from {} where id = any('{{{ids}}}'::bigint[])", bucket.partition("slice"))
    });
    let found = snapshot.query(&queries.collect::<Vec<_>>().join(" union all ")).await?;
    let mut blobs: HashMap<i64, Vec<u8>> =
        found.read(|row| Some((row.bigint()?, row.bytea()?.to_vec())))?.into_iter().collect();
    let slices = places.iter().filter_map(|(id, first_us)| {
        Some(StoredSlice { id: *id, first_us: *first_us, dictionary: None, blob: blobs.remove(id)? })
    });
    Ok(slices.collect())
}
