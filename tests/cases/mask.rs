//! What must not leave the proxy does not.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Backend, Collector, Kamailio, Proxy, Setup, eventually};

const LIMIT: Duration = Duration::from_secs(20);

fn request(method: &str, call_id: &str, content_type: &str, body: &str) -> String {
    format!(
        "{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5080;rport;branch=z9hG4bK-{call_id}\r\n\
         From: <sip:alice@127.0.0.1>;tag=a\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
         Authorization: Digest username=\"alice\",\r\n response=\"SECRET\"\r\nSubject: visible\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends requests that the proxy answers itself, each answered before the next.
fn exchange(proxy: &Kamailio, requests: &[String]) -> Result<()> {
    let caller = UdpSocket::bind("127.0.0.1:0")?;
    caller.set_read_timeout(Some(LIMIT))?;
    for request in requests {
        caller.send_to(request.as_bytes(), proxy.sip())?;
        let mut reply = [0; 4096];
        let len = caller.recv(&mut reply).with_context(|| proxy.log())?;
        let reply = String::from_utf8_lossy(&reply[..len]).into_owned();
        ensure!(reply.starts_with("SIP/2.0 200"), "{reply}");
    }
    Ok(())
}

fn requests() -> Vec<String> {
    vec![
        request("REGISTER", "masked-register", "application/sdp", "v=0\r\ns=visible\r\n"),
        request("MESSAGE", "masked-message", "text/plain", "the SECRET is\r\n out"),
    ]
}

#[test]
fn no_secret_is_in_the_backends_raw_messages_and_all_else_is() -> Result<()> {
    for captured_by in ["EVERYTHING", "SCRIPT"] {
        let backend = Backend::start()?;
        let setup = Setup::case("control", backend.hep(), "sip:127.0.0.1:9".to_owned())
            .define(captured_by, "yes")
            .define("MASK_HEADERS", "Authorization,Proxy-Authorization")
            .define("MASK_BODY", "all,!application/sdp");
        let mut proxy = Kamailio::start(&setup)?;
        exchange(&proxy, &requests())?;
        for (request, call_id) in requests().iter().zip(["masked-register", "masked-message"]) {
            let call = backend.call(call_id, 1)?;
            let raw = call["messages"][0]["raw"].as_str().with_context(|| format!("{call}"))?.to_owned();
            ensure!(!raw.contains("SECRET") && !raw.contains("Digest"), "{raw}");
            ensure!(raw.len() == request.len(), "{raw}");
            let masked = request
                .replace("Digest username=\"alice\",", &"x".repeat(24))
                .replace("response=\"SECRET\"", &"x".repeat(17));
            let masked = masked.replace("the SECRET is\r\n out", "xxxxxxxxxxxxx\r\n xxx");
            ensure!(raw == masked, "{raw}\ninstead of\n{masked}");
        }
        assert_eq!(proxy.stats()?["masked"], 2, "{captured_by}");
    }
    Ok(())
}

#[test]
fn the_event_route_drops_messages_from_capture_and_disturbs_nothing() -> Result<()> {
    for captured_by in ["EVERYTHING", "SCRIPT"] {
        let collector = Collector::start()?;
        let setup = Setup::case("control", collector.address(), "sip:127.0.0.1:9".to_owned())
            .session("$ci-session")
            .define(captured_by, "yes")
            .define("DROPS", "yes")
            .define("NESTED", "yes");
        let mut proxy = Kamailio::start(&setup)?;
        let mut requests = requests();
        requests.reverse();
        exchange(&proxy, &requests)?;
        // The REGISTER comes after the MESSAGE. trace_mode also sees the replies, whose method is that of the CSeq.
        let each = if captured_by == "SCRIPT" { 1 } else { 2 };
        let packets = collector.wait_for(each, LIMIT)?;
        ensure!(packets.len() == each, "{packets:#?}");
        ensure!(!packets.iter().any(|packet| packet.payload.contains("MESSAGE")), "{packets:#?}");
        let register = packets.iter().find(|packet| packet.payload.starts_with("REGISTER"));
        let register = register.with_context(|| format!("{packets:#?}"))?;
        let expected = if captured_by == "SCRIPT" { "masked-register-session" } else { "masked-register" };
        assert_eq!(register.correlation_id.as_deref(), Some(expected));
        assert_eq!(register.payload, requests[1], "nothing is masked that nobody asked for");
        let stats = proxy.stats()?;
        assert_eq!((stats["filtered"], stats["dropped"]), (each as u64, 0), "{stats:?}");
    }
    Ok(())
}

#[test]
fn a_message_that_the_host_cannot_parse_is_kept_although_there_is_an_event_route() -> Result<()> {
    let collector = Collector::start()?;
    let setup = Setup::case("control", collector.address(), "sip:127.0.0.1:9".to_owned())
        .define("EVERYTHING", "yes")
        .define("DROPS", "yes");
    let proxy = Kamailio::start(&setup)?;
    let broken =
        "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: garbage\r\nCall-ID: broken\r\nCSeq: 1 OPTIONS\r\n\r\n";
    UdpSocket::bind("127.0.0.1:0")?.send_to(broken.as_bytes(), proxy.sip())?;
    assert_eq!(collector.wait_for(1, LIMIT)?[0].payload, broken);
    Ok(())
}

#[test]
fn the_event_route_gives_back_the_memory_that_it_takes() -> Result<()> {
    /// Each is shown to the route with its reply. The process has 8 MiB for this: 140 octets each, and they are gone.
    const REQUESTS: usize = 30_000;
    let collector = Collector::start()?;
    let setup = Setup::case("control", collector.address(), "sip:127.0.0.1:9".to_owned())
        .define("EVERYTHING", "yes")
        .define("DROPS", "yes");
    let mut proxy = Kamailio::start(&setup)?;
    exchange(&proxy, &vec![request("MESSAGE", "many", "text/plain", "text"); REQUESTS])?;
    // The last reply is seen after it was sent.
    eventually("all of them", LIMIT, || {
        let stats = proxy.stats()?;
        ensure!(
            stats["filtered"] == 2 * REQUESTS as u64 && stats["offered"] == stats["filtered"],
            "{stats:?}"
        );
        Ok(())
    })?;
    let log = proxy.log();
    ensure!(!log.contains("could not allocate") && !log.contains("out of memory"), "{log}");
    Ok(())
}
