//! What an operator does to a proxy that runs: ask how it is, reset its counters, follow a caller for a while.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::collector::Seen;
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Observed, Proxy, Setup, Uas, eventually};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
/// INVITE, 180, 200, ACK, BYE and 200, each in and out, and the proxy's own 100.
const CALL: usize = 13;

struct Stage {
    proxy: Kamailio,
    collector: Collector,
    _uas: Uas,
}

impl Stage {
    fn new(adjust: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let (collector, uas) = (Collector::start()?, Uas::start(Transport::Tcp)?);
        let setup = Setup::case("control", collector.address(), uas.uri()).hep_over_tcp();
        Ok(Self { proxy: Kamailio::start(&adjust(setup))?, collector, _uas: uas })
    }

    /// Over TCP, since there nobody sends a message twice and the count is exact.
    fn call(&self, call: &Call) -> Result<String> {
        Ok(call.place(self.proxy.sip(), Transport::Tcp)?.call_id)
    }

    fn filter(&self, words: &[&str]) -> Result<String> {
        self.proxy.rpc(&[&["siplens.trace_filter"], words].concat())
    }

    /// Both calls are placed; the packets are exactly those of the second.
    fn only_the_second(&self, first: &Call, second: &Call) -> Result<Vec<Seen>> {
        self.call(first)?;
        let wanted = self.call(second)?;
        let packets = self.collector.wait_for(CALL, LIMIT)?;
        ensure!(packets.len() == CALL, "{packets:#?}");
        let of_second = |packet: &Seen| packet.payload.contains(&format!("Call-ID: {wanted}\r\n"));
        ensure!(packets.iter().all(of_second), "{packets:#?}");
        Ok(packets)
    }
}

fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
}

#[test]
fn a_callers_calls_are_captured_whole_on_both_legs_without_a_word_in_the_script() -> Result<()> {
    let stage = Stage::new(|setup| setup)?;
    stage.call(&Call::new("call"))?;
    let added = stage.filter(&["add", "caller=alice", "id=case-7"])?;
    assert_eq!((value(&added, "number"), value(&added, "seconds_left")), (Some("1"), Some("600")), "{added}");
    stage.call(&Call::new("call"))?;
    let packets = stage.collector.wait_for(CALL, LIMIT)?;
    assert_eq!(packets.len(), CALL, "{packets:#?}");
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("case-7")));

    let listed = stage.filter(&["list"])?;
    assert_eq!(value(&listed, "filter"), Some("caller=alice id=case-7"), "{listed}");
    assert_eq!(value(&listed, "matches"), Some("1"), "{listed}");
    assert_eq!(value(&stage.filter(&["remove", "1"])?, "removed"), Some("1"));
    stage.call(&Call::new("call"))?;
    // Had any of the last call been captured, it would be there before this one.
    stage.filter(&["add", "callee=nobody"])?;
    stage.filter(&["add", "callee=carol"])?;
    stage.call(&Call::new("call").to("carol"))?;
    let packets = stage.collector.wait_for(2 * CALL, LIMIT)?;
    assert_eq!(packets.len(), 2 * CALL, "{packets:#?}");
    Ok(())
}

#[test]
fn a_callees_calls_are_captured_and_no_others() -> Result<()> {
    let stage = Stage::new(|setup| setup)?;
    stage.filter(&["add", "callee=carol@127.0.0.1", "method=INVITE"])?;
    let packets = stage.only_the_second(&Call::new("call"), &Call::new("call").to("carol"))?;
    // Without an id each call has its own, the Call-ID.
    let call_id = |packet: &Seen| {
        packet.payload.lines().find_map(|line| line.strip_prefix("Call-ID: ").map(str::to_owned))
    };
    assert!(packets.iter().all(|packet| packet.correlation_id == call_id(packet)), "{packets:#?}");
    Ok(())
}

/// Sends an OPTIONS for the proxy itself and waits for the answer.
fn probe(from: &UdpSocket, call_id: &str, stage: &Stage) -> Result<()> {
    let request = String::from_utf8(Observed::request("OPTIONS", call_id, 1).payload)?;
    from.set_read_timeout(Some(LIMIT))?;
    from.send_to(request.replace(";branch=", ";rport;branch=").as_bytes(), stage.proxy.sip())?;
    from.recv(&mut [0; 4096])?;
    Ok(())
}

