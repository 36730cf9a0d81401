//! Streams that take places and bring nothing.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use siplens_backend::ingest::places::Places;
use siplens_backend::ingest::tcp::{self, Speaks};
use siplens_backend::ingest::{http, unix};
use siplens_backend::network::Network;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::Message;

use crate::pipeline::{Pipeline, packet, sqlite, until};

const SOON: Duration = Duration::from_secs(20);

async fn pipeline(dir: &std::path::Path) -> Pipeline {
    Pipeline::start(dir, sqlite(dir).await, 8 << 20).await
}

fn limits(most: usize, most_of_peer: usize) -> tcp::Limits {
    let places = Places::new(most, most_of_peer);
    tcp::Limits { places, opening: Duration::from_millis(300), idle: None, balancers: [].into() }
}

fn behind_a_balancer(limits: tcp::Limits) -> tcp::Limits {
    tcp::Limits { balancers: [Network::parse("127.0.0.1").expect("a network")].into(), ..limits }
}

/// Listens for a pipeline: for HTTP where `http`, else for HEP.
async fn listen(pipeline: &Pipeline, limits: tcp::Limits, http: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (admission, stop) = (pipeline.admission.clone(), pipeline.stop_token());
    let speaks = match http {
        true => Speaks::Http(http::router(admission.clone(), limits.idle, stop.clone())),
        false => Speaks::Hep,
    };
    tokio::spawn(tcp::accept(listener, speaks, limits, admission, stop));
    address
}

async fn connect(address: std::net::SocketAddr, octets: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(octets).await.expect("written");
    stream
}

/// Waits for the end of a stream, and returns what came before.
async fn ended(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let end = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("in time");
    // A reset is an end, too.
    drop(end);
    answer
}

fn refused(pipeline: &Pipeline, reason: &str) -> u64 {
    pipeline.metric(&format!("siplens_ingest_tcp_connections_refused_total{{reason=\"{reason}\"}}"))
}

