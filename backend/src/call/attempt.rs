//! One try to reach somebody: a request with its replies, at all hops where they were seen.
//!
//! A try is what its sender numbers: From tag and CSeq (RFC 3261 §8.1.1.5). A request that was challenged (401, 407) or
//! redirected is tried again with the next number, so the last try decides how the call ends, and none before it.

use std::collections::{HashMap, HashSet};

use super::brief::{Brief, Word};
use super::message::Kind;

/// From how many places a try is looked at. A call seldom crosses ten hops.
const MOST_VANTAGES: usize = 64;

/// A request and its replies, oldest first.
pub(super) struct Attempt<'a> {
    messages: Vec<&'a Brief>,
}

/// One place where a try was seen: what one agent saw of one branch (RFC 3261 §17.2.3). Times are only compared within
/// one, since clocks of agents differ and hops add delay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Vantage {
    agent_id: u32,
    branch: Option<Word>,
}

/// When a try was sent, rang and was finally answered, µs since the epoch, as seen from one place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Times {
    pub agent_id: Option<u32>,
    pub sent_us: Option<i64>,
    pub ringing_us: Option<i64>,
    pub final_us: Option<i64>,
}

impl<'a> Attempt<'a> {
    /// The tries with this method that open something, by the time of their first message. `messages` must be in
    /// order of time.
    ///
    /// Requests within a dialog, such as a re-INVITE, are none, unless there is nothing else: then the capture began
    /// in the middle of a call.
    pub fn all(messages: &'a [Brief], method: Word) -> Vec<Self> {
        let opening = Self::group(messages, method, |m| !m.has_to_tag);
        if opening.is_empty() { Self::group(messages, method, |_| true) } else { opening }
    }

    fn group(messages: &'a [Brief], method: Word, opens: impl Fn(&Brief) -> bool) -> Vec<Self> {
        let of_method = || messages.iter().filter(|m| m.method == Some(method));
        let requests = || of_method().filter(|m| m.kind == Kind::Request);
        let mut places = HashMap::new();
        for message in requests().filter(|m| opens(m)) {
            let next = places.len();
            places.entry(number(message)).or_insert(next);
        }
        if places.is_empty() {
            // Replies alone, as from an agent that captures only these.
            let requested: HashSet<_> = requests().map(number).collect();
            for message in of_method().filter(|m| m.kind == Kind::Reply && !requested.contains(&number(m))) {
                let next = places.len();
                places.entry(number(message)).or_insert(next);
            }
        }
        let mut attempts: Vec<_> = places.iter().map(|_| Self { messages: Vec::new() }).collect();
        for message in of_method() {
            if let Some(attempt) = places.get(&number(message)).and_then(|place| attempts.get_mut(*place)) {
                attempt.messages.push(message);
            }
        }
        attempts
    }

    fn holds(&self, message: &Brief) -> bool {
        self.messages.first().is_some_and(|first| number(first) == number(message))
    }

    fn requests(&self) -> impl Iterator<Item = &'a Brief> {
        self.messages.iter().copied().filter(|m| m.kind == Kind::Request)
    }

    /// Final replies, oldest first.
    fn finals(&self) -> impl Iterator<Item = &'a Brief> {
        self.messages.iter().copied().filter(|m| m.status.is_some_and(|s| s >= 200))
    }

    /// The final status of this try: that of a hop where it succeeded, else what its sender was told, else the last
    /// that was seen (where a proxy tried several targets in turn, that is the last of them).
    pub fn final_status(&self) -> Option<u16> {
        let success = self.finals().filter_map(|m| m.status).find(|s| (200..300).contains(s));
        success.or_else(|| self.sender_final()?.status).or_else(|| self.finals().last()?.status)
    }

    /// Whether its sender cancelled it before its end. `messages` are those of the call; a CANCEL has the branch and
    /// the number of what it cancels (RFC 3261 §9.1). One that only a proxy sent, to try elsewhere, doesn't count
    /// where the try has another end.
    pub fn is_cancelled(&self, messages: &[Brief]) -> bool {
        let cancel = Word::of("CANCEL");
        let mut cancels = messages.iter().filter(|m| m.requests(cancel) && self.holds(m));
        match (self.final_status(), self.sender_vantage()) {
            (None, _) => cancels.next().is_some(),
            (Some(..300), _) => false,
            (Some(_), sender) => cancels.any(|m| sender == Some(Vantage::of(m))),
        }
    }

    /// Its times, from the place that saw most of it; from the one nearest to the sender among equals. Where no place
    /// saw the request and a reply, each is the earliest anywhere.
    pub fn times(&self, final_status: Option<u16>) -> Times {
        let succeeded = final_status.is_some_and(|s| s < 300);
        let is_final = |m: &Brief| m.status.is_some_and(|s| s >= 200 && (!succeeded || s < 300));
        let seen_by = |vantage: Option<Vantage>| {
            let first = |wanted: &dyn Fn(&Brief) -> bool| {
                self.messages
                    .iter()
                    .find(|m| vantage.is_none_or(|v| v == Vantage::of(m)) && wanted(m))
                    .map(|m| m.at_us)
            };
            Times {
                agent_id: vantage.map(|v| v.agent_id),
                sent_us: first(&|m| m.kind == Kind::Request),
                ringing_us: first(&|m| m.status.is_some_and(|s| (180..184).contains(&s))),
                final_us: first(&is_final),
            }
        };
        let mut best = Times::default();
        let mut tried = Vec::new();
        for vantage in self.requests().map(Vantage::of) {
            if tried.contains(&vantage) {
                continue;
            }
            if tried.len() == MOST_VANTAGES {
                break;
            }
            tried.push(vantage);
            let times = seen_by(Some(vantage));
            let worth = |t: &Times| (t.final_us.is_some(), t.ringing_us.is_some());
            if worth(&times) > worth(&best) {
                best = times;
            }
        }
        if best.final_us.is_some() || best.ringing_us.is_some() { best } else { seen_by(None) }
    }

    /// Where the try was seen first: on the hop from its sender.
    fn sender_vantage(&self) -> Option<Vantage> {
        self.requests().next().map(Vantage::of)
    }

    /// The final reply that the sender was sent.
    fn sender_final(&self) -> Option<&'a Brief> {
        let vantage = self.sender_vantage()?;
        self.finals().find(|m| Vantage::of(m) == vantage)
    }
}

impl Vantage {
    fn of(message: &Brief) -> Self {
        Self { agent_id: message.agent_id, branch: message.branch }
    }
}

const fn number(message: &Brief) -> (Option<Word>, Option<u32>) {
    (message.from_tag, message.cseq)
}
