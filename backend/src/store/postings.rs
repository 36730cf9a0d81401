//! How slices are found by their keys: postings, in pages, in segments. Shared by the SQL stores.
//!
//! A *posting* says that the slice in a row has a key: (key, time of the slice's last message, row, span). A flush makes one
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
//! The *span* says how long before the last message of a slice its first may be, so that a walk that goes on at some time passes
//! over slices that begin later without reading them. 0 is no time, n at most [`MAX_SPAN_US`] / 2^(15 - n). Where a key has few
//! postings in a flush it is 15 for each of them, which says nothing and takes no room: few are soon read.
//!
//! # A page
//!
//! | octets | what |
//! | --- | --- |
//! | 4 | CRC32C of the 16 octets of `first` and of what follows, little endian |
//! | 1 | format, 2 |
//! | 2, 2 | how many keys, how many postings, little endian |
//! | 6 | widths of the columns, bits |
//! | 7, 4, 1 | lowest time of a key's oldest posting, lowest row, lowest span, little endian |
//! | rest | six columns, one after the other, packed bits, the lowest first |
//!
//! The columns: for each key its distance from the key before; how many postings it has, less one; the time of its
//! oldest posting above the lowest; for each further posting its time after the one before; for each posting its row
//! above the lowest; for each posting its span above the lowest.

mod bits;
mod builder;
mod merge;
mod page;
mod sort;
#[cfg(test)]
mod tests;
mod tiers;
mod walker;

pub use merge::{Merged, Merger};
pub use page::{MAX_POSTINGS, Page, PageError};
pub use tiers::{Segment, due};
pub use walker::{Next, Source, Walker, Wanted};

use super::{Key, MAX_SPAN_US, Slice};
use builder::Builder;

const KEY_BITS: u32 = 40;
const TIME_BITS: u32 = 56;
const ROW_BITS: u32 = 28;
const SPAN_BITS: u32 = 4;

/// The greatest row that a posting can name. Both stores begin another bucket long before.
const MAX_ROW: u32 = (1 << ROW_BITS) - 1;

/// The greatest span, which says nothing.
const MAX_SPAN: u8 = (1 << SPAN_BITS) - 1;

/// A key with fewer postings in a flush is told no spans of.
const FEW: usize = 8;

/// What makes times positive.
const TIME_BIAS: i64 = 1 << (TIME_BITS - 1);
/// The greatest time.
const LAST_US: u64 = (1 << TIME_BITS) - 1;

/// A posting, or a bound among postings: key, time, row and span in one number, which orders as they do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Posting(u128);

impl Posting {
    /// Says that the slice in this row of a bucket has this key.
    fn new(key: Key, last_us: i64, row: u32, span: u8) -> Self {
        Self::from_parts(prefix(key), biased(last_us), row, span)
    }

    /// What no posting of this key that is not above the time and row is above.
    fn bound(key: Key, last_us: i64, row: u32) -> Self {
        Self::new(key, last_us, row, MAX_SPAN)
    }

    fn from_parts(prefix: u64, biased_us: u64, row: u32, span: u8) -> Self {
        Self(
            u128::from(prefix) << (TIME_BITS + ROW_BITS + SPAN_BITS)
                | u128::from(biased_us) << (ROW_BITS + SPAN_BITS)
                | u128::from(row.min(MAX_ROW)) << SPAN_BITS
                | u128::from(span),
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

    /// Time of the slice's last message, µs since the epoch.
    #[must_use]
    pub fn last_us(self) -> i64 {
        self.biased_us().cast_signed() - TIME_BIAS
    }

    /// The slice's first message is not older than this, µs since the epoch.
    #[must_use]
    pub fn earliest_us(self) -> i64 {
        self.last_us().saturating_sub(longest_us(self.span()))
    }

    /// Row of the slice in its bucket.
    #[must_use]
    pub fn row(self) -> u32 {
        // The lowest bits alone are wanted.
        (self.0 >> SPAN_BITS) as u32 & MAX_ROW
    }

    fn span(self) -> u8 {
        self.0 as u8 & MAX_SPAN
    }

    fn prefix(self) -> u64 {
        (self.0 >> (TIME_BITS + ROW_BITS + SPAN_BITS)) as u64
    }

    fn biased_us(self) -> u64 {
        (self.0 >> (ROW_BITS + SPAN_BITS)) as u64 & ((1 << TIME_BITS) - 1)
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

/// The longest time that a span stands for, µs.
fn longest_us(span: u8) -> i64 {
    if span == 0 { 0 } else { MAX_SPAN_US >> MAX_SPAN.saturating_sub(span) }
}

/// The least span that is not shorter than this time, µs.
fn span_of(us: i64) -> u8 {
    (0..MAX_SPAN).find(|span| longest_us(*span) >= us).unwrap_or(MAX_SPAN)
}

/// The segment of a flush: its pages, in order. For each slice its row in its bucket, and the key that it has there besides its own;
/// [`Key::EVERYTHING`] is added.
pub fn segment<'a>(slices: impl IntoIterator<Item = (u32, &'a Slice, Option<Key>)>) -> Vec<Page> {
    let mut slices: Vec<_> =
        slices.into_iter().map(|(row, slice, key)| (biased(slice.last_us), row, slice, key)).collect();
    slices.sort_unstable_by_key(|(us, row, ..)| (*us, *row));
    let mut postings = Vec::with_capacity(slices.iter().map(|(.., slice, _)| slice.keys.len() + 2).sum());
    for (us, row, slice, key) in slices {
        let span = span_of(slice.last_us.saturating_sub(slice.first_us));
        let keys = std::iter::once(&Key::EVERYTHING).chain(&slice.keys).chain(&key);
        postings.extend(keys.map(|key| Posting::from_parts(prefix(*key), us, row, span)));
    }
    sort::by_key(&mut postings);
    postings.dedup();
    for of_key in postings.chunk_by_mut(|a, b| a.prefix() == b.prefix()).filter(|of_key| of_key.len() < FEW) {
        of_key.iter_mut().for_each(|posting| posting.0 |= u128::from(MAX_SPAN));
    }
    let mut builder = Builder::default();
    let mut pages: Vec<_> = postings.into_iter().filter_map(|posting| builder.push(posting)).collect();
    pages.extend(builder.finish());
    pages
}
