//! Topology hiding gives a call another Call-ID on the called side: each message is captured as it was on the wire, all of
//! them under one id.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::api::encode;
use harness::collector::Seen;
use harness::opensips::Installed;
use harness::sipp::Transport;
use harness::{Backend, Call, Collector, Proxy, Setup, Uas};

use crate::host::Host;
use crate::hosted::{calling, everything, in_every_version};
use crate::stage::{LIMIT, Stage, answered, check, crossing, whole_call};

/// A call's messages in the host of our own, whose topology hiding writes the called side's Call-ID backwards.
fn hidden_call(host: &mut Host) -> Result<()> {
    for line in [
        "in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE abc 1 500",
        "out 0 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE abc 1 500",
        // A retransmission, by another process.
        "out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INVITE abc 1 500",
        "in 1 udp 127.0.0.1:5080 127.0.0.1:5060 200/INVITE DLGCH_cba 1 500",
        "out 1 udp 127.0.0.1:5060 127.0.0.1:5070 200/INVITE abc 1 500",
        "in 0 udp 127.0.0.1:5080 127.0.0.1:5060 BYE DLGCH_cba 2 500",
        "out 0 udp 127.0.0.1:5060 127.0.0.1:5070 BYE abc 2 500",
    ] {
        host.ask(line)?;
    }
    Ok(())
}

fn call_id(packet: &Seen) -> &str {
    packet.payload.lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap_or_default().trim()
}

/// Whether each message has the Call-ID of its side, and all have this id.
fn check_sides(packets: &[Seen], called: SocketAddr, original: &str, id: &str) -> Result<()> {
    for packet in packets {
        let outside = [packet.src, packet.dst].contains(&Some(called));
        ensure!((call_id(packet) == original) != outside, "as it was on the wire: {packet:?}");
        ensure!(packet.correlation_id.as_deref() == Some(id), "expected the id {id}: {packet:?}");
    }
    Ok(())
}

#[test]
fn both_sides_of_a_hidden_call_are_captured_as_they_were_under_one_id() -> Result<()> {
    in_every_version(|version| {
        let called: SocketAddr = "127.0.0.1:5080".parse()?;
        let collector = Collector::start()?;
        let calls: [(Vec<String>, &str); 3] = [
            (calling(&collector, "|our-id|d"), "our-id"),
            (calling(&collector, "|$ci|d"), "abc"),
            (everything(&collector), "abc"),
        ];
        for (lines, id) in calls {
            let mut host = Host::beside(version, "topology_hiding", &lines)?;
            let before = collector.packets()?.len();
            hidden_call(&mut host)?;
            let packets = collector.wait_for(before + 7, LIMIT)?.split_off(before);
            ensure!(packets.len() == 7, "{}: {packets:?}", packets.len());
            check_sides(&packets, called, "abc", id)?;
            assert!(packets.iter().all(|packet| packet.payload.len() >= 500), "{packets:?}");
            assert_eq!(host.ask("get 0 siplens(id)")?, id, "as the script sees it");
        }
        Ok(())
    })
}

#[test]
fn a_transaction_that_the_hidden_side_begins_is_followed_on_the_other() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let lines = calling(&collector, "|asked|t");
        let mut host = Host::beside(version, "topology_hiding", &lines)?;
        host.ask("in 0 udp 127.0.0.1:5080 127.0.0.1:5060 BYE DLGCH_cba 2 500")?;
        host.ask("out 0 udp 127.0.0.1:5060 127.0.0.1:5070 BYE abc 2 500")?;
        host.ask("out 1 udp 127.0.0.1:5060 127.0.0.1:5080 200/BYE abc 2 500")?;
        // Another transaction is none of it.
        host.ask("out 1 udp 127.0.0.1:5060 127.0.0.1:5080 INFO abc 3 500")?;
        let packets = collector.wait_for(3, LIMIT)?;
        assert_eq!(host.settled()?["sent"], 3);
        check_sides(&packets, "127.0.0.1:5080".parse()?, "abc", "asked")
    })
}

#[test]
fn a_request_of_the_hosts_own_towards_the_hidden_side_is_the_one_that_was_asked_for() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let lines = calling(&collector, "|-|m");
        let mut host = Host::beside(version, "topology_hiding", &lines)?;
        host.ask("local 0 udp 127.0.0.1:5060 127.0.0.1:5080 BYE abc 7 400")?;
        let packets = collector.wait_for(1, LIMIT)?;
        assert_eq!((packets.len(), call_id(&packets[0])), (1, "DLGCH_cba"));
        assert_eq!(packets[0].correlation_id.as_deref(), Some("abc"));
        Ok(())
    })
}

#[test]
fn a_trace_filter_finds_a_hidden_call_by_either_call_id() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        for wanted in ["abc", "DLGCH_cba"] {
            let mut host = Host::beside(version, "topology_hiding", &[])?;
            let filter = format!("call_id={wanted} id=found collector=udp:{}", collector.address());
            host.mi(&format!("siplens:trace_filter action=add|filter={filter}"))?;
            let before = collector.packets()?.len();
            hidden_call(&mut host)?;
            // By that of the called side it is known from the first message on that shows it.
            let expected = if wanted == "abc" { 7 } else { 6 };
            let packets = collector.wait_for(before + expected, LIMIT)?.split_off(before);
            ensure!(packets.len() == expected, "{wanted}: {packets:?}");
            check_sides(&packets, "127.0.0.1:5080".parse()?, "abc", "found").context(wanted)?;
        }
        Ok(())
    })
}

