//! What ingest costs, and how fast it is.
//!
//! - `admit PACKETS [none|keys|discard|mask|duplicates|sampling]` offers so many packets to the door, as many at once as a
//!   read of a stream brings, for a tool that counts instructions: what two numbers of packets differ by, divided.
//!   `read PACKETS` reads them from the spool again, too, and `fields PACKETS` also reads HEP and SIP of each.
//! - `udp THREADS SENDERS RATE SECONDS` and `tcp STREAMS RATE SECONDS` send packets over the loopback interface at a rate per
//!   second in all, or as fast as they can (`max`), through the spool, and read them as `fields` does. They say what came, what
//!   was lost, and the processor time of all threads but the senders'.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use siplens_backend::call::event::EventPaths;
use siplens_backend::decode::decode;
use siplens_backend::ingest::content::{ContentRules, Discard, MaskRule};
use siplens_backend::ingest::keys::{Keys, KnownKey};
use siplens_backend::ingest::places::Places;
use siplens_backend::ingest::{Admission, Arrival, Rules, Way, tcp, udp};
use siplens_backend::spool::{Record, Spool, SpoolConfig, SpoolReader, SpoolWriter};
use siplens_backend::store::slice::Item;
use siplens_backend::telemetry::Metrics;
use siplens_backend::tenant::Tenants;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Failure = Box<dyn std::error::Error>;

/// Packets of a read of a stream: 64 KiB.
const AT_ONCE: usize = 80;

/// How long what was sent may take to arrive.
const ON_THE_WAY: Duration = Duration::from_secs(20);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rate = |text: &str| match text {
        "max" => Ok(None),
        rate => rate.parse().map(Some),
    };
    match *words.as_slice() {
        ["admit", packets] => admit(packets.parse()?, "none"),
        ["admit", packets, rules] => admit(packets.parse()?, rules),
        ["read", packets] => read_again(packets.parse()?, drop),
        ["fields", packets] => read_again(packets.parse()?, |record| fields(&record)),
        ["udp", threads, senders, per_second, seconds] => {
            let ingest = Ingest::new("none")?;
            let bound = udp::bind("127.0.0.1:0".parse()?, threads.parse()?, 8 << 20)?;
            let to = bound.local_addr()?;
            ingest.metrics.udp_sockets(bound.inodes());
            bound.receive(&ingest.admission, &ingest.stop, &TaskTracker::new())?;
            let load = Load { senders: senders.parse()?, rate: rate(per_second)?, seconds: seconds.parse()? };
            ingest.measure(load, move |pace| datagrams(to, pace))
        }
        ["tcp", streams, per_second, seconds] => {
            let ingest = Ingest::new("none")?;
            let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("runtime").enable_all().build()?;
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
            let to = listener.local_addr()?;
            let limits = tcp::Limits {
                places: Places::new(100, 100),
                opening: tcp::OPENING,
                idle: None,
                balancers: Arc::default(),
            };
            let (admission, stop) = (ingest.admission.clone(), ingest.stop.clone());
            runtime.spawn(tcp::accept(listener, tcp::Speaks::Hep, limits, admission, stop));
            let load = Load { senders: streams.parse()?, rate: rate(per_second)?, seconds: seconds.parse()? };
            ingest.measure(load, move |pace| stream(to, pace))
        }
        _ => Err("usage: admit PACKETS [none|keys|discard|mask|duplicates|sampling], read PACKETS, fields PACKETS, \
                  udp THREADS SENDERS RATE|max SECONDS, or tcp STREAMS RATE|max SECONDS"
            .into()),
    }
}

/// Packets of a hundred calls.
fn packets_of_calls(with_key: bool) -> Result<Vec<Vec<u8>>, Failure> {
    (0..600).map(|number| packet(number, with_key)).collect()
}

/// A key of 26 octets.
fn key(number: u8) -> String {
    format!("the key of agent number {number:02}")
}

/// A packet of 650 octets with a message of 520, as the module sends it.
fn packet(number: u32, with_key: bool) -> Result<Vec<u8>, Failure> {
    let call = number / 6;
    let mut sip = format!(
        "INVITE sip:bob@192.0.2.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{number:08}\r\n\
         From: \"Alice\" <sip:alice@example.com>;tag=88\r\nTo: Bob <sip:bob@example.com>\r\nCall-ID: {call:08}@192.0.2.1\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\nMax-Forwards: 70\r\nUser-Agent: Measure/1.0\r\nSubject: "
    );
    while sip.len() < 494 {
        sip.push('x');
    }
    sip.push_str("\r\nContent-Length: 0\r\n\r\n");
    let key = key(99);
    let packet = hep::Packet {
        auth_key: with_key.then_some(key.as_bytes()),
        ip_family: Some(2),
        ip_protocol: Some(17),
        src_ip: Some([192, 0, 2, 1].into()),
        dst_ip: Some([192, 0, 2, 2].into()),
        src_port: Some(5060),
        dst_port: Some(5060),
        time: Some(hep::Timestamp { seconds: 1_767_225_600, microseconds: number % 1_000_000 }),
        protocol_type: Some(1),
        agent_id: Some(2001),
        payload: hep::Payload::Plain(sip.as_bytes()),
        correlation_id: Some(b"measured-session"),
        ..hep::Packet::default()
    };
    let mut octets = Vec::new();
    hep::encode(&packet, &mut octets)?;
    Ok(octets)
}

