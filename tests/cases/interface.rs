//! Capture on one side of the proxy only: by the script, by listening socket, by source network, by method.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Observed, Proxy, Setup, Uas, port};

use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(20);
const OUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[test]
fn only_what_arrives_at_the_named_interface_is_captured() -> Result<()> {
    let stage = Stage::case("one_interface", |setup| {
        setup
            .session("outer")
            .define("OUTER_IP", OUTER.to_string())
            .define("LISTEN", format!("udp:{OUTER}:SIP_PORT"))
    })?;
    let inner = stage.proxy.sip();
    let outer = SocketAddr::new(OUTER, inner.port());

    let hidden = Call::new("call").place(inner, Transport::Udp)?;
    let seen = Call::new("call").place(outer, Transport::Udp)?;

    let call = stage.backend.call(&seen.call_id, 3)?;
    let messages = call["messages"].as_array().unwrap();
    let methods: Vec<_> =
        messages.iter().map(|message| message["method"].as_str().unwrap_or_default()).collect();
    assert_eq!(methods, ["INVITE", "ACK", "BYE"]);
    for message in messages {
        assert_eq!(message["kind"], "request");
        assert_eq!(message["dst"], outer.to_string().as_str());
    }

    // The inner side's call was placed first: had any of its messages been sent, it would be there by now.
    let everything = stage.backend.api().all("/api/v1/messages?correlation_id=outer")?;
    assert_eq!(everything.len(), messages.len());
    assert_ne!(hidden.call_id, seen.call_id);
    assert_eq!(stage.backend.api().fetch(&format!("/api/v1/calls/{}", hidden.call_id))?.status, 404);
    Ok(())
}

#[test]
fn only_what_passes_the_listening_socket_of_trace_network_is_captured() -> Result<()> {
    let (collector, uas, second) = (Collector::start()?, Uas::start(Transport::Udp)?, port::free()?);
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, second));
    let proxy = Kamailio::start(
        &Setup::case("control", collector.address(), uas.uri())
            .define("EVERYTHING", "yes")
            .define("LISTEN", format!("udp:{socket}"))
            .define("NETWORK", socket.to_string()),
    )?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let seen = Call::new("call").place(socket, Transport::Udp)?;
    // Both legs of the second call use its socket: INVITE, 180, 200, ACK, BYE and 200 in and out, and the proxy's own 100.
    let packets = collector.wait_for(13, LIMIT)?;
    for packet in &packets {
        ensure!(packet.src == Some(socket) || packet.dst == Some(socket), "{packet:?}");
        ensure!(packet.correlation_id.as_deref() == Some(seen.call_id.as_str()), "{packet:?}");
    }
    Ok(())
}

/// What is captured of requests that come from two addresses, each answered by the proxy before the next.
fn captured(
    setup: impl FnOnce(Setup) -> Setup,
    methods: &[&str],
    expected: usize,
) -> Result<Vec<(String, IpAddr)>> {
    let collector = Collector::start()?;
    let proxy =
        Kamailio::start(&setup(Setup::case("control", collector.address(), "sip:127.0.0.1:9".to_owned())))?;
    for last in [3, 2] {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0))?;
        socket.set_read_timeout(Some(LIMIT))?;
        for method in methods {
            let request =
                String::from_utf8(Observed::request(method, &format!("{method}-{last}"), 1).payload)?;
            socket.send_to(request.replace(";branch=", ";rport;branch=").as_bytes(), proxy.sip())?;
            socket.recv(&mut [0; 4096])?;
        }
    }
    let packets = collector.wait_for(expected, LIMIT)?;
    ensure!(packets.len() == expected, "{packets:#?}");
    let peer = |end: Option<SocketAddr>| end.filter(|end| *end != proxy.sip()).map(|end| end.ip());
    let id = |id: Option<String>| id.unwrap_or_default();
    Ok(packets
        .into_iter()
        .filter_map(|packet| Some((id(packet.correlation_id), peer(packet.src).or(peer(packet.dst))?)))
        .collect())
}

#[test]
fn only_what_comes_from_or_goes_to_the_source_network_of_trace_network_is_captured() -> Result<()> {
    let network = |setup: Setup| setup.define("NETWORK", "127.0.0.2/32,192.0.2.0/24");
    // The request and the reply to it; a call in the script captures requests only.
    let by_mode = captured(|setup| network(setup).define("EVERYTHING", "yes"), &["OPTIONS"], 2)?;
    let by_script = captured(|setup| network(setup).define("SCRIPT", "yes").session(""), &["OPTIONS"], 1)?;
    for packet in by_mode.into_iter().chain(by_script) {
        assert_eq!(packet, ("OPTIONS-2".to_owned(), OUTER));
    }
    Ok(())
}

#[test]
fn only_the_methods_of_trace_method_are_captured_of_what_the_script_names() -> Result<()> {
    let setup = |setup: Setup| setup.define("METHODS", "register").define("SCRIPT", "yes").session("");
    let mut ids: Vec<_> =
        captured(setup, &["OPTIONS", "REGISTER"], 2)?.into_iter().map(|(id, _)| id).collect();
    ids.sort();
    assert_eq!(ids, ["REGISTER-2", "REGISTER-3"]);
    Ok(())
}
