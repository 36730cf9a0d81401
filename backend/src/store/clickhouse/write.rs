//! Writing a flush: what goes to which shard, and what is done when one is away.

use std::collections::{BTreeMap, HashSet};

use bytes::{BufMut, Bytes};
use futures_util::future::join_all;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use super::ledger::{FlushMark, Ledger};
use super::place;
use super::rows::{put_octets, put_times};
use super::schema::{ID_BITS_IN_A_SECOND, IDS_OF_A_DAY};
use super::shard::Shard;
use crate::call::event::PathSet;
use crate::spool::Position;
use crate::store::dictionary;
use crate::store::firsts::Firsts;
use crate::store::{DictionaryId, Flush, Key, Pack, StoreError, pack};

/// So many bits of an id tell the slices of a flush apart: as many as there are places in its packs.
const ROW_BITS: u32 = 21;

const INSERT_KEYS: &str = "insert into slice_key (key, last_us, id, first_us, rule) format RowBinary";
const INSERT_PACKS: &str = "insert into pack (id, last_us, flush, rule, blob) format RowBinary";
const INSERT_VOID: &str = "insert into void_flush (flush) format RowBinary";

const INSERT_PATHS: &str = "insert into event_paths (paths) format RowBinary";
const INSERT_DICTIONARY: &str = "insert into dictionary (id, made_at_us, octets) format RowBinary";

/// What writes; one flush at a time.
pub struct Writer {
    ledger: Ledger,
    /// The flush that is under way, once a shard may have something of it.
    under_way: Option<UnderWay>,
    /// Which dictionaries are on which shard.
    kept: HashSet<(String, DictionaryId)>,
    firsts: Firsts,
}

struct UnderWay {
    /// Tells whether it is the same flush that is to be written again.
    digest: u64,
    /// Its slices have ids from this on.
    first_id: i64,
    /// Which of its packs are on a shard.
    placed: Vec<bool>,
}

impl Writer {
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, under_way: None, kept: HashSet::new(), firsts: Firsts::default() }
    }

    pub fn checkpoint(&self) -> Option<Position> {
        self.ledger.checkpoint()
    }

    /// Writes a flush. When it fails, the same flush goes on where it failed; of another one, none of it will count.
    pub async fn write(&mut self, shards: &[Shard], flush: &Flush, now_us: i64) -> Result<(), StoreError> {
        let digest = digest(flush);
        // Left behind by whatever fails, or is given up, in between.
        let mut firsts = std::mem::take(&mut self.firsts);
        if self.under_way.as_ref().is_some_and(|under_way| under_way.digest != digest) {
            self.ledger.make_void().map_err(unwritten)?;
            self.under_way = None;
        }
        self.tell_void(shards).await?;
        let mark = self.ledger.mark();
        let under_way = self.under_way.get_or_insert_with(|| UnderWay {
            digest,
            first_id: first_id(mark, now_us),
            placed: vec![false; flush.packs.len()],
        });
        under_way.place(shards, &flush.packs, mark, &mut self.kept, &mut firsts).await?;
        self.ledger.count(flush.end).map_err(unwritten)?;
        self.under_way = None;
        self.firsts = firsts;
        Ok(())
    }

    /// Tells the shards that can be reached which flushes are void.
    async fn tell_void(&mut self, shards: &[Shard]) -> Result<(), StoreError> {
        if self.ledger.untold().is_empty() {
            return Ok(());
        }
        let names: Vec<_> = shards.iter().map(|shard| shard.name().to_owned()).collect();
        let untold = self.ledger.untold().to_vec();
        for shard in shards {
            let marks: Vec<_> = untold
                .iter()
                .filter(|void| void.told.iter().all(|told| told != shard.name()))
                .map(|void| void.mark)
                .collect();
            let rows: Vec<u8> = marks.iter().flat_map(|mark| mark.to_le_bytes()).collect();
            // One that is away is told when it is back.
            if !marks.is_empty()
                && shard.insert(INSERT_VOID, &format!("void-{marks:x?}"), rows.into()).await.is_ok()
            {
                for mark in marks {
                    self.ledger.told(mark, shard.name(), &names).map_err(unwritten)?;
                }
            }
        }
        Ok(())
    }
}

impl UnderWay {
    /// Puts each pack that is on no shard yet on one: the one where its first call is, or another while that is away.
    async fn place(
        &mut self,
        shards: &[Shard],
        packs: &[Pack],
        mark: FlushMark,
        kept: &mut HashSet<(String, DictionaryId)>,
        firsts: &mut Firsts,
    ) -> Result<(), StoreError> {
        let mut among: Vec<&Shard> = shards.iter().collect();
        let mut last = None;
        loop {
            let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (index, pack) in packs.iter().enumerate().filter(|(index, _)| !self.placed[*index]) {
                match place::home(pack, &among) {
                    Some(home) => parts.entry(home).or_default().push(index),
                    None => return Err(last.unwrap_or_else(|| StoreError::Away("no shard".into()))),
                }
            }
            if parts.is_empty() {
                return Ok(());
            }
            let (first_id, known) = (self.first_id, &*kept);
            let inserts = parts.into_iter().map(|(home, part)| {
                let shard = among[home];
                let part: Vec<_> = part
                    .into_iter()
                    .map(|index| {
                        (index, firsts.keys(partition(shard, first_id, &packs[index]), [&packs[index]]))
                    })
                    .collect();
                async move { (home, insert(shard, packs, &part, first_id, mark, known).await, part) }
            });
            let inserts: Vec<_> = inserts.collect();
            let mut failed = Vec::new();
            for (home, inserted, part) in join_all(inserts).await {
                match inserted {
                    Ok(()) => {
                        let of_part = part.iter().map(|(index, _)| &packs[*index]);
                        let name = among[home].name();
                        kept.extend(dictionary::needed(of_part).map(|needed| (name.to_owned(), needed.id())));
                        part.into_iter().for_each(|(index, _)| self.placed[index] = true);
                    }
                    Err(error) => {
                        failed.push(home);
                        last = Some(error);
                        *firsts = Firsts::default();
                    }
                }
            }
            let mut home = 0..;
            among.retain(|_| home.next().is_some_and(|home| !failed.contains(&home)));
        }
    }
}

