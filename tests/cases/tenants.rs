//! Several tenants on one backend: whose a message is, and for how long what is kept.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Agent, Backend, BackendSetup, Observed, answered_call, eventually};

/// Longer than the backend takes to look for what may go, and to read its keys again.
const LIMIT: Duration = Duration::from_secs(90);
const HOUR: Duration = Duration::from_secs(3600);
const CONFIG: &str = "
[[tenants]]
name = \"acme\"

[[tenants]]
name = \"bell\"
agents = [2002]

[[retention.rules]]
name = \"pings\"
classes = [\"options\"]
hours = 24
";

fn with_key(observed: &Observed, key: &str) -> Result<Vec<u8>> {
    let plain = observed.encode()?;
    let packet = hep::Packet { auth_key: Some(key.as_bytes()), ..hep::decode(&plain)? };
    let mut octets = Vec::new();
    hep::encode(&packet, &mut octets)?;
    Ok(octets)
}

#[test]
fn what_comes_with_a_tenants_key_is_its_own_and_pings_go_before_calls() -> Result<()> {
    let setup = BackendSetup { config: Some(CONFIG.to_owned()), ..BackendSetup::default() };
    let mut backend = Backend::start_with(setup)?;
    let refused = backend.run(&["agent-key", "add", "edge", "--tenant", "amce"], "")?;
    ensure!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(told.contains("no tenant amce: expected one of [[tenants]]"), "{told}");

    let made = backend.run(&["agent-key", "add", "edge", "--tenant", "acme"], "")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout)?.trim_end().to_owned();
    let listed = backend.run(&["agent-key", "list"], "")?;
    assert_eq!(String::from_utf8(listed.stdout)?.trim_end(), "edge  any agent  tenant acme");

    let mut agent = Agent::tcp(backend.hep())?;
    let two_days_ago = std::time::SystemTime::now() - 48 * HOUR;
    agent.send(&Observed::request("OPTIONS", "ping@host", 1).at(two_days_ago))?;
    agent.send_all(&answered_call("old@host", "session", 48 * HOUR))?;
    backend.call("old@host", 6)?;
    let mut number = 0;
    eventually("a message of acme's", LIMIT, || {
        number += 1;
        let ping = Observed::request("OPTIONS", &format!("{number}@acme"), 1).at(two_days_ago);
        agent.send_bytes(&with_key(&ping, &key)?)?;
        let found = backend.api().get("/api/v1/messages?tenant=acme")?;
        ensure!(found["items"].as_array().is_some_and(|items| !items.is_empty()), "{found}");
        Ok(())
    })?;
    let found = backend.api().get("/api/v1/messages?tenant=acme&limit=100")?;
    let items = found["items"].as_array().cloned().unwrap_or_default();
    assert!(items.iter().all(|m| m["call_id"].as_str().is_some_and(|id| id.ends_with("@acme"))), "{found}");
    assert_eq!(backend.api().get("/api/v1/messages?tenant=bell")?["items"], serde_json::json!([]));

    // What is written to stays: the next run begins anew.
    backend.stop()?;
    backend.restart()?;
    let mut agent = Agent::tcp(backend.hep())?;
    agent.send(&Observed::request("OPTIONS", "new@host", 1))?;
    agent.send_all(&answered_call("new-call@host", "session", Duration::ZERO))?;
    eventually("the old ping's end", LIMIT, || {
        ensure!(backend.api().fetch("/api/v1/calls/ping@host")?.status == 404);
        Ok(())
    })?;
    backend.call("old@host", 6)?;
    let plan = backend.run(&["retention", "plan"], "")?;
    let plan = String::from_utf8(plan.stdout)?;
    ensure!(plan.contains("\nrule pings  ") && plan.contains(" octets, kept for 24 hours\n"), "{plan}");
    ensure!(plan.contains("\nrule default  ") && plan.contains(" octets, kept for ever\n"), "{plan}");
    Ok(())
}
