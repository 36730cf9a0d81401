//! A real OpenSIPS: the same scenarios as with Kamailio, through to the backend's API.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::collector::Seen;
use harness::kamailio::wait_for_stat;
use harness::ladder::{self, Roles};
use harness::opensips::Installed;
use harness::scripted::{Carrier, TlsUas};
use harness::sipp::Transport;
use harness::{Backend, Call, Collector, Observed, OpenSips, Proxy, Setup, Uas, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const TRYING: &str = "proxy>uac 100 Giving it a try";

/// The installation, or `None` after saying that the case could not run.
fn installed(case: &str) -> Result<Option<Installed>> {
    let found = Installed::found()?;
    if found.is_none() {
        harness::skipped(case, "OPENSIPS_BIN names no OpenSIPS");
    }
    Ok(found)
}

macro_rules! installed {
    ($case:literal) => {
        match installed($case)? {
            Some(installed) => installed,
            None => return Ok(()),
        }
    };
}

struct Stage {
    proxy: OpenSips,
    uas: Uas,
    backend: Backend,
}

impl Stage {
    fn modes(installed: &Installed, uas: Uas, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let backend = Backend::start()?;
        let setup = adjust(Setup::opensips_case("modes", backend.hep(), uas.uri()));
        Ok(Self { proxy: installed.start(&setup)?, uas, backend })
    }

    fn example(installed: &Installed, name: &str, adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let (backend, uas) = (Backend::start()?, Uas::start(Transport::Udp)?);
        let setup = adjust(Setup::opensips_example(name, backend.hep(), uas.uri()));
        Ok(Self { proxy: installed.start(&setup)?, uas, backend })
    }

    fn roles(&self) -> Roles {
        Roles { proxy: vec![self.proxy.sip(), self.proxy.tls()], uas: self.uas.address() }
    }
}

/// Messages that cross the proxy: each is seen as it comes and as it goes.
fn crossing(steps: &[(&str, &str)]) -> Vec<String> {
    let each = steps.iter().flat_map(|(from, label)| {
        let to = if *from == "uac" { "uas" } else { "uac" };
        [format!("{from}>proxy {label}"), format!("proxy>{to} {label}")]
    });
    each.collect()
}

fn answered() -> Vec<String> {
    let mut rows = crossing(&[("uac", "INVITE"), ("uas", "180 Ringing"), ("uas", "200 OK"), ("uac", "ACK")]);
    rows.push(TRYING.to_owned());
    rows
}

fn whole_call() -> Vec<String> {
    let mut rows = answered();
    rows.extend(crossing(&[("uac", "BYE"), ("uas", "200 OK")]));
    rows
}

/// The ladder's arrows, in whatever order, and the id of every message.
fn check(stage: &Stage, call: &Value, session: &str, expected: Vec<String>) -> Result<()> {
    check_roles(stage, &stage.roles(), call, session, expected)
}

fn check_roles(
    stage: &Stage,
    roles: &Roles,
    call: &Value,
    session: &str,
    mut expected: Vec<String>,
) -> Result<()> {
    expected.sort();
    let rows = ladder::found(call, roles)?;
    let mut found: Vec<_> =
        rows.into_iter().map(|row| format!("{}>{} {}", row.from, row.to, row.label)).collect();
    found.sort();
    ensure!(found == expected, "expected\n{expected:#?}\nfound\n{found:#?}\n{}", stage.proxy.log());
    for message in call["messages"].as_array().into_iter().flatten() {
        ensure!(message["correlation_id"] == session, "{message}");
    }
    Ok(())
}

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

#[test]
fn a_transaction_is_captured_on_both_sides_and_no_more() -> Result<()> {
    let installed = installed!("a_transaction_is_captured_on_both_sides_and_no_more");
    let uas = Uas::start(Transport::Udp)?;
    let stage = Stage::modes(&installed, uas, |setup| setup.session("transaction").define("MODE", "t"))?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, answered().len())?;
    check(&stage, &call, "transaction", answered())
}

