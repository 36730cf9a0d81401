//! Both listeners' routers over a store with some calls in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use serde_json::Value;
use siplens_backend::accounts::{self, Accounts};
use siplens_backend::api::turns::{TurnMetrics, Turns};
use siplens_backend::api::{self, ApiState};
use siplens_backend::call::event::{EventPaths, JsonPath};
use siplens_backend::call::message::{Captured, Message, MessageId, PROTOCOL_SIP, Transport};
use siplens_backend::customer::{self, CustomerState, Links};
use siplens_backend::ingest::quarantine::Quarantine;
use siplens_backend::search::Search;
use siplens_backend::spool::Position;
use siplens_backend::store::postgres::PostgresStore;
use siplens_backend::store::slice::Cutter;
use siplens_backend::store::sqlite::SqliteStore;
use siplens_backend::store::{Flush, Store};
use siplens_backend::telemetry::tally::Tally;
use sqlx::Connection;
use tower::ServiceExt;

/// 2026-11-21T10:00:00Z, when the first call begins. Each further call of a stage begins a minute later.
pub const START_US: i64 = 1_795_255_200_000_000;

/// Where customers are told to go.
pub const CUSTOMER_URL: &str = "https://calls.example.net";

/// Who an ordinary request comes from: this machine.
pub const LOCAL: &str = "127.0.0.1:40000";

pub struct Stage {
    pub accounts: Arc<Accounts>,
    pub tally: Arc<Tally>,
    pub quarantine: Arc<Quarantine>,
    store: Arc<dyn Store>,
    operator: Router,
    customer: Router,
    _files: tempfile::TempDir,
}

/// A request in the making.
pub struct Ask<'a> {
    router: &'a Router,
    request: axum::http::request::Builder,
    peer: SocketAddr,
    host: Option<&'a str>,
    body: Body,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Stage {
    /// On SQLite.
    pub async fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&files.path().join("store"), "api").await.unwrap();
        let accounts = accounts::open_sqlite(&files.path().join("accounts.sqlite")).await.unwrap();
        Self::on(Arc::new(store), accounts, files).await
    }

    /// On SQLite, and on PostgreSQL if there is one.
    pub async fn each() -> Vec<Self> {
        let mut stages = vec![Self::new().await];
        let Ok(url) = std::env::var("SIPLENS_TEST_POSTGRES_URL") else {
            eprintln!("PostgreSQL skipped: SIPLENS_TEST_POSTGRES_URL is not set");
            return stages;
        };
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("api_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let mut server = sqlx::PgConnection::connect_with(&options).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("create database {name}"));
        sqlx::raw_sql(create).execute(&mut server).await.unwrap();
        let pool = sqlx::PgPool::connect_with(options.database(&name)).await.unwrap();
        let store = PostgresStore::open(pool.clone(), "api").await.unwrap();
        let accounts = accounts::open_postgres(pool).await.unwrap();
        stages.push(Self::on(Arc::new(store), accounts, tempfile::tempdir().unwrap()).await);
        stages
    }

    async fn on(store: Arc<dyn Store>, accounts: Arc<Accounts>, files: tempfile::TempDir) -> Self {
        let mut messages = Vec::new();
        for (call, session, minute) in [
            ("mine", "session-a", 0),
            ("neighbour", "session-a", 1),
            ("foreign", "session-b", 2),
            ("a/b c?d@e%2F", "odd", 3),
        ] {
            messages.extend(answered(call, session, START_US + minute * 60_000_000));
        }
        messages.push(hostile(START_US + 10 * 60_000_000));
        write(&store, messages).await;

        let (tally, quarantine) = (Arc::<Tally>::default(), Arc::<Quarantine>::default());
        let search = Search::new(Arc::clone(&store), Arc::new(paths()));
        let links = Links::new(Arc::clone(&accounts), CUSTOMER_URL.into(), 86_400 * 30);
        let turns = Turns::new(8, TurnMetrics::default());
        let operator = api::router(ApiState {
            search: search.clone(),
            turns: turns.clone(),
            accounts: Arc::clone(&accounts),
            links: links.clone(),
            tally: Arc::clone(&tally),
            quarantine: Arc::clone(&quarantine),
            metrics: Arc::new(|| "siplens_test_total 1\n# EOF\n".into()),
            ready: Arc::new(|| Ok(())),
            public_url: "https://siplens.example.net".into(),
        });
        let frames = ["https://portal.example.net".to_owned()];
        let customer = customer::router(CustomerState::new(search, links, &frames, turns.clone()));
        Self { accounts, tally, quarantine, store, operator, customer, _files: files }
    }

    /// Stores an event of the first call's time.
    pub async fn event(&self, ms: i64, protocol_type: u8, correlation_id: &str, raw: &[u8]) {
        let mut captured = captured(START_US + ms * 1000, correlation_id, String::new(), false).captured;
        captured.protocol_type = protocol_type;
        captured.raw = raw.to_vec().into();
        write(&self.store, vec![Message::read(MessageId::default(), captured)]).await;
    }

    /// Stores so many calls of a session, each a second after the one before.
    pub async fn calls(&self, session: &str, count: u32) {
        let call = |n: u32| {
            answered(&format!("{session}-{n}"), session, START_US + 86_400_000_000 + i64::from(n) * 1_000_000)
        };
        write(&self.store, (0..count).flat_map(call).collect()).await;
    }

    /// A request to the operators' listener.
    pub fn operator(&self, method: &str, path: &str) -> Ask<'_> {
        Ask::new(&self.operator, method, path)
    }

    /// A request to the customers' listener.
    pub fn customer(&self, method: &str, path: &str) -> Ask<'_> {
        Ask::new(&self.customer, method, path)
    }

    /// A GET on the operators' listener.
    pub async fn get(&self, path: &str) -> Answer {
        self.operator("GET", path).send().await
    }

    /// A GET on the customers' listener.
    pub async fn open(&self, path: &str) -> Answer {
        self.customer("GET", path).send().await
    }

    /// Makes a link: its id, and the path that it opens on the customers' listener.
    pub async fn link(&self, link: Value) -> (String, String) {
        let made = self.operator("POST", "/api/v1/links").json(&link).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        let made = made.json();
        let url = made["url"].as_str().unwrap();
        (made["id"].as_str().unwrap().to_owned(), url.strip_prefix(CUSTOMER_URL).unwrap().to_owned())
    }
}

