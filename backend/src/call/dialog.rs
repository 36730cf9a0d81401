//! Which messages of a call belong to one dialog: RFC 3261 §12, Call-ID and both tags, whoever sent them.

use std::collections::{HashMap, HashSet};

use super::message::Message;

/// Both tags, the lesser first: a dialog is the same in both directions.
type Tags<'a> = (&'a str, &'a str);

/// A request that is not in a dialog yet: what its sender numbered it.
type Opening<'a> = (Option<&'a str>, Option<u32>);

/// Numbers the dialogs of a call from 0 on, in the order in which they appear.
#[derive(Default)]
pub(super) struct Dialogs<'a> {
    openings: HashMap<Opening<'a>, usize>,
    dialogs: HashMap<Tags<'a>, usize>,
    taken: HashSet<usize>,
    count: usize,
}

impl<'a> Dialogs<'a> {
    /// The number of this message's dialog. An INVITE without a To tag gets that of the first dialog it opens; where it
    /// is forked, each further dialog gets a number of its own. Messages must be given oldest first.
    pub fn number(&mut self, message: &'a Message) -> usize {
        let from = message.sip.from_tag.as_deref();
        let opening = (from, message.sip.cseq);
        let Some((from, to)) = from.zip(message.sip.to_tag.as_deref()) else {
            let (openings, count) = (&mut self.openings, &mut self.count);
            return *openings.entry(opening).or_insert_with(|| next(count));
        };
        let tags = if from <= to { (from, to) } else { (to, from) };
        if let Some(number) = self.dialogs.get(&tags) {
            return *number;
        }
        let number = match self.openings.get(&opening) {
            Some(number) if !self.taken.contains(number) => *number,
            _ => next(&mut self.count),
        };
        self.taken.insert(number);
        self.dialogs.insert(tags, number);
        number
    }
}

fn next(count: &mut usize) -> usize {
    *count += 1;
    *count - 1
}