#[test]
fn a_busy_call_is_captured_up_to_its_negative_ack() -> Result<()> {
    let installed = installed!("a_busy_call_is_captured_up_to_its_negative_ack");
    let uas = Uas::start(Transport::Udp)?;
    let stage = Stage::modes(&installed, uas, |setup| setup.session("busy").define("MODE", "t"))?;
    let placed = Call::new("busy").to("busy").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected = crossing(&[("uac", "INVITE"), ("uas", "486 Busy Here")]);
    expected.extend([TRYING, "uac>proxy ACK", "proxy>uas ACK"].map(str::to_owned));
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&stage, &call, "busy", expected)
}

#[test]
fn a_cancelled_call_is_captured_whole() -> Result<()> {
    let installed = installed!("a_cancelled_call_is_captured_whole");
    for mode in ["t", "d"] {
        let uas = Uas::start_as("cancel", Transport::Udp)?;
        let stage = Stage::modes(&installed, uas, |setup| setup.session("cancelled").define("MODE", mode))?;
        let placed = Call::new("cancel").place(stage.proxy.sip(), Transport::Udp)?;
        let mut expected =
            crossing(&[("uac", "INVITE"), ("uas", "180 Ringing"), ("uas", "487 Request Terminated")]);
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
        check(&stage, &call, "cancelled", expected).context(mode)?;
    }
    Ok(())
}

#[test]
fn a_dialog_keeps_its_id_through_reinvite_and_a_bye_of_the_called_side() -> Result<()> {
    let installed = installed!("a_dialog_keeps_its_id_through_reinvite_and_a_bye_of_the_called_side");
    let uas = Uas::start(Transport::Udp)?;
    let stage = Stage::modes(&installed, uas, |setup| setup.session("dialog").define("MODE", "d"))?;
    let placed = Call::new("reinvite").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected = whole_call();
    expected.extend(crossing(&[("uac", "INVITE"), ("uas", "200 OK"), ("uac", "ACK")]));
    expected.push(TRYING.to_owned());
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&stage, &call, "dialog", expected)?;

    let uas = Uas::start_as("callee_bye", Transport::Udp)?;
    let stage = Stage::modes(&installed, uas, |setup| setup.session("callee").define("MODE", "d"))?;
    let placed = Call::new("callee_bye").place(stage.proxy.sip(), Transport::Udp)?;
    let mut expected = answered();
    expected.extend(crossing(&[("uas", "BYE"), ("uac", "200 OK")]));
    let call = stage.backend.call(&placed.call_id, expected.len())?;
    check(&stage, &call, "callee", expected)
}

#[test]
fn a_silent_called_side_shows_retransmissions_and_the_proxys_own_408() -> Result<()> {
    let installed = installed!("a_silent_called_side_shows_retransmissions_and_the_proxys_own_408");
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    let collector = Collector::start()?;
    let uri = format!("sip:{}", silent.local_addr()?);
    let setup = Setup::opensips_case("modes", collector.address(), uri).session("silent").define("MODE", "t");
    let proxy = installed.start(&setup)?;
    let caller = UdpSocket::bind("127.0.0.1:0")?;
    // The second is a retransmission, which tm swallows.
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
    let installed = installed!("a_request_of_the_proxys_own_is_captured_once_with_its_reply");
    for mode in ["m", "t"] {
        let called = UdpSocket::bind("127.0.0.1:0")?;
        called.set_read_timeout(Some(LIMIT))?;
        let collector = Collector::start()?;
        let uri = format!("sip:{}", called.local_addr()?);
        let setup = Setup::opensips_case("modes", collector.address(), uri.clone()).session("probe");
        let proxy = installed.start(&setup.define("MODE", mode))?;
        let headers = "From: <sip:probe@127.0.0.1>\r\nTo: <sip:called@127.0.0.1>\r\n\r\n";
        let command = if installed.version().starts_with('4') { "tm:uac_dlg" } else { "t_uac_dlg" };
        // It answers when the reply is there.
        let waiting = std::thread::spawn({
            let request = json!({"method": "OPTIONS", "ruri": uri, "headers": headers});
            move || (proxy.mi_with(command, request), proxy)
        });
        let mut bytes = [0; 4096];
        let (len, from) = called.recv_from(&mut bytes)?;
        let request = String::from_utf8_lossy(&bytes[..len]).into_owned();
        let (_, rest) = request.split_once("\r\n").unwrap_or_default();
        called.send_to(format!("SIP/2.0 200 OK\r\n{rest}").as_bytes(), from)?;
        let (answer, proxy) = waiting.join().map_err(|_| anyhow::anyhow!("the MI client panicked"))?;
        answer?;

        let expected = if mode == "t" { 2 } else { 1 };
        let packets = collector.wait_for(expected, LIMIT)?;
        ensure!(packets.len() == expected, "{packets:?}");
        let ends: BTreeSet<_> = packets.iter().map(|packet| (packet.src, packet.dst)).collect();
        let (ours, theirs) = (Some(proxy.sip()), called.local_addr().ok());
        let both = BTreeSet::from([(ours, theirs), (theirs, ours)]);
        assert!(ends.contains(&(ours, theirs)) && ends.is_subset(&both), "{packets:?}");
        assert!(
            packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("probe")),
            "{packets:?}"
        );
    }
    Ok(())
}

