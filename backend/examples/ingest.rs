//! What ingest costs, and how fast it is.
//!
//! `admit PACKETS [none|discard|mask|duplicates|sampling]` offers so many packets to the door, for a tool that counts
//! instructions: what two numbers of packets differ by, divided. `udp THREADS SENDERS RATE SECONDS` sends datagrams over the
//! loopback interface at a rate per second in all, and says what was lost, and the processor time of each thread.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use siplens_backend::ingest::content::{ContentRules, Discard, MaskRule};
use siplens_backend::ingest::keys::Keys;
use siplens_backend::ingest::{Admission, Arrival, Rules, Way, udp};
use siplens_backend::spool::{Spool, SpoolConfig, SpoolReader, SpoolWriter};
use siplens_backend::telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["admit", packets] => admit(packets.parse()?, ContentRules::default()),
        ["admit", packets, rules] => admit(packets.parse()?, content(rules)?),
        ["udp", threads, senders, rate, seconds] => {
            datagrams(threads.parse()?, senders.parse()?, rate.parse()?, seconds.parse()?)
        }
        _ => Err("usage: admit PACKETS [none|discard|mask|duplicates|sampling], or udp THREADS SENDERS RATE SECONDS".into()),
    }
}

/// A packet of 650 octets with a message of 520, as the module sends it.
fn packet(number: u32) -> Result<Vec<u8>, Failure> {
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
    let packet = hep::Packet {
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
        other => return Err(format!("no such rules: {other}").into()),
    })
}

/// A door to a spool of its own.
struct Ingest {
    admission: Admission,
    metrics: Arc<Metrics>,
    writer: SpoolWriter,
    reader: SpoolReader,
    _dir: tempfile::TempDir,
}

impl Ingest {
    fn new(content: ContentRules) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let config = SpoolConfig { dir: dir.path().join("spool"), ..SpoolConfig::default() };
        let (writer, reader) = Spool::open(config, None)?;
        let metrics = Arc::new(Metrics::default());
        let rules = Rules { content, ..Rules::default() };
        let admission = Admission::new(writer.handle(), Arc::clone(&metrics), rules, Keys::default());
        Ok(Self { admission, metrics, writer, reader, _dir: dir })
    }
}

fn admit(packets: u32, content: ContentRules) -> Result<(), Failure> {
    let ingest = Ingest::new(content)?;
    let peer = "127.0.0.1:9060".parse()?;
    let octets: Vec<_> = (0..600).map(packet).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    for packet in octets.iter().cycle().take(packets as usize) {
        let outcome = ingest.admission.offer(Arrival { way: Way::Udp, peer, packet });
        outcome.result.map_err(|refusal| refusal.as_str())?;
    }
    let each = begun.elapsed() / packets.max(1);
    ingest.writer.close()?;
    writeln!(std::io::stdout(), "{each:?} each")?;
    Ok(())
}

fn datagrams(threads: usize, senders: u32, rate: u32, seconds: u32) -> Result<(), Failure> {
    let Ingest { admission, metrics, writer, mut reader, _dir } = Ingest::new(ContentRules::default())?;
    let bound = udp::bind("127.0.0.1:0".parse()?, threads, 8 << 20)?;
    let to = bound.local_addr()?;
    metrics.udp_sockets(bound.inodes());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    bound.receive(&admission, &stop, &tasks)?;
    // What is spooled is read again and let go, as a flush does.
    let done = Arc::new(AtomicBool::new(false));
    let reading = Arc::clone(&done);
    let releaser = std::thread::Builder::new().name("release".into()).spawn(move || {
        while !reading.load(Ordering::Acquire) {
            if let Ok(batch) = reader.next_batch(10_000, 16 << 20, Duration::from_millis(100)) {
                let _released = reader.release(batch.end);
            }
        }
    })?;
    let each = rate / senders;
    let sending: Vec<_> = (0..senders)
        .map(|number| {
            std::thread::Builder::new()
                .name(format!("send-{number}"))
                .spawn(move || send(to, each, seconds).map_err(|error| error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let before = processor_ns()?;
    let begun = Instant::now();
    let mut sent = 0;
    for sender in sending {
        sent += sender.join().map_err(|_| "a sender failed")??;
    }
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_millis(300));
    let after = processor_ns()?;
    let value = |text: &str, name: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    let text = metrics.text(&writer.stats());
    let accepted = value(&text, "siplens_ingest_packets_total{transport=\"udp\",result=\"accepted\"}");
    let dropped = value(&text, "siplens_ingest_udp_kernel_drops");
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "threads {threads}, senders {senders}: sent {sent} in {took:.1?} ({:.0}/s), accepted {accepted}, dropped by the kernel {dropped}",
        sent as f64 / took.as_secs_f64()
    )?;
    for (name, ns) in &after {
        let used = ns.saturating_sub(before.get(name).copied().unwrap_or(0));
        writeln!(out, "  {name}: {:.2} µs a packet", used as f64 / 1000.0 / accepted.max(1) as f64)?;
    }
    stop.cancel();
    done.store(true, Ordering::Release);
    releaser.join().map_err(|_| "the reader failed")?;
    writer.close()?;
    Ok(())
}

/// Sends at a rate for a while, from a socket of its own, in small bursts; how many were sent.
fn send(to: std::net::SocketAddr, rate: u32, seconds: u32) -> Result<u64, Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    let octets: Vec<_> = (0..600).map(packet).collect::<Result<_, _>>()?;
    let (begun, end) = (Instant::now(), Duration::from_secs(seconds.into()));
    let mut sent = 0;
    let mut packets = octets.iter().cycle();
    while begun.elapsed() < end {
        let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent < due {
            if let Some(packet) = packets.next() {
                socket.send(packet)?;
            }
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
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
