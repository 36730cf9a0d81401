//! A call from end to end: over each transport, with its ladder.

use std::net::SocketAddr;

use anyhow::Result;
use harness::sipp::Transport;
use harness::{Backend, Call, Postgres, Proxy, ladder};
use serde_json::{Value, json};

use crate::stage::Stage;

/// The values that one field has over a call's messages, in their order, each once.
fn distinct<'a>(call: &'a Value, field: &str) -> Vec<&'a Value> {
    let mut values = Vec::new();
    for message in call["messages"].as_array().into_iter().flatten() {
        if !values.contains(&&message[field]) {
            values.push(&message[field]);
        }
    }
    values
}

fn rows(case: &str) -> Result<usize> {
    Ok(ladder::expected(case)?.len())
}

#[test]
fn a_call_over_udp_comes_out_as_its_ladder() -> Result<()> {
    let stage = Stage::new("session-udp")?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("call")?)?;

    ladder::compare("call", &call, &stage.roles())?;
    assert_eq!(distinct(&call, "transport"), [&json!("udp")]);
    assert_eq!(distinct(&call, "correlation_id"), [&json!("session-udp")]);
    assert_eq!(distinct(&call, "agent_id"), [&json!(2001)]);
    let invite = &call["messages"][0];
    assert_eq!(invite["src"], json!(placed.address.to_string()));
    assert_eq!(invite["dst"], json!(stage.proxy.sip().to_string()));
    assert_eq!(invite["method"], "INVITE");
    assert_eq!(invite["from_user"], "alice");
    assert_eq!(invite["to_user"], "bob");
    assert_eq!(invite["user_agent"], "siplens-test/1");
    Ok(())
}

#[test]
fn a_call_says_when_it_rang_was_answered_and_ended() -> Result<()> {
    let stage = Stage::new("session-times")?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("call")?)?;

    assert_eq!(call["outcome"], "answered");
    assert_eq!(call["final_status"], 200);
    let times = ["started_at", "ringing_at", "answered_at", "ended_at"]
        .map(|name| call[name].as_str().unwrap_or_default());
    assert!(times.is_sorted() && !times[0].is_empty(), "{times:?}");
    // sipp rings for 20 ms and talks for 60 ms; how much longer a loaded machine takes is not our subject.
    assert!(call["duration_ms"].as_i64() >= Some(60), "{}", call["duration_ms"]);
    assert!(call["setup_time_ms"].is_i64() && call["ring_time_ms"].is_i64());
    Ok(())
}

/// The ladder, and `outer` as the transport of every message that touches `socket`, UDP of the others.
fn check_outer_transport(stage: &Stage, call: &Value, socket: SocketAddr, outer: &str) -> Result<()> {
    ladder::compare("call", call, &stage.roles())?;
    let socket = socket.to_string();
    for message in call["messages"].as_array().into_iter().flatten() {
        let outside = message["src"] == socket.as_str() || message["dst"] == socket.as_str();
        // Over UDP the proxy's socket has the same address as over TCP.
        let inside = stage.uas.address().to_string();
        let inside = message["src"] == inside.as_str() || message["dst"] == inside.as_str();
        assert_eq!(message["transport"], if outside && !inside { outer } else { "udp" }, "{message}");
    }
    Ok(())
}

#[test]
fn a_call_over_tcp_has_its_transport_and_addresses() -> Result<()> {
    let stage = Stage::new("session-tcp")?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Tcp)?;
    let call = stage.backend.call(&placed.call_id, rows("call")?)?;

    check_outer_transport(&stage, &call, stage.proxy.sip(), "tcp")?;
    assert_eq!(call["messages"][0]["src"], json!(placed.address.to_string()));
    assert_eq!(call["transports"], json!(["tcp", "udp"]));
    Ok(())
}