/// Keeps a set of paths on all shards that answer; one of them at least.
pub async fn note_paths(shards: &[Shard], paths: &PathSet) -> Result<(), StoreError> {
    let mut row = Vec::new();
    put_octets(&mut row, paths.as_str().as_bytes());
    let row = Bytes::from(row);
    let token = format!("paths-{:016x}", xxh3_64(paths.as_str().as_bytes()));
    let inserts = shards.iter().map(|shard| shard.insert(INSERT_PATHS, &token, row.clone()));
    let answers = join_all(inserts).await;
    let reached = answers.iter().any(Result::is_ok);
    match answers.into_iter().find_map(Result::err) {
        Some(failure) if !reached => Err(failure.into()),
        _ => Ok(()),
    }
}

/// Inserts a part of a flush into a shard: first what its slices are found by, so that none is there that is not found.
async fn insert(
    shard: &Shard,
    packs: &[Pack],
    part: &[(usize, Vec<Option<Key>>)],
    first_id: i64,
    mark: FlushMark,
    known: &HashSet<(String, DictionaryId)>,
) -> Result<(), StoreError> {
    let of_part = part.iter().map(|(index, _)| &packs[*index]);
    let needed: Vec<_> = dictionary::needed(of_part).cloned().collect();
    for dictionary in needed {
        if !known.contains(&(shard.name().to_owned(), dictionary.id())) {
            let mut row = Vec::new();
            row.put_u32_le(dictionary.id().get());
            row.put_i64_le(dictionary.made_at_us());
            put_octets(&mut row, dictionary.octets());
            shard.insert(INSERT_DICTIONARY, &format!("dictionary-{}", dictionary.id()), row.into()).await?;
        }
    }
    let mut keys = Vec::new();
    let mut rows = Vec::new();
    let mut of_part = Xxh3::new();
    for (index, firsts) in part {
        let pack = &packs[*index];
        let id = first_id.saturating_add(pack::first_id(i64::try_from(*index).unwrap_or(i64::MAX)));
        for ((id, slice), first) in (id..).zip(&pack.slices).zip(firsts) {
            for key in [Key::EVERYTHING].iter().chain(&slice.keys).chain(first) {
                keys.put_u64_le(key.hash().cast_unsigned());
                keys.put_i64_le(slice.last_us);
                keys.put_i64_le(id);
                keys.put_i64_le(slice.first_us);
                put_octets(&mut keys, pack.rule.as_bytes());
            }
        }
        rows.put_i64_le(id);
        put_times(&mut rows, pack.last_us());
        rows.put_u64_le(mark);
        put_octets(&mut rows, pack.rule.as_bytes());
        put_octets(&mut rows, &pack.blob);
        of_part.update(&id.to_le_bytes());
    }
    let token = format!("{mark:016x}-{:016x}", of_part.digest());
    shard.insert(INSERT_KEYS, &token, Bytes::from(keys)).await?;
    shard.insert(INSERT_PACKS, &token, Bytes::from(rows)).await?;
    Ok(())
}

/// The number of the partition of a shard that a pack goes to.
fn partition(shard: &Shard, first_id: i64, pack: &Pack) -> u64 {
    let day = first_id.div_euclid(IDS_OF_A_DAY).cast_unsigned();
    xxh3_64_with_seed(pack.rule.as_bytes(), xxh3_64_with_seed(shard.name().as_bytes(), day))
}

/// The id of a flush's first slice: the second of its arrival, then what tells flushes of one second apart, then 0.
fn first_id(mark: FlushMark, now_us: i64) -> i64 {
    let second = now_us.div_euclid(1_000_000).clamp(0, i64::from(u32::MAX));
    let apart = (mark >> (64 - (ID_BITS_IN_A_SECOND - ROW_BITS))).cast_signed();
    second << ID_BITS_IN_A_SECOND | apart << ROW_BITS
}

fn digest(flush: &Flush) -> u64 {
    let mut digest = Xxh3::new();
    digest.update(&flush.end.segment.to_le_bytes());
    digest.update(&flush.end.offset.to_le_bytes());
    for pack in &flush.packs {
        pack.last_us().for_each(|last_us| digest.update(&last_us.to_le_bytes()));
        digest.update(&pack.blob);
    }
    digest.digest()
}

fn unwritten(error: std::io::Error) -> StoreError {
    StoreError::File { path: "clickhouse.json in the spool's folder".into(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_by_the_second_of_arrival_and_leave_room_for_all_packs_of_a_flush() {
        let at = |second: i64, mark| first_id(mark, second * 1_000_000);
        assert!(at(1, u64::MAX) + (1 << ROW_BITS) <= at(2, 0));
        assert_eq!(at(7, u64::MAX) >> ID_BITS_IN_A_SECOND, 7);
        assert_ne!(at(7, u64::MAX), at(7, u64::MAX >> 1));
        assert!(at(i64::from(u32::MAX), u64::MAX) > 0 && first_id(0, -5) == 0);
    }
}
