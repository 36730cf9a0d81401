//! Whole transactions, whole dialogs, everything: each message once, under the id that was given once.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::collector::Seen;
use harness::kamailio::wait_for_stat;
use harness::ladder::Roles;
use harness::sipp::Transport;
use harness::{Backend, Call, Collector, Kamailio, Observed, Proxy, Setup, Uas, eventually, ladder};
use serde_json::{Value, json};

use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(20);
const TRYING: &str = "proxy>uac 100 trying -- your call is important to us";

/// Messages that cross the proxy: each is seen as it comes and as it goes.
fn crossing(steps: &[(&str, &str)]) -> Vec<String> {
    let (mut rows, mut all) = (Vec::new(), steps.iter());
    for (from, label) in all.by_ref() {
        let to = if *from == "uac" { "uas" } else { "uac" };
        rows.push(format!("{from}>proxy {label}"));
        rows.push(format!("proxy>{to} {label}"));
    }
    rows
}

/// The ladder's arrows, sorted: what was sent is seen after the sending, so that on one machine its reply may be seen
/// first.
fn arrows(call: &Value, roles: &Roles) -> Result<Vec<String>> {
    let mut rows: Vec<_> = ladder::found(call, roles)?
        .into_iter()
        .map(|row| format!("{}>{} {}", row.from, row.to, row.label))
        .collect();
    rows.sort();
    Ok(rows)
}

fn check(call: &Value, roles: &Roles, session: &str, mut expected: Vec<String>) -> Result<()> {
    expected.sort();
    let found = arrows(call, roles)?;
    ensure!(found == expected, "expected\n{expected:#?}\nfound\n{found:#?}");
    for message in call["messages"].as_array().into_iter().flatten() {
        ensure!(
            message["correlation_id"] == session,
            "{} under {}",
            message["method"],
            message["correlation_id"]
        );
    }
    Ok(())
}

fn stage(mode: &str, session: &str, uas: Uas) -> Result<Stage> {
    let backend = Backend::start()?;
    let setup = Setup::case("modes", backend.hep(), uas.uri()).session(session).define("MODE", mode);
    Ok(Stage { proxy: Kamailio::start(&setup)?, uas, backend })
}

fn answered() -> Vec<String> {
    let mut rows = crossing(&[("uac", "INVITE"), ("uas", "180 Ringing"), ("uas", "200 OK"), ("uac", "ACK")]);
    rows.push(TRYING.to_owned());
    rows
}

#[test]
fn a_transaction_is_captured_on_both_sides_under_the_id_given_once() -> Result<()> {
    let stage = stage("t", "transaction", Uas::start(Transport::Udp)?)?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, answered().len())?;
    // The BYE is another transaction, and nobody asked for it.
    check(&call, &stage.roles(), "transaction", answered())
}

#[test]
fn a_call_that_fails_is_captured_up_to_its_negative_ack() -> Result<()> {
    let stage = stage("t", "negative", Uas::start(Transport::Udp)?)?;
    let placed = Call::new("busy").to("busy").place(stage.proxy.sip(), Transport::Udp)?;
    // The proxy acknowledges the negative reply itself, and the caller's ACK ends at the proxy.
    let mut expected = crossing(&[("uac", "INVITE"), ("uas", "486 Busy Here")]);
    expected.extend([TRYING, "uac>proxy ACK", "proxy>uas ACK"].map(str::to_owned));
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&call, &stage.roles(), "negative", expected)
}

fn cancelled(mode: &str) -> Result<()> {
    let stage = stage(mode, "cancelled", Uas::start_as("cancel", Transport::Udp)?)?;
    let placed = Call::new("cancel").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected =
        crossing(&[("uac", "INVITE"), ("uas", "180 Ringing"), ("uas", "487 Request Terminated")]);
    // Hop by hop: CANCEL with its reply, and the ACK of a negative reply.
    expected.extend(
        [
            TRYING,
            "uac>proxy CANCEL",
            "proxy>uac 200 canceling",
            "proxy>uas CANCEL",
            "uas>proxy 200 OK",
            "uac>proxy ACK",
            "proxy>uas ACK",
        ]
        .map(str::to_owned),
    );
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&call, &stage.roles(), "cancelled", expected)
}

#[test]
fn a_cancelled_call_is_captured_whole_in_mode_t() -> Result<()> {
    cancelled("t")
}