/// Over TCP, since there nobody sends a message twice and the count is exact.
fn two_hundred_calls(
    installed: &Installed,
    setup: impl FnOnce(Setup) -> Setup,
) -> Result<(Vec<Seen>, OpenSips)> {
    const CALLS: u32 = 200;
    /// INVITE, 180, 200, ACK, BYE and 200, each in and out, and the proxy's own 100.
    const EACH: usize = 13;
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Tcp)?);
    let setup = setup(Setup::opensips_case("modes", collector.address(), uas.uri()).hep_over_tcp());
    let mut proxy = installed.start(&setup)?;
    Call::new("call").times(CALLS, 50).place(proxy.sip(), Transport::Tcp)?;
    let expected = EACH * CALLS as usize;
    let packets = collector.wait_for(expected, LIMIT)?;
    ensure!(packets.len() == expected, "{} packets instead of {expected}", packets.len());
    let different: BTreeSet<_> =
        packets.iter().map(|packet| (packet.src, packet.dst, packet.payload.as_str())).collect();
    ensure!(different.len() == expected, "only {} different ones of {expected}", different.len());
    // What goes to the called side leaves from the port of the connection, the one to which replies come.
    let called = Some(uas.address());
    let ports = |own: fn(&Seen) -> Option<SocketAddr>, other: fn(&Seen) -> Option<SocketAddr>| {
        packets.iter().filter(|packet| other(packet) == called).map(own).collect::<BTreeSet<_>>()
    };
    let (mut left, came) = (ports(|seen| seen.src, |seen| seen.dst), ports(|seen| seen.dst, |seen| seen.src));
    if installed.version().starts_with("4.0.") {
        // Of a connection that is only being made it does not know the port yet: so for the first message.
        left.remove(&Some(proxy.sip()));
    }
    ensure!(left == came && !left.contains(&Some(proxy.sip())), "from {left:?}, to {came:?}");
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
    let installed = installed!("two_hundred_calls_are_captured_exactly_in_mode_d");
    let (packets, _) = two_hundred_calls(&installed, |setup| setup.session("many").define("MODE", "d"))?;
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("many")));
    Ok(())
}

#[test]
fn two_hundred_calls_are_captured_exactly_by_trace_mode() -> Result<()> {
    let installed = installed!("two_hundred_calls_are_captured_exactly_by_trace_mode");
    let (packets, _) = two_hundred_calls(&installed, |setup| setup.define("EVERYTHING", "yes"))?;
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == call_id(packet)));
    Ok(())
}

#[test]
fn calls_of_the_script_add_no_copies_to_what_is_captured_anyway() -> Result<()> {
    let installed = installed!("calls_of_the_script_add_no_copies_to_what_is_captured_anyway");
    let all = |setup: Setup| setup.define("EVERYTHING", "yes").define("MODE", "d").define("ALSO_EACH", "yes");
    let (packets, mut proxy) = two_hundred_calls(&installed, |setup| all(setup).session("both"))?;
    assert!(proxy.stats()?["filtered"] > 0);
    let other = packets.iter().find(|packet| packet.correlation_id.as_deref() != Some("both"));
    ensure!(other.is_none(), "{other:?}");
    Ok(())
}

