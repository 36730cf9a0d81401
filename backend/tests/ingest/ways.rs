//! Every way in: TLS, Unix socket, HTTP, WebSocket, behind a balancer, over IPv6.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use siplens_backend::ingest::keys::Keys;
use siplens_backend::ingest::places::Places;
use siplens_backend::ingest::tcp::Speaks;
use siplens_backend::ingest::tls::{Tls, TlsFiles};
use siplens_backend::ingest::{Rules, http, tcp, udp, unix};
use siplens_backend::network::Network;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::TaskTracker;

use crate::pipeline::{Pipeline, packet, sqlite, until};

/// The answer to something that must end soon.
const SOON: Duration = Duration::from_secs(20);

async fn pipeline(dir: &Path) -> Pipeline {
    Pipeline::start(dir, sqlite(dir).await, 8 << 20).await
}

fn limits(balancers: &[&str]) -> tcp::Limits {
    let balancers = balancers.iter().map(|text| Network::parse(text).expect("a network")).collect();
    tcp::Limits { places: Places::new(16, 16), opening: tcp::OPENING, idle: None, balancers }
}

fn accepted(pipeline: &Pipeline, way: &str) -> u64 {
    pipeline.metric(&format!("siplens_ingest_packets_total{{transport=\"{way}\",result=\"accepted\"}}"))
}

