//! A walk over the store, step by step: slices are fetched, read and filtered. The one place where messages come from:
//! what the scope does not allow ends here.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::filter::{Filter, Octets};
use super::readers;
use super::scope::Scope;
use super::union::Union;
use super::{Search, SearchError};
use crate::call::brief::Brief;
use crate::call::message::{CapturedRef, Message, MessageId, MessageRef};
use crate::store::{Key, StoreError, StoredSlice, Walk, Walked, pack};
use crate::text::lossy;

/// How many slices the first step takes. Each takes twice as many as the one before, since who has walked that far walks on.
const FIRST: u32 = 256;

/// How many slices a step takes at most.
const MOST: u32 = 4096;

/// What the slices of a step come to at most, octets of blobs, as far as those of the step before tell. Read, they are some five times as much.
const MOST_BYTES: usize = 2 << 20;

/// What is found in fewer than one slice of so many is rare.
const RARE: usize = 16;

/// How many slices a step takes at most after one that found what is rare.
const MOST_OF_RARE: u32 = 8192;

/// What these come to at most, octets of blobs; twice that is held, since the next ones are fetched while these are read.
const MOST_BYTES_OF_RARE: usize = 3 << 20;

/// A step of so many slices is one of a long walk. Where what it looks for is rare, the next ones are fetched while these
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

/// What was read of some slices of a step.
struct Part<M> {
    /// With their places in the step.
    slices: Vec<(usize, ReadSlice<M>)>,
    is_damaged: bool,
}

/// A walk, with what its messages must meet and what is read of them.
pub struct Steps<M = Message> {
    search: Search,
    /// Where it goes on.
    pub walk: Walk,
    /// Where slices of more than one key are wanted.
    union: Option<Union>,
    wanted: Arc<Wanted>,
    read: Read<M>,
    /// What is older is not wanted any more, µs since the epoch.
    since_us: i64,
    /// Whether the last step found next to nothing: who looks for what is rare will look on.
    is_rare: bool,
    /// Whether it is known that all of the walk is wanted.
    is_whole: bool,
    /// Whether steps take more and more only as long as what they look for is rare.
    is_even: bool,
    /// What `walk` brings, fetched before it is asked for.
    ahead: Option<AbortOnDropHandle<Result<Walked, StoreError>>>,
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
}

impl Steps {
    /// A walk for the messages of a filter.
    pub fn new(search: &Search, walk: Walk, filter: Filter) -> Self {
        Self::reading(search, walk, filter, |wanted, id, captured, _| {
            Some(wanted.message(id, captured)?.to_message())
        })
    }
}

