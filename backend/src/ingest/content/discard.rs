//! What is left out for what it is.

use std::net::IpAddr;

use hep::Packet;
use prometheus_client::metrics::counter::Counter;

use super::SIP;
use crate::network::Network;

/// A packet is left out if it is one of each list that is not empty.
#[derive(Clone, Debug, Default)]
pub struct Discard {
    /// What it is counted under.
    pub name: String,
    /// Methods of requests, and by their CSeq of replies; as they are written.
    pub methods: Vec<String>,
    /// Ids of capture agents.
    pub agents: Vec<u32>,
    /// Networks of the message's source or destination.
    pub networks: Vec<Network>,
    /// HEP's protocol types; a packet that says none is SIP, 1.
    pub protocol_types: Vec<u8>,
    /// How User-Agent, or else Server, begins; in any case.
    pub user_agents: Vec<String>,
    /// Counts packets that match.
    pub counter: Counter,
}

/// The first rule that the packet matches; `sip` is its payload, where it is sent as SIP.
pub(super) fn first_match<'r>(
    rules: &'r [Discard],
    packet: &Packet<'_>,
    sip: Option<&[u8]>,
) -> Option<&'r Discard> {
    let of_message = |rule: &Discard| !rule.methods.is_empty() || !rule.user_agents.is_empty();
    let message = sip.filter(|_| rules.iter().any(of_message)).and_then(|raw| sip::parse(raw).ok());
    rules.iter().find(|rule| rule.matches(packet, message.as_ref()))
}

impl Discard {
    /// Whether it says of what packets it is; one that says nothing would match all.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let Self { methods, agents, networks, protocol_types, user_agents, .. } = self;
        !(methods.is_empty()
            && agents.is_empty()
            && networks.is_empty()
            && protocol_types.is_empty()
            && user_agents.is_empty())
    }

    fn matches(&self, packet: &Packet<'_>, message: Option<&sip::Message<'_>>) -> bool {
        let Self { methods, agents, networks, protocol_types, user_agents, .. } = self;
        let within = |ip: Option<IpAddr>| {
            ip.is_some_and(|ip| networks.iter().any(|network| network.contains(ip.to_canonical())))
        };
        let method = || message.and_then(sip::Message::method);
        let user_agent = || message.and_then(sip::Message::user_agent).unwrap_or_default();
        let begins = |start: &String| {
            let found = user_agent().get(..start.len());
            found.is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()))
        };
        (agents.is_empty() || packet.agent_id.is_some_and(|id| agents.contains(&id)))
            && (protocol_types.is_empty() || protocol_types.contains(&packet.protocol_type.unwrap_or(SIP)))
            && (networks.is_empty() || within(packet.src_ip) || within(packet.dst_ip))
            && (methods.is_empty()
                || method().is_some_and(|found| methods.iter().any(|m| m.as_bytes() == found)))
            && (user_agents.is_empty() || user_agents.iter().any(begins))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Vec<u8> {
        b"OPTIONS sip:x SIP/2.0\r\nCSeq: 1 OPTIONS\r\nUser-Agent: Friendly-Scanner 2\r\n\r\n".to_vec()
    }

    fn is_left_out(rule: Discard, packet: &Packet<'_>, payload: &[u8]) -> bool {
        first_match(
            &[Discard { name: "other".into(), agents: vec![99], ..Discard::default() }, rule],
            packet,
            Some(payload),
        )
        .is_some()
    }

    #[test]
    fn what_is_one_of_each_list_is_left_out_and_nothing_else() {
        let packet = Packet {
            agent_id: Some(7),
            src_ip: Some(IpAddr::from([192, 0, 2, 1])),
            dst_ip: Some(IpAddr::from([198, 51, 100, 1])),
            ..Packet::default()
        };
        let network = |text| vec![Network::parse(text).expect("a network")];
        let rule = Discard::default;
        let texts = |text: &str| vec!["NONE".to_owned(), text.to_owned()];
        for (rule, matches) in [
            (Discard { methods: texts("OPTIONS"), ..rule() }, true),
            (Discard { methods: texts("options"), ..rule() }, false),
            (Discard { methods: texts("INVITE"), ..rule() }, false),
            (Discard { agents: vec![1, 7], ..rule() }, true),
            (Discard { agents: vec![8], ..rule() }, false),
            (Discard { networks: network("192.0.2.0/24"), ..rule() }, true),
            (Discard { networks: network("198.51.100.1"), ..rule() }, true),
            (Discard { networks: network("203.0.113.0/24"), ..rule() }, false),
            (Discard { protocol_types: vec![1], ..rule() }, true),
            (Discard { protocol_types: vec![100, 5], ..rule() }, false),
            (Discard { user_agents: texts("friendly-scanner"), ..rule() }, true),
            (Discard { user_agents: texts("scanner"), ..rule() }, false),
            (Discard { methods: texts("OPTIONS"), agents: vec![7], ..rule() }, true),
            (Discard { methods: texts("OPTIONS"), agents: vec![8], ..rule() }, false),
        ] {
            assert_eq!(is_left_out(rule.clone(), &packet, &options()), matches, "{rule:?}");
        }
    }

    #[test]
    fn a_reply_is_of_its_requests_method_and_what_is_no_sip_has_none() {
        let rule = || Discard { methods: vec!["OPTIONS".into()], ..Discard::default() };
        let packet = Packet::default();
        assert!(is_left_out(rule(), &packet, b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n"));
        assert!(!is_left_out(rule(), &packet, b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n"));
        assert!(!is_left_out(rule(), &packet, b"OPTIONS"));
        assert!(first_match(&[rule()], &packet, None).is_none());
    }
}
