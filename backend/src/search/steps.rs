//! A walk over the store, step by step: slices are fetched, read and filtered. The one place where messages come from:
//! what the scope does not allow ends here.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::filter::{Filter, Octets};
use super::readers::{self, Numbered};
use super::scope::Scope;
use super::{Search, SearchError};
use crate::call::brief::Brief;
use crate::call::message::{CapturedRef, Message, MessageId, MessageRef};
use crate::store::{Store, StoreError, StoredSlice, Walk, Walked, pack};
use crate::text::lossy;

/// How many slices the first step takes. Each takes twice as many as the one before, since who has walked that far walks on.
const FIRST: u32 = 256;

/// How many slices a step takes at most.
const MOST: u32 = 4096;

/// What the slices of a step come to at most, octets of blobs, as far as those of the step before tell.
const MOST_BYTES: usize = 2 << 20;

/// What is found in fewer than one slice of so many is rare.
const RARE: usize = 16;

/// How many slices a step takes at most after one that found what is rare.
const MOST_OF_RARE: u32 = 8192;

/// What these come to at most, octets of blobs; twice that is held, since the next ones are fetched while these are read.
const MOST_BYTES_OF_RARE: usize = 3 << 20;

/// What was read in a step comes to at most, octets, as far as the step before tells.
const USUAL_READ_BYTES: usize = 3 << 20;

/// The same for even steps: so much that a further question costs little beside it, so little that the next step is on its way while
/// this one is given on.
const EVEN_READ_BYTES: usize = 3 << 19;

/// What was read in a step comes to at most, whatever the step before told, unless it is of one slice: half of what was fetched is read, and
/// the rest later.
const MOST_READ_BYTES: usize = 5 << 20;

/// A walk that has come so many slices far is a long one. Where what it looks for is rare, the next ones are fetched while these
/// are read.
const LONG: usize = 2048;

/// So few slices are read at once, by whoever fetched them.
const FEW: usize = 32;

/// Slices as a walk brought them, read.
pub struct Step<M = Message> {
    /// Those that hold a message of the filter, with such messages only.
    pub slices: Vec<ReadSlice<M>>,
    /// Whether something may be missing: a part of the store is away or damaged.
    pub partial: bool,
    /// Where the next step goes on; `None` at the end of the walk.
    pub next: Option<(i64, i64)>,
}

/// A slice, read.
pub struct ReadSlice<M = Message> {
    /// Messages that meet the filter, in order of capture.
    pub messages: Vec<M>,
    /// What was written of them, and of those of other slices.
    pub text: Bytes,
}

/// Slices of a walk that were fetched, newest first.
pub struct Fetched {
    /// The slices.
    pub slices: Vec<StoredSlice>,
    /// Whether something may be missing: a part of the store is away or damaged.
    pub partial: bool,
    /// The place after which the rest of the walk comes; `None` where there is no rest.
    pub next: Option<(i64, i64)>,
}

/// Slices that were fetched and not read yet.
struct Unread {
    /// With their places in the order of the walk, which follow each other; [`pack::together`].
    slices: Arc<Vec<Numbered>>,
    partial: bool,
    next: Option<(i64, i64)>,
}

/// What was read of some slices of a step.
struct Part<M> {
    /// With their places in the step.
    slices: Vec<(usize, ReadSlice<M>)>,
    /// Octets of it.
    bytes: usize,
    is_damaged: bool,
}

/// A walk, with what its messages must meet and what is read of them.
pub struct Steps<M = Message> {
    search: Search,
    /// Where it goes on.
    pub walk: Walk,
    wanted: Arc<Wanted>,
    read: Read<M>,
    /// What is older is not wanted any more, µs since the epoch.
    since_us: i64,
    /// Whether the last step found next to nothing: who looks for what is rare will look on.
    is_rare: bool,
    /// Whether it is known that all of the walk is wanted.
    is_whole: bool,
    /// Whether what is read in a step is given on while more is looked for.
    is_even: bool,
    /// What `walk` brings, fetched before it is asked for.
    ahead: Option<AbortOnDropHandle<Result<Fetched, StoreError>>>,
    /// What was fetched and is read next.
    rest: Option<Unread>,
    /// So many slices were read.
    walked: usize,
    /// What was read of a slice came to in the last step, octets.
    read_bytes: usize,
}

