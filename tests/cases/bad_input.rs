//! What is wrong or too much costs no call anything, is counted, and is said once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::kamailio::wait_for_stat;
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Observed, Proxy, Setup, Uas, eventually, port};

const LIMIT: Duration = Duration::from_secs(20);
/// Calls of each case, enough to meet both UDP workers.
const CALLS: u32 = 20;

/// Starts a Kamailio with these lines in its configuration, which it must refuse; answers what it said.
fn refused(parameters: &str, route: &str) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("kamailio.cfg");
    std::fs::write(
        &config,
        format!(
            "#!KAMAILIO\ndebug=2\nlog_stderror=yes\nchildren=1\ndns=no\nauto_aliases=no\n\
             listen=udp:127.0.0.1:SIP_PORT\nloadmodule \"ctl.so\"\nloadmodule \"pv.so\"\nloadmodule \"siplens.so\"\n\
             modparam(\"ctl\", \"binrpc\", CTL_SOCKET)\n{parameters}\nrequest_route {{ {route} exit; }}\n"
        ),
    )?;
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let setup = Setup { config, ..Setup::case("bad_input", nobody, "sip:127.0.0.1:9".to_owned()) };
    match Kamailio::start(&setup) {
        Ok(_) => bail!("kamailio started with {parameters:?} and {route:?}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn setup(collector: SocketAddr, uas: &Uas) -> Setup {
    Setup::case("bad_input", collector, uas.uri())
}

/// An address at which nobody listens.
fn nobody() -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()?)))
}

/// Fails unless every message that was offered is accounted for.
fn adds_up(proxy: &mut Kamailio) -> Result<BTreeMap<String, u64>> {
    let stats = proxy.stats()?;
    let sum = stats["filtered"] + stats["dropped"] + stats["sent"] + stats["in_queue"];
    ensure!(stats["offered"] == sum, "{sum} of {} offered: {stats:?}", stats["offered"]);
    Ok(stats)
}

fn said(proxy: &Kamailio, what: &str) -> usize {
    proxy.log().matches(what).count()
}

#[test]
fn a_literal_that_is_no_collector_stops_the_start_and_is_named() -> Result<()> {
    for text in ["garbage", "sip:", "udp:127.0.0.1:99999", "http://127.0.0.1:9060", "tls:[::1:9061"] {
        let said = refused("", &format!("sip_trace(\"{text}\", \"id\", \"m\");"))?;
        assert!(said.contains(&format!("sip_trace(\"{text}\")")), "{text}: {said}");
    }
    let said = refused("", "sip_trace(\"udp:127.0.0.1:9\", \"id\", \"x\");")?;
    assert!(said.contains("sip_trace mode: expected \"m\""), "{said}");
    Ok(())
}

#[test]
fn a_parameter_of_the_wrong_type_or_out_of_range_stops_the_start_and_is_named() -> Result<()> {
    for (name, value) in [
        ("ring_size_kib", "\"large\""),
        ("ring_size_kib", "1"),
        ("sessions", "-1"),
        ("hep_version", "2"),
        ("duplicate_uri", "\"garbage\""),
        ("trace_method", "\"IN(VITE\""),
        ("trace_network", "\"10.0.0.0/33\""),
        ("tls_cert", "\"/nowhere\""),
        ("no_such_parameter", "1"),
    ] {
        let said = refused(&format!("modparam(\"siplens\", \"{name}\", {value})"), "")?;
        assert!(said.contains(name), "{name} = {value}: {said}");
    }
    // Both of two mistakes are named at once.
    let said =
        refused("modparam(\"siplens\", \"sessions\", 1)\nmodparam(\"siplens\", \"backlog_kib\", 1)", "")?;
    assert!(said.contains("sessions") && said.contains("backlog_kib"), "{said}");
    Ok(())
}

#[test]
fn a_variable_that_is_no_collector_is_counted_and_said_once() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let mut proxy = Kamailio::start(&setup(collector.address(), &uas).define("BY_HEADER", "yes"))?;
    Call::new("call").session("no collector").times(CALLS, 50).place(proxy.sip(), Transport::Udp)?;
    let stats = adds_up(&mut proxy)?;
    // Each INVITE; the other requests may lack the header, and then the collector is missing.
    assert!(stats["dropped_refused"] >= CALLS.into(), "{stats:?}");
    assert_eq!(stats["dropped_refused"], stats["offered"], "{stats:?}");
    assert_eq!(said(&proxy, "collector URI:"), 1, "{}", proxy.log());
    Ok(())
}

