//! `[clickhouse]`: the servers that hold messages, where there are some.

use std::path::PathBuf;

use serde::Deserialize;

use crate::store::clickhouse::http::ServerUrl;
use crate::store::clickhouse::schema::Layout;

/// Where messages are kept instead of in `[database]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Clickhouse {
    /// Shards, each a list of replicas' URLs; none for no ClickHouse.
    pub shards: Vec<Vec<String>>,
    /// Authorities of the servers' certificates, PEM; empty for the system's.
    pub tls_ca: PathBuf,
    /// Longest wait for an answer.
    pub timeout_seconds: u64,
    /// Whether tables are replicated.
    pub replicated: bool,
    /// Replicas that have a flush before it counts.
    pub insert_quorum: u32,
    /// Storage policy of the tables; empty for the servers' default.
    pub storage_policy: String,
    /// Volume that data moves to; empty for none.
    pub cold_volume: String,
    /// After how many days.
    pub cold_days: u32,
}

impl Clickhouse {
    /// Whether messages are kept there.
    #[must_use]
    pub const fn is_used(&self) -> bool {
        !self.shards.is_empty()
    }

    /// The servers. Those that are none are left out, since loading refuses them.
    #[must_use]
    pub fn servers(&self) -> Vec<Vec<ServerUrl>> {
        let read = |urls: &Vec<String>| urls.iter().filter_map(|url| ServerUrl::parse(url).ok()).collect();
        self.shards.iter().map(read).collect()
    }

    /// How the tables are made.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout {
            replicated: self.replicated,
            storage_policy: self.storage_policy.clone(),
            cold_volume: self.cold_volume.clone(),
            cold_days: self.cold_days,
        }
    }

    /// What of it cannot be used.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut met = Vec::new();
        for (number, replicas) in (1..).zip(&self.shards) {
            for text in replicas {
                match ServerUrl::parse(text) {
                    Err(error) => mistakes.push(format!("clickhouse.shards: {error}")),
                    Ok(url) if met.contains(&url) => {
                        mistakes.push(format!("clickhouse.shards: {url} is there twice"))
                    }
                    Ok(url) => met.push(url),
                }
            }
            if replicas.is_empty() {
                mistakes.push(format!("clickhouse.shards: expected servers of shard {number}, found none"));
            }
            if replicas.len() > 1 && !self.replicated {
                mistakes.push(format!(
                    "clickhouse.replicated: expected true, since shard {number} has {} replicas",
                    replicas.len()
                ));
            }
        }
        if self.insert_quorum > 1 && !self.replicated {
            mistakes
                .push("clickhouse.insert_quorum: expected 0 where clickhouse.replicated is false".to_owned());
        }
        for (key, name) in [
            ("clickhouse.storage_policy", &self.storage_policy),
            ("clickhouse.cold_volume", &self.cold_volume),
        ] {
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
                mistakes.push(format!("{key}: expected letters, digits, _, - and ., found {name:?}"));
            }
        }
        if self.cold_volume.is_empty() != (self.cold_days == 0) {
            mistakes
                .push("clickhouse.cold_days: expected both or none of cold_volume and cold_days".to_owned());
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn load(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), format!("[clickhouse]\n{text}")).expect("write it");
        Config::load(Some(file.path()), Overrides::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn shards_and_replicas_are_read() {
        let config = load(
            "shards = [[\"http://a/siplens\", \"http://b/siplens\"], [\"https://u@c:9/siplens\"]]\nreplicated = true\n",
        )
        .expect("valid");
        let servers = config.clickhouse.servers();
        let names: Vec<Vec<_>> =
            servers.iter().map(|s| s.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(names, [vec!["a:8123/siplens", "b:8123/siplens"], vec!["c:9/siplens"]]);
    }

    #[test]
    fn what_cannot_be_used_is_said_and_a_password_is_not_repeated() {
        for (text, said) in [
            ("shards = [[\"a\"]]", "expected http[s]://"),
            ("shards = [[\"http://u:secret@a/d\"]]", "SIPLENS_CLICKHOUSE_PASSWORD"),
            ("shards = [[\"http://a/d\"], [\"http://a:8123/d\"]]", "a:8123/d is there twice"),
            ("shards = [[]]", "servers of shard 1, found none"),
            ("shards = [[\"http://a/d\", \"http://b/d\"]]", "clickhouse.replicated: expected true"),
            ("insert_quorum = 2", "clickhouse.insert_quorum"),
            ("storage_policy = \"x' drop\"", "clickhouse.storage_policy"),
            ("cold_days = 3", "clickhouse.cold_days"),
            ("timeout_seconds = 0", "clickhouse.timeout_seconds: expected 1 to 600, found 0"),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }
}
