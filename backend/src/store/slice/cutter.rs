//! Messages → slices.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::table::Table;
use super::{
    Entry, InSession, Item, LentHeader, MAX_MESSAGES, MAX_PAYLOAD_BYTES, MAX_SPAN_US, Slice, SliceError,
};
use crate::call::event::EventPaths;
use crate::call::message::{Message, PROTOCOL_SIP};
use crate::parallel;
use crate::store::class::Teller;
use crate::store::pack::{self, Content, Pack};
use crate::store::{Dictionary, Key, Retention};

/// Longest content of a slice that is worth a sample, octets.
const LONGEST_SAMPLE: usize = 16 * 1024;

/// So many slices before its own is made, a message is brought near.
const AHEAD: usize = 3;

/// Cuts messages into slices: by call, correlation id and tenant, events apart from SIP, and each so that it keeps to
/// the bounds of a slice.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    /// What events are keyed by.
    pub paths: Arc<EventPaths>,
    /// What names the rule that a slice is kept under.
    pub retention: Arc<Retention>,
    /// What slices are compressed with.
    pub dictionary: Option<Arc<Dictionary>>,
    /// So many octets of what slices hold are wanted as samples.
    pub sample_bytes: usize,
    /// Slices of one pack have the same home among so many, for a store of several parts; with 0, any.
    pub homes: u64,
}

/// What became of some messages.
#[derive(Debug, Default)]
pub struct Cut {
    /// The slices, those that are most likely asked for together in one pack.
    pub packs: Vec<Pack>,
    /// Octets that the slices held before they were compressed.
    pub content_bytes: usize,
    /// Octets that the packs have.
    pub blob_bytes: usize,
    /// What some of them hold, one after the other.
    pub samples: Vec<u8>,
    /// The length of each sample.
    pub lengths: Vec<usize>,
    /// Places of the items that could not be put into a slice, and why.
    pub left_out: Vec<(usize, String)>,
}

/// The place of an item, in the order in which slices are made.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    session: u64,
    group: u64,
    captured_at_us: i64,
    item: u32,
}

impl Cutter {
    /// Cuts messages into slices.
    ///
    /// # Errors
    /// When one cannot be compressed, which only lack of memory brings about.
    pub fn cut(&self, messages: Vec<Message>) -> Result<Vec<Pack>, SliceError> {
        let items: Vec<_> = messages.iter().map(|m| Item::read(m.captured.lent(), &self.paths)).collect();
        let Cut { packs, left_out, .. } = self.cut_items(&items, 1);
        match left_out.into_iter().next() {
            Some((_, why)) => Err(SliceError::Header(why)),
            None => Ok(packs),
        }
    }

    /// Cuts items into slices, on so many threads. What cannot be put into one is left out, and all else is not.
    #[must_use]
    pub fn cut_items<'a>(&self, items: impl IntoIterator<Item = &'a Item<'a>>, threads: usize) -> Cut {
        let items: Vec<_> = items.into_iter().collect();
        let mut places: Vec<_> = (0..)
            .zip(&items)
            .map(|(place, item)| Place {
                session: item.session,
                group: item.group,
                captured_at_us: item.captured.captured_at_us,
                item: place,
            })
            .collect();
        places.sort_unstable();
        let mut parts = Vec::new();
        let mut rest = places.as_slice();
        let part = places.len().div_ceil(threads.max(1));
        while !rest.is_empty() {
            // A group is not torn apart.
            let mut end = part.min(rest.len());
            while rest
                .get(end)
                .is_some_and(|next| rest.get(end - 1).is_some_and(|last| last.group == next.group))
            {
                end += 1;
            }
            let (part, others) = rest.split_at(end);
            parts.push(part);
            rest = others;
        }
        let sample_bytes = self.sample_bytes / parts.len().max(1);
        let cut = |part: &[Place]| Part::new(self, &items, sample_bytes).cut(part);
        let mut all = Cut::default();
        for cut in parallel::map(parts, cut) {
            all.packs.extend(cut.packs);
            all.content_bytes += cut.content_bytes;
            all.blob_bytes += cut.blob_bytes;
            all.samples.extend(cut.samples);
            all.lengths.extend(cut.lengths);
            all.left_out.extend(cut.left_out);
        }
        all
    }
}

