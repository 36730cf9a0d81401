//! Settings: `default.toml` holds every key with its meaning and default, a file changes some, flags and environment
//! override the file.

mod clickhouse;
mod ingest;
mod keeping;
mod ranges;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

pub use clickhouse::Clickhouse;
pub use ingest::Ingest;
pub use keeping::{Retention, TenantSettings};

use crate::call::event::{EventPaths, JsonPath};
use crate::ingest::Rules;
use crate::ingest::tls::TlsFiles;
use crate::memory::Budget;
use crate::network::Network;
use crate::tenant::Tenants;

/// Every setting, documented.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// All settings.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where files are kept.
    pub data: Data,
    /// Ingest.
    pub hep: Hep,
    /// Whose HEP is taken.
    pub admission: Admission,
    /// What of it is left out or made unreadable.
    pub ingest: Ingest,
    /// What is captured besides SIP.
    pub events: Events,
    /// The engineers' listener.
    pub http: Http,
    /// The customers' listener.
    pub customer: Customer,
    /// Which store.
    pub database: Database,
    /// Where messages are instead, when one machine is outgrown.
    pub clickhouse: Clickhouse,
    /// What is kept, and for how long.
    pub retention: Retention,
    /// Who shares the backend.
    pub tenants: Vec<TenantSettings>,
    /// The queue between ingest and store.
    pub spool: Spool,
    /// Memory.
    pub memory: Memory,
    /// Logging.
    pub log: Log,
}

/// Where files are kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Data {
    /// The folder.
    pub dir: PathBuf,
}

/// Ingest of HEP.
#[derive(Clone, Debug, Deserialize)]
pub struct Hep {
    /// UDP and TCP address.
    pub listen: SocketAddr,
    /// Receive buffer asked for, octets.
    pub udp_buffer_bytes: usize,
    /// Threads that receive datagrams; 0 for a number by the processors.
    pub udp_threads: usize,
    /// TCP connections at a time.
    pub tcp_connections: usize,
    /// TCP connections of one peer at a time.
    pub peer_connections: usize,
    /// Idle TCP connections are closed after so many seconds; 0 never.
    pub tcp_idle_seconds: u64,
    /// Bound on an inflated payload, octets.
    pub inflated_bytes: usize,
    /// TLS address; empty for none.
    pub tls_listen: String,
    /// Certificate chain, PEM.
    pub tls_certificate: PathBuf,
    /// Private key, PEM.
    pub tls_key: PathBuf,
    /// Authorities of agents' certificates, PEM; empty for none.
    pub tls_client_ca: PathBuf,
    /// Path of the Unix socket; empty for none.
    pub unix_listen: PathBuf,
    /// HTTP and WebSocket address; empty for none.
    pub http_listen: String,
    /// Balancers that speak the PROXY protocol.
    pub balancers: Vec<String>,
}

impl Hep {
    /// Threads that receive datagrams: as set, or one for each two processors, so that the rest of the work has its
    /// share; at least one and at most eight.
    #[must_use]
    pub fn udp_threads(&self) -> usize {
        match self.udp_threads {
            0 => std::thread::available_parallelism()
                .map_or(1, |processors| (processors.get() / 2).clamp(1, 8)),
            threads => threads,
        }
    }

    /// The TLS address, if there is one. Loading refuses one that is none.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_listen.parse().ok()
    }

    /// The HTTP address, if there is one.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_listen.parse().ok()
    }

    /// The files that TLS is spoken with.
    #[must_use]
    pub fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.tls_certificate.clone(),
            key: self.tls_key.clone(),
            client_ca: Some(self.tls_client_ca.clone()).filter(|path| !path.as_os_str().is_empty()),
        }
    }
}

/// Whose HEP is taken, and how much of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Admission {
    /// Networks that may send; all where it is empty.
    pub networks: Vec<String>,
    /// Whether each packet must carry a known key.
    pub require_key: bool,
    /// Packets a second of one peer; 0 is no limit.
    pub packets_per_second: u32,
    /// Longest packet, octets.
    pub packet_bytes: usize,
    /// Refused packets that are kept, octets.
    pub quarantine_bytes: usize,
}

/// What is captured besides SIP.
#[derive(Clone, Debug, Deserialize)]
pub struct Events {
    /// Where JSON payloads name the Call-ID they belong to.
    pub call_id_paths: Vec<String>,
    /// Further values that they are found by without reading all.
    pub index_paths: Vec<String>,
}

impl Events {
    /// The paths; those that are none are left out, since loading refuses them.
    #[must_use]
    pub fn paths(&self) -> EventPaths {
        let read = |paths: &[String]| paths.iter().filter_map(|path| JsonPath::parse(path).ok()).collect();
        EventPaths { call_id: read(&self.call_id_paths), index: read(&self.index_paths) }
    }
}

