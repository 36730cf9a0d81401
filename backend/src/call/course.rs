//! How a call went: how it ended, and how long its parts took.
//!
//! Intervals follow RFC 6076, seen from one place of capture (see `attempt`):
//! *setup time* from the INVITE that succeeded to its 2xx; *ring time* from the first ringing (180 to 183, the
//! indication that ends the Session Request Delay, §4.3) to the final reply; *duration* from the 2xx to the BYE
//! (Session Duration Time, §4.5).

use super::attempt::Attempt;
use super::brief::{Brief, Word};
use super::message::Kind;
use super::outcome::Outcome;

/// How a call went. All times are µs since the epoch, all intervals µs; `None` where it was not seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Course {
    /// Place of the message that says who called whom: the first INVITE that opens a dialog, else the first INVITE, the
    /// first request, the first SIP message.
    pub first: Option<usize>,
    /// How it ended.
    pub outcome: Outcome,
    /// The final status of its last try.
    pub final_status: Option<u16>,
    /// The first request.
    pub started_at_us: Option<i64>,
    /// The first 180 to 183.
    pub ringing_at_us: Option<i64>,
    /// The 2xx to the INVITE.
    pub answered_at_us: Option<i64>,
    /// The BYE; for a call that was not answered, the final reply.
    pub ended_at_us: Option<i64>,
    /// INVITE to 2xx.
    pub setup_time_us: Option<i64>,
    /// Ringing to the final reply.
    pub ring_time_us: Option<i64>,
    /// 2xx to BYE.
    pub duration_us: Option<i64>,
}

impl Course {
    /// Reads it out of all messages of a call, which must be in their [order](Brief::order).
    #[must_use]
    pub fn read(messages: &[Brief]) -> Self {
        let place = first_of(messages);
        let first = place.and_then(|place| messages.get(place));
        let method = first.and_then(|m| m.method);
        let is_invite = method == Some(Word::of("INVITE"));
        let attempts = method.map(|method| Attempt::all(messages, method)).unwrap_or_default();
        let answered = attempts.iter().find(|a| is_invite && a.final_status().is_some_and(|s| s < 300));
        let last = answered.or(attempts.last());

        let final_status = last.and_then(Attempt::final_status);
        let outcome = match (last, final_status) {
            (Some(last), _) if last.is_cancelled(messages) => Outcome::Cancelled,
            (_, Some(status)) => Outcome::of(status, is_invite),
            _ => Outcome::InProgress,
        };
        let times = last.map(|a| a.times(final_status)).unwrap_or_default();
        let answered_at_us = times.final_us.filter(|_| outcome == Outcome::Answered);
        let ended_at_us = match answered_at_us {
            Some(answered_us) => bye(messages, times.agent_id, answered_us),
            None => times.final_us,
        };
        Self {
            first: place,
            outcome,
            final_status,
            started_at_us: first.filter(|m| m.kind == Kind::Request).map(|m| m.at_us),
            ringing_at_us: times.ringing_us,
            answered_at_us,
            ended_at_us,
            setup_time_us: interval(times.sent_us, answered_at_us),
            ring_time_us: interval(times.ringing_us, times.final_us),
            duration_us: interval(answered_at_us, ended_at_us),
        }
    }
}

fn first_of(messages: &[Brief]) -> Option<usize> {
    let invite = Word::of("INVITE");
    let find = |wanted: &dyn Fn(&Brief) -> bool| messages.iter().position(wanted);
    find(&|m| m.requests(invite) && !m.has_to_tag)
        .or_else(|| find(&|m| m.requests(invite)))
        .or_else(|| find(&|m| m.method == Some(invite)))
        .or_else(|| find(&|m| m.kind == Kind::Request))
        .or_else(|| find(&|m| m.kind == Kind::Reply))
}

/// The BYE that ended the call, seen by the agent that saw it answered if that one saw it, else by any.
fn bye(messages: &[Brief], agent_id: Option<u32>, answered_us: i64) -> Option<i64> {
    let bye = Word::of("BYE");
    let byes = || messages.iter().filter(|m| m.requests(bye) && m.at_us >= answered_us);
    let first = byes().find(|m| Some(m.agent_id) == agent_id).or_else(|| byes().next())?;
    Some(first.at_us)
}

