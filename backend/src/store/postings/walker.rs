//! The postings of one key or several, newest first, out of many segments.

use std::collections::BinaryHeap;

use super::page::decode;
use super::{PageError, Posting};
use crate::store::{Key, Keys, MAX_SPAN_US, Walk};

/// How many pages are asked for at once to begin with; with each further round twice as many.
const AT_ONCE: usize = 8;

/// How many pages are asked for at once at most that follow each other, some 1 kB each.
const MOST_RUN: usize = 64;

/// A segment that a walk goes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Source<S> {
    /// What the store knows it by.
    pub segment: S,
    /// What its rows are counted from in the ids of slices: the number of its bucket, in the high bits.
    pub base: i64,
    /// No slice in it ends earlier, µs since the epoch; `i64::MIN` where nothing is known.
    pub oldest_us: i64,
    /// No slice in it ends later, µs since the epoch; `i64::MAX` where nothing is known.
    pub newest_us: i64,
}

/// A page that a walk needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted<S> {
    /// What to say to [`Walker::feed`].
    pub source: usize,
    /// The segment.
    pub segment: S,
    /// The page with the greatest first posting that is not above this.
    pub at: Posting,
    /// The walk will need so many pages, of which this is the last. It can be fed all of them, or this one alone.
    pub run: usize,
}

/// What a walk comes to next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next<S> {
    /// A slice.
    Slice {
        /// The segment that it was found in.
        segment: S,
        /// Time of its last message, µs since the epoch.
        last_us: i64,
        /// Its id.
        id: i64,
    },
    /// Nothing before it has further pages ([`Walker::wanted`]).
    Pages,
    /// Nothing more.
    End,
}

/// Walks the slices of some keys in the order of [`Walk`]: `(last_us, id)`, descending. The limit is the caller's.
#[derive(Debug)]
pub struct Walker<S> {
    keys: Keys,
    since_us: i64,
    until_us: i64,
    /// The place that comes before all that are to be told.
    after: (i64, i64),
    sources: Vec<Open<S>>,
    /// What comes next of each source that may still bring something.
    heads: BinaryHeap<Head>,
    /// Sources whose pages were asked for.
    asked: Vec<usize>,
    at_once: usize,
    /// So many slices are still to be told.
    left: usize,
}

#[derive(Debug)]
struct Open<S> {
    source: Source<S>,
    key: Key,
    /// What was read and not told yet, oldest first.
    postings: Vec<Posting>,
    /// Where further pages are; `None` where there are none.
    further: Option<Posting>,
    /// How many postings of the key a page has that has no others, as far as one was read.
    of_page: Option<usize>,
}

/// The place of the next posting of a source, or a bound on it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Head {
    last_us: i64,
    id: i64,
    is_bound: bool,
    source: usize,
}

impl<S: Copy> Walker<S> {
    /// Walks over no segment yet.
    #[must_use]
    pub fn new(walk: &Walk) -> Self {
        Self {
            keys: walk.keys.clone(),
            since_us: walk.since_us.unwrap_or(i64::MIN),
            until_us: walk.until_us.unwrap_or(i64::MAX),
            after: walk.after.unwrap_or((i64::MAX, i64::MAX)),
            sources: Vec::new(),
            heads: BinaryHeap::new(),
            asked: Vec::new(),
            at_once: AT_ONCE,
            left: walk.limit as usize,
        }
    }

    /// The same, for a store that is asked over a network: so many pages are asked for at once to begin with.
    #[must_use]
    pub fn asking_for(self, pages: usize) -> Self {
        Self { at_once: pages.max(1), ..self }
    }

    /// Takes a segment along. All are added before the first step.
    pub fn add(&mut self, source: Source<S>) {
        let (after_us, after_id) = self.after;
        // Slices of this source that come after that place: of the same time those with a lower id.
        let (until_us, row) = match after_id.checked_sub(source.base) {
            Some(row) if row > 0 => (after_us, u32::try_from(row - 1).unwrap_or(u32::MAX)),
            _ => (after_us.saturating_sub(1), u32::MAX),
        };
        let newest_us = source.newest_us.min(self.until_us.saturating_add(MAX_SPAN_US));
        let (until_us, row) = if until_us <= newest_us { (until_us, row) } else { (newest_us, u32::MAX) };
        if until_us < self.since_us.max(source.oldest_us) {
            return;
        }
        for key in self.keys.clone().iter() {
            let further = Some(Posting::bound(*key, until_us, row));
            self.sources.push(Open { source, key: *key, postings: Vec::new(), further, of_page: None });
            self.rank(self.sources.len() - 1);
        }
    }

