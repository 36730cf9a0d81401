//! Lists, page by page, against a plain sort over everything that is stored.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::call::Call;
use crate::call::event::PathSet;
use crate::search::Listing;
use crate::store::slice::MAX_SPAN_US;
use crate::store::{Dictionary, Plan, Retention, StoreError, Walked};

/// Numbers that look like chance, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).expect("small")]
    }
}

const LINES: [(&str, &str); 4] = [
    ("INVITE sip:bob@example.net SIP/2.0", "1 INVITE"),
    ("SIP/2.0 486 Busy Here", "1 INVITE"),
    ("SIP/2.0 200 OK", "2 BYE"),
    ("SIP/2.0 200 OK", "1 INVITE"),
];

/// Flushes that overlap: calls of one message and of many, equal times, spans that are longer than a slice's, late messages, and what
/// was stored before.
fn traffic(random: &mut Random) -> Vec<Vec<Message>> {
    let calls: Vec<&'static str> = (0..40).map(|n| &*format!("call-{n:02}@host").leak()).collect();
    let mut flushes: Vec<Vec<Message>> = Vec::new();
    for flush in 0..5_i64 {
        let mut messages = Vec::new();
        for _ in 0..48 {
            let late_us = if random.below(8) == 0 { 5 * MAX_SPAN_US } else { MAX_SPAN_US };
            let at_us =
                flush * 900_000 - i64::try_from(random.below(late_us.unsigned_abs())).expect("a time");
            // Many at the same microsecond.
            let at_us = if random.below(3) == 0 { at_us - at_us.rem_euclid(700_000) } else { at_us };
            // Some calls have most of the messages.
            let among = random.of(&[3, 10, 40]);
            let call = random.of(&calls[..among]);
            let (line, cseq) = random.of(&LINES);
            let from = random.of(&["alice", "alice", "carol"]);
            let session = random.of(&[None, Some("s")]);
            messages.push(Draft { at_us, call, line, cseq, from, session, ..Draft::default() }.message());
        }
        if let Some(before) = flushes.last() {
            messages.extend(before.iter().take(12).cloned());
        }
        flushes.push(messages);
    }
    flushes
}

/// All that is stored, read by one walk.
async fn everything(store: &Arc<dyn Store>) -> Vec<Message> {
    let walked = store.walk(&Walk { limit: 100_000, ..Walk::default() }).await.expect("a walk");
    walked.slices.iter().flat_map(|slice| slice.messages().expect("readable")).collect()
}

fn each_once(mut messages: Vec<Message>, newest_first: bool) -> Vec<Message> {
    messages.sort_by_key(Message::order);
    if newest_first {
        messages.reverse();
    }
    let mut seen = HashSet::new();
    messages.retain(|m| seen.insert(m.captured.clone()));
    messages
}

fn filters(random: &mut Random) -> Vec<Filter> {
    let user = |text: &str| Some(UserFilter::Exact(text.to_owned()));
    let mut filters = vec![
        Filter::default(),
        Filter { from_user: user("carol"), ..Filter::default() },
        Filter { status: Some(StatusFilter::Code(486)), ..Filter::default() },
        Filter { correlation_id: Some("s".into()), method: Some("BYE".into()), ..Filter::default() },
        Filter { call_id: Some("call-01@host".into()), ..Filter::default() },
        Filter { contains: Some(Octets::of("call-0")), ..Filter::default() },
        Filter { correlation_id: Some("s".into()), ..Filter::default() },
    ];
    for mut filter in filters.clone().into_iter().step_by(2) {
        let time = |random: &mut Random| {
            START_US - 4_000_000 + i64::try_from(random.below(8_000_000)).expect("a time")
        };
        let (a, b) = (time(random), time(random));
        filter.since_us = random.of(&[None, Some(a.min(b))]);
        filter.until_us = Some(a.max(b));
        filters.push(filter);
    }
    filters
}

/// The pages of a list, whole.
async fn all_of<T>(page: &Page, mut list: impl AsyncFnMut(&Page) -> Listing<T>) -> Vec<T> {
    let (mut found, mut page) = (Vec::new(), page.clone());
    loop {
        let list = list(&page).await;
        assert!(list.items.len() <= page.limit);
        found.extend(list.items);
        assert!(list.next_cursor.is_none() || list.next_cursor != page.cursor, "a page that does not go on");
        page.cursor = list.next_cursor;
        if page.cursor.is_none() {
            return found;
        }
    }
}

async fn messages_of(search: &Search, filter: &Filter, page: &Page) -> Vec<Message> {
    all_of(page, async |page| search.messages(filter, page).await.expect("a page")).await
}

