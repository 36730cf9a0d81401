//! The functions from scripts in JavaScript, Lua and Python.

use anyhow::{Result, ensure};
use harness::sipp::Transport;
use harness::{Call, Collector, Kamailio, Proxy, Setup, Uas, eventually, paths};

use crate::scene::{LIMIT, LOG, SIP, Scene, id};

const LANGUAGES: [(&str, &str); 3] = [("JS", "js"), ("LUA", "lua"), ("PY", "py")];

fn setup(setup: Setup, language: &str, ending: &str) -> Setup {
    let script = paths::scenario("kemi").join(format!("script.{ending}"));
    setup.define(language, "yes").define("SCRIPT", script.display().to_string())
}

fn scene(language: &str, ending: &str) -> Result<Scene> {
    Scene::new("kemi", |from| setup(from, language, ending))
}

#[test]
fn every_language_has_every_function() -> Result<()> {
    for (language, ending) in LANGUAGES {
        let mut scene = scene(language, ending)?;
        for user in ["trace", "trace_dst", "trace_cid", "msg", "msg_here", "hlog", "hlog_cid"] {
            ensure!(scene.ask(user, user, "")? == format!(" {user}"), "{language} {user}");
        }
        let packets = scene.packets(7)?;
        let found: Vec<_> = packets
            .iter()
            .map(|packet| {
                (packet.protocol_type, id(packet), packet.payload.lines().next().unwrap_or_default())
            })
            .collect();
        let expected = [
            (SIP, "trace", "OPTIONS sip:trace@127.0.0.1 SIP/2.0"),
            (SIP, "trace_dst", "OPTIONS sip:trace_dst@127.0.0.1 SIP/2.0"),
            (SIP, "cid of alice", "OPTIONS sip:trace_cid@127.0.0.1 SIP/2.0"),
            (SIP, "msg-id", "MESSAGE sip:x@h SIP/2.0"),
            (LOG, "msg_here", "no SIP"),
            (LOG, "hlog", "a line"),
            (LOG, "of-its-own", "another line"),
        ];
        ensure!(found == expected, "{language}: {found:#?}");
        assert_eq!(packets[3].src, Some("127.0.0.1:5062".parse()?), "{language}");
        assert_eq!(packets[3].ip_protocol, Some(17), "{language}: the source's transport counts");
    }
    Ok(())
}

#[test]
fn modes_t_and_d_follow_what_a_script_of_another_language_asks_for() -> Result<()> {
    for (language, ending) in LANGUAGES {
        let mut scene = scene(language, ending)?;
        for (count, (user, seen)) in
            [("trace_t", "t transaction"), ("trace_d", "d dialog"), ("mode", "t mode")]
                .into_iter()
                .enumerate()
        {
            ensure!(scene.ask(user, user, "")? == seen, "{language} {user}");
            let packets = scene.packets(2 * (count + 1))?;
            ensure!(packets.last().is_some_and(|packet| packet.start_line().starts_with("SIP/2.0 200")));
        }
    }
    Ok(())
}

#[test]
fn a_wrong_argument_is_counted_and_said_once() -> Result<()> {
    for (language, ending) in LANGUAGES {
        let mut scene = scene(language, ending)?;
        scene.ask("trace_bad", "one", "")?;
        scene.ask("trace_bad", "two", "")?;
        ensure!(scene.proxy.stats()?["dropped_refused"] == 4, "{language}");
        let log = scene.proxy.log();
        for said in ["\"garbage\"", "mode: expected"] {
            ensure!(log.matches(said).count() == 1, "{language}: {said}: {log}");
        }
    }
    Ok(())
}

#[test]
fn a_routing_script_may_hand_over_to_another_language() -> Result<()> {
    let mut scene = scene("BESIDE", "lua")?;
    assert_eq!(scene.ask("trace_d", "call", "")?, "d dialog");
    scene.packets(2)?;
    Ok(())
}

#[test]
fn an_id_from_a_script_of_another_language_is_on_what_trace_mode_captures() -> Result<()> {
    let mut scene = Scene::new("kemi", |from| setup(from, "JS", "js").define("EVERYTHING", "yes"))?;
    scene.ask("trace_d", "call", "")?;
    let packets = scene.packets(2)?;
    assert!(packets.iter().all(|packet| id(packet) == "dialog"), "{packets:?}");
    Ok(())
}

#[test]
fn a_function_of_the_script_may_drop_what_would_be_captured() -> Result<()> {
    for (language, ending) in LANGUAGES {
        for captured_by in ["EVERYTHING", "CALLS"] {
            let mut scene = Scene::new("kemi", |from| {
                setup(from, language, ending).define("DROPS", "yes").define(captured_by, "yes")
            })?;
            for user in ["trace_d", "hidden", "trace"] {
                let headers = if user == "hidden" { "X-Trace: yes\r\n" } else { "" };
                scene.ask(user, user, headers)?;
            }
            // With trace_mode the replies, too.
            let seen = if captured_by == "EVERYTHING" { 4 } else { 3 };
            let packets = scene.packets(seen)?;
            let hidden = packets.iter().find(|packet| packet.payload.contains("hidden"));
            ensure!(hidden.is_none(), "{language} {captured_by}: {hidden:#?}");
            ensure!(packets.iter().all(|packet| packet.protocol_type == SIP), "{language}: {packets:#?}");
            let stats = scene.proxy.stats()?;
            ensure!(stats["filtered"] > 0 && stats["dropped"] == 0, "{language} {captured_by}: {stats:?}");
        }
    }
    Ok(())
}

#[test]
fn the_example_captures_a_call_and_its_log_lines_in_every_language() -> Result<()> {
    for (language, ending) in [("JAVASCRIPT", "js"), ("LUA", "lua"), ("PYTHON", "py")] {
        let (collector, uas) = (Collector::start()?, Uas::start(Transport::Udp)?);
        let script = paths::repository().join(format!("cfg-examples/kamailio/kemi.{ending}"));
        let setup = Setup::example("kemi", collector.address(), uas.uri())
            .session("kemi")
            .define(language, "yes")
            .define("KEMI_SCRIPT", script.display().to_string());
        let proxy = Kamailio::start(&setup)?;
        Call::new("call").place(proxy.sip(), Transport::Udp)?;
        // Each message as it comes and as it goes, the proxy's own 100, and a line.
        let packets = collector.wait_for(14, LIMIT)?;
        ensure!(packets.iter().all(|packet| id(packet) == "kemi"), "{language}: {packets:#?}");
        let lines: Vec<_> = packets.iter().filter(|packet| packet.protocol_type == LOG).collect();
        ensure!(lines.len() == 1 && lines[0].payload.ends_with(", session kemi"), "{language}: {lines:#?}");

        Call::new("busy").to("busy").place(proxy.sip(), Transport::Udp)?;
        // UDP: a retransmission may be among them.
        eventually("the line of the failed call", LIMIT, || {
            let packets = collector.packets()?;
            ensure!(
                packets.iter().any(|packet| packet.payload == "failed with 486"),
                "{language}: {packets:#?}"
            );
            ensure!(packets.len() >= 14 + 9, "{language}: {packets:#?}");
            Ok(())
        })?;
    }
    Ok(())
}
