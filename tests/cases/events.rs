//! What agents send besides SIP: log lines and reports, from the wire to the call, and never to a customer.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, BackendSetup, Observed, answered_call, eventually};
use serde_json::{Value, json};

fn event(protocol_type: u8, correlation_id: Option<&str>, raw: &[u8]) -> Observed {
    let event = Observed { protocol_type, ..Observed::raw(raw) };
    Observed { correlation_id: correlation_id.map(str::to_owned), ..event }
}

fn notes(call: &Value) -> Vec<&str> {
    let rows = call["ladder"]["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter(|row| row["kind"] == "note").filter_map(|row| row["label"].as_str()).collect()
}

#[test]
fn log_lines_and_reports_are_shown_in_their_call_and_kept_from_customers() -> Result<()> {
    let config = "[events]\ncall_id_paths = [\"qos.callid\"]\nindex_paths = [\"qos.ssrc\"]\n";
    let backend =
        Backend::start_with(BackendSetup { config: Some(config.into()), ..BackendSetup::default() })?;
    let mut agent = Agent::udp(backend.hep())?;
    agent.send_all(&answered_call("seen@host", "a-session", Duration::from_millis(100)))?;
    agent.send_all(&answered_call("other@host", "b-session", Duration::from_millis(100)))?;
    agent.send_all(&[
        event(100, Some("seen@host"), b"by Call-ID"),
        event(100, Some("a-session"), b"by session id"),
        event(38, None, br#"{"qos":{"callid":"seen@host","ssrc":4711}}"#),
        event(5, Some("seen@host"), b"\x81\xc8\x00\x06\xff\xfe"),
        event(100, None, b"of no call"),
        event(219, Some("a-session"), b"of a type that nobody knows"),
    ])?;
    let call = eventually("the call with its events", Duration::from_secs(20), || {
        let call = backend.api().get("/api/v1/calls/seen@host")?;
        ensure!(call["messages"].as_array().map_or(0, Vec::len) == 11, "{:?}", notes(&call));
        Ok(call)
    })?;
    let mut found = notes(&call);
    found.sort_unstable();
    assert_eq!(found, ["QoS report", "RTCP", "by Call-ID", "by session id", "protocol 219"]);
    assert_eq!((&call["outcome"], &call["message_count"]), (&json!("answered"), &json!(6)));
    assert!(notes(&backend.api().get("/api/v1/calls/other@host")?).is_empty());

    for (query, label) in [
        ("protocol_type=219", "protocol 219"),
        ("json=qos.ssrc%3D4711", "QoS report"),
        ("kind=other&correlation_id=a-session&protocol_type=100", "by session id"),
    ] {
        let found = backend.api().all(&format!("/api/v1/messages?{query}"))?;
        assert_eq!(found.len(), 1, "{query}");
        assert_eq!(found[0]["label"], label, "{query}");
    }

    for request in [json!({"call_id": "seen@host"}), json!({"correlation_id": "a-session"})] {
        let (_, url) = backend.link(&request)?;
        let shown = backend.customer().get(&format!("{url}/calls/seen@host"))?;
        assert_eq!(shown["messages"].as_array().map(Vec::len), Some(6));
        for path in ["calls/seen@host", "export?format=text&call_id=seen@host"] {
            let text = backend.customer().fetch(&format!("{url}/{path}"))?.text();
            assert!(!text.contains("by Call-ID") && !text.contains("by session id"), "{text}");
        }
    }
    Ok(())
}