#[test]
fn calls_of_an_address_or_a_network_are_captured_and_a_call_by_its_call_id() -> Result<()> {
    let stage = Stage::new(|setup| setup)?;
    let (caller, elsewhere) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.2:0")?);
    probe(&caller, "before", &stage)?;
    stage.filter(&["add", "call_id=by-id", "duration=60"])?;
    probe(&caller, "other", &stage)?;
    probe(&caller, "by-id", &stage)?;
    stage.filter(&["clear"])?;
    stage.filter(&["add", &format!("ip={}", caller.local_addr()?)])?;
    probe(&elsewhere, "from-elsewhere", &stage)?;
    probe(&caller, "by-socket", &stage)?;
    stage.filter(&["clear"])?;
    stage.filter(&["add", "ip=127.0.0.2/31", "method=OPTIONS"])?;
    probe(&caller, "after", &stage)?;
    probe(&elsewhere, "by-network", &stage)?;
    let mut packets = stage.collector.wait_for(6, LIMIT)?;
    packets.sort_by_key(|packet| packet.captured_at_us);
    let ids: Vec<_> =
        packets.iter().map(|packet| packet.correlation_id.as_deref().unwrap_or_default()).collect();
    assert_eq!(ids, ["by-id", "by-id", "by-socket", "by-socket", "by-network", "by-network"]);
    Ok(())
}

#[test]
fn a_filter_ends_by_itself_and_the_call_it_found_is_captured_to_its_end() -> Result<()> {
    let stage = Stage::new(|setup| setup)?;
    stage.filter(&["add", "caller=alice", "duration=1"])?;
    std::thread::scope(|scope| -> Result<()> {
        let long = scope.spawn(|| stage.call(&Call::new("call").talking(3_000)));
        // INVITE, 100, 180, 200 and ACK were captured when the filter is gone; the BYE comes later.
        stage.collector.wait_for(CALL - 4, LIMIT)?;
        eventually("the end of the filter", LIMIT, || {
            let listed = stage.filter(&["list"])?;
            ensure!(!listed.contains("caller=alice"), "{listed}");
            Ok(())
        })?;
        assert_eq!(stage.collector.packets()?.len(), CALL - 4);
        stage.call(&Call::new("call"))?;
        long.join().unwrap()?;
        Ok(())
    })?;
    let packets = stage.collector.wait_for(CALL, LIMIT)?;
    assert_eq!(packets.len(), CALL, "{packets:#?}");
    assert!(packets.iter().any(|packet| packet.start_line().starts_with("BYE ")));
    Ok(())
}

#[test]
fn a_filter_may_name_its_own_collector_and_leaves_what_the_script_captures_as_it_is() -> Result<()> {
    let stage = Stage::new(|setup| setup.session("scripts-own").define("SCRIPT", "yes"))?;
    let apart = Collector::start()?;
    let collector = format!("collector=tcp:{}", apart.address());
    stage.filter(&["add", "caller=alice", "id=case-8", &collector])?;
    stage.call(&Call::new("call"))?;
    let packets = apart.wait_for(CALL, LIMIT)?;
    assert!(
        packets.len() == CALL
            && packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("case-8"))
    );
    // INVITE, ACK and BYE as they came in, as without the filter.
    let packets = stage.collector.wait_for(3, LIMIT)?;
    assert_eq!(packets.len(), 3);
    assert!(packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("scripts-own")));
    Ok(())
}

