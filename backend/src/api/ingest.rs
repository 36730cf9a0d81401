//! `/api/v1/agents`, `/api/v1/peers` and `/api/v1/quarantine`: who sends, and what is refused of whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::{ApiError, ErrorBody};
use super::query::{LimitQuery, Params};
use super::time::rfc3339;
use crate::ingest::quarantine::Refused;
use crate::telemetry::tally::{AgentCounts, Counts, SKEWED_US};

/// A capture agent that sent something since the start.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agent {
    /// Its id, as it says.
    pub agent_id: u32,
    /// Who sent its last packet, address:port.
    pub peer: String,
    /// Its last packet.
    pub last_seen: String,
    /// Packets that were taken.
    pub accepted: u64,
    /// Packets that were refused, or left out by a rule, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Packets that it sent and that did not come, by the numbers that Siplens' own modules give them; 0 for agents that
    /// number nothing.
    pub lost: u64,
    /// Packets that came again after they had been taken, and were not taken again.
    pub repeated: u64,
    /// Its clock less ours, ms, by its freshest packet of late; null where it sends no time.
    #[schema(required)]
    pub clock_offset_ms: Option<i64>,
    /// Whether its clock differs by more than two seconds, so that its times cannot be compared with other agents'.
    pub clock_skewed: bool,
}

/// An address that sent something since the start.
#[derive(Debug, Serialize, ToSchema)]
pub struct Peer {
    /// The address; of IPv6, its /64.
    pub address: String,
    /// Its last packet.
    pub last_seen: String,
    /// Packets that were taken.
    pub accepted: u64,
    /// Packets that were refused, or left out by a rule, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// What became of those who have no entry of their own.
#[derive(Debug, Serialize, ToSchema)]
pub struct Others {
    /// Packets that were taken.
    pub accepted: u64,
    /// Packets that were refused, or left out by a rule, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// All agents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agents {
    /// By id; at most 1024.
    pub items: Vec<Agent>,
    /// All further ones together.
    pub others: Others,
}

/// All peers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Peers {
    /// By address; at most 1024.
    pub items: Vec<Peer>,
    /// All further ones together.
    pub others: Others,
}

/// A packet that was refused as garbage.
#[derive(Debug, Serialize, ToSchema)]
pub struct Quarantined {
    /// Counted from 1 since the start.
    pub number: u64,
    /// When it came.
    pub received_at: String,
    /// Who sent it, address:port.
    pub peer: String,
    /// How it came: `udp`, `tcp`, `tls`, `unix`, `http` or `ws`.
    pub transport: &'static str,
    /// Why it was refused.
    pub reason: &'static str,
    /// How long it was, octets.
    pub size_bytes: usize,
    /// Its first 4096 octets in base64; a key is overwritten with zeros.
    pub octets_base64: String,
}

/// Garbage, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Quarantine {
    /// The packets.
    pub items: Vec<Quarantined>,
}

/// Capture agents that sent since the start: what was taken and refused of each, and how its clock goes.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    operation_id = "list_agents",
    tag = "ingest",
    responses((status = 200, body = Agents), (status = 401, body = ErrorBody))
)]
pub async fn agents(State(state): State<Arc<ApiState>>) -> Json<Agents> {
    let (agents, others, _) = state.tally.agents();
    Json(Agents { items: agents.into_iter().map(Agent::from).collect(), others: others.into() })
}

/// Addresses that sent since the start: what was taken and refused of each.
#[utoipa::path(
    get,
    path = "/api/v1/peers",
    operation_id = "list_peers",
    tag = "ingest",
    responses((status = 200, body = Peers), (status = 401, body = ErrorBody))
)]
pub async fn peers(State(state): State<Arc<ApiState>>) -> Json<Peers> {
    let (peers, others) = state.tally.peers();
    let peer = |(ip, counts): (std::net::IpAddr, Counts)| Peer {
        address: ip.to_string(),
        last_seen: rfc3339(counts.last_seen_us),
        accepted: counts.accepted,
        refused: counts.refused,
    };
    Json(Peers { items: peers.into_iter().map(peer).collect(), others: others.into() })
}

/// What was refused as garbage and is still in memory, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/quarantine",
    operation_id = "list_quarantine",
    tag = "ingest",
    params(LimitQuery),
    responses(
        (status = 200, body = Quarantine),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody)
    )
)]
pub async fn quarantine(
    State(state): State<Arc<ApiState>>,
    Params(query): Params<LimitQuery>,
) -> Result<Json<Quarantine>, ApiError> {
    let newest = state.quarantine.newest(query.read()?);
    Ok(Json(Quarantine { items: newest.iter().map(Quarantined::from).collect() }))
}

impl From<(u32, AgentCounts)> for Agent {
    fn from((agent_id, agent): (u32, AgentCounts)) -> Self {
        Self {
            agent_id,
            peer: agent.peer.to_string(),
            last_seen: rfc3339(agent.counts.last_seen_us),
            accepted: agent.counts.accepted,
            refused: agent.counts.refused,
            lost: agent.delivery.lost(),
            repeated: agent.delivery.repeated,
            clock_offset_ms: agent.clock_offset_us.map(|us| us / 1000),
            clock_skewed: agent.clock_offset_us.is_some_and(|us| us.saturating_abs() > SKEWED_US),
        }
    }
}

impl From<Counts> for Others {
    fn from(counts: Counts) -> Self {
        Self { accepted: counts.accepted, refused: counts.refused }
    }
}

impl From<&Refused> for Quarantined {
    fn from(refused: &Refused) -> Self {
        Self {
            number: refused.number,
            received_at: rfc3339(refused.received_at_us),
            peer: refused.peer.to_string(),
            transport: refused.way.as_str(),
            reason: refused.reason.as_str(),
            size_bytes: refused.size,
            octets_base64: STANDARD.encode(&refused.octets),
        }
    }
}
