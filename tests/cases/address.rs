//! Between which addresses messages go: connections that the proxy opens, load balancers, families, advertised addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::ladder::{self, Roles};
use harness::sipp::{Placed, Transport};
use harness::{Backend, Call, Carrier, Collector, Kamailio, Proxy, Setup, TlsUas, Uas};
use serde_json::{Value, json};

use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(20);

/// How messages are captured, and how many of the call `call` are.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// `sip_trace` in `onsend_route`, mode m, and on what comes in.
    EachMessage,
    /// Mode d, once.
    Dialog,
    /// `trace_mode`.
    Everything,
}

impl Way {
    fn setup(self, collector: SocketAddr, relay_to: String) -> Setup {
        let case = || Setup::case("modes", collector, relay_to.clone());
        match self {
            Self::EachMessage => case().define("ALSO_EACH", "yes"),
            Self::Dialog => case().define("MODE", "d"),
            Self::Everything => case().define("EVERYTHING", "yes"),
        }
    }

    /// `onsend_route` does not run for the proxy's own 100, and for replies only if told to.
    fn messages(self) -> usize {
        if matches!(self, Self::EachMessage) { 9 } else { 13 }
    }
}

/// The proxy's address in every message to or from `far`; there must be no other.
fn ours_towards(call: &Value, far: SocketAddr) -> Result<SocketAddr> {
    let far = far.to_string();
    let mut found = BTreeSet::new();
    for message in call["messages"].as_array().context("no messages")? {
        let (src, dst) =
            (message["src"].as_str().unwrap_or_default(), message["dst"].as_str().unwrap_or_default());
        if src == far {
            found.insert(dst);
        } else if dst == far {
            found.insert(src);
        }
    }
    ensure!(found.len() == 1, "the proxy is {found:?} towards {far}");
    Ok(found.first().context("no message")?.parse()?)
}

/// Whether the kernel has such a connection over IPv4.
fn is_connected(local: SocketAddr, remote: SocketAddr) -> Result<bool> {
    let hex = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => Ok(format!("{:08X}:{:04X}", u32::from_le_bytes(ip.octets()), end.port())),
        IpAddr::V6(_) => anyhow::bail!("only IPv4"),
    };
    let (local, remote) = (hex(local)?, hex(remote)?);
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    Ok(table
        .lines()
        .any(|line| line.split_whitespace().skip(1).take(2).eq([local.as_str(), remote.as_str()])))
}

fn lifelines(call: &Value) -> Vec<&str> {
    let hosts = call["ladder"]["hosts"].as_array().into_iter().flatten();
    hosts.filter_map(|host| host["address"].as_str()).collect()
}

/// Nothing is guessed: the module found each connection that it asked for.
fn knows_every_port(proxy: &mut Kamailio) -> Result<()> {
    let stats = proxy.stats()?;
    ensure!(stats["port_unknown"] == 0, "{stats:?}");
    Ok(())
}

fn relayed_over_tcp(way: Way) -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Tcp)?);
    let mut proxy = Kamailio::start(&way.setup(backend.hep(), uas.uri()))?;
    let mut ports = BTreeSet::new();
    for _ in 0..2 {
        let placed = Call::new("call").place(proxy.sip(), Transport::Tcp)?;
        let call = backend.call(&placed.call_id, way.messages())?;
        let ours = ours_towards(&call, uas.address())?;
        ensure!(ours.port() != proxy.sip().port(), "the listening port is not the connection's");
        ensure!(is_connected(ours, uas.address())?, "no connection from {ours}");
        ensure!(ours_towards(&call, placed.address)? == proxy.sip());
        let hosts = [placed.address, proxy.sip(), uas.address()].map(|host| host.to_string());
        ensure!(lifelines(&call) == hosts, "{:?} instead of {hosts:?}", lifelines(&call));
        ports.insert(ours.port());
    }
    ensure!(ports.len() == 1, "one connection for both calls, not {ports:?}");
    knows_every_port(&mut proxy)
}

#[test]
fn a_connection_that_the_proxy_opens_has_one_port_in_mode_m() -> Result<()> {
    relayed_over_tcp(Way::EachMessage)
}

#[test]
fn a_connection_that_the_proxy_opens_has_one_port_in_mode_d() -> Result<()> {
    relayed_over_tcp(Way::Dialog)
}

#[test]
fn a_connection_that_the_proxy_opens_has_one_port_by_trace_mode() -> Result<()> {
    relayed_over_tcp(Way::Everything)
}

