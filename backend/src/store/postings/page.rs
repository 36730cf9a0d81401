//! One page of postings.

use super::bits::{octets, unpack};
use super::{KEY_BITS, LAST_US, MAX_ROW, MAX_SPAN, Posting, ROW_BITS, SPAN_BITS, TIME_BITS};
use crate::checksum::crc32c;

/// The most postings that a page holds; reading one allocates no more than for these.
pub const MAX_POSTINGS: usize = 1024;

pub(super) const FORMAT: u8 = 2;
pub(super) const CRC: usize = 4;
pub(super) const COLUMNS: usize = 6;
pub(super) const HEADER: usize = CRC + 1 + 2 + 2 + COLUMNS + 7 + 4 + 1;

/// A page as a store keeps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// Its first posting: what it is found by, beside its segment.
    pub first: Posting,
    /// Its postings, packed; about 1 kB.
    pub data: Vec<u8>,
}

/// A page cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PageError {
    /// Its checksum is wrong: the disk is damaged, or the page is another's.
    #[error("checksum of a posting page is wrong")]
    Checksum,
    /// It was written by another version.
    #[error("expected posting page format 2, found {0}")]
    Format(u8),
    /// Its numbers contradict each other.
    #[error("posting page is malformed")]
    Malformed,
}

/// Octets of a page with columns of these widths.
pub(super) fn size(widths: [u8; COLUMNS], keys: usize, postings: usize) -> usize {
    let [key, count, oldest, after, row, span] = widths;
    HEADER
        + octets(key, keys)
        + octets(count, keys)
        + octets(oldest, keys)
        + octets(after, postings.saturating_sub(keys))
        + octets(row, postings)
        + octets(span, postings)
}

pub(super) fn checksum(first: Posting, data: &[u8]) -> u32 {
    crc32c([&first.to_octets(), data.get(CRC..).unwrap_or_default()])
}

/// Takes so many octets off the front.
fn take<const N: usize>(data: &mut &[u8]) -> Result<[u8; N], PageError> {
    let (head, rest) = data.split_first_chunk().ok_or(PageError::Malformed)?;
    *data = rest;
    Ok(*head)
}

/// The postings of the page with this first one, in order.
///
/// # Errors
/// When it is damaged. What is not what the page's maker wrote is found out by the checksum.
pub fn decode(first: Posting, data: &[u8]) -> Result<Vec<Posting>, PageError> {
    let mut rest = data;
    if u32::from_le_bytes(take(&mut rest)?) != checksum(first, data) {
        return Err(PageError::Checksum);
    }
    let [format] = take(&mut rest)?;
    if format != FORMAT {
        return Err(PageError::Format(format));
    }
    let keys = usize::from(u16::from_le_bytes(take(&mut rest)?));
    let count = usize::from(u16::from_le_bytes(take(&mut rest)?));
    let widths: [u8; COLUMNS] = take(&mut rest)?;
    let [key, of_key, oldest, after, row, span] = widths;
    let [a, b, c, d, e, f, g] = take(&mut rest)?;
    let lowest_us = u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
    let lowest_row = u32::from_le_bytes(take(&mut rest)?);
    let [lowest_span] = take(&mut rest)?;
    let narrow = u32::from(key) <= KEY_BITS
        && u32::from(of_key) <= ROW_BITS
        && u32::from(oldest.max(after)) <= TIME_BITS
        && u32::from(row) <= ROW_BITS
        && u32::from(span) <= SPAN_BITS;
    if !narrow || count > MAX_POSTINGS || keys == 0 || keys > count || size(widths, keys, count) != data.len()
    {
        return Err(PageError::Malformed);
    }
    let mut column = |width, numbers| {
        let (column, others) = rest.split_at_checked(octets(width, numbers)).unwrap_or((rest, &[]));
        rest = others;
        unpack(column, width, numbers).into_iter()
    };
    let (steps, counts, oldest) = (column(key, keys), column(of_key, keys), column(oldest, keys));
    let (mut after, mut rows, mut spans) =
        (column(after, count - keys), column(row, count), column(span, count));
    let mut postings = Vec::with_capacity(count);
    let (mut prefix, mut last, mut is_sound) = (first.prefix(), None, true);
    for ((step, further), oldest) in steps.zip(counts).zip(oldest) {
        prefix += step;
        let mut us = lowest_us + oldest;
        // No more than there are, however many are announced.
        if prefix >> KEY_BITS != 0 || further >= (count - postings.len()) as u64 {
            return Err(PageError::Malformed);
        }
        for n in 0..=further {
            // Past the greatest it is seen before it could wrap.
            us = us.wrapping_add(if n > 0 { after.next().unwrap_or(0) } else { 0 });
            let row = u64::from(lowest_row) + rows.next().unwrap_or(0);
            let span = u64::from(lowest_span) + spans.next().unwrap_or(0);
            is_sound &= us <= LAST_US && row <= u64::from(MAX_ROW) && span <= u64::from(MAX_SPAN);
            // Both as narrow as was just seen.
            let posting = Posting::from_parts(prefix, us, row as u32, span as u8);
            is_sound &= last < Some(posting);
            last = Some(posting);
            postings.push(posting);
        }
    }
    let is_whole = postings.len() == count && postings.first() == Some(&first);
    if is_sound && is_whole { Ok(postings) } else { Err(PageError::Malformed) }
}
