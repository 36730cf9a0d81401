use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::page::decode;
use super::*;
use crate::store::{Class, Walk};

/// 2026-01-01T00:00:00Z.
const START_US: i64 = 1_767_225_600_000_000;

fn key(n: u64) -> Key {
    Key::from_user(&n.to_string())
}

fn slice(first_us: i64, last_us: i64, keys: Vec<Key>) -> Slice {
    Slice { first_us, last_us, count: 1, keys, home: Key::EVERYTHING, class: Class::Call, in_session: None }
}

fn make(rows: &[(u32, &Slice)]) -> Vec<Page> {
    segment(rows.iter().map(|(row, slice)| (*row, *slice, None)))
}

fn read(pages: &[Page]) -> Vec<Posting> {
    pages.iter().flat_map(|page| decode(page.first, &page.data).expect("a sound page")).collect()
}

/// What a store answers: as many pages as it reads at once, the last one first.
fn lookup(pages: &[Page], at: Posting, run: usize) -> impl Iterator<Item = (Posting, &[u8])> {
    let pages = pages.iter().rev().skip_while(move |page| page.first > at);
    pages.take(run).map(|page| (page.first, page.data.as_slice()))
}

/// Walks over segments of buckets as a store would that reads one page at a time, and tells how many it read.
fn walk(segments: &[(u32, Vec<Page>)], walk: &Walk) -> (Vec<(i64, i64)>, usize) {
    let (found, fetched, _) = walk_by(segments, walk, |_| 1);
    (found, fetched)
}

/// The same for a store that reads so many of a run at once; and how often it was asked.
fn walk_by(
    segments: &[(u32, Vec<Page>)],
    walk: &Walk,
    at_once: impl Fn(usize) -> usize,
) -> (Vec<(i64, i64)>, usize, usize) {
    let mut walker = Walker::new(walk);
    for (place, (bucket, pages)) in segments.iter().enumerate() {
        let rows = read(pages);
        walker.add(Source {
            segment: place,
            base: i64::from(*bucket) << 32,
            oldest_us: rows.iter().map(|p| p.last_us()).min().unwrap_or(i64::MIN),
            newest_us: rows.iter().map(|p| p.last_us()).max().unwrap_or(i64::MAX),
        });
    }
    let (mut found, mut fetched, mut asked) = (Vec::new(), 0, 0);
    while found.len() < walk.limit as usize {
        match walker.step() {
            Next::Slice { last_us, id, .. } => found.push((last_us, id)),
            Next::End => break,
            Next::Pages => {
                let wanted = walker.wanted();
                assert!(!wanted.is_empty(), "a walk that does not go on");
                asked += 1;
                for wanted in wanted {
                    let pages = lookup(&segments[wanted.segment].1, wanted.at, at_once(wanted.run));
                    walker.feed(wanted.source, pages.inspect(|_| fetched += 1)).expect("sound");
                }
            }
        }
    }
    (found, fetched, asked)
}

fn merged(segments: &[Vec<Page>]) -> Vec<Page> {
    let mut merger = Merger::new(segments.len());
    let mut next = vec![0; segments.len()];
    let mut made = Vec::new();
    loop {
        match merger.step() {
            Merged::Page(page) => made.push(page),
            Merged::End => return made,
            Merged::Needs(input) => {
                merger.feed(input, segments[input].get(next[input])).expect("sound");
                next[input] += 1;
            }
        }
    }
}

/// Times that are close together, equal, far apart, and beyond what can be kept.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => (0..5_000_i64).prop_map(|n| START_US + n),
        4 => (0..3_600_000_000_i64).prop_map(|n| START_US + n),
        1 => -TIME_BIAS..TIME_BIAS,
    ]
}

/// Rows with a few hot keys and many rare ones.
fn rows(most: usize) -> impl Strategy<Value = Vec<Slice>> {
    let keys = prop::collection::vec(prop_oneof![0..4_u64, 0..100_000_u64], 0..8);
    let span_us = prop_oneof![Just(0), 0..1_000_i64, 0..=MAX_SPAN_US];
    let row = (time(), span_us, keys).prop_map(|(last_us, span_us, keys)| {
        slice(last_us.saturating_sub(span_us), last_us, keys.into_iter().map(key).collect())
    });
    prop::collection::vec(row, 0..most)
}