#[test]
fn the_stock_tracers_arguments_and_names_work_in_a_script() -> Result<()> {
    let installed = installed!("the_stock_tracers_arguments_and_names_work_in_a_script");
    let uas = Uas::start(Transport::Udp)?;
    let stage = Stage::modes(&installed, uas, |setup| setup.session("named").define("NAMES", "yes"))?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, whole_call().len())?;
    check(&stage, &call, "named", whole_call())
}

#[test]
fn the_variable_gives_calls_their_id_and_tells_it() -> Result<()> {
    let installed = installed!("the_variable_gives_calls_their_id_and_tells_it");
    let uas = Uas::start(Transport::Udp)?;
    let both = |setup: Setup| setup.define("VARIABLE", "yes").define("READS", "yes");
    let stage = Stage::modes(&installed, uas, both)?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, whole_call().len())?;
    let id = format!("var-{}", placed.call_id);
    check(&stage, &call, &id, whole_call())?;
    // INVITE, ACK and BYE; the latter two belong to the dialog.
    let line = format!("the id is <{id}> in <d>");
    assert_eq!(stage.proxy.log().matches(&line).count(), 3, "{}", stage.proxy.log());
    Ok(())
}

#[test]
fn the_stock_tracer_beside_us_keeps_its_function() -> Result<()> {
    let installed = installed!("the_stock_tracer_beside_us_keeps_its_function");
    if !installed.has("tracer") {
        harness::skipped("beside the stock tracer", "this OpenSIPS has no tracer");
        return Ok(());
    }
    let stock = Collector::start()?;
    let hep_port = harness::port::free()?.to_string();
    let (packets, _) = two_hundred_calls(&installed, |setup| {
        let setup = setup.session("ours").define("MODE", "d").define("BESIDE_TRACER", "yes");
        setup.define("STOCK", stock.address().to_string()).define("HEP_PORT", hep_port)
    })?;
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("ours")));
    let theirs = stock.packets()?;
    assert!(theirs.len() > 1000, "{} packets of the stock tracer", theirs.len());
    Ok(())
}

#[test]
fn capture_is_switched_and_counted_over_mi() -> Result<()> {
    let installed = installed!("capture_is_switched_and_counted_over_mi");
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let setup = Setup::opensips_case("modes", collector.address(), uas.uri()).define("MODE", "d");
    let mut proxy = installed.start(&setup)?;
    let expected = whole_call().len();

    assert_eq!(proxy.mi("siplens:disable")?, json!({"enabled": 0}));
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    assert_eq!(proxy.mi("siplens:enable")?, json!({"enabled": 1}));
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let packets = collector.wait_for(expected, LIMIT)?;
    assert_eq!(packets.len(), expected, "the call placed while capture was off came too");

    wait_for_stat(&mut proxy, "sent", expected as u64, LIMIT)?;
    let stats = proxy.stats()?;
    assert_eq!(stats["offered"], stats["filtered"] + stats["sent"], "{stats:?}");
    let command = if installed.version().starts_with('4') { "stats:get" } else { "get_statistics" };
    let host = proxy
        .mi_with(command, json!({"statistics": ["siplens:"]}))
        .or_else(|_| proxy.mi_with("get_statistics", json!({"statistics": ["siplens:"]})))?;
    assert_eq!(host["siplens:sent"], json!(expected), "{host}");
    let collectors = proxy.mi("siplens:collectors")?;
    assert_eq!(collectors["collectors"][0]["sent"], json!(expected), "{collectors}");
    let status = proxy.mi("siplens:status")?;
    assert!(status["built_for"].as_str().is_some_and(|text| text.contains(installed.version())), "{status}");
    proxy.stop()
}

#[test]
fn a_trace_filter_captures_a_callers_calls_for_a_while() -> Result<()> {
    let installed = installed!("a_trace_filter_captures_a_callers_calls_for_a_while");
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let proxy = installed.start(&Setup::opensips_case("modes", collector.address(), uas.uri()))?;
    let filter = |action: &str, rest: Option<String>| {
        let mut parameters = json!({"action": action});
        if let Some(rest) = rest {
            parameters["filter"] = json!(rest);
        }
        proxy.mi_with("siplens:trace_filter", parameters)
    };
    let words = format!("caller=alice id=found collector=udp:{} duration=60", collector.address());
    let added = filter("add", Some(words))?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let packets = collector.wait_for(whole_call().len(), LIMIT)?;
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("found")), "{packets:?}");
    let listed = filter("list", None)?;
    assert_eq!(listed["trace_filters"][0]["number"], added["number"], "{listed}");
    assert_eq!(filter("remove", Some(added["number"].to_string()))?, json!({"removed": 1}));
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    assert_eq!(collector.packets()?.len(), packets.len(), "captured after the filter was removed");
    for (action, rest) in [("add", Some("nobody=x")), ("remove", Some("7")), ("spin", None)] {
        assert!(filter(action, rest.map(str::to_owned)).is_err(), "{action} {rest:?}");
    }
    Ok(())
}

