//! The module in a host of our own: what it captures, what it answers, and what it does with a host that is none of its.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::collector::Seen;
use harness::{Collector, paths};
use serde_json::json;

use crate::host::{Host, VERSIONS, Version};

const LIMIT: Duration = Duration::from_secs(20);

/// Runs a case for every version, and says in which it failed.
pub fn in_every_version(case: impl Fn(Version) -> Result<()>) -> Result<()> {
    VERSIONS.iter().try_for_each(|version| case(*version).context(version.release))
}

pub fn calling(collector: &Collector, arguments: &str) -> Vec<String> {
    vec![
        "param hep_capture_id int 7".to_owned(),
        format!("script sip_trace|udp:{}{arguments}", collector.address()),
    ]
}

pub fn everything(collector: &Collector) -> Vec<String> {
    vec![format!("param duplicate_uri str udp:{}", collector.address()), "param trace_mode int 1".to_owned()]
}

pub fn end(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

#[test]
fn a_request_is_captured_with_its_ends_time_agent_and_id() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &calling(&collector, "|our-id|m"))?;
        assert_eq!(host.ask("in 0 udp 127.0.0.1:5070 127.0.0.2:5060 INVITE call-1 1 700")?, "1");
        host.ask("in 1 tls [2001:db8::1]:5071 [::1]:5061 200/INVITE call-1 1 900")?;
        let mut packets = collector.wait_for(2, LIMIT)?;
        packets.sort_by_key(|packet| packet.captured_at_us);
        let [request, reply] = &packets[..] else { anyhow::bail!("{packets:?}") };
        assert_eq!((request.src, request.dst), (end("127.0.0.1:5070"), end("127.0.0.2:5060")));
        assert_eq!((reply.src, reply.dst), (end("[2001:db8::1]:5071"), end("[::1]:5061")));
        assert_eq!((request.ip_protocol, reply.ip_protocol), (Some(17), Some(22)));
        assert_eq!(request.start_line(), "INVITE sip:bob@127.0.0.1 SIP/2.0");
        assert_eq!((request.payload.len(), reply.payload.len()), (700, 900));
        for packet in &packets {
            assert_eq!((packet.agent_id, packet.correlation_id.as_deref()), (Some(7), Some("our-id")));
        }
        Ok(())
    })
}

#[test]
fn what_is_sent_over_each_transport_is_captured_before_it_is_changed() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &everything(&collector))?;
        for (number, proto) in ["udp", "tcp", "tls", "sctp", "ws", "wss"].into_iter().enumerate() {
            let sent =
                host.ask(&format!("out 0 {proto} 127.0.0.1:5060 127.0.0.1:5080 INVITE {proto} 1 500"))?;
            assert_eq!(sent, "500", "what the transport answers is passed on");
            let packets = collector.wait_for(number + 1, LIMIT)?;
            let packet = packets.last().context("no packet")?;
            ensure!(packet.payload.contains(&format!("Call-ID: {proto}\r\n")), "{proto}: {}", packet.payload);
            // A connection's own ports, where the host tells them; never those of another connection.
            let (ours, theirs) = match proto {
                "udp" | "sctp" => ("127.0.0.1:5060", "127.0.0.1:5080"),
                _ => ("127.0.0.1:40001", "127.0.0.1:40002"),
            };
            assert_eq!((packet.src, packet.dst), (end(ours), end(theirs)), "{proto}");
        }
        Ok(())
    })
}

#[test]
fn what_could_not_be_sent_is_not_captured_and_the_error_is_passed_on() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &everything(&collector))?;
        host.ask("failing 0 1")?;
        assert_eq!(host.ask("out 0 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE lost 1 500")?, "-1");
        assert_eq!(host.settled()?["offered"], 0);
        Ok(())
    })
}

