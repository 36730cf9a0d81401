//! A simulated host drives agents and sender; collectors are real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "tests and their helpers stop at what is unexpected")]

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capture::{
    Agent, Config, Event, Layout, Limits, Message, Offer, Refusal, Sender, Settings, Shared, Stats,
    Timestamp, Transport,
};
use hep::framing::{Frame, frame};

/// Memory, processes (threads stand for them) and, once started, a sender.
struct Host {
    shared: Shared,
    config: Config,
    running: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    events: Option<Receiver<Event>>,
}

impl Host {
    fn new(processes: usize, ring_kib: u32) -> Self {
        let layout = Layout::new(processes, ring_kib);
        let words = (0..layout.words().unwrap()).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak();
        Self {
            shared: Shared::new(words, layout, true).unwrap(),
            config: Config::check(Settings { hep_capture_id: 7, ..Settings::default() }).unwrap(),
            running: Arc::new(AtomicBool::new(true)),
            sender: None,
            events: None,
        }
    }

    fn agent(&self, process: usize) -> Agent {
        Agent::new(self.shared, process, &self.config).unwrap()
    }

    fn start_sender(&mut self, limits: Limits) {
        let (events, incoming) = sync_channel(64);
        let (shared, running) = (self.shared, Arc::clone(&self.running));
        self.events = Some(incoming);
        self.sender = Some(std::thread::spawn(move || {
            let mut sender = Sender::new(shared, limits, events);
            while running.load(Ordering::Relaxed) {
                if sender.turn() == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }));
    }

    fn wait(&self, what: &str, done: impl Fn(&Stats) -> bool) -> Stats {
        let start = Instant::now();
        loop {
            let stats = self.shared.stats();
            assert_eq!(
                stats.offered,
                stats.filtered + stats.dropped.total() + stats.sent + stats.in_queue,
                "{stats:?}"
            );
            if done(&stats) {
                return stats;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {stats:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            sender.join().unwrap();
        }
    }
}

/// Quick enough for a test; the pauses are arguments, not what is tested.
fn quick() -> Limits {
    Limits {
        retry_least: Duration::from_millis(5),
        retry_most: Duration::from_millis(20),
        write: Duration::from_millis(20),
        ..Limits::default()
    }
}

fn message(raw: &[u8]) -> Message<'_> {
    Message {
        raw,
        source: Some("[::1]:5070".parse().unwrap()),
        destination: Some("127.0.0.1:5060".parse().unwrap()),
        transport: Transport::Wss,
        captured_at: Timestamp { seconds: 1_700_000_000, microseconds: 42 },
        inner_call_id: None,
    }
}

fn raw(number: u64) -> Vec<u8> {
    format!("OPTIONS sip:a@b SIP/2.0\r\nCall-ID: {number}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn offer(agent: &mut Agent, collector: &str, raw: &[u8]) -> Result<(), Refusal> {
    agent.offer(&Offer {
        message: message(raw),
        collector: Some(collector.as_bytes()),
        correlation: None,
        template: None,
    })
}

/// A collector that keeps the Call-IDs it was sent, from as many connections as are made.
struct TcpCollector {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u64>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl TcpCollector {
    fn listen(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let collector =
            Self { address: listener.local_addr().unwrap(), seen: Arc::default(), open: Arc::default() };
        let (seen, open) = (Arc::clone(&collector.seen), Arc::clone(&collector.open));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || read_packets(stream, &seen));
            }
        });
        collector
    }

    fn uri(&self) -> String {
        format!("tcp:{}", self.address)
    }

    fn hang_up(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }

    fn seen(&self) -> Vec<u64> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen
    }
}

