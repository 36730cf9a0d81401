//! A real OpenSIPS: calls over each transport, through to the backend's API.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::ladder::Roles;
use harness::scripted::{Carrier, TlsUas};
use harness::sipp::Transport;
use harness::{Backend, Call, Collector, Proxy, Setup, Uas};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Stage, check, check_roles, whole_call};

#[test]
fn the_examples_load_and_capture_a_call_over_udp() -> Result<()> {
    let installed = installed!("the_examples_load_and_capture_a_call_over_udp");
    for name in ["minimal", "full"] {
        if name == "full" && !installed.has("proto_tls") {
            harness::skipped("the full example", "this OpenSIPS has no proto_tls");
            continue;
        }
        let stage = Stage::example(&installed, name, |setup| setup.session("example"))?;
        let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
        let call = stage.backend.call(&placed.call_id, whole_call().len())?;
        check(&stage, &call, "example", whole_call()).context(name)?;
        assert_eq!(call["outcome"], "answered");
        assert_eq!(call["messages"][0]["src"], json!(placed.address.to_string()));
        let found = stage.backend.api().get("/api/v1/sessions/example")?;
        assert_eq!(found["calls"], 1, "{found}");
    }
    Ok(())
}

#[test]
fn the_callers_own_session_id_is_on_every_message() -> Result<()> {
    let installed = installed!("the_callers_own_session_id_is_on_every_message");
    let stage = Stage::example(&installed, "full", |setup| setup)?;
    let placed = Call::new("call").session("from-the-header").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, whole_call().len())?;
    check(&stage, &call, "from-the-header", whole_call())
}

#[test]
fn a_call_over_tcp_is_captured_with_its_transport() -> Result<()> {
    let installed = installed!("a_call_over_tcp_is_captured_with_its_transport");
    let stage = Stage::example(&installed, "full", |setup| setup.session("tcp").hep_over_tcp())?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Tcp)?;
    let call = stage.backend.call(&placed.call_id, whole_call().len())?;
    check(&stage, &call, "tcp", whole_call())?;
    transports(&stage, &call, "tcp")
}

#[test]
fn a_call_over_tls_is_captured_in_clear() -> Result<()> {
    let installed = installed!("a_call_over_tls_is_captured_in_clear");
    if !installed.has("proto_tls") {
        harness::skipped("a call over TLS", "this OpenSIPS has no proto_tls");
        return Ok(());
    }
    let stage = Stage::example(&installed, "full", |setup| setup.session("tls"))?;
    let call_id = Call::new("call").place_tls(stage.proxy.tls(), &stage.proxy.certificate())?;
    let call = stage.backend.call(&call_id, whole_call().len())?;
    check(&stage, &call, "tls", whole_call())?;
    transports(&stage, &call, "tls")
}

#[test]
fn a_call_over_websocket_is_captured_unmasked() -> Result<()> {
    let installed = installed!("a_call_over_websocket_is_captured_unmasked");
    if !installed.has("proto_wss") {
        harness::skipped("a call over WebSocket", "this OpenSIPS has no proto_wss");
        return Ok(());
    }
    for outer in ["ws", "wss"] {
        let all = |setup: Setup| setup.define("TLS", "yes").define("WS", "yes").define("EVERYTHING", "yes");
        let stage = Stage::modes(&installed, Uas::start(Transport::Udp)?, all)?;
        let [ws, wss] = stage.proxy.websockets();
        let (carrier, to) = match outer {
            "ws" => (Carrier::ws(), ws),
            _ => (Carrier::wss(stage.proxy.certificate()), wss),
        };
        let placed = Call::new("call").place_over(&carrier, to)?;
        let call = stage.backend.call(&placed.call_id, whole_call().len())?;
        let proxy = vec![stage.proxy.sip(), to];
        let roles = Roles { proxy, uas: stage.uas.address() };
        check_roles(&stage, &roles, &call, &placed.call_id, whole_call()).context(outer)?;
        transports(&stage, &call, outer)?;
    }
    Ok(())
}

#[test]
fn a_call_that_leaves_over_tls_has_the_connections_own_port() -> Result<()> {
    let installed = installed!("a_call_that_leaves_over_tls_has_the_connections_own_port");
    if !installed.has("proto_tls") {
        harness::skipped("a call that leaves over TLS", "this OpenSIPS has no proto_tls");
        return Ok(());
    }
    let (collector, uas) = (Collector::start()?, TlsUas::start()?);
    let setup = Setup::opensips_case("modes", collector.address(), uas.uri());
    let proxy = installed.start(&setup.define("TLS", "yes").define("EVERYTHING", "yes"))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let packets = collector.wait_for(whole_call().len(), LIMIT)?;
    let ours = SocketAddr::new(proxy.sip().ip(), uas.peer_port()?);
    for packet in packets.iter().filter(|packet| packet.dst == Some(uas.address())) {
        // Of a TLS connection that is only being made, no version tells the port: so for the first message.
        let is_first = packet.start_line().starts_with("INVITE ") && packet.src == Some(proxy.tls());
        ensure!(is_first || packet.src == Some(ours), "not from {ours}: {packet:?}");
        ensure!(packet.ip_protocol == Some(22), "not over TLS: {packet:?}");
        ensure!(packet.payload.contains("\r\nCall-ID: "), "not in clear: {packet:?}");
    }
    Ok(())
}

/// `outer` for what does not touch the called side, which speaks UDP.
fn transports(stage: &Stage, call: &Value, outer: &str) -> Result<()> {
    let inside = stage.uas.address().to_string();
    for message in call["messages"].as_array().into_iter().flatten() {
        let is_inside = message["src"] == inside.as_str() || message["dst"] == inside.as_str();
        ensure!(message["transport"] == if is_inside { "udp" } else { outer }, "{message}");
    }
    Ok(())
}

#[test]
fn a_call_over_ipv6_is_captured_with_its_addresses() -> Result<()> {
    let installed = installed!("a_call_over_ipv6_is_captured_with_its_addresses");
    let loopback = std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    let (backend, uas) = (Backend::start()?, Uas::start_on(loopback, Transport::Udp)?);
    let setup = Setup::opensips_example("full", backend.hep(), uas.uri()).session("v6").on(loopback);
    let stage = Stage { proxy: installed.start(&setup)?, uas, backend };
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, whole_call().len())?;
    check(&stage, &call, "v6", whole_call())
}
