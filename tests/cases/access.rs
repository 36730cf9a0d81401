//! Who may ask the operator's API.

use anyhow::{Result, ensure};
use harness::{Api, Backend};
use serde_json::json;

fn succeeds(output: &std::process::Output) -> Result<String> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn without_a_user_only_this_machine_is_answered() -> Result<()> {
    let backend = Backend::start()?;
    assert_eq!(backend.api().get("/api/v1/me")?["auth"], "open");
    let port = backend.http_url().rsplit(':').next().unwrap_or_default();
    // A page elsewhere that resolves its own name to 127.0.0.1 must not read our calls.
    let rebound = std::net::TcpStream::connect(format!("127.0.0.1:{port}"))?;
    let status = raw(
        rebound,
        &format!("GET /api/v1/calls HTTP/1.1\r\nHost: evil.example:{port}\r\nConnection: close\r\n\r\n"),
    )?;
    assert_eq!(status, 401);
    let forwarded = std::net::TcpStream::connect(format!("127.0.0.1:{port}"))?;
    let head = format!(
        "GET /api/v1/calls HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw(forwarded, &head)?, 401);
    Ok(())
}

fn raw(mut stream: std::net::TcpStream, request: &str) -> Result<u16> {
    use std::io::{Read, Write};
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.split(' ').nth(1).unwrap_or_default().parse()?)
}

#[test]
fn with_a_user_nobody_is_answered_without_credentials() -> Result<()> {
    let backend = Backend::start()?;
    succeeds(&backend.run(&["user", "add", "anna", "--password-stdin"], "a long enough password\n")?)?;
    let token = succeeds(&backend.run(&["token", "add", "ci"], "")?)?;
    let token = token.split_whitespace().last().unwrap_or_default().to_owned();

    let api = backend.api();
    for path in [
        "/api/v1/calls",
        "/api/v1/messages",
        "/api/v1/sessions/x",
        "/api/v1/links",
        "/api/v1/calls/x/export?format=pcap",
    ] {
        let response = api.fetch(path)?;
        assert_eq!(
            (response.status, response.error_code().as_deref()),
            (401, Some("unauthorized")),
            "{path}"
        );
    }
    assert_eq!(api.request("POST", "/api/v1/links", Some(&json!({"call_id": "x"})))?.status, 401);
    assert_eq!(api.clone().with_token(&token).fetch("/api/v1/calls")?.status, 200);
    assert_eq!(api.clone().with_token("wrong").fetch("/api/v1/calls")?.status, 401);

    let wrong = api.request("POST", "/api/v1/login", Some(&json!({"name": "anna", "password": "guess"})))?;
    assert_eq!(wrong.status, 401);
    let login = api.request(
        "POST",
        "/api/v1/login",
        Some(&json!({"name": "anna", "password": "a long enough password"})),
    )?;
    assert!(matches!(login.status, 200 | 204), "{}", login.text());
    let cookie = login.header("set-cookie").unwrap_or_default();
    assert!(
        cookie.starts_with("siplens_session=")
            && cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    Ok(())
}

#[test]
fn health_is_told_to_everybody() -> Result<()> {
    let backend = Backend::start()?;
    succeeds(&backend.run(&["user", "add", "anna", "--password-stdin"], "a long enough password\n")?)?;
    for api in [backend.api(), Api::new(backend.customer_url())] {
        assert_eq!(api.fetch("/healthz")?.status, 200);
    }
    assert_eq!(backend.api().fetch("/readyz")?.status, 200);
    Ok(())
}
