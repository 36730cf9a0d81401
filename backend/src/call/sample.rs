//! Messages for tests, as they would be captured.

use std::net::SocketAddr;

use super::Call;
use super::message::{Captured, Message, MessageId, PROTOCOL_SIP, Transport};

/// 2026-11-21T10:00:00Z.
pub const START_US: i64 = 1_795_255_200_000_000;

/// One captured message.
#[derive(Clone, Debug)]
pub struct Sample {
    start: String,
    method: &'static str,
    cseq: u32,
    from_tag: &'static str,
    to_tag: Option<&'static str>,
    branch: &'static str,
    via: &'static str,
    at_ms: i64,
    hop: (&'static str, &'static str),
    agent_id: u32,
    transport: Transport,
}

/// A request at so many ms, from the caller to the first proxy.
pub fn request(at_ms: i64, method: &'static str) -> Sample {
    Sample {
        start: format!("{method} sip:bob@example.com SIP/2.0"),
        method,
        cseq: 1,
        from_tag: "a",
        to_tag: None,
        branch: "z9hG4bK-1",
        via: "192.0.2.1",
        at_ms,
        hop: ("192.0.2.1:5060", "192.0.2.2:5060"),
        agent_id: 1,
        transport: Transport::Udp,
    }
}

/// A reply to a request with that method, on its way back.
pub fn reply(at_ms: i64, method: &'static str, status: &str) -> Sample {
    let to_tag = (!status.starts_with("100")).then_some("b");
    let request = request(at_ms, method);
    Sample { start: format!("SIP/2.0 {status}"), to_tag, hop: (request.hop.1, request.hop.0), ..request }
}

impl Sample {
    /// CSeq number.
    pub fn cseq(self, cseq: u32) -> Self {
        Self { cseq, ..self }
    }

    /// Tags of From and To.
    pub fn tags(self, from_tag: &'static str, to_tag: Option<&'static str>) -> Self {
        Self { from_tag, to_tag, ..self }
    }

    /// Branch of the topmost Via.
    pub fn branch(self, branch: &'static str) -> Self {
        Self { branch, ..self }
    }

    /// Host and port of the topmost Via.
    pub fn via(self, via: &'static str) -> Self {
        Self { via, ..self }
    }

    /// Sender and receiver.
    pub fn hop(self, src: &'static str, dst: &'static str) -> Self {
        Self { hop: (src, dst), ..self }
    }

    /// Who captured it.
    pub fn agent(self, agent_id: u32) -> Self {
        Self { agent_id, ..self }
    }

    /// How it travelled.
    pub fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    fn raw(&self) -> String {
        let Self { start, method, cseq, from_tag, branch, via, transport, .. } = self;
        let transport = transport.as_str().to_uppercase();
        let to_tag = self.to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        format!(
            "{start}\r\nVia: SIP/2.0/{transport} {via};branch={branch}\r\nFrom: <sip:alice@example.com>;tag={from_tag}\r\n\
             To: <sip:bob@example.com>{to_tag}\r\nCall-ID: sample\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        )
    }
}

/// A call of these, in the order in which they were captured.
pub fn call(samples: &[Sample]) -> Call {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let mut messages: Vec<_> = samples
        .iter()
        .zip(0..)
        .map(|(sample, index)| {
            let captured = Captured {
                captured_at_us: START_US + sample.at_ms * 1000,
                src: address(sample.hop.0),
                dst: address(sample.hop.1),
                transport: sample.transport,
                agent_id: sample.agent_id,
                agent_name: None,
                protocol_type: PROTOCOL_SIP,
                tenant: None,
                correlation_id: Some("session".into()),
                call_id: None,
                full_length: None,
                raw: sample.raw().into(),
            };
            Message::read(MessageId { slice: 1, index }, captured)
        })
        .collect();
    messages.sort_by_key(Message::order);
    Call { call_id: "sample".into(), messages, events: Vec::new(), partial: false, listed_us: None }
}

/// An answered call between two hosts: seven messages, from ringing after 20 ms to the BYE after 5 s.
pub fn answered() -> Vec<Sample> {
    let (from, to) = ("a", Some("b"));
    vec![
        request(0, "INVITE"),
        reply(5, "INVITE", "100 Trying"),
        reply(20, "INVITE", "180 Ringing"),
        reply(1020, "INVITE", "200 OK"),
        request(1030, "ACK").tags(from, to).branch("z9hG4bK-2"),
        request(5020, "BYE").tags(from, to).branch("z9hG4bK-3").cseq(2),
        reply(5030, "BYE", "200 OK").branch("z9hG4bK-3").cseq(2),
    ]
}
