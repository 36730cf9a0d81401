//! A real OpenSIPS: MI, trace filters, and what goes wrong around it.

use anyhow::{Context, Result, ensure};
use harness::kamailio::wait_for_stat;
use harness::sipp::Transport;
use harness::{Backend, Call, Collector, Proxy, Setup, Uas};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::stage::{LIMIT, whole_call};

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