/// A bucket of several flushes.
fn flushes(rows: &[Slice], of: usize) -> Vec<Vec<Page>> {
    let numbered: Vec<_> = (1..).zip(rows).collect();
    numbered.chunks(of.max(1)).map(make).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_hold_what_was_put_in_and_keep_to_their_bounds(rows in rows(1200)) {
        let numbered: Vec<_> = (0..).zip(&rows).collect();
        let pages = make(&numbered);
        let expected: BTreeSet<_> = numbered
            .iter()
            .flat_map(|(row, r)| r.keys.iter().chain([&Key::EVERYTHING]).map(|k| Posting::bound(*k, r.last_us, *row)))
            .collect();
        let told = read(&pages);
        prop_assert_eq!(told.iter().map(|p| p.0 | 15).collect::<Vec<_>>(), expected.iter().map(|p| p.0).collect::<Vec<_>>());
        for of_key in told.chunk_by(|a, b| a.prefix() == b.prefix()) {
            for posting in of_key {
                let r = &rows[posting.row() as usize];
                let (early, span_us) = (r.first_us - posting.earliest_us(), r.last_us - r.first_us);
                prop_assert!(early >= 0, "{early} {span_us}");
                let tight = if of_key.len() < FEW { MAX_SPAN_US } else { span_us.max(122) };
                prop_assert!(early <= tight, "{early} {span_us}");
            }
        }
        for page in &pages {
            prop_assert!(page.data.len() <= 1024);
            prop_assert_eq!(Posting::from_octets(page.first.to_octets()), page.first);
        }
        prop_assert!(pages.windows(2).all(|w| w[0].first.to_octets() < w[1].first.to_octets()));
    }

    #[test]
    fn segments_merged_hold_the_same_and_keep_their_spans(rows in rows(900), of in 1..300_usize) {
        let numbered: Vec<_> = (1..).zip(&rows).collect();
        let flushes = flushes(&rows, of);
        let mut expected: Vec<_> = flushes.iter().flat_map(|pages| read(pages)).collect();
        expected.sort_unstable();
        let merged = merged(&flushes);
        prop_assert_eq!(read(&merged), expected);
        if flushes.len() == 1 {
            prop_assert_eq!(merged, make(&numbered));
        }
    }

    #[test]
    fn a_walk_brings_what_a_naive_search_finds(
        rows in rows(700),
        of in 1..200_usize,
        buckets in 1..4_u32,
        wanted in prop_oneof![0..5_u64, 0..100_000_u64],
        bounds in (prop::option::of(time()), prop::option::of(time())),
        limit in 1..400_u32,
    ) {
        let mut by_bucket: BTreeMap<u32, Vec<Slice>> = BTreeMap::new();
        for (n, row) in (0..).zip(&rows) {
            by_bucket.entry(n % buckets).or_default().push(row.clone());
        }
        let segments: Vec<_> = by_bucket
            .iter()
            .flat_map(|(bucket, rows)| flushes(rows, of).into_iter().map(|pages| (*bucket, pages)))
            .collect();
        let key = (wanted != 4).then(|| key(wanted));
        let mut expected: Vec<(i64, i64, bool)> = by_bucket
            .iter()
            .flat_map(|(bucket, rows)| (1..).zip(rows).map(move |(row, r)| (i64::from(*bucket) << 32 | row, r)))
            .filter(|(_, r)| key.is_none_or(|key| r.keys.contains(&key)))
            .filter(|(_, r)| bounds.0.is_none_or(|t| r.last_us >= t))
            .map(|(id, r)| (r.last_us, id, bounds.1.is_none_or(|t| r.first_us <= t)))
            .collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        // In steps, each from where the one before stopped.
        let mut found = Vec::new();
        let mut step = Walk { keys: key.into(), since_us: bounds.0, until_us: bounds.1, after: None, limit };
        loop {
            let (slices, _) = walk(&segments, &step);
            for at_once in [1, 7] {
                prop_assert_eq!(&walk_by(&segments, &step, |run| run * at_once).0, &slices);
            }
            step.after = slices.last().copied().or(step.after);
            let more = slices.len() == limit as usize;
            found.extend(slices);
            if !more {
                break;
            }
        }
        // All that is wanted, and of the rest at most what ends soon after the window.
        let (mut found, soon) = (found.into_iter().peekable(), bounds.1.unwrap_or(i64::MAX).saturating_add(MAX_SPAN_US));
        for (last_us, id, is_wanted) in expected {
            let is_found = found.next_if_eq(&(last_us, id)).is_some();
            prop_assert!(is_found || !is_wanted, "left out");
            prop_assert!(is_wanted || !is_found || last_us <= soon, "brought in vain");
        }
        prop_assert_eq!(found.next(), None);
    }

    #[test]
    fn a_damaged_page_is_an_error_and_no_panic(rows in rows(60), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let numbered: Vec<_> = (1..).zip(&rows).collect();
        for page in make(&numbered) {
            let mut data = page.data.clone();
            data[at.index(page.data.len())] ^= 1 << bit;
            prop_assert!(decode(page.first, &data).is_err());
            prop_assert!(decode(page.first, &page.data[..at.index(page.data.len())]).is_err());
            // Another's data.
            prop_assert!(decode(page.first.before(), &page.data).is_err());
        }
    }

    #[test]
    fn whatever_stands_in_a_page_with_a_right_checksum_does_no_harm(
        first in any::<u128>(), mut data in prop::collection::vec(any::<u8>(), 0..200), counts in any::<(u16, u16)>(),
    ) {
        let first = Posting(first);
        if data.len() > 15 {
            data[4] = 2;
            data[5..7].copy_from_slice(&(counts.0 % 40).to_le_bytes());
            data[7..9].copy_from_slice(&(counts.1 % 60).to_le_bytes());
            for width in &mut data[9..15] {
                *width %= 9;
            }
        }
        if data.len() >= 4 {
            let crc = crate::checksum::crc32c([&first.to_octets(), &data[4..]]);
            data[..4].copy_from_slice(&crc.to_le_bytes());
        }
        if let Ok(postings) = decode(first, &data) {
            prop_assert!(postings.len() <= MAX_POSTINGS);
        }
    }
}

