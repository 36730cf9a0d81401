//! What is captured besides SIP: shown to operators in its call, and to customers nowhere.

use serde_json::{Value, json};

use crate::stage::{Answer, Stage};

const SECRET: &str = "route[AUTH]: ha1 of alice is 8d4e";

/// A stage with a log line and two reports of the call `mine`.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.event(500, 100, "mine", SECRET.as_bytes()).await;
    stage.event(3005, 35, "elsewhere", br#"{"call_id":"mine","MOS":4.3}"#).await;
    stage.event(3006, 5, "session-a", b"\x80\xc9\x00\x01\xff").await;
    stage
}

fn rows(call: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = call["ladder"]["rows"].as_array().unwrap();
    rows.iter().map(|row| (text(&row["kind"]), text(&row["label"]))).collect()
}

#[tokio::test]
async fn events_stand_in_their_calls_ladder_as_notes() {
    let stage = stage().await;
    let call = stage.get("/api/v1/calls/mine").await.json();
    let pair = |kind: &str, label: &str| (kind.to_owned(), label.to_owned());
    assert_eq!(
        rows(&call),
        [
            pair("arrow", "INVITE"),
            pair("note", SECRET),
            pair("arrow", "180 Ringing"),
            pair("arrow", "200 OK"),
            pair("note", "RTP report (short)"),
            pair("note", "RTCP"),
            pair("arrow", "ACK"),
            pair("arrow", "BYE"),
            pair("arrow", "200 OK"),
        ]
    );
    assert_eq!(
        call["ladder"]["rows"][1],
        json!({"kind": "note", "message": 1, "from": 0, "to": 1, "label": SECRET, "offset_ms": 500.0,
               "delta_ms": 500.0, "retransmission": false, "dialog": null})
    );
    assert_eq!((&call["message_count"], &call["outcome"]), (&json!(6), &json!("answered")));
    let messages = call["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 9);
    assert_eq!((&messages[1]["kind"], &messages[1]["protocol_type"]), (&json!("other"), &json!(100)));
    assert_eq!((&messages[1]["raw"], &messages[1]["raw_base64"]), (&json!(SECRET), &json!(null)));
    // What is no text can be had octet for octet.
    assert_eq!(messages[5]["raw_base64"], "gMkAAf8=");
    let neighbour = stage.get("/api/v1/calls/neighbour").await.json();
    assert!(rows(&neighbour).iter().all(|(kind, _)| kind == "arrow"));
}

#[tokio::test]
async fn events_are_searched_for_among_messages() {
    let stage = stage().await;
    let labels = |list: Answer| -> Vec<String> {
        assert_eq!(list.status, 200, "{}", list.text());
        let items = list.json()["items"].clone();
        items.as_array().unwrap().iter().map(|i| i["label"].as_str().unwrap().to_owned()).collect()
    };
    for (query, found) in [
        ("protocol_type=100", vec![SECRET]),
        ("kind=other", vec!["RTCP", "RTP report (short)", SECRET]),
        ("json=call_id%3Dmine", vec!["RTP report (short)"]),
        ("json=MOS%3D4.3&agent_id=2001", vec!["RTP report (short)"]),
        ("protocol_type=100&correlation_id=session-a", vec![]),
    ] {
        assert_eq!(labels(stage.get(&format!("/api/v1/messages?{query}")).await), found, "{query}");
    }
    for query in ["kind=other", "protocol_type=100", "json=a%3Db"] {
        let refused = stage.get(&format!("/api/v1/calls?{query}")).await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{query}");
    }
    for query in ["protocol_type=256", "protocol_type=log", "json=a", "json=%3Dx", "json=a..b%3Dx", "json="] {
        let refused = stage.get(&format!("/api/v1/messages?{query}")).await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{query}");
    }
}

#[tokio::test]
async fn exports_hold_events_as_text_and_json_and_the_pcap_only_packets() {
    let stage = stage().await;
    let export = async |format: &str| stage.get(&format!("/api/v1/calls/mine/export?format={format}")).await;
    let text = export("text").await.text();
    assert!(text.starts_with("Call mine, 6 messages, 3 events\n"), "{text}");
    assert!(
        text.contains(&format!("event of protocol type 100  agent 2001\n{}\n{SECRET}\n", "-".repeat(88))),
        "{text}"
    );
    assert_eq!(rows(&export("json").await.json()).len(), 9);
    let pcap = export("pcap").await.body;
    let quiet = Stage::new().await;
    assert_eq!(pcap, quiet.get("/api/v1/calls/mine/export?format=pcap").await.body);
}

#[tokio::test]
async fn a_customer_is_shown_no_event_by_any_way() {
    let stage = stage().await;
    for link in [json!({"call_id": "mine"}), json!({"correlation_id": "session-a"})] {
        let (_, link) = stage.link(link).await;
        for path in [
            "/view",
            "/call",
            "/session",
            "/calls",
            "/calls/mine",
            "/export?format=text&call_id=mine",
            "/export?format=json&call_id=mine",
            "/export?format=pcap&call_id=mine",
        ] {
            let answer = stage.open(&format!("{link}{path}")).await;
            let text = answer.text();
            for part in [SECRET, "MOS", "gMkAAf8=", "RTCP", "note", "protocol type 100"] {
                assert!(!text.contains(part), "{path}: {part} in {text}");
            }
            if path == "/calls/mine" {
                let call = answer.json();
                assert_eq!((call["messages"].as_array().unwrap().len(), rows(&call).len()), (6, 6));
            }
            if path == "/session" && answer.status == 200 {
                assert_eq!((&answer.json()["messages"], &answer.json()["events"]), (&json!(12), &json!(0)));
            }
        }
    }
    // A link to a session that has nothing but events: nothing was captured, as far as a customer is told.
    let (_, link) = stage.link(json!({"correlation_id": "elsewhere"})).await;
    assert_eq!(stage.open(&format!("{link}/session")).await.refusal(), (404, "not_found".into()));
    assert!(stage.open(&format!("{link}/calls")).await.call_ids().is_empty());
}
