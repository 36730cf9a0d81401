//! Asks a backend over its HTTP API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer, octets.
const ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// A client of one backend, with one connection.
pub struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    /// For a backend whose engineers' listener is at `base`, such as `http://127.0.0.1:9080`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        Self { base: base.to_owned(), agent: config.into() }
    }

    fn octets(&self, path: &str) -> Result<Vec<u8>> {
        let mut response =
            self.agent.get(format!("{}{path}", self.base)).call().with_context(|| path.to_owned())?;
        let octets = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec()?;
        let status = response.status();
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&octets));
        Ok(octets)
    }

    /// A resource, read.
    ///
    /// # Errors
    /// When it is not answered with 200 and JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        serde_json::from_slice(&self.octets(path)?).with_context(|| path.to_owned())
    }

    /// A page of a list. Its items are looked at no further, so that the time is the backend's.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn page(&self, path: &str) -> Result<Page> {
        serde_json::from_slice(&self.octets(path)?).with_context(|| path.to_owned())
    }

    /// How many messages all pages of a list have, counted without taking the JSON apart: that takes as long as making it, and would
    /// be none of the backend's time.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count_messages(&self, path: &str) -> Result<usize> {
        let (mut found, mut cursor) = (0, String::new());
        loop {
            let page = self.octets(&format!("{path}{cursor}"))?;
            let (messages, next) = count(&page).with_context(|| path.to_owned())?;
            found += messages;
            let Some(next) = next else { return Ok(found) };
            cursor = format!("&cursor={next}");
        }
    }

    /// All counters.
    ///
    /// # Errors
    /// When they are not answered.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics(String::from_utf8_lossy(&self.octets("/metrics")?).into_owned()))
    }
}

/// A page of a list.
#[derive(Deserialize)]
pub struct Page {
    /// Its items.
    pub items: Vec<IgnoredAny>,
}

/// What a page ends with.
#[derive(Deserialize)]
struct End {
    next_cursor: Option<String>,
}

/// How many messages a page has, and its cursor. In a text of JSON no quote stands by itself, so what a message begins with, and what
/// a page ends with, are nowhere else.
fn count(page: &[u8]) -> Result<(usize, Option<String>)> {
    let end = memmem::rfind(page, br#"],"next_cursor":"#).context("no page")?;
    let end = page.get(end + 2..).unwrap_or_default();
    let End { next_cursor } = serde_json::from_slice(&[b"{", end].concat())?;
    Ok((memmem::find_iter(page, br#"{"id":"#).count(), next_cursor))
}

/// The text of `/metrics`.
pub struct Metrics(String);

impl Metrics {
    /// The sum of all series of this name that have this in their labels.
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            (rest.starts_with([' ', '{']) && rest.contains(label)).then_some(rest)
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>().max(0.0) as u64
    }

    /// Messages that the store has.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.sum("siplens_store_messages_total", "")
    }

    /// Messages that were taken in.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.sum("siplens_ingest_packets_total", "result=\"accepted\"")
    }

    /// Datagrams that the kernel dropped.
    #[must_use]
    pub fn kernel_drops(&self) -> u64 {
        self.sum("siplens_ingest_udp_kernel_drops", "")
    }

    /// Packets that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.sum("siplens_ingest_packets_total", "").saturating_sub(self.taken())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_without_those_that_a_payload_tells_of() {
        let page = |raw: &str, next: &str| {
            let message = serde_json::json!({ "raw": raw }).to_string();
            let message = format!("{{\"id\":\"1-0\",{}", &message[1..]);
            format!(
                "{{\"items\":[{message},{message}],\"next_cursor\":{next},\"partial\":false,\"reached_at\":null}}"
            )
        };
        let raw = "{\"id\":\"1-0\"} ],\"next_cursor\":\"x\"";
        assert_eq!(count(page(raw, "null").as_bytes()).expect("a page"), (2, None));
        assert_eq!(count(page("", "\"y\"").as_bytes()).expect("a page"), (2, Some("y".into())));
        assert!(count(b"{}").is_err());
    }

    #[test]
    fn series_are_summed_by_name_and_label() {
        let metrics = Metrics(
            "siplens_ingest_packets_total{transport=\"tcp\",result=\"accepted\"} 5\nsiplens_ingest_packets_total{transport=\"udp\",\
             result=\"accepted\"} 6\nsiplens_ingest_packets_total{transport=\"udp\",result=\"size\"} 2\nsiplens_store_messages_total 9\n"
                .into(),
        );
        assert_eq!(
            (metrics.taken(), metrics.refused(), metrics.stored(), metrics.kernel_drops()),
            (11, 2, 9, 0)
        );
    }
}