pub(super) async fn calls_of(search: &Search, filter: &Filter, page: &Page) -> Vec<Call> {
    all_of(page, async |page| search.calls(filter, page).await.expect("a page")).await
}

pub(super) async fn pages_of_any_size_are_what_a_sort_of_everything_gives(store: &Arc<dyn Store>) {
    let mut random = Random(7);
    for (offset, messages) in (1..).zip(traffic(&mut random)) {
        write(store, offset, messages).await;
    }
    let all = everything(store).await;
    assert_eq!(all.len(), 5 * 48 + 4 * 12);
    let search = Search::new(Arc::clone(store), Arc::default());
    let mut by_call: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for message in each_once(all.clone(), false) {
        by_call.entry(message.sip.call_id.clone().expect("a Call-ID")).or_default().push(message);
    }
    let calls: Vec<_> = by_call
        .into_iter()
        .map(|(call_id, messages)| Call {
            call_id,
            messages,
            events: Vec::new(),
            partial: false,
            listed_us: None,
        })
        .collect();
    // Some pages run out of time at once, and go on all the same.
    let pages = [(1, 10_000), (7, 10_000), (1000, 10_000), (10_000, 10_000), (5, 0)];
    for filter in filters(&mut random) {
        let accepted = all.iter().filter(|m| filter.accepts(m)).cloned().collect();
        let messages = each_once(accepted, true);
        let of_place = filter.of_place(&Default::default());
        let mut listed: Vec<_> = calls
            .iter()
            .filter(|call| filter.accepts_call(call))
            .filter_map(|call| Some((call.messages.iter().find(|m| of_place.accepts(m))?.order(), call)))
            .collect();
        listed.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        assert!(!listed.is_empty(), "{filter:?}");
        for (limit, milliseconds) in pages {
            if limit == 1 && messages.len() > 30 {
                continue;
            }
            let page = Page { cursor: None, limit, time_limit: Duration::from_millis(milliseconds) };
            let found = messages_of(&search, &filter, &page).await;
            let orders = |messages: &[Message]| messages.iter().map(Message::order).collect::<Vec<_>>();
            assert_eq!(orders(&found), orders(&messages), "{page:?} {filter:?}");
            let found = calls_of(&search, &filter, &page).await;
            let found: Vec<_> =
                found.into_iter().map(|c| (c.listed_us, c.call_id, orders(&c.messages))).collect();
            let expected: Vec<_> = listed
                .iter()
                .map(|((at_us, _), call)| (Some(*at_us), call.call_id.clone(), orders(&call.messages)))
                .collect();
            assert_eq!(found, expected, "{page:?} {filter:?}");
        }
    }
}

/// Pages of what was there when the first was read are the same whatever comes in between them, if it is newer.
pub(super) async fn pages_stay_as_they_are_while_newer_messages_come(store: &Arc<dyn Store>) {
    let mut random = Random(11);
    let mut flushes = traffic(&mut random).into_iter();
    for (offset, messages) in (1..).zip(flushes.by_ref().take(3)) {
        write(store, offset, messages).await;
    }
    let search = Search::new(Arc::clone(store), Arc::default());
    let whole = Page { limit: 1000, ..Page::default() };
    let before = messages_of(&search, &Filter::default(), &whole).await;
    let calls_before = calls_of(&search, &Filter::default(), &whole).await;
    let newest_us = before.first().map_or(0, |m| m.captured.captured_at_us);
    let (mut messages, mut calls) = (Vec::new(), Vec::new());
    let mut of_messages = Page { limit: 29, ..Page::default() };
    let mut of_calls = Page { limit: 5, ..Page::default() };
    for offset in 4.. {
        let list = search.messages(&Filter::default(), &of_messages).await.expect("a page");
        messages.extend(list.items);
        of_messages.cursor = list.next_cursor;
        let list = search.calls(&Filter::default(), &of_calls).await.expect("a page");
        calls.extend(list.items.into_iter().map(|call| call.call_id));
        of_calls.cursor = list.next_cursor;
        if of_messages.cursor.is_none() || of_calls.cursor.is_none() {
            break;
        }
        let mut newer = flushes.next().unwrap_or_default();
        newer.iter_mut().for_each(|m| m.captured.captured_at_us += newest_us - START_US + 10_000_000);
        write(store, offset, newer).await;
    }
    assert!(messages.len() > 100 && calls.len() > 20, "{} {}", messages.len(), calls.len());
    assert!(before.iter().map(Message::order).take(messages.len()).eq(messages.iter().map(Message::order)));
    assert!(calls_before.into_iter().map(|call| call.call_id).take(calls.len()).eq(calls));
}

