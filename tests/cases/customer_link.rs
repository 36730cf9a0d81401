//! A customer link opens one call, and nothing else by any means tried here.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use harness::api::encode;
use harness::sipp::Transport;
use harness::{Agent, Api, Backend, Call, Proxy, answered_call, eventually, ladder};
use serde_json::{Value, json};

use crate::stage::Stage;

/// A backend with two calls in one session and a third in another.
fn backend() -> Result<Backend> {
    let backend = Backend::start()?;
    let mut agent = Agent::udp(backend.hep())?;
    for (call, session) in [("mine", "session-a"), ("neighbour", "session-a"), ("foreign", "session-b")] {
        agent.send_all(&answered_call(call, session, Duration::from_secs(60)))?;
    }
    for call in ["mine", "neighbour", "foreign"] {
        backend.call(call, 6)?;
    }
    Ok(backend)
}

fn refused(api: &Api, path: &str, code: &str) -> Result<()> {
    let response = api.fetch(path)?;
    assert_eq!(
        (response.status, response.error_code().as_deref()),
        (403, Some(code)),
        "{path}: {}",
        response.text()
    );
    Ok(())
}

#[test]
fn a_link_opens_the_call_it_was_made_for() -> Result<()> {
    let stage = Stage::new("session-link")?;
    let placed = Call::new("call").place(stage.proxy.sip(), Transport::Udp)?;
    let call = stage.backend.call(&placed.call_id, ladder::expected("call")?.len())?;
    let (_, url) = stage.backend.link(&json!({"call_id": placed.call_id}))?;
    assert!(url.starts_with(&format!("{}/v/", stage.backend.customer_url())), "{url}");

    let customer = stage.backend.customer();
    let page = customer.fetch(&url)?;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors")));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));

    let view = customer.get(&format!("{url}/view"))?;
    assert_eq!((&view["kind"], &view["call_id"]), (&json!("call"), &json!(placed.call_id)));
    let opened = customer.get(&format!("{url}/call"))?;
    assert_eq!(opened["messages"], call["messages"]);
    assert_eq!(opened["ladder"], call["ladder"]);
    let export = customer.fetch(&format!("{url}/export?format=pcap"))?;
    assert_eq!(export.status, 200);
    Ok(())
}

#[test]
fn a_link_for_one_call_does_not_open_another() -> Result<()> {
    let backend = backend()?;
    let (_, url) = backend.link(&json!({"call_id": "mine"}))?;
    let customer = backend.customer();
    assert_eq!(customer.get(&format!("{url}/call"))?["call_id"], "mine");
    for other in ["neighbour", "foreign", "no-such-call"] {
        refused(&customer, &format!("{url}/calls/{other}"), "outside_link")?;
        let export = customer.fetch(&format!("{url}/export?format=text&call_id={other}"))?;
        assert_eq!(export.status, 403, "{}", export.text());
    }
    for query in ["?call_id=foreign", "?correlation_id=session-b"] {
        let response = customer.fetch(&format!("{url}/call{query}"))?;
        assert!(!response.text().contains("foreign") && !response.text().contains("session-b"), "{query}");
    }
    Ok(())
}

