//! Each route answers what its description says.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn messages_are_listed_newest_first_with_their_fields() {
    let stage = Stage::new().await;
    let list = stage.get("/api/v1/messages?call_id=mine").await;
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.json();
    assert_eq!((&list["next_cursor"], &list["partial"]), (&json!(null), &json!(false)));
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 6);
    let invite = &items[5];
    assert_eq!(invite["captured_at"], "2026-11-21T10:00:00.000000Z");
    assert_eq!((&invite["src"], &invite["dst"]), (&json!("192.0.2.1:5060"), &json!("198.51.100.1:5060")));
    assert_eq!((&invite["transport"], &invite["kind"]), (&json!("udp"), &json!("request")));
    assert_eq!((&invite["agent_id"], &invite["agent_name"]), (&json!(2001), &json!("proxy")));
    assert_eq!(
        (&invite["method"], &invite["status"], &invite["reason"]),
        (&json!("INVITE"), &json!(null), &json!(null))
    );
    assert_eq!((&invite["from_user"], &invite["to_user"]), (&json!("alice"), &json!("bob")));
    assert_eq!((&invite["from_tag"], &invite["to_tag"]), (&json!("a"), &json!(null)));
    assert_eq!((&invite["cseq"], &invite["protocol_type"]), (&json!(1), &json!(1)));
    assert_eq!(invite["size_bytes"].as_u64().unwrap() as usize, invite["raw"].as_str().unwrap().len());
    assert_eq!(
        (&items[4]["method"], &items[4]["status"], &items[4]["reason"]),
        (&json!("INVITE"), &json!(180), &json!("Ringing"))
    );
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() {
    let stage = Stage::new().await;
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = stage.get(&format!("/api/v1/calls?limit=2{cursor}")).await;
        found.extend(page.call_ids());
        match page.json()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["<script>alert(1)</script>", "a/b c?d@e%2F", "foreign", "neighbour", "mine"]);
}

#[tokio::test]
async fn a_page_of_messages_that_is_sent_in_parts_is_that_of_several_pages() {
    for stage in Stage::each().await {
        stage.calls("large", 500).await;
        let ask = async |limit: usize| {
            let (mut pages, mut items, mut cursor) = (Vec::new(), Vec::new(), String::new());
            loop {
                let path = format!("/api/v1/messages?correlation_id=large&limit={limit}{cursor}");
                let page = stage.get(&path).await;
                assert_eq!((page.status, page.header("content-type")), (200, "application/json"));
                let page = page.json();
                assert_eq!((&page["partial"], &page["reached_at"]), (&json!(false), &json!(null)));
                let of_page = page["items"].as_array().unwrap();
                pages.push(of_page.len());
                items.extend(of_page.iter().cloned());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return (pages, items),
                }
            }
        };
        let (pages, expected) = ask(1000).await;
        assert_eq!(pages, [1000, 1000, 1000]);
        for (limit, pages) in [(10_000, vec![3000]), (3000, vec![3000]), (1700, vec![1700, 1300])] {
            let (lengths, items) = ask(limit).await;
            assert_eq!(lengths, pages);
            assert!(items == expected, "{limit}");
        }
        let none = stage.get("/api/v1/messages?correlation_id=none&limit=10000").await.json();
        assert_eq!(none, stage.get("/api/v1/messages?correlation_id=none&limit=1000").await.json());
    }
}