#[test]
fn without_topology_hiding_nothing_is_asked_of_the_host_and_nothing_is_the_same_call() -> Result<()> {
    in_every_version(|version| {
        let collector = Collector::start()?;
        let mut host = Host::running(version, &everything(&collector))?;
        host.ask("in 0 udp 127.0.0.1:5070 127.0.0.1:5060 INVITE abc 1 500")?;
        host.ask("in 0 udp 127.0.0.1:5080 127.0.0.1:5060 200/INVITE DLGCH_cba 1 500")?;
        assert_eq!(host.ask("raw")?, "0 before, 0 after");
        let packets = collector.wait_for(2, LIMIT)?;
        let ids: BTreeSet<_> = packets.iter().map(|packet| packet.correlation_id.as_deref()).collect();
        assert_eq!(ids, BTreeSet::from([Some("abc"), Some("DLGCH_cba")]));
        Ok(())
    })
}

/// The Call-ID of the session's other call.
fn other_call(backend: &Backend, session: &str, call_id: &str) -> Result<String> {
    let calls = backend.api().all(&format!("/api/v1/sessions/{}/calls", encode(session)))?;
    let other = calls.iter().filter_map(|call| call["call_id"].as_str()).find(|other| *other != call_id);
    Ok(other.with_context(|| format!("no other call: {calls:?}"))?.to_owned())
}

fn hiding(
    installed: &Installed,
    flags: &str,
    called: Uas,
    adjust: impl FnOnce(Setup) -> Setup,
) -> Result<Stage> {
    // Whichever of the two modules is loaded first.
    let order = if flags == "C" { "HIDE_LAST" } else { "HIDE_FIRST" };
    Stage::modes(installed, called, |setup| adjust(setup.define("HIDE", flags).define(order, "")))
}

fn can_hide(installed: &Installed, case: &str) -> bool {
    let can = installed.has("topology_hiding") && installed.has("dialog");
    if !can {
        harness::skipped(case, "this OpenSIPS has no topology_hiding or no dialog");
    }
    can
}

#[test]
fn a_call_that_keeps_its_call_id_while_its_topology_is_hidden_is_one_call() -> Result<()> {
    let installed = installed!("a_call_that_keeps_its_call_id_while_its_topology_is_hidden_is_one_call");
    if !can_hide(&installed, "a call whose topology is hidden") {
        return Ok(());
    }
    // Without the flag C the Call-ID stays.
    let stage = hiding(&installed, "U", Uas::start(Transport::Udp)?, |setup| {
        setup.session("one").define("MODE", "d")
    })?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, whole_call().len())?;
    check(&stage, &call, "one", whole_call())
}

/// What each side shows of a whole call: that of the caller, and that of the called side.
fn sides(steps: &[String]) -> [Vec<String>; 2] {
    let (outside, inside): (Vec<_>, Vec<_>) = steps.iter().cloned().partition(|step| step.contains("uas"));
    [inside, outside]
}

#[test]
fn both_call_ids_of_a_hidden_call_are_one_session() -> Result<()> {
    let installed = installed!("both_call_ids_of_a_hidden_call_are_one_session");
    if !can_hide(&installed, "both Call-IDs of a hidden call") {
        return Ok(());
    }
    for (mode, scenario) in
        [("d", "call"), ("d", "callee_bye"), ("everything", "call"), ("everything", "callee_bye")]
    {
        let called = if scenario == "call" {
            Uas::start(Transport::Udp)?
        } else {
            Uas::start_as(scenario, Transport::Udp)?
        };
        let stage = hiding(&installed, "C", called, |setup| match mode {
            "d" => setup.session("pair").define("MODE", "d"),
            _ => setup.define("EVERYTHING", "yes"),
        })?;
        let placed = Call::new(scenario).place(stage.proxy.sip(), Transport::Udp)?;
        let session = if mode == "d" { "pair" } else { placed.call_id.as_str() };
        let mut steps = answered();
        let bye = if scenario == "call" {
            [("uac", "BYE"), ("uas", "200 OK")]
        } else {
            [("uas", "BYE"), ("uac", "200 OK")]
        };
        steps.extend(crossing(&bye));
        let [inside, outside] = sides(&steps);
        let call = stage.backend.call(&placed.call_id, inside.len()).context(scenario)?;
        check(&stage, &call, session, inside)
            .with_context(|| format!("{mode} {scenario}, the calling side"))?;

        let found = stage.backend.session(session, steps.len() as u64)?;
        ensure!(found["calls"] == 2 && found["messages"] == steps.len(), "{found}");
        let hidden = other_call(&stage.backend, session, &placed.call_id)?;
        ensure!(hidden.starts_with("DLGCH_"), "{hidden} in {found}");
        let call = stage.backend.call(&hidden, outside.len()).context(scenario)?;
        check(&stage, &call, session, outside)
            .with_context(|| format!("{mode} {scenario}, the called side"))?;
    }
    Ok(())
}
