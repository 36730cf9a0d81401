//! Asks a backend over its HTTP API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
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

    fn text(&self, path: &str) -> Result<String> {
        let mut response =
            self.agent.get(format!("{}{path}", self.base)).call().with_context(|| path.to_owned())?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES).read_to_string()?;
        ensure!(response.status().is_success(), "{path}: {} {text}", response.status());
        Ok(text)
    }

    /// A resource, read.
    ///
    /// # Errors
    /// When it is not answered with 200 and JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.text(path)?).with_context(|| path.to_owned())
    }

    /// A page of a list. Its items are looked at no further, so that the time is the backend's.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn page(&self, path: &str) -> Result<Page> {
        serde_json::from_str(&self.text(path)?).with_context(|| path.to_owned())
    }

    /// How many items all pages of a list have.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count_all(&self, path: &str) -> Result<usize> {
        let (mut count, mut cursor) = (0, String::new());
        loop {
            let page = self.page(&format!("{path}{cursor}"))?;
            count += page.items.len();
            let Some(next) = page.next_cursor else { return Ok(count) };
            cursor = format!("&cursor={next}");
        }
    }

    /// All counters.
    ///
    /// # Errors
    /// When they are not answered.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics(self.text("/metrics")?))
    }
}

/// A page of a list.
#[derive(Deserialize)]
pub struct Page {
    /// Its items.
    pub items: Vec<IgnoredAny>,
    next_cursor: Option<String>,
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
