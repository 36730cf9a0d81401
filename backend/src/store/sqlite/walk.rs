//! Reads slices out of the buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::Inner;
use super::bucket::{Bucket, Live};
use crate::store::postings::{Next, Posting, Source, Walker, Wanted};
use crate::store::{Dictionary, DictionaryId, Room, StoreError, StoredSlice, Walk, Walked, dictionary, pack};

const PAGE: &str =
    "select first, data from page where segment = ?1 and first <= ?2 order by first desc limit 1";

/// A segment: which of the buckets of the walk, and its number.
type Place = (usize, i64);

/// A page's first posting and its data.
type ReadPage = (Posting, Vec<u8>);

/// What a walk goes over. It holds the segments, so that their pages stay while it goes.
struct Ground {
    buckets: Vec<Arc<Bucket>>,
    _live: Vec<Vec<Arc<Live>>>,
}

/// A slice that was found, and not read yet.
struct Met {
    bucket: usize,
    last_us: i64,
    id: i64,
}

impl Inner {
    /// The next slices of a walk.
    pub fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let limit = walk.limit as usize;
        let (ground, mut walker) = self.ground(walk);
        let (mut walked, mut room) = (Walked::default(), Room::of(walk));
        // What cannot be read is made up for, so that less than the limit means the end.
        while walked.slices.len() < limit {
            let (met, is_end) =
                self.meet(&ground, &mut walker, limit - walked.slices.len(), &mut walked.partial)?;
            let mut slices = self.read(&ground, &met, &mut room, &mut walked.partial)?;
            walked.slices.append(&mut slices);
            if is_end {
                break;
            }
        }
        let reached_us = walked.slices.last().filter(|_| walked.slices.len() >= limit).map(|s| s.last_us);
        walked.partial |= self.set_aside.concerns(walk, reached_us);
        Ok(walked)
    }

    fn ground(&self, walk: &Walk) -> (Ground, Walker<Place>) {
        let buckets = self.buckets();
        let live: Vec<_> = buckets.iter().map(|bucket| bucket.live()).collect();
        let mut walker = Walker::new(walk);
        for (place, (bucket, live)) in buckets.iter().zip(&live).enumerate() {
            for live in live {
                walker.add(Source {
                    segment: (place, live.segment.number),
                    base: bucket.base(),
                    oldest_us: live.oldest_us,
                    newest_us: live.newest_us,
                });
            }
        }
        (Ground { buckets, _live: live }, walker)
    }

    /// The next slices by their postings, and whether these are the last.
    fn meet(
        &self,
        ground: &Ground,
        walker: &mut Walker<Place>,
        most: usize,
        partial: &mut bool,
    ) -> Result<(Vec<Met>, bool), StoreError> {
        let mut met = Vec::new();
        while met.len() < most {
            match walker.step() {
                Next::Slice { segment: (bucket, _), last_us, id } => met.push(Met { bucket, last_us, id }),
                Next::End => return Ok((met, true)),
                Next::Pages => {
                    let mut by_bucket: BTreeMap<usize, Vec<Wanted<Place>>> = BTreeMap::new();
                    for wanted in walker.wanted() {
                        by_bucket.entry(wanted.segment.0).or_default().push(wanted);
                    }
                    for (place, wanted) in by_bucket {
                        let Some(bucket) = ground.buckets.get(place) else { continue };
                        let pages = sound(bucket, self.pages(bucket, &wanted), partial)?;
                        for (wanted, page) in wanted
                            .iter()
                            .zip(pages.unwrap_or_default().into_iter().chain(std::iter::repeat(None)))
                        {
                            let page = page.as_ref().map(|(first, data)| (*first, data.as_slice()));
                            if let Err(error) = walker.feed(wanted.source, page) {
                                bucket.report(&error);
                                *partial = true;
                            }
                        }
                    }
                }
            }
        }
        Ok((met, false))
    }

    /// The pages that are wanted of a bucket, in that order.
    fn pages(&self, bucket: &Bucket, wanted: &[Wanted<Place>]) -> Result<Vec<Option<ReadPage>>, StoreError> {
        let reader = self.readers.take(bucket)?;
        let read = |row: &Row<'_>| {
            let (first, data): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            // A place that is none cannot be told from a page that does not belong there.
            let first = first.try_into().map_or(Posting::from_octets([0; 16]), Posting::from_octets);
            Ok((first, data))
        };
        let page = |statement: &mut CachedStatement<'_>, wanted: &Wanted<Place>| {
            statement.query_row((wanted.segment.1, wanted.at.to_octets()), read).optional()
        };
        let pages = {
            let mut statement = reader.connection.prepare_cached(PAGE)?;
            wanted.iter().map(|wanted| page(&mut statement, wanted)).collect::<Result<_, _>>()?
        };
        reader.done();
        Ok(pages)
    }

    /// The slices that were met and can be read, in that order.
    fn read(
        &self,
        ground: &Ground,
        met: &[Met],
        room: &mut Room,
        partial: &mut bool,
    ) -> Result<Vec<StoredSlice>, StoreError> {
        let mut by_bucket: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, met) in met.iter().enumerate() {
            by_bucket.entry(met.bucket).or_default().push(n);
        }
        let mut slices: Vec<Option<StoredSlice>> = vec![None; met.len()];
        for (place, wanted) in by_bucket {
            let Some(bucket) = ground.buckets.get(place) else { continue };
            let ids: Vec<_> = wanted.iter().filter_map(|n| Some(met.get(*n)?.id - bucket.base())).collect();
            let Some(blobs) = sound(bucket, self.blobs(bucket, &ids, room), partial)? else { continue };
            for (n, blob) in wanted.into_iter().zip(blobs) {
                let (Some(met), Some(slot)) = (met.get(n), slices.get_mut(n)) else { continue };
                match blob {
                    Some(blob) => {
                        let (id, last_us, (_, index)) = (met.id, met.last_us, pack::number_of(met.id));
                        *slot = Some(StoredSlice { id, last_us, index, dictionary: None, blob });
                    }
                    None if bucket.is_gone() => {}
                    None => {
                        bucket.report(&"a slice is missing");
                        *partial = true;
                    }
                }
            }
        }
        let mut slices: Vec<_> = slices.into_iter().flatten().collect();
        let missing = self.dictionaries.give(&mut slices);
        if !missing.is_empty() {
            let mut loaded = Vec::new();
            for bucket in &ground.buckets {
                let needs = |slice: &StoredSlice| slice.dictionary.is_none() && bucket.holds(slice.id);
                if slices.iter().any(needs) {
                    let found = self.dictionaries_of(bucket, &missing);
                    loaded.extend(sound(bucket, found, partial)?.unwrap_or_default());
                }
            }
            self.dictionaries.give_loaded(&mut slices, &loaded);
        }
        Ok(slices)
    }

    /// Those of these dictionaries that are in a bucket, and whole.
    fn dictionaries_of(
        &self,
        bucket: &Bucket,
        ids: &[DictionaryId],
    ) -> Result<Vec<Arc<Dictionary>>, StoreError> {
        let reader = self.readers.take(bucket)?;
        let mut found = Vec::new();
        for id in ids {
            let sql = "select made_at_us, octets from dictionary where id = ?1";
            found.extend(one_dictionary(&reader.connection, bucket, sql, [id.get()])?);
        }
        reader.done();
        Ok(found)
    }

    /// The newest dictionary that slices of the youngest buckets need.
    pub fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        for bucket in self.buckets().into_iter().rev() {
            let found = sound(&bucket, self.newest_dictionary_of(&bucket), &mut false)?;
            if let Some(Some(dictionary)) = found {
                return Ok(Some(dictionary));
            }
        }
        Ok(None)
    }

    fn newest_dictionary_of(&self, bucket: &Bucket) -> Result<Option<Arc<Dictionary>>, StoreError> {
        let reader = self.readers.take(bucket)?;
        let sql = "select made_at_us, octets from dictionary order by made_at_us desc limit 1";
        let found = one_dictionary(&reader.connection, bucket, sql, [])?;
        reader.done();
        Ok(found)
    }
}

/// The dictionary that a query brings, if it brings one that is whole.
fn one_dictionary(
    connection: &Connection,
    bucket: &Bucket,
    sql: &str,
    parameters: impl Params,
) -> Result<Option<Arc<Dictionary>>, StoreError> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let row: Option<(i64, Vec<u8>)> = connection.query_row(sql, parameters, read).optional()?;
    Ok(row.and_then(|(made_at_us, octets)| dictionary::stored(octets, made_at_us, &bucket.path().display())))
}

/// What was read of a bucket; nothing where the bucket is gone, or damaged there, which makes the search partial.
fn sound<T>(
    bucket: &Bucket,
    read: Result<T, StoreError>,
    partial: &mut bool,
) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(_) if bucket.is_gone() => Ok(None),
        Err(StoreError::Damaged(error)) => {
            bucket.report(&error);
            *partial = true;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