#[test]
fn a_cancelled_call_is_captured_whole_in_mode_d() -> Result<()> {
    cancelled("d")
}

#[test]
fn a_called_side_that_is_silent_shows_retransmissions_and_the_proxys_own_408() -> Result<()> {
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let collector = Collector::start()?;
    let uri = format!("sip:{}", silent.local_addr()?);
    let setup = Setup::case("modes", collector.address(), uri).session("silent").define("MODE", "t");
    let proxy = Kamailio::start(&setup)?;
    let caller = UdpSocket::bind("127.0.0.1:0")?;
    // The second is a retransmission, maybe met by another process at the same moment.
    for _ in 0..2 {
        caller.send_to(&Observed::request("INVITE", "silent-call", 1).payload, proxy.sip())?;
    }

    let is_408 = |packet: &Seen| packet.start_line().starts_with("SIP/2.0 408");
    let packets = eventually("the 408", LIMIT, || {
        let packets = collector.packets()?;
        ensure!(packets.iter().any(is_408), "{} packets", packets.len());
        Ok(packets)
    })?;
    let to_silent = packets.iter().filter(|packet| packet.dst == silent.local_addr().ok()).count();
    assert!(to_silent >= 3, "{to_silent} times the INVITE");
    let from_caller = packets.iter().filter(|packet| packet.src == caller.local_addr().ok()).count();
    assert_eq!(from_caller, 2, "each of the caller's messages once");
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("silent")), "{packets:?}");
    Ok(())
}

#[test]
fn a_request_of_the_proxys_own_is_captured_once_with_its_reply() -> Result<()> {
    let called = UdpSocket::bind("127.0.0.1:0")?;
    called.set_read_timeout(Some(LIMIT))?;
    let collector = Collector::start()?;
    let uri = format!("sip:{}", called.local_addr()?);
    let proxy = Kamailio::start(
        &Setup::case("modes", collector.address(), uri.clone()).session("probe").define("MODE", "t"),
    )?;
    let headers = "From: <sip:probe@127.0.0.1>\r\nTo: <sip:called@127.0.0.1>\r\nContent-Type: text/plain\r\n";
    proxy.rpc(&["tm.t_uac_start", "OPTIONS", &uri, ".", ".", headers, "probe"])?;
    let mut bytes = [0; 4096];
    let (len, from) = called.recv_from(&mut bytes)?;
    let request = String::from_utf8_lossy(&bytes[..len]).into_owned();
    let (_, rest) = request.split_once("\r\n").unwrap_or_default();
    called.send_to(format!("SIP/2.0 200 OK\r\n{rest}").as_bytes(), from)?;

    let packets = collector.wait_for(2, LIMIT)?;
    ensure!(packets.len() == 2, "{packets:?}");
    let ends: BTreeSet<_> = packets.iter().map(|packet| (packet.src, packet.dst)).collect();
    let (ours, theirs) = (Some(proxy.sip()), called.local_addr().ok());
    assert_eq!(ends, BTreeSet::from([(ours, theirs), (theirs, ours)]), "{packets:?}");
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("probe")));
    Ok(())
}

#[test]
fn a_dialog_keeps_its_id_through_reinvite_and_bye() -> Result<()> {
    let stage = stage("d", "dialog", Uas::start(Transport::Udp)?)?;
    let placed = Call::new("reinvite").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected = answered();
    expected.extend(crossing(&[
        ("uac", "INVITE"),
        ("uas", "200 OK"),
        ("uac", "ACK"),
        ("uac", "BYE"),
        ("uas", "200 OK"),
    ]));
    expected.push(TRYING.to_owned());
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&call, &stage.roles(), "dialog", expected)
}

#[test]
fn a_dialog_over_tls_is_captured_in_clear_on_both_sides() -> Result<()> {
    let stage = stage("d", "tls", Uas::start(Transport::Udp)?)?;
    let call_id = Call::new("call").place_tls(stage.proxy.tls(), &stage.proxy.certificate())?;
    let mut expected = answered();
    expected.extend(crossing(&[("uac", "BYE"), ("uas", "200 OK")]));
    let call = stage.backend.call(&call_id, expected.len())?;
    check(&call, &stage.roles(), "tls", expected)
}