fn content(rules: &str) -> Result<ContentRules, Failure> {
    let none = ContentRules::default();
    let headers = vec!["Authorization".to_owned(), "Proxy-Authorization".to_owned()];
    let mask = sip::Mask { headers, ..sip::Mask::default() };
    Ok(match rules {
        "none" => none,
        "discard" => ContentRules {
            discard: vec![Discard { methods: vec!["OPTIONS".into()], ..Discard::default() }],
            ..none
        },
        "mask" => ContentRules { mask: vec![MaskRule { mask, ..MaskRule::default() }], ..none },
        "duplicates" => ContentRules { duplicate_milliseconds: 50, ..none },
        "sampling" => ContentRules { keep_one_in: 2, ..none },
        // What they ask is in `Rules`.
        "keys" => none,
        other => return Err(format!("no such rules: {other}").into()),
    })
}

/// A door to a spool of its own.
struct Ingest {
    admission: Admission,
    metrics: Arc<Metrics>,
    writer: SpoolWriter,
    reader: SpoolReader,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

/// How much is sent.
struct Load {
    senders: u32,
    /// Packets a second in all; `None` for as many as go.
    rate: Option<u32>,
    seconds: u32,
}

impl Ingest {
    fn new(rules: &str) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let config = SpoolConfig { dir: dir.path().join("spool"), ..SpoolConfig::default() };
        let (writer, reader) = Spool::open(config, None)?;
        let metrics = Arc::new(Metrics::default());
        let keys = Keys::default();
        if rules == "keys" {
            // A hundred; that of the packets is the last.
            let known =
                |n: u8| KnownKey { hash: Sha256::digest(key(n)).into(), agent_id: None, tenant: None };
            keys.replace((0..100).map(known).collect());
        }
        let rules = Rules { content: content(rules)?, require_key: rules == "keys", ..Rules::default() };
        let admission = Admission::new(writer.handle(), Arc::clone(&metrics), rules, keys);
        Ok(Self { admission, metrics, writer, reader, stop: CancellationToken::new(), _dir: dir })
    }