/// A PROXY protocol header of a client with this IPv4 address.
fn header(ip: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(ip);
    header.extend([192, 0, 2, 99, 0x13, 0xc4, 0x23, 0x64]);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_that_bring_nothing_give_way_to_one_that_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let address = listen(&pipeline, limits(20, 20), false).await;
    let mut good = connect(address, &packet(0)).await;
    until("the first packet", async || pipeline.stored().await == 1).await;
    let mut silent = Vec::new();
    for n in 0..300 {
        // Nothing, or the beginning of a packet.
        silent.push(connect(address, if n % 2 == 0 { b"" } else { b"HEP3\xff" }).await);
        if n % 10 == 0 {
            good.write_all(&packet(1 + n / 10)).await.expect("written");
        }
    }
    let mut late = connect(address, &packet(500)).await;
    until("all packets", async || pipeline.stored().await == 32).await;
    until("all others", async || refused(&pipeline, "gave_way") == 282).await;
    for stream in silent.iter_mut().take(280) {
        assert_eq!(ended(stream).await, b"");
    }
    // Both have their places still.
    good.write_all(&packet(501)).await.expect("written");
    late.write_all(&packet(502)).await.expect("written");
    until("two more", async || pipeline.stored().await == 34).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_bounded_in_all_and_for_each_peer() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let address = listen(&pipeline, behind_a_balancer(limits(3, 2)), false).await;
    let mut kept = Vec::new();
    for (n, ip) in [[192, 0, 2, 1], [192, 0, 2, 1], [192, 0, 2, 2]].into_iter().enumerate() {
        kept.push(connect(address, &[header(ip), packet(n)].concat()).await);
    }
    until("three packets", async || pipeline.stored().await == 3).await;
    assert_eq!(ended(&mut connect(address, &[]).await).await, b"");
    until("one too many", async || refused(&pipeline, "total") == 1).await;
    drop(kept.pop());
    until("a place", async || pipeline.metric("siplens_ingest_tcp_connections ") == 2).await;
    assert_eq!(ended(&mut connect(address, &[header([192, 0, 2, 1]), packet(8)].concat()).await).await, b"");
    until("one too many of a peer", async || refused(&pipeline, "peer") == 1).await;
    let _other = connect(address, &[header([192, 0, 2, 3]), packet(9)].concat()).await;
    until("another peer's packet", async || pipeline.stored().await == 4).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_and_does_not_go_on_is_closed_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let hep = listen(&pipeline, behind_a_balancer(limits(9, 9)), false).await;
    let http = listen(&pipeline, limits(9, 9), true).await;
    // Half a PROXY header.
    assert_eq!(ended(&mut connect(hep, &header([192, 0, 2, 1])[..10]).await).await, b"");
    until("an opening that took too long", async || refused(&pipeline, "opening") == 1).await;
    // A request's head that comes by the octet, and one that never begins.
    let mut slow = connect(http, b"POST /hep HTTP/1.1\r\n").await;
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if slow.write_all(b"X").await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, drip).await.expect("closed in time");
    ended(&mut connect(http, b"").await).await;
    // A head without end.
    let mut endless = connect(http, b"GET /hep HTTP/1.1\r\nX: ").await;
    let mut sent = 0;
    while endless.write_all(&[b'x'; 4096]).await.is_ok() {
        sent += 4096;
        assert!(sent < 8 << 20, "nobody stops it");
    }
    until("three requests without a head", async || refused(&pipeline, "http_head") == 3).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_silent_for_too_long_is_closed_and_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let idle = Some(Duration::from_millis(200));
    let hep = listen(&pipeline, tcp::Limits { idle, ..limits(9, 9) }, false).await;
    ended(&mut connect(hep, &packet(1)).await).await;
    ended(&mut connect(hep, &packet(2)[..20]).await).await;
    until("both", async || (refused(&pipeline, "idle"), refused(&pipeline, "packet")) == (1, 1)).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_balancer_requests_and_websockets_are_their_senders() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let address = listen(&pipeline, behind_a_balancer(limits(9, 9)), true).await;
    let body = packet(1);
    let head = format!(
        "POST /hep HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut posted =
        connect(address, &[header([192, 0, 2, 7]), head.clone().into_bytes(), body].concat()).await;
    assert!(ended(&mut posted).await.starts_with(b"HTTP/1.1 200 "));
    let stream = connect(address, &header([192, 0, 2, 8])).await;
    let (mut socket, _) = tokio_tungstenite::client_async("ws://host/hep", stream).await.expect("a socket");
    socket.send(Message::Binary(packet(2).into())).await.expect("sent");
    until("two messages", async || pipeline.stored().await == 2).await;
    let peers = pipeline.metrics.tally.peers().0;
    for peer in ["192.0.2.7", "192.0.2.8"] {
        assert_eq!(peers[&peer.parse::<std::net::IpAddr>().expect("an address")].accepted, 1, "{peer}");
    }
    // Without the header nothing is read.
    assert_eq!(ended(&mut connect(address, head.as_bytes()).await).await, b"");
    assert_eq!(pipeline.metric("siplens_ingest_packets_total{transport=\"http\",result=\"malformed\"}"), 1);
    socket.close(None).await.expect("closed");
    while socket.next().await.is_some() {}
    until("no stream", async || pipeline.metric("siplens_ingest_tcp_connections ") == 0).await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_the_unix_socket_give_way_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let path = dir.path().join("hep.sock");
    let bound = unix::bind(&path).await.expect("bound");
    tokio::spawn(unix::accept(bound, limits(2, 1), pipeline.admission.clone(), pipeline.stop_token()));
    let _silent = [
        UnixStream::connect(&path).await.expect("connected"),
        UnixStream::connect(&path).await.expect("connected"),
    ];
    let mut good = UnixStream::connect(&path).await.expect("connected");
    good.write_all(&packet(1)).await.expect("written");
    until("a packet", async || pipeline.stored().await == 1).await;
    assert_eq!(refused(&pipeline, "gave_way"), 1);
    pipeline.stop().await;
}