#[test]
fn a_page_that_does_not_come_after_the_one_before_is_left_out_of_a_merge() {
    let rows: Vec<_> = (0..2000).map(|n| slice(START_US + n, START_US + n, vec![])).collect();
    let pages = &flushes(&rows, 2000)[0];
    assert!(pages.len() > 1);
    let mut merger = Merger::new(1);
    assert_eq!(merger.step(), Merged::Needs(0));
    merger.feed(0, pages.get(1)).expect("sound");
    assert_eq!(merger.feed(0, pages.first()), Err(PageError::Malformed));
    merger.feed(0, None).expect("sound");
    assert_eq!((merger.step(), merger.step()), (Merged::Page(pages[1].clone()), Merged::End));
}

#[test]
fn octets_order_as_postings_do() {
    let postings = [
        Posting::new(Key::EVERYTHING, i64::MIN, 0, 9),
        Posting::new(Key::EVERYTHING, -1, MAX_ROW, 9),
        Posting::new(Key::EVERYTHING, 0, 0, 0),
        Posting::new(Key::EVERYTHING, START_US, 7, 3),
        Posting::new(Key::EVERYTHING, START_US, MAX_ROW, 0),
        Posting::new(Key::EVERYTHING, i64::MAX, 1, 0),
    ];
    assert!(postings.windows(2).all(|w| w[0] < w[1] && w[0].to_octets() < w[1].to_octets()));
    assert_eq!((postings[3].last_us(), postings[3].row(), postings[3].span()), (START_US, 7, 3));
    assert_eq!(postings[1].last_us(), -1);
}

/// An hour of traffic: 400 slices a second, one host in all of them, and each with a user of its own.
fn an_hour_of_a_hot_key() -> Vec<Slice> {
    let row = |n: u64| {
        let last_us = START_US + n.cast_signed() * 2_500;
        // A third of one message, a third short, a third long.
        let span_us = (n % 3 * 30_000).cast_signed();
        slice(last_us - span_us, last_us, vec![key(1), key(1_000_000 + n)])
    };
    (0..100_000).map(row).collect()
}

#[test]
fn a_walk_on_a_hot_key_reads_only_the_pages_it_needs() {
    let rows = an_hour_of_a_hot_key();
    let numbered: Vec<_> = (1..).zip(&rows).collect();
    let pages = make(&numbered);
    assert!(pages.len() > 500);
    let segments = [(0, pages)];
    for key in [None, Some(key(1))] {
        let until_us = START_US + 125_000_000;
        let middle = Walk { keys: key.into(), until_us: Some(until_us), limit: 200, ..Walk::default() };
        let (found, fetched) = walk(&segments, &middle);
        assert!(found.contains(&(until_us, 50_001)));
        assert_eq!(found.len(), 200);
        assert!(fetched <= 5, "{fetched} pages");
        // Of the 800 slices that end within two seconds after it, those of one message are passed over, and of the others
        // those that begin after it.
        let in_vain =
            |(_, row): &&(i64, i64)| rows[usize::try_from(row - 1).expect("small")].first_us > until_us;
        assert!(found.iter().filter(in_vain).count() <= 2);
        let is_across = |slice: &&Slice| slice.first_us <= until_us && slice.last_us > until_us;
        assert!(
            found.iter().filter(|(last_us, _)| *last_us > until_us).count()
                >= rows.iter().filter(is_across).count()
        );
    }
    let rare = Walk { keys: key(1_000_777).into(), limit: 200, ..Walk::default() };
    assert_eq!(walk(&segments, &rare), (vec![(START_US + 777 * 2_500, 778)], 1));
}