#[test]
fn a_dialog_is_followed_by_every_process_under_the_id_given_once() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut lines = calling(&collector, "|our-id|d");
        lines.push("param trace_filters int 0".to_owned());
        let mut host = Host::running(version, &lines)?;
        host.ask("out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE other 1 500")?;
        assert_eq!(host.stats()?["offered"], 0, "nothing is followed yet");
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE dialog 1 500")?;
        assert_eq!(host.ask("get 0 siplens(id)")?, "our-id");
        assert_eq!(host.ask("get 0 siplens(mode)")?, "d");
        assert_eq!(host.ask("get 0 siplens(nothing)")?, "none");
        for line in [
            "out 0 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE dialog 1 500",
            "out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE dialog 1 500",
            "out 1 udp 127.0.0.1:5060 127.0.0.1:5070 100/INVITE dialog 1 400",
            "out 1 udp 127.0.0.1:5060 127.0.0.1:5070 200/BYE dialog 2 400",
        ] {
            host.ask(line)?;
        }
        let packets = collector.wait_for(5, LIMIT)?;
        assert!(
            packets.iter().all(|packet| packet.correlation_id.as_deref() == Some("our-id")),
            "{packets:?}"
        );
        assert_eq!(host.settled()?["sent"], 5);
        Ok(())
    })
}

#[test]
fn with_trace_mode_the_scripts_id_is_on_the_message_that_waited_for_it() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut lines = everything(&collector);
        lines.push("script sip_trace||$the-scripts|d".to_owned());
        let mut host = Host::running(version, &lines)?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE waits 1 500")?;
        host.ask("broken 0 udp 127.0.0.1:5070 127.0.0.1:5060 no SIP at all")?;
        host.ask("broken 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE sip:a@b SIP/2.0")?;
        let stats = host.settled()?;
        let packets = collector.packets()?;
        let ids: Vec<_> = packets.iter().map(|packet| packet.correlation_id.as_deref()).collect();
        // Captured once; what waited was passed over then.
        assert_eq!((ids[0], stats["filtered"]), (Some("the-scripts"), 1), "{packets:?} {stats:?}");
        Ok(())
    })
}

#[test]
fn the_variable_written_is_the_id_of_later_calls() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &everything(&collector))?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE named 1 500")?;
        assert_eq!(host.ask("get 0 siplens(id)")?, "named", "the Call-ID");
        assert_eq!(host.ask("set 0 siplens(id) chosen")?, "0");
        assert_eq!(host.ask("get 0 siplens(id)")?, "chosen");
        assert_eq!(host.ask("set 0 siplens(mode) d")?, "-1");
        host.ask("out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE named 1 500")?;
        let packets = collector.wait_for(2, LIMIT)?;
        let ids: BTreeSet<_> = packets.iter().map(|packet| packet.correlation_id.as_deref()).collect();
        assert_eq!(ids, BTreeSet::from([Some("named"), Some("chosen")]), "{packets:?}");
        Ok(())
    })
}

#[test]
fn a_request_of_the_hosts_own_is_captured_once_with_its_destination() -> Result<()> {
    in_every_version(|version| {
        for mode in ["m", "t", "d"] {
            let collector = Collector::start()?;
            let mut host = Host::running(version, &calling(&collector, &format!("|own|{mode}")))?;
            host.ask("local 0 udp 127.0.0.1:5060 127.0.0.1:5080 OPTIONS ping 1 400")?;
            // Another message of the same process is not taken for it.
            host.ask("out 0 udp 127.0.0.1:5060 127.0.0.1:5090 OPTIONS other 1 400")?;
            let stats = host.settled()?;
            let packets = collector.wait_for(1, LIMIT)?;
            assert_eq!((packets.len(), stats["sent"]), (1, 1), "{mode}: {packets:?} {stats:?}");
            assert_eq!((packets[0].src, packets[0].dst), (end("127.0.0.1:5060"), end("127.0.0.1:5080")));
            assert_eq!(packets[0].correlation_id.as_deref(), Some("own"));
        }
        Ok(())
    })
}

