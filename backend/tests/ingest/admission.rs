//! Who may send, how much, with which key; and what becomes of the rest.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use siplens_backend::ingest::Rules;
use siplens_backend::ingest::keys::{Keys, KnownKey};
use siplens_backend::network::Network;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::pipeline::{Pipeline, packet, sqlite, until};

const KEY: &str = "a key of the proxy's";

async fn pipeline(dir: &Path, rules: Rules, keys: Keys) -> Pipeline {
    Pipeline::start_with(dir, sqlite(dir).await, 8 << 20, rules, keys).await
}

fn keys() -> Keys {
    let keys = Keys::default();
    keys.replace(vec![KnownKey { hash: Sha256::digest(KEY).into(), agent_id: Some(2001), tenant: None }]);
    keys
}

/// The packet number `n`, of this agent, with this key.
fn with_key(n: usize, agent_id: u32, key: Option<&str>) -> Vec<u8> {
    let plain = packet(n);
    let mut packet = hep::decode(&plain).expect("a packet");
    packet.agent_id = Some(agent_id);
    packet.auth_key = key.map(str::as_bytes);
    let mut bytes = Vec::new();
    hep::encode(&packet, &mut bytes).expect("encoded");
    bytes
}

async fn udp_socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a socket")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_known_key_of_its_own_opens_the_door_to_an_agent() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = Rules { require_key: true, quarantine_bytes: 1 << 20, ..Rules::default() };
    let pipeline = pipeline(dir.path(), rules, keys()).await;
    let socket = udp_socket().await;
    for packet in [
        with_key(1, 2001, None),
        with_key(2, 2001, Some("")),
        with_key(3, 2001, Some("a key of the proxy'")),
        with_key(4, 2002, Some(KEY)),
        with_key(5, 2001, Some(KEY)),
    ] {
        socket.send_to(&packet, pipeline.udp).await.expect("sent");
    }
    until("one message", async || pipeline.stored().await == 1).await;
    until("four refusals", async || {
        pipeline.metric("siplens_ingest_peer_refused_total{who=\"127.0.0.1\",reason=\"key\"}") == 4
    })
    .await;
    assert_eq!(pipeline.metric("siplens_ingest_agent_refused_total{who=\"2001\",reason=\"key\"}"), 3);
    assert_eq!(pipeline.metric("siplens_ingest_agent_refused_total{who=\"2002\",reason=\"key\"}"), 1);
    assert_eq!(pipeline.metric("siplens_ingest_agent_packets_total{agent_id=\"2001\"}"), 1);
    // What is refused for its key is no garbage, and not kept.
    assert!(pipeline.quarantine.newest(9).is_empty());

    // A stream with a wrong key is closed, so that its agent can tell.
    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    stream.write_all(&with_key(6, 2001, Some(KEY))).await.expect("written");
    stream.write_all(&with_key(7, 2001, Some("wrong"))).await.expect("written");
    assert_eq!(stream.read(&mut [0; 1]).await.expect("its end"), 0);
    until("two messages", async || pipeline.stored().await == 2).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_written_nowhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline =
        pipeline(dir.path(), Rules { quarantine_bytes: 1 << 20, ..Rules::default() }, keys()).await;
    let socket = udp_socket().await;
    let whole = with_key(1, 2001, Some(KEY));
    let key_at = whole.windows(KEY.len()).position(|w| w == KEY.as_bytes()).expect("the key");
    socket.send_to(&whole, pipeline.udp).await.expect("sent");
    // Garbage that holds a key.
    socket.send_to(&whole[..key_at + KEY.len()], pipeline.udp).await.expect("sent");
    until("a message", async || pipeline.stored().await == 1).await;
    until("garbage", async || !pipeline.quarantine.newest(9).is_empty()).await;
    assert!(
        !format!("{:?}", pipeline.quarantine.newest(9)).contains(&format!("{:?}", KEY.as_bytes())[1..20])
    );
    let spooled = dir.path().join("spool");
    pipeline.stop().await;
    let mut files = 0;
    for file in std::fs::read_dir(spooled).expect("the spool").map(|file| file.expect("a file").path()) {
        let octets = std::fs::read(&file).expect("readable");
        assert!(!octets.windows(KEY.len()).any(|w| w == KEY.as_bytes()), "{}", file.display());
        files += usize::from(octets.windows(7).any(|w| w == b"OPTIONS"));
    }
    assert!(files > 0, "or nothing was spooled, and this proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_networks_are_refused_on_every_way_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let networks = vec![Network::parse("127.0.0.2/31").expect("a network")];
    let pipeline = pipeline(dir.path(), Rules { networks, ..Rules::default() }, Keys::default()).await;
    for (n, (ip, allowed)) in
        [("127.0.0.1", false), ("127.0.0.2", true), ("127.0.0.3", true)].into_iter().enumerate()
    {
        let socket = UdpSocket::bind((ip, 0)).await.expect("a socket");
        socket.send_to(&packet(n), pipeline.udp).await.expect("sent");
        let stream = tokio::net::TcpSocket::new_v4().expect("a socket");
        stream.bind(format!("{ip}:0").parse().expect("an address")).expect("bound");
        let mut stream = stream.connect(pipeline.tcp).await.expect("connected");
        if allowed {
            stream.write_all(&packet(100 + n)).await.expect("written");
        } else {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed at once");
        }
    }
    until("four messages", async || pipeline.stored().await == 4).await;
    until("two refusals", async || {
        pipeline.metric("siplens_ingest_peer_refused_total{who=\"127.0.0.1\",reason=\"network\"}") == 2
    })
    .await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_rate_datagrams_are_counted_and_streams_held_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = Rules { packets_per_second: 100, ..Rules::default() };
    let pipeline = pipeline(dir.path(), rules, Keys::default()).await;
    let socket = udp_socket().await;
    for n in 0..300 {
        socket.send_to(&packet(n), pipeline.udp).await.expect("sent");
    }
    let refused = || pipeline.metric("siplens_ingest_peer_refused_total{who=\"127.0.0.1\",reason=\"rate\"}");
    let accepted = || pipeline.metric("siplens_ingest_packets_total{transport=\"udp\",result=\"accepted\"}");
    until("all of them", async || refused() + accepted() == 300).await;
    assert!((100..200).contains(&accepted()), "{} accepted", accepted());

    let mut stream = TcpStream::connect(pipeline.tcp).await.expect("connected");
    let begun = std::time::Instant::now();
    for n in 300..500 {
        stream.write_all(&packet(n)).await.expect("written");
    }
    let all = usize::try_from(accepted()).expect("few") + 200;
    until("the stream's messages", async || pipeline.stored().await == all).await;
    assert!(begun.elapsed() > Duration::from_millis(900), "200 packets took {:?}", begun.elapsed());
    assert!(pipeline.metric("siplens_ingest_tcp_held_back_total") > 0);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_kept_for_a_look_and_long_packets_are_garbage() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = Rules { packet_bytes: 1024, quarantine_bytes: 1 << 20, ..Rules::default() };
    let pipeline = pipeline(dir.path(), rules, Keys::default()).await;
    let socket = udp_socket().await;
    let mut long = packet(1);
    long.resize(1025, b' ');
    for packet in [&b"GET / HTTP/1.1"[..], &long] {
        socket.send_to(packet, pipeline.udp).await.expect("sent");
    }
    until("two in quarantine", async || pipeline.quarantine.newest(9).len() == 2).await;
    let [newest, oldest] = pipeline.quarantine.newest(2).try_into().expect("two");
    assert_eq!((newest.reason.as_str(), newest.size, newest.number), ("size", 1025, 2));
    assert_eq!((oldest.reason.as_str(), oldest.octets.as_slice()), ("malformed", &b"GET / HTTP/1.1"[..]));
    assert_eq!(oldest.peer, socket.local_addr().expect("bound"));
    pipeline.stop().await;
}
