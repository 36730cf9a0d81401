//! Whose a packet is, where several share a backend: told by the key that it came with, else by the network that it came
//! from, else by its agent's id.

use std::net::IpAddr;
use std::sync::Arc;

use crate::network::Network;

/// One of those who share a backend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tenant {
    /// Its name, which stays with what it sent.
    pub name: Arc<str>,
    /// Where its agents send from.
    pub networks: Vec<Network>,
    /// Ids of its agents, wherever they send from.
    pub agents: Vec<u32>,
}

/// All of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tenants(Vec<Tenant>);

impl Tenants {
    /// These, in the order in which they are looked at.
    #[must_use]
    pub const fn new(tenants: Vec<Tenant>) -> Self {
        Self(tenants)
    }

    /// The tenant of a packet: the one that ingest noted by its key, or else the first to whom its peer's network, or
    /// else its agent's id, belongs.
    #[must_use]
    pub fn of(&self, noted: Option<&[u8]>, peer: IpAddr, agent_id: u32) -> Option<Arc<str>> {
        if let Some(noted) = noted {
            let known = self.0.iter().map(|tenant| &tenant.name).find(|name| name.as_bytes() == noted);
            // A tenant that is no longer configured keeps what it sent.
            return Some(known.cloned().unwrap_or_else(|| String::from_utf8_lossy(noted).into()));
        }
        let peer = peer.to_canonical();
        let here = |tenant: &&Tenant| tenant.networks.iter().any(|network| network.contains(peer));
        let found = self.0.iter().find(here);
        let found = found.or_else(|| self.0.iter().find(|tenant| tenant.agents.contains(&agent_id)));
        found.map(|tenant| Arc::clone(&tenant.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_more_than_a_network_and_a_network_more_than_an_agents_id() {
        let tenant = |name: &str, network: Option<&str>, agents: &[u32]| Tenant {
            name: name.into(),
            networks: network.and_then(Network::parse).into_iter().collect(),
            agents: agents.to_vec(),
        };
        let tenants = Tenants::new(vec![
            tenant("acme", Some("10.1.0.0/16"), &[7]),
            tenant("bell", Some("10.0.0.0/8"), &[8, 7]),
            tenant("keyed", None, &[]),
        ]);
        for (noted, peer, agent_id, expected) in [
            (None, "10.1.2.3", 8, Some("acme")),
            (None, "10.2.2.3", 7, Some("bell")),
            (None, "::ffff:10.1.2.3", 1, Some("acme")),
            (None, "192.0.2.1", 7, Some("acme")),
            (None, "192.0.2.1", 8, Some("bell")),
            (None, "192.0.2.1", 9, None),
            (Some("keyed"), "10.1.2.3", 8, Some("keyed")),
            (Some("gone"), "10.1.2.3", 8, Some("gone")),
        ] {
            let peer = peer.parse().expect("an address");
            let found = tenants.of(noted.map(str::as_bytes), peer, agent_id);
            assert_eq!(found.as_deref(), expected, "{noted:?} {peer} {agent_id}");
        }
        assert_eq!(Tenants::default().of(None, [10, 1, 2, 3].into(), 7), None);
    }
}