/// Reads a captured message, if it is one of those that are wanted. What it writes of it goes to the end of the text that the
/// slices read with it share.
pub type Read<M> = fn(&Wanted, MessageId, &CapturedRef<'_>, &mut Vec<u8>) -> Option<M>;

/// What messages must meet.
#[derive(Clone)]
pub struct Wanted {
    filter: Filter,
    /// What the payload of each message of the filter holds.
    needles: Vec<Octets>,
    scope: Option<Scope>,
    /// Whether of each slice only the first of them is.
    is_first_only: bool,
    /// Whether their payload is kept.
    is_payload_kept: bool,
}

impl Steps {
    /// A walk for the messages of a filter.
    pub fn new(search: &Search, walk: Walk, filter: Filter) -> Self {
        let mut steps = Self::reading(search, walk, filter, |wanted, id, captured, _| {
            Some(wanted.message(id, captured)?.to_message())
        });
        Arc::make_mut(&mut steps.wanted).is_payload_kept = true;
        steps
    }
}

impl<M: Send + 'static> Steps<M> {
    /// The same, where something else is to be read of a message.
    pub fn reading(search: &Search, walk: Walk, filter: Filter, read: Read<M>) -> Self {
        let (needles, scope) = (filter.needles(), search.scope.clone());
        let wanted = Wanted { filter, needles, scope, is_first_only: false, is_payload_kept: false };
        let walk = Walk { limit: FIRST, ..walk };
        let search = search.clone();
        Self {
            search,
            walk,
            wanted: Arc::new(wanted),
            read,
            since_us: i64::MIN,
            is_rare: false,
            is_whole: false,
            is_even: false,
            ahead: None,
            rest: None,
            walked: 0,
            read_bytes: 0,
        }
    }

    /// Of each slice only the first message that meets the filter is wanted.
    pub fn first_of_slices(mut self) -> Self {
        Arc::make_mut(&mut self.wanted).is_first_only = true;
        self
    }

    /// All of the walk is wanted, so the next slices are always fetched while these are read.
    pub fn whole(mut self) -> Self {
        self.is_whole = true;
        self
    }

    /// What was captured before this time, µs since the epoch, is not wanted any more.
    pub fn since(&mut self, since_us: i64) {
        self.since_us = self.since_us.max(since_us);
        self.walk.since_us = self.walk.since_us.max(Some(since_us));
    }

    /// The first step takes so many slices.
    pub fn beginning_with(mut self, slices: usize) -> Self {
        self.walk.limit = u32::try_from(slices).unwrap_or(MOST).min(MOST);
        self
    }

    /// The same, and a step takes as much as the one before, as soon as it is known how much that is.
    pub fn evenly(mut self) -> Self {
        self.is_even = true;
        self.whole()
    }

    /// Takes the next slices and moves on.
    pub async fn next(&mut self) -> Result<Step<M>, SearchError> {
        let Unread { slices, partial, mut next } = match self.rest.take() {
            Some(rest) => rest,
            None => self.fetch().await?,
        };
        let mut now = Arc::clone(&slices);
        let parts = loop {
            if let Some(parts) = self.read(&now).await? {
                break parts;
            }
            now = Arc::new(split(&slices, now.len() / 2).0);
        };
        let count = now.len();
        if count < slices.len() {
            let last = now.iter().max_by_key(|(place, _)| *place).map(|(_, slice)| slice.place());
            let (_, later) = split(&slices, count);
            self.rest =
                Some(Unread { slices: Arc::new(later), partial, next: std::mem::replace(&mut next, last) });
        }
        self.walked += count;
        let is_damaged = parts.iter().any(|part| part.is_damaged);
        self.read_bytes = parts.iter().map(|part| part.bytes).sum::<usize>() / count.max(1);
        let mut slices: Vec<_> = parts.into_iter().flat_map(|part| part.slices).collect();
        slices.sort_unstable_by_key(|(place, _)| *place);
        self.is_rare = slices.len() < count / RARE;
        let slices = slices.into_iter().map(|(_, slice)| slice).collect();
        Ok(Step { slices, partial: partial || is_damaged, next })
    }

    /// Fetches the next slices, and begins to fetch those after them where they will be wanted.
    async fn fetch(&mut self) -> Result<Unread, SearchError> {
        let Fetched { slices, partial, next } = match self.ahead.take() {
            Some(ahead) => ahead.await.map_err(|error| StoreError::Away(error.to_string()))??,
            None => Fetched::from(&*self.search.store, self.walk.clone()).await?,
        };
        let slices = Arc::new(pack::together(slices));
        self.walk.after = next.or(self.walk.after);
        let is_known = self.is_rare || self.read_bytes > 0;
        let wished = if self.is_even && !is_known { self.walk.limit } else { self.walk.limit * 2 };
        self.walk.limit = self.limit_after(wished, &slices);
        let goes_on = self.is_whole || (self.is_long(slices.len()) && self.is_rare);
        if next.is_some() && goes_on {
            let (store, walk) = (Arc::clone(&self.search.store), self.walk.clone());
            let ahead = tokio::spawn(async move { Fetched::from(&*store, walk).await });
            self.ahead = Some(AbortOnDropHandle::new(ahead));
        }
        Ok(Unread { slices, partial, next })
    }

    /// Whether a step of so many slices is one of a long walk.
    fn is_long(&self, count: usize) -> bool {
        count >= LONG || (self.walked + count >= LONG && !self.is_even)
    }

    /// Reads slices; `None` where that is more than is held at a time.
    async fn read(&self, stored: &Arc<Vec<Numbered>>) -> Result<Option<Vec<Part<M>>>, SearchError> {
        let count = stored.len();
        let (wanted, read, since_us) = (Arc::clone(&self.wanted), self.read, self.since_us);
        let most = if count > 1 { MOST_READ_BYTES } else { usize::MAX };
        let held = Arc::new(AtomicUsize::new(0));
        let read = {
            let held = Arc::clone(&held);
            move |part: &[Numbered]| wanted.read(part, since_us, read, &held, most)
        };
        // Reading takes processor time, which the runtime's own threads need for what comes in.
        let parts = if count <= FEW {
            vec![read(stored)]
        } else {
            readers::share(Arc::clone(stored), self.is_long(count), read).await?
        };
        Ok((held.load(Ordering::Relaxed) <= most).then_some(parts))
    }

    /// How many slices the step after these takes, at most so many as are wished.
    fn limit_after(&self, wished: u32, slices: &[Numbered]) -> u32 {
        let (most, most_bytes) =
            if self.is_rare { (MOST_OF_RARE, MOST_BYTES_OF_RARE) } else { (MOST, MOST_BYTES) };
        let packs = slices.chunk_by(|(_, a), (_, b)| pack::is_one(a, b)).filter_map(<[_]>::first);
        let bytes: usize = packs.map(|(_, slice)| slice.blob.len()).sum();
        let fetched = slices.len().saturating_mul(most_bytes).checked_div(bytes).unwrap_or(usize::MAX);
        let read_bytes = if self.is_even { EVEN_READ_BYTES } else { USUAL_READ_BYTES };
        let read = read_bytes.checked_div(self.read_bytes).unwrap_or(usize::MAX);
        wished.min(u32::try_from(fetched.min(read)).unwrap_or(most)).clamp(1, most)
    }
}

