//! One segment out of several.

use super::builder::Builder;
use super::page::decode;
use super::{Page, PageError, Posting};

/// So many postings of each input are at hand before any is merged, as far as there are so many. They are merged in
/// batches, and sorting a batch of a few long runs costs a fifth of asking for each posting which input is next.
const AT_HAND: usize = 2048;

/// Merges segments: in memory are some pages of each and the page in the making.
#[derive(Debug)]
pub struct Merger {
    builder: Builder,
    inputs: Vec<Input>,
    /// Postings in order, before which no input has another.
    batch: Vec<Posting>,
    /// How many of the batch are in pages.
    built: usize,
    /// Inputs whose next page is needed.
    hungry: Vec<usize>,
}

#[derive(Debug, Default)]
struct Input {
    /// What was read and is in no batch yet, in order.
    postings: Vec<Posting>,
    last: Option<Posting>,
    is_read: bool,
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
            inputs: std::iter::repeat_with(Input::default).take(inputs).collect(),
            batch: Vec::new(),
            built: 0,
            hungry: (0..inputs).collect(),
        }
    }

    /// Goes on.
    pub fn step(&mut self) -> Merged {
        loop {
            while let Some(posting) = self.batch.get(self.built) {
                self.built += 1;
                if let Some(page) = self.builder.push(*posting) {
                    return Merged::Page(page);
                }
            }
            if let Some(input) = self.hungry.last() {
                return Merged::Needs(*input);
            }
            self.next_batch();
            if self.batch.is_empty() {
                return self.builder.finish().map_or(Merged::End, Merged::Page);
            }
        }
    }

    /// Takes the next page of the input that [`Merged::Needs`] named last; `None` at its end.
    ///
    /// # Errors
    /// When the page is damaged, or does not come after the one before. The merging can go on without it.
    pub fn feed(&mut self, input: usize, page: Option<&Page>) -> Result<(), PageError> {
        let Some(of) = self.inputs.get_mut(input) else { return Ok(()) };
        match page {
            Some(page) if of.last.is_some_and(|last| page.first <= last) => return Err(PageError::Malformed),
            Some(page) => {
                let postings = decode(page.first, &page.data)?;
                of.last = postings.last().copied();
                of.postings.extend(postings);
            }
            None => of.is_read = true,
        }
        if of.is_fed() {
            self.hungry.retain(|hungry| *hungry != input);
        }
        Ok(())
    }

    /// Takes from all inputs what comes before anything that is still to be read.
    fn next_batch(&mut self) {
        let to_read = self.inputs.iter().filter(|input| !input.is_read);
        let bound = to_read.filter_map(|input| input.last).min();
        self.batch.clear();
        self.built = 0;
        for input in &mut self.inputs {
            let taken = bound.map_or(input.postings.len(), |bound| {
                input.postings.partition_point(|posting| *posting <= bound)
            });
            self.batch.extend(input.postings.drain(..taken));
        }
        // Made for runs that are in order each, which these are.
        self.batch.sort();
        // A posting stands in one segment only; should it stand in two, it is still found once.
        self.batch.dedup();
        self.hungry.extend(self.inputs.iter().zip(0..).filter(|(input, _)| !input.is_fed()).map(|(_, n)| n));
    }
}

impl Input {
    fn is_fed(&self) -> bool {
        self.is_read || self.postings.len() >= AT_HAND
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
        let pack = Cutter::default().cut(call(&answered()).messages).expect("packs").remove(0);
        let page = |row| segment([(row, &pack.slices[0], None)]).remove(0);
        let mut merger = Merger::new(1);
        merger.feed(0, Some(&page(2))).expect("a page");
        assert_eq!(merger.step(), Merged::Needs(0));
        assert_eq!(merger.feed(0, Some(&page(1))), Err(PageError::Malformed));
        assert_eq!(merger.step(), Merged::Needs(0), "the input is not thought to be at its end");
    }
}