#[test]
fn the_stock_tracers_arguments_are_understood_unless_it_is_there_itself() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let lines = [
            format!("param hep_id str [one] {}; transport=udp; version=3", collector.address()),
            "param trace_id str [tid]uri=hep:one".to_owned(),
            "script trace|tid|m|sip|-|-|theirs".to_owned(),
        ];
        let mut host = Host::running(version, &lines)?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE stock 1 500")?;
        let packets = collector.wait_for(1, LIMIT)?;
        assert_eq!(packets[0].correlation_id.as_deref(), Some("theirs"));

        let mut host = Host::empty(version)?;
        host.good("beside tracer")?;
        assert_eq!(host.load(&version.module(), version)?, "ok");
        assert_eq!(host.ask("script trace|tid|m")?, "unknown command");
        host.good("script sip_trace|udp:127.0.0.1:1|id|m")
    })
}

#[test]
fn an_argument_without_value_counts_as_not_given() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut lines = calling(&collector, "|$null|m");
        lines.push("param session_id str $ci".to_owned());
        let mut host = Host::running(version, &lines)?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE from-the-template 1 500")?;
        let packets = collector.wait_for(1, LIMIT)?;
        assert_eq!(packets[0].correlation_id.as_deref(), Some("from-the-template"));
        Ok(())
    })
}

#[test]
fn advertised_addresses_are_reported_if_asked_for() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut lines = everything(&collector);
        lines.push("param data_mode int 1".to_owned());
        let mut host = Host::running(version, &lines)?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE advertised 1 500")?;
        host.ask("out 0 tcp 127.0.0.1:5060 127.0.0.1:5080 INVITE advertised 1 500")?;
        let mut packets = collector.wait_for(2, LIMIT)?;
        packets.sort_by_key(|packet| packet.captured_at_us);
        let ends = |seen: &Seen| (seen.src, seen.dst);
        assert_eq!(ends(&packets[0]), (end("127.0.0.1:5070"), end("192.0.2.7:7000")));
        // A connection's own port stays.
        assert_eq!(ends(&packets[1]), (end("192.0.2.7:40001"), end("127.0.0.1:40002")));
        Ok(())
    })
}

#[test]
fn a_message_that_hep_has_no_room_for_is_cut_and_counted() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &everything(&collector))?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE long 1 70000")?;
        let packets = collector.wait_for(1, LIMIT)?;
        assert!((60_000..65_507).contains(&packets[0].payload.len()), "{}", packets[0].payload.len());
        assert_eq!(host.settled()?["truncated"], 1);
        Ok(())
    })
}

#[test]
fn mi_and_statistics_tell_and_switch() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &calling(&collector, "|id|m"))?;
        let request = "in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE switched 1 500";
        host.ask(request)?;
        assert_eq!(host.mi("siplens:disable")?, json!({"enabled": 0}));
        host.ask(request)?;
        assert_eq!(host.mi("siplens:enable")?, json!({"enabled": 1}));
        host.ask(request)?;
        let stats = host.settled()?;
        assert_eq!((stats["offered"], stats["filtered"], stats["sent"]), (3, 1, 2), "{stats:?}");
        for (name, value) in &stats {
            if name != "enabled" && name != "sender_pid" {
                assert_eq!(host.ask(&format!("stat {name}"))?, value.to_string(), "{name}");
            }
        }
        let collectors = host.mi("siplens:collectors")?;
        assert_eq!(collectors["collectors"][0]["uri"], format!("udp:{}", collector.address()));
        assert_eq!(collectors["collectors"][0]["sent"], 2);
        let status = host.mi("siplens:status")?;
        assert_eq!(status["sender_alive"], 1, "{status}");
        assert!(status["built_for"].as_str().is_some_and(|text| text.contains(version.release)), "{status}");
        assert_eq!(host.mi("siplens:reset")?["sent"], 2);
        assert_eq!(host.stats()?["offered"], 0);
        Ok(())
    })
}