/// Messages that make a slice.
struct Run {
    /// Where it stands among all: those of a session of many stand together, all others in order of time.
    begin_us: i64,
    session: u64,
    first_us: i64,
    /// Of the places, in order of sessions and groups.
    places: Range<usize>,
}

/// A pack in the making.
#[derive(Default)]
struct Open {
    slices: Vec<Slice>,
    content: Content,
    /// Places of its items.
    items: Vec<u32>,
}

/// What one thread cuts.
struct Part<'a> {
    cutter: &'a Cutter,
    items: &'a [&'a Item<'a>],
    sample_bytes: usize,
    /// By home and retention rule.
    open: BTreeMap<(u64, Arc<str>), Open>,
    done: Cut,
    /// The slice at hand.
    slice: Vec<u8>,
    /// What its header says; empty between two slices, so that their memory is used again.
    hosts: Table<SocketAddr>,
    agents: Table<(u32, Option<&'a str>)>,
    entries: Vec<Entry>,
    cut: Vec<(u32, u32)>,
    /// What it is found by.
    keys: Vec<Key>,
}

impl<'a> Part<'a> {
    fn new(cutter: &'a Cutter, items: &'a [&'a Item<'a>], sample_bytes: usize) -> Self {
        Self {
            cutter,
            items,
            sample_bytes,
            open: BTreeMap::new(),
            done: Cut::default(),
            slice: Vec::new(),
            hosts: Table::default(),
            agents: Table::default(),
            entries: Vec::new(),
            cut: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn cut(mut self, places: &[Place]) -> Cut {
        let runs = self.runs(places);
        let mut messages: Vec<&Item<'_>> = Vec::new();
        for (n, run) in runs.iter().enumerate() {
            self.look_ahead(places, runs.get(n + 1..).unwrap_or_default());
            let places = places.get(run.places.clone()).unwrap_or_default();
            messages.clear();
            messages.extend(places.iter().filter_map(|place| self.items.get(place.item as usize)));
            // What is wrong with one message costs its slice, and nothing else.
            let encoded = catch_unwind(AssertUnwindSafe(|| self.encode(&messages)));
            match encoded.unwrap_or_else(|_| Err(SliceError::Header("a panic".into()))) {
                Ok((slice, rule)) => {
                    self.done.content_bytes += self.slice.len();
                    if self.slice.len() <= LONGEST_SAMPLE && self.done.samples.len() < self.sample_bytes {
                        self.done.samples.extend_from_slice(&self.slice);
                        self.done.lengths.push(self.slice.len());
                    }
                    self.put(slice, rule, places);
                }
                Err(error) => self
                    .done
                    .left_out
                    .extend(places.iter().map(|place| (place.item as usize, error.to_string()))),
            }
        }
        for ((_, rule), mut open) in self.open {
            open.close(&rule, self.cutter, &mut self.done);
        }
        self.done
    }

    /// What makes slices, in the order in which they are stored: neighbours are most likely asked for together.
    fn runs(&self, places: &[Place]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::with_capacity(places.len() / 2);
        let (mut begin, mut of_session) = (0, 0);
        while let Some(first) = places.get(begin) {
            let rest = places.get(begin..).unwrap_or_default();
            let end = begin + fitting(self.items, rest).count().clamp(1, rest.len());
            if runs.last().is_some_and(|last| last.session != first.session) {
                of_session = runs.len();
            }
            let first_us = first.captured_at_us;
            runs.push(Run { begin_us: first_us, session: first.session, first_us, places: begin..end });
            begin = end;
            let is_over = places.get(end).is_none_or(|next| next.session != first.session);
            let these = runs.get_mut(of_session..).unwrap_or_default();
            if is_over && these.len() >= pack::SLICES {
                let begin_us = these.iter().map(|run| run.first_us).min().unwrap_or(first_us);
                these.iter_mut().for_each(|run| run.begin_us = begin_us);
            }
        }
        runs.sort_unstable_by_key(|run| (run.begin_us, run.session, run.first_us, run.places.start));
        runs
    }

    /// Puts the slice at hand into a pack.
    fn put(&mut self, slice: Slice, rule: Arc<str>, places: &[Place]) {
        let home = if self.cutter.homes == 0 { 0 } else { slice.home_among(self.cutter.homes) };
        let open = self.open.entry((home, Arc::clone(&rule))).or_default();
        if !open.content.has_room(self.slice.len()) {
            open.close(&rule, self.cutter, &mut self.done);
        }
        open.content.push(slice.first_us, &self.slice);
        open.slices.push(slice);
        open.items.extend(places.iter().map(|place| place.item));
    }

    /// Brings near what the next slices are made of. What was read in order of receipt is met in another one here, and each message
    /// would be waited for.
    fn look_ahead(&self, places: &[Place], next: &[Run]) {
        let items = |run: usize| {
            let places = next.get(run).and_then(|run| places.get(run.places.clone())).unwrap_or_default();
            places.iter().filter_map(|place| self.items.get(place.item as usize))
        };
        for item in items(2 * AHEAD) {
            black_box((item.group, item.captured.captured_at_us, item.captured.raw.len()));
            black_box((item.facts.kind, item.facts.has_to_tag, item.captured.src.port()));
        }
        for item in items(AHEAD) {
            // The headers that are asked for, a line of the cache each; the processor sees where this goes.
            for octet in item.captured.raw.iter().step_by(64).take(8) {
                black_box(*octet);
            }
        }
    }

    /// Encodes messages of one group, in order of capture, as the slice at hand. With it, the rule that it is kept under.
    fn encode(&mut self, messages: &[&'a Item<'a>]) -> Result<(Slice, Arc<str>), SliceError> {
        let Self { cutter, slice, hosts, agents, entries, cut, keys, .. } = self;
        hosts.clear();
        agents.clear();
        entries.clear();
        cut.clear();
        keys.clear();
        let first = messages.first().ok_or_else(|| SliceError::Header("no message".into()))?;
        let first_us = first.captured.captured_at_us;
        let last_us = messages.last().map_or(first_us, |last| last.captured.captured_at_us);
        let mut class = Teller::default();
        let mut before = None;
        for (index, Item { captured, facts, keys: of_event, .. }) in (0..).zip(messages) {
            class.see(facts);
            cut.extend(captured.full_length.map(|length| (index, length)));
            entries.push(Entry {
                after_us: captured.captured_at_us.saturating_sub(first_us).unsigned_abs(),
                src: hosts.index(captured.src),
                dst: hosts.index(captured.dst),
                transport: captured.transport as u8,
                protocol_type: captured.protocol_type,
                agent: agents.index((captured.agent_id, captured.agent_name.as_deref())),
                size: u32::try_from(captured.raw.len()).unwrap_or(u32::MAX),
            });
            Key::push_facts(facts, before.replace(facts), keys);
            keys.extend_from_slice(of_event);
        }
        let tenant = first.captured.tenant.as_deref();
        let correlation_id = first.captured.correlation_id.as_deref();
        let is_event = first.captured.protocol_type != PROTOCOL_SIP;
        let call_id = first.facts.call_id.as_deref().filter(|_| !is_event);
        let call = call_id.or(first.captured.call_id.as_deref()).map(Key::call);
        let correlation = correlation_id.map(Key::correlation);
        keys.extend(hosts.values.iter().map(|host| Key::host(host.ip())));
        keys.extend(call_id.map(Key::call));
        keys.extend(correlation);
        keys.extend(tenant.map(Key::tenant));
        // A call whose Call-ID is the correlation id is found by that.
        let in_session = correlation_id
            .filter(|id| call_id.is_some_and(|call_id| call_id != *id))
            .map(|id| InSession { key: Key::firsts(id), call: first.group });
        keys.sort_unstable();
        keys.dedup();

        let header = LentHeader {
            tenant,
            correlation_id,
            call_id: first.captured.call_id.as_deref(),
            hosts: &hosts.values,
            agents: &agents.values,
            entries,
            cut,
        };
        slice.clear();
        // One large slice does not keep its memory for ever.
        slice.shrink_to(LONGEST_SAMPLE);
        *slice = postcard::to_extend(&header, std::mem::take(slice))
            .map_err(|e| SliceError::Header(e.to_string()))?;
        messages.iter().for_each(|m| slice.extend_from_slice(&m.captured.raw));
        let class = class.class();
        let slice = Slice {
            first_us,
            last_us,
            home: call.or(correlation).unwrap_or(Key::EVERYTHING),
            count: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            class,
            keys: keys.clone(),
            in_session,
        };
        Ok((slice, cutter.retention.rule_of(class, tenant)))
    }
}

impl Open {
    /// Makes a pack of what is in it; then it is empty.
    fn close(&mut self, rule: &Arc<str>, cutter: &Cutter, done: &mut Cut) {
        let dictionary = cutter.dictionary.clone();
        let slices = std::mem::replace(&mut self.slices, Vec::with_capacity(pack::SLICES));
        match self.content.blob(dictionary.as_deref()) {
            Ok(blob) => {
                done.blob_bytes += blob.len();
                done.packs.push(Pack { slices, rule: Arc::clone(rule), dictionary, blob });
            }
            Err(error) => {
                let left_out = self.items.iter().map(|item| (*item as usize, error.to_string()));
                done.left_out.extend(left_out);
            }
        }
        self.items.clear();
    }
}

/// The items of the next slice: as many of these, at least one, as go into it.
fn fitting<'a>(items: &'a [&'a Item<'a>], places: &[Place]) -> impl Iterator<Item = &'a Item<'a>> {
    let mut items = places
        .iter()
        .filter_map(|place| items.get(place.item as usize).copied())
        .take(MAX_MESSAGES)
        .peekable();
    let first = items.peek().copied();
    let until = first.map_or(0, |first| first.captured.captured_at_us).saturating_add(MAX_SPAN_US);
    let mut bytes = 0;
    items.enumerate().map_while(move |(index, item)| {
        let captured = &item.captured;
        bytes += captured.raw.len() + captured.agent_name.as_ref().map_or(0, |name| name.len());
        let fits = captured.captured_at_us <= until
            && bytes <= MAX_PAYLOAD_BYTES
            && first.is_some_and(|first| first.is_with(item));
        (index == 0 || fits).then_some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::message::Captured;
    use crate::call::sample::{Sample, call, reply, request};
    use crate::store::{Class, Rule};

    fn cut(samples: &[Sample]) -> Slice {
        let mut packs = Cutter::default().cut(call(samples).messages).expect("packs");
        packs.pop().and_then(|mut pack| pack.slices.pop()).expect("a slice")
    }

    #[test]
    fn the_class_is_what_all_messages_are_about() {
        let in_dialog = |sample: Sample| sample.tags("a", Some("b"));
        for (samples, class) in [
            (vec![request(0, "INVITE"), reply(5, "INVITE", "100 Trying")], Class::Call),
            (vec![request(0, "REGISTER"), reply(5, "REGISTER", "401 Unauthorized")], Class::Registration),
            (vec![reply(5, "REGISTER", "200 OK")], Class::Registration),
            (vec![request(0, "OPTIONS"), in_dialog(reply(5, "OPTIONS", "200 OK"))], Class::Options),
            // Of a call whose side asks whether the other is there.
            (vec![in_dialog(request(0, "OPTIONS")), in_dialog(reply(5, "OPTIONS", "200 OK"))], Class::Call),
            // Which of both a reply alone belongs to cannot be told.
            (vec![in_dialog(reply(5, "OPTIONS", "200 OK"))], Class::Call),
            (vec![request(0, "OPTIONS"), request(5, "INVITE")], Class::Call),
            (vec![request(0, "OPTIONS"), request(5, "REGISTER")], Class::Call),
            (vec![request(0, "MESSAGE")], Class::Call),
        ] {
            assert_eq!(cut(&samples).class, class, "{samples:?}");
        }
        let mut event = call(&[request(0, "INVITE")]).messages;
        event[0] = Message::read(event[0].id, Captured { protocol_type: 100, ..event[0].captured.clone() });
        assert_eq!(Cutter::default().cut(event).expect("packs")[0].slices[0].class, Class::Event);
    }

    #[test]
    fn tenants_are_kept_apart_and_their_slices_found_by_a_key() {
        let mut messages =
            call(&[request(0, "INVITE"), reply(5, "INVITE", "100 Trying"), request(9, "ACK")]).messages;
        messages[1].captured.tenant = Some("acme".into());
        let rule = Rule {
            name: "acme's".into(),
            classes: Vec::new(),
            tenants: vec!["acme".into()],
            bounds: Default::default(),
        };
        let retention = Arc::new(Retention { rules: [rule].into(), ..Retention::default() });
        let packs = Cutter { retention, ..Cutter::default() }.cut(messages).expect("packs");
        let slices = packs.iter().flat_map(|pack| pack.slices.iter().map(|slice| (slice, &*pack.rule)));
        let mut told: Vec<_> =
            slices.map(|(s, rule)| (s.count, rule, s.keys.contains(&Key::tenant("acme")))).collect();
        told.sort_unstable();
        assert_eq!(told, [(1, "acme's", true), (2, "default", false)]);
    }

    /// What differs between messages that are otherwise alike.
    fn varied() -> Vec<Captured> {
        let sample = call(&[request(0, "INVITE")]).messages.remove(0).captured;
        let of = |n: u32| Captured {
            captured_at_us: sample.captured_at_us + i64::from(n * 7919 % 300) * 1_000,
            src: ([10, 0, 0, u8::try_from(n % 50).unwrap_or(0)], 5060).into(),
            correlation_id: (!n.is_multiple_of(3)).then(|| format!("session {}", n % 5).into()),
            agent_name: (!n.is_multiple_of(4)).then(|| format!("agent {}", n % 40).into()),
            raw: format!("INVITE sip:{n}@h SIP/2.0\r\nCall-ID: {}\r\n\r\n", n % 11).into_bytes().into(),
            ..sample.clone()
        };
        (0..2000).map(of).collect()
    }

    #[test]
    fn every_message_is_in_one_slice_whatever_the_number_of_threads() {
        let messages = varied();
        let paths = EventPaths::default();
        let items: Vec<_> = messages.iter().map(|m| Item::read(m.lent(), &paths)).collect();
        let slices = |cut: &Cut| {
            let mut slices: Vec<_> = cut.packs.iter().flat_map(|pack| pack.slices.clone()).collect();
            slices.sort_unstable_by_key(|s| (s.first_us, s.home.hash(), s.keys.clone()));
            slices
        };
        let one = Cutter::default().cut_items(&items, 1);
        assert_eq!(one.left_out, []);
        for threads in [2, 3, 64, 5000] {
            let several = Cutter::default().cut_items(&items, threads);
            assert_eq!(slices(&several), slices(&one), "{threads}");
            assert_eq!(several.packs.iter().map(Pack::messages).sum::<u64>(), 2000);
        }
        let mut read = Vec::new();
        for pack in one.packs {
            for (Slice { last_us, count, .. }, stored) in pack.slices.iter().zip(pack.stored(8)) {
                let these = stored.messages().expect("readable");
                assert_eq!(these.last().map(|m| m.captured.captured_at_us), Some(*last_us));
                assert_eq!(these.len(), *count as usize);
                assert!(these.iter().all(|m| m.sip.call_id == these[0].sip.call_id));
                read.extend(these.into_iter().map(|m| m.captured));
            }
        }
        let order = |m: &Captured| (m.captured_at_us, m.raw.clone());
        let mut messages = messages;
        messages.sort_by_key(order);
        read.sort_by_key(order);
        assert_eq!(read, messages);
    }

    /// Calls of a session each, which begin one after the other at the same time as those of a large session.
    fn interleaved() -> Vec<Captured> {
        let sample = call(&[request(0, "INVITE")]).messages.remove(0).captured;
        let of = |n: i64| Captured {
            captured_at_us: sample.captured_at_us + n * 1_000,
            correlation_id: (n % 4 == 0).then(|| "large".into()),
            raw: format!("INVITE sip:{n}@h SIP/2.0\r\nCall-ID: {n}\r\n\r\n").into_bytes().into(),
            ..sample.clone()
        };
        (0..400).map(of).collect()
    }

    #[test]
    fn what_is_asked_for_together_is_in_one_pack() {
        let messages = interleaved();
        let paths = EventPaths::default();
        let items: Vec<_> = messages.iter().map(|m| Item::read(m.lent(), &paths)).collect();
        let packs = Cutter::default().cut_items(&items, 1).packs;
        let large = Key::correlation("large");
        let pure =
            packs.iter().filter(|pack| pack.slices.iter().all(|slice| slice.keys.contains(&large))).count();
        assert!(pure >= 400 / 4 / pack::SLICES - 1, "{pure}");
        let others = packs.iter().flat_map(|pack| &pack.slices).filter(|slice| !slice.keys.contains(&large));
        assert!(others.is_sorted_by_key(|slice| slice.first_us), "in order of time");
        assert!(packs.iter().all(|pack| (1..=pack::SLICES).contains(&pack.slices.len())));
        assert!(packs.len() <= 400 / pack::SLICES + 1);
        let apart = Cutter { homes: 9, ..Cutter::default() }.cut_items(&items, 1).packs;
        assert!(
            apart.iter().all(|pack| pack.slices.windows(2).all(|s| s[0].home_among(9) == s[1].home_among(9)))
        );
        assert!(apart.len() <= 400 / pack::SLICES + 9);
    }

    #[test]
    fn slices_of_different_rules_are_in_different_packs_and_large_ones_alone() {
        let rule = Rule {
            name: "pings".into(),
            classes: vec![Class::Options],
            tenants: Vec::new(),
            bounds: Default::default(),
        };
        let retention = Arc::new(Retention { rules: [rule].into(), ..Retention::default() });
        let sample = call(&[request(0, "INVITE")]).messages.remove(0).captured;
        let of = |n: i64| {
            let method = if n % 2 == 0 { "INVITE" } else { "OPTIONS" };
            let body = if n == 6 { 20_000 } else { 0 };
            let raw =
                format!("{method} sip:b@h SIP/2.0\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\n\r\n{:body$}", "");
            Captured {
                captured_at_us: sample.captured_at_us + n,
                raw: raw.into_bytes().into(),
                ..sample.clone()
            }
        };
        let messages: Vec<_> = (0..12).map(of).map(|m| Message::read(Default::default(), m)).collect();
        let packs = Cutter { retention, ..Cutter::default() }.cut(messages).expect("packs");
        let mut told: Vec<_> = packs.iter().map(|pack| (&*pack.rule, pack.slices.len())).collect();
        told.sort_unstable();
        assert_eq!(told, [("default", 1), ("default", 2), ("default", 3), ("pings", 6)]);
    }

    #[test]
    fn samples_are_what_slices_hold_as_many_as_are_wanted() {
        let messages = varied();
        let paths = EventPaths::default();
        let items: Vec<_> = messages.iter().map(|m| Item::read(m.lent(), &paths)).collect();
        let none = Cutter::default().cut_items(&items, 2);
        assert_eq!((none.samples.len(), none.lengths.len()), (0, 0));
        let some = Cutter { sample_bytes: 8000, ..Cutter::default() }.cut_items(&items, 2);
        assert_eq!(some.lengths.iter().sum::<usize>(), some.samples.len());
        assert!((8000..8000 + 2 * LONGEST_SAMPLE).contains(&some.samples.len()), "{}", some.samples.len());
        assert!(some.blob_bytes < some.content_bytes, "{} {}", some.blob_bytes, some.content_bytes);
    }
}
