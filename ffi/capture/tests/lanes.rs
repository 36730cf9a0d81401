//! Several collectors, mirrors, and TLS: a sender and real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "tests and their helpers stop at what is unexpected")]

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capture::{
    Agent, Config, Event, Layout, Limits, Message, Offer, Sender, Settings, Shared, Stats, Timestamp, Tls,
    Transport,
};
use hep::framing::{Frame, frame};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// One worker and a sender.
struct Host {
    shared: Shared,
    agent: Agent,
    running: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    events: Receiver<Event>,
    offered: u64,
}

impl Host {
    fn start(tls: Tls, mirror: Option<&str>) -> Self {
        let layout = Layout::new(1, 1024);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        let shared = Shared::new(words, layout, true).unwrap();
        if let Some(mirror) = mirror {
            shared.announce_mirror(mirror.as_bytes());
        }
        let limits = Limits {
            retry_least: Duration::from_millis(5),
            retry_most: Duration::from_millis(20),
            write: Duration::from_millis(50),
            prefer: Duration::from_millis(50),
            ..Limits::default()
        };
        let (said, events) = sync_channel(64);
        let running = Arc::new(AtomicBool::new(true));
        let go_on = Arc::clone(&running);
        let sender = std::thread::spawn(move || {
            let mut sender = Sender::new(shared, limits, said).with_tls(tls);
            while go_on.load(Ordering::Relaxed) {
                if sender.turn() == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        let agent = Agent::new(shared, 0, &Config::check(Settings::default()).unwrap()).unwrap();
        Self { shared, agent, running, sender: Some(sender), events, offered: 0 }
    }

    /// Offers so many more; their Call-IDs are the numbers from 0 on.
    fn offer(&mut self, collector: &str, count: u64) {
        for _ in 0..count {
            let number = self.offered;
            let raw = format!("OPTIONS sip:a@b SIP/2.0\r\nCall-ID: {number}\r\n\r\n");
            let message = Message {
                raw: raw.as_bytes(),
                source: None,
                destination: None,
                transport: Transport::Udp,
                captured_at: Timestamp { seconds: 1_700_000_000, microseconds: 0 },
                inner_call_id: None,
            };
            let offer =
                Offer { message, collector: Some(collector.as_bytes()), correlation: None, template: None };
            self.agent.offer(&offer).unwrap();
            self.offered += 1;
        }
    }

    fn wait(&self, what: &str, done: impl Fn(&Stats) -> bool) -> Stats {
        let start = Instant::now();
        loop {
            let stats = self.shared.stats();
            let accounted = stats.filtered + stats.dropped.total() + stats.sent + stats.in_queue;
            assert_eq!(stats.offered, accounted, "{stats:?}");
            if done(&stats) {
                return stats;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {stats:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line of the log that contains the text.
    fn said(&self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).expect(text);
            if event.text.contains(text) {
                return event.text;
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        self.sender.take().unwrap().join().unwrap();
    }
}

/// A collector that can go away and come back at the same address.
struct Collector {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    seen: Arc<Mutex<Vec<u64>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Collector {
    fn away(tls: Option<Arc<ServerConfig>>) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { address, tls, seen: Arc::default(), open: Arc::default(), listening: None }
    }

    fn there(tls: Option<Arc<ServerConfig>>) -> Self {
        let mut collector = Self::away(tls);
        collector.come();
        collector
    }

    fn come(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let go_on = Arc::new(AtomicBool::new(true));
        let (tls, seen, open) = (self.tls.clone(), Arc::clone(&self.seen), Arc::clone(&self.open));
        let listening = Arc::clone(&go_on);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !listening.load(Ordering::Relaxed) {
                    return;
                }
                let stream = stream.unwrap();
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let (tls, seen) = (tls.clone(), Arc::clone(&seen));
                std::thread::spawn(move || match tls {
                    None => read_packets(stream, &seen),
                    Some(tls) => {
                        read_packets(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &seen);
                    }
                });
            }
        });
        self.listening = Some((go_on, thread));
    }

    fn go(&mut self) {
        let (go_on, thread) = self.listening.take().unwrap();
        go_on.store(false, Ordering::Relaxed);
        TcpStream::connect(self.address).unwrap();
        thread.join().unwrap();
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn seen(&self) -> Vec<u64> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen
    }
}

fn read_packets(mut stream: impl Read, seen: &Mutex<Vec<u64>>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..read]);
        while let Frame::Complete(len) = frame(&bytes).expect("a stream of whole packets") {
            let packet = hep::decode(&bytes[..len]).unwrap();
            let id = std::str::from_utf8(packet.correlation_id.unwrap()).unwrap().parse().unwrap();
            seen.lock().unwrap().push(id);
            bytes.drain(..len);
        }
    }
}

/// A certificate authority and what it has signed, in a folder of its own.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A collector with a certificate for this name; if asked, one that wants to see ours.
    fn server(&self, name: &str, wants_client: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    /// Files with a certificate and its key.
    fn identity(&self) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["proxy.test".to_owned()]).unwrap();
        let (cert, key_file) = (self.folder.join("cert.pem"), self.folder.join("key.pem"));
        std::fs::write(&cert, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert, key_file)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn the_second_collector_gets_what_the_first_cannot_take_until_it_is_back() {
    let mut first = Collector::away(None);
    let second = Collector::there(None);
    let mut host = Host::start(Tls::default(), None);
    let uri = format!("tcp:{},tcp:{}", first.address, second.address);

    host.offer(&uri, 100);
    let stats = host.wait("sent to the second", |stats| stats.sent == 100);
    assert_eq!((stats.collectors.len(), stats.collectors[0].active), (1, 1), "{stats:?}");
    host.wait("received by the second", |_| second.seen() == all(100));

    first.come();
    let back = host.wait("back at the first", |stats| stats.collectors[0].active == 0);
    assert_eq!(back.collectors[0].link.name(), "up");
    host.offer(&uri, 50);
    host.wait("received by the first", |_| first.seen() == (100..150).collect::<Vec<_>>());

    first.go();
    host.wait("the second took over", |stats| stats.collectors[0].active == 1);
    host.offer(&uri, 25);
    let stats = host.wait("all sent", |stats| stats.sent == 175);
    host.wait("received by the second again", |_| second.seen().len() == 125);
    assert_eq!((stats.offered, stats.in_queue, stats.dropped.total()), (175, 0, 0));
    let mut both = [first.seen(), second.seen()].concat();
    both.sort_unstable();
    assert_eq!(both, all(175), "each message once");
}

#[test]
fn each_change_of_collector_is_said_once() {
    let first = Collector::away(None);
    let second = Collector::there(None);
    let mut host = Host::start(Tls::default(), None);
    host.offer(&format!("tcp:{},tcp:{}", first.address, second.address), 1);
    let lost = host.said(&first.address.to_string());
    assert!(lost.ends_with("connection refused; trying again"), "{lost}");
    assert_eq!(host.said("ready"), format!("collector tcp:{}: ready", second.address));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(host.events.try_iter().count(), 0, "further attempts are not said");
}

#[test]
fn when_none_is_there_messages_wait_for_the_one_that_comes() {
    let first = Collector::away(None);
    let mut second = Collector::away(None);
    let mut host = Host::start(Tls::default(), None);
    host.offer(&format!("tcp:{},tcp:{}", first.address, second.address), 20);
    let stats = host.wait("both tried", |stats| {
        stats.collectors.first().is_some_and(|collector| collector.link.name() == "down")
    });
    assert_eq!((stats.sent, stats.in_queue), (0, 20));
    second.come();
    host.wait("received", |stats| stats.sent == 20 && second.seen() == all(20));
}

#[test]
fn a_mirror_gets_a_copy_of_everything_and_its_trouble_is_not_the_collectors() {
    let collector = Collector::there(None);
    let mut mirror = Collector::away(None);
    let mut host = Host::start(Tls::default(), Some(&format!("tcp:{}", mirror.address)));
    let uri = format!("tcp:{}", collector.address);
    host.offer(&uri, 60);
    let stats = host.wait("sent without the mirror", |stats| stats.sent == 60 && stats.in_queue == 0);
    assert_eq!((stats.collectors[0].mirror, stats.collectors[1].mirror), (true, false), "{stats:?}");
    assert_eq!(stats.collectors[0].uri, format!("tcp:{}", mirror.address), "shown as it was written");

    mirror.come();
    let stats = host.wait("copies sent", |stats| stats.collectors[0].sent == 60);
    host.wait("copies received", |_| mirror.seen() == all(60) && collector.seen() == all(60));
    assert_eq!((stats.offered, stats.sent, stats.dropped.total()), (60, 60, 0), "copies are not in the sums");
}

#[test]
fn messages_arrive_over_tls_also_after_the_collector_was_away() {
    let authority = Authority::new("away");
    let mut collector = Collector::there(Some(authority.server("localhost", false)));
    let tls = Tls { ca: authority.ca(), ..Tls::default() };
    tls.check().unwrap();
    let mut host = Host::start(tls, None);
    let uri = format!("tls:localhost:{}", collector.address.port());

    host.offer(&uri, 1_000);
    host.wait("received", |stats| stats.sent == 1_000 && collector.seen() == all(1_000));
    collector.go();
    host.wait("noticed", |stats| stats.collectors[0].link.name() == "down");
    host.offer(&uri, 500);
    collector.come();
    let stats = host.wait("received after it was back", |_| collector.seen() == all(1_500));
    assert_eq!(stats.dropped.total(), 0);
    assert!(stats.collectors[0].connects >= 2, "{stats:?}");
}

#[test]
fn a_collector_that_another_authority_vouches_for_gets_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let collector = Collector::there(Some(theirs.server("localhost", false)));
    let mut host = Host::start(Tls { ca: ours.ca(), ..Tls::default() }, None);
    host.offer(&format!("tls:localhost:{}", collector.address.port()), 5);
    let said = host.said("trying again");
    assert!(said.contains("invalid peer certificate: UnknownIssuer"), "{said}");
    let stats = host.wait("kept", |stats| stats.in_queue == 5);
    assert_eq!((stats.sent, collector.seen()), (0, vec![]));
}