#[test]
fn a_dialog_keeps_its_id_when_the_called_side_ends_it() -> Result<()> {
    let stage = stage("d", "callee", Uas::start_as("callee_bye", Transport::Udp)?)?;
    let placed = Call::new("callee_bye").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected = answered();
    expected.extend(crossing(&[("uas", "BYE"), ("uac", "200 OK")]));
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&call, &stage.roles(), "callee", expected)
}

#[test]
fn everything_is_captured_without_any_call_in_the_script() -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("modes", backend.hep(), uas.uri()).define("EVERYTHING", "yes");
    let stage = Stage { proxy: Kamailio::start(&setup)?, uas, backend };
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected = answered();
    expected.extend(crossing(&[("uac", "BYE"), ("uas", "200 OK")]));
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&call, &stage.roles(), &placed.call_id, expected)
}

/// Over TCP, since there nobody sends a message twice and the count is exact.
fn two_hundred_calls(setup: impl FnOnce(Setup) -> Setup) -> Result<(Vec<Seen>, Kamailio)> {
    const CALLS: u32 = 200;
    /// INVITE, 180, 200, ACK, BYE and 200, each in and out, and the proxy's own 100.
    const EACH: usize = 13;
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Tcp)?);
    let setup = setup(Setup::case("modes", collector.address(), uas.uri()).hep_over_tcp());
    let mut proxy = Kamailio::start(&setup)?;
    Call::new("call").times(CALLS, 50).place(proxy.sip(), Transport::Tcp)?;
    let expected = EACH * CALLS as usize;
    let packets = collector.wait_for(expected, LIMIT)?;
    ensure!(packets.len() == expected, "{} packets instead of {expected}", packets.len());
    let different: BTreeSet<_> =
        packets.iter().map(|packet| (packet.src, packet.dst, packet.payload.as_str())).collect();
    ensure!(different.len() == expected, "only {} different ones of {expected}", different.len());
    // A collector that says nothing has a second to do so.
    wait_for_stat(&mut proxy, "sent", expected as u64, LIMIT)?;
    let stats = proxy.stats()?;
    for (name, value) in [("sent", expected as u64), ("dropped", 0), ("in_queue", 0), ("table_full", 0)] {
        ensure!(stats[name] == value, "{name} is {}: {stats:?}", stats[name]);
    }
    Ok((packets, proxy))
}

fn call_id(packet: &Seen) -> Option<&str> {
    packet.payload.lines().find_map(|line| line.strip_prefix("Call-ID: ")).map(str::trim)
}

#[test]
fn two_hundred_calls_are_captured_exactly_in_mode_d() -> Result<()> {
    let (packets, _) = two_hundred_calls(|setup| setup.session("many").define("MODE", "d"))?;
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("many")));
    Ok(())
}

#[test]
fn two_hundred_calls_are_captured_exactly_by_trace_mode() -> Result<()> {
    let (packets, _) = two_hundred_calls(|setup| setup.define("EVERYTHING", "yes"))?;
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == call_id(packet)));
    Ok(())
}

#[test]
fn calls_of_the_script_add_no_copies_to_what_is_captured_anyway() -> Result<()> {
    let all = |setup: Setup| setup.define("EVERYTHING", "yes").define("MODE", "d").define("ALSO_EACH", "yes");
    let (packets, mut proxy) = two_hundred_calls(|setup| all(setup).session("both"))?;
    let stats = proxy.stats()?;
    assert!(stats["filtered"] > 0, "{stats:?}");
    // What comes in waits for the script's call, so that the first message has the id, too.
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("both")));
    Ok(())
}

#[test]
fn an_id_that_the_script_gives_is_on_every_message_that_trace_mode_captures() -> Result<()> {
    let both = |setup: Setup| setup.session("given").define("EVERYTHING", "yes").define("MODE", "d");
    let (packets, _) = two_hundred_calls(both)?;
    let other = packets.iter().find(|packet| packet.correlation_id.as_deref() != Some("given"));
    ensure!(other.is_none(), "{other:?}");
    Ok(())
}

#[test]
fn siptrace_beside_us_keeps_its_events_and_costs_us_no_message() -> Result<()> {
    let beside = |setup: Setup| {
        setup.define("EVERYTHING", "yes").define("ALSO_EACH", "yes").define("BESIDE_SIPTRACE", "yes")
    };
    let (_, proxy) = two_hundred_calls(beside)?;
    assert!(proxy.log().contains("another module"), "{}", proxy.log());
    Ok(())
}

