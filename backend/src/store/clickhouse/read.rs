//! A walk over all shards: each says which slices come next, the newest of all are fetched from where they are.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;

use super::http::{ANSWER_BYTES, Failure};
use super::ledger::FlushMark;
use super::rows::{RowError, Rows};
use super::shard::Shard;
use crate::call::event::PathSet;
use crate::store::dictionary;
use crate::store::{
    Dictionary, DictionaryId, MAX_SPAN_US, MOST_WALKED_BYTES, Room, StoreError, StoredSlice, Walk, Walked,
    pack,
};

const DICTIONARIES: &str = "select made_at_us, octets from dictionary";

/// Ids in one query at most: a server reads 256 KiB of a query (`max_query_size`), and an id takes 21 octets at most.
const IDS: usize = 8192;

/// Where a slice is in the order of walks: the time of its last message, its id.
type Place = (i64, i64);

/// Where the next slices are, newest first, each with the shards that have it.
struct Next {
    places: BTreeMap<Place, Vec<usize>>,
    /// Whether the walk ends with these.
    ends: bool,
}

/// The next slices of a walk. What is there twice under one id, octet for octet, is brought once; what came with a void
/// flush is not brought.
pub async fn walk(shards: &[Shard], walk: &Walk) -> Result<Walked, StoreError> {
    let limit = walk.limit as usize;
    let mut walk = walk.clone();
    let mut walked = Walked::default();
    if walk.keys.is_empty() {
        return Ok(walked);
    }
    let void = void_flushes(shards, &mut walked.partial).await?;
    // More than once only where slices are void, or on their way: their keys come first.
    while walked.slices.len() < limit {
        let next = places(shards, &walk, &mut walked.partial).await?;
        walked.slices.extend(fetch(shards, &next, &void, &mut walked.partial).await?);
        if next.ends {
            break;
        }
        walk.after = next.places.first_key_value().map(|(place, _)| *place);
    }
    if let Some(last) = limit.checked_sub(1).and_then(|last| walked.slices.get(last)).map(StoredSlice::place)
    {
        // Another flush may have the same id: what is at one place is not torn apart, since the next step goes on behind it.
        let end = walked.slices.partition_point(|slice| slice.place() >= last);
        walked.slices.truncate(end);
    }
    Ok(walked)
}

/// Asks all shards at once. Where some fail the result is partial; where all do there is none.
async fn ask_all(
    asked: impl Iterator<Item = (&Shard, String)>,
    partial: &mut bool,
) -> Result<Vec<Option<Rows>>, StoreError> {
    ask_all_within(asked, ANSWER_BYTES, partial).await
}

/// The same, for so many octets of each at most: none where one has more.
async fn ask_all_within(
    asked: impl Iterator<Item = (&Shard, String)>,
    most: usize,
    partial: &mut bool,
) -> Result<Vec<Option<Rows>>, StoreError> {
    let asked = asked.map(|(shard, sql)| async move { shard.ask_within(&sql, most).await });
    let mut last = None;
    let answers: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .map(|answer| {
            let failed = |failure| {
                if !matches!(last, Some(Failure::TooMuch(_))) {
                    last = Some(failure);
                }
            };
            answer.map(Rows::new).map_err(failed).ok()
        })
        .collect();
    match last {
        Some(failure @ Failure::TooMuch(_)) => Err(failure.into()),
        Some(failure) if answers.iter().all(Option::is_none) => Err(failure.into()),
        Some(_) => {
            *partial = true;
            Ok(answers)
        }
        None => Ok(answers),
    }
}

/// All sets of paths that any shard knows. What one that is away knows, its slices are not found by either.
pub async fn noted_paths(shards: &[Shard]) -> Result<Vec<PathSet>, StoreError> {
    let sql = "select paths from event_paths format RowBinary";
    let answers = ask_all(shards.iter().map(|shard| (shard, sql.to_owned())), &mut false).await?;
    let mut found = BTreeSet::new();
    for mut rows in answers.into_iter().flatten() {
        while !rows.is_empty() {
            found.insert(PathSet::kept(rows.text()?));
        }
    }
    Ok(found.into_iter().collect())
}

/// The flushes that do not count, as far as any shard knows.
async fn void_flushes(shards: &[Shard], partial: &mut bool) -> Result<HashSet<FlushMark>, StoreError> {
    let sql = "select flush from void_flush format RowBinary";
    let answers = ask_all(shards.iter().map(|shard| (shard, sql.to_owned())), partial).await?;
    let mut marks = HashSet::new();
    for mut rows in answers.into_iter().flatten() {
        while !rows.is_empty() {
            marks.insert(rows.u64()?);
        }
    }
    Ok(marks)
}

async fn places(shards: &[Shard], walk: &Walk, partial: &mut bool) -> Result<Next, StoreError> {
    let sql = sql_of(walk);
    let answers = ask_all(shards.iter().map(|shard| (shard, sql.clone())), partial).await?;
    let limit = walk.limit as usize;
    let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    // A shard that has more to say says nothing of what is older than this.
    let mut floor = None;
    for (shard, rows) in answers.into_iter().enumerate() {
        let Some(mut rows) = rows else { continue };
        let (mut count, mut last) = (0, None);
        while !rows.is_empty() {
            let place = (rows.i64()?, rows.i64()?);
            let of_place = places.entry(place).or_default();
            if of_place.last() != Some(&shard) {
                of_place.push(shard);
            }
            (count, last) = (count + 1, Some(place));
        }
        if count >= limit {
            floor = floor.max(last);
        }
    }
    let mut ends = floor.is_none();
    if let Some(floor) = floor {
        places = places.split_off(&floor);
    }
    while places.len() > limit {
        places.pop_first();
        ends = false;
    }
    Ok(Next { places, ends })
}

