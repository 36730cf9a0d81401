//! SIP over WebSocket and SCTP: captured on both sides, with transport and addresses of their own.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::kamailio::wait_for_stat;
use harness::ladder;
use harness::sipp::{Placed, Transport};
use harness::{Backend, Call, Carrier, Collector, Kamailio, Proxy, Setup, Uas, skipped};
use serde_json::{Value, json};

use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(20);
/// INVITE, 180, 200, ACK, BYE and 200, each in and out, and the proxy's own 100.
const MESSAGES: usize = 13;

/// Each message on the caller's side has `transport` and goes between the caller and `proxy`; the others have UDP.
fn check_sides(call: &Value, placed: &Placed, proxy: SocketAddr, transport: &str) -> Result<()> {
    let ends = [placed.address, proxy].map(|end| json!(end.to_string()));
    let mut outside = 0;
    for message in call["messages"].as_array().context("no messages")? {
        let found = [&message["src"], &message["dst"]];
        if found.contains(&&ends[0]) {
            outside += 1;
            ensure!(found.contains(&&ends[1]), "{message}");
            ensure!(message["transport"] == transport, "{message}");
        } else {
            ensure!(message["transport"] == "udp", "{message}");
        }
    }
    ensure!(outside == 7, "{outside} messages on the caller's side");
    ensure!(call["transports"] == json!([transport, "udp"]), "{}", call["transports"]);
    Ok(())
}

/// The shipped example; `carrier` and `socket` say how and where the caller comes.
fn from_a_browser(
    transport: &str,
    carrier: impl Fn(&Kamailio) -> Carrier,
    socket: impl Fn(&Kamailio) -> SocketAddr,
) -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::example("websocket", backend.hep(), uas.uri()).session("browser");
    let mut stage = Stage { proxy: Kamailio::start(&setup)?, uas, backend };
    let proxy = socket(&stage.proxy);
    let placed = Call::new("call").place_over(&carrier(&stage.proxy), proxy)?;
    let call = stage.backend.call(&placed.call_id, MESSAGES)?;

    check_sides(&call, &placed, proxy, transport)?;
    let mut rows = ladder::found(&call, &stage.roles())?;
    rows.retain(|row| !row.label.starts_with("100 "));
    ensure!(rows == ladder::expected("call")?, "{rows:?}");
    ensure!(call["correlation_ids"] == json!(["browser"]), "{}", call["correlation_ids"]);
    let found = stage.backend.api().get(&format!("/api/v1/calls?transport={transport}"))?;
    ensure!(found["items"][0]["call_id"] == json!(placed.call_id), "{found}");
    ensure!(stage.proxy.stats()?["port_unknown"] == 0);
    Ok(())
}

#[test]
fn a_call_over_websocket_comes_out_as_its_ladder() -> Result<()> {
    from_a_browser("ws", |_| Carrier::ws(), Kamailio::sip)
}

#[test]
fn a_call_over_websocket_with_tls_comes_out_as_its_ladder() -> Result<()> {
    from_a_browser("wss", |proxy| Carrier::wss(proxy.certificate()), Kamailio::tls)
}

/// A request that goes to the browser, by the connection that the browser has opened.
#[test]
fn the_called_sides_bye_goes_over_the_websocket() -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start_as("callee_bye", Transport::Udp)?);
    let stage = Stage {
        proxy: Kamailio::start(&Setup::example("websocket", backend.hep(), uas.uri()))?,
        uas,
        backend,
    };
    let placed = Call::new("call").place_over(&Carrier::ws().ended_by_callee(), stage.proxy.sip())?;
    let call = stage.backend.call(&placed.call_id, MESSAGES)?;
    check_sides(&call, &placed, stage.proxy.sip(), "ws")?;
    let sent: Vec<_> = call["messages"]
        .as_array()
        .context("no messages")?
        .iter()
        .filter(|message| message["kind"] == "request" && message["dst"] == json!(placed.address.to_string()))
        .map(|message| &message["method"])
        .collect();
    assert_eq!(sent, [&json!("BYE")]);
    Ok(())
}

#[test]
fn a_websockets_handshake_is_not_captured_and_other_collectors_see_22() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("websocket", collector.address(), uas.uri()).hep_over_tcp();
    let mut proxy = Kamailio::start(&setup)?;
    let placed = Call::new("call").place_over(&Carrier::ws(), proxy.sip())?;
    let packets = collector.wait_for(MESSAGES, LIMIT)?;
    // A collector that says nothing has a second to do so.
    let sent = wait_for_stat(&mut proxy, "sent", MESSAGES as u64, LIMIT)?;
    assert_eq!((packets.len(), sent), (MESSAGES, MESSAGES as u64), "{packets:?}");
    for packet in &packets {
        let line = packet.start_line();
        assert!(line.contains("SIP/2.0"), "{line}");
        let outside = [packet.src, packet.dst].contains(&Some(placed.address));
        assert_eq!(packet.ip_protocol, Some(if outside { 22 } else { 17 }), "{line}");
    }
    Ok(())
}

/// The proxy's own reply, after which the browser is gone.
#[test]
fn a_probe_over_websocket_is_captured_with_its_reply() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let mut proxy = Kamailio::start(&Setup::case("websocket", collector.address(), uas.uri()))?;
    for round in 1..=20 {
        let carriers = [(Carrier::ws(), proxy.sip()), (Carrier::wss(proxy.certificate()), proxy.tls())];
        for (pair, (carrier, socket)) in carriers.into_iter().enumerate() {
            let before = (round - 1) * 4 + pair * 2;
            let placed = Call::new("call").place_over(&carrier.probing(), socket)?;
            let packets = collector.wait_for(before + 2, LIMIT)?;
            let ends: Vec<_> = packets[before..].iter().map(|packet| (packet.src, packet.dst)).collect();
            let (browser, ours) = (Some(placed.address), Some(socket));
            assert_eq!(ends, [(browser, ours), (ours, browser)], "{packets:?}");
        }
    }
    assert_eq!(proxy.stats()?["port_unknown"], 0);
    Ok(())
}

/// Whether this kernel can make a socket for SCTP.
fn has_sctp() -> bool {
    std::process::Command::new("python3")
        .args(["-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)"])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_call_over_sctp_has_its_transport_and_addresses() -> Result<()> {
    if !has_sctp() {
        skipped("a_call_over_sctp_has_its_transport_and_addresses", "this kernel has no SCTP");
        return Ok(());
    }
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Sctp)?);
    let stage =
        Stage { proxy: Kamailio::start(&Setup::case("sctp", backend.hep(), uas.uri()))?, uas, backend };
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Sctp)?;
    let call = stage.backend.call(&placed.call_id, MESSAGES)?;
    let mut rows = ladder::found(&call, &stage.roles())?;
    rows.retain(|row| !row.label.starts_with("100 "));
    ensure!(rows == ladder::expected("call")?, "{rows:?}");
    ensure!(call["transports"] == json!(["sctp"]), "{}", call["transports"]);
    Ok(())
}
