//! Counters, in Prometheus' text format. Names: `siplens_<area>_<what>_<unit>_total`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::kernel;
use super::tally::{Exported, Tally};
use crate::api::turns::TurnMetrics;
use crate::spool::SpoolStats;
use crate::store::Plan;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IngestLabels {
    transport: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SocketLabels {
    socket: u32,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RuleLabels {
    kind: &'static str,
    rule: String,
}

/// All counters of the backend.
pub struct Metrics {
    registry: Registry,
    /// Who sent what.
    pub tally: Arc<Tally>,
    packets: Family<IngestLabels, Counter>,
    bytes: Counter,
    rules: Family<RuleLabels, Counter>,
    /// HEP streams open now.
    pub tcp_connections: Gauge,
    tcp_refused: Family<ReasonLabels, Counter>,
    /// HEP streams whose TLS handshake failed.
    pub tls_failed: Counter,
    /// How often a HEP stream was held back: the spool was full, or its peer over its rate.
    pub tcp_held_back: Counter,
    /// Answers to senders that number their packets.
    pub acknowledgements: Counter,
    kernel_drops: Family<SocketLabels, Gauge>,
    udp_sockets: OnceLock<Vec<u64>>,
    /// Records of the spool that could not be read.
    pub undecodable: Counter,
    /// Messages that no slice, or no store, took.
    pub left_out: Counter,
    /// Messages that a search left out because it had them twice.
    pub duplicates: Counter,
    stored: Counter,
    flushes: Counter,
    store_errors: Counter,
    store_up: AtomicBool,
    store_is_up: Gauge,
    disk_low: AtomicBool,
    retention: RetentionMetrics,
    /// The read replica.
    pub replica: ReplicaMetrics,
    /// Searches that are answered, and that were refused.
    pub turns: TurnMetrics,
    /// ClickHouse servers that do not answer.
    pub servers_away: Gauge,
    spool_readable: AtomicBool,
    spool: SpoolGauges,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Default)]
struct RetentionMetrics {
    removed: Family<ReasonLabels, Counter>,
    store_bytes: Gauge,
    disk_free_bytes: Gauge,
    damaged: Gauge,
}

/// What becomes of searches where there is a read replica of the database.
#[derive(Clone, Debug, Default)]
pub struct ReplicaMetrics {
    /// 1 while it answers; 0 where there is none.
    pub is_up: Gauge,
    /// Reads that went to the database itself because it did not, or gave up.
    pub fallbacks: Counter,
    /// Reads that it gave up for what it had to replay.
    pub conflicts: Counter,
}

#[derive(Default)]
struct SpoolGauges {
    durable: Gauge,
    disk_bytes: Gauge,
    refused: Gauge,
    bad_records: Gauge,
    cut_bytes: Gauge,
    streams: Gauge,
    streams_forgotten: Gauge,
    healthy: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("siplens"),
            tally: Arc::default(),
            packets: Family::default(),
            bytes: Counter::default(),
            rules: Family::default(),
            tcp_connections: Gauge::default(),
            tcp_refused: Family::default(),
            tls_failed: Counter::default(),
            tcp_held_back: Counter::default(),
            acknowledgements: Counter::default(),
            kernel_drops: Family::default(),
            udp_sockets: OnceLock::new(),
            undecodable: Counter::default(),
            left_out: Counter::default(),
            duplicates: Counter::default(),
            stored: Counter::default(),
            flushes: Counter::default(),
            store_errors: Counter::default(),
            store_up: AtomicBool::new(true),
            store_is_up: Gauge::default(),
            disk_low: AtomicBool::new(false),
            retention: RetentionMetrics::default(),
            replica: ReplicaMetrics::default(),
            turns: TurnMetrics::default(),
            servers_away: Gauge::default(),
            spool_readable: AtomicBool::new(true),
            spool: SpoolGauges::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, spool, tally, retention, replica, servers_away, turns, .. } = self;
        registry.register_collector(Box::new(Exported(Arc::clone(tally))));
        registry.register("ingest_packets", "HEP packets by what became of them", self.packets.clone());
        registry.register("ingest_bytes", "octets of HEP received", self.bytes.clone());
        registry.register(
            "ingest_rule_packets",
            "HEP packets that a rule of [ingest] left out or made unreadable in part",
            self.rules.clone(),
        );
        registry.register("ingest_tcp_connections", "HEP streams open", self.tcp_connections.clone());
        registry.register(
            "ingest_tcp_connections_refused",
            "HEP streams that were not taken, or closed for what they did not do, by reason",
            self.tcp_refused.clone(),
        );
        registry.register(
            "search_duplicates",
            "messages that a search left out because it had them twice",
            self.duplicates.clone(),
        );
        registry.register("search_busy", "requests that search, answered now", turns.busy.clone());
        registry.register(
            "search_refused",
            "requests that were told to come again, because too many were answered",
            turns.refused.clone(),
        );
        registry.register("ingest_tls_failed", "failed TLS handshakes", self.tls_failed.clone());
        registry.register(
            "ingest_tcp_held_back",
            "pauses of HEP streams because the spool was full, or their peer over its rate",
            self.tcp_held_back.clone(),
        );
        registry.register(
            "ingest_acknowledgements",
            "answers that tell senders how far their packets are safe",
            self.acknowledgements.clone(),
        );
        registry.register(
            "ingest_udp_kernel_drops",
            "datagrams that the kernel dropped because a socket's receive buffer was full",
            self.kernel_drops.clone(),
        );
        registry.register(
            "decode_failed_records",
            "spooled records that cannot be read",
            self.undecodable.clone(),
        );
        registry.register(
            "retention_removed_bytes",
            "octets of the store that were let go of, by reason",
            retention.removed.clone(),
        );
        registry.register(
            "store_damaged_files",
            "files of the store that are damaged",
            retention.damaged.clone(),
        );
        registry.register("store_bytes", "octets of the store on disk", retention.store_bytes.clone());
        registry.register(
            "disk_free_bytes",
            "octets free on the disk of the store",
            retention.disk_free_bytes.clone(),
        );
        registry.register("store_messages", "messages stored", self.stored.clone());
        registry.register(
            "store_left_out_messages",
            "messages that could not be stored, and were put aside",
            self.left_out.clone(),
        );
        registry.register("store_flushes", "flushes stored", self.flushes.clone());
        registry.register("store_up", "1 while the store takes what is written", self.store_is_up.clone());
        registry.register("store_errors", "failed tries to write to the store", self.store_errors.clone());
        registry.register(
            "store_servers_away",
            "ClickHouse servers that do not answer",
            servers_away.clone(),
        );
        registry.register("store_replica_up", "1 while the read replica answers", replica.is_up.clone());
        registry.register(
            "store_replica_fallbacks",
            "reads that went to the database itself because its replica did not answer, or gave up",
            replica.fallbacks.clone(),
        );
        registry.register(
            "store_replica_conflicts",
            "reads that the replica gave up for what it had to replay",
            replica.conflicts.clone(),
        );
        // Counters of the spool, read when asked for: gauges to this library, but they only grow.
        registry.register("spool_records_durable_total", "records synced to disk", spool.durable.clone());
        registry.register(
            "spool_offers_refused_total",
            "offers that the spool had no room for; a stream makes the same offer again until there is",
            spool.refused.clone(),
        );
        registry.register("spool_bad_records_total", "damaged records met", spool.bad_records.clone());
        registry.register("spool_cut_bytes_total", "octets cut off in recovery", spool.cut_bytes.clone());
        registry.register("spool_streams", "streams of numbered packets known", spool.streams.clone());
        registry.register(
            "spool_streams_forgotten_total",
            "streams of numbered packets that had to be forgotten for others",
            spool.streams_forgotten.clone(),
        );
        registry.register("spool_disk_bytes", "octets on disk", spool.disk_bytes.clone());
        registry.register("spool_healthy", "1 while the spool can write", spool.healthy.clone());
    }

    /// Counts a stream that was not taken, or closed, for this reason.
    pub fn stream_refused(&self, reason: &'static str) {
        self.tcp_refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Names the UDP sockets, by inode, whose drops the kernel is asked for; once.
    pub fn udp_sockets(&self, inodes: Vec<u64>) {
        let _named_already = self.udp_sockets.set(inodes);
    }

    /// Counts packets that came this way, and their octets.
    pub fn ingested(&self, transport: &'static str, result: &'static str, packets: u64, octets: u64) {
        self.packets.get_or_create(&IngestLabels { transport, result }).inc_by(packets);
        self.bytes.inc_by(octets);
    }

    /// The counter of a rule of this kind and name; there from now on, also while it is 0.
    #[must_use]
    pub fn rule(&self, kind: &'static str, rule: &str) -> Counter {
        self.rules.get_or_create_owned(&RuleLabels { kind, rule: rule.to_owned() })
    }

    /// Counts a flush of so many messages.
    pub fn stored(&self, messages: u64) {
        self.stored.inc_by(messages);
        self.flushes.inc();
    }

    /// Notes whether the store took the last flush.
    pub fn store_up(&self, up: bool) {
        self.store_up.store(up, Ordering::Relaxed);
        self.store_is_up.set(i64::from(up));
        if !up {
            self.store_errors.inc();
        }
    }

    /// Whether the store took the last flush.
    #[must_use]
    pub fn is_store_up(&self) -> bool {
        self.store_up.load(Ordering::Relaxed)
    }

    /// Notes what retention did, where so many octets of the disk are to stay free.
    pub fn retained(&self, plan: &Plan, wanted_free_bytes: u64) {
        let mut removed_bytes = 0;
        for expired in &plan.expired {
            removed_bytes += expired.bytes;
            let labels = ReasonLabels { reason: expired.reason.as_str() };
            self.retention.removed.get_or_create(&labels).inc_by(expired.bytes);
        }
        let gauge = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.retention.damaged, plan.damaged);
        gauge(&self.retention.store_bytes, plan.store_bytes.saturating_sub(removed_bytes));
        let free_bytes = plan.disk_free_bytes.map(|free| free.saturating_add(removed_bytes));
        gauge(&self.retention.disk_free_bytes, free_bytes.unwrap_or(0));
        self.disk_low.store(free_bytes.is_some_and(|free| free < wanted_free_bytes), Ordering::Relaxed);
    }

    /// Whether the disk is nearly full, and nothing is left that may go.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.disk_low.load(Ordering::Relaxed)
    }

    /// Notes whether the spool could be read at the last try.
    pub fn spool_readable(&self, readable: bool) {
        self.spool_readable.store(readable, Ordering::Relaxed);
    }

    /// Whether the spool could be read at the last try.
    #[must_use]
    pub fn is_spool_readable(&self) -> bool {
        self.spool_readable.load(Ordering::Relaxed)
    }

    /// All metrics as text.
    #[must_use]
    pub fn text(&self, spool: &Arc<SpoolStats>) -> String {
        let gauge = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let spool = spool.snapshot();
        gauge(&self.spool.durable, spool.records_durable);
        gauge(&self.spool.disk_bytes, spool.disk_bytes);
        gauge(&self.spool.refused, spool.refused);
        gauge(&self.spool.bad_records, spool.bad_records);
        gauge(&self.spool.cut_bytes, spool.cut_bytes);
        gauge(&self.spool.streams, spool.streams);
        gauge(&self.spool.streams_forgotten, spool.streams_forgotten);
        gauge(&self.spool.healthy, u64::from(spool.healthy));
        for (socket, drops) in (0..).zip(kernel::udp_drops(self.udp_sockets.get().map_or(&[], Vec::as_slice)))
        {
            if let Some(drops) = drops {
                gauge(&self.kernel_drops.get_or_create(&SocketLabels { socket }), drops);
            }
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                String::new()
            }
        }
    }
}