#[test]
fn trace_filters_are_added_listed_and_removed_over_mi() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &["param trace_filters int 2".to_owned()])?;
        let add = format!(
            "siplens:trace_filter action=add|filter=caller=alice id=found collector=udp:{}",
            collector.address()
        );
        assert_eq!(host.mi(&add)?["number"], 1);
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE filtered 1 500")?;
        let packets = collector.wait_for(1, LIMIT)?;
        assert_eq!(packets[0].correlation_id.as_deref(), Some("found"));
        let listed = host.mi("siplens:trace_filter action=list")?;
        assert_eq!(listed["trace_filters"][0]["matches"], 1, "{listed}");
        assert_eq!(host.mi("siplens:trace_filter action=remove|filter=1")?, json!({"removed": 1}));
        for (command, fault) in [
            ("siplens:trace_filter action=remove|filter=1", "fault 404"),
            ("siplens:trace_filter action=add|filter=nonsense", "fault 400"),
            ("siplens:trace_filter action=spin", "fault 400"),
            ("siplens:trace_filter", "no such parameters"),
            ("siplens:nothing", "no such command"),
        ] {
            let answer = host.ask(&format!("mi {command}"))?;
            assert!(answer.starts_with(fault), "{command}: {answer}");
        }
        Ok(())
    })
}

#[test]
fn the_example_sets_every_parameter_and_the_module_takes_each() -> Result<()> {
    let text = std::fs::read_to_string(paths::repository().join("cfg-examples/opensips/full.cfg"))?;
    let set: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("# ").strip_prefix("modparam(\"siplens\", \"")?.strip_suffix(')')
        })
        .filter_map(|rest| rest.split_once("\", "))
        .collect();
    in_every_version(|version| {
        let mut host = Host::loaded(version)?;
        let known: BTreeSet<_> = host.ask("params")?.split(' ').map(str::to_owned).collect();
        let named: BTreeSet<_> = set.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(known, named);
        for (name, value) in &set {
            let text = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let kind = if text.is_some() { "str" } else { "int" };
            let value = text.unwrap_or(value);
            if !value.is_empty() {
                host.good(&format!("param {name} {kind} {value}"))?;
            }
        }
        host.good("init")
    })
}

#[test]
fn a_mistake_is_refused_with_a_line_that_says_what_was_expected() -> Result<()> {
    in_every_version(|version| {
        for (line, complaint) in [
            ("param ring_size_kib int 1", "ring_size_kib = 1: expected 128 to 1048576"),
            ("param duplicate_uri str nowhere", "duplicate_uri \"nowhere\""),
            ("param session_id str 100%", "modparam session_id: expected"),
            ("param trace_id str [a]uri=hep:b", "no hep_id has the name \"b\""),
            ("param hep_id str [a] 127.0.0.1:1; version=2", "version 2: only 3 is sent"),
            ("param hep_id str 127.0.0.1:1", "expected [name] first"),
            ("param hep_id str [a] 127.0.0.1; transport=sctp", "transport sctp: expected udp, tcp or tls"),
            ("script sip_trace_msg|text|nowhere", "source and destination: expected transport:address:port"),
            ("script sip_trace_msg|text|-|-|nowhere", "sip_trace(\"nowhere\")"),
            ("script hlog|id|text|more", "too many arguments"),
            ("param trace_id str [a]uri=sip:127.0.0.1:1", "only HEP is sent"),
            ("script sip_trace|nowhere", "sip_trace(\"nowhere\")"),
            ("script sip_trace|udp:h:1||x", "sip_trace mode: expected"),
            ("script sip_trace|udp:h:1||m|more", "too many arguments"),
            ("script trace|udp:h:1|d|xlog", "only \"sip\" is captured"),
            ("script trace|udp:h:1|d|sip||C", "both sides are always captured"),
        ] {
            let mut host = Host::loaded(version)?;
            let mut answer = host.ask(line)?;
            if answer == "ok" {
                answer = host.ask("init")?;
            }
            assert_eq!(answer, "refused", "{line}");
            ensure!(host.log().contains(complaint), "{line}: expected \"{complaint}\" in\n{}", host.log());
        }
        Ok(())
    })
}