/// The first so many of these slices in the order of the walk, and the others.
fn split(slices: &[Numbered], first: usize) -> (Vec<Numbered>, Vec<Numbered>) {
    let begin = slices.iter().map(|(place, _)| *place).min().unwrap_or_default();
    slices.iter().cloned().partition(|(place, _)| place - begin < first)
}

impl Fetched {
    /// The next slices of a walk: as many as it asks for, or fewer where they are large.
    pub async fn from(store: &dyn Store, mut walk: Walk) -> Result<Self, StoreError> {
        loop {
            match store.walk(&walk).await {
                Ok(Walked { slices, partial }) => {
                    let is_full = slices.len() >= walk.limit as usize;
                    let next = slices.last().filter(|_| is_full).map(StoredSlice::place);
                    return Ok(Self { slices, partial, next });
                }
                Err(StoreError::TooMuch) if walk.limit > 1 => walk.limit /= 2,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Wanted {
    /// The message, with its facts, where it lies.
    pub fn message<'a>(&self, id: MessageId, captured: &'a CapturedRef<'_>) -> Option<MessageRef<'a>> {
        let message = self.filter.may_accept(captured).then(|| MessageRef::read(id, captured))?;
        let call_id = message.sip.call_id.as_deref();
        let in_scope =
            || self.scope.as_ref().is_none_or(|scope| scope.holds(message.kind, captured, call_id));
        (self.filter.accepts_facts(&message) && in_scope()).then_some(message)
    }

    /// The message in brief, with its Call-ID, for a filter without conditions on facts.
    pub fn brief<'a>(
        &self,
        id: MessageId,
        captured: &'a CapturedRef<'_>,
    ) -> Option<(Brief, Option<Cow<'a, str>>)> {
        if !self.filter.may_accept(captured) {
            return None;
        }
        let (brief, call_id) = Brief::read(id, captured);
        let call_id = call_id.map(lossy);
        let in_scope = |scope: &Scope| scope.holds(brief.kind, captured, call_id.as_deref());
        self.scope.as_ref().is_none_or(in_scope).then_some((brief, call_id))
    }

    /// Reads slices, those of a pack together, until so many octets are held by all who read.
    fn read<M>(
        &self,
        stored: &[Numbered],
        since_us: i64,
        read: Read<M>,
        held: &AtomicUsize,
        most: usize,
    ) -> Part<M> {
        let mut part = Part { slices: Vec::new(), bytes: 0, is_damaged: false };
        let mut text = Vec::new();
        for of_pack in stored.chunk_by(|(_, a), (_, b)| pack::is_one(a, b)) {
            if held.load(Ordering::Relaxed) > most {
                break;
            }
            let (mut bytes, written) = (0, text.len());
            let wanted = |octets: &[u8]| self.needles.iter().all(|needle| needle.are_in(octets));
            let visited = pack::visit(of_pack, wanted, |place, id, captured| {
                let is_first = part.slices.last().is_none_or(|(last, _)| *last != place);
                if captured.captured_at_us < since_us || (self.is_first_only && !is_first) {
                    return;
                }
                let Some(message) = read(self, id, &captured, &mut text) else { return };
                bytes += size_of::<M>() + if self.is_payload_kept { captured.raw.len() } else { 0 };
                if is_first {
                    part.slices.push((place, ReadSlice { messages: Vec::new(), text: Bytes::new() }));
                }
                if let Some((_, slice)) = part.slices.last_mut() {
                    slice.messages.push(message);
                }
            });
            bytes += text.len() - written;
            held.fetch_add(bytes, Ordering::Relaxed);
            part.bytes += bytes;
            if let Err(error) = visited {
                let slice = of_pack.first().map(|(_, slice)| slice.id);
                tracing::error!(slice, %error, "what is damaged of a pack is left out");
                part.is_damaged = true;
            }
        }
        if !text.is_empty() {
            text.shrink_to_fit();
            let text = Bytes::from(text);
            part.slices.iter_mut().for_each(|(_, slice)| slice.text = text.clone());
        }
        part
    }
}

#[cfg(test)]
mod tests;
