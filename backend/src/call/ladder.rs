//! A call as a picture: hosts as columns, messages as arrows between them, events as notes across all of them, as plain
//! data.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::SocketAddr;

use serde::Serialize;
use utoipa::ToSchema;

use super::cause::in_order_of_cause;
use super::dialog::Dialogs;
use super::hosts::Hosts;
use super::message::{Kind, Message, MessageRef};
use super::{Call, event};

/// The picture of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ladder {
    /// The columns, in order of appearance. A connection's end that its host has opened is in the column of the socket at
    /// which that host listens, if the call has both.
    pub hosts: Vec<SocketAddr>,
    /// Arrows and notes, oldest first, except that no reply stands before its request and no ACK before what it acknowledges.
    pub rows: Vec<Row>,
}

/// What a row draws.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// A message, from one host to another.
    Arrow,
    /// An event, across all hosts.
    Note,
}

/// An arrow or a note.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// Which of the two.
    pub kind: RowKind,
    /// Index into the call's timeline.
    pub message: usize,
    /// Column of the sender; of a note, the first.
    pub from: usize,
    /// Column of the receiver; of a note, the last.
    pub to: usize,
    /// Method, or status and reason; of a note, its title.
    pub label: String,
    /// Time since the first row, µs.
    pub offset_us: i64,
    /// Time since the row before, µs; 0 where that one is not older.
    pub delta_us: i64,
    /// Whether the same message was seen by the same agent on the same hop before.
    pub retransmission: bool,
    /// Number of its dialog, from 0 on; `None` of a note.
    pub dialog: Option<usize>,
}

/// What makes a message the same as an earlier one: who saw it where, and the start line, transaction and CSeq.
/// RFC 3261 §17.1.
#[derive(Eq, Hash, PartialEq)]
struct Sent<'a> {
    agent_id: u32,
    hop: (SocketAddr, SocketAddr),
    start: (&'a Option<String>, Option<u16>, &'a Option<String>),
    branch: &'a Option<String>,
    cseq: Option<u32>,
    to_tag: &'a Option<String>,
}

impl Ladder {
    /// Draws a call, whose messages must be oldest first.
    #[must_use]
    pub fn draw(call: &Call) -> Self {
        let timeline = call.timeline();
        let order = in_order_of_cause(&timeline);
        let messages: Vec<&Message> =
            order.iter().filter_map(|index| timeline.get(*index).copied()).collect();
        let hosts = columns(&messages);
        let first_us = timeline.first().map_or(0, |m| m.captured.captured_at_us);
        let mut before_us = first_us;
        let mut seen = HashSet::new();
        let mut dialogs = Dialogs::default();
        let mut rows = Vec::with_capacity(messages.len());
        for (index, message) in order.into_iter().zip(&messages) {
            let captured = &message.captured;
            let is_event = event::is_event(message);
            rows.push(Row {
                kind: if is_event { RowKind::Note } else { RowKind::Arrow },
                message: index,
                from: if is_event { 0 } else { hosts.place(captured.src) },
                to: if is_event { hosts.list.len().saturating_sub(1) } else { hosts.place(captured.dst) },
                label: label(&message.lent()).into_owned(),
                offset_us: captured.captured_at_us.saturating_sub(first_us),
                delta_us: captured.captured_at_us.saturating_sub(before_us).max(0),
                retransmission: is_sip(message) && !seen.insert(Sent::of(message)),
                dialog: (!is_event).then(|| dialogs.number(message)),
            });
            before_us = captured.captured_at_us;
        }
        Self { hosts: hosts.list, rows }
    }
}

impl<'a> Sent<'a> {
    fn of(message: &'a Message) -> Self {
        let Message { captured, sip, .. } = message;
        Self {
            agent_id: captured.agent_id,
            hop: (captured.src, captured.dst),
            start: (&sip.method, sip.status, &sip.request_uri),
            branch: &sip.branch,
            cseq: sip.cseq,
            to_tag: &sip.to_tag,
        }
    }
}

/// The columns: events have none of their own, unless there is nothing else.
fn columns(messages: &[&Message]) -> Hosts {
    let sip: Vec<_> = messages.iter().copied().filter(|m| !event::is_event(m)).collect();
    Hosts::of(if sip.is_empty() { messages } else { &sip })
}

/// What is written at a message's arrow or an event's note.
#[must_use]
pub fn label<'a>(message: &MessageRef<'a>) -> Cow<'a, str> {
    match (message.kind, message.sip.status) {
        (Kind::Malformed, _) => "malformed".into(),
        (Kind::Other, _) => event::title(message).into(),
        (Kind::Reply, Some(status)) => {
            let mut label = format!("{status} {}", message.sip.reason.as_deref().unwrap_or_default());
            label.truncate(label.trim_end().len());
            label.into()
        }
        _ => message.sip.method.clone().unwrap_or_default(),
    }
}