#[test]
fn a_host_of_another_version_refuses_the_module() -> Result<()> {
    for (index, version) in VERSIONS.into_iter().enumerate() {
        let other = VERSIONS[(index + 1) % VERSIONS.len()];
        let answer = Host::empty(version)?.load(&other.module(), version)?;
        assert_eq!(answer, "module version mismatch", "{} in {}", other.release, version.release);
    }
    Ok(())
}

#[test]
fn a_host_with_another_table_of_protocols_is_left_alone() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let otherwise = version.laid_out_otherwise("WRONG_PROTOS");
        let mut host = Host::running(otherwise, &everything(&collector))?;
        assert_eq!(host.ask("out 0 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE alone 1 500")?, "500");
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE alone 1 500")?;
        let log = host.log();
        assert_eq!(log.matches("laid out in another way").count(), 1, "{log}");
        assert!(host.ask("mi siplens:stats")?.starts_with("fault 503"));
        assert_eq!(host.ask("stat offered")?, "0");
        assert_eq!(collector.packets()?.len(), 0);
        assert_eq!(host.stop()?, "3 ended, 0 badly");
        Ok(())
    })
}

#[test]
fn a_host_with_other_messages_switches_capture_off() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let otherwise = version.laid_out_otherwise("WRONG_MESSAGE");
        let mut host = Host::running(otherwise, &everything(&collector))?;
        for _ in 0..3 {
            assert_eq!(host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE odd 1 500")?, "1");
        }
        assert_eq!(host.stats()?["enabled"], 0);
        let log = host.log();
        assert_eq!(log.matches("capture is switched off").count(), 1, "{log}");
        assert_eq!(collector.packets()?.len(), 0);
        Ok(())
    })
}

#[test]
fn a_panic_costs_its_message_and_nothing_else() -> Result<()> {
    let (version, collector) = (VERSIONS[2], Collector::start()?);
    let mut host = Host::empty(version)?;
    let module = paths::repository().join("build/opensips/panics/siplens.so");
    assert_eq!(host.load(&module, version)?, "ok");
    for line in everything(&collector) {
        host.good(&line)?;
    }
    host.good("script sip_trace||id|d")?;
    host.good("init")?;
    host.good("start 2")?;
    // In the callback before the script, in the script's call, in the variable, and in the sending.
    assert_eq!(host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE please-panic 1 500")?, "1");
    assert_eq!(host.ask("get 0 siplens(id)")?, "failed");
    assert_eq!(host.ask("out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE please-panic 1 500")?, "500");
    let log = host.log();
    assert_eq!(log.matches("panic at message.rs:").count(), 1, "{log}");
    // The same processes go on.
    host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE calm 1 500")?;
    host.ask("out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE calm 1 500")?;
    assert_eq!(collector.wait_for(2, LIMIT)?.len(), 2);
    let stats = host.settled()?;
    assert_eq!((stats["sent"], stats["dropped_panicked"]), (2, 3), "{stats:?}");
    assert_eq!(host.stop()?, "3 ended, 0 badly");
    Ok(())
}

#[test]
fn all_processes_end_when_the_host_does() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &everything(&collector))?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE last 1 500")?;
        let sender = host.settled()?["sender_pid"];
        // The keeper, and two workers.
        assert_eq!(host.stop()?, "3 ended, 0 badly");
        harness::eventually("the sender's end", LIMIT, || {
            ensure!(!std::path::Path::new(&format!("/proc/{sender}")).exists(), "process {sender} is there");
            Ok(())
        })
    })
}
