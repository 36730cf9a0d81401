//! Which values the settings may have.

use std::net::SocketAddr;

use super::{Config, keeping};
use crate::call::event::JsonPath;
use crate::memory;
use crate::network::Network;
use crate::store::postgres::connection;

impl Config {
    /// Values that are out of their range.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut rule = |kept: bool, text: String| {
            if !kept {
                mistakes.push(text);
            }
        };
        let within = |value: u64, least: u64, most: u64| (least..=most).contains(&value);
        let ranges = [
            ("hep.udp_buffer_bytes", self.hep.udp_buffer_bytes as u64, 65_536, 1 << 31),
            ("hep.udp_threads", self.hep.udp_threads as u64, 0, 64),
            ("hep.tcp_connections", self.hep.tcp_connections as u64, 1, 1_000_000),
            ("hep.peer_connections", self.hep.peer_connections as u64, 1, 1_000_000),
            ("hep.inflated_bytes", self.hep.inflated_bytes as u64, 65_536, 16 << 20),
            ("admission.packets_per_second", u64::from(self.admission.packets_per_second), 0, 10_000_000),
            ("admission.packet_bytes", self.admission.packet_bytes as u64, 1024, 65_535),
            ("admission.quarantine_bytes", self.admission.quarantine_bytes as u64, 0, 1 << 30),
            ("ingest.keep_one_in", u64::from(self.ingest.keep_one_in), 1, 1_000_000),
            ("ingest.duplicate_milliseconds", u64::from(self.ingest.duplicate_milliseconds), 0, 60_000),
            ("customer.link_max_seconds", self.customer.link_max_seconds, 60, 10 * 366 * 86_400),
            ("database.connections", u64::from(self.database.connections), 2, 1000),
            ("clickhouse.timeout_seconds", self.clickhouse.timeout_seconds, 1, 600),
            ("clickhouse.cold_days", u64::from(self.clickhouse.cold_days), 0, 36_500),
            ("clickhouse.insert_quorum", u64::from(self.clickhouse.insert_quorum), 0, 16),
            ("database.writers", self.database.writers as u64, 0, 16),
            ("memory.budget_bytes", self.memory.budget_bytes, memory::LEAST_BYTES, 1 << 40),
            ("spool.segment_bytes", self.spool.segment_bytes, 1 << 20, 1 << 30),
            ("spool.sync_milliseconds", self.spool.sync_milliseconds, 1, 1000),
            ("spool.flush_threads", self.spool.flush_threads as u64, 0, 64),
            ("spool.flush_milliseconds", self.spool.flush_milliseconds, 50, 60_000),
        ];
        for (key, value, least, most) in ranges {
            rule(within(value, least, most), format!("{key}: expected {least} to {most}, found {value}"));
        }
        rule(
            self.spool.max_bytes >= 2 * self.spool.segment_bytes,
            format!("spool.max_bytes: expected at least two segments, found {}", self.spool.max_bytes),
        );
        for mistake in self.retention.mistakes(&self.tenants) {
            rule(false, mistake);
        }
        for mistake in keeping::mistakes(&self.tenants) {
            rule(false, mistake);
        }
        for mistake in self.ingest.mistakes() {
            rule(false, mistake);
        }
        for (key, url) in
            [("database.url", &self.database.url), ("database.read_url", &self.database.read_url)]
        {
            rule(
                url.is_empty() || connection::options(url).is_ok(),
                format!("{key}: expected \"\" or postgres://user@host/database, found something else"),
            );
        }
        rule(
            self.database.read_url.is_empty() || !self.database.url.is_empty(),
            "database.read_url: expected database.url too, found it empty".to_owned(),
        );
        for (key, url) in
            [("http.public_url", &self.http.public_url), ("customer.public_url", &self.customer.public_url)]
        {
            let web = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            rule(
                url.is_empty() || web.is_some_and(|host| !host.is_empty() && !host.ends_with('/')),
                format!("{key}: expected \"\" or https://host without a / at its end, found {url:?}"),
            );
        }
        for (key, address) in
            [("hep.tls_listen", &self.hep.tls_listen), ("hep.http_listen", &self.hep.http_listen)]
        {
            rule(
                address.is_empty() || address.parse::<SocketAddr>().is_ok(),
                format!("{key}: expected \"\" or address:port, found {address:?}"),
            );
        }
        let empty = |path: &std::path::Path| path.as_os_str().is_empty();
        rule(
            self.hep.tls_listen.is_empty() || !(empty(&self.hep.tls_certificate) || empty(&self.hep.tls_key)),
            "hep.tls_listen: expected hep.tls_certificate and hep.tls_key too, found one empty".to_owned(),
        );
        for network in self.hep.balancers.iter().filter(|text| Network::parse(text).is_none()) {
            rule(false, format!("hep.balancers: expected address/bits, found {network:?}"));
        }
        for network in self.admission.networks.iter().filter(|text| Network::parse(text).is_none()) {
            rule(false, format!("admission.networks: expected address/bits, found {network:?}"));
        }
        for (key, paths) in [
            ("events.call_id_paths", &self.events.call_id_paths),
            ("events.index_paths", &self.events.index_paths),
        ] {
            for mistake in paths.iter().filter_map(|path| JsonPath::parse(path).err()) {
                rule(false, format!("{key}: {mistake}"));
            }
            rule(paths.len() <= 64, format!("{key}: expected at most 64 paths, found {}", paths.len()));
        }
        for origin in &self.customer.frame_ancestors {
            let plain = origin.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b','));
            rule(
                plain
                    && (origin.starts_with("https://")
                        || origin.starts_with("http://")
                        || origin == "'self'"),
                format!("customer.frame_ancestors: expected https://host[:port] or 'self', found {origin:?}"),
            );
        }
        rule(
            ["error", "warn", "info", "debug", "trace"].contains(&self.log.level.as_str()),
            format!("log.level: expected error, warn, info, debug or trace, found {:?}", self.log.level),
        );
        rule(
            ["text", "json"].contains(&self.log.format.as_str()),
            format!("log.format: expected text or json, found {:?}", self.log.format),
        );
        mistakes.extend(self.clickhouse.mistakes());
        mistakes
    }
}