#[test]
fn a_name_that_nobody_knows_costs_no_call_anything() -> Result<()> {
    for scheme in ["udp", "tcp"] {
        let uas = Uas::start(Transport::Udp)?;
        let mut setup = setup(nobody()?, &uas).define("MODE", "m");
        setup.collector = format!("{scheme}:collector.invalid:9060");
        let mut proxy = Kamailio::start(&setup)?;
        Call::new("call").times(CALLS, 50).place(proxy.sip(), Transport::Udp)?;
        eventually("the log's line", LIMIT, || {
            ensure!(said(&proxy, "collector.invalid:9060: ") == 1, "{}", proxy.log());
            Ok(())
        })?;
        let stats = adds_up(&mut proxy)?;
        assert_eq!((stats["sent"], stats["offered"] > 0), (0, true), "{scheme}: {stats:?}");
        assert!(proxy.rpc(&["siplens.stats"])?.contains("link: down"), "{scheme}");
    }
    Ok(())
}

#[test]
fn a_collector_that_refuses_costs_no_call_anything() -> Result<()> {
    for over_tcp in [false, true] {
        let uas = Uas::start(Transport::Udp)?;
        let setup = setup(nobody()?, &uas).define("MODE", "m");
        let mut proxy = Kamailio::start(&if over_tcp { setup.hep_over_tcp() } else { setup })?;
        Call::new("call").times(CALLS, 50).place(proxy.sip(), Transport::Udp)?;
        let stats = adds_up(&mut proxy)?;
        assert!(stats["offered"] >= 3 * u64::from(CALLS), "{stats:?}");
        if over_tcp {
            assert_eq!(stats["in_queue"], stats["offered"], "kept for when it is there: {stats:?}");
            assert_eq!(said(&proxy, "trying again"), 1, "{}", proxy.log());
        } else {
            // UDP cannot know who received it; the other host's refusals tell.
            assert!(stats["refusals"] > 0, "{stats:?}");
        }
    }
    Ok(())
}

#[test]
fn a_collector_that_never_reads_fills_its_backlog_and_no_more() -> Result<()> {
    let uas = Uas::start(Transport::Udp)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Each call offers some 2.6 MB: more than the kernel buffers and the backlog together.
    let setup = setup(listener.local_addr()?, &uas).hep_over_tcp().define("BURST", "yes");
    let mut proxy = Kamailio::start(&setup)?;
    Call::new("call").times(CALLS, 10).place(proxy.sip(), Transport::Udp)?;
    wait_for_stat(&mut proxy, "dropped_backlog_full", 1, LIMIT)?;
    let stats = adds_up(&mut proxy)?;
    assert!(stats["in_queue"] > 8000, "a backlog of 8 MiB: {stats:?}");
    // Said now and then with what was lost since, not for each.
    eventually("the log's line", LIMIT, || {
        ensure!((1..4).contains(&said(&proxy, "backlog full ")), "{}", proxy.log());
        Ok(())
    })?;
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    drop(listener);
    Ok(())
}

#[test]
fn a_full_ring_drops_the_newest_messages_and_counts_them() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let setup = setup(collector.address(), &uas)
        .hep_over_tcp()
        .session("burst")
        .define("SMALL_RING", "yes")
        .define("BURST", "yes");
    let mut proxy = Kamailio::start(&setup)?;
    Call::new("call").times(CALLS, 50).place(proxy.sip(), Transport::Udp).with_context(|| proxy.log())?;
    eventually("all to be sent", LIMIT, || {
        let stats = proxy.stats()?;
        ensure!(stats["in_queue"] == 0, "{stats:?}");
        Ok(())
    })?;
    let stats = adds_up(&mut proxy)?;
    assert_eq!(stats["offered"] % 4000, 0, "{stats:?}");
    assert!(stats["dropped_ring_full"] > 0, "{stats:?}");
    let received = collector.wait_for(usize::try_from(stats["sent"])?, LIMIT)?;
    assert_eq!(received.len() as u64, stats["sent"], "what was not dropped has come, whole");
    assert!(received.iter().all(|packet| packet.start_line().starts_with("INVITE ")));
    eventually("the log's line", LIMIT, || {
        ensure!((1..4).contains(&said(&proxy, "queue full ")), "{}", proxy.log());
        Ok(())
    })
}

/// A request that ends at the proxy, with whatever else it is to have.
fn probe(call_id: &str, more: &[u8]) -> Vec<u8> {
    let request = Observed::request("OPTIONS", call_id, 1).payload;
    let request = String::from_utf8_lossy(&request).replace(";branch", ";rport;branch");
    let head = request.trim_end().trim_end_matches("Content-Length: 0").as_bytes().to_vec();
    let length = format!("Content-Length: {}\r\n\r\n", more.len());
    [head, length.into_bytes(), more.to_vec()].concat()
}

/// Sends one datagram and returns the reply.
fn ask(proxy: &Kamailio, request: &[u8]) -> Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send_to(request, proxy.sip())?;
    let mut reply = vec![0; 65_536];
    let len = socket.recv(&mut reply).context("no reply")?;
    Ok(String::from_utf8_lossy(&reply[..len]).into_owned())
}

