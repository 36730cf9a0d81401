//! Who sends, and what is refused, as operators see it.

use serde_json::json;
use siplens_backend::ingest::quarantine::Refused;
use siplens_backend::ingest::{Refusal, Way};
use siplens_backend::spool::Standing;
use siplens_backend::telemetry::tally::Counted;

use crate::stage::{START_US, Stage};

#[tokio::test]
async fn agents_and_peers_are_listed_with_refusals_and_clocks() {
    let stage = Stage::new().await;
    assert_eq!(
        stage.get("/api/v1/agents").await.json(),
        json!({"items": [], "others": {"accepted": 0, "refused": {}}})
    );
    let counted = Counted {
        packets: 1,
        peer: "192.0.2.9:4000".parse().unwrap(),
        received_at_us: START_US,
        agent_id: Some(2001),
        captured_at_us: Some(START_US + 7_500_000),
        result: Ok(()),
        standing: Standing::New { missing: 3 },
    };
    stage.tally.count(&counted);
    stage.tally.count(&Counted { standing: Standing::Again, ..counted });
    let none_missing = Counted { standing: Standing::default(), ..counted };
    stage.tally.count(&Counted {
        agent_id: Some(2002),
        captured_at_us: Some(START_US - 3000),
        ..none_missing
    });
    stage.tally.count(&Counted { result: Err("key"), agent_id: None, ..counted });
    assert_eq!(
        stage.get("/api/v1/agents").await.json()["items"],
        json!([
            {"agent_id": 2001, "peer": "192.0.2.9:4000", "last_seen": "2026-11-21T10:00:00.000000Z", "accepted": 1,
             "refused": {}, "lost": 3, "repeated": 1, "clock_offset_ms": 7500, "clock_skewed": true},
            {"agent_id": 2002, "peer": "192.0.2.9:4000", "last_seen": "2026-11-21T10:00:00.000000Z", "accepted": 1,
             "refused": {}, "lost": 0, "repeated": 0, "clock_offset_ms": -3, "clock_skewed": false},
        ])
    );
    assert_eq!(
        stage.get("/api/v1/peers").await.json()["items"],
        json!([{"address": "192.0.2.9", "last_seen": "2026-11-21T10:00:00.000000Z", "accepted": 2, "refused": {"key": 1}}])
    );
}

#[tokio::test]
async fn the_quarantine_shows_garbage_octet_for_octet() {
    let stage = Stage::new().await;
    for octets in [&b"first"[..], b"\0\xff<script>"] {
        stage.quarantine.keep(octets, 10_000, |number, octets| Refused {
            number,
            received_at_us: START_US,
            peer: "[2001:db8::1]:9".parse().unwrap(),
            way: Way::Tcp,
            reason: Refusal::Malformed,
            size: octets.len(),
            octets,
        });
    }
    assert_eq!(
        stage.get("/api/v1/quarantine?limit=1").await.json(),
        json!({"items": [{"number": 2, "received_at": "2026-11-21T10:00:00.000000Z", "peer": "[2001:db8::1]:9",
                          "transport": "tcp", "reason": "malformed", "size_bytes": 10, "octets_base64": "AP88c2NyaXB0Pg=="}]})
    );
    for query in ["limit=0", "limit=x", "colour=red"] {
        let refused = stage.get(&format!("/api/v1/quarantine?{query}")).await;
        assert_eq!(refused.refusal(), (400, "bad_request".into()), "{query}");
    }
}

#[tokio::test]
async fn an_agents_key_is_shown_once_and_kept_as_a_hash() {
    for stage in Stage::each().await {
        let accounts = &stage.accounts;
        let made = accounts.add_agent_key("edge", Some(2001), Some("acme"), None).await.unwrap();
        assert_eq!(made.len(), 43);
        let given = "chosen by the operator".to_owned();
        assert_eq!(accounts.add_agent_key("other", None, None, Some(given.clone())).await.unwrap(), given);
        let keys = accounts.agent_keys().await.unwrap();
        assert_eq!(
            keys.iter().map(|key| (key.name.as_str(), key.agent_id)).collect::<Vec<_>>(),
            [("edge", Some(2001)), ("other", None)]
        );
        assert_ne!(keys[0].hash, keys[1].hash);
        assert!(!format!("{keys:?}").contains(&made));
        for (name, key) in
            [("edge", None), ("edge2", Some(given)), ("short", Some("15 characters..".into())), ("a b", None)]
        {
            assert!(accounts.add_agent_key(name, None, None, key).await.is_err(), "{name}");
        }
        assert!(accounts.remove_agent_key("edge").await.unwrap());
        assert!(!accounts.remove_agent_key("edge").await.unwrap());
        assert_eq!(accounts.agent_keys().await.unwrap().len(), 1);
    }
}
