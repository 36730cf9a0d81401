//! The script's functions and variables in Kamailio's own language.

use std::net::UdpSocket;

use anyhow::{Context, Result, ensure};
use harness::collector::Seen;
use harness::{Backend, Collector, Kamailio, Proxy, Setup, eventually};
use serde_json::json;

use crate::scene::{LIMIT, LOG, SIP, Scene, ask, id};

/// Trace filters, too, need all messages; without them only the script may ask for them.
const NO_FILTERS: &str = "modparam(\"siplens\", \"trace_filters\", 0)";

#[test]
fn sip_trace_mode_captures_a_message_or_what_follows_it_too() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    assert_eq!(scene.ask("trace_mode_m", "one", "")?, "<null> one");
    assert_eq!(scene.packets(1)?[0].start_line(), "OPTIONS sip:trace_mode_m@127.0.0.1 SIP/2.0");
    assert_eq!(scene.ask("trace_mode_t", "two", "")?, "t two");
    assert_eq!(scene.ask("trace_mode_d", "three", "")?, "d three");
    let mut ids: Vec<_> = scene.packets(5)?.iter().map(|packet| id(packet).to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["one", "three", "three", "two", "two"], "each request of t and d with its reply");
    Ok(())
}

#[test]
fn the_flag_makes_calls_without_a_mode_follow_the_transaction() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup.define("FLAG", "yes"))?;
    assert_eq!(scene.ask("no_flag", "no-flag", "")?, "<null> no-flag");
    assert_eq!(scene.ask("flag_and_mode", "mode", "")?, "<null> mode", "a mode says more than the flag");
    scene.packets(2)?;
    assert_eq!(scene.ask("flag", "flagged", "")?, "t flagged");
    scene.packets(4)?;
    Ok(())
}

#[test]
fn the_flag_alone_asks_for_later_messages() -> Result<()> {
    let mut scene = Scene::new("script", |setup| {
        setup
            .define("FLAG", "yes")
            .define_bare("ARGUMENT", "setflag(5); sip_trace()")
            .define_bare("PARAMETERS", NO_FILTERS)
    })?;
    assert_eq!(scene.ask("anybody", "flagged", "")?, "t flagged");
    scene.packets(2)?;
    Ok(())
}

#[test]
fn without_trace_flag_the_flag_means_nothing() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    assert_eq!(scene.ask("flag", "flagged", "")?, "<null> flagged");
    scene.packets(1)?;
    Ok(())
}

#[test]
fn a_log_line_comes_under_the_id_of_its_call() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    scene.ask("hlog", "call-1", "")?;
    scene.ask("hlog_id", "call-2", "")?;
    scene.ask("hlog_unquoted", "call-3", "X-Id: from-header\r\n")?;
    let packets = scene.packets(3)?;
    let found: Vec<_> = packets.iter().map(|packet| (id(packet), packet.payload.as_str())).collect();
    assert_eq!(
        found,
        [("call-1", "OPTIONS of alice"), ("of-its-own", "with an id"), ("from-header", "call-3 is the call")]
    );
    for packet in &packets {
        assert_eq!(packet.protocol_type, LOG);
        assert_eq!(packet.agent_id, Some(2001));
        // The proxy says it, at the address where it met the message.
        assert_eq!((packet.src, packet.dst), (Some(scene.proxy.sip()), Some(scene.proxy.sip())));
    }
    Ok(())
}

#[test]
fn a_log_line_of_a_followed_call_has_the_id_of_its_session() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    assert_eq!(scene.ask("hlog_session", "call", "")?, "d the-session");
    let packets = scene.packets(3)?;
    assert!(packets.iter().all(|packet| id(packet) == "the-session"), "{packets:?}");
    let kinds: Vec<_> = packets.iter().map(|packet| packet.protocol_type).collect();
    assert_eq!(kinds, [SIP, LOG, SIP]);
    Ok(())
}

#[test]
fn log_lines_are_counted_like_messages() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    scene.ask("hlog", "call", "")?;
    scene.ask("hlog_empty", "call", "")?;
    scene.packets(1)?;
    scene.proxy.rpc(&["siplens.disable"])?;
    scene.ask("hlog", "call", "")?;
    let stats = scene.proxy.stats()?;
    assert_eq!((stats["offered"], stats["sent"], stats["filtered"]), (3, 1, 2), "{stats:?}");
    Ok(())
}