/// An authority, and what it vouched for.
struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(dir: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(dir.join("ca.pem"), certificate.pem()).expect("written");
        Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// Files of a certificate for this name.
    fn vouch(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).expect("written");
        std::fs::write(&files.1, key.serialize_pem()).expect("written");
        files
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A client that trusts this authority, and shows this certificate if one is given.
    fn client(&self, certificate: Option<(PathBuf, PathBuf)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// Sends packets over TLS to a server of this name, and waits for the end of the stream; whether all went well.
async fn over_tls(address: std::net::SocketAddr, client: &TlsConnector, name: &str, packets: &[u8]) -> bool {
    let sent = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut stream = client.connect(name, stream).await?;
        stream.write_all(packets).await?;
        stream.shutdown().await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await
    };
    tokio::time::timeout(SOON, sent).await.expect("in time").is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_taken_with_a_certificate_that_can_be_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path());
    let pipeline = pipeline(dir.path()).await;
    let (certificate, key) = authority.vouch("one.test");
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca: None };
    let tls = Tls::open(files).expect("usable files");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (admission, stop) = (pipeline.admission.clone(), pipeline.stop_token());
    tokio::spawn(tcp::accept(
        listener,
        Speaks::HepOverTls(tls.clone()),
        limits(&[]),
        admission,
        stop.clone(),
    ));
    tokio::spawn(tls.clone().watch(stop));

    let client = authority.client(None);
    let both: Vec<u8> = [packet(1), packet(2)].concat();
    assert!(over_tls(address, &client, "one.test", &both).await);
    assert!(!over_tls(address, &client, "two.test", &packet(3)).await);
    until("two packets over tls", async || accepted(&pipeline, "tls") == 2).await;
    // Plain TCP is not taken here.
    let mut plain = TcpStream::connect(address).await.expect("connected");
    plain.write_all(&packet(4)).await.expect("written");
    until("a failed handshake", async || pipeline.metric("siplens_ingest_tls_failed_total") >= 1).await;

    // Half a change is none: the certificate is another, the key still the old one.
    let (next_certificate, next_key) = authority.vouch("two.test");
    std::fs::copy(next_certificate, certificate).expect("copied");
    assert!(tls.reload().is_err());
    assert!(over_tls(address, &client, "one.test", &packet(5)).await);
    std::fs::copy(next_key, key).expect("copied");
    until("the new certificate", async || over_tls(address, &client, "two.test", &packet(6)).await).await;
    assert!(!over_tls(address, &client, "one.test", &packet(7)).await);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_agents_must_show_a_certificate_no_other_gets_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (authority, other) = (Authority::new(dir.path()), Authority::new(elsewhere.path()));
    let pipeline = pipeline(dir.path()).await;
    let (certificate, key) = authority.vouch("siplens.test");
    let tls =
        Tls::open(TlsFiles { certificate, key, client_ca: Some(authority.ca()) }).expect("usable files");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let stop = pipeline.stop_token();
    tokio::spawn(tcp::accept(
        listener,
        Speaks::HepOverTls(tls),
        limits(&[]),
        pipeline.admission.clone(),
        stop,
    ));
    for (certificate, lets_in) in
        [(None, false), (Some(other.vouch("agent.test")), false), (Some(authority.vouch("agent.test")), true)]
    {
        let client = authority.client(certificate);
        assert_eq!(over_tls(address, &client, "siplens.test", &packet(1)).await, lets_in);
    }
    until("one packet", async || accepted(&pipeline, "tls") == 1).await;
    until("two failures", async || pipeline.metric("siplens_ingest_tls_failed_total") == 2).await;
    pipeline.stop().await;
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path());
    let ((certificate, key), (_, foreign)) = (authority.vouch("a.test"), authority.vouch("b.test"));
    let open = |certificate: &Path, key: &Path| {
        let files = TlsFiles { certificate: certificate.into(), key: key.into(), client_ca: None };
        Tls::open(files).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(open(&certificate, &key), Ok(()));
    assert!(open(&dir.path().join("absent"), &key).unwrap_err().contains("absent"));
    assert!(open(&key, &key).unwrap_err().contains("expected a certificate"));
    assert!(open(&certificate, &certificate).is_err());
    assert!(open(&certificate, &foreign).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_takes_streams_and_is_left_behind_by_no_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hep.sock");
    let pipeline = pipeline(dir.path()).await;
    // What a run that was killed left there.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let bound = unix::bind(&path).await.expect("bound again");
    assert!(unix::bind(&path).await.is_err(), "somebody listens there");
    let stop = pipeline.stop_token();
    let accepting = tokio::spawn(unix::accept(bound, limits(&[]), pipeline.admission.clone(), stop));
    let mut stream = UnixStream::connect(&path).await.expect("connected");
    stream.write_all(&[packet(1), packet(2)].concat()).await.expect("written");
    until("two packets", async || accepted(&pipeline, "unix") == 2).await;
    pipeline.stop().await;
    accepting.await.expect("ended");
    assert!(!path.exists());
}

/// Serves `/hep` for a pipeline.
async fn http_listener(pipeline: &Pipeline, limits: tcp::Limits) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let routes = http::router(pipeline.admission.clone(), limits.idle, pipeline.stop_token());
    let (admission, stop) = (pipeline.admission.clone(), pipeline.stop_token());
    tokio::spawn(tcp::accept(listener, Speaks::Http(routes), limits, admission, stop));
    address
}

