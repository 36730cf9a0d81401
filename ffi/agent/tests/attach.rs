//! A simulated proxy hands its queues to the real program; collectors are real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "tests and their helpers stop at what is unexpected")]

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::{Host, Keeper, Listener, Settings};
use capture::{Agent, Config, Layout, Level, Message, Offer, Shared, Stats, Transport};

/// The keeper in a thread, and what it said.
struct Proxy {
    shared: Shared,
    config: Config,
    socket: PathBuf,
    said: Arc<Mutex<Vec<String>>>,
    ending: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

struct Log(Arc<Mutex<Vec<String>>>);

impl Host for Log {
    fn log(&self, _: Level, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn start(&self, _: Shared, _: &Settings) -> io::Result<boundary::Child> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Proxy {
    fn start(name: &str, ring_kib: u32) -> Self {
        let socket = std::env::temp_dir().join(format!("siplens-{name}-{}.sock", std::process::id()));
        let config = Config::check(capture::Settings::default()).unwrap();
        let layout = Layout::new(2, ring_kib);
        let (words, file) = boundary::map_shareable(layout.words().unwrap()).unwrap();
        let shared = Shared::new(words, layout, true).unwrap();
        let listener = Listener::bind(&socket, file).unwrap();
        let (said, ending) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (log, end, settings) = (Log(Arc::clone(&said)), Arc::clone(&ending), Settings::of(&config));
        let keeper = std::thread::spawn(move || {
            let mut keeper = Keeper::new(shared, settings, Some(listener));
            while !end.load(Ordering::Relaxed) {
                keeper.turn(&log);
            }
        });
        Self { shared, config, socket, said, ending, keeper: Some(keeper) }
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
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {stats:?} {:?}", self.said);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The program; killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(proxy: &Proxy) -> Self {
        let program = env!("CARGO_BIN_EXE_siplens-agent");
        let mut command = Command::new(program);
        Self(command.arg("--socket").arg(&proxy.socket).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn offer(agent: &mut Agent, collector: &str, number: u64) {
    let raw = format!("OPTIONS sip:a@b SIP/2.0\r\nCall-ID: {number}\r\nContent-Length: 0\r\n\r\n");
    let message = Message {
        raw: raw.as_bytes(),
        source: Some("127.0.0.1:5070".parse().unwrap()),
        destination: Some("127.0.0.1:5060".parse().unwrap()),
        transport: Transport::Udp,
        captured_at: capture::now(),
        inner_call_id: None,
    };
    let offer = Offer { message, collector: Some(collector.as_bytes()), correlation: None, template: None };
    agent.offer(&offer).unwrap();
}

/// Counts the octets of everything that comes over TCP.
fn sink() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let octets = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&octets);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut room = [0; 65_536];
                while let Ok(read @ 1..) = stream.read(&mut room) {
                    counted.fetch_add(read as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (address, octets)
}

#[test]
fn killed_again_and_again_under_load_each_message_is_in_one_counter() {
    let proxy = Proxy::start("killed", 1024);
    let (address, _) = sink();
    let collector = format!("tcp:{address}");
    let done = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|process| {
            let (done, collector) = (Arc::clone(&done), collector.clone());
            let mut agent = Agent::new(proxy.shared, process, &proxy.config).unwrap();
            std::thread::spawn(move || {
                let mut offered = 0;
                while !done.load(Ordering::Relaxed) {
                    offer(&mut agent, &collector, offered);
                    offered += 1;
                    if offered % 64 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                offered
            })
        })
        .collect();
    for starts in 1..=12 {
        let daemon = Daemon::start(&proxy);
        let before = proxy.shared.stats().sent;
        proxy.wait("the next to send", |stats| stats.sender_starts == starts && stats.sent > before + 500);
        drop(daemon);
        proxy.wait("its end to be seen", |stats| stats.sender_pid == 0);
    }
    done.store(true, Ordering::Relaxed);
    let offered: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    let _last = Daemon::start(&proxy);
    let stats = proxy.wait("empty queues", |stats| stats.in_queue == 0);
    assert_eq!(stats.offered, offered);
    assert_eq!(stats.queue_damages, 0);
    let lost = stats.collectors[0].sender_lost;
    // A record that was between queue and collector when the end came belongs to neither.
    assert!(stats.dropped.sender_lost - lost <= 12, "{stats:?}");
}

#[test]
fn what_a_daemon_had_for_a_collector_that_is_away_is_counted_when_it_is_killed() {
    let proxy = Proxy::start("away", 1024);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut agent = Agent::new(proxy.shared, 0, &proxy.config).unwrap();
    let daemon = Daemon::start(&proxy);
    for number in 0..1000 {
        offer(&mut agent, &format!("tcp:{nobody}"), number);
    }
    proxy.wait("all to be taken", |stats| stats.collectors.first().is_some_and(|c| c.backlog == 1000));
    assert_eq!(proxy.shared.stats().in_queue, 1000);
    drop(daemon);
    let stats = proxy.wait("the loss to be booked", |stats| stats.dropped.sender_lost > 0);
    assert_eq!((stats.dropped.sender_lost, stats.in_queue), (1000, 0));
    assert_eq!((stats.collectors[0].sender_lost, stats.collectors[0].backlog), (1000, 0));
    let said = proxy.said.lock().unwrap().join("\n");
    assert!(said.contains("1000 messages that it had are lost"), "{said}");
}

#[test]
fn when_the_proxy_has_gone_what_waits_is_sent_and_a_new_proxy_is_found() {
    let mut proxy = Proxy::start("gone", 1024);
    let (address, octets) = sink();
    let mut agent = Agent::new(proxy.shared, 0, &proxy.config).unwrap();
    let daemon = Daemon::start(&proxy);
    proxy.wait("the daemon", |stats| stats.sender_pid == u64::from(daemon.0.id()));
    for number in 0..1000 {
        offer(&mut agent, &format!("tcp:{address}"), number);
    }
    proxy.end();
    // The memory is still mapped here, as it is in processes of a proxy that end later than others.
    for number in 0..10 {
        offer(&mut agent, &format!("tcp:{address}"), number);
    }
    let stats = proxy.wait("the rest to be sent", |stats| stats.sent == 1010);
    // Sent is what the kernel took; its reader comes after.
    proxy.wait("all octets", |_| octets.load(Ordering::Relaxed) >= stats.sent_bytes);
    assert_eq!(octets.load(Ordering::Relaxed), stats.sent_bytes);

    let socket = proxy.socket.clone();
    let next = Proxy::start("gone", 1024);
    assert_eq!(next.socket, socket);
    next.wait("the same daemon", |stats| stats.sender_pid == u64::from(daemon.0.id()));
}