#[test]
fn a_log_line_for_nobody_costs_the_call_nothing() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup.define("NO_COLLECTOR", "yes"))?;
    scene.ask("hlog", "call-1", "")?;
    scene.ask("hlog", "call-2", "")?;
    assert_eq!(scene.proxy.stats()?["dropped_refused"], 2);
    assert_eq!(scene.proxy.log().matches("no collector").count(), 1, "said once");
    Ok(())
}

#[test]
fn a_text_is_captured_as_a_message_if_it_is_sip_and_as_a_line_if_not() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    for user in ["msg", "msg_other", "msg_id", "msg_no_sip"] {
        scene.ask(user, "the-call", "")?;
    }
    let packets = scene.packets(4)?;
    let heads: Vec<_> = packets.iter().map(|packet| (packet.protocol_type, id(packet))).collect();
    assert_eq!(heads, [(SIP, "the-call"), (SIP, "other-call"), (SIP, "another-id"), (LOG, "the-call")]);

    let ends = |packet: &Seen| Some((packet.src?, packet.dst?));
    let (caller, proxy) = (scene.caller.local_addr()?, scene.proxy.sip());
    assert_eq!(ends(&packets[0]), Some((caller, proxy)), "without ends, those of the message at hand");
    assert_eq!(ends(&packets[1]), Some(("127.0.0.1:5062".parse()?, "127.0.0.1:5064".parse()?)));
    assert_eq!(packets[1].start_line(), "MESSAGE sip:x@example.com SIP/2.0");
    assert_eq!(packets[3].payload, "{\"reason\": 42}");
    Ok(())
}

#[test]
fn an_end_that_is_none_is_counted_and_said_once() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    for end in ["udp:example.com:5060", "nonsense"] {
        scene.ask("msg_bad_end", "call", &format!("X-End: {end}\r\n"))?;
    }
    assert_eq!(scene.proxy.stats()?["dropped_refused"], 2);
    assert_eq!(scene.proxy.log().matches("expected transport:address:port").count(), 1);
    scene.ask("msg_bad_end", "call", "X-End: udp:127.0.0.1:5062\r\n")?;
    assert_eq!(scene.packets(1)?[0].payload, "text");
    Ok(())
}

#[test]
fn the_variable_tells_the_id_that_a_message_would_be_captured_under() -> Result<()> {
    let by_header =
        Scene::new("script", |setup| setup.define("HEADER", "X-Session").define("TEMPLATE", "$fU/$ci"))?;
    assert_eq!(by_header.ask("none", "call", "")?, "<null> alice/call");
    assert_eq!(by_header.ask("none", "call", "X-Session: given\r\n")?, "<null> given");

    let mut plain = Scene::new("script", |setup| setup)?;
    assert_eq!(plain.ask("none", "call", "")?, "<null> call");
    plain.ask("as_argument", "call", "")?;
    let packets = plain.packets(2)?;
    assert_eq!((id(&packets[0]), packets[1].payload.as_str()), ("<call>", "id call, mode <null>"));
    assert_eq!(plain.proxy.stats()?["dropped"], 0, "asking inside a call is no call within a call");
    Ok(())
}

#[test]
fn a_template_that_asks_for_its_own_result_gets_nothing() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup.define("TEMPLATE", "[$siplens(id)]"))?;
    assert_eq!(scene.ask("none", "call", "")?, "<null> [<null>]");
    scene.ask("no_flag", "call", "")?;
    assert_eq!(id(&scene.packets(1)?[0]), "[[<null>]]");
    Ok(())
}

#[test]
fn a_mode_that_shows_only_in_a_call_captures_the_message_and_says_so() -> Result<()> {
    // Without any other call that asks for t or d, and without trace filters, nobody asks the host for later messages.
    let collector = Collector::start()?;
    let call = "sip_trace(COLLECTOR, $ci, $(ci{s.substr,0,1}))";
    let setup = Setup::case("script", collector.address(), "sip:127.0.0.1:9".to_owned());
    let setup = setup.define_bare("ARGUMENT", call);
    let mut proxy = Kamailio::start(&setup.define_bare("PARAMETERS", NO_FILTERS))?;
    let caller = UdpSocket::bind("127.0.0.1:0")?;
    for call_id in ["t-call", "d-call"] {
        ask(&caller, proxy.sip(), "anybody", call_id, "")?;
    }
    collector.wait_for(2, LIMIT)?;
    assert_eq!(proxy.stats()?["not_followed"], 2);
    assert_eq!(proxy.log().matches("by a variable without quotes").count(), 1, "{}", proxy.log());
    Ok(())
}

