//! One page of postings.

use super::bits::{octets, pack, unpack, width};
use super::{KEY_BITS, MAX_ROW, MAX_SPAN, Posting, ROW_BITS, SPAN_BITS, TIME_BIAS, TIME_BITS};

/// The most postings that a page holds; reading one allocates no more than for these.
pub const MAX_POSTINGS: usize = 1024;

/// What a page should come to, octets.
const TARGET: usize = 1024;

const FORMAT: u8 = 2;
const CRC: usize = 4;
const HEADER: usize = CRC + 1 + 2 + 2 + 6 + 7 + 4 + 1;

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

/// How wide the columns are.
#[derive(Clone, Copy, Debug, Default)]
struct Widths {
    key: u8,
    count: u8,
    oldest: u8,
    after: u8,
    row: u8,
    span: u8,
}

impl Widths {
    /// Octets of a page with these columns.
    fn size(self, keys: usize, postings: usize) -> usize {
        HEADER
            + octets(self.key, keys)
            + octets(self.count, keys)
            + octets(self.oldest, keys)
            + octets(self.after, postings.saturating_sub(keys))
            + octets(self.row, postings)
            + octets(self.span, postings)
    }
}

/// What is known of the postings of a page in the making: enough to tell its size.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    keys: usize,
    postings: usize,
    /// Postings of the last key.
    of_key: u64,
    most_of_key: u64,
    key_step: u64,
    oldest: Range,
    after: u64,
    row: Range,
    span: Range,
}

#[derive(Clone, Copy, Debug, Default)]
struct Range {
    low: u64,
    high: u64,
}

impl Range {
    fn with(self, number: u64, is_first: bool) -> Self {
        if is_first {
            return Self { low: number, high: number };
        }
        Self { low: self.low.min(number), high: self.high.max(number) }
    }

    fn width(self) -> u8 {
        width(self.high - self.low)
    }
}

impl Extent {
    /// With one posting more, which comes after `last`.
    fn with(self, last: Option<Posting>, posting: Posting) -> Self {
        let row = self.row.with(u64::from(posting.row()), last.is_none());
        let span = self.span.with(u64::from(posting.span()), last.is_none());
        let same_key = last.filter(|last| last.prefix() == posting.prefix());
        let grown = Self { postings: self.postings + 1, row, span, ..self };
        if let Some(last) = same_key {
            let of_key = self.of_key + 1;
            return Self {
                of_key,
                most_of_key: self.most_of_key.max(of_key),
                after: self.after.max(posting.biased_us() - last.biased_us()),
                ..grown
            };
        }
        let step = last.map_or(0, |last| posting.prefix() - last.prefix());
        Self {
            keys: self.keys + 1,
            of_key: 1,
            most_of_key: self.most_of_key.max(1),
            key_step: self.key_step.max(step),
            oldest: self.oldest.with(posting.biased_us(), last.is_none()),
            ..grown
        }
    }

    fn widths(self) -> Widths {
        Widths {
            key: width(self.key_step),
            count: width(self.most_of_key.saturating_sub(1)),
            oldest: self.oldest.width(),
            after: width(self.after),
            row: self.row.width(),
            span: self.span.width(),
        }
    }

    fn size(self) -> usize {
        self.widths().size(self.keys, self.postings)
    }
}

/// Makes pages of postings that come in ascending order, each once.
#[derive(Debug, Default)]
pub struct Builder {
    postings: Vec<Posting>,
    extent: Extent,
}

impl Builder {
    /// Takes one posting more; gives the page that it had no room in.
    pub fn push(&mut self, posting: Posting) -> Option<Page> {
        let last = self.postings.last().copied();
        let extent = self.extent.with(last, posting);
        let full = self.postings.len() == MAX_POSTINGS || (last.is_some() && extent.size() > TARGET);
        let page = if full { self.finish() } else { None };
        self.extent = if full { Extent::default().with(None, posting) } else { extent };
        self.postings.push(posting);
        page
    }

    /// The last page, if there is anything in it.
    pub fn finish(&mut self) -> Option<Page> {
        let first = *self.postings.first()?;
        let page = Page { first, data: encode(first, &self.postings, self.extent) };
        self.postings.clear();
        self.extent = Extent::default();
        Some(page)
    }
}