/// `None` also where the clocks of two agents would make it negative.
fn interval(from_us: Option<i64>, to_us: Option<i64>) -> Option<i64> {
    Some(to_us?.saturating_sub(from_us?)).filter(|interval| *interval >= 0)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{START_US, Sample, answered, call, reply, request};
    use super::*;

    fn read(samples: &[Sample]) -> Course {
        let mut messages: Vec<_> = call(samples).messages.iter().map(Brief::of).collect();
        messages.sort_by(Brief::order);
        Course::read(&messages)
    }

    fn outcome(samples: &[Sample]) -> (Outcome, Option<u16>) {
        let course = read(samples);
        (course.outcome, course.final_status)
    }

    #[test]
    fn each_final_status_has_its_outcome() {
        for (status, expected) in [
            ("302 Moved Temporarily", Outcome::Redirected),
            ("404 Not Found", Outcome::Failed),
            ("408 Request Timeout", Outcome::NoAnswer),
            ("480 Temporarily Unavailable", Outcome::NoAnswer),
            ("486 Busy Here", Outcome::Busy),
            ("487 Request Terminated", Outcome::Cancelled),
            ("503 Service Unavailable", Outcome::Failed),
            ("600 Busy Everywhere", Outcome::Busy),
            ("603 Decline", Outcome::Declined),
        ] {
            let found = read(&[request(0, "INVITE"), reply(10, "INVITE", status)]);
            assert_eq!(found.outcome, expected, "{status}");
            assert_eq!(found.ended_at_us, Some(START_US + 10_000));
            assert_eq!((found.answered_at_us, found.setup_time_us, found.duration_us), (None, None, None));
        }
    }

    #[test]
    fn a_call_without_an_end_is_in_progress() {
        assert_eq!(outcome(&[request(0, "INVITE")]), (Outcome::InProgress, None));
        let ringing = [request(0, "INVITE"), reply(20, "INVITE", "180 Ringing")];
        assert_eq!(outcome(&ringing), (Outcome::InProgress, None));
        assert_eq!(read(&ringing).ended_at_us, None);
    }

    #[test]
    fn a_challenge_is_no_end_once_it_is_answered() {
        for method in ["INVITE", "REGISTER"] {
            let challenged = [request(0, method), reply(5, method, "407 Proxy Authentication Required")];
            assert_eq!(outcome(&challenged), (Outcome::Failed, Some(407)));
            let mut again = challenged.to_vec();
            again.push(request(10, method).cseq(2).branch("z9hG4bK-9"));
            assert_eq!(outcome(&again), (Outcome::InProgress, None));
            again.push(reply(30, method, "200 OK").cseq(2).branch("z9hG4bK-9"));
            let success = if method == "INVITE" { Outcome::Answered } else { Outcome::Completed };
            assert_eq!(outcome(&again), (success, Some(200)));
        }
    }

    #[test]
    fn setup_time_is_that_of_the_invite_that_succeeded() {
        let course = read(&[
            request(0, "INVITE"),
            reply(5, "INVITE", "401 Unauthorized"),
            request(1000, "INVITE").cseq(2).branch("z9hG4bK-9"),
            reply(1500, "INVITE", "200 OK").cseq(2).branch("z9hG4bK-9"),
        ]);
        assert_eq!(course.setup_time_us, Some(500_000));
        assert_eq!(course.started_at_us, Some(START_US));
    }

    #[test]
    fn a_cancelled_call_is_cancelled_before_and_after_its_487() {
        let mut samples = vec![
            request(0, "INVITE"),
            reply(20, "INVITE", "180 Ringing"),
            request(900, "CANCEL"),
            reply(905, "CANCEL", "200 canceling"),
        ];
        assert_eq!(outcome(&samples), (Outcome::Cancelled, None));
        samples.push(reply(910, "INVITE", "487 Request Terminated"));
        assert_eq!(outcome(&samples), (Outcome::Cancelled, Some(487)));
    }

    #[test]
    fn a_cancel_that_crossed_the_answer_changes_nothing() {
        let mut samples = answered();
        samples.push(request(1019, "CANCEL"));
        assert_eq!(outcome(&samples), (Outcome::Answered, Some(200)));
    }

    #[test]
    fn a_cancel_by_a_proxy_that_tries_elsewhere_does_not_end_the_call() {
        let to_first = |s: Sample| s.branch("z9hG4bK-first").hop("192.0.2.2:5060", "192.0.2.3:5060");
        let to_second = |s: Sample| s.branch("z9hG4bK-second").hop("192.0.2.2:5060", "192.0.2.4:5060");
        let samples = [
            request(0, "INVITE"),
            to_first(request(1, "INVITE")),
            to_first(request(3000, "CANCEL")),
            to_first(reply(3001, "INVITE", "487 Request Terminated")),
            to_second(request(3002, "INVITE")),
            to_second(reply(3100, "INVITE", "486 Busy Here")),
        ];
        assert_eq!(outcome(&samples), (Outcome::Busy, Some(486)));
    }

    #[test]
    fn what_the_caller_was_told_counts_before_what_others_were() {
        let inner = |s: Sample| s.branch("z9hG4bK-in").hop("192.0.2.2:5060", "192.0.2.3:5060");
        let samples = [
            request(0, "INVITE"),
            inner(request(1, "INVITE")),
            reply(4000, "INVITE", "408 Request Timeout"),
            inner(request(4001, "CANCEL")),
            inner(reply(4010, "INVITE", "487 Request Terminated")),
        ];
        assert_eq!(outcome(&samples), (Outcome::NoAnswer, Some(408)));
    }

    #[test]
    fn one_branch_that_answers_is_enough() {
        let fork = |s: Sample, branch| s.branch(branch).hop("192.0.2.2:5060", "192.0.2.3:5060");
        let samples = [
            request(0, "INVITE"),
            fork(request(1, "INVITE"), "z9hG4bK-x"),
            fork(request(1, "INVITE"), "z9hG4bK-y"),
            fork(reply(10, "INVITE", "486 Busy Here").tags("a", Some("x")), "z9hG4bK-x"),
            fork(reply(20, "INVITE", "180 Ringing").tags("a", Some("y")), "z9hG4bK-y"),
            fork(reply(50, "INVITE", "200 OK").tags("a", Some("y")), "z9hG4bK-y"),
        ];
        let course = read(&samples);
        assert_eq!(course.outcome, Outcome::Answered);
        // Both ends as seen at the branch that answered.
        assert_eq!(course.setup_time_us, Some(49_000));
        assert_eq!(course.ring_time_us, Some(30_000));
    }

    #[test]
    fn times_are_those_of_one_place_whatever_other_clocks_say() {
        let mut samples = answered();
        // The same call as seen by an agent whose clock is ten seconds slow, and who saw the BYE only there.
        for sample in [request(-9_990, "INVITE"), reply(-8_975, "INVITE", "200 OK")] {
            samples.push(sample.agent(2).branch("z9hG4bK-other").hop("192.0.2.2:5060", "192.0.2.3:5060"));
        }
        let course = read(&samples);
        assert_eq!(course.ring_time_us, Some(1_000_000));
        assert_eq!(course.setup_time_us, Some(1_020_000));
        assert_eq!(course.duration_us, Some(4_000_000));
    }

    #[test]
    fn a_reinvite_does_not_change_how_the_call_ended() {
        let mut samples = answered();
        samples.push(request(2000, "INVITE").cseq(5).tags("a", Some("b")).branch("z9hG4bK-re"));
        samples.push(reply(2100, "INVITE", "488 Not Acceptable Here").cseq(5).branch("z9hG4bK-re"));
        let course = read(&samples);
        assert_eq!((course.outcome, course.final_status), (Outcome::Answered, Some(200)));
        assert_eq!(course.setup_time_us, Some(1_020_000));
    }

    #[test]
    fn a_bye_by_the_callee_ends_the_call() {
        let mut samples = answered()[..5].to_vec();
        samples
            .push(request(3020, "BYE").tags("b", Some("a")).cseq(77).hop("192.0.2.2:5060", "192.0.2.1:5060"));
        assert_eq!(read(&samples).duration_us, Some(2_000_000));
    }

    #[test]
    fn replies_alone_tell_the_outcome() {
        let course = read(&[reply(20, "INVITE", "180 Ringing"), reply(60, "INVITE", "200 OK")]);
        assert_eq!(course.outcome, Outcome::Answered);
        assert_eq!((course.setup_time_us, course.ring_time_us), (None, Some(40_000)));
    }
}