fn is_sip(message: &Message) -> bool {
    matches!(message.kind, Kind::Reply | Kind::Request)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Captured, MessageId};
    use super::super::sample::{START_US, Sample, answered, call, reply, request};
    use super::*;

    fn draw(samples: &[Sample]) -> Ladder {
        Ladder::draw(&call(samples))
    }

    fn dialogs(samples: &[Sample]) -> Vec<usize> {
        draw(samples).rows.iter().filter_map(|row| row.dialog).collect()
    }

    #[test]
    fn times_of_a_damaged_store_are_drawn_too() {
        let mut call = call(&answered());
        let last = call.messages.len() - 1;
        call.messages[0].captured.captured_at_us = i64::MIN;
        call.messages[last].captured.captured_at_us = i64::MAX;
        let ladder = Ladder::draw(&call);
        assert_eq!(ladder.rows[last].offset_us, i64::MAX);
        assert!(!crate::export::text(&call).is_empty());
        let summary = super::super::summary::Summary::read(&call);
        assert_eq!((summary.first_seen_us, summary.last_seen_us), (i64::MIN, i64::MAX));
    }

    #[test]
    fn a_call_comes_out_as_hosts_and_arrows() {
        let ladder = draw(&answered());
        assert_eq!(
            ladder.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.0.2.1:5060", "192.0.2.2:5060"]
        );
        let arrows: Vec<_> = ladder.rows.iter().map(|r| (r.from, r.to, r.label.as_str())).collect();
        assert_eq!(
            arrows,
            [
                (0, 1, "INVITE"),
                (1, 0, "100 Trying"),
                (1, 0, "180 Ringing"),
                (1, 0, "200 OK"),
                (0, 1, "ACK"),
                (0, 1, "BYE"),
                (1, 0, "200 OK"),
            ]
        );
        let times: Vec<_> = ladder.rows.iter().map(|r| (r.offset_us, r.delta_us)).collect();
        assert_eq!(times[..4], [(0, 0), (5_000, 5_000), (20_000, 15_000), (1_020_000, 1_000_000)]);
        assert!(ladder.rows.iter().all(|row| !row.retransmission && row.dialog == Some(0)));
    }

    #[test]
    fn events_are_notes_across_all_hosts_in_their_place_in_time() {
        let mut call = call(&answered());
        let event = |at_ms: i64, raw: &'static str| {
            let captured = Captured {
                captured_at_us: START_US + at_ms * 1000,
                src: "203.0.113.1:1".parse().expect("an address"),
                protocol_type: event::PROTOCOL_LOG,
                tenant: None,
                raw: raw.into(),
                ..call.messages[0].captured.clone()
            };
            Message::read(MessageId { slice: 2, index: 0 }, captured)
        };
        call.events = vec![event(-2, "before"), event(10, "route main\nmore")];
        let ladder = Ladder::draw(&call);
        assert_eq!(ladder.hosts.len(), 2);
        let rows: Vec<_> =
            ladder.rows.iter().map(|row| (row.kind, row.from, row.to, row.label.as_str())).collect();
        assert_eq!(rows[0], (RowKind::Note, 0, 1, "before"));
        assert_eq!(rows[1], (RowKind::Arrow, 0, 1, "INVITE"));
        assert_eq!(rows[3], (RowKind::Note, 0, 1, "route main"));
        assert_eq!(rows[4], (RowKind::Arrow, 1, 0, "180 Ringing"));
        assert_eq!(ladder.rows.iter().map(|row| row.message).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!((ladder.rows[3].offset_us, ladder.rows[3].delta_us), (12_000, 5_000));
        assert!(ladder.rows.iter().all(|row| row.dialog == (row.kind == RowKind::Arrow).then_some(0)));

        call.messages.clear();
        let ladder = Ladder::draw(&call);
        assert_eq!((ladder.hosts.len(), ladder.rows[0].from, ladder.rows[0].to), (2, 0, 1));
    }

    #[test]
    fn only_the_same_message_on_the_same_hop_is_a_retransmission() {
        let invite = request(0, "INVITE");
        let again = |at_ms| Sample::clone(&request(at_ms, "INVITE"));
        let samples = [
            invite,
            again(500),
            again(1500),
            // The next hop, another agent at the same hop, and the next try.
            request(2, "INVITE").hop("192.0.2.2:5060", "192.0.2.3:5060").branch("z9hG4bK-2"),
            request(3, "INVITE").agent(2),
            request(2000, "INVITE").cseq(2),
            reply(2100, "INVITE", "180 Ringing"),
            reply(2200, "INVITE", "183 Session Progress"),
        ];
        let flags: Vec<_> = draw(&samples).rows.iter().map(|row| row.retransmission).collect();
        assert_eq!(flags, [false, false, false, true, true, false, false, false]);
    }

    #[test]
    fn a_dialog_is_one_in_both_directions() {
        let mut samples = answered();
        samples.push(request(6000, "BYE").tags("b", Some("a")).cseq(9));
        assert!(dialogs(&samples).iter().all(|dialog| *dialog == 0));
    }

    #[test]
    fn each_fork_is_a_dialog_and_so_is_each_try() {
        let samples = [
            request(0, "INVITE"),
            reply(1, "INVITE", "401 Unauthorized").tags("a", Some("challenge")),
            request(2, "ACK").tags("a", Some("challenge")),
            request(3, "INVITE").cseq(2),
            reply(4, "INVITE", "100 Trying").cseq(2),
            reply(5, "INVITE", "180 Ringing").cseq(2).tags("a", Some("x")),
            reply(6, "INVITE", "180 Ringing").cseq(2).tags("a", Some("y")),
            reply(7, "INVITE", "200 OK").cseq(2).tags("a", Some("y")),
            request(8, "ACK").cseq(2).tags("a", Some("y")),
        ];
        assert_eq!(dialogs(&samples), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    }
}