/// The engineers' listener.
#[derive(Clone, Debug, Deserialize)]
pub struct Http {
    /// Its address.
    pub listen: SocketAddr,
    /// How browsers reach it; empty for `listen`.
    pub public_url: String,
}

/// The customers' listener.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    /// Its address.
    pub listen: SocketAddr,
    /// How customers reach it; empty for `listen`.
    pub public_url: String,
    /// Origins that may frame it.
    pub frame_ancestors: Vec<String>,
    /// Longest life of a link, seconds.
    pub link_max_seconds: u64,
}

/// Which store.
#[derive(Clone, Deserialize)]
pub struct Database {
    /// Empty for SQLite, or a PostgreSQL URL.
    pub url: String,
    /// A read replica of it; empty for none.
    pub read_url: String,
    /// Size of each PostgreSQL pool.
    pub connections: u32,
    /// Who write to SQLite at the same time; 0 as many as there are processors, 2 at most.
    pub writers: usize,
}

impl Database {
    /// How many write to SQLite at the same time.
    #[must_use]
    pub fn writers(&self) -> NonZeroUsize {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let writers = if self.writers == 0 { processors().min(2) } else { self.writers };
        NonZeroUsize::new(writers).unwrap_or(NonZeroUsize::MIN)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |url: &str| if url.is_empty() { "" } else { "***" };
        f.debug_struct("Database")
            .field("url", &hidden(&self.url))
            .field("read_url", &hidden(&self.read_url))
            .field("connections", &self.connections)
            .field("writers", &self.writers)
            .finish()
    }
}

/// The queue between ingest and store.
#[derive(Clone, Debug, Deserialize)]
pub struct Spool {
    /// Bound on disk, octets.
    pub max_bytes: u64,
    /// Size of a segment, octets.
    pub segment_bytes: u64,
    /// Longest wait for a sync, ms.
    pub sync_milliseconds: u64,
    /// Longest wait for a flush, ms.
    pub flush_milliseconds: u64,
    /// Threads that make slices; 0 for as many as there are processors.
    pub flush_threads: usize,
}

impl Spool {
    /// Threads that make slices.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.flush_threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_THREADS),
            threads => threads,
        }
    }
}

/// Threads that make slices at most, unless more are set: the store is busy by then.
const MOST_THREADS: usize = 8;

/// Memory.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Memory {
    /// So many octets of resident memory at most.
    pub budget_bytes: u64,
}

impl Memory {
    /// What each part may take.
    #[must_use]
    pub const fn budget(self) -> Budget {
        Budget::new(self.budget_bytes)
    }
}

/// Logging.
#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    /// Least level.
    pub level: String,
    /// `text` or `json`.
    pub format: String,
}

/// What flags and environment set.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--hep-listen`
    pub hep_listen: Option<SocketAddr>,
    /// `--http-listen`
    pub http_listen: Option<SocketAddr>,
    /// `--customer-listen`
    pub customer_listen: Option<SocketAddr>,
    /// `--database-url`
    pub database_url: Option<String>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Which file.
        place: String,
        /// Where and why.
        message: String,
    },
    /// Keys or values are wrong; all of them are listed.
    #[error("{place}:\n{}", mistakes.iter().map(|m| format!("  {m}")).collect::<Vec<_>>().join("\n"))]
    Mistakes {
        /// Which file.
        place: String,
        /// One line each.
        mistakes: Vec<String>,
    },
}

impl Config {
    /// What ingest goes by. Networks that are none are left out, since loading refuses them.
    #[must_use]
    pub fn ingest_rules(&self) -> Rules {
        let Admission { networks, require_key, packets_per_second, packet_bytes, quarantine_bytes } =
            &self.admission;
        Rules {
            networks: networks.iter().filter_map(|network| Network::parse(network)).collect(),
            require_key: *require_key,
            packets_per_second: *packets_per_second,
            packet_bytes: *packet_bytes,
            inflated_bytes: self.hep.inflated_bytes,
            quarantine_bytes: *quarantine_bytes,
            content: self.ingest.rules(),
        }
    }

    /// Who shares the backend.
    #[must_use]
    pub fn tenants(&self) -> Tenants {
        keeping::tenants(&self.tenants)
    }

