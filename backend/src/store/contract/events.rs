//! Events: kept, found by what they name, and shown in their calls only.

use super::*;
use crate::call::event::{EventPaths, JsonPath};
use crate::search::counts::Counting;
use crate::search::filter::JsonFilter;

fn paths() -> EventPaths {
    let read = |text: &str| JsonPath::parse(text).expect("a path");
    EventPaths { call_id: vec![read("call_id")], index: vec![read("report.ssrc")] }
}

fn event(at_us: i64, protocol_type: u8, correlation_id: Option<&'static str>, raw: &[u8]) -> Message {
    let draft = Draft { at_us, session: correlation_id, ..Draft::default() };
    let mut captured = draft.captured(raw.to_vec()).captured;
    captured.protocol_type = protocol_type;
    Message::read(MessageId::default(), captured)
}

fn about(call_id: &str, event: Message) -> Message {
    let captured = Captured { call_id: Some(call_id.into()), ..event.captured };
    Message::read(MessageId::default(), captured)
}

async fn write_events(store: &Arc<dyn Store>, offset: u64, messages: Vec<Message>) {
    write_keyed(store, offset, messages, paths()).await;
}

async fn write_keyed(store: &Arc<dyn Store>, offset: u64, messages: Vec<Message>, paths: EventPaths) {
    store.note_paths(&paths.set()).await.expect("noted");
    let packs = Cutter { paths: Arc::new(paths), ..Cutter::default() }.cut(messages).expect("packs");
    let flush = Flush { packs, end: Position { segment: 1, offset } };
    store.write(&flush).await.expect("written");
}

fn search(store: &Arc<dyn Store>) -> Search {
    Search::new(Arc::clone(store), Arc::new(paths()))
}

fn times(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(at).collect()
}

