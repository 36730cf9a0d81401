//! Any packets as a call: its summary does not depend on their order, its ladder draws each once between its hosts, and
//! its exports are whole. The first eight octets stretch the times, as those of a damaged store may be.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use siplens_backend::api::model;
use siplens_backend::call::brief::Brief;
use siplens_backend::call::ladder::{Ladder, RowKind};
use siplens_backend::call::message::{Message, MessageId};
use siplens_backend::call::summary::Summary;
use siplens_backend::call::{Call, event};
use siplens_backend::export::{pcap, text};

fuzz_target!(|octets: &[u8]| {
    let Some((stretch, octets)) = octets.split_first_chunk::<8>() else { return };
    let stretch = i64::from_le_bytes(*stretch);
    let read = |(index, mut captured): (u32, siplens_backend::call::message::Captured)| {
        if stretch != 0 {
            captured.captured_at_us = captured.captured_at_us.wrapping_mul(stretch);
        }
        Message::read(MessageId { slice: 1, index }, captured)
    };
    let all: Vec<_> = (0..).zip(common::captured(octets)).map(read).collect();
    let (mut events, mut messages): (Vec<_>, Vec<_>) = all.into_iter().partition(event::is_event);
    events.sort_by_key(Message::order);
    messages.sort_by_key(Message::order);
    if messages.is_empty() {
        return;
    }
    let paths = common::paths();
    let call_id = messages.iter().find_map(|m| m.sip.call_id.clone()).unwrap_or_default();
    let mut call = Call { call_id, messages, events, partial: false, listed_us: None };
    for tied in &call.events {
        let _ = paths.ties(tied, &call);
    }

    let ladder = Ladder::draw(&call);
    let timeline = call.timeline();
    let drawn: HashSet<_> = ladder.rows.iter().map(|row| row.message).collect();
    assert_eq!((drawn.len(), ladder.rows.len()), (timeline.len(), timeline.len()));
    for row in &ladder.rows {
        let message = timeline[row.message];
        assert!(row.from < ladder.hosts.len() && row.to < ladder.hosts.len());
        assert!(row.delta_us >= 0);
        assert_eq!(row.kind == RowKind::Note, event::is_event(message));
        assert_eq!(row.dialog.is_none(), event::is_event(message));
    }

    let file = pcap(&call);
    let mut rest = &file[24..];
    let mut packets = 0;
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let size = u32::from_le_bytes(head[8..12].try_into().expect("four octets")) as usize;
        assert!((1..=65_535).contains(&size));
        rest = after.get(size..).expect("a packet is whole");
        packets += 1;
    }
    assert!(rest.is_empty() && packets >= call.messages.len());
    let _ = text(&call);
    serde_json::to_vec(&model::Call::from(&call)).expect("a call can be written as JSON");

    let summary = Summary::read(&call);
    assert_eq!(summary.message_count, call.messages.len());
    let course = &summary.course;
    for interval in [course.setup_time_us, course.ring_time_us, course.duration_us] {
        assert!(interval.is_none_or(|interval| interval >= 0));
    }
    for message in call.messages.iter().chain(&call.events) {
        let captured = message.captured.lent();
        let (brief, call_id) = Brief::read(message.id, &captured);
        assert_eq!(brief, Brief::of(message));
        assert_eq!(call_id.map(String::from_utf8_lossy).as_deref(), message.sip.call_id.as_deref());
    }
    call.messages.reverse();
    assert_eq!(Summary::read(&call), summary);
});