#[test]
fn a_collector_of_another_name_gets_nothing_unless_that_name_is_the_one_expected() {
    let authority = Authority::new("name");
    let collector = Collector::there(Some(authority.server("collector.test", false)));
    let uri = format!("tls:localhost:{}", collector.address.port());
    let mut host = Host::start(Tls { ca: authority.ca(), ..Tls::default() }, None);
    host.offer(&uri, 5);
    let said = host.said("trying again");
    assert!(said.contains("certificate not valid for name \"localhost\""), "{said}");
    assert_eq!((host.shared.stats().sent, collector.seen()), (0, vec![]));

    let server_name = Some("collector.test".to_owned());
    let mut host = Host::start(Tls { ca: authority.ca(), server_name, ..Tls::default() }, None);
    host.offer(&uri, 5);
    host.wait("received", |stats| stats.sent == 5 && collector.seen() == all(5));
}

#[test]
fn a_collector_that_wants_to_know_us_is_shown_our_certificate() {
    let authority = Authority::new("client");
    let collector = Collector::there(Some(authority.server("localhost", true)));
    let uri = format!("tls:localhost:{}", collector.address.port());
    let tls = Tls { ca: authority.ca(), identity: Some(authority.identity()), ..Tls::default() };
    tls.check().unwrap();
    let mut host = Host::start(tls, None);
    host.offer(&uri, 5);
    host.wait("received", |stats| stats.sent == 5 && collector.seen() == all(5));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("files");
    let missing = Tls { ca: authority.folder.join("missing.pem"), ..Tls::default() };
    assert!(missing.check().unwrap_err().to_string().contains("missing.pem: No such file"));
    let empty = authority.folder.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let refused = Tls { ca: empty, ..Tls::default() }.check().unwrap_err();
    assert!(refused.to_string().ends_with("empty.pem: no certificate in it"), "{refused}");
    let (cert, _key) = authority.identity();
    let swapped = Tls { ca: authority.ca(), identity: Some((cert.clone(), cert)), ..Tls::default() };
    assert!(swapped.check().unwrap_err().to_string().contains("cert.pem: "));
    let name = Tls { ca: authority.ca(), server_name: Some("a b".to_owned()), ..Tls::default() };
    assert!(name.check().unwrap_err().to_string().contains("neither a name nor an address"));
}

#[test]
fn a_collector_that_never_stops_talking_nonsense_gets_everything_once_and_is_not_listened_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, said) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let (reading, talking) = (Arc::clone(&seen), Arc::clone(&said));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut mouth = stream.try_clone().unwrap();
            let talking = Arc::clone(&talking);
            std::thread::spawn(move || {
                while std::io::Write::write_all(&mut mouth, &[b'H'; 65_536]).is_ok() {
                    talking.fetch_add(65_536, Ordering::Relaxed);
                }
            });
            read_packets(stream, &reading);
        }
    });
    let mut host = Host::start(Tls::default(), None);
    let uri = format!("tcp:{address}");
    for turn in 1..=100 {
        host.offer(&uri, 20);
        host.wait("sent", |stats| stats.sent == 20 * turn);
    }
    let stats = host.wait("received", |_| seen.lock().unwrap().len() == 2000);
    assert_eq!(*seen.lock().unwrap(), all(2000));
    assert_eq!((stats.acknowledged, stats.sent_again, stats.dropped.total()), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.collectors[0].connects, 1, "{stats:?}");
    assert!(said.load(Ordering::Relaxed) > 1 << 20, "it was read, and thrown away");
}
