//! Who may ask the operators' listener.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use siplens_backend::accounts::AccountsError;

use crate::stage::{Answer, Stage};

const PASSWORD: &str = "a long enough password";

/// Every route that shows or changes something.
const CLOSED: [(&str, &str); 13] = [
    ("GET", "/api/v1/messages"),
    ("GET", "/api/v1/calls"),
    ("GET", "/api/v1/calls/mine"),
    ("GET", "/api/v1/calls/mine/export?format=pcap"),
    ("GET", "/api/v1/sessions/session-a"),
    ("GET", "/api/v1/sessions/session-a/calls"),
    ("GET", "/api/v1/links"),
    ("POST", "/api/v1/links"),
    ("DELETE", "/api/v1/links/019aa000-0000-7000-8000-000000000000"),
    ("GET", "/api/v1/agents"),
    ("GET", "/api/v1/peers"),
    ("GET", "/api/v1/quarantine"),
    ("GET", "/metrics"),
];

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

async fn log_in(stage: &Stage, name: &str, password: &str) -> Answer {
    let body = json!({"name": name, "password": password});
    stage.operator("POST", "/api/v1/login").json(&body).send().await
}

/// The cookie as a browser sends it back.
fn cookie(login: &Answer) -> String {
    login.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn while_there_is_no_user_only_this_machine_is_answered() {
    let stage = Stage::new().await;
    for peer in ["127.0.0.1:5", "127.9.9.9:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
        for host in ["localhost:9080", "127.0.0.1", "[::1]:9080"] {
            let answer = stage.operator("GET", "/api/v1/calls").from(peer).host(Some(host)).send().await;
            assert_eq!(answer.status, 200, "{peer} {host}");
        }
    }
    let refused = |answer: Answer, why: &str| {
        assert_eq!(answer.refusal(), (401, "unauthorized".into()), "{why}");
        assert!(answer.text().contains("siplens user add"), "{why}: says what to do");
    };
    for (method, path) in CLOSED {
        for peer in ["192.0.2.1:5", "[2001:db8::1]:5", "0.0.0.0:5", "[::ffff:192.0.2.1]:5"] {
            refused(stage.operator(method, path).from(peer).send().await, peer);
        }
        for host in
            [None, Some("evil.example"), Some("127.0.0.1.evil.example"), Some("evil.example:9080"), Some("")]
        {
            refused(stage.operator(method, path).host(host).send().await, &format!("{host:?}"));
        }
        for mark in
            ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"]
        {
            refused(stage.operator(method, path).header(mark, "127.0.0.1").send().await, mark);
        }
        let two = stage.operator(method, path).header("host", "evil.example").send().await;
        refused(two, "two hosts");
    }
}

#[tokio::test]
async fn the_first_user_or_token_shuts_the_door_at_once() {
    for stage in Stage::each().await {
        assert_eq!(stage.get("/api/v1/calls").await.status, 200);
        stage.accounts.add_user("anna", PASSWORD).await.unwrap();
        for (method, path) in CLOSED {
            assert_eq!(
                stage.operator(method, path).send().await.refusal(),
                (401, "unauthorized".into()),
                "{path}"
            );
        }
    }
    for stage in Stage::each().await {
        assert_eq!(stage.get("/api/v1/calls").await.status, 200);
        stage.accounts.add_token("ci").await.unwrap();
        assert_eq!(stage.get("/api/v1/calls").await.status, 401);
    }
}

#[tokio::test]
async fn a_token_opens_until_it_is_removed() {
    for stage in Stage::each().await {
        let token = stage.accounts.add_token("ci").await.unwrap();
        stage.accounts.add_token("other").await.unwrap();
        let ask = |value: String| {
            stage.operator("GET", "/api/v1/me").header("authorization", &value).from("192.0.2.1:5")
        };
        assert_eq!(ask(format!("Bearer {token}")).send().await.json(), json!({"name": "ci", "auth": "user"}));
        assert_eq!(ask(format!("bearer  {token}")).send().await.json()["name"], "ci");
        for wrong in [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {token}x"),
            format!("Bearer {}", &token[1..]),
            format!("Token {token}"),
            token.clone(),
            basic("ci", &token),
        ] {
            let answer = stage.operator("GET", "/api/v1/calls").header("authorization", &wrong).send().await;
            assert_eq!(answer.refusal(), (401, "unauthorized".into()), "{wrong}");
        }
        assert!(stage.accounts.remove_token("ci").await.unwrap());
        assert!(!stage.accounts.remove_token("ci").await.unwrap());
        assert_eq!(ask(format!("Bearer {token}")).send().await.json()["name"], json!(null));
        assert_eq!(stage.accounts.tokens().await.unwrap()[0].name, "other");
    }
}

#[tokio::test]
async fn a_login_lasts_until_logout_or_until_the_user_is_removed() {
    for stage in Stage::each().await {
        stage.accounts.add_user("anna", PASSWORD).await.unwrap();
        stage.accounts.add_user("berta", PASSWORD).await.unwrap();
        assert_eq!(stage.get("/api/v1/me").await.json(), json!({"name": null, "auth": "user"}));

        let login = log_in(&stage, "anna", PASSWORD).await;
        assert_eq!(login.status, 204, "{}", login.text());
        let set = login.header("set-cookie");
        for part in ["siplens_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Secure"] {
            assert!(set.contains(part), "{set}");
        }
        let cookie_of_anna = cookie(&login);
        let ask = |cookie: &str| {
            stage.operator("GET", "/api/v1/calls").header("cookie", cookie).from("192.0.2.1:5")
        };
        assert_eq!(ask(&format!("theme=dark; {cookie_of_anna}; x=y")).send().await.status, 200);
        assert_eq!(ask("siplens_session=").send().await.status, 401);
        assert_eq!(ask(&format!("{cookie_of_anna}x")).send().await.status, 401);

        let out = stage.operator("POST", "/api/v1/logout").header("cookie", &cookie_of_anna).send().await;
        assert_eq!(out.status, 204);
        assert!(out.header("set-cookie").contains("Max-Age=0"));
        assert_eq!(ask(&cookie_of_anna).send().await.status, 401);

        let cookie_of_berta = cookie(&log_in(&stage, "berta", PASSWORD).await);
        assert_eq!(ask(&cookie_of_berta).send().await.status, 200);
        assert!(stage.accounts.remove_user("berta").await.unwrap());
        assert_eq!(ask(&cookie_of_berta).send().await.status, 401);
    }
}

#[tokio::test]
async fn wrong_passwords_are_refused_alike_and_not_without_end() {
    let stage = Stage::new().await;
    stage.accounts.add_user("anna", PASSWORD).await.unwrap();
    let wrong = log_in(&stage, "anna", "a long enough guess").await;
    let unknown = log_in(&stage, "nobody", PASSWORD).await;
    assert_eq!(wrong.refusal(), (401, "unauthorized".into()));
    assert_eq!(wrong.text(), unknown.text());
    for name in ["", "\u{0}", "anna\u{0}", "' or 1=1 --"] {
        assert_eq!(log_in(&stage, name, PASSWORD).await.refusal().0, 401, "{name:?}");
    }
    for _ in 0..9 {
        assert_eq!(log_in(&stage, "anna", "guess").await.status, 401);
    }
    assert_eq!(log_in(&stage, "anna", PASSWORD).await.refusal(), (429, "too_many_requests".into()));
    let elsewhere = stage.operator("GET", "/api/v1/calls").header("authorization", &basic("anna", PASSWORD));
    assert_eq!(elsewhere.from("192.0.2.77:5").send().await.status, 200);
}

#[tokio::test]
async fn http_basic_is_taken_and_forgets_a_removed_user_at_once() {
    for stage in Stage::each().await {
        stage.accounts.add_user("anna", PASSWORD).await.unwrap();
        stage.accounts.add_token("other").await.unwrap();
        let ask =
            |credentials: &str| stage.operator("GET", "/api/v1/calls").header("authorization", credentials);
        let right = basic("anna", PASSWORD);
        assert_eq!(ask(&right).send().await.status, 200);
        assert_eq!(ask(&right).send().await.status, 200);
        assert_eq!(ask(&basic("anna", "wrong password")).send().await.status, 401);
        assert_eq!(ask("Basic !!!").send().await.status, 401);
        stage.accounts.remove_user("anna").await.unwrap();
        assert_eq!(ask(&right).send().await.status, 401);
    }
}

#[tokio::test]
async fn another_sites_page_changes_nothing_even_with_a_login() {
    let stage = Stage::new().await;
    let ask = |origin: &str| {
        stage.operator("POST", "/api/v1/links").header("origin", origin).json(&json!({"call_id": "mine"}))
    };
    // Also while no user exists: a browser on this machine would be let in.
    for closed in [false, true] {
        let mut credentials = String::new();
        if closed {
            stage.accounts.add_user("anna", PASSWORD).await.unwrap();
            credentials = cookie(&log_in(&stage, "anna", PASSWORD).await);
        }
        for origin in
            ["https://evil.example", "http://127.0.0.1:9081", "null", "http://127.0.0.1:9080.evil.example"]
        {
            let answer = ask(origin).header("cookie", &credentials).send().await;
            assert_eq!(answer.refusal(), (403, "forbidden".into()), "{origin}");
        }
        for origin in ["http://127.0.0.1:9080", "https://siplens.example.net"] {
            assert_eq!(ask(origin).header("cookie", &credentials).send().await.status, 201, "{origin}");
        }
        for path in ["/api/v1/login", "/api/v1/logout"] {
            let foreign = stage.operator("POST", path).header("origin", "https://evil.example").send().await;
            assert_eq!(foreign.refusal(), (403, "forbidden".into()), "{path}");
        }
    }
}

#[tokio::test]
async fn health_description_and_page_are_for_everybody() {
    let stage = Stage::new().await;
    stage.accounts.add_user("anna", PASSWORD).await.unwrap();
    for path in ["/healthz", "/readyz", "/api/v1/openapi.json", "/api/docs/", "/", "/login", "/api/v1/me"] {
        let answer =
            stage.operator("GET", path).from("192.0.2.1:5").host(Some("siplens.example.net")).send().await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn names_and_passwords_are_checked() {
    for stage in Stage::each().await {
        let accounts = &stage.accounts;
        let long = "x".repeat(65);
        for name in ["", "an na", "anna\n", "änna", "../anna", long.as_str()] {
            assert!(
                matches!(accounts.add_user(name, PASSWORD).await, Err(AccountsError::Name(_))),
                "{name:?}"
            );
            assert!(matches!(accounts.add_token(name).await, Err(AccountsError::Name(_))), "{name:?}");
        }
        assert!(matches!(accounts.add_user("anna", "short").await, Err(AccountsError::Password(5))));
        accounts.add_user("anna", PASSWORD).await.unwrap();
        assert!(matches!(accounts.add_user("anna", "another password").await, Err(AccountsError::Taken(_))));
        accounts.add_token("ci").await.unwrap();
        assert!(matches!(accounts.add_token("ci").await, Err(AccountsError::Taken(_))));
        assert_eq!(accounts.users().await.unwrap().len(), 1);
        assert!(!accounts.remove_user("nobody").await.unwrap());
    }
}

#[tokio::test]
async fn a_secret_is_the_same_for_all_who_ask_at_once() {
    for stage in Stage::each().await {
        let asked = (0..8).map(|_| {
            let accounts = std::sync::Arc::clone(&stage.accounts);
            tokio::spawn(async move { accounts.secret("test").await.unwrap() })
        });
        let mut secrets = Vec::new();
        for secret in asked {
            secrets.push(secret.await.unwrap());
        }
        assert!(secrets.iter().all(|secret| *secret == secrets[0] && *secret != [0; 32]));
        assert_ne!(stage.accounts.secret("other").await.unwrap(), secrets[0]);
    }
}
