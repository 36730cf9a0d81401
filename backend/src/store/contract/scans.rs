//! Long walks: what has no key is looked for in every slice.

use super::*;

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