#[test]
fn a_link_for_one_session_does_not_open_another() -> Result<()> {
    let backend = backend()?;
    let (_, url) = backend.link(&json!({"correlation_id": "session-a"}))?;
    let customer = backend.customer();
    assert_eq!(customer.get(&format!("{url}/session"))?["calls"], 2);
    let calls = customer.all(&format!("{url}/calls?limit=1"))?;
    let mut ids: Vec<_> = calls.iter().filter_map(|call| call["call_id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["mine", "neighbour"]);
    assert_eq!(customer.get(&format!("{url}/calls/neighbour"))?["call_id"], "neighbour");
    refused(&customer, &format!("{url}/calls/foreign"), "outside_link")?;
    let widened = customer.fetch(&format!("{url}/calls?limit=100&correlation_id=session-b"))?;
    assert!(!widened.text().contains("foreign"), "{}", widened.text());
    Ok(())
}

#[test]
fn a_links_time_window_cannot_be_widened() -> Result<()> {
    let backend = Backend::start()?;
    let mut agent = Agent::udp(backend.hep())?;
    // The same Call-ID an hour apart: an old call that this customer must not see.
    agent.send_all(&answered_call("twice", "session-a", Duration::from_secs(3_600)))?;
    agent.send_all(&answered_call("twice", "session-a", Duration::from_secs(60)))?;
    backend.call("twice", 12)?;
    let (_, url) = backend.link(&json!({"call_id": "twice", "since": "-10m", "until": "now"}))?;
    let customer = backend.customer();

    let opened = customer.get(&format!("{url}/call"))?;
    assert_eq!(opened["messages"].as_array().map(Vec::len), Some(6));
    let view = customer.get(&format!("{url}/view"))?;
    let (since, until) = (view["since"].as_str().context("since")?, view["until"].as_str().context("until")?);
    assert_eq!(
        customer.fetch(&format!("{url}/call?since={}&until={}", encode(since), encode(until)))?.status,
        200
    );
    for query in
        ["since=-2h", "since=1970-01-01T00:00:00Z", "until=2100-01-01T00:00:00Z", "since=-2h&until=now"]
    {
        refused(&customer, &format!("{url}/call?{query}"), "outside_link")?;
    }
    let export = customer.fetch(&format!("{url}/export?format=text&since=-2h"))?;
    assert_eq!(export.status, 403);
    Ok(())
}

#[test]
fn a_token_changed_in_any_place_opens_nothing() -> Result<()> {
    let backend = backend()?;
    let (_, url) = backend.link(&json!({"call_id": "mine"}))?;
    let customer = backend.customer();
    let (base, token) = url.rsplit_once('/').context("a link without token")?;
    for position in 0..token.len() {
        let mut altered = token.as_bytes().to_vec();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered)?;
        refused(&customer, &format!("{base}/{altered}/call"), "link_invalid")?;
    }
    for altered in
        [token[..token.len() - 1].to_owned(), format!("{token}A"), format!("{token}="), String::from("x")]
    {
        let response = customer.fetch(&format!("{base}/{altered}/call"))?;
        assert_eq!(response.status, 403, "{altered}");
    }
    let page = customer.fetch(&format!("{base}/{}", &token[1..]))?;
    assert_eq!(page.status, 403);
    assert!(
        page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
        "a person reads this"
    );
    Ok(())
}

#[test]
fn a_link_ends_when_it_expires() -> Result<()> {
    let backend = backend()?;
    let (_, url) = backend.link(&json!({"call_id": "mine", "expires_in": 2}))?;
    let customer = backend.customer();
    let made = SystemTime::now();
    assert_eq!(customer.fetch(&format!("{url}/call"))?.status, 200);
    eventually("the link's end", Duration::from_secs(10), || {
        let response = customer.fetch(&format!("{url}/call"))?;
        anyhow::ensure!(response.status == 403, "still open");
        assert_eq!(response.error_code().as_deref(), Some("link_expired"));
        Ok(())
    })?;
    assert!(made.elapsed()? >= Duration::from_millis(900));
    for path in ["/view", "/export?format=pcap"] {
        refused(&customer, &format!("{url}{path}"), "link_expired")?;
    }
    assert_eq!(customer.fetch(&url)?.status, 403);
    Ok(())
}

#[test]
fn a_link_ends_when_it_is_revoked() -> Result<()> {
    let mut backend = backend()?;
    let (id, url) = backend.link(&json!({"call_id": "mine"}))?;
    let (_, kept) = backend.link(&json!({"call_id": "neighbour"}))?;
    let customer = backend.customer();
    assert_eq!(customer.fetch(&format!("{url}/call"))?.status, 200);
    assert_eq!(backend.api().request("DELETE", &format!("/api/v1/links/{id}"), None)?.status, 204);
    refused(&customer, &format!("{url}/call"), "link_revoked")?;
    assert_eq!(customer.fetch(&url)?.status, 403);

    backend.stop()?;
    backend.restart()?;
    refused(&customer, &format!("{url}/call"), "link_revoked")?;
    assert_eq!(
        customer.fetch(&format!("{kept}/call"))?.status,
        200,
        "a restart ended a link that nobody revoked"
    );
    Ok(())
}

#[test]
fn a_link_of_one_backend_opens_nothing_at_another() -> Result<()> {
    let (mine, other) = (backend()?, backend()?);
    let (_, url) = mine.link(&json!({"call_id": "mine"}))?;
    let token = url.rsplit('/').next().context("token")?;
    refused(&other.customer(), &format!("/v/{token}/call"), "link_invalid")
}

#[test]
fn the_customer_listener_answers_no_route_of_the_api() -> Result<()> {
    let backend = backend()?;
    let customer = backend.customer();
    let (_, url) = backend.link(&json!({"call_id": "mine"}))?;
    let described = backend.api().get("/api/v1/openapi.json")?;
    let mut paths: Vec<String> = described["paths"].as_object().context("paths")?.keys().cloned().collect();
    assert!(paths.len() >= 8, "{paths:?}");
    // The API's description may name the customer's own paths too; those are meant to be here.
    paths.retain(|path| !path.starts_with("/v/") && path != "/healthz");
    paths.extend(
        ["/", "/calls/mine", "/sessions/session-a", "/links", "/login", "/metrics", "/readyz"]
            .map(str::to_owned),
    );
    paths.extend(
        ["/api/docs", "/api/v1/openapi.json", "/assets/operator/index.js", "/v/", "/v"].map(str::to_owned),
    );
    for path in &paths {
        let path =
            path.replace("{call_id}", "mine").replace("{correlation_id}", "session-a").replace("{id}", "1");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let body = matches!(method, "POST" | "PUT" | "PATCH").then(|| json!({"call_id": "mine"}));
            let response = customer.request(method, &path, body.as_ref())?;
            assert_eq!(response.status, 403, "{method} {path}: {}", response.text());
            assert!(response.json()?["error"]["code"].is_string(), "{method} {path}: {}", response.text());
        }
    }
    for climb in
        ["/../api/v1/calls", "/%2e%2e/%2e%2e/api/v1/calls", "/..%2f..%2fapi%2fv1%2fcalls", "//api/v1/calls"]
    {
        let response = customer.fetch(&format!("{url}{climb}"))?;
        assert_eq!(response.status, 403, "{climb}: {}", response.text());
    }
    for method in ["POST", "PUT", "DELETE"] {
        let body: Option<Value> = (method != "DELETE").then(|| json!({}));
        let response = customer.request(method, &format!("{url}/call"), body.as_ref())?;
        assert_eq!(response.status, 403, "{method}");
    }
    Ok(())
}

#[test]
fn a_token_does_not_reach_the_log() -> Result<()> {
    let backend = backend()?;
    let (_, url) = backend.link(&json!({"call_id": "mine"}))?;
    let token = url.rsplit('/').next().context("token")?.to_owned();
    backend.customer().fetch(&format!("{url}/call"))?;
    backend.customer().fetch(&format!("{url}/calls/foreign"))?;
    assert!(!backend.log().contains(&token));
    Ok(())
}
