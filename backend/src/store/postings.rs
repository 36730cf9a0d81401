//! How slices are found by their keys: postings, in pages, in segments. Shared by the SQL stores.
//!
//! A *posting* says that the slice in a row has a key: (key, time of the slice's first message, row). A flush makes one
//! *segment* of the postings of its slices ([`segment`]): sorted, and cut into *pages* of about 1 kB. A store keeps each
//! page as a row (segment, [`Page::first`], [`Page::data`]), found by the segment and the greatest `first` that is not
//! above a bound; it commits the pages with the slices, and knows which segments are live. `first` is 16 octets whose
//! order as octets is the order of postings.
//!
//! [`Walker`] brings the postings of a key newest first out of many segments, of many buckets if there are, and asks the
//! store for the pages that it needs. [`Merger`] makes one segment of several, and [`due`] says when that is worth it.
//! Neither does I/O, so that both serve a store in files and one over a network.
//!
//! Of a key the upper 40 bits are kept. In a bucket of ten million keys that brings a wrong slice in one search of
//! 100,000; what a search wants is compared as text afterwards anyway. Of a time 56 bits are kept: 1,141 years to both
//! sides of 1970.
//!
//! # A page
//!
//! | octets | what |
//! | --- | --- |
//! | 4 | CRC32C of the 16 octets of `first` and of what follows, little endian |
//! | 1 | format, 1 |
//! | 2, 2 | how many keys, how many postings, little endian |
//! | 5 | widths of the columns, bits |
//! | 7, 4 | lowest time of a key's oldest posting, lowest row, little endian |
//! | rest | five columns, one after the other, packed bits, the lowest first |
//!
//! The columns: for each key its distance from the key before; how many postings it has, less one; the time of its
//! oldest posting above the lowest; for each further posting its time after the one before; for each posting its row
//! above the lowest.

mod bits;
mod merge;
mod page;
#[cfg(test)]
mod tests;
mod tiers;
mod walker;

pub use merge::{Merged, Merger};
pub use page::{MAX_POSTINGS, Page, PageError};
pub use tiers::{Segment, due};
pub use walker::{Next, Source, Walker, Wanted};

use super::Key;
use page::Builder;

const KEY_BITS: u32 = 40;
const TIME_BITS: u32 = 56;
const ROW_BITS: u32 = 32;
/// What makes times positive.
const TIME_BIAS: i64 = 1 << (TIME_BITS - 1);

/// A posting, or a bound among postings: key, time and row in one number, which orders as they do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Posting(u128);

impl Posting {
    /// Says that the slice in this row of a bucket has this key.
    #[must_use]
    pub fn new(key: Key, first_us: i64, row: u32) -> Self {
        Self::from_parts(prefix(key), biased(first_us), row)
    }

    fn from_parts(prefix: u64, biased_us: u64, row: u32) -> Self {
        Self(
            u128::from(prefix) << (TIME_BITS + ROW_BITS)
                | u128::from(biased_us) << ROW_BITS
                | u128::from(row),
        )
    }

    /// As a store keeps it: octets whose order is that of postings.
    #[must_use]
    pub const fn to_octets(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// What [`Posting::to_octets`] made.
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(octets))
    }

    /// Time of the slice's first message, µs since the epoch.
    #[must_use]
    pub fn first_us(self) -> i64 {
        self.biased_us().cast_signed() - TIME_BIAS
    }

    /// Row of the slice in its bucket.
    #[must_use]
    pub fn row(self) -> u32 {
        // The lowest bits alone are wanted.
        (self.0 & u128::from(u32::MAX)) as u32
    }

    fn prefix(self) -> u64 {
        (self.0 >> (TIME_BITS + ROW_BITS)) as u64
    }

    fn biased_us(self) -> u64 {
        (self.0 >> ROW_BITS) as u64 & ((1 << TIME_BITS) - 1)
    }

    /// The greatest that is less; itself where there is none.
    fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

fn prefix(key: Key) -> u64 {
    key.hash().cast_unsigned() >> (u64::BITS - KEY_BITS)
}

/// A time as a number that is never negative; what cannot be said so is brought to the nearest that can.
fn biased(us: i64) -> u64 {
    (us.clamp(-TIME_BIAS, TIME_BIAS - 1) + TIME_BIAS).cast_unsigned()
}

/// The segment of a flush: its pages, in order. For each slice its row in its bucket, the time of its first message
/// (µs since the epoch) and its keys; [`Key::EVERYTHING`] is added to each.
pub fn segment<'a>(slices: impl IntoIterator<Item = (u32, i64, &'a [Key])>) -> Vec<Page> {
    let mut postings = Vec::new();
    for (row, first_us, keys) in slices {
        postings.push(Posting::new(Key::EVERYTHING, first_us, row));
        postings.extend(keys.iter().map(|key| Posting::new(*key, first_us, row)));
    }
    postings.sort_unstable();
    postings.dedup();
    let mut builder = Builder::default();
    let mut pages: Vec<_> = postings.into_iter().filter_map(|posting| builder.push(posting)).collect();
    pages.extend(builder.finish());
    pages
}
