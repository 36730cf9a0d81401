//! Long walks: what has no key is looked for in every slice.

use super::*;
use crate::store::{MOST_WALKED_BYTES, StoreError};

/// Slices of all flushes.
const SLICES: i64 = 12_000;

/// One call in so many has what is looked for.
const RARE: i64 = 997;

/// Flushes of different sizes, some of them late, so that neighbours in time are not neighbours in the store.
async fn filled(store: &Arc<dyn Store>) -> Vec<i64> {
    let calls = |numbers: Box<dyn Iterator<Item = i64>>| {
        numbers.map(|n| {
            let call = &*format!("call-{n:05}@host").leak();
            let rare = n % RARE == RARE / 2;
            let from = if rare { "needle-7" } else { "alice" };
            Draft { at_us: n * 10_000, call, from, ..Draft::default() }.message()
        })
    };
    let parts: [Box<dyn Iterator<Item = i64>>; 4] = [
        Box::new((0..4000).step_by(2)),
        Box::new(4000..9000),
        Box::new((0..4000).skip(1).step_by(2)),
        Box::new(9000..SLICES),
    ];
    for (offset, part) in (1..).zip(parts) {
        write(store, offset, calls(part).collect()).await;
    }
    (0..SLICES).rev().filter(|n| n % RARE == RARE / 2).map(|n| n * 10_000).collect()
}

pub(super) async fn what_is_rare_is_found_wherever_it_is_in_a_long_walk(store: &Arc<dyn Store>) {
    let all = filled(store).await;
    let search = Search::new(Arc::clone(store), Arc::default());
    let user = |user: UserFilter| Filter { from_user: Some(user), ..Filter::default() };
    let filters = [
        Filter { contains: Some(Octets::of("<sip:needle-7@")), ..Filter::default() },
        user(UserFilter::Prefix("need".into())),
        user(UserFilter::Suffix("le-7".into())),
        Filter {
            header: Some(HeaderFilter::parse("f: <sip:needle-7@example.net>;tag=1").expect("a header")),
            ..Filter::default()
        },
        Filter { not: Some(Box::new(user(UserFilter::Exact("alice".into())))), ..Filter::default() },
    ];
    for filter in filters {
        for limit in [5, 1000] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let list = search.messages(&filter, &page(limit, cursor)).await.expect("found");
                assert!(!list.partial);
                found.extend(list.items.iter().map(at));
                cursor = list.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, all, "{limit} a page of {filter:?}");
        }
    }
    let nowhere = Filter { contains: Some(Octets::of("Needle-7")), ..Filter::default() };
    let list = search.messages(&nowhere, &page(10, None)).await.expect("an answer");
    assert!(list.items.is_empty() && !list.partial && list.next_cursor.is_none());
}

/// Messages of so many octets that do not compress.
const LARGE: usize = 60_000;

pub(super) async fn what_is_too_much_for_one_step_comes_in_several(store: &Arc<dyn Store>) {
    const MESSAGES: i64 = 100;
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let mut large = |n: i64| {
        let call = format!("large-{n}@host").leak();
        let draft = Draft { at_us: n, call, session: Some("large"), ..Draft::default() };
        let mut raw = draft.message().captured.raw.to_vec();
        raw.extend((0..LARGE).map(|_| noise()));
        draft.captured(raw)
    };
    write(store, 1, (0..MESSAGES).map(&mut large).collect()).await;
    for key in [Key::EVERYTHING, Key::correlation("large")] {
        let walk = Walk { keys: key.into(), limit: 1000, ..Walk::default() };
        let walked = store.walk(&walk).await;
        assert!(matches!(walked, Err(StoreError::TooMuch)), "more than {MOST_WALKED_BYTES} octets");
        let fewer = store.walk(&Walk { limit: 50, ..walk }).await.expect("a walk").slices;
        assert_eq!(fewer.len(), 50);
    }
    let search = Search::new(Arc::clone(store), Arc::default());
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let listed = search.messages(&Filter::default(), &page(1000, cursor)).await.expect("found");
        assert!(!listed.partial);
        found.extend(listed.items.iter().map(at));
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..MESSAGES).rev().collect::<Vec<_>>());
    let session = search.session("large", Window::default()).await.expect("an answer").expect("a session");
    assert_eq!((session.messages, session.partial), (100, false));
}