#[test]
fn a_call_over_tcp_on_both_sides_comes_out_as_its_ladder() -> Result<()> {
    let stage = Stage::with(Backend::start()?, Transport::Tcp, |setup| setup.session("session-tcp-tcp"))?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Tcp)?;
    let call = stage.backend.call(&placed.call_id, rows("call")?)?;

    ladder::compare("call", &call, &stage.roles())?;
    assert_eq!(distinct(&call, "transport"), [&json!("tcp")]);
    assert_eq!(call["messages"][1]["dst"], json!(stage.uas.address().to_string()));
    assert_eq!(call["outcome"], "answered");
    Ok(())
}

#[test]
fn a_call_over_tls_is_captured_in_clear() -> Result<()> {
    let stage = Stage::new("session-tls")?;
    let call_id = Call::new("call").place_tls(stage.proxy.tls(), &stage.proxy.certificate())?;
    let call = stage.backend.call(&call_id, rows("call")?)?;

    check_outer_transport(&stage, &call, stage.proxy.tls(), "tls")?;
    let invite = &call["messages"][0];
    assert_eq!(invite["dst"], json!(stage.proxy.tls().to_string()));
    assert!(invite["raw"].as_str().is_some_and(|raw| raw.starts_with("INVITE sip:bob@127.0.0.1")));
    Ok(())
}

#[test]
fn a_call_over_ipv6_has_its_addresses() -> Result<()> {
    let stage = Stage::on_ipv6("session-6")?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("call")?)?;

    ladder::compare("call", &call, &stage.roles())?;
    let invite = &call["messages"][0];
    assert_eq!(invite["src"], json!(placed.address.to_string()));
    assert_eq!(invite["dst"], json!(stage.proxy.sip().to_string()));
    assert!(invite["dst"].as_str().is_some_and(|dst| dst.starts_with("[::1]:")));
    Ok(())
}

#[test]
fn replies_and_requests_within_the_dialog_are_captured() -> Result<()> {
    let stage = Stage::new("session-dialog")?;
    let placed = Call::new("reinvite").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("reinvite")?)?;

    ladder::compare("reinvite", &call, &stage.roles())?;
    assert_eq!(distinct(&call, "correlation_id"), [&json!("session-dialog")]);
    assert_eq!(call["outcome"], "answered");
    Ok(())
}

#[test]
fn a_call_to_somebody_busy_is_found_as_busy() -> Result<()> {
    let stage = Stage::new("session-busy")?;
    let placed = Call::new("busy").to("busy").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("busy")?)?;

    ladder::compare("busy", &call, &stage.roles())?;
    assert_eq!(call["outcome"], "busy");
    assert_eq!(call["final_status"], 486);
    assert!(call["answered_at"].is_null());
    let found = stage.backend.api().get("/api/v1/calls?status=486&correlation_id=session-busy")?;
    assert_eq!(found["items"][0]["call_id"], json!(placed.call_id));
    Ok(())
}

#[test]
fn a_call_is_kept_in_postgresql_as_in_sqlite() -> Result<()> {
    let postgres = Postgres::start()?;
    let stage =
        Stage::with(Backend::start_on(postgres.url())?, Transport::Udp, |setup| setup.session("session-pg"))?;
    let placed = Call::new("reinvite").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("reinvite")?)?;

    ladder::compare("reinvite", &call, &stage.roles())?;
    let session = stage.backend.session("session-pg", rows("reinvite")? as u64)?;
    assert_eq!(session["calls"], 1);
    assert_eq!(session["outcomes"], json!({"answered": 1}));
    Ok(())
}

#[test]
fn hep_over_tcp_brings_the_same_call() -> Result<()> {
    let stage =
        Stage::with(Backend::start()?, Transport::Udp, |setup| setup.session("hep-tcp").hep_over_tcp())?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, rows("call")?)?;

    ladder::compare("call", &call, &stage.roles())?;
    assert!(stage.backend.api().metric("siplens_ingest_packets_total")? >= rows("call")? as f64);
    Ok(())
}