impl<M: Send + 'static> Steps<M> {
    /// The same, where something else is to be read of a message.
    pub fn reading(search: &Search, walk: Walk, filter: Filter, read: Read<M>) -> Self {
        let (needles, scope) = (filter.needles(), search.scope.clone());
        let wanted = Wanted { filter, needles, scope, is_first_only: false };
        let walk = Walk { limit: FIRST, ..walk };
        let search = search.clone();
        Self {
            search,
            walk,
            union: None,
            wanted: Arc::new(wanted),
            read,
            since_us: i64::MIN,
            is_rare: false,
            is_whole: false,
            is_even: false,
            ahead: None,
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

    /// The same, and slices of these keys besides that of the walk.
    pub fn with(mut self, others: Vec<Key>) -> Self {
        if let (Some(key), false) = (self.walk.key, others.is_empty()) {
            self.union = Some(Union::of(others.into_iter().chain([key])));
        }
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

    /// The same, and each step takes as many as the first, unless what it looks for is rare.
    pub fn evenly(mut self) -> Self {
        self.is_even = true;
        self.whole()
    }

    /// Takes the next slices and moves on.
    pub async fn next(&mut self) -> Result<Step<M>, SearchError> {
        let (stored, partial, next) = match (&mut self.union, self.ahead.take()) {
            (Some(union), _) => union.next(&*self.search.store, &self.walk).await?,
            (None, ahead) => {
                let Walked { slices, partial } = match ahead {
                    Some(ahead) => ahead.await.map_err(|error| StoreError::Away(error.to_string()))??,
                    None => self.search.store.walk(&self.walk).await?,
                };
                let full = slices.len() >= self.walk.limit as usize;
                let next = slices.last().filter(|_| full).map(StoredSlice::place);
                (slices, partial, next)
            }
        };
        let count = stored.len();
        let stored = pack::together(stored);
        self.walk.after = next.or(self.walk.after);
        let wished = if self.is_even && !self.is_rare { self.walk.limit } else { self.walk.limit * 2 };
        self.walk.limit = limit_after(wished, &stored, self.is_rare);
        let is_long = count >= LONG;
        let goes_on = self.is_whole || (is_long && self.is_rare);
        if next.is_some() && goes_on && self.union.is_none() {
            let (store, walk) = (Arc::clone(&self.search.store), self.walk);
            self.ahead = Some(AbortOnDropHandle::new(tokio::spawn(async move { store.walk(&walk).await })));
        }
        let (wanted, read, since_us) = (Arc::clone(&self.wanted), self.read, self.since_us);
        let read = move |part: &[(usize, StoredSlice)]| wanted.read(part, since_us, read);
        // Reading takes processor time, which the runtime's own threads need for what comes in.
        let parts =
            if count <= FEW { vec![read(&stored)] } else { readers::share(stored, is_long, read).await? };
        let is_damaged = parts.iter().any(|part| part.is_damaged);
        let mut slices: Vec<_> = parts.into_iter().flat_map(|part| part.slices).collect();
        slices.sort_unstable_by_key(|(place, _)| *place);
        self.is_rare = slices.len() < count / RARE;
        let slices = slices.into_iter().map(|(_, slice)| slice).collect();
        Ok(Step { slices, partial: partial || is_damaged, next })
    }
}

/// How many slices the step after this one takes, at most so many as are wished.
fn limit_after(wished: u32, stored: &[(usize, StoredSlice)], is_rare: bool) -> u32 {
    let (most, most_bytes) = if is_rare { (MOST_OF_RARE, MOST_BYTES_OF_RARE) } else { (MOST, MOST_BYTES) };
    let packs = stored.chunk_by(|(_, a), (_, b)| pack::is_one(a, b)).filter_map(<[_]>::first);
    let bytes: usize = packs.map(|(_, slice)| slice.blob.len()).sum();
    let fitting = stored.len().saturating_mul(most_bytes).checked_div(bytes).unwrap_or(usize::MAX);
    wished.min(u32::try_from(fitting).unwrap_or(most)).clamp(1, most)
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

    /// Reads slices, those of a pack together.
    fn read<M>(&self, stored: &[(usize, StoredSlice)], since_us: i64, read: Read<M>) -> Part<M> {
        let mut part = Part { slices: Vec::new(), is_damaged: false };
        let mut text = Vec::new();
        for of_pack in stored.chunk_by(|(_, a), (_, b)| pack::is_one(a, b)) {
            let wanted = |octets: &[u8]| self.needles.iter().all(|needle| needle.are_in(octets));
            let visited = pack::visit(of_pack, wanted, |place, id, captured| {
                let is_first = part.slices.last().is_none_or(|(last, _)| *last != place);
                if captured.captured_at_us < since_us || (self.is_first_only && !is_first) {
                    return;
                }
                let Some(message) = read(self, id, &captured, &mut text) else { return };
                if is_first {
                    part.slices.push((place, ReadSlice { messages: Vec::new(), text: Bytes::new() }));
                }
                if let Some((_, slice)) = part.slices.last_mut() {
                    slice.messages.push(message);
                }
            });
            if let Err(error) = visited {
                let slice = of_pack.first().map(|(_, slice)| slice.id);
                tracing::error!(slice, %error, "what is damaged of a pack is left out");
                part.is_damaged = true;
            }
        }
        if !text.is_empty() {
            let text = Bytes::from(text);
            part.slices.iter_mut().for_each(|(_, slice)| slice.text = text.clone());
        }
        part
    }
}