#[test]
fn a_long_walk_asks_for_pages_that_follow_each_other_at_once_and_for_few_that_it_does_not_need() {
    let rows = an_hour_of_a_hot_key();
    let numbered: Vec<_> = (1..).zip(&rows).collect();
    // One segment, and thirty that are interleaved.
    let one = vec![(0, make(&numbered))];
    let thirty: Vec<_> = (0..30)
        .map(|n| (0, make(&numbered.iter().copied().skip(n).step_by(30).collect::<Vec<_>>())))
        .collect();
    for (segments, most_asked) in [(one, 4), (thirty, 70)] {
        for key in [None, Some(key(1))] {
            let long = Walk { keys: key.into(), limit: 8_192, ..Walk::default() };
            let (found, needed) = walk(&segments, &long);
            let (same, fetched, asked) = walk_by(&segments, &long, |run| run);
            assert_eq!(found, same);
            assert!(
                asked <= most_asked && fetched <= needed * 2,
                "{asked} times, {fetched} of {needed} pages"
            );
        }
        let rare = Walk { keys: key(1_000_777).into(), limit: 8_192, ..Walk::default() };
        assert_eq!(walk_by(&segments, &rare, |run| run).1, segments.len());
    }
}

#[test]
fn of_a_run_with_a_damaged_page_those_that_come_after_it_count() {
    let rows = an_hour_of_a_hot_key();
    let numbered: Vec<_> = (1..).zip(&rows).collect();
    let pages = make(&numbered);
    let of_key: Vec<_> = read(&pages).into_iter().filter(|p| p.prefix() == prefix(key(1))).collect();
    let mut walker = Walker::new(&Walk { keys: key(1).into(), limit: 8_192, ..Walk::default() });
    walker.add(Source { segment: (), base: 0, oldest_us: i64::MIN, newest_us: i64::MAX });
    assert_eq!(walker.step(), Next::Pages);
    let at = walker.wanted()[0].at;
    let mut run: Vec<_> = lookup(&pages, at, 4).collect();
    let sound = [0, 1].map(|n| {
        let (first, data): (Posting, &[u8]) = run[n];
        decode(first, data).expect("sound").into_iter().filter(|p| p.prefix() == prefix(key(1))).count()
    });
    run[2].1 = b"damaged";
    assert_eq!(walker.feed(0, run), Err(PageError::Checksum));
    let mut told = Vec::new();
    while let Next::Slice { id, .. } = walker.step() {
        told.push(id);
    }
    assert_eq!(walker.step(), Next::End);
    let expected = of_key.iter().rev().map(|posting| i64::from(posting.row()));
    assert_eq!(told, expected.take(sound.iter().sum()).collect::<Vec<_>>());
}

#[test]
fn buckets_that_are_older_than_what_is_found_are_not_read() {
    let rows = an_hour_of_a_hot_key();
    let numbered: Vec<_> = (1..).zip(&rows).collect();
    let segments: Vec<_> = (0..).zip(numbered.chunks(1_000).map(make)).collect();
    let newest = Walk { keys: key(1).into(), limit: 100, ..Walk::default() };
    let (found, fetched) = walk(&segments, &newest);
    assert_eq!(found.len(), 100);
    assert!(fetched <= 10, "{fetched} pages of {} segments", segments.len());
    let outside = Walk { since_us: Some(START_US + 1_000_000_000), ..newest };
    assert_eq!(walk(&segments, &outside), (Vec::new(), 0));
}

#[test]
fn a_posting_takes_few_octets() {
    let rows = an_hour_of_a_hot_key();
    let numbered: Vec<_> = (1..).zip(&rows).collect();
    let pages = make(&numbered);
    let octets: usize = pages.iter().map(|page| page.data.len() + 16).sum();
    // Three postings a slice, two of them of hot keys.
    assert!(octets < 100_000 * 16, "{octets}");
}

#[test]
fn ten_segments_of_a_level_are_merged_and_what_waits_below_goes_along() {
    let mut live: Vec<Segment> = Vec::new();
    let mut most = 0;
    for number in 0..3600 {
        live.push(Segment { number, level: 0 });
        while let Some((merged, level)) = due(&live) {
            live.retain(|s| !merged.contains(s));
            live.push(Segment { number, level });
        }
        most = most.max(live.len());
    }
    assert!(most <= 36, "{most} segments");
    assert!(due(&live).is_none());
    let waiting: Vec<_> = (0..12).map(|number| Segment { number, level: u8::from(number < 10) }).collect();
    let (merged, level) = due(&waiting).expect("due");
    assert_eq!((merged.len(), level), (12, 2));
}
