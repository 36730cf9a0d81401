//! Which shard a pack goes to.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::shard::Shard;
use crate::store::{Key, Pack};

/// Calls are spread over so many homes, and these over the shards. Slices of one home are stored together, so more than are needed for
/// an even load would only make packs smaller.
pub const HOMES: u64 = 1024;

/// The place in `among` of the shard that a pack goes to: that of its first slice. When a shard comes or goes, only what goes to it or went to it
/// changes its place.
pub fn home(pack: &Pack, among: &[&Shard]) -> Option<usize> {
    let slice = pack.slices.first()?;
    // What belongs to no call is spread by its time.
    let by =
        if slice.home == Key::EVERYTHING { slice.last_us.cast_unsigned() } else { slice.home_among(HOMES) };
    let weight = |shard: &Shard| xxh3_64_with_seed(shard.name().as_bytes(), by);
    (0..among.len()).max_by_key(|&place| among.get(place).map(|shard| weight(shard)))
}
