//! A small HTTP client for the backend's API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use ureq::Agent;

/// Talks to one listener.
#[derive(Clone)]
pub struct Api {
    base: String,
    authorization: Option<String>,
    agent: Agent,
}

/// What came back, whatever the status.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON ({}): {}", self.status, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error code of the API's error shape.
    pub fn error_code(&self) -> Option<String> {
        Some(self.json().ok()?["error"]["code"].as_str()?.to_owned())
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Api {
    /// `base` such as `http://127.0.0.1:9080`.
    pub fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A server may close a connection whose request it refused unread; each request has its own.
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { base: base.trim_end_matches('/').to_owned(), authorization: None, agent: config.into() }
    }

    /// The same with an API token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    /// Any method, any status.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let bytes = match body {
            Some(value) => {
                request = request.header("content-type", "application/json");
                serde_json::to_vec(value)?
            }
            None => Vec::new(),
        };
        let mut response = if bytes.is_empty() {
            self.agent.run(request.body(())?)
        } else {
            self.agent.run(request.body(bytes)?)
        }
        .with_context(|| format!("{method} {url}"))?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(256 << 20).read_to_vec()?;
        Ok(Response { status, headers, body })
    }

    /// GET, any status.
    pub fn fetch(&self, path: &str) -> Result<Response> {
        self.request("GET", path, None)
    }

    /// GET that must answer 200 with JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        let response = self.fetch(path)?;
        ensure!(response.status == 200, "GET {path}: {} {}", response.status, response.text());
        response.json()
    }

    /// POST that must answer 200 or 201 with JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let response = self.request("POST", path, Some(body))?;
        ensure!(matches!(response.status, 200 | 201), "POST {path}: {} {}", response.status, response.text());
        response.json()
    }

    /// Every item of a paged list. `path` already has a query.
    pub fn all(&self, path: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let page = match &cursor {
                Some(cursor) => self.get(&format!("{path}&cursor={}", encode(cursor)))?,
                None => self.get(path)?,
            };
            items.extend(page["items"].as_array().context("a list without items")?.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }

    /// The sum of a metric over its labels; 0 if it has not been counted yet.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.fetch("/metrics")?.text();
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// Percent-encodes what goes into a path segment or query value.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