#[test]
fn a_sender_that_is_killed_is_started_again_and_calls_go_on() -> Result<()> {
    let installed = installed!("a_sender_that_is_killed_is_started_again_and_calls_go_on");
    let collector = Collector::start()?;
    let uas = Uas::start(Transport::Udp)?;
    let setup = Setup::opensips_case("modes", collector.address(), uas.uri()).hep_over_tcp();
    let mut proxy = installed.start(&setup.define("MODE", "d"))?;
    let sender = i32::try_from(proxy.stats()?["sender_pid"])?;
    kill_process(Pid::from_raw(sender).context("no sender")?, Signal::KILL)?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    let packets = collector.wait_for(whole_call().len(), LIMIT)?;
    assert_eq!(packets.len(), whole_call().len());
    let stats = proxy.stats()?;
    assert_eq!((stats["sender_starts"], stats["dropped"]), (2, 0), "{stats:?}");
    assert!(proxy.is_running() && proxy.log().contains("is started again"), "{}", proxy.log());
    proxy.stop()
}

#[test]
fn calls_go_on_while_the_collector_is_away_and_are_captured_after() -> Result<()> {
    let installed = installed!("calls_go_on_while_the_collector_is_away_and_are_captured_after");
    let mut backend = Backend::start()?;
    backend.stop()?;
    let uas = Uas::start(Transport::Udp)?;
    let setup = Setup::opensips_case("modes", backend.hep(), uas.uri()).session("late").hep_over_tcp();
    let proxy = installed.start(&setup.define("MODE", "d"))?;
    let placed = Call::new("call").place(proxy.sip(), Transport::Udp)?;
    backend.restart()?;
    // It waited in the sender.
    backend.call(&placed.call_id, whole_call().len())?;
    Ok(())
}

#[test]
fn a_configuration_with_mistakes_is_refused_with_a_line_for_each() -> Result<()> {
    let installed = installed!("a_configuration_with_mistakes_is_refused_with_a_line_for_each");
    let collector = Collector::start()?;
    let with = |line: &str| {
        let setup = Setup::opensips_case("modes", collector.address(), "sip:127.0.0.1:9".to_owned());
        installed.start(&setup.define("EXTRA", line)).map(|_| ())
    };
    for (line, complaint) in [
        ("modparam(\"siplens\", \"ring_size_kib\", 1)", "ring_size_kib = 1: expected 128 to 1048576"),
        ("modparam(\"siplens\", \"duplicate_uri\", \"nowhere\")", "duplicate_uri \"nowhere\""),
        ("modparam(\"siplens\", \"trace_id\", \"[a]uri=hep:b\")", "no hep_id has the name \"b\""),
        ("modparam(\"siplens\", \"hep_id\", \"[a] 127.0.0.1:1; version=2\")", "version 2: only 3 is sent"),
        ("modparam(\"siplens\", \"trace_id\", \"[a]uri=sip:127.0.0.1:1\")", "only HEP is sent"),
        ("route[x] { sip_trace(\"nowhere\"); }", "sip_trace(\"nowhere\")"),
        ("route[x] { sip_trace(\"udp:h:1\", \"\", \"x\"); }", "sip_trace mode: expected"),
        ("route[x] { trace(\"udp:h:1\", \"d\", \"xlog\"); }", "only \"sip\" is captured"),
        ("route[x] { sip_trace(\"udp:h:1\", \"\", \"m\", \"more\"); }", "too many arguments"),
    ] {
        let error = match with(line) {
            Ok(()) => anyhow::bail!("{line} was taken"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.contains(complaint), "{line}: expected \"{complaint}\" in\n{error}");
    }
    Ok(())
}