    /// The next slice, as far as it is known.
    pub fn step(&mut self) -> Next<S> {
        loop {
            let Some(head) = self.heads.peek().copied() else {
                return if self.asked.is_empty() { Next::End } else { Next::Pages };
            };
            if head.is_bound || !self.asked.is_empty() {
                return Next::Pages;
            }
            self.heads.pop();
            let open = &mut self.sources[head.source];
            open.postings.pop();
            let segment = open.source.segment;
            self.rank(head.source);
            // What several keys lead to is met several times in a row.
            let place = (head.last_us, head.id);
            if place < self.after {
                self.after = place;
                self.left = self.left.saturating_sub(1);
                return Next::Slice { segment, last_us: head.last_us, id: head.id };
            }
        }
    }

    /// The pages that are needed for the next step, at least one where [`Next::Pages`] was told. Each must be fed.
    pub fn wanted(&mut self) -> Vec<Wanted<S>> {
        while self.asked.len() < self.at_once
            && let Some(head) = self.heads.peek().filter(|head| head.is_bound)
        {
            self.asked.push(head.source);
            self.heads.pop();
        }
        self.at_once = self.at_once.saturating_mul(2);
        // What is still to be told comes out of all that are met now.
        let sources = self.asked.len() + self.heads.iter().filter(|head| !head.is_bound).count();
        let wanted = |source: &usize| {
            let open = &self.sources[*source];
            let pages = open.of_page.map_or(1, |postings| self.left.div_ceil(postings.max(1)));
            let run = (pages.min(MOST_RUN) / sources).max(1);
            open.further.map(|at| Wanted { source: *source, segment: open.source.segment, at, run })
        };
        self.asked.iter().filter_map(wanted).collect()
    }

    /// Takes a page that was wanted, or a run of them, the last one first: of each its first posting and its data. None where the
    /// segment has none there.
    ///
    /// # Errors
    /// When one is damaged; the walk can go on without that one and what comes before it in the segment.
    pub fn feed<'a>(
        &mut self,
        source: usize,
        pages: impl IntoIterator<Item = (Posting, &'a [u8])>,
    ) -> Result<(), PageError> {
        self.asked.retain(|asked| *asked != source);
        let Some(open) = self.sources.get_mut(source).filter(|open| open.further.is_some()) else {
            return Ok(());
        };
        let oldest = Posting::new(open.key, self.since_us, 0, 0);
        let (mut read, mut sound) = (Vec::new(), Ok(()));
        for (first, data) in pages {
            let Some(at) = open.further.take() else { break };
            let mut postings = match decode(first, data) {
                Ok(postings) => postings,
                Err(error) => {
                    sound = Err(error);
                    break;
                }
            };
            // One that ends with another key has none of the usual number.
            if postings.last().is_some_and(|posting| posting.prefix() == oldest.prefix()) {
                open.of_page = Some(postings.len());
            }
            let wanted =
                |posting: &Posting| (oldest..=at).contains(posting) && posting.earliest_us() <= self.until_us;
            postings.retain(wanted);
            read.push(postings);
            // A page that begins with the key, and young enough: the one before it may end with the key.
            open.further = Some(first.before()).filter(|further| *further >= oldest && first <= at);
        }
        if read.is_empty() {
            open.further = None;
        }
        open.postings = read.pop().unwrap_or_default();
        open.postings.extend(read.into_iter().rev().flatten());
        self.rank(source);
        sound
    }

    fn rank(&mut self, source: usize) {
        let open = &self.sources[source];
        let place = |posting: Posting, is_bound| Head {
            last_us: posting.last_us(),
            id: open.source.base + i64::from(posting.row()),
            is_bound,
            source,
        };
        let next = open.postings.last().map(|posting| place(*posting, false));
        self.heads.extend(next.or_else(|| open.further.map(|further| place(further, true))));
    }
}
