//! Who may send: keys that are made, used by a real proxy, and removed while the backend runs.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, BackendSetup, Kamailio, Observed, Proxy, Setup, eventually};

/// Longer than the backend takes to read its keys again.
const LIMIT: Duration = Duration::from_secs(30);

fn options(proxy: &Kamailio, call_id: &str) -> Result<()> {
    let request = Observed::request("OPTIONS", call_id, 1).payload;
    UdpSocket::bind("127.0.0.1:0")?.send_to(&request, proxy.sip())?;
    Ok(())
}

fn key(backend: &Backend, arguments: &[&str], stdin: &str) -> Result<String> {
    let output = backend.run(&[&["agent-key"], arguments].concat(), stdin)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[test]
fn a_proxy_is_heard_while_its_key_is_in_force() -> Result<()> {
    let config = "[admission]\nrequire_key = true\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    let collected = backend.hep();
    let setup = || Setup::case("admission", collected, "sip:127.0.0.1:9".to_owned());
    let made = key(&backend, &["add", "edge", "--agent-id", "2001"], "")?;
    let proxy = Kamailio::start(&setup().define("KEY", &made))?;
    let without = Kamailio::start(&setup())?;
    eventually("a message of the proxy that has the key", LIMIT, || {
        options(&proxy, "with-key")?;
        options(&without, "without-key")?;
        let call = backend.api().get("/api/v1/calls/with-key")?;
        ensure!(call["messages"].as_array().is_some_and(|m| m.len() >= 2), "{call}");
        Ok(())
    })?;
    let peer = || -> Result<_> {
        let peers = backend.api().get("/api/v1/peers")?;
        peers["items"].get(0).cloned().context("a peer")
    };
    eventually("refusals of the proxy that has none", LIMIT, || {
        ensure!(peer()?["refused"]["key"].as_u64() > Some(0), "{}", peer()?);
        Ok(())
    })?;
    assert_eq!(backend.api().fetch("/api/v1/calls/without-key")?.status, 404);
    let agents = backend.api().get("/api/v1/agents")?;
    assert_eq!(agents["items"][0]["agent_id"], 2001, "{agents}");
    assert_eq!(agents["items"][0]["clock_skewed"], false, "{agents}");

    assert_eq!(key(&backend, &["list"], "")?, "edge  agent 2001");
    assert_eq!(
        key(&backend, &["add", "old", "--key-stdin"], "a key from before\n")?,
        "agent key old is added"
    );
    assert_eq!(key(&backend, &["remove", "edge"], "")?, "agent key edge is removed");
    eventually("refusals of the proxy whose key is gone", LIMIT, || {
        let before = backend.api().metric("siplens_ingest_packets_total")?;
        let accepted = peer()?["accepted"].as_u64();
        options(&proxy, "too-late")?;
        std::thread::sleep(Duration::from_millis(200));
        ensure!(backend.api().metric("siplens_ingest_packets_total")? > before, "not heard of yet");
        ensure!(peer()?["accepted"].as_u64() == accepted, "still taken");
        Ok(())
    })?;
    for text in [backend.log(), backend.api().fetch("/metrics")?.text()] {
        assert!(!text.contains(&made), "{text}");
    }
    Ok(())
}

#[test]
fn what_is_refused_can_be_looked_at() -> Result<()> {
    let config = "[admission]\nnetworks = [\"127.0.0.1\"]\npacket_bytes = 2048\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    let mut agent = Agent::udp(backend.hep())?;
    agent.send_bytes(b"this is not HEP")?;
    agent.send(&Observed::raw(vec![b'x'; 4000]))?;
    UdpSocket::bind("127.0.0.9:0")?
        .send_to(&Observed::request("OPTIONS", "foreign", 1).encode()?, backend.hep())?;
    eventually("two packets in quarantine", LIMIT, || {
        let items = backend.api().get("/api/v1/quarantine")?["items"].clone();
        ensure!(items.as_array().map_or(0, Vec::len) == 2, "{items}");
        ensure!(items[0]["reason"] == "size" && items[1]["reason"] == "malformed", "{items}");
        ensure!(items[1]["octets_base64"] == "dGhpcyBpcyBub3QgSEVQ", "{items}");
        Ok(())
    })?;
    eventually("the foreign peer", LIMIT, || {
        let peers = backend.api().get("/api/v1/peers")?;
        ensure!(peers["items"][1]["refused"]["network"] == 1, "{peers}");
        Ok(())
    })
}
