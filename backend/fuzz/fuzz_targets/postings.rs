//! Postings: what was put into segments is walked, of each segment or of all merged into one; pages that are not what their
//! maker wrote are refused, and pages that somebody made with a right checksum do no harm.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::{arbitrary, fuzz_target};
use siplens_backend::store::postings::{
    MAX_POSTINGS, Merged, Merger, Next, Page, Posting, Source, Walker, segment,
};
use siplens_backend::store::slice::MAX_SPAN_US;
use siplens_backend::store::{Class, Key, Slice, Walk};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    /// Of each segment its slices: time of the first message, how much later the last one is, and keys.
    segments: Vec<Vec<(Time, u32, Vec<u8>)>>,
    walk: (u8, Option<Time>, Option<Time>, Option<(Time, u8)>),
    /// First postings and data of pages.
    made: Vec<([u8; 16], &'a [u8])>,
}

#[derive(arbitrary::Arbitrary, Clone, Copy, Debug)]
enum Time {
    Near(i16),
    Any(i64),
}

impl Time {
    /// Of times that are kept whole.
    fn us(self) -> i64 {
        match self {
            Self::Near(us) => i64::from(us),
            Self::Any(us) => us >> 14,
        }
    }
}

fn key(number: u8) -> Key {
    Key::call(&number.to_string())
}

/// The slices that a walk brings out of these segments.
fn walked(walk: &Walk, segments: &[Vec<Page>]) -> Vec<(i64, i64)> {
    let mut walker = Walker::new(walk);
    for number in 0..segments.len() {
        walker.add(Source { segment: number, base: 0, oldest_us: i64::MIN, newest_us: i64::MAX });
    }
    let mut found = Vec::new();
    loop {
        match walker.step() {
            Next::Slice { last_us, id, .. } => found.push((last_us, id)),
            Next::End => return found,
            Next::Pages => {
                let wanted = walker.wanted();
                assert!(!wanted.is_empty());
                for wanted in wanted {
                    let pages = &segments[wanted.segment];
                    let at = pages.partition_point(|page| page.first <= wanted.at);
                    let run = pages[at.saturating_sub(wanted.run)..at].iter().rev();
                    let fed = walker.feed(wanted.source, run.map(|page| (page.first, &page.data[..])));
                    fed.expect("our own page");
                }
            }
        }
    }
}

fn merged(segments: &[Vec<Page>]) -> Vec<Page> {
    let mut merger = Merger::new(segments.len());
    let mut rest: Vec<_> = segments.iter().map(|pages| pages.iter()).collect();
    let mut pages = Vec::new();
    loop {
        match merger.step() {
            Merged::Needs(input) => merger.feed(input, rest[input].next()).expect("our own page"),
            Merged::Page(page) => pages.push(page),
            Merged::End => return pages,
        }
    }
}

fuzz_target!(|input: Input| {
    let mut row = 0_u32;
    let mut all: BTreeMap<(i64, i64), Slice> = BTreeMap::new();
    let mut segments = Vec::new();
    for slices in input.segments.iter().take(6) {
        let of_segment: Vec<_> = slices
            .iter()
            .map(|(time, span, keys)| {
                row += 1;
                let first_us = time.us();
                let slice = Slice {
                    first_us,
                    last_us: first_us + i64::from(*span) % (MAX_SPAN_US + 1),
                    count: 1,
                    keys: keys.iter().map(|number| key(*number)).collect(),
                    home: Key::EVERYTHING,
                    class: Class::Call,
                    in_session: None,
                };
                all.insert((slice.last_us, row.into()), slice.clone());
                (row, slice)
            })
            .collect();
        segments.push(segment(of_segment.iter().map(|(row, slice)| (*row, slice, None))));
    }
    let (wanted, since, until, after) = input.walk;
    let wanted = wanted.checked_sub(1).map(key);
    let walk = Walk {
        keys: wanted.into(),
        since_us: since.map(Time::us),
        until_us: until.map(Time::us),
        after: after.map(|(time, row)| (time.us(), row.into())),
        limit: 0,
    };
    // What must come, and what may.
    let comes = |place: &(i64, i64), slice: &Slice, late_us: i64| {
        wanted.is_none_or(|key| slice.keys.contains(&key))
            && walk.since_us.is_none_or(|since| slice.last_us >= since)
            && walk.until_us.is_none_or(|until| slice.first_us <= until.saturating_add(late_us))
            && walk.after.is_none_or(|after| *place < after)
    };
    let found = walked(&walk, &segments);
    assert!(found.is_sorted_by(|a, b| a > b), "newest first, each once");
    assert!(found.iter().all(|place| comes(place, &all[place], MAX_SPAN_US)));
    let must = all.iter().filter(|(place, slice)| comes(place, slice, 0));
    assert!(must.into_iter().all(|(place, _)| found.contains(place)));
    let one = merged(&segments);
    assert!(one.is_sorted_by(|a, b| a.first < b.first));
    assert_eq!(walked(&walk, &[one.clone()]), found);

    for page in &one {
        for place in [0, page.data.len() / 2, page.data.len() - 1] {
            let mut damaged = page.clone();
            damaged.data[place] ^= 0x10;
            assert!(Merger::new(1).feed(0, Some(&damaged)).is_err());
        }
    }

    // Pages with a right checksum, in any order.
    let mut made = Vec::new();
    for (first, data) in &input.made {
        let mut data = data.to_vec();
        if let Some((crc, rest)) = data.split_first_chunk_mut::<4>() {
            *crc = crc32c::crc32c_append(crc32c::crc32c(first), rest).to_le_bytes();
        }
        made.push(Page { first: Posting::from_octets(*first), data });
    }
    made.extend(segments.into_iter().flatten());
    made.extend(one);
    let mut merger = Merger::new(1);
    let mut postings = 0;
    let mut next = made.iter();
    loop {
        match merger.step() {
            Merged::Needs(input) => {
                if merger.feed(input, next.next()).is_err() {
                    break;
                }
            }
            Merged::Page(page) => {
                postings += 1;
                assert!(page.data.len() <= 64 * MAX_POSTINGS);
                Merger::new(1).feed(0, Some(&page)).expect("what a merger makes can be read");
            }
            Merged::End => break,
        }
    }
    assert!(postings <= made.len() * MAX_POSTINGS);
    for page in &made {
        let mut walker = Walker::new(&walk);
        walker.add(Source { segment: (), base: 0, oldest_us: i64::MIN, newest_us: i64::MAX });
        for wanted in walker.wanted() {
            let _ = walker.feed(wanted.source, Some((page.first, &page.data[..])));
        }
        let mut last = None;
        while let Next::Slice { last_us, id, .. } = walker.step() {
            assert!(last.is_none_or(|last| last >= (last_us, id)));
            last = Some((last_us, id));
        }
    }
});