/// Counts the slices that are read of a store.
pub(super) struct Counting {
    store: Arc<dyn Store>,
    slices: AtomicUsize,
}

impl Counting {
    pub(super) fn of(store: &Arc<dyn Store>) -> Self {
        Self { store: Arc::clone(store), slices: AtomicUsize::new(0) }
    }

    pub(super) fn slices(&self) -> usize {
        self.slices.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for Counting {
    async fn checkpoint(&self) -> Result<Option<Position>, StoreError> {
        self.store.checkpoint().await
    }

    async fn write(&self, flush: &Flush) -> Result<(), StoreError> {
        self.store.write(flush).await
    }

    async fn note_paths(&self, paths: &PathSet) -> Result<(), StoreError> {
        self.store.note_paths(paths).await
    }

    async fn noted_paths(&self) -> Result<Vec<PathSet>, StoreError> {
        self.store.noted_paths().await
    }

    async fn newest_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        self.store.newest_dictionary().await
    }

    async fn walk(&self, walk: &Walk) -> Result<Walked, StoreError> {
        let walked = self.store.walk(walk).await?;
        self.slices.fetch_add(walked.slices.len(), Ordering::Relaxed);
        Ok(walked)
    }

    async fn plan(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.store.plan(retention, now_us).await
    }

    async fn retain(&self, retention: &Retention, now_us: i64) -> Result<Plan, StoreError> {
        self.store.retain(retention, now_us).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}

/// What is looked for is not the last message of its slices, so more slices than messages have to be read: those that end after
/// the last message of the page, and no others.
pub(super) async fn a_page_reads_no_slice_that_is_older_than_its_last_message(store: &Arc<dyn Store>) {
    const STEP_US: i64 = 10_000;
    const LATER_US: i64 = 1_200_000;
    let call = |n: i64| {
        let call = &*format!("call-{n:04}@host").leak();
        let of = |at_us, line, cseq| {
            let at_us = n * STEP_US + at_us;
            Draft { at_us, call, line, cseq, ..Draft::default() }.message()
        };
        [of(0, "SIP/2.0 486 Busy Here", "1 INVITE"), of(LATER_US, "ACK sip:bob@example.net SIP/2.0", "1 ACK")]
    };
    write(store, 1, (0..1000).flat_map(call).collect()).await;
    let counting = Arc::new(Counting::of(store));
    let search = Search::new(Arc::clone(&counting) as Arc<dyn Store>, Arc::default());
    let filter = Filter { status: Some(StatusFilter::Code(486)), ..Filter::default() };
    let listed = search.messages(&filter, &page(50, None)).await.expect("found");
    let newest: Vec<_> = (950..1000).rev().map(|n| n * STEP_US).collect();
    assert_eq!(listed.items.iter().map(at).collect::<Vec<_>>(), newest);
    let slices = counting.slices();
    // Those of the page, those that end while it goes on, and some that a step brings before that is known.
    assert!((170..=180).contains(&slices), "{slices}");
    let whole = Page { limit: 50, ..Page::default() };
    assert_eq!(messages_of(&search, &filter, &whole).await.len(), 1000);
}

/// Pages end where they are heavy enough: less than was asked for, but each has something, and all of them have everything, once.
pub(super) async fn a_page_of_large_messages_is_shorter_and_the_next_goes_on(store: &Arc<dyn Store>) {
    const MESSAGES: i64 = 60;
    let large = |n: i64| {
        let draft = || Draft { at_us: n, call: format!("large-{n}@host").leak(), ..Draft::default() };
        let mut raw = draft().message().captured.raw.to_vec();
        raw.resize(if n % 7 == 0 { 900 } else { 60_000 }, b'x');
        draft().captured(raw)
    };
    write(store, 1, (0..MESSAGES).map(large).collect()).await;
    let search = Search::new(Arc::clone(store), Arc::default());
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let listed = search.messages(&Filter::default(), &page(1000, cursor)).await.expect("found");
        let bytes: usize = listed.items.iter().map(|m| m.captured.raw.len()).sum();
        assert!(!listed.items.is_empty() && bytes <= 2 << 20, "{bytes}");
        found.extend(listed.items.iter().map(at));
        pages += 1;
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..MESSAGES).rev().collect::<Vec<_>>());
    assert!((2..5).contains(&pages), "{pages}");
    let calls = search.calls(&Filter::default(), &page(1000, None)).await.expect("found");
    assert_eq!((calls.items.len(), calls.next_cursor), (60, None), "less than a page of calls may weigh");
}
