//! The API's description is that of the code, and the copy that the pages are built from is not older.

use std::path::Path;

use crate::stage::Stage;

#[test]
fn the_snapshot_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/openapi.json");
    let current = siplens_backend::api::openapi().to_pretty_json().unwrap();
    let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        snapshot.trim_end() == current.trim_end(),
        "{} is stale: write it anew with `cargo run -p siplens -- openapi > backend/web/openapi.json`",
        path.display()
    );
}

#[tokio::test]
async fn the_description_and_its_viewer_are_served_without_asking_anybody_else() {
    let stage = Stage::new().await;
    let served = stage.get("/api/v1/openapi.json").await.json();
    let current: serde_json::Value =
        serde_json::from_str(&siplens_backend::api::openapi().to_json().unwrap()).unwrap();
    assert_eq!(served, current);
    let viewer = stage.get("/api/docs/").await;
    assert_eq!(viewer.status, 200);
    let script = stage.get("/api/docs/swagger-initializer.js").await.text();
    for text in [viewer.text(), script] {
        assert!(!text.contains("https://") && !text.contains("http://"), "{text}");
    }
}

#[tokio::test]
async fn every_described_route_is_there() {
    let stage = Stage::new().await;
    let described = stage.get("/api/v1/openapi.json").await.json();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{call_id}", "mine").replace("{correlation_id}", "session-a");
            let path = path.replace("{id}", "019aa000-0000-7000-8000-000000000000");
            let answer = stage.operator(&method.to_uppercase(), &path).send().await;
            let message = answer.text();
            assert!(
                answer.status != 405 && !message.contains("nothing is served"),
                "{method} {path}: {message}"
            );
        }
    }
}