    /// Reads the file, if one is given, over the defaults, and applies the overrides.
    ///
    /// # Errors
    /// When the file is missing or not TOML, has unknown keys, or a value is out of its range; with all mistakes.
    pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
            None => String::new(),
        };
        let place = path.map_or_else(|| "settings".to_owned(), |p| p.display().to_string());
        let mut config = Self::parse(&place, &text)?;
        let Overrides { data_dir, hep_listen, http_listen, customer_listen, database_url } = overrides;
        config.data.dir = data_dir.unwrap_or(config.data.dir);
        config.hep.listen = hep_listen.unwrap_or(config.hep.listen);
        config.http.listen = http_listen.unwrap_or(config.http.listen);
        config.customer.listen = customer_listen.unwrap_or(config.customer.listen);
        config.database.url = database_url.unwrap_or(config.database.url);
        let mistakes = config.mistakes();
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Mistakes { place, mistakes }) }
    }

    fn parse(place: &str, text: &str) -> Result<Self, ConfigError> {
        let read = |place: &str, text: &str| {
            text.parse::<Table>()
                .map_err(|error| ConfigError::Syntax { place: place.to_owned(), message: error.to_string() })
        };
        let mut settings = read("default.toml", DEFAULTS)?;
        let mut mistakes = Vec::new();
        merge(&mut settings, read(place, text)?, "", &mut mistakes);
        if !mistakes.is_empty() {
            return Err(ConfigError::Mistakes { place: place.to_owned(), mistakes });
        }
        for section in ["hep", "http", "customer"] {
            let listen = settings.get(section).and_then(|table| table.get("listen")).and_then(Value::as_str);
            if let Some(address) = listen.filter(|text| text.parse::<SocketAddr>().is_err()) {
                mistakes.push(format!("{section}.listen: expected address:port, found {address:?}"));
            }
        }
        if !mistakes.is_empty() {
            return Err(ConfigError::Mistakes { place: place.to_owned(), mistakes });
        }
        settings.try_into().map_err(|error: toml::de::Error| ConfigError::Mistakes {
            place: place.to_owned(),
            mistakes: vec![error.message().to_owned()],
        })
    }
}

/// Lays a file's values over the defaults; keys without a default, and values of another type, are mistakes.
fn merge(defaults: &mut Table, file: Table, prefix: &str, mistakes: &mut Vec<String>) {
    for (key, value) in file {
        let name = format!("{prefix}{key}");
        match (defaults.get_mut(&key), value) {
            (None, _) => mistakes.push(format!("{name}: no such key")),
            (Some(Value::Table(table)), Value::Table(file)) => {
                merge(table, file, &format!("{name}."), mistakes)
            }
            (Some(default), value) if default.same_type(&value) => *default = value,
            (Some(default), value) => {
                mistakes.push(format!("{name}: expected {}, found {}", default.type_str(), value.type_str()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("write it");
        Config::load(Some(file.path()), Overrides::default())
    }

    pub(super) fn mistakes(text: &str) -> String {
        load(text).expect_err("a mistake").to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_listen_on_loopback_only() {
        let config = Config::load(None, Overrides::default()).expect("the defaults");
        for address in [config.hep.listen, config.http.listen, config.customer.listen] {
            assert!(address.ip().is_loopback());
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text =
            mistakes("[hep]\nlisten = \"0.0.0.0:9060\"\nbuffer = 3\n[spol]\nx = 1\n[http]\nlisten = 5\n");
        for line in
            ["hep.buffer: no such key", "spol: no such key", "http.listen: expected string, found integer"]
        {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let text = mistakes("[hep]\nlisten = \"nowhere\"\n[http]\nlisten = \":9080\"\n");
        assert!(text.contains("hep.listen: expected address:port, found \"nowhere\""), "{text}");
        assert!(text.contains("http.listen: expected address:port, found \":9080\""), "{text}");
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        let text =
            mistakes("[spool]\nsync_milliseconds = 0\n[customer]\nframe_ancestors = [\"*; script-src *\"]\n");
        assert!(text.contains("spool.sync_milliseconds: expected 1 to 1000, found 0"), "{text}");
        assert!(text.contains("customer.frame_ancestors"), "{text}");
    }

    #[test]
    fn a_password_in_the_database_url_is_not_printed() {
        let overrides =
            Overrides { database_url: Some("postgres://u:secret@h/d".into()), ..Overrides::default() };
        let mut config = Config::load(None, overrides).expect("valid");
        config.database.read_url = "postgres://u:secret@replica/d".into();
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn a_replica_takes_a_database() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            Config::load(Some(file.path()), Overrides::default())
        };
        // As in docs/postgresql.md.
        let config = read(
            "[database]\nurl = \"postgres://siplens:x@db.example.net/siplens?sslmode=verify-full\"\n\
             read_url = \"postgres://siplens:x@replica.example.net/siplens\"\nconnections = 20\n\
             [retention]\nmax_bytes = 1_000_000_000_000\n",
        )
        .expect("valid");
        assert_eq!(config.database.connections, 20);
        let text = mistakes("[database]\nread_url = \"postgres://replica/siplens\"\n");
        assert!(text.contains("database.read_url: expected database.url too"), "{text}");
        for url in ["mysql://h/d", "postgres://h:port/d", "replica"] {
            let text = mistakes(&format!("[database]\nurl = \"{url}\"\n"));
            assert!(text.contains("database.url: expected"), "{text}");
        }
    }
}
