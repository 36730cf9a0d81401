//! What a call comes to: who called whom, and how it [went](super::course).

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;

use super::Call;
use super::brief::Brief;
use super::course::Course;
use super::hosts::Hosts;
use super::message::{Message, Transport};

/// What a call comes to. All times are µs since the epoch, all intervals µs; `None` where it was not seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// Its Call-ID.
    pub call_id: String,
    /// The correlation ids of its messages, in order of appearance.
    pub correlation_ids: Vec<String>,
    /// Method of its first request: INVITE if there is one.
    pub method: Option<String>,
    /// Who called: user of From in the first request.
    pub from_user: Option<String>,
    /// Who was called: user of To in the first request.
    pub to_user: Option<String>,
    /// Request-URI of the first request.
    pub request_uri: Option<String>,
    /// How it went.
    pub course: Course,
    /// Its first message.
    pub first_seen_us: i64,
    /// Its last message.
    pub last_seen_us: i64,
    /// How many messages were captured, copies of one message at several hops included.
    pub message_count: usize,
    /// Who sent or was sent a message, in order of appearance.
    pub hosts: Vec<SocketAddr>,
    /// Who captured, in order of appearance.
    pub agent_ids: Vec<u32>,
    /// How it travelled, in order of appearance.
    pub transports: Vec<Transport>,
}

impl Summary {
    /// Reads a call. The result does not depend on the order in which its messages arrived.
    #[must_use]
    pub fn read(call: &Call) -> Self {
        let mut briefs: Vec<_> = call.messages.iter().map(|m| (Brief::of(m), m)).collect();
        briefs.sort_by(|(a, _), (b, _)| a.order(b));
        let (briefs, messages): (Vec<_>, Vec<&Message>) = briefs.into_iter().unzip();
        let course = Course::read(&briefs);
        let first = course.first.and_then(|place| messages.get(place));
        let seen = |m: Option<&&Message>| m.map_or(0, |m| m.captured.captured_at_us);
        Self {
            call_id: call.call_id.clone(),
            correlation_ids: distinct(messages.iter().filter_map(|m| m.captured.correlation_id.as_deref()))
                .into_iter()
                .map(str::to_owned)
                .collect(),
            method: first.and_then(|m| m.sip.method.clone()),
            from_user: first.and_then(|m| m.sip.from_user.clone()),
            to_user: first.and_then(|m| m.sip.to_user.clone()),
            request_uri: first.and_then(|m| m.sip.request_uri.clone()),
            course,
            first_seen_us: seen(messages.first()),
            last_seen_us: seen(messages.last()),
            message_count: messages.len(),
            hosts: Hosts::of(&messages).list,
            agent_ids: distinct(messages.iter().map(|m| m.captured.agent_id)),
            transports: distinct(messages.iter().map(|m| m.captured.transport)),
        }
    }
}

fn distinct<T: Copy + Eq + Hash>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    values.filter(|value| seen.insert(*value)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::outcome::Outcome;
    use super::super::sample::{START_US, Sample, answered, call, reply, request};
    use super::*;

    fn read(samples: &[Sample]) -> Summary {
        Summary::read(&call(samples))
    }

    #[test]
    fn an_answered_call_says_who_when_and_how_long() {
        let summary = read(&answered());
        assert_eq!((summary.course.outcome, summary.course.final_status), (Outcome::Answered, Some(200)));
        assert_eq!(summary.method.as_deref(), Some("INVITE"));
        assert_eq!(summary.from_user.as_deref(), Some("alice"));
        assert_eq!(summary.to_user.as_deref(), Some("bob"));
        assert_eq!(summary.request_uri.as_deref(), Some("sip:bob@example.com"));
        assert_eq!(summary.course.started_at_us, Some(START_US));
        assert_eq!(summary.course.ringing_at_us, Some(START_US + 20_000));
        assert_eq!(summary.course.answered_at_us, Some(START_US + 1_020_000));
        assert_eq!(summary.course.ended_at_us, Some(START_US + 5_020_000));
        assert_eq!(summary.course.setup_time_us, Some(1_020_000));
        assert_eq!(summary.course.ring_time_us, Some(1_000_000));
        assert_eq!(summary.course.duration_us, Some(4_000_000));
        assert_eq!((summary.first_seen_us, summary.last_seen_us), (START_US, START_US + 5_030_000));
        assert_eq!(summary.message_count, 7);
        assert_eq!(summary.hosts.len(), 2);
        assert_eq!(summary.correlation_ids, ["session"]);
    }

    #[test]
    fn a_capture_that_begins_in_a_call_is_read_as_far_as_it_goes() {
        let summary = read(&answered()[5..]);
        assert_eq!((summary.method.as_deref(), summary.course.outcome), (Some("BYE"), Outcome::Completed));
        let only_reinvite = [request(0, "INVITE").tags("a", Some("b")), reply(10, "INVITE", "200 OK")];
        assert_eq!(read(&only_reinvite).course.outcome, Outcome::Answered);
        let replies = read(&[reply(20, "INVITE", "180 Ringing"), reply(60, "INVITE", "200 OK")]);
        assert_eq!(replies.from_user.as_deref(), Some("alice"));
    }

    #[test]
    fn what_is_not_sip_is_counted_and_nothing_more() {
        let mut call = call(&[request(0, "INVITE")]);
        for message in &mut call.messages {
            *message = Message::read(
                message.id,
                super::super::message::Captured { raw: "garbage".into(), ..message.captured.clone() },
            );
        }
        let summary = Summary::read(&call);
        assert_eq!(
            (summary.method, summary.course.outcome, summary.message_count),
            (None, Outcome::InProgress, 1)
        );
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_and_copies_change_nothing(
            order in Just((0..7usize).collect::<Vec<_>>()).prop_shuffle(),
            copies in proptest::collection::vec(0..7usize, 0..5),
        ) {
            let samples = answered();
            let shuffled: Vec<_> = order.iter().chain(&copies).map(|i| samples[*i].clone()).collect();
            let mut expected = read(&samples);
            expected.message_count += copies.len();
            prop_assert_eq!(read(&shuffled), expected);
        }
    }
}