#[test]
fn a_message_with_nul_octets_is_answered_and_captured_as_it_came() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    let proxy = Kamailio::start(&setup(collector.address(), &uas).define("MODE", "d"))?;
    let request = probe("with-nul", b"before\0\0behind\0");
    assert!(ask(&proxy, &request)?.starts_with("SIP/2.0 200 "));
    let packets = collector.wait_for(2, LIMIT)?;
    assert!(packets.iter().any(|packet| packet.payload.as_bytes() == request), "{packets:?}");
    Ok(())
}

#[test]
fn a_reply_of_the_proxys_own_is_captured_where_kamailio_does_not_say_by_what_it_goes() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    // There `onsend_info` has a destination that nobody has set. The module once followed it, which memcheck shows.
    let proxy = Kamailio::start(&setup(collector.address(), &uas).define("OWN_REPLIES", "yes"))?;
    let reply = ask(&proxy, &probe("own-reply", b""))?;
    let packets = collector.wait_for(1, LIMIT)?;
    assert_eq!((packets.len(), packets[0].payload.as_str()), (1, reply.as_str()));
    assert_eq!((packets[0].src, packets[0].ip_protocol), (Some(proxy.sip()), Some(17)));
    Ok(())
}

#[test]
fn a_message_without_call_id_is_captured_alone_and_counted() -> Result<()> {
    let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
    // Kamailio drops it before any script runs: "required headers not found in request".
    let mut proxy = Kamailio::start(&setup(collector.address(), &uas).define("EVERYTHING", "yes"))?;
    let request = String::from_utf8(probe("away", b""))?.replace("Call-ID: away\r\n", "");
    for _ in 0..3 {
        UdpSocket::bind("127.0.0.1:0")?.send_to(request.as_bytes(), proxy.sip())?;
    }
    let packets = collector.wait_for(3, LIMIT)?;
    assert!(packets.iter().all(|packet| packet.correlation_id.is_none()), "{packets:?}");
    let stats = adds_up(&mut proxy)?;
    assert_eq!((stats["sent"], stats["not_followed"]), (3, 3), "{stats:?}");
    // The next call is none the worse.
    Call::new("call").place(proxy.sip(), Transport::Udp)?;
    Ok(())
}

/// Reads one SIP message of a stream.
fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(LIMIT))?;
    let (mut message, mut part) = (Vec::new(), vec![0; 65_536]);
    loop {
        if let Some(head) = message.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&message[..head]).into_owned();
            let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if message.len() >= head + 4 + length.context("no length")?.trim().parse::<usize>()? {
                return Ok(message);
            }
        }
        let len = stream.read(&mut part)?;
        ensure!(len > 0, "closed after {} octets", message.len());
        message.extend_from_slice(&part[..len]);
    }
}

#[test]
fn a_message_of_more_than_64_kib_passes_whole_and_is_captured_as_far_as_hep_has_room() -> Result<()> {
    let (collector, called) = (Collector::start()?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    let uri = format!("sip:{};transport=tcp", called.local_addr()?);
    let mut proxy = Kamailio::start(
        &Setup::case("bad_input", collector.address(), uri)
            .session("large")
            .hep_over_tcp()
            .define("MODE", "m"),
    )?;
    let body = vec![b'x'; 90_000];
    let request = String::from_utf8(probe("large", &body))?
        .replace("OPTIONS", "MESSAGE")
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let mut caller = TcpStream::connect(proxy.sip())?;
    caller.write_all(request.as_bytes())?;
    let (mut callee, _) = called.accept()?;
    let relayed = read_message(&mut callee)?;
    assert!(relayed.ends_with(&body), "{} octets were relayed", relayed.len());
    let text = String::from_utf8_lossy(&relayed);
    let headers = text.lines().filter(|line| {
        ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "].iter().any(|name| line.starts_with(name))
    });
    let reply = format!(
        "SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n",
        headers.collect::<Vec<_>>().join("\r\n")
    );
    callee.write_all(reply.as_bytes())?;
    assert!(read_message(&mut caller)?.starts_with(b"SIP/2.0 200 "));

    let packets = collector.wait_for(2, LIMIT)?;
    let captured =
        packets.iter().find(|packet| packet.payload.starts_with("MESSAGE")).context("no request")?;
    assert!(captured.payload.len() > 65_000 && request.starts_with(&captured.payload));
    assert_eq!(captured.full_length.map(|len| len as usize), Some(request.len()), "its end was cut off");
    assert!(packets.iter().all(|packet| packet.full_length.is_none() || packet == captured));
    let stats = adds_up(&mut proxy)?;
    assert_eq!((stats["truncated"], stats["dropped"]), (1, 0), "{stats:?}");
    Ok(())
}