fn relayed_over_tls(way: Way) -> Result<()> {
    let (backend, uas) = (Backend::start()?, TlsUas::start()?);
    let mut proxy = Kamailio::start(&way.setup(backend.hep(), uas.uri()))?;
    let placed = Call::new("call").place_over(&Carrier::tls(proxy.certificate()), proxy.tls())?;
    let call = backend.call(&placed.call_id, way.messages())?;

    let ours = ours_towards(&call, uas.address())?;
    ensure!(ours.port() == uas.peer_port()?, "{ours} instead of port {}", uas.peer_port()?);
    ensure!(ours_towards(&call, placed.address)? == proxy.tls());
    let hosts = [placed.address, proxy.tls(), uas.address()].map(|host| host.to_string());
    ensure!(lifelines(&call) == hosts, "{:?} instead of {hosts:?}", lifelines(&call));
    ensure!(call["transports"] == json!(["tls"]), "{}", call["transports"]);
    knows_every_port(&mut proxy)
}

#[test]
fn a_tls_connection_that_the_proxy_opens_has_one_port_in_mode_m() -> Result<()> {
    relayed_over_tls(Way::EachMessage)
}

#[test]
fn a_tls_connection_that_the_proxy_opens_has_one_port_in_mode_d() -> Result<()> {
    relayed_over_tls(Way::Dialog)
}

#[test]
fn a_tls_connection_that_the_proxy_opens_has_one_port_by_trace_mode() -> Result<()> {
    relayed_over_tls(Way::Everything)
}

/// Fresh connections, one for each call: the port of the last one must not be taken for the next one's.
#[test]
fn each_of_many_connections_has_its_own_port() -> Result<()> {
    let collector = Collector::start()?;
    for way in [Way::EachMessage, Way::Dialog, Way::Everything] {
        let mut ports = BTreeSet::new();
        let uas: Vec<_> = (0..3).map(|_| TlsUas::start()).collect::<Result<_>>()?;
        // Whom to call is in the user part.
        let mut proxy =
            Kamailio::start(&way.setup(collector.address(), uas[0].uri()).define("BY_PORT", "yes"))?;
        for uas in &uas {
            let before = collector.packets()?.len();
            let user = uas.address().port().to_string();
            Call::new("call").to(&user).place_over(&Carrier::tls(proxy.certificate()), proxy.tls())?;
            let packets = collector.wait_for(before + way.messages(), LIMIT)?;
            let far = Some(uas.address());
            for packet in &packets[before..] {
                let ours = if packet.src == far { packet.dst } else { packet.src };
                if packet.src == far || packet.dst == far {
                    ensure!(ours.map(|ours| ours.port()) == Some(uas.peer_port()?), "{way:?}: {packet:?}");
                    ports.extend(ours);
                }
            }
        }
        ensure!(ports.len() == uas.len(), "{way:?}: {ports:?}");
        knows_every_port(&mut proxy)?;
    }
    Ok(())
}

/// Replies go back by the connection that the request came by, whatever its Via says.
#[test]
fn a_caller_behind_a_load_balancer_is_seen_with_its_own_address() -> Result<()> {
    let stage =
        Stage::case("modes", |setup| setup.define("EVERYTHING", "yes").define("BEHIND_BALANCER", "yes"))?;
    let line = "PROXY TCP4 192.0.2.77 198.51.100.1 40001 5060";
    let placed = Call::new("call").place_over(&Carrier::tcp().with_preface(line), stage.proxy.sip())?;
    let call = stage.backend.call(&placed.call_id, 13)?;

    let caller: SocketAddr = "192.0.2.77:40001".parse()?;
    assert_eq!(ours_towards(&call, caller)?, "198.51.100.1:5060".parse()?);
    assert_eq!(ours_towards(&call, stage.uas.address())?, stage.proxy.sip());
    assert_eq!(call["messages"][0]["src"], json!(caller.to_string()));
    // What is sent to the caller goes by its connection, too: not to where its Via or the load balancer's socket is.
    let far = json!(stage.uas.address().to_string());
    let ends = |message: &Value| [message["src"].clone(), message["dst"].clone()];
    let outside: Vec<_> = call["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(ends)
        .filter(|ends| !ends.contains(&far))
        .collect();
    let expected = [caller.to_string(), "198.51.100.1:5060".to_owned()].map(Value::from);
    assert_eq!(outside.len(), 7, "{outside:?}");
    assert!(outside.iter().all(|ends| ends.iter().all(|end| expected.contains(end))), "{outside:?}");
    Ok(())
}

#[test]
fn a_caller_that_a_load_balancer_does_not_name_is_seen_with_its_connection() -> Result<()> {
    let stage =
        Stage::case("modes", |setup| setup.define("EVERYTHING", "yes").define("BEHIND_BALANCER", "yes"))?;
    let placed =
        Call::new("call").place_over(&Carrier::tcp().with_preface("PROXY UNKNOWN"), stage.proxy.sip())?;
    let call = stage.backend.call(&placed.call_id, 13)?;
    assert_eq!(ours_towards(&call, placed.address)?, stage.proxy.sip());
    Ok(())
}

#[test]
fn a_call_from_ipv6_to_ipv4_is_captured_on_both_sides() -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let setup = Setup::example("full", backend.hep(), uas.uri()).session("both").on(loopback);
    let proxy = Kamailio::start(&setup)?;
    for transport in [Transport::Udp, Transport::Tcp] {
        let placed = Call::new("call").place(proxy.sip(), transport)?;
        let call = backend.call(&placed.call_id, ladder::expected("call")?.len())?;
        let inner = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.sip().port()));
        ladder::compare("call", &call, &Roles { proxy: vec![proxy.sip(), inner], uas: uas.address() })?;
        assert_eq!(ours_towards(&call, placed.address)?, proxy.sip());
        assert_eq!(ours_towards(&call, uas.address())?, inner);
    }
    Ok(())
}

