//! Which shard a slice goes to.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::shard::Shard;
use crate::store::{Key, Slice};

/// The place in `among` of the shard that a slice goes to. When a shard comes or goes, only what goes to it or went to it
/// changes its place.
pub fn home(slice: &Slice, among: &[&Shard]) -> Option<usize> {
    // What belongs to no call is spread by its time.
    let by = if slice.home == Key::EVERYTHING { slice.last_us } else { slice.home.hash() }.cast_unsigned();
    let weight = |shard: &Shard| xxh3_64_with_seed(shard.name().as_bytes(), by);
    (0..among.len()).max_by_key(|&place| among.get(place).map(|shard| weight(shard)))
}