/// Status and body of the answer to a POST.
async fn post(address: std::net::SocketAddr, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!(
        "POST /hep HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    // A refused body need not be read to its end.
    let _written = stream.write_all(body).await;
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_takes_packets_and_says_what_became_of_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let address = http_listener(&pipeline, limits(&[])).await;
    let answer = post(address, &[packet(1), packet(2)].concat()).await;
    assert_eq!(answer, (200, "{\"accepted\":2,\"refused\":{}}".to_owned()));
    let answer = post(address, &[packet(3), b"and then nonsense".to_vec()].concat()).await;
    assert_eq!(answer, (400, "{\"accepted\":1,\"refused\":{\"malformed\":1}}".to_owned()));
    assert_eq!(post(address, b"").await.0, 400);
    assert_eq!(post(address, &vec![b'x'; 2 << 20]).await.0, 413);
    until("three messages", async || pipeline.stored().await == 3).await;
    assert_eq!(accepted(&pipeline, "http"), 3);

    let foreign = vec![Network::parse("192.0.2.0/24").expect("a network")];
    pipeline.admission.replace_rules(Rules { networks: foreign, ..Rules::default() });
    assert_eq!(post(address, &packet(4)).await.0, 403);
    pipeline.admission.replace_rules(Rules { require_key: true, ..Rules::default() });
    assert_eq!(post(address, &packet(5)).await, (403, "{\"accepted\":0,\"refused\":{\"key\":1}}".to_owned()));
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_never_ends_does_not_hold_up_a_stop() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let mut stream =
        TcpStream::connect(http_listener(&pipeline, limits(&[])).await).await.expect("connected");
    stream
        .write_all(b"POST /hep HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nHEP3")
        .await
        .expect("written");
    let waiting = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut [0; 1])).await;
    assert!(waiting.is_err(), "nothing is answered before the body is there");
    pipeline.stop().await;
    let mut answer = [0; 12];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_takes_packets_until_something_else_comes() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let address = http_listener(&pipeline, limits(&[])).await;
    let connect = async || {
        let url = format!("ws://{address}/hep");
        tokio_tungstenite::connect_async(url).await.expect("a websocket").0
    };
    for (last, code) in [(Message::binary(&b"nonsense"[..]), 1007u16), (Message::text("HEP3"), 1003)] {
        let mut socket = connect().await;
        for frame in [packet(1), [packet(2), packet(3)].concat()] {
            socket.send(Message::binary(frame)).await.expect("sent");
        }
        socket.send(last).await.expect("sent");
        let closed = tokio::time::timeout(SOON, async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                    Some(Ok(_)) => {}
                    _ => return None,
                }
            }
        });
        assert_eq!(closed.await.expect("in time"), Some(code));
    }
    until("six packets", async || accepted(&pipeline, "ws") == 6).await;
    // An open socket does not keep the backend from stopping.
    let _open = connect().await;
    pipeline.stop().await;
}

/// A PROXY protocol v2 header for a stream from this IPv4 address.
fn proxied(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source);
    header.extend([127, 0, 0, 1, 0x13, 0xc4, 0x23, 0x64]);
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_behind_a_balancer_is_its_senders() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules =
        Rules { networks: vec![Network::parse("192.0.2.0/24").expect("a network")], ..Rules::default() };
    let pipeline =
        Pipeline::start_with(dir.path(), sqlite(dir.path()).await, 8 << 20, rules, Keys::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (admission, stop) = (pipeline.admission.clone(), pipeline.stop_token());
    tokio::spawn(tcp::accept(listener, Speaks::Hep, limits(&["127.0.0.1"]), admission, stop));
    for header in [proxied([192, 0, 2, 7]), proxied([203, 0, 113, 9]), Vec::new()] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(&[header, packet(1)].concat()).await.expect("written");
        let _closed = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 1])).await;
    }
    until("one packet", async || accepted(&pipeline, "tcp") == 1).await;
    let (peers, _) = pipeline.metrics.tally.peers();
    let peer = |ip: &str| peers[&ip.parse::<std::net::IpAddr>().expect("an address")].clone();
    assert_eq!(peer("192.0.2.7").accepted, 1);
    assert_eq!(peer("203.0.113.9").refused["network"], 1);
    assert_eq!(peer("127.0.0.1").refused["malformed"], 1, "a balancer must say whose its streams are");
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_taken_like_ipv4() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipeline = pipeline(dir.path()).await;
    let listener = TcpListener::bind("[::1]:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let bound = udp::bind(address, 1, 1 << 20).expect("the same port");
    let (admission, stop) = (pipeline.admission.clone(), pipeline.stop_token());
    tokio::spawn(tcp::accept(listener, Speaks::Hep, limits(&[]), admission.clone(), stop.clone()));
    bound.receive(&admission, &stop, &TaskTracker::new()).expect("a thread");
    let socket = UdpSocket::bind("[::1]:0").await.expect("a socket");
    socket.send_to(&packet(1), address).await.expect("sent");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(&packet(2)).await.expect("written");
    until("two messages", async || pipeline.stored().await == 2).await;
    assert!(pipeline.metrics.tally.peers().0.contains_key(&"::".parse::<std::net::IpAddr>().expect("::/64")));
    pipeline.stop().await;
}
