//! Messages and calls are found by every filter, newest first.

use std::time::Duration;

use anyhow::Result;
use harness::{Agent, Backend, Observed, answered_call};
use serde_json::Value;

fn ids(calls: &[Value]) -> Vec<&str> {
    calls.iter().filter_map(|call| call["call_id"].as_str()).collect()
}

#[test]
fn calls_are_listed_newest_first_over_all_pages() -> Result<()> {
    let backend = Backend::start()?;
    let mut agent = Agent::tcp(backend.hep())?;
    for age in [50u64, 10, 40, 20, 30] {
        agent.send_all(&answered_call(&format!("age-{age}"), "paged", Duration::from_secs(age)))?;
    }
    backend.session("paged", 30)?;
    let calls = backend.api().all("/api/v1/calls?limit=2")?;
    assert_eq!(ids(&calls), ["age-10", "age-20", "age-30", "age-40", "age-50"]);
    let messages = backend.api().all("/api/v1/messages?limit=7")?;
    assert_eq!(messages.len(), 30);
    assert!(
        messages.is_sorted_by(|newer, older| newer["captured_at"].as_str() >= older["captured_at"].as_str())
    );
    Ok(())
}

#[test]
fn each_filter_finds_its_call_and_no_other() -> Result<()> {
    let backend = Backend::start()?;
    let mut agent = Agent::tcp(backend.hep())?;
    agent.send_all(&answered_call("plain", "plain", Duration::from_secs(30)))?;
    let special = Observed::raw(
        "MESSAGE sip:carol@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKs\r\n\
         From: <sip:dave@example.net>;tag=d\r\nTo: <sip:carol@example.net>\r\nCall-ID: special\r\n\
         CSeq: 7 MESSAGE\r\nUser-Agent: Acme Phone 2.1\r\nContent-Length: 0\r\n\r\n",
    );
    agent.send(
        &Observed { src: "192.0.2.7:5062".parse()?, dst: "192.0.2.1:5060".parse()?, ..special }
            .in_session("special"),
    )?;
    backend.session("plain", 6)?;
    backend.session("special", 1)?;
    for filter in [
        "correlation_id=special",
        "call_id=special",
        "from_user=dave",
        "to_user=carol",
        "method=MESSAGE",
        "src=192.0.2.7",
        "src=192.0.2.7:5062",
        "src=192.0.2.0/24",
        "dst=192.0.2.1:5060",
        "user_agent=acme",
        "since=-20s",
        "agent_id=2001&method=MESSAGE",
    ] {
        for list in ["messages", "calls"] {
            let found = backend.api().all(&format!("/api/v1/{list}?{filter}"))?;
            assert_eq!(ids(&found), ["special"], "{list}?{filter}");
        }
    }
    for filter in ["status=486", "transport=tls", "since=-2h&until=-1h", "src=192.0.2.8", "from_user=carol"] {
        assert!(backend.api().all(&format!("/api/v1/calls?{filter}"))?.is_empty(), "{filter}");
    }
    for wrong in ["status=abc", "since=yesterday", "src=everywhere", "limit=0", "colour=red", "cursor=forged"]
    {
        let response = backend.api().fetch(&format!("/api/v1/calls?{wrong}"))?;
        assert_eq!(
            (response.status, response.error_code().as_deref()),
            (400, Some("bad_request")),
            "{wrong}"
        );
    }
    Ok(())
}
