//! What no well-meaning client sends.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused_with_its_name() {
    let stage = Stage::new().await;
    for (query, name) in [
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=abc", "status"),
        ("status=99", "status"),
        ("status=7xx", "status"),
        ("since=yesterday", "since"),
        ("until=-5y", "until"),
        ("since=now&until=-1h", "since"),
        ("src=everywhere", "src"),
        ("src=10.0.0.0/33", "src"),
        ("dst=%27%3B%20drop%20table%20slice", "dst"),
        ("agent_id=-1", "agent_id"),
        ("transport=carrier-pigeon", "transport"),
        ("kind=", "kind"),
        ("cursor=forged", "cursor"),
        ("call_id=", "call_id"),
        ("call_id=%00", "call_id"),
        ("correlation_id[]=x", "correlation_id[]"),
        ("not_froob=x", "froob"),
        ("not_since=-1h", "since"),
        ("method=INVITE&method=BYE", "method"),
        ("not_method=INVITE&not_method=BYE", "not_method"),
        ("from_user=a&from_user_prefix=b", "from_user_prefix"),
        ("not_status=999", "status"),
        ("header=none", "header"),
        ("header=a%20b:c", "header"),
        ("contains=", "contains"),
        ("time_limit_ms=99", "time_limit_ms"),
        ("time_limit_ms=10001", "time_limit_ms"),
    ] {
        for list in ["messages", "calls"] {
            let refused = stage.get(&format!("/api/v1/{list}?{query}")).await;
            assert_eq!(refused.refusal(), (400, "bad_request".into()), "{query}");
            assert!(refused.text().contains(name), "{query}: {}", refused.text());
        }
    }
    assert_eq!(stage.get("/api/v1/calls?limit=1001").await.refusal().0, 400);
    let long = format!("/api/v1/calls?user_agent={}", "x".repeat(2000));
    assert_eq!(stage.get(&long).await.refusal().0, 400);
}

#[tokio::test]
async fn a_cursor_of_one_list_is_none_of_another() {
    let stage = Stage::new().await;
    let messages = stage.get("/api/v1/messages?limit=1").await.json();
    let cursor = messages["next_cursor"].as_str().unwrap();
    for list in ["calls", "links"] {
        let refused = stage.get(&format!("/api/v1/{list}?cursor={cursor}")).await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{list}");
    }
}

#[tokio::test]
async fn sql_and_patterns_in_a_filter_are_only_text() {
    let stage = Stage::new().await;
    for value in ["%25", "_", "'%20or%20'1'='1", "mine'--", "%27%29%20or%201%3D1--", "*"] {
        for field in ["call_id", "correlation_id", "from_user", "user_agent", "method"] {
            let list = stage.get(&format!("/api/v1/calls?{field}={value}")).await;
            assert_eq!(list.status, 200, "{}", list.text());
            assert!(list.call_ids().is_empty(), "{field}={value}: {}", list.text());
        }
    }
}

#[tokio::test]
async fn markup_stays_text() {
    let stage = Stage::new().await;
    let list = stage.get("/api/v1/messages?method=MESSAGE").await;
    assert_eq!(list.header("content-type"), "application/json");
    let message = list.json()["items"][0].clone();
    assert_eq!(message["call_id"], "<script>alert(1)</script>");
    assert!(message["raw"].as_str().unwrap().ends_with("</script>\u{2028}\u{0}"));
    let path = "/api/v1/calls/%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    assert_eq!(stage.get(path).await.json()["correlation_ids"], json!(["<b>session</b>"]));
    for format in ["text", "pcap", "json"] {
        let export = stage.get(&format!("{path}/export?format={format}")).await;
        assert_eq!(export.status, 200);
        assert!(!export.header("content-type").contains("html"));
        assert_eq!(export.header("x-content-type-options"), "nosniff");
        assert!(
            export
                .header("content-disposition")
                .starts_with("attachment; filename=\"call-_script_alert_1___script_.")
        );
    }
}

#[tokio::test]
async fn bodies_that_are_no_link_are_refused() {
    let stage = Stage::new().await;
    for body in [
        json!({}),
        json!({"call_id": "x", "correlation_id": "y"}),
        json!({"call_id": ""}),
        json!({"call_id": "a\u{0}b"}),
        json!({"call_id": 5}),
        json!({"call_id": "x", "expires_in": 0}),
        json!({"call_id": "x", "expires_in": -1}),
        json!({"call_id": "x", "expires_in": 86_400 * 31}),
        json!({"call_id": "x", "expires_in": u64::MAX}),
        json!({"call_id": "x", "since": "soon"}),
        json!({"call_id": "x", "since": "now", "until": "-1h"}),
        json!({"call_id": "x", "admin": true}),
        json!([]),
        json!(null),
    ] {
        let refused = stage.operator("POST", "/api/v1/links").json(&body).send().await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{body}");
    }
    let broken = stage
        .operator("POST", "/api/v1/links")
        .header("content-type", "application/json")
        .body("{\"call_id\":");
    assert_eq!(broken.send().await.refusal().0, 400);
    let form = stage
        .operator("POST", "/api/v1/links")
        .header("content-type", "text/plain")
        .body("{\"call_id\":\"x\"}");
    assert_eq!(form.send().await.refusal().0, 400);
    let huge = stage.operator("POST", "/api/v1/links").json(&json!({"call_id": "x".repeat(100_000)}));
    assert_eq!(huge.send().await.refusal().0, 400);
    assert!(stage.get("/api/v1/links").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn other_methods_are_refused_in_the_same_shape() {
    let stage = Stage::new().await;
    for (method, path) in [
        ("PUT", "/api/v1/links"),
        ("POST", "/api/v1/calls"),
        ("DELETE", "/api/v1/calls/mine"),
        ("PATCH", "/healthz"),
    ] {
        let refused = stage.operator(method, path).send().await;
        assert_eq!(refused.refusal(), (405, "bad_request".into()), "{method} {path}");
    }
}

#[tokio::test]
async fn paths_that_cannot_be_read_are_refused() {
    let stage = Stage::new().await;
    for path in ["/api/v1/calls/%FF", "/api/v1/sessions/%C3%28", "/api/v1/calls/%FF/export?format=pcap"] {
        assert_eq!(stage.get(path).await.refusal(), (400, "bad_request".into()), "{path}");
    }
}