#[tokio::test]
async fn filters_are_read_and_applied() {
    let stage = Stage::new().await;
    for (query, count) in [
        ("correlation_id=session-a", 2),
        ("correlation_id=session-a&method=bye", 2),
        ("status=2xx", 4),
        ("status=486", 0),
        ("src=192.0.2.0/24&call_id=mine", 1),
        ("dst=198.51.100.1:5060&call_id=mine", 1),
        ("user_agent=ACME", 4),
        ("agent_id=2001&kind=request&transport=udp", 5),
        ("since=2026-11-21T10:01:00Z&until=2026-11-21T10:02:00Z", 2),
        ("from_user=alice&to_user=bob", 4),
        ("from_user_prefix=al&to_user_suffix=ob", 4),
        ("from_user_prefix=lice", 0),
        ("request_user=bob&not_call_id=mine", 3),
        ("header=i:%20mine", 1),
        ("contains=Call-ID:%20mine", 1),
        ("method=INVITE&not_status=2xx", 0),
        ("since=2026-11-21T10:00:00Z&time_limit_ms=10000", 5),
    ] {
        let list = stage.get(&format!("/api/v1/calls?{query}")).await;
        assert_eq!(list.status, 200, "{query}: {}", list.text());
        assert_eq!(list.call_ids().len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_call_has_its_summary_messages_and_ladder() {
    let stage = Stage::new().await;
    let call = stage.get("/api/v1/calls/mine").await.json();
    assert_eq!((&call["outcome"], &call["final_status"]), (&json!("answered"), &json!(200)));
    assert_eq!(call["setup_time_ms"], 3000);
    assert_eq!(call["ring_time_ms"], 2000);
    assert_eq!(call["duration_ms"], 6000);
    assert_eq!(call["answered_at"], "2026-11-21T10:00:03.000000Z");
    assert_eq!((&call["message_count"], &call["partial"]), (&json!(6), &json!(false)));
    assert_eq!(call["hosts"], json!(["192.0.2.1:5060", "198.51.100.1:5060"]));
    assert_eq!(call["messages"].as_array().unwrap().len(), 6);
    assert_eq!(
        call["ladder"]["hosts"],
        json!([{"address": "192.0.2.1:5060"}, {"address": "198.51.100.1:5060"}])
    );
    assert_eq!(
        call["ladder"]["rows"][3],
        json!({"kind": "arrow", "message": 3, "from": 0, "to": 1, "label": "ACK", "offset_ms": 3010.0, "delta_ms": 10.0,
               "retransmission": false, "dialog": 0})
    );
    let part = stage.get("/api/v1/calls/mine?since=2026-11-21T10:00:05Z").await.json();
    assert_eq!(part["messages"].as_array().unwrap().len(), 2);
    assert_eq!(
        stage.get("/api/v1/calls/mine?correlation_id=session-b").await.refusal(),
        (404, "not_found".into())
    );
    assert_eq!(stage.get("/api/v1/calls/none").await.refusal(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_call_id_may_hold_anything() {
    let stage = Stage::new().await;
    let path = "/api/v1/calls/a%2Fb%20c%3Fd%40e%252F";
    assert_eq!(stage.get(path).await.json()["call_id"], "a/b c?d@e%2F");
    let export = stage.get(&format!("{path}/export?format=text")).await;
    assert_eq!(export.status, 200);
    assert_eq!(export.header("content-disposition"), "attachment; filename=\"call-a_b_c_d_e_2F.txt\"");
}

#[tokio::test]
async fn a_session_counts_its_calls() {
    let stage = Stage::new().await;
    assert_eq!(
        stage.get("/api/v1/sessions/session-a").await.json(),
        json!({"correlation_id": "session-a", "messages": 12, "events": 0, "calls": 2, "outcomes": {"answered": 2},
               "responses": {"200": 2}, "first_seen": "2026-11-21T10:00:00.000000Z",
               "last_seen": "2026-11-21T10:01:09.010000Z", "partial": false})
    );
    assert_eq!(stage.get("/api/v1/sessions/session-a/calls").await.call_ids(), ["neighbour", "mine"]);
    assert_eq!(stage.get("/api/v1/sessions/none").await.refusal(), (404, "not_found".into()));
    assert!(stage.get("/api/v1/sessions/none/calls").await.call_ids().is_empty());
}

#[tokio::test]
async fn a_call_is_exported_in_each_format() {
    let stage = Stage::new().await;
    let pcap = stage.get("/api/v1/calls/mine/export?format=pcap").await;
    assert_eq!(pcap.header("content-type"), "application/vnd.tcpdump.pcap");
    assert_eq!(pcap.body[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let text = stage.get("/api/v1/calls/mine/export?format=text").await.text();
    assert_eq!(text.matches("Call-ID: mine").count(), 6, "{text}");
    assert!(text.contains(
        "#2 2026-11-21T10:00:01.000000Z (+1.000000 s)  198.51.100.1:5060 -> 192.0.2.1:5060  udp  agent 2001"
    ));
    let json = stage.get("/api/v1/calls/mine/export?format=json").await;
    assert_eq!(json.json(), stage.get("/api/v1/calls/mine").await.json());
    for answer in [&pcap, &json] {
        assert!(answer.header("content-disposition").starts_with("attachment; filename=\"call-mine."));
    }
    for wrong in ["", "?format=exe", "?format=", "?format=pcap&x=1"] {
        let refused = stage.get(&format!("/api/v1/calls/mine/export{wrong}")).await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{wrong}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_told() {
    let stage = Stage::new().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(stage.get(path).await.json(), json!({"status": "ok"}));
    }
    assert_eq!(stage.open("/healthz").await.json(), json!({"status": "ok"}));
    assert!(stage.get("/metrics").await.text().contains("siplens_test_total"));
}

#[tokio::test]
async fn each_address_of_the_page_answers_it_and_no_other() {
    let stage = Stage::new().await;
    for path in ["/", "/agents", "/calls/x", "/calls/a%2Fb", "/sessions/x", "/links", "/login"] {
        let page = stage.get(path).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(page.header("cache-control"), "no-store");
    }
    for path in [
        "/calls",
        "/calls/x/y",
        "/index.html",
        "/assets/x.js",
        "/assets/../Cargo.toml",
        "/api",
        "/api/v2/calls",
    ] {
        assert_eq!(stage.get(path).await.refusal(), (404, "not_found".into()), "{path}");
    }
}

#[tokio::test]
async fn every_answer_binds_the_browser() {
    let stage = Stage::new().await;
    let answers =
        [stage.get("/api/v1/calls").await, stage.get("/nothing").await, stage.open("/nothing").await];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"));
        assert!(!answer.header("referrer-policy").is_empty());
        assert!(answer.headers.get("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn messages_are_counted_by_time_and_by_what_they_say() {
    let stage = Stage::new().await;
    let count = async |query: &str| {
        let answer = stage.get(&format!("/api/v1/counts?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()
    };
    let range = "correlation_id=session-a&since=2026-11-21T09:59:30Z&until=2026-11-21T10:02:00Z";
    let counts = count(&format!("{range}&by=method")).await;
    assert_eq!(
        counts["total"],
        json!({"messages": 12, "per_second": 0.08, "without": 0, "others": 0, "values": [
            {"value": "INVITE", "messages": 6}, {"value": "BYE", "messages": 4}, {"value": "ACK", "messages": 2}]})
    );
    let buckets: Vec<_> =
        counts["buckets"].as_array().unwrap().iter().map(|b| (&b["at"], &b["messages"])).collect();
    assert_eq!(
        buckets,
        [
            (&json!("2026-11-21T10:00:00.000000Z"), &json!(6)),
            (&json!("2026-11-21T10:01:00.000000Z"), &json!(6))
        ]
    );
    assert_eq!((&counts["partial"], &counts["reached_at"]), (&json!(false), &json!(null)));
    let counts = count(&format!("{range}&by=status_class&not_method=BYE")).await;
    assert_eq!((&counts["total"]["messages"], &counts["total"]["without"]), (&json!(8), &json!(4)));
    assert_eq!(counts["total"]["values"][0], json!({"value": "1xx", "messages": 2}));
    let without_a_fact = count(&format!("{range}&interval_seconds=150")).await;
    assert_eq!(without_a_fact["buckets"].as_array().unwrap().len(), 1);
    assert_eq!(without_a_fact["total"]["values"], json!([]));
    assert_eq!(count("correlation_id=none").await["buckets"], json!([]));
    for (query, name) in [
        ("by=froob", "by"),
        ("interval_seconds=0", "interval_seconds"),
        ("since=-10d&interval_seconds=1", "interval_seconds"),
        ("since=1970-01-01T00:00:00Z", "interval_seconds"),
        ("limit=5", "limit"),
    ] {
        let refused = stage.get(&format!("/api/v1/counts?{query}")).await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{query}");
        assert!(refused.text().contains(name), "{query}: {}", refused.text());
    }
}