#[test]
fn each_dialog_has_the_id_that_the_template_makes_of_its_first_request() -> Result<()> {
    // Without an argument the template decides, once: its CSeq would be another one later in the dialog.
    let by_template = |setup: Setup| setup.session("").define("MODE", "d").define("TEMPLATE", "yes");
    let (packets, _) = two_hundred_calls(by_template)?;
    for packet in &packets {
        let expected = call_id(packet).map(|id| format!("{id}/1"));
        ensure!(packet.correlation_id == expected, "{:?} instead of {expected:?}", packet.correlation_id);
    }
    Ok(())
}

#[test]
fn two_sessions_are_never_mixed() -> Result<()> {
    let (backend, uas) = (Backend::start()?, Uas::start(Transport::Tcp)?);
    let setup = Setup::example("dialog", backend.hep(), uas.uri()).session("neither").hep_over_tcp();
    let stage = Stage { proxy: Kamailio::start(&setup)?, uas, backend };
    let proxy = stage.proxy.sip();
    std::thread::scope(|scope| -> Result<()> {
        let red =
            scope.spawn(move || Call::new("call").session("red").times(40, 20).place(proxy, Transport::Tcp));
        Call::new("call").session("blue").times(40, 20).place(proxy, Transport::Tcp)?;
        red.join().unwrap()?;
        Ok(())
    })?;
    for id in ["red", "blue"] {
        let session = stage.backend.session(id, 40 * 13)?;
        assert_eq!((&session["messages"], &session["calls"]), (&json!(40 * 13), &json!(40)));
        let listed = stage.backend.api().all(&format!("/api/v1/sessions/{id}/calls?limit=100"))?;
        assert!(listed.iter().all(|call| call["correlation_ids"] == json!([id])), "{id}");
    }
    Ok(())
}

#[test]
fn a_full_table_costs_calls_nothing_and_is_counted() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("modes", collector.address(), uas.uri())
        .define("MODE", "d")
        .define("FEW_SESSIONS", "yes");
    let mut proxy = Kamailio::start(&setup)?;
    Call::new("call").times(40, 40).place(proxy.sip(), Transport::Udp)?;
    let stats = proxy.stats()?;
    assert!(stats["table_full"] >= 24, "{stats:?}");
    assert_eq!(proxy.log().matches("session table full").count(), 1, "said once");
    Ok(())
}

#[test]
fn only_the_methods_of_trace_method_are_captured() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("modes", collector.address(), uas.uri());
    let proxy = Kamailio::start(&setup.define("EVERYTHING", "yes").define("METHODS", "BYE"))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let packets = collector.wait_for(4, LIMIT)?;
    assert!(packets.iter().all(|packet| packet.payload.contains(" BYE\r\n")), "{packets:?}");
    Ok(())
}

#[test]
fn only_what_passes_the_sockets_of_trace_network_is_captured() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("modes", collector.address(), uas.uri()).session("inner");
    let called = uas.address().to_string();
    let proxy = Kamailio::start(&setup.define("MODE", "d").define("NETWORK", called))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    // INVITE, 180, 200, ACK, BYE, 200: the called side's half of the ladder.
    let packets = collector.wait_for(6, LIMIT)?;
    assert_eq!(packets.len(), 6, "{packets:?}");
    let inner = Some(uas.address());
    assert!(packets.iter().all(|packet| packet.src == inner || packet.dst == inner), "{packets:?}");
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("inner")));
    Ok(())
}

#[test]
fn keepalives_and_what_is_no_sip_are_not_captured() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = Setup::case("modes", collector.address(), uas.uri()).define("EVERYTHING", "yes");
    let proxy = Kamailio::start(&setup)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for bytes in [&b"\r\n\r\n"[..], b"\0\0\0\0", b"hello\r\n\r\n"] {
        socket.send_to(bytes, proxy.sip())?;
    }
    socket.send_to(&Observed::request("OPTIONS", "probe", 1).payload, proxy.sip())?;
    // The request and the stateless reply.
    let packets = collector.wait_for(2, LIMIT)?;
    assert_eq!(packets.len(), 2, "{packets:?}");
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("probe")));
    Ok(())
}