fn read_packets(mut stream: TcpStream, seen: &Mutex<Vec<u64>>) {
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

#[test]
fn a_message_arrives_with_its_addresses_time_and_transport() {
    let mut host = Host::new(1, 128);
    host.config = Config::check(Settings {
        hep_capture_id: 2001,
        agent_name: "edge-1".to_owned(),
        auth_key: "key".to_owned(),
        ..Settings::default()
    })
    .unwrap();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    host.start_sender(quick());
    let raw = raw(1);
    let uri = format!("sip:{}", collector.local_addr().unwrap());
    host.agent(0)
        .offer(&Offer {
            message: message(&raw),
            collector: Some(uri.as_bytes()),
            correlation: Some(b"session"),
            template: None,
        })
        .unwrap();

    let mut bytes = [0; 2048];
    let len = collector.recv(&mut bytes).unwrap();
    let packet = hep::decode(&bytes[..len]).unwrap();
    assert_eq!(packet.src_ip, Some("::1".parse().unwrap()));
    assert_eq!(packet.dst_ip, Some("127.0.0.1".parse().unwrap()));
    assert_eq!((packet.src_port, packet.dst_port), (Some(5070), Some(5060)));
    assert_eq!((packet.ip_family, packet.ip_protocol), (Some(10), Some(22)));
    assert_eq!(packet.transport, Some(Transport::Wss));
    assert_eq!(packet.time, Some(Timestamp { seconds: 1_700_000_000, microseconds: 42 }));
    assert_eq!((packet.protocol_type, packet.agent_id), (Some(1), Some(2001)));
    assert_eq!(packet.correlation_id, Some(&b"session"[..]));
    assert_eq!((packet.agent_name, packet.auth_key), (Some(&b"edge-1"[..]), Some(&b"key"[..])));
    assert_eq!(packet.payload, hep::Payload::Plain(&raw));
}

#[test]
fn many_processes_at_once_lose_nothing_and_the_counters_add_up() {
    let mut host = Host::new(4, 1024);
    let collector = TcpCollector::listen("127.0.0.1:0".parse().unwrap());
    host.start_sender(quick());
    let each = 5_000;
    let uri = collector.uri();
    std::thread::scope(|scope| {
        for process in 0..4u64 {
            let mut agent = host.agent(process as usize);
            let uri = &uri;
            scope.spawn(move || {
                for number in 0..each {
                    offer(&mut agent, uri, &raw(process * each + number)).unwrap();
                    if number % 64 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    });
    let stats = host.wait("all sent", |stats| stats.sent == 4 * each);
    assert_eq!((stats.offered, stats.in_queue, stats.dropped.total()), (4 * each, 0, 0));
    host.wait("all received", |_| collector.seen().len() as u64 == 4 * each);
    assert_eq!(collector.seen(), (0..4 * each).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_drops_and_counts_and_nothing_else_suffers() {
    let host = Host::new(2, 1);
    let (mut busy, mut quiet) = (host.agent(0), host.agent(1));
    for number in 0..100 {
        offer(&mut busy, "udp:127.0.0.1:9", &raw(number)).unwrap();
    }
    offer(&mut quiet, "udp:127.0.0.1:9", &raw(100)).unwrap();
    let stats = host.wait("counted", |_| true);
    assert_eq!(stats.offered, 101);
    assert!(stats.dropped.ring_full > 80, "{stats:?}");
    assert_eq!(stats.in_queue, 101 - stats.dropped.ring_full);
}

#[test]
fn the_switch_acts_on_the_next_message() {
    let host = Host::new(1, 128);
    let mut agent = host.agent(0);
    host.shared.set_enabled(false);
    offer(&mut agent, "udp:127.0.0.1:9", &raw(1)).unwrap();
    host.shared.set_enabled(true);
    offer(&mut agent, "udp:127.0.0.1:9", &raw(2)).unwrap();
    offer(&mut agent, "udp:127.0.0.1:9", b"\r\n\r\n").unwrap();
    let stats = host.wait("counted", |_| true);
    assert_eq!((stats.offered, stats.filtered, stats.in_queue), (3, 2, 1));
}

#[test]
fn what_cannot_be_followed_is_refused_and_counted() {
    let host = Host::new(1, 128);
    let mut agent = host.agent(0);
    let text = raw(1);
    assert!(matches!(offer(&mut agent, "garbage", &text), Err(Refusal::BadCollector(_))));
    let nowhere = Offer { message: message(&text), collector: None, correlation: None, template: None };
    assert_eq!(agent.offer(&nowhere), Err(Refusal::NoCollector));
    for port in 1..=16 {
        offer(&mut agent, &format!("udp:127.0.0.1:{port}"), &text).unwrap();
    }
    assert_eq!(offer(&mut agent, "udp:127.0.0.1:17", &text), Err(Refusal::TooManyCollectors));
    let stats = host.wait("counted", |_| true);
    assert_eq!((stats.offered, stats.dropped.refused, stats.in_queue), (19, 3, 16));
    assert!(Agent::new(host.shared, 1, &host.config).is_none(), "a process without a queue gets no agent");
}

#[test]
fn an_oversized_message_is_cut_and_counted() {
    let mut host = Host::new(1, 1024);
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    host.start_sender(quick());
    let mut raw = raw(1);
    raw.resize(200_000, b'x');
    let mut agent = host.agent(0);
    let session = vec![b's'; 5000];
    let uri = format!("udp:{}", collector.local_addr().unwrap());
    agent
        .offer(&Offer {
            message: message(&raw),
            collector: Some(uri.as_bytes()),
            correlation: Some(&session),
            template: None,
        })
        .unwrap();
    let mut bytes = vec![0; 65_536];
    let len = collector.recv(&mut bytes).unwrap();
    let packet = hep::decode(&bytes[..len]).unwrap();
    let hep::Payload::Plain(payload) = packet.payload else { panic!("payload") };
    assert!(payload.len() > 60_000 && raw.starts_with(payload), "{}", payload.len());
    assert_eq!(packet.correlation_id.map(<[u8]>::len), Some(capture::MAX_CORRELATION_BYTES));
    assert_eq!(host.wait("sent", |stats| stats.sent == 1).truncated, 1);
}

#[test]
fn a_collector_that_refuses_gets_everything_once_it_is_there() {
    let mut host = Host::new(1, 128);
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    host.start_sender(quick());
    let mut agent = host.agent(0);
    for number in 0..50 {
        offer(&mut agent, &format!("tcp:{address}"), &raw(number)).unwrap();
    }
    let down =
        host.wait("noticed", |stats| stats.collectors.first().is_some_and(|c| c.link.name() == "down"));
    assert_eq!((down.sent, down.in_queue), (0, 50));
    let collector = TcpCollector::listen(address);
    host.wait("delivered", |stats| stats.sent == 50 && collector.seen().len() == 50);
    let said: Vec<String> = host.events.as_ref().unwrap().try_iter().map(|event| event.text).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].ends_with("connection refused; trying again"), "{said:?}");
    assert!(said[1].ends_with("ready"), "{said:?}");
}

#[test]
fn a_collector_that_hangs_up_between_messages_costs_none() {
    let mut host = Host::new(1, 128);
    let collector = TcpCollector::listen("127.0.0.1:0".parse().unwrap());
    host.start_sender(quick());
    let mut agent = host.agent(0);
    for round in 0..5 {
        offer(&mut agent, &collector.uri(), &raw(round)).unwrap();
        host.wait("received", |_| collector.seen().len() as u64 == round + 1);
        collector.hang_up();
    }
    let stats = host.wait("counted", |stats| stats.sent == 5);
    assert!(stats.collectors[0].connects >= 5, "{stats:?}");
}

#[test]
fn a_collector_that_never_reads_fills_its_own_backlog_only() {
    let mut host = Host::new(1, 4096);
    let stuck = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = TcpCollector::listen("127.0.0.1:0".parse().unwrap());
    host.start_sender(Limits { backlog_bytes: 1 << 20, ..quick() });
    let mut agent = host.agent(0);
    let mut big = raw(0);
    big.resize(8_000, b'x');
    let stuck_uri = format!("tcp:{}", stuck.local_addr().unwrap());
    for number in 0..3_000 {
        offer(&mut agent, &stuck_uri, &big).unwrap();
        offer(&mut agent, &collector.uri(), &raw(number)).unwrap();
        if number % 100 == 0 {
            // Both rings would fill if the sender had no chance to run.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let queued = host.wait("drained", |stats| {
        stats.dropped.backlog_full > 0 && stats.collectors[1].sent + stats.dropped.ring_full >= 2_900
    });
    assert!(queued.collectors[0].sent < 3_000, "{queued:?}");
    assert_eq!(queued.collectors[1].backlog_full, 0, "{queued:?}");
}

#[test]
fn a_slow_collector_gets_whole_packets_in_order() {
    let mut host = Host::new(1, 1024);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    host.start_sender(quick());
    let mut agent = host.agent(0);
    let uri = format!("tcp:{}", listener.local_addr().unwrap());
    let total = 2_000;
    let reading = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let mut next = 0u64;
        let mut chunk = [0; 700];
        while next < total {
            let read = stream.read(&mut chunk).unwrap();
            assert!(read > 0);
            bytes.extend_from_slice(&chunk[..read]);
            while let Frame::Complete(len) = frame(&bytes).unwrap() {
                let packet = hep::decode(&bytes[..len]).unwrap();
                assert_eq!(packet.correlation_id, Some(next.to_string().as_bytes()));
                next += 1;
                bytes.drain(..len);
            }
            if next.is_multiple_of(50) {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
    });
    for number in 0..total {
        offer(&mut agent, &uri, &raw(number)).unwrap();
        if number % 500 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    reading.join().unwrap();
    assert_eq!(host.wait("sent", |stats| stats.sent == total).dropped.total(), 0);
}

#[test]
fn a_name_that_does_not_resolve_keeps_messages_and_says_so_once() {
    let mut host = Host::new(1, 128);
    host.start_sender(quick());
    let mut agent = host.agent(0);
    offer(&mut agent, "udp:no-such-host.invalid:9060", &raw(1)).unwrap();
    let stats = host.wait("tried", |stats| stats.collectors.first().is_some_and(|c| c.link.name() == "down"));
    assert_eq!((stats.in_queue, stats.dropped.total()), (1, 0));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(host.events.as_ref().unwrap().try_iter().count(), 1);
}

#[test]
fn a_udp_collector_that_is_not_there_never_holds_up_the_sender() {
    let mut host = Host::new(1, 1024);
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    host.start_sender(quick());
    let mut agent = host.agent(0);
    for number in 0..1_000 {
        offer(&mut agent, &format!("udp:{address}"), &raw(number)).unwrap();
    }
    let stats = host.wait("done with", |stats| stats.in_queue == 0);
    assert_eq!(stats.sent + stats.dropped.send_failed, 1_000, "{stats:?}");
    assert!(stats.collectors[0].refusals > 0, "{stats:?}");
}
