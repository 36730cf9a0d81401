//! What links open, and what they must not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Answer, Stage};

#[track_caller]
fn refused(answer: &Answer, code: &str, what: &str) {
    assert_eq!(answer.refusal(), (403, code.into()), "{what}");
    for foreign in ["foreign", "session-b"] {
        assert!(!answer.text().contains(foreign), "{what}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_link_to_a_call_opens_that_call() {
    for stage in Stage::each().await {
        let (_, link) = stage.link(json!({"call_id": "mine"})).await;
        let page = stage.open(&link).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(
            page.header("content-security-policy").contains("frame-ancestors https://portal.example.net;")
        );

        let view = stage.open(&format!("{link}/view")).await.json();
        assert_eq!(
            (&view["kind"], &view["call_id"], &view["since"]),
            (&json!("call"), &json!("mine"), &json!(null))
        );
        assert!(view.get("correlation_id").is_none());
        let call = stage.open(&format!("{link}/call")).await;
        assert_eq!(call.json(), stage.get("/api/v1/calls/mine").await.json());
        assert_eq!(call.header("cache-control"), "no-store");
        assert_eq!(stage.open(&format!("{link}/calls/mine")).await.json(), call.json());
        assert_eq!(stage.open(&format!("{link}/calls")).await.call_ids(), ["mine"]);
        for query in ["format=pcap", "format=text", "format=text&call_id=mine"] {
            assert_eq!(stage.open(&format!("{link}/export?{query}")).await.status, 200, "{query}");
        }
        refused(&stage.open(&format!("{link}/session")).await, "outside_link", "session");
    }
}

#[tokio::test]
async fn a_link_to_a_session_opens_its_calls() {
    for stage in Stage::each().await {
        let (_, link) = stage.link(json!({"correlation_id": "session-a"})).await;
        let view = stage.open(&format!("{link}/view")).await.json();
        assert_eq!((&view["kind"], &view["correlation_id"]), (&json!("session"), &json!("session-a")));
        assert_eq!(stage.open(&format!("{link}/session")).await.json()["calls"], 2);
        let first = stage.open(&format!("{link}/calls?limit=1")).await;
        assert_eq!(first.call_ids(), ["neighbour"]);
        let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
        let second = stage.open(&format!("{link}/calls?limit=1&cursor={cursor}")).await;
        assert_eq!(second.call_ids(), ["mine"]);
        assert_eq!(stage.open(&format!("{link}/calls/neighbour")).await.json()["call_id"], "neighbour");
        assert_eq!(stage.open(&format!("{link}/export?format=text&call_id=mine")).await.status, 200);
        refused(&stage.open(&format!("{link}/call")).await, "outside_link", "which call");
        refused(&stage.open(&format!("{link}/export?format=text")).await, "outside_link", "which call");
    }
}

#[tokio::test]
async fn a_link_opens_nothing_else() {
    let stage = Stage::new().await;
    let (_, call) = stage.link(json!({"call_id": "mine"})).await;
    let (_, session) = stage.link(json!({"correlation_id": "session-a"})).await;
    for (link, others) in [
        (&call, ["neighbour", "foreign", "no-such-call", "MINE", "min", "mine%00"].as_slice()),
        (&session, &["foreign", "no-such-call", "session-a", ""]),
    ] {
        for other in others {
            let paths =
                [format!("{link}/calls/{other}"), format!("{link}/export?format=pcap&call_id={other}")];
            for path in paths {
                let answer = stage.open(&path).await;
                let code = answer.refusal().1;
                assert!(matches!(code.as_str(), "outside_link" | "forbidden"), "{path}: {}", answer.text());
                refused(&answer, &code, &path);
            }
        }
        for query in ["call_id=foreign", "correlation_id=session-b", "agent_id=1", "token=x"] {
            for path in ["call", "session", "calls", "calls/mine"] {
                let answer = stage.open(&format!("{link}/{path}?{query}")).await;
                assert!(matches!(answer.status, 400 | 403), "{path}?{query}: {}", answer.text());
                assert!(!answer.text().contains("session-b") && !answer.text().contains("foreign"));
            }
        }
    }
    // A cursor from a list of everything stays within the session.
    let all = stage.get("/api/v1/calls?limit=1").await.json();
    let cursor = all["next_cursor"].as_str().unwrap();
    let page = stage.open(&format!("{session}/calls?cursor={cursor}")).await;
    assert_eq!(page.call_ids(), ["neighbour", "mine"]);
}

#[tokio::test]
async fn a_window_can_be_narrowed_but_not_widened() {
    let stage = Stage::new().await;
    let window =
        json!({"call_id": "mine", "since": "2026-11-21T10:00:00.500Z", "until": "2026-11-21T10:00:05Z"});
    let (_, link) = stage.link(window).await;
    let count = |answer: Answer| answer.json()["messages"].as_array().unwrap().len();
    assert_eq!(count(stage.open(&format!("{link}/call")).await), 3);
    let view = stage.open(&format!("{link}/view")).await.json();
    let own = format!("since={}&until={}", view["since"].as_str().unwrap(), view["until"].as_str().unwrap());
    assert_eq!(count(stage.open(&format!("{link}/call?{own}")).await), 3);
    assert_eq!(count(stage.open(&format!("{link}/call?since=2026-11-21T10:00:02Z")).await), 2);
    for query in [
        "since=2026-11-21T10:00:00.499999Z",
        "until=2026-11-21T10:00:05.000001Z",
        "since=1970-01-01T00:00:00Z&until=9999-01-01T00:00:00Z",
        "since=-100w",
        "until=9999-01-01T00:00:00Z",
    ] {
        for path in ["call?", "calls?", "calls/mine?", "export?format=pcap&"] {
            refused(
                &stage.open(&format!("{link}/{path}{query}")).await,
                "outside_link",
                &format!("{path}{query}"),
            );
        }
    }
}

#[tokio::test]
async fn a_token_changed_at_any_octet_opens_nothing() {
    let stage = Stage::new().await;
    let (_, link) = stage.link(json!({"call_id": "mine"})).await;
    let token = link.strip_prefix("/v/").unwrap();
    for place in 0..token.len() {
        for other in [b'A', b'B', b'-', b'0'] {
            let mut altered = token.as_bytes().to_vec();
            if altered[place] == other {
                continue;
            }
            altered[place] = other;
            let altered = String::from_utf8(altered).unwrap();
            refused(&stage.open(&format!("/v/{altered}/call")).await, "link_invalid", &altered);
        }
    }
    for altered in
        [&token[1..], &token[..77], "x", "%00", "%FF", "..", &format!("{token}%3D"), &format!("{token}%0A")]
    {
        for path in ["call", "view", "export?format=pcap"] {
            refused(&stage.open(&format!("/v/{altered}/{path}")).await, "link_invalid", altered);
        }
        let page = stage.open(&format!("/v/{altered}")).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (403, "text/html; charset=utf-8"),
            "{altered}"
        );
    }
    let other = Stage::new().await;
    refused(&other.open(&format!("{link}/call")).await, "link_invalid", "another backend");
}

#[tokio::test]
async fn a_link_ends_when_it_expires() {
    let stage = Stage::new().await;
    let (_, link) = stage.link(json!({"call_id": "mine", "expires_in": 1})).await;
    assert_eq!(stage.open(&format!("{link}/view")).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for path in ["view", "call", "calls", "calls/mine", "session", "export?format=pcap"] {
        refused(&stage.open(&format!("{link}/{path}")).await, "link_expired", path);
    }
    let page = stage.open(&link).await;
    assert_eq!((page.status, page.header("content-type")), (403, "text/html; charset=utf-8"));
    assert!(page.text().contains("has expired"));
}

#[tokio::test]
async fn a_link_ends_when_it_is_revoked() {
    for stage in Stage::each().await {
        let (id, link) = stage.link(json!({"call_id": "mine"})).await;
        let (_, kept) = stage.link(json!({"call_id": "mine"})).await;
        for _ in 0..2 {
            assert_eq!(stage.operator("DELETE", &format!("/api/v1/links/{id}")).send().await.status, 204);
        }
        for path in ["view", "call", "export?format=pcap"] {
            refused(&stage.open(&format!("{link}/{path}")).await, "link_revoked", path);
        }
        assert!(stage.open(&link).await.text().contains("has been revoked"));
        assert_eq!(stage.open(&format!("{kept}/call")).await.status, 200);
        for unknown in ["019aa000-0000-7000-8000-000000000000", "x", "%FF", "1"] {
            let answer = stage.operator("DELETE", &format!("/api/v1/links/{unknown}")).send().await;
            assert_eq!(answer.refusal(), (404, "not_found".into()), "{unknown}");
        }
    }
}

#[tokio::test]
async fn links_are_listed_newest_first_without_their_tokens() {
    for stage in Stage::each().await {
        stage.accounts.add_user("anna", "a long enough password").await.unwrap();
        let token = stage.accounts.add_token("portal").await.unwrap();
        let bearer = format!("Bearer {token}");
        let mut secrets = Vec::new();
        for n in 0..5 {
            let body = json!({"correlation_id": format!("s{n}"), "since": "2026-11-21T10:00:00Z"});
            let made = stage
                .operator("POST", "/api/v1/links")
                .header("authorization", &bearer)
                .json(&body)
                .send()
                .await;
            secrets.push(made.json()["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
        }
        let mut listed: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/links?limit=2{cursor}");
            let page = stage.operator("GET", &path).header("authorization", &bearer).send().await;
            assert!(secrets.iter().all(|secret| !page.text().contains(secret)));
            let page = page.json();
            listed.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let ids: Vec<_> = listed.iter().map(|link| link["correlation_id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["s4", "s3", "s2", "s1", "s0"]);
        assert_eq!(listed[0]["created_by"], "portal");
        assert_eq!(listed[0]["since"], "2026-11-21T10:00:00.000000Z");
        assert_eq!((&listed[0]["call_id"], &listed[0]["revoked_at"]), (&json!(null), &json!(null)));
    }
}

#[tokio::test]
async fn the_customers_listener_serves_nothing_but_links() {
    let stage = Stage::new().await;
    let (_, link) = stage.link(json!({"call_id": "mine"})).await;
    let described = stage.get("/api/v1/openapi.json").await.json();
    let mut paths: Vec<String> = described["paths"].as_object().unwrap().keys().cloned().collect();
    paths.retain(|path| path != "/healthz");
    let others = [
        "/",
        "/v",
        "/v/",
        "/calls/mine",
        "/links",
        "/login",
        "/api/docs",
        "/api/v1/openapi.json",
        "/assets/operator/index.js",
        "/assets/customer/",
        "/assets/customer/../operator/index.html",
        "/assets/customer/%2e%2e%2f%2e%2e%2foperator%2findex.html",
        "/customer/index.html",
        "/index.html",
        "/v/x/y/z",
    ];
    paths.extend(others.map(str::to_owned));
    for suffix in [
        "/",
        "//api/v1/calls",
        "/../api/v1/calls",
        "/%2e%2e/api/v1/calls",
        "/..%2f..%2fapi%2fv1%2fcalls",
        "/messages",
        "/links",
    ] {
        paths.push(format!("{link}{suffix}"));
    }
    for path in &paths {
        let path =
            path.replace("{call_id}", "mine").replace("{correlation_id}", "session-a").replace("{id}", "1");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = stage.customer(method, &path).send().await;
            assert_eq!(answer.status, 403, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.refusal().1, "forbidden", "{method} {path}");
            }
        }
    }
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["", "/view", "/call", "/export?format=pcap"] {
            assert_eq!(
                stage.customer(method, &format!("{link}{path}")).send().await.status,
                403,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_link_to_what_was_not_captured_yet_says_so() {
    let stage = Stage::new().await;
    let (_, link) = stage.link(json!({"call_id": "later"})).await;
    assert_eq!(stage.open(&link).await.status, 200);
    assert_eq!(stage.open(&format!("{link}/call")).await.refusal(), (404, "not_found".into()));
}