fn encode(first: Posting, postings: &[Posting], extent: Extent) -> Vec<u8> {
    let widths = extent.widths();
    let mut data = Vec::with_capacity(extent.size());
    data.extend_from_slice(&[0; CRC]);
    data.push(FORMAT);
    // Both at most MAX_POSTINGS.
    data.extend_from_slice(&(extent.keys as u16).to_le_bytes());
    data.extend_from_slice(&(extent.postings as u16).to_le_bytes());
    data.extend_from_slice(&[widths.key, widths.count, widths.oldest, widths.after, widths.row, widths.span]);
    data.extend_from_slice(&extent.oldest.low.to_le_bytes()[..7]);
    data.extend_from_slice(&(extent.row.low as u32).to_le_bytes());
    data.push(extent.span.low as u8);
    let groups = || postings.chunk_by(|a, b| a.prefix() == b.prefix());
    let oldest = || groups().filter_map(<[Posting]>::first);
    let before = std::iter::once(first.prefix()).chain(oldest().map(|p| p.prefix()));
    pack(oldest().zip(before).map(|(p, before)| p.prefix() - before), widths.key, &mut data);
    pack(groups().map(|group| group.len() as u64 - 1), widths.count, &mut data);
    pack(oldest().map(|p| p.biased_us() - extent.oldest.low), widths.oldest, &mut data);
    let after = groups().flat_map(|group| group.windows(2)).map(|w| w[1].biased_us() - w[0].biased_us());
    pack(after, widths.after, &mut data);
    pack(postings.iter().map(|p| u64::from(p.row()) - extent.row.low), widths.row, &mut data);
    pack(postings.iter().map(|p| u64::from(p.span()) - extent.span.low), widths.span, &mut data);
    let crc = checksum(first, &data);
    data[..CRC].copy_from_slice(&crc.to_le_bytes());
    data
}

fn checksum(first: Posting, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&first.to_octets()), data.get(CRC..).unwrap_or_default())
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
    let [key, of_key, oldest, after, row, span] = take(&mut rest)?;
    let widths = Widths { key, count: of_key, oldest, after, row, span };
    let [a, b, c, d, e, f, g] = take(&mut rest)?;
    let lowest_us = u64::from_le_bytes([a, b, c, d, e, f, g, 0]);
    let lowest_row = u32::from_le_bytes(take(&mut rest)?);
    let [lowest_span] = take(&mut rest)?;
    let narrow = u32::from(key) <= KEY_BITS
        && u32::from(of_key) <= ROW_BITS
        && u32::from(oldest.max(after)) <= TIME_BITS
        && u32::from(row) <= ROW_BITS
        && u32::from(span) <= SPAN_BITS;
    if !narrow || count > MAX_POSTINGS || keys == 0 || keys > count || widths.size(keys, count) != data.len()
    {
        return Err(PageError::Malformed);
    }
    let mut column = |width, numbers| {
        let (column, others) = rest.split_at_checked(octets(width, numbers)).unwrap_or((rest, &[]));
        rest = others;
        unpack(column, width, numbers)
    };
    let (steps, counts, oldest) = (column(key, keys), column(of_key, keys), column(oldest, keys));
    let (mut after, mut rows) = (column(after, count - keys), column(row, count));
    let mut spans = column(span, count);
    let mut postings = Vec::with_capacity(count);
    let mut prefix = first.prefix();
    for ((step, further), oldest) in steps.zip(counts).zip(oldest) {
        prefix += step;
        let mut us = lowest_us + oldest;
        for n in 0..=further {
            if n > 0 {
                us += after.next().ok_or(PageError::Malformed)?;
            }
            let row = u64::from(lowest_row) + rows.next().ok_or(PageError::Malformed)?;
            let span = u64::from(lowest_span) + spans.next().ok_or(PageError::Malformed)?;
            let is_one = prefix >> KEY_BITS == 0
                && us < TIME_BIAS.cast_unsigned() << 1
                && row <= u64::from(MAX_ROW)
                && span <= u64::from(MAX_SPAN);
            if !is_one {
                return Err(PageError::Malformed);
            }
            // Both as narrow as was just seen.
            postings.push(Posting::from_parts(prefix, us, row as u32, span as u8));
        }
    }
    let whole = postings.len() == count && postings.first() == Some(&first);
    if whole && postings.is_sorted() { Ok(postings) } else { Err(PageError::Malformed) }
}
