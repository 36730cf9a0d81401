//! A real OpenSIPS: the same scenarios as with Kamailio, each message once, under the id that was given once.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use harness::collector::Seen;
use harness::opensips::Installed;
use harness::sipp::Transport;
use harness::{Call, Collector, Observed, OpenSips, Proxy, Setup, Uas, eventually};
use serde_json::json;

use crate::stage::{LIMIT, Stage, TRYING, answered, check, crossing, whole_call};

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
