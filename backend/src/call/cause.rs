//! Messages in the order in which they can have happened.

use std::collections::HashMap;

use super::message::{Kind, Message};

/// How late the time of a sent message may be, µs.
const LATE_US: i64 = 100_000;

/// The places of messages, oldest first, but what answers another message after that one: a reply after its request, and
/// the ACK of a 2xx after the first such 2xx of its hop. A proxy may note the time of what it sends only after the sending,
/// and by then it can have the answer. `messages` must be oldest first.
pub(super) fn in_order_of_cause(messages: &[&Message]) -> Vec<usize> {
    let causes = Causes::of(messages);
    let mut order = Vec::with_capacity(messages.len());
    let mut placed = vec![false; messages.len()];
    for index in 0..messages.len() {
        // What must stand before it, nearest first: an ACK's 2xx, and that one's INVITE.
        let mut waiting = vec![index];
        let mut last = index;
        while let Some(cause) = causes.late(messages, last) {
            waiting.push(cause);
            last = cause;
        }
        for index in waiting.into_iter().rev() {
            if let Some(placed) = placed.get_mut(index)
                && !std::mem::replace(placed, true)
            {
                order.push(index);
            }
        }
    }
    order
}

/// The first message of each kind that others answer, by what tells that they do.
#[derive(Default)]
struct Causes<'a> {
    requests: HashMap<(&'a str, Option<u32>, Option<&'a str>), usize>,
    answers: HashMap<Answer<'a>, usize>,
}

/// A 2xx, or the ACK to it: hop in the direction of the ACK, `CSeq` number, tags. RFC 3261 §13.2.2.4.
type Answer<'a> = (std::net::SocketAddr, std::net::SocketAddr, Option<u32>, Option<&'a str>, Option<&'a str>);

impl<'a> Causes<'a> {
    fn of(messages: &[&'a Message]) -> Self {
        let mut causes = Self::default();
        for (index, message) in messages.iter().copied().enumerate() {
            if message.kind == Kind::Request
                && let Some(transaction) = transaction(message)
            {
                causes.requests.entry(transaction).or_insert(index);
            }
            if message.kind == Kind::Reply
                && matches!(message.sip.status, Some(200..300))
                && message.sip.method.as_deref() == Some("INVITE")
            {
                causes.answers.entry(answer(message)).or_insert(index);
            }
        }
        causes
    }

    /// What this message answers, if that stands later and not much later.
    fn late(&self, messages: &[&'a Message], index: usize) -> Option<usize> {
        let message: &'a Message = messages.get(index)?;
        let cause = match message.kind {
            Kind::Reply => self.requests.get(&transaction(message)?),
            Kind::Request if message.sip.method.as_deref() == Some("ACK") => {
                self.answers.get(&answer(message))
            }
            _ => None,
        };
        let time = |message: &Message| message.captured.captured_at_us;
        let late = |cause: &Message| time(cause).saturating_sub(time(message)) <= LATE_US;
        cause.copied().filter(|cause| *cause > index && messages.get(*cause).copied().is_some_and(late))
    }
}

/// RFC 3261 §17.1.3.
fn transaction(message: &Message) -> Option<(&str, Option<u32>, Option<&str>)> {
    Some((message.sip.branch.as_deref()?, message.sip.cseq, message.sip.method.as_deref()))
}

fn answer(message: &Message) -> Answer<'_> {
    let Message { captured, sip, kind, .. } = message;
    let (from, to) =
        if *kind == Kind::Reply { (captured.dst, captured.src) } else { (captured.src, captured.dst) };
    (from, to, sip.cseq, sip.from_tag.as_deref(), sip.to_tag.as_deref())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, call, reply, request};
    use super::*;

    fn order(samples: &[Sample]) -> Vec<usize> {
        in_order_of_cause(&call(samples).messages.iter().collect::<Vec<_>>())
    }

    const CALLER: &str = "192.0.2.1:5060";
    const PROXY: &str = "192.0.2.2:5060";
    const CALLEE: &str = "192.0.2.3:5060";

    #[test]
    fn a_reply_that_seems_older_than_its_request_stands_after_it() {
        let samples = [
            request(0, "INVITE").hop(CALLER, PROXY),
            reply(5, "INVITE", "100 Trying").branch("z9hG4bK-2").hop(CALLEE, PROXY),
            reply(6, "INVITE", "180 Ringing").branch("z9hG4bK-2").hop(CALLEE, PROXY),
            request(7, "INVITE").branch("z9hG4bK-2").hop(PROXY, CALLEE),
            reply(8, "INVITE", "180 Ringing").hop(PROXY, CALLER),
        ];
        assert_eq!(order(&samples), [0, 3, 1, 2, 4]);
    }

    #[test]
    fn a_reply_long_before_a_request_is_not_moved() {
        let samples =
            [reply(0, "OPTIONS", "200 OK").branch("z9hG4bK-1"), request(900, "OPTIONS").branch("z9hG4bK-1")];
        assert_eq!(order(&samples), [0, 1]);
    }

    fn ack(at_ms: i64) -> Sample {
        request(at_ms, "ACK").tags("a", Some("b")).branch("z9hG4bK-9").hop(CALLER, PROXY)
    }

    #[test]
    fn an_ack_that_seems_older_than_its_2xx_stands_after_it() {
        let samples = [
            request(0, "INVITE").hop(CALLER, PROXY),
            reply(5, "INVITE", "200 OK").branch("z9hG4bK-2").hop(CALLEE, PROXY),
            ack(6),
            reply(7, "INVITE", "200 OK").hop(PROXY, CALLER),
            ack(8).branch("z9hG4bK-8").hop(PROXY, CALLEE),
        ];
        assert_eq!(order(&samples), [0, 1, 3, 2, 4]);
    }

    #[test]
    fn an_ack_stands_before_a_2xx_that_is_another_ones() {
        let second = |sample: Sample| order(&[ack(6), sample]);
        assert_eq!(second(reply(7, "INVITE", "200 OK").hop(PROXY, CALLER)), [1, 0]);
        assert_eq!(second(reply(7, "INVITE", "200 OK").hop(CALLEE, PROXY)), [0, 1], "another hop");
        assert_eq!(second(reply(7, "INVITE", "200 OK").hop(PROXY, CALLER).cseq(2)), [0, 1], "another INVITE");
        assert_eq!(
            second(reply(7, "INVITE", "200 OK").hop(PROXY, CALLER).tags("a", Some("c"))),
            [0, 1],
            "another fork"
        );
        assert_eq!(second(reply(7, "BYE", "200 OK").hop(PROXY, CALLER)), [0, 1], "no INVITE");
        assert_eq!(second(reply(900, "INVITE", "200 OK").hop(PROXY, CALLER)), [0, 1], "much later");
    }

    #[test]
    fn a_2xx_that_is_sent_again_is_not_moved_before_the_ack_of_the_first() {
        let ok = |at_ms| reply(at_ms, "INVITE", "200 OK").hop(PROXY, CALLER);
        assert_eq!(order(&[ok(5), ack(6), ok(7)]), [0, 1, 2]);
    }

    #[test]
    fn an_ack_brings_its_2xx_and_that_one_its_invite() {
        let samples = [
            ack(5).hop(PROXY, CALLEE),
            reply(6, "INVITE", "200 OK").hop(CALLEE, PROXY),
            request(7, "INVITE").hop(PROXY, CALLEE),
        ];
        assert_eq!(order(&samples), [2, 1, 0]);
    }
}