#[test]
fn the_scripts_id_wins_over_the_call_id_of_a_filter_at_the_same_collector() -> Result<()> {
    let stage = Stage::new(|setup| setup.session("scripts-own").define("SCRIPT", "yes"))?;
    stage.filter(&["add", "caller=alice"])?;
    stage.call(&Call::new("call"))?;
    let packets = stage.collector.wait_for(CALL, LIMIT)?;
    assert_eq!(packets.len(), CALL, "nothing twice: {packets:#?}");
    let scripts = packets.iter().filter(|packet| packet.correlation_id.as_deref() == Some("scripts-own"));
    let methods: Vec<_> = scripts.map(|packet| packet.start_line().split(' ').next()).collect();
    assert_eq!(methods, [Some("INVITE"), Some("ACK"), Some("BYE")]);
    Ok(())
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_is_right() -> Result<()> {
    let stage = Stage::new(|setup| setup)?;
    for (words, expected) in [
        (&[][..], "expected add"),
        (&["dance"], "expected add"),
        (&["list", "all"], "expected add"),
        (&["add"], "expected at least one of caller=, callee=, ip= and call_id="),
        (&["add", "duration=5"], "expected at least one of"),
        (&["add", "alice"], "\"alice\": expected caller="),
        (&["add", "ip=edge.example"], "ip: expected an address, a network or a socket"),
        (&["add", "caller=a", "duration=0"], "duration: expected 1 to 86400 seconds"),
        (&["add", "caller=a", "collector=nowhere"], "collector: expected udp:host:port"),
        (&["remove"], "expected add"),
        (&["remove", "one"], "remove: expected the number of a filter"),
        (&["remove", "42"], "no active filter has the number 42"),
    ] {
        let error = stage.filter(words).err().context("accepted")?.to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
    for number in 0..16 {
        stage.filter(&["add", &format!("caller=c{number}")])?;
    }
    let error = stage.filter(&["add", "caller=one-more"]).err().context("accepted")?.to_string();
    assert!(error.contains("16 filters are active"), "{error}");
    assert_eq!(value(&stage.filter(&["clear"])?, "removed"), Some("16"));
    stage.filter(&["add", "caller=one-more"])?;
    Ok(())
}

#[test]
fn filters_that_are_switched_off_or_have_no_events_say_so() -> Result<()> {
    for (define, expected) in
        [("NO_FILTERS", "trace_filters is 0"), ("BESIDE_SIPTRACE", "another module has the core's")]
    {
        let stage = Stage::new(|setup| setup.define(define, "yes"))?;
        let error = stage.filter(&["add", "caller=alice"]).err().context("accepted")?.to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(value(&stage.proxy.rpc(&["siplens.status"])?, "events"), Some("0"));
    }
    Ok(())
}

#[test]
fn resets_under_load_lose_no_message_of_the_sums() -> Result<()> {
    const CALLS: u32 = 200;
    let mut stage = Stage::new(|setup| setup.define("EVERYTHING", "yes"))?;
    let (sip, mut settled, mut filtered, mut resets) = (stage.proxy.sip(), 0, 0, 0);
    let mut end = |text: &str| -> Result<()> {
        let counter = |name| {
            value(text, name)
                .and_then(|value| value.parse::<u64>().ok())
                .with_context(|| format!("{name} in {text}"))
        };
        let (offered, in_queue, sent) = (counter("offered")?, counter("in_queue")?, counter("sent")?);
        filtered += counter("filtered")?;
        ensure!(offered == counter("filtered")? + counter("dropped")? + sent + in_queue, "{text}");
        // What is on its way counts as offered again afterwards.
        settled += offered - in_queue;
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(move || Call::new("call").times(CALLS, 50).place(sip, Transport::Tcp));
        while !load.is_finished() {
            end(&stage.proxy.rpc(&["siplens.reset"])?)?;
            resets += 1;
        }
        load.join().unwrap()?;
        Ok(())
    })?;
    let expected = CALL * CALLS as usize;
    assert_eq!(stage.collector.wait_for(expected, LIMIT)?.len(), expected);
    eventually("an empty queue", LIMIT, || {
        ensure!(stage.proxy.stats()?["in_queue"] == 0);
        Ok(())
    })?;
    end(&stage.proxy.rpc(&["siplens.reset"])?)?;
    assert!(resets > 10, "{resets}");
    assert_eq!((settled, filtered), (expected as u64, 0));
    let stats = stage.proxy.stats()?;
    assert_eq!((stats["offered"], stats["sent"], stats["dropped"]), (0, 0, 0), "{stats:?}");
    Ok(())
}

#[test]
fn status_and_collectors_tell_what_is_going_on() -> Result<()> {
    let stage = Stage::new(|setup| setup)?;
    stage.filter(&["add", "caller=alice"])?;
    let gone = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    stage.filter(&["add", "caller=bob", &format!("collector=tcp:{gone}")])?;
    stage.call(&Call::new("call"))?;
    stage.collector.wait_for(CALL, LIMIT)?;
    let status = eventually("a sign of life", LIMIT, || {
        let status = stage.proxy.rpc(&["siplens.status"])?;
        ensure!(value(&status, "sender_alive") == Some("1"), "{status}");
        Ok(status)
    })?;
    for (name, expected) in [
        ("enabled", "1"),
        ("captures", "what the script names"),
        ("events", "1"),
        ("sessions", "1"),
        ("session_room", "65536"),
        ("trace_filters", "2"),
        ("trace_filter_room", "16"),
    ] {
        assert_eq!(value(&status, name), Some(expected), "{name}: {status}");
    }
    // Nobody listens at the second; to know that, somebody must have tried.
    let from_bob =
        String::from_utf8(Observed::request("OPTIONS", "from-bob", 1).payload)?.replace("alice", "bob");
    UdpSocket::bind("127.0.0.1:0")?.send_to(from_bob.as_bytes(), stage.proxy.sip())?;
    let collectors = eventually("an error", LIMIT, || {
        let collectors = stage.proxy.rpc(&["siplens.collectors"])?;
        ensure!(collectors.contains("last_error"), "{collectors}");
        Ok(collectors)
    })?;
    let error = value(&collectors, "last_error").unwrap_or_default();
    assert_eq!(error, format!("tcp:{gone}: connection refused"), "{collectors}");
    assert!(collectors.contains("link: up") && collectors.contains("link: down"), "{collectors}");
    assert_eq!(
        value(&collectors, "active_uri"),
        Some(format!("sip:{};transport=tcp", stage.collector.address()).as_str())
    );
    Ok(())
}

#[test]
fn every_command_answers_over_json_too() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("json");
    let stage = Stage::new(|setup| setup.define("JSON_SOCKET", path.display().to_string()))?;
    let ours = UnixDatagram::bind(dir.path().join("ours"))?;
    ours.set_read_timeout(Some(LIMIT))?;
    let ask = |method: &str, params: Value| -> Result<Value> {
        let command = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        ours.send_to(command.to_string().as_bytes(), &path)?;
        let mut bytes = [0; 65_536];
        let len = ours.recv(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes[..len])?)
    };
    let added = ask("siplens.trace_filter", json!(["add", "caller=alice", "duration=60"]))?;
    assert_eq!(added["result"]["number"], 1, "{added}");
    stage.call(&Call::new("call"))?;
    stage.collector.wait_for(CALL, LIMIT)?;
    let listed = ask("siplens.trace_filter", json!(["list"]))?;
    assert_eq!(listed["result"]["trace_filters"][0]["filter"], "caller=alice", "{listed}");
    let wrong = ask("siplens.trace_filter", json!(["remove", 7]))?;
    assert_eq!(wrong["error"]["message"], "no active filter has the number 7", "{wrong}");
    let removed = ask("siplens.trace_filter", json!(["remove", 1]))?;
    assert_eq!(removed["result"]["removed"], 1, "{removed}");
    // What is on its way at the reset counts as offered after it.
    eventually("nothing on its way", LIMIT, || {
        let stats = ask("siplens.stats", json!([]))?;
        ensure!(stats["result"]["in_queue"] == 0, "{stats}");
        Ok(())
    })?;
    let reset = ask("siplens.reset", json!([]))?;
    assert_eq!(reset["result"]["offered"], CALL, "{reset}");
    assert_eq!(ask("siplens.stats", json!([]))?["result"]["offered"], 0);
    assert_eq!(ask("siplens.status", json!([]))?["result"]["sender_alive"], 1);
    assert_eq!(ask("siplens.collectors", json!([]))?["result"]["collectors"][0]["link"], "up");
    Ok(())
}
