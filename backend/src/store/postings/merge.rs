//! One segment out of several.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::page::{Builder, decode};
use super::{Page, PageError, Posting};

/// Merges segments, page by page: in memory are one page of each and the one in the making.
#[derive(Debug)]
pub struct Merger {
    builder: Builder,
    inputs: Vec<Input>,
    /// The next posting of each input that has one at hand.
    heads: BinaryHeap<Reverse<(Posting, usize)>>,
    /// Inputs whose next page is needed.
    hungry: Vec<usize>,
    last: Option<Posting>,
}

/// A segment that is merged.
#[derive(Clone, Debug, Default)]
struct Input {
    /// What is left of its page at hand.
    postings: std::vec::IntoIter<Posting>,
    /// The last posting of that page.
    last: Option<Posting>,
}

/// What a merger does next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Merged {
    /// It needs the next page of this input ([`Merger::feed`]).
    Needs(usize),
    /// The next page of the segment that it makes.
    Page(Page),
    /// That was all.
    End,
}

impl Merger {
    /// Merges so many segments.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self {
            builder: Builder::default(),
            inputs: vec![Input::default(); inputs],
            heads: BinaryHeap::new(),
            hungry: (0..inputs).collect(),
            last: None,
        }
    }

    /// Goes on.
    pub fn step(&mut self) -> Merged {
        loop {
            if let Some(input) = self.hungry.last() {
                return Merged::Needs(*input);
            }
            let Some(Reverse((posting, input))) = self.heads.pop() else {
                return self.builder.finish().map_or(Merged::End, Merged::Page);
            };
            self.advance(input);
            // A posting stands in one segment only; should it stand in two, it is still found once.
            if self.last.replace(posting) != Some(posting)
                && let Some(page) = self.builder.push(posting)
            {
                return Merged::Page(page);
            }
        }
    }

    /// Takes the next page of the input that [`Merged::Needs`] named last; `None` at its end.
    ///
    /// # Errors
    /// When the page is damaged, or does not come after the one before it; the merging cannot go on then.
    pub fn feed(&mut self, input: usize, page: Option<&Page>) -> Result<(), PageError> {
        let postings = page.map(|page| decode(page.first, &page.data)).transpose()?;
        if let Some(postings) = postings
            && let Some(place) = self.inputs.get_mut(input)
        {
            let last = postings.last().copied();
            if place.last.as_ref() > postings.first() {
                return Err(PageError::Malformed);
            }
            *place = Input { postings: postings.into_iter(), last };
            self.hungry.retain(|hungry| *hungry != input);
            self.advance(input);
        } else {
            self.hungry.retain(|hungry| *hungry != input);
        }
        Ok(())
    }

    fn advance(&mut self, input: usize) {
        match self.inputs.get_mut(input).and_then(|input| input.postings.next()) {
            Some(posting) => self.heads.push(Reverse((posting, input))),
            None => self.hungry.push(input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment;
    use super::*;
    use crate::call::sample::{answered, call};
    use crate::store::slice::Cutter;

    #[test]
    fn a_page_that_comes_before_the_one_before_it_ends_the_merging() {
        let slice = Cutter::default().cut(call(&answered()).messages).expect("slices").remove(0);
        let page = |row| segment([(row, &slice)]).remove(0);
        let mut merger = Merger::new(1);
        merger.feed(0, Some(&page(2))).expect("a page");
        assert_eq!(merger.step(), Merged::Needs(0));
        assert_eq!(merger.feed(0, Some(&page(1))), Err(PageError::Malformed));
        assert_eq!(merger.step(), Merged::Needs(0), "the input is not thought to be at its end");
    }
}
