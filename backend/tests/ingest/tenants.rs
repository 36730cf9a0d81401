//! Whose a packet is: told by its key, where it came from, or its agent's id, and never by its agent's word.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use siplens_backend::ingest::Rules;
use siplens_backend::ingest::keys::{Keys, KnownKey};
use siplens_backend::network::Network;
use siplens_backend::search::Page;
use siplens_backend::search::filter::Filter;
use siplens_backend::tenant::{Tenant, Tenants};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::pipeline::{Pipeline, packet, sqlite, until};

const KEY: &str = "a key of bell's";

fn tenants() -> Arc<Tenants> {
    let tenant = |name: &str, networks: &[&str], agents: &[u32]| Tenant {
        name: name.into(),
        networks: networks.iter().filter_map(|network| Network::parse(network)).collect(),
        agents: agents.to_vec(),
    };
    Arc::new(Tenants::new(vec![tenant("acme", &["127.0.0.2"], &[9]), tenant("bell", &[], &[])]))
}

/// The packet number `n`, of this agent, with this key, that says itself whose it is, with a payload of so many octets
/// more.
fn packet_of(n: usize, agent_id: u32, key: Option<&str>, claimed: Option<&str>, more: usize) -> Vec<u8> {
    let plain = packet(n);
    let mut packet = hep::decode(&plain).expect("a packet");
    let payload = [&*packet.payload.inflate(usize::MAX).expect("plain"), &vec![b'x'; more]].concat();
    packet.payload = hep::Payload::Plain(&payload);
    packet.agent_id = Some(agent_id);
    packet.auth_key = key.map(str::as_bytes);
    let mut octets = Vec::new();
    hep::encode(&packet, &mut octets).expect("encoded");
    if let Some(claimed) = claimed {
        hep::append_tenant(&mut octets, claimed.as_bytes()).expect("room");
    }
    octets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_is_of_the_tenant_that_its_key_or_its_way_tells() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::default();
    keys.replace(vec![KnownKey {
        hash: Sha256::digest(KEY).into(),
        agent_id: None,
        tenant: Some("bell".into()),
    }]);
    let store = sqlite(dir.path()).await;
    let pipeline = Pipeline::start_for(dir.path(), store, 8 << 20, Rules::default(), keys, tenants()).await;
    let (here, there) = (UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.2:0").await);
    let (here, there) = (here.expect("a socket"), there.expect("a socket"));
    for (socket, packet) in [
        (&here, packet_of(1, 7, None, None, 0)),
        (&here, packet_of(2, 9, None, None, 0)),
        (&there, packet_of(3, 7, None, None, 0)),
        (&there, packet_of(4, 9, Some(KEY), None, 0)),
        (&here, packet_of(5, 7, Some("an unknown key"), Some("bell"), 0)),
        (&here, packet_of(6, 7, Some(KEY), Some("acme"), 0)),
        (&there, packet_of(7, 7, None, Some("bell"), 0)),
    ] {
        socket.send_to(&packet, pipeline.udp).await.expect("sent");
    }
    until("7 messages", async || pipeline.stored().await == 7).await;
    let page = Page { limit: 9, ..Page::default() };
    let found = pipeline.search.messages(&Filter::default(), &page).await.expect("found").items;
    let mut told: Vec<_> =
        found.iter().map(|m| (m.sip.call_id.as_deref(), m.captured.tenant.as_deref())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (Some("1@host"), None),
            (Some("2@host"), Some("acme")),
            (Some("3@host"), Some("acme")),
            (Some("4@host"), Some("bell")),
            (Some("5@host"), None),
            (Some("6@host"), Some("bell")),
            (Some("7@host"), Some("acme")),
        ]
    );
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_without_room_for_its_tenants_name_is_refused_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::default();
    let tenant = Some(Arc::from("bell"));
    keys.replace(vec![KnownKey { hash: Sha256::digest(KEY).into(), agent_id: None, tenant }]);
    let store = sqlite(dir.path()).await;
    let pipeline = Pipeline::start_for(dir.path(), store, 8 << 20, Rules::default(), keys, tenants()).await;
    // A chunk's head and "bell".
    let room = hep::MAX_PACKET_LEN - packet_of(1, 7, Some(KEY), None, 0).len() - 6 - 4;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    stream.write_all(&packet_of(1, 7, Some(KEY), None, room)).await.expect("written");
    until("the longest packet", async || pipeline.stored().await == 1).await;
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    stream.write_all(&packet_of(2, 7, Some(KEY), None, room + 1)).await.expect("written");
    until("a refusal", async || {
        pipeline.metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"size\"}") == 1
    })
    .await;
    assert_eq!(pipeline.stored().await, 1);
    pipeline.stop().await;
}
