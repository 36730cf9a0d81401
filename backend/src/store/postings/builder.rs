//! Pages in the making.

use super::Posting;
use super::bits::{pack, width};
use super::page::{COLUMNS, CRC, FORMAT, HEADER, MAX_POSTINGS, Page, checksum, size};

/// What a page should come to, octets.
const TARGET: usize = 1024;

/// Makes pages of postings that come in ascending order, each once.
#[derive(Debug, Default)]
pub struct Builder {
    postings: Vec<Posting>,
    keys: Vec<OfKey>,
    /// For each posting that is not the first of its key, its time after the one before.
    after: Vec<u64>,
    ranges: Ranges,
    /// Bits that the page has room for yet, at least.
    room: usize,
    /// Bits that the first posting of a key takes, and a further one.
    first_bits: usize,
    further_bits: usize,
}

/// A key of the page in the making.
#[derive(Clone, Copy, Debug)]
struct OfKey {
    /// Distance from the key before.
    step: u64,
    /// How many postings it has, less one.
    further: u64,
    /// Time of its oldest posting.
    oldest: u64,
}

/// How far the numbers of each column reach.
#[derive(Clone, Copy, Debug, Default)]
struct Ranges {
    step: Range,
    further: Range,
    oldest: Range,
    after: Range,
    row: Range,
    span: Range,
}

/// How far the numbers of a column reach.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    low: u64,
    high: u64,
    /// A number so far above the lowest takes no more bits than those that are there.
    reach: u64,
}

impl Ranges {
    fn widths(&self) -> [u8; COLUMNS] {
        [self.step, self.further, self.oldest, self.after, self.row, self.span]
            .map(|range| width(range.reach))
    }
}

impl Range {
    const fn at(number: u64) -> Self {
        Self { low: number, high: number, reach: 0 }
    }

    /// Whether a number takes no more bits than those that are there; one that does has to be taken along by
    /// [`Self::widen`], or the page ends before it.
    fn holds(&mut self, number: u64) -> bool {
        self.high = self.high.max(number);
        number.wrapping_sub(self.low) <= self.reach
    }

    fn widen(&mut self, number: u64) {
        self.low = self.low.min(number);
        // So many ones as the longest number has bits, at most 56.
        self.reach = (1 << width(self.high - self.low)) - 1;
    }
}

impl Builder {
    /// Takes one posting more; gives the page that it had no room in.
    pub fn push(&mut self, posting: Posting) -> Option<Page> {
        let (Some(last), Some(of_key)) = (self.postings.last(), self.keys.last_mut()) else {
            self.begin(posting);
            return None;
        };
        let (us, row, span) = (posting.biased_us(), posting.row().into(), posting.span().into());
        let step = posting.prefix() - last.prefix();
        let (further, after) = (of_key.further + 1, us.wrapping_sub(last.biased_us()));
        let ranges = &mut self.ranges;
        let (held, bits) = if step == 0 {
            (ranges.further.holds(further) & ranges.after.holds(after), self.further_bits)
        } else {
            (ranges.step.holds(step) & ranges.oldest.holds(us), self.first_bits)
        };
        let held = held & ranges.row.holds(row) & ranges.span.holds(span);
        if held && bits <= self.room && self.postings.len() < MAX_POSTINGS {
            self.room -= bits;
        } else {
            let mut ranges = self.ranges;
            if step == 0 {
                ranges.further.widen(further);
                ranges.after.widen(after);
            } else {
                ranges.step.widen(step);
                ranges.oldest.widen(us);
            }
            ranges.row.widen(row);
            ranges.span.widen(span);
            let (keys, postings) = (self.keys.len() + usize::from(step > 0), self.postings.len() + 1);
            if postings > MAX_POSTINGS || size(ranges.widths(), keys, postings) > TARGET {
                let page = self.finish();
                self.begin(posting);
                return page;
            }
            self.set(ranges, keys, postings);
        }
        if step > 0 {
            self.keys.push(OfKey { step, further: 0, oldest: us });
        } else {
            if let Some(of_key) = self.keys.last_mut() {
                of_key.further = further;
            }
            self.after.push(after);
        }
        self.postings.push(posting);
        None
    }

    /// Begins a page.
    fn begin(&mut self, posting: Posting) {
        let (us, row, span) = (posting.biased_us(), posting.row().into(), posting.span().into());
        self.postings.push(posting);
        self.keys.push(OfKey { step: 0, further: 0, oldest: us });
        let [oldest, row, span] = [us, row, span].map(Range::at);
        self.set(Ranges { oldest, row, span, ..Ranges::default() }, 1, 1);
    }

    fn set(&mut self, ranges: Ranges, keys: usize, postings: usize) {
        let [step, further, oldest, after, row, span] = ranges.widths().map(usize::from);
        self.ranges = ranges;
        self.first_bits = step + further + oldest + row + span;
        self.further_bits = after + row + span;
        // Each column may end with an octet that is not full.
        let taken = keys * self.first_bits + (postings - keys) * self.further_bits;
        self.room = ((TARGET - HEADER - COLUMNS) * 8).saturating_sub(taken);
    }

    /// The last page, if there is anything in it.
    pub fn finish(&mut self) -> Option<Page> {
        let first = *self.postings.first()?;
        let (keys, postings, ranges) = (self.keys.len(), self.postings.len(), self.ranges);
        let widths = ranges.widths();
        let mut data = Vec::with_capacity(size(widths, keys, postings));
        data.extend_from_slice(&[0; CRC]);
        data.push(FORMAT);
        // Both at most MAX_POSTINGS.
        data.extend_from_slice(&(keys as u16).to_le_bytes());
        data.extend_from_slice(&(postings as u16).to_le_bytes());
        data.extend_from_slice(&widths);
        data.extend_from_slice(&ranges.oldest.low.to_le_bytes()[..7]);
        data.extend_from_slice(&(ranges.row.low as u32).to_le_bytes());
        data.push(ranges.span.low as u8);
        let [step, further, oldest, after, row, span] = widths;
        pack(self.keys.iter().map(|key| key.step), step, &mut data);
        pack(self.keys.iter().map(|key| key.further), further, &mut data);
        pack(self.keys.iter().map(|key| key.oldest - ranges.oldest.low), oldest, &mut data);
        pack(self.after.iter().copied(), after, &mut data);
        pack(self.postings.iter().map(|p| u64::from(p.row()) - ranges.row.low), row, &mut data);
        pack(self.postings.iter().map(|p| u64::from(p.span()) - ranges.span.low), span, &mut data);
        let crc = checksum(first, &data);
        data[..CRC].copy_from_slice(&crc.to_le_bytes());
        self.postings.clear();
        self.keys.clear();
        self.after.clear();
        Some(Page { first, data })
    }
}