/// A call to a socket that advertises 192.0.2.10:5099, with who placed it.
fn advertised(transport: Transport, adjust: impl FnOnce(Setup) -> Setup) -> Result<(Stage, Placed, Value)> {
    let (backend, uas) = (Backend::start()?, Uas::start(transport)?);
    let setup = Setup::case("modes", backend.hep(), uas.uri())
        .define("EVERYTHING", "yes")
        .define("ADVERTISED", "yes");
    // The sockets that the harness names lie elsewhere.
    let setup = setup.on(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let stage = Stage { proxy: Kamailio::start(&adjust(setup))?, uas, backend };
    let outer = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.proxy.sip().port()));
    let placed = Call::new("call").place(outer, transport)?;
    let call = stage.backend.call(&placed.call_id, 13)?;
    Ok((stage, placed, call))
}

#[test]
fn the_advertised_address_stands_for_the_bound_one_if_asked_for() -> Result<()> {
    let advertise: SocketAddr = "192.0.2.10:5099".parse()?;
    let (stage, placed, call) = advertised(Transport::Udp, |setup| setup.define("DATA_MODE", "1"))?;
    assert_eq!(ours_towards(&call, placed.address)?, advertise);
    assert_eq!(ours_towards(&call, stage.uas.address())?, advertise);
    Ok(())
}

#[test]
fn a_connection_that_the_proxy_opens_keeps_its_port_at_the_advertised_address() -> Result<()> {
    let advertise: SocketAddr = "192.0.2.10:5099".parse()?;
    let (stage, placed, call) = advertised(Transport::Tcp, |setup| setup.define("DATA_MODE", "1"))?;
    assert_eq!(ours_towards(&call, placed.address)?, advertise);
    let far = json!(stage.uas.address().to_string());
    let messages = call["messages"].as_array().context("no messages")?;
    let sent = messages.iter().find(|message| message["dst"] == far).context("no INVITE out")?;
    let ours: SocketAddr = sent["src"].as_str().context("no source")?.parse()?;
    assert_eq!(ours.ip(), advertise.ip());
    assert!(
        is_connected(SocketAddr::from((Ipv4Addr::LOCALHOST, ours.port())), stage.uas.address())?,
        "{ours}"
    );
    for received in messages.iter().filter(|message| message["src"] == far) {
        assert_eq!(received["dst"], sent["src"]);
    }
    Ok(())
}

/// Within the dialog the script's `loose_route()` chooses the socket. Then Kamailio binds the connection's address alone,
/// does not look which port it got, and says 0.
#[test]
fn a_connection_whose_port_the_proxy_does_not_know_shows_its_listening_socket_and_is_counted() -> Result<()> {
    let (mut stage, _, call) = advertised(Transport::Tcp, |setup| setup)?;
    let far = json!(stage.uas.address().to_string());
    let messages = call["messages"].as_array().context("no messages")?;
    let within: Vec<_> = messages
        .iter()
        .filter(|message| message["dst"] == far && message["method"] != "INVITE")
        .map(|message| message["src"].as_str().unwrap_or_default())
        .collect();
    let listening = stage.proxy.sip().to_string();
    assert_eq!(within, [listening.as_str(); 2]);
    assert_eq!(stage.proxy.stats()?["port_unknown"], 2);
    Ok(())
}

#[test]
fn the_bound_address_is_reported_by_default() -> Result<()> {
    let (stage, placed, call) = advertised(Transport::Udp, |setup| setup)?;
    let bound = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.proxy.sip().port()));
    assert_eq!(ours_towards(&call, placed.address)?, bound);
    Ok(())
}