#[test]
fn an_argument_that_is_wrong_in_every_call_stops_the_proxy_at_its_start() -> Result<()> {
    for (call, said) in [
        ("sip_trace(\"garbage\")", "sip_trace(\"garbage\"): expected udp:"),
        ("sip_trace(COLLECTOR, \"id\", \"x\")", "sip_trace mode: expected"),
        ("sip_trace_mode(\"whole\")", "(dialog), found \"whole\""),
        ("sip_trace_msg(\"text\", \"garbage\")", "sip_trace_msg(\"garbage\"): expected udp:"),
        (
            "sip_trace_msg(\"text\", \"here\", \"udp:127.0.0.1:5060\", \"\", \"\")",
            "sip_trace_msg(\"here\"): expected transport",
        ),
    ] {
        let setup = Setup::case("script", "127.0.0.1:9".parse()?, "sip:127.0.0.1:9".to_owned());
        let log = harness::kamailio::refusal(&setup.define_bare("ARGUMENT", call))?;
        ensure!(log.contains(said), "{call}: {log}");
    }
    Ok(())
}

#[test]
fn a_variable_that_does_not_exist_stops_the_proxy_at_its_start() -> Result<()> {
    let setup = Setup::case("script", "127.0.0.1:9".parse()?, "sip:127.0.0.1:9".to_owned());
    let log = harness::kamailio::refusal(&setup.define_bare("ARGUMENT", "xlog(\"$siplens(ids)\")"))?;
    ensure!(log.contains("expected $siplens(id) or $siplens(mode)"), "{log}");
    Ok(())
}

#[test]
fn a_log_line_is_shown_in_its_call() -> Result<()> {
    let backend = Backend::start()?;
    let setup = Setup::case("script", backend.hep(), "sip:127.0.0.1:9".to_owned());
    let proxy = Kamailio::start(&setup)?;
    let caller = UdpSocket::bind("127.0.0.1:0")?;
    // A line whose id is the Call-ID, one whose id is the session's, and a call without any.
    for (user, call_id) in [
        ("trace_mode_t", "of-a-call"),
        ("hlog", "of-a-call"),
        ("hlog_session", "of-a-session"),
        ("hlog_session", "of-the-same-session"),
        ("trace_mode_d", "none"),
    ] {
        ask(&caller, proxy.sip(), user, call_id, "")?;
    }
    for (call_id, messages, line) in [
        ("of-a-call", 5, Some("OPTIONS of alice")),
        // The line names its call, so the other call of the session, at the same time, does not show it.
        ("of-a-session", 3, Some("a line of the session")),
        ("of-the-same-session", 3, Some("a line of the session")),
        ("none", 2, None),
    ] {
        let call = eventually("the call", LIMIT, || {
            let call = backend.api().get(&format!("/api/v1/calls/{call_id}"))?;
            ensure!(call["messages"].as_array().map_or(0, Vec::len) == messages, "{call}");
            Ok(call)
        })?;
        let rows = call["ladder"]["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        let notes: Vec<_> = rows.iter().filter(|row| row["kind"] == "note").collect();
        assert_eq!(notes.len(), usize::from(line.is_some()), "{call_id}");
        assert!(notes.iter().all(|note| note["label"] == json!(line)), "{notes:?}");
    }
    Ok(())
}

#[test]
fn the_core_shows_the_counters_as_statistics() -> Result<()> {
    let mut scene = Scene::new("script", |setup| setup)?;
    scene.ask("trace_mode_t", "call", "")?;
    scene.packets(2)?;
    scene.proxy.rpc(&["siplens.disable"])?;
    scene.ask("no_flag", "call", "")?;
    let text = scene.proxy.rpc(&["stats.get_statistics", "siplens:"])?;
    for (name, value) in [("captured", 2), ("sent", 2), ("filtered", 1), ("offered", 3), ("dropped", 0)] {
        ensure!(text.contains(&format!("siplens:{name} = {value}\n")), "{name}: {text}");
    }
    // Every counter of messages is there under its own name, what a later version counts, too.
    let stats = scene.proxy.rpc(&["siplens.stats"])?;
    let (counters, _) = stats.split_once("collectors").context("no collectors")?;
    let others = ["enabled", "queue_damages", "sender_pid", "sender_starts", "sent_bytes"];
    for line in counters.lines() {
        let Some((name, value)) = line.trim().split_once(": ") else { continue };
        ensure!(
            others.contains(&name) || text.contains(&format!("siplens:{name} = {value}")),
            "{name}: {text}"
        );
    }
    Ok(())
}
