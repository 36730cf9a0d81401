//! Which addresses in a call are one host's.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::message::{Kind, Message, Transport};

/// Senders and receivers of a call.
pub(super) struct Hosts {
    /// In order of appearance.
    pub list: Vec<SocketAddr>,
    /// Place in the list, of all addresses.
    places: HashMap<SocketAddr, usize>,
}

impl Hosts {
    /// `messages` must be oldest first.
    pub fn of(messages: &[&Message]) -> Self {
        let ends = || messages.iter().flat_map(|m| [m.captured.src, m.captured.dst]);
        let known: HashSet<_> = ends().collect();
        let listens: HashMap<_, _> = messages.iter().filter_map(|m| opened(m)).collect();
        let (mut list, mut places) = (Vec::new(), HashMap::new());
        for end in ends() {
            if places.contains_key(&end) {
                continue;
            }
            let host = listens.get(&end).copied().filter(|socket| known.contains(socket)).unwrap_or(end);
            let place = places.get(&host).copied().unwrap_or(list.len());
            if place == list.len() {
                list.push(host);
                places.insert(host, place);
            }
            places.insert(end, place);
        }
        Self { list, places }
    }

    /// The place of an address of the call in the list.
    pub fn place(&self, address: SocketAddr) -> usize {
        self.places.get(&address).copied().unwrap_or_default()
    }
}

/// The end of a connection that its host has opened, whose port is the system's choice, and the socket at which that host
/// listens. The topmost Via is of who sent the request, and so of who gets the reply: RFC 3261 §18.1.1 and §18.2.2.
fn opened(message: &Message) -> Option<(SocketAddr, SocketAddr)> {
    let Message { captured, kind, sip, .. } = message;
    let end = match kind {
        Kind::Request => captured.src,
        Kind::Reply => captured.dst,
        Kind::Malformed | Kind::Other => return None,
    };
    let connects =
        matches!(captured.transport, Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss);
    sip.sent_by
        .filter(|socket| connects && socket.ip() == end.ip() && *socket != end)
        .map(|socket| (end, socket))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, call, reply, request};
    use super::*;

    const CALLER: &str = "192.0.2.1:5060";
    const PROXY: &str = "192.0.2.2:5060";
    const OPENED: &str = "192.0.2.2:49152";
    const CALLEE: &str = "192.0.2.3:5060";

    fn hosts(samples: &[Sample]) -> Vec<String> {
        let call = call(samples);
        let hosts = Hosts::of(&call.messages.iter().collect::<Vec<_>>());
        hosts.list.iter().map(ToString::to_string).collect()
    }

    fn relayed(transport: Transport, via: &'static str) -> Vec<String> {
        hosts(&[
            request(0, "INVITE").hop(CALLER, PROXY),
            request(1, "INVITE").hop(OPENED, CALLEE).via(via).over(transport),
            reply(2, "INVITE", "200 OK").hop(CALLEE, OPENED).via(via).over(transport),
            reply(3, "INVITE", "200 OK").hop(PROXY, CALLER),
            request(4, "BYE").hop(CALLEE, OPENED).via("192.0.2.3").over(transport),
        ])
    }

    #[test]
    fn hosts_stand_in_order_of_the_flow() {
        let samples = [
            request(0, "INVITE").hop("192.0.2.9:5060", "192.0.2.2:5060"),
            request(1, "INVITE").hop("192.0.2.2:5060", "[2001:db8::1]:5062"),
        ];
        assert_eq!(hosts(&samples), ["192.0.2.9:5060", "192.0.2.2:5060", "[2001:db8::1]:5062"]);
    }

    #[test]
    fn a_connection_that_a_proxy_has_opened_is_in_the_column_of_its_socket() {
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            assert_eq!(relayed(transport, "192.0.2.2:5060"), [CALLER, PROXY, CALLEE], "{transport}");
        }
        assert_eq!(relayed(Transport::Tcp, "192.0.2.2"), [CALLER, PROXY, CALLEE], "default port");
    }

    #[test]
    fn other_ports_are_other_hosts() {
        let four = [CALLER, PROXY, OPENED, CALLEE];
        assert_eq!(relayed(Transport::Udp, "192.0.2.2:5060"), four, "no connection");
        assert_eq!(relayed(Transport::Tcp, "192.0.2.4:5060"), four, "another address");
        assert_eq!(relayed(Transport::Tcp, "192.0.2.2:5070"), four, "a socket that is not in the call");
        assert_eq!(relayed(Transport::Tcp, "proxy.example.com:5060"), four, "a name");
    }

    #[test]
    fn a_connection_seen_before_the_socket_is_in_its_column_too() {
        let samples = [
            request(0, "INVITE").hop(OPENED, CALLEE).via("192.0.2.2:5060").over(Transport::Tcp),
            reply(1, "INVITE", "100 Trying").hop(PROXY, CALLER),
        ];
        assert_eq!(hosts(&samples), [PROXY, CALLEE, CALLER]);
    }

    #[test]
    fn an_ipv6_socket_is_known_with_and_without_port() {
        for via in ["[2001:db8::2]:5061", "[2001:db8::2]"] {
            let samples = [
                request(0, "INVITE").hop("[2001:db8::1]:5060", "[2001:db8::2]:5061"),
                request(1, "INVITE")
                    .hop("[2001:db8::2]:49152", "[2001:db8::3]:5061")
                    .via(via)
                    .over(Transport::Tls),
            ];
            assert_eq!(hosts(&samples), ["[2001:db8::1]:5060", "[2001:db8::2]:5061", "[2001:db8::3]:5061"]);
        }
    }
}