fn sql_of(walk: &Walk) -> String {
    let keys: Vec<_> = walk.keys.iter().map(|key| key.hash().cast_unsigned().to_string()).collect();
    // Rows of one key are read in their order, so a walk reads no more of them than it brings.
    let of_keys = match &*keys {
        [key] => format!("= {key}"),
        keys => format!("in ({})", keys.join(",")),
    };
    let mut sql = format!("select last_us, id from slice_key where key {of_keys}");
    if let Some(since_us) = walk.since_us {
        sql.push_str(&format!(" and last_us >= {since_us}"));
    }
    let latest_us = walk.until_us.map(|until_us| until_us.saturating_add(MAX_SPAN_US));
    if let Some(latest_us) = latest_us.into_iter().chain(walk.after.map(|(last_us, _)| last_us)).min() {
        sql.push_str(&format!(" and last_us <= {latest_us}"));
    }
    if let Some(until_us) = walk.until_us {
        sql.push_str(&format!(" and first_us <= {until_us}"));
    }
    if let Some((last_us, id)) = walk.after {
        sql.push_str(&format!(" and (last_us < {last_us} or id < {id})"));
    }
    sql.push_str(" order by last_us desc, id desc");
    if keys.len() > 1 {
        sql.push_str(" limit 1 by last_us, id");
    }
    sql.push_str(&format!(" limit {} format RowBinary", walk.limit));
    sql
}

/// Fetches the slices at these places that count, newest first.
async fn fetch(
    shards: &[Shard],
    next: &Next,
    void: &HashSet<FlushMark>,
    partial: &mut bool,
) -> Result<Vec<StoredSlice>, StoreError> {
    let mut wanted: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    for ((_, id), shards) in &next.places {
        for &shard in shards {
            wanted.entry(shard).or_default().insert(pack::number_of(*id).0);
        }
    }
    let mut asked = Vec::new();
    for (shard, ids) in wanted {
        let Some(shard) = shards.get(shard) else { continue };
        let ids: Vec<_> = ids.into_iter().map(|pack| pack::first_id(pack).to_string()).collect();
        for ids in ids.chunks(IDS) {
            let ids = ids.join(",");
            let columns = "id, last_us, flush, blob";
            asked.push((shard, format!("select {columns} from pack where id in ({ids}) format RowBinary")));
        }
    }
    let (most, mut room) = match next.places.len() {
        0 | 1 => (ANSWER_BYTES, Room::unbounded()),
        _ => (MOST_WALKED_BYTES, Room::bounded()),
    };
    let mut slices = Vec::with_capacity(next.places.len());
    for mut rows in ask_all_within(asked.into_iter(), most, partial).await?.into_iter().flatten() {
        while !rows.is_empty() {
            let (id, times, mark, blob) = (rows.i64()?, rows.times()?, rows.u64()?, rows.octets()?);
            room.take(blob.len())?;
            let of_pack = times.into_iter().zip(id..).enumerate();
            let wanted =
                of_pack.filter(|(_, place)| next.places.contains_key(place) && !void.contains(&mark));
            slices.extend(wanted.map(|(index, (last_us, id))| StoredSlice {
                id,
                last_us,
                index,
                dictionary: None,
                blob: blob.clone(),
            }));
        }
    }
    slices.sort_unstable_by(|a, b| (b.place(), &b.blob).cmp(&(a.place(), &a.blob)));
    slices.dedup();
    Ok(slices)
}

/// Those of these dictionaries that a shard has, and whole.
pub async fn dictionaries(
    shards: &[Shard],
    ids: &[DictionaryId],
    partial: &mut bool,
) -> Result<Vec<Arc<Dictionary>>, StoreError> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let sql = format!("{DICTIONARIES} where id in ({}) limit 1 by id format RowBinary", ids.join(","));
    let answers = ask_all(shards.iter().map(|shard| (shard, sql.clone())), partial).await?;
    read_dictionaries(answers)
}

/// The newest dictionary that a shard has.
pub async fn newest_dictionary(shards: &[Shard]) -> Result<Option<Arc<Dictionary>>, StoreError> {
    let sql = format!("{DICTIONARIES} order by made_at_us desc limit 1 format RowBinary");
    let answers = ask_all(shards.iter().map(|shard| (shard, sql.clone())), &mut false).await?;
    Ok(read_dictionaries(answers)?.into_iter().max_by_key(|dictionary| dictionary.made_at_us()))
}

fn read_dictionaries(answers: Vec<Option<Rows>>) -> Result<Vec<Arc<Dictionary>>, StoreError> {
    let mut found = Vec::new();
    for mut rows in answers.into_iter().flatten() {
        while !rows.is_empty() {
            let (made_at_us, octets) = (rows.i64()?, rows.octets()?);
            found.extend(dictionary::stored(octets.into(), made_at_us, &"a shard"));
        }
    }
    Ok(found)
}

impl From<RowError> for StoreError {
    fn from(error: RowError) -> Self {
        Self::Away(error.to_string())
    }
}