pub(super) async fn events_are_shown_in_the_calls_they_name_and_in_no_others(store: &Arc<dyn Store>) {
    const SECOND: i64 = 1_000_000;
    let call = |at_us, call, session| Draft { at_us, call, session, ..Draft::default() }.message();
    write_events(
        store,
        1,
        vec![
            call(0, "a@host", Some("s")),
            call(SECOND, "b@host", Some("s")),
            call(60 * SECOND, "c@host", Some("s")),
            call(0, "d@host", Some("d@host")),
            // Of the session: for whichever of its calls were going on.
            event(10, 100, Some("s"), b"early"),
            // Of one of them, as its agent says.
            about("b@host", event(20, 100, Some("s"), b"of one call")),
            about("b@host", event(21, 35, Some("s"), br#"{"call_id":"a@host"}"#)),
            event(61 * SECOND, 100, Some("s"), b"late"),
            event(30 * SECOND, 100, Some("s"), b"between the calls"),
        ],
    )
    .await;
    // Of one call, long after it, and in a flush of its own.
    write_events(
        store,
        2,
        vec![
            event(500 * SECOND, 35, Some("s"), br#"{"call_id":"a@host","report":{"ssrc":7}}"#),
            event(501 * SECOND, 5, None, br#"{"call_id":"b@host"}"#),
            event(502 * SECOND, 100, Some("d@host"), b"by its Call-ID"),
            event(503 * SECOND, 100, Some("e@host"), b"of a call that was not captured"),
            event(504 * SECOND, 200, None, b"\0\xff of nothing"),
        ],
    )
    .await;
    let search = search(store);
    let events = async |call_id: &str| {
        let call = search.call(call_id, None, Window::default()).await.expect("found").expect("the call");
        assert_eq!((call.messages.len(), call.partial), (1, false));
        times(&call.events)
    };
    assert_eq!(events("a@host").await, [10, 500 * SECOND]);
    assert_eq!(events("b@host").await, [10, 20, 21, 501 * SECOND]);
    assert_eq!(events("c@host").await, [61 * SECOND]);
    assert_eq!(events("d@host").await, [502 * SECOND]);
    assert!(search.call("e@host", None, Window::default()).await.expect("no error").is_none());

    let window = Window { since_us: None, until_us: Some(START_US + 400 * SECOND) };
    let call = search.call("a@host", Some("s"), window).await.expect("found").expect("the call");
    assert_eq!(times(&call.events), [10]);
    let session = search.session("s", Window::default()).await.expect("found").expect("the session");
    assert_eq!((session.messages, session.events, session.calls), (3, 6, 3));
}

pub(super) async fn events_are_found_by_their_hep_fields_and_their_json(store: &Arc<dyn Store>) {
    write_events(
        store,
        1,
        vec![
            Draft { session: Some("s"), ..Draft::default() }.message(),
            event(1, 100, Some("s"), b"{\"call_id\": not JSON"),
            event(2, 38, None, br#"{"report":{"ssrc":4294967295},"codec":"PCMA"}"#),
            event(3, 38, Some("t"), br#"[{"report":{"ssrc":4294967295}}]"#),
            event(4, 0, None, b""),
        ],
    )
    .await;
    let search = search(store);
    let found =
        async |filter: Filter| times(&search.messages(&filter, &page(9, None)).await.expect("found").items);
    let of_type = |protocol_type| Filter { protocol_type: Some(protocol_type), ..Filter::default() };
    assert_eq!(found(of_type(100)).await, [1]);
    assert_eq!(found(of_type(38)).await, [3, 2]);
    assert_eq!(found(of_type(0)).await, [4]);
    assert_eq!(found(of_type(1)).await, [0]);
    assert!(found(of_type(99)).await.is_empty());
    assert_eq!(found(Filter { correlation_id: Some("s".into()), ..of_type(100) }).await, [1]);
    assert!(found(Filter { correlation_id: Some("t".into()), ..of_type(100) }).await.is_empty());
    let src = AddressFilter::parse("src", "10.0.0.1").expect("an address");
    assert_eq!(found(Filter { src: Some(src), agent_id: Some(1), ..of_type(38) }).await, [3, 2]);
    let json = |text| Filter { json: Some(JsonFilter::parse(text).expect("a pair")), ..Filter::default() };
    // The first is indexed, the others are looked for.
    assert_eq!(found(json("report.ssrc=4294967295")).await, [2]);
    assert_eq!(found(json("0.report.ssrc=4294967295")).await, [3]);
    assert_eq!(found(json("codec=PCMA")).await, [2]);
    assert!(found(json("codec=PCM")).await.is_empty());
}

/// A backend that does not know a path yet, one that does, and one that does not any more take turns: whatever is keyed or not, all is found,
/// in order, page by page, and counted.
pub(super) async fn a_path_finds_also_what_was_stored_before_it_was_indexed(store: &Arc<dyn Store>) {
    const EVENTS: i64 = 1200;
    let json = |n: i64| match n % 3 {
        0 => br#"{"report":{"ssrc":7}}"#.to_vec(),
        1 => br#"{"report":{"ssrc":8},"call_id":"a@host"}"#.to_vec(),
        _ => format!("{{\"other\":{n}}}").into_bytes(),
    };
    let before = EventPaths { index: Vec::new(), ..paths() };
    for (turn, keyed_by) in
        [before.clone(), paths(), EventPaths::default(), paths(), before].into_iter().enumerate()
    {
        // Each turn's events are captured in between those of the others.
        let of_turn = (0..EVENTS).filter(|n| n % 5 == turn as i64);
        let events = of_turn.map(|n| event(n * 10_000, 35, None, &json(n))).collect();
        write_keyed(store, turn as u64 + 1, events, keyed_by).await;
    }
    let search = search(store);
    let filter =
        Filter { json: Some(JsonFilter::parse("report.ssrc=7").expect("a pair")), ..Filter::default() };
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let listed = search.messages(&filter, &page(37, cursor)).await.expect("found");
        assert!(!listed.partial);
        found.extend(times(&listed.items));
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..EVENTS).rev().filter(|n| n % 3 == 0).map(|n| n * 10_000).collect();
    assert_eq!(found, expected);
    let counting = Counting { by: None, interval_us: 3_600_000_000 };
    let counts = search.counts(&filter, counting).await.expect("counted");
    assert_eq!(counts.total.messages, expected.len() as u64);
    let window =
        Filter { since_us: Some(START_US + 5_000_000), until_us: Some(START_US + 6_000_000), ..filter };
    let listed = search.messages(&window, &page(1000, None)).await.expect("found").items;
    assert_eq!(
        times(&listed),
        (500..=600).rev().filter(|n| n % 3 == 0).map(|n| n * 10_000).collect::<Vec<_>>()
    );
    assert_eq!(store.noted_paths().await.expect("sets").len(), 3);
}

pub(super) async fn a_scope_never_shows_an_event(store: &Arc<dyn Store>) {
    write_events(
        store,
        1,
        vec![
            Draft { session: Some("s"), ..Draft::default() }.message(),
            event(1, 100, Some("s"), b"password of the database: 1234"),
            event(2, 100, Some("a@host"), b"password of the database: 1234"),
            event(3, 35, Some("s"), br#"{"call_id":"a@host"}"#),
        ],
    )
    .await;
    let whole = search(store).call("a@host", None, Window::default()).await.expect("found");
    assert_eq!(whole.expect("the call").events.len(), 3, "or this case proves nothing");
    for subject in [Subject::Call("a@host".into()), Subject::Session("s".into())] {
        let scope = Scope { subject, window: Window::default() };
        let scoped = Scoped::new(search(store), scope.clone());
        let call = scoped.call("a@host", Window::default()).await.expect("allowed").expect("the call");
        assert_eq!((call.messages.len(), call.events.len()), (1, 0), "{scope:?}");
        let calls = scoped.calls(&page(9, None), Window::default()).await.expect("allowed").items;
        assert!(calls.iter().all(|call| call.messages.len() == 1 && call.events.is_empty()));
        if let Ok(session) = scoped.session(Window::default()).await {
            let session = session.expect("the session");
            assert_eq!((session.messages, session.events), (1, 0));
            assert_eq!(session.last_seen_us, START_US);
        }
    }
    // A session of which only events were captured shows nothing at all.
    let scope = Scope { subject: Subject::Session("a@host".into()), window: Window::default() };
    assert!(Scoped::new(search(store), scope).session(Window::default()).await.expect("allowed").is_none());
}