    /// Offers so many packets, as they come in a stream, which never loses.
    fn offer(&self, packets: usize, with_key: bool) -> Result<(), Failure> {
        let peer = "127.0.0.1:9060".parse()?;
        let octets = packets_of_calls(with_key)?;
        let mut packets = octets.iter().cycle().take(packets).peekable();
        while packets.peek().is_some() {
            let mut batch = self.admission.batch();
            for packet in packets.by_ref().take(AT_ONCE) {
                batch.add(Arrival { way: Way::Tcp, peer, packet }).map_err(|refusal| refusal.as_str())?;
            }
            while !batch.take(false, |_| {}) {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Sends, reads from the spool what came, and tells what that took.
    fn measure(
        self,
        load: Load,
        send: impl Fn(Pace) -> Result<u64, String> + Clone + Send + 'static,
    ) -> Result<(), Failure> {
        let Self { admission: _, metrics, writer, mut reader, stop, _dir } = self;
        // What is spooled is read again and let go, as a flush does.
        let done = Arc::new(AtomicBool::new(false));
        let reading = Arc::clone(&done);
        let releaser = std::thread::Builder::new().name("read".into()).spawn(move || {
            while !reading.load(Ordering::Acquire) {
                if let Ok(batch) = reader.next_batch(10_000, 16 << 20, Duration::from_millis(100)) {
                    batch.records.iter().for_each(fields);
                    let _released = reader.release(batch.end);
                }
            }
        })?;
        let before = processor_ns()?;
        let begun = Instant::now();
        let sending: Vec<JoinHandle<_>> = (0..load.senders)
            .map(|number| {
                let pace = Pace { rate: load.rate.map(|rate| rate / load.senders), seconds: load.seconds };
                let send = send.clone();
                std::thread::Builder::new().name(format!("send-{number}")).spawn(move || send(pace))
            })
            .collect::<Result<_, _>>()?;
        let mut sent = 0;
        for sender in sending {
            sent += sender.join().map_err(|_| "a sender failed")??;
        }
        let sending_took = begun.elapsed();
        let value = |text: &str, name: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        let mut took = begun.elapsed();
        let (mut durable, mut dropped, mut refused) = (0, 0, 0);
        while durable + dropped + refused < sent && took < sending_took + ON_THE_WAY {
            std::thread::sleep(Duration::from_millis(5));
            let text = metrics.text(&writer.stats());
            durable = value(&text, "siplens_spool_records_durable_total");
            dropped = value(&text, "siplens_ingest_udp_kernel_drops");
            let taken = value(&text, "siplens_ingest_packets_total{transport=\"udp\",result=\"accepted\"}");
            refused = value(&text, "siplens_ingest_packets_total{transport=\"udp\"").saturating_sub(taken);
            took = begun.elapsed();
        }
        let after = processor_ns()?;
        let mut out = std::io::stdout().lock();
        let per_second = |count: u64, took: Duration| count as f64 / took.as_secs_f64();
        writeln!(
            out,
            "sent {sent} in {sending_took:.1?} ({:.0}/s); in the spool {durable} ({:.0}/s); dropped by the kernel {dropped}, refused {refused}",
            per_second(sent, sending_took),
            per_second(durable, took)
        )?;
        let mut all = 0.0;
        for (name, ns) in &after {
            let used = ns.saturating_sub(before.get(name).copied().unwrap_or(0));
            let each = used as f64 / 1000.0 / durable.max(1) as f64;
            // The first thread, which has the program's name, only waits and asks for metrics.
            if name == "ingest" {
                continue;
            }
            if !name.starts_with("send-") {
                all += each;
            }
            writeln!(out, "  {name}: {each:.2} µs a packet")?;
        }
        writeln!(out, "  all but the senders: {all:.2} µs a packet")?;
        stop.cancel();
        done.store(true, Ordering::Release);
        releaser.join().map_err(|_| "the reader failed")?;
        writer.close()?;
        Ok(())
    }
}

fn admit(packets: usize, rules: &str) -> Result<(), Failure> {
    let ingest = Ingest::new(rules)?;
    let begun = Instant::now();
    ingest.offer(packets, rules == "keys")?;
    told_of(packets, begun)?;
    Ok(ingest.writer.close()?)
}

fn read_again(packets: usize, mut see: impl FnMut(Record)) -> Result<(), Failure> {
    let mut ingest = Ingest::new("none")?;
    let begun = Instant::now();
    ingest.offer(packets, false)?;
    let mut read = 0;
    while read < packets {
        let batch = ingest.reader.next_batch(10_000, 16 << 20, ON_THE_WAY)?;
        read += batch.records.len();
        batch.records.into_iter().for_each(&mut see);
    }
    told_of(packets, begun)?;
    Ok(ingest.writer.close()?)
}

fn told_of(packets: usize, begun: Instant) -> std::io::Result<()> {
    let each = begun.elapsed() / u32::try_from(packets).unwrap_or(u32::MAX).max(1);
    writeln!(std::io::stdout(), "{each:?} each")
}

/// Reads HEP and SIP of a record, as far as a slice needs it.
fn fields(record: &Record) {
    if let Ok(captured) = decode(record, 1 << 20, &Tenants::default()) {
        std::hint::black_box(Item::read(captured, &EventPaths::default()));
    }
}

/// How fast one sender sends, and for how long.
#[derive(Clone, Copy)]
struct Pace {
    rate: Option<u32>,
    seconds: u32,
}

impl Pace {
    /// Gives packets to `send` in small bursts; how many.
    fn send(self, mut send: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<u64, String> {
        let octets = packets_of_calls(false).map_err(|error| error.to_string())?;
        let (begun, end) = (Instant::now(), Duration::from_secs(self.seconds.into()));
        let mut sent = 0;
        let mut packets = octets.iter().cycle();
        while begun.elapsed() < end {
            let due =
                self.rate.map_or(sent + 256, |rate| (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64);
            while sent < due {
                if let Some(packet) = packets.next() {
                    send(packet).map_err(|error| error.to_string())?;
                }
                sent += 1;
            }
            if self.rate.is_some() {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
        Ok(sent)
    }
}

fn datagrams(to: SocketAddr, pace: Pace) -> Result<u64, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket.connect(to).map_err(|error| error.to_string())?;
    pace.send(|packet| socket.send(packet).map(drop))
}

fn stream(to: SocketAddr, pace: Pace) -> Result<u64, String> {
    let stream = TcpStream::connect(to).map_err(|error| error.to_string())?;
    let mut stream = std::io::BufWriter::with_capacity(128 << 10, stream);
    let sent = pace.send(|packet| stream.write_all(packet))?;
    stream.flush().map_err(|error| error.to_string())?;
    Ok(sent)
}

/// Processor time of each thread of this process so far, by its name.
fn processor_ns() -> Result<BTreeMap<String, u64>, Failure> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let name = std::fs::read_to_string(path.join("comm"))?;
        let times = std::fs::read_to_string(path.join("schedstat"))?;
        let ns: u64 = times.split(' ').next().unwrap_or_default().parse()?;
        *threads.entry(name.trim().to_owned()).or_default() += ns;
    }
    Ok(threads)
}