impl<'a> Ask<'a> {
    fn new(router: &'a Router, method: &str, path: &str) -> Self {
        Self {
            router,
            request: Request::builder().method(method).uri(path),
            peer: LOCAL.parse().unwrap(),
            host: Some("127.0.0.1:9080"),
            body: Body::empty(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = Body::from(body.to_string());
        self.header("content-type", "application/json")
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub fn host(mut self, host: Option<&'a str>) -> Self {
        self.host = host;
        self
    }

    pub async fn send(self) -> Answer {
        let mut request = self.request;
        if let Some(host) = self.host {
            request = request.header("host", host);
        }
        let mut request = request.body(self.body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of an error.
    pub fn refusal(&self) -> (u16, String) {
        let error = self.json()["error"].clone();
        assert!(error["message"].is_string(), "{error}");
        (self.status, error["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The Call-IDs of a list.
    pub fn call_ids(&self) -> Vec<String> {
        let items = self.json()["items"].clone();
        items
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["call_id"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

fn paths() -> EventPaths {
    EventPaths { call_id: vec![JsonPath::parse("call_id").unwrap()], index: Vec::new() }
}

async fn write(store: &Arc<dyn Store>, messages: Vec<Message>) {
    let packs = Cutter { paths: Arc::new(paths()), ..Cutter::default() }.cut(messages).unwrap();
    store.write(&Flush { packs, end: Position { segment: 1, offset: 1 } }).await.unwrap();
}

fn captured(at_us: i64, session: &str, raw: String, reply: bool) -> Message {
    let (caller, proxy) = ("192.0.2.1:5060".parse().unwrap(), "198.51.100.1:5060".parse().unwrap());
    let (src, dst) = if reply { (proxy, caller) } else { (caller, proxy) };
    Message::read(
        MessageId::default(),
        Captured {
            captured_at_us: at_us,
            src,
            dst,
            transport: Transport::Udp,
            agent_id: 2001,
            agent_name: Some("proxy".into()),
            protocol_type: PROTOCOL_SIP,
            tenant: None,
            correlation_id: Some(session.into()),
            call_id: None,
            full_length: None,
            raw: raw.into(),
        },
    )
}

/// Six messages of a call that rang after 1 s, was answered after 3 s and ended after 9 s.
fn answered(call: &str, session: &str, at_us: i64) -> Vec<Message> {
    let message = |ms: i64, start: &str, cseq: &str, to_tag: &str, reply: bool| {
        let raw = format!(
            "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-{}\r\nFrom: <sip:alice@example.com>;tag=a\r\n\
             To: <sip:bob@example.com>{to_tag}\r\nCall-ID: {call}\r\nCSeq: {cseq}\r\nUser-Agent: Acme/1\r\n\
             Content-Length: 0\r\n\r\n",
            cseq.replace(' ', "-")
        );
        captured(at_us + ms * 1000, session, raw, reply)
    };
    vec![
        message(0, "INVITE sip:bob@example.com SIP/2.0", "1 INVITE", "", false),
        message(1000, "SIP/2.0 180 Ringing", "1 INVITE", ";tag=b", true),
        message(3000, "SIP/2.0 200 OK", "1 INVITE", ";tag=b", true),
        message(3010, "ACK sip:bob@example.com SIP/2.0", "1 ACK", ";tag=b", false),
        message(9000, "BYE sip:bob@example.com SIP/2.0", "2 BYE", ";tag=b", false),
        message(9010, "SIP/2.0 200 OK", "2 BYE", ";tag=b", true),
    ]
}

/// A message that tries to be markup wherever a page may show it.
fn hostile(at_us: i64) -> Message {
    let raw = "MESSAGE sip:<script>@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-x\r\n\
               From: \"<img src=x onerror=alert(1)>\" <sip:%3Cscript%3E@example.com>;tag=\"</script>\r\n\
               To: <sip:bob@example.com>\r\nCall-ID: <script>alert(1)</script>\r\nCSeq: 1 MESSAGE\r\n\
               User-Agent: '\"><svg onload=alert(1)>\r\nContent-Length: 0\r\n\r\n</script>\u{2028}\u{0}";
    captured(at_us, "<b>session</b>", raw.to_owned(), false)
}
