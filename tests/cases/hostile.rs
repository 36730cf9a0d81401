//! Packets of real agents, mutated without end, and connections that bring nothing: nothing crashes, nothing grows, everything is
//! counted, and what is good in between is stored. The same octets in every run.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Agent, Backend, BackendSetup, Observed, eventually, paths};

/// Patience with what the backend still has to read.
const LIMIT: Duration = Duration::from_secs(120);

/// How much more memory may be resident at the end than after the first third, MiB.
const GROWTH_MIB: u64 = 64;

/// Octets, as the kernel counts them, that may wait in the backend's sockets before more is sent.
const QUEUED_BYTES: u64 = 1 << 20;

/// The most series of metrics that there may be, whoever sends what: tables of 1,024 peers and agents, and what is fixed.
const SERIES: usize = 30_000;

/// Hostile datagrams to send.
fn datagrams() -> Result<u64> {
    let asked = std::env::var("SIPLENS_HOSTILE_DATAGRAMS");
    asked.map_or(Ok(200_000), |text| text.parse().context("SIPLENS_HOSTILE_DATAGRAMS"))
}

/// Numbers that are the same in every run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or(0) % bound.max(1)
    }
}

/// What real agents sent, a packet each.
fn vectors() -> Result<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    for entry in std::fs::read_dir(paths::repository().join("ffi/hep/vectors"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "hexl") {
            for line in std::fs::read_to_string(&path)?.lines().filter(|line| !line.is_empty()) {
                let octet = |at: usize| u8::from_str_radix(line.get(at..at + 2).unwrap_or("?"), 16);
                packets.push((0..line.len()).step_by(2).map(octet).collect::<Result<_, _>>()?);
            }
        }
    }
    // What is read in another order is other numbers.
    packets.sort_unstable();
    ensure!(packets.len() > 10, "only {} vectors", packets.len());
    Ok(packets)
}

/// Does something bad to a packet: cuts it, flips bits, changes a length, repeats a part, joins two, or makes it up.
fn mutate(vectors: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut packet = vectors[numbers.below(vectors.len())].clone();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(packet.len());
        match numbers.below(7) {
            0 => packet.truncate(at),
            1 => (0..8).for_each(|_| {
                let at = numbers.below(packet.len());
                if let Some(octet) = packet.get_mut(at) {
                    *octet ^= 1 << numbers.below(8);
                }
            }),
            2 => {
                // A length, most likely, if it is near the start.
                let value = [0u8, 1, 5, 6, 0x7f, 0x80, 0xff][numbers.below(7)];
                if let Some(octets) = packet.get_mut(at % 64..).and_then(|rest| rest.first_chunk_mut::<2>()) {
                    *octets = [value, numbers.below(256) as u8];
                }
            }
            3 => {
                let part = packet.get(at..).unwrap_or_default().to_vec();
                packet.extend(part);
            }
            4 => packet.extend(&vectors[numbers.below(vectors.len())]),
            5 => packet.iter_mut().skip(at).take(16).for_each(|octet| *octet = numbers.below(256) as u8),
            _ => {
                let length = numbers.below(2000);
                packet = b"HEP3"[..numbers.below(5)].to_vec();
                packet.extend((0..length).map(|_| numbers.below(256) as u8));
            }
        }
    }
    packet.truncate(60_000);
    packet
}

/// Memory that is resident now, MiB.
fn resident_mib(backend: &Backend) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", backend.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse::<u64>()? / 1024)
}

/// The sum of the metrics whose lines are wanted.
fn sum(metrics: &str, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let lines = metrics.lines().filter(|line| wanted(line));
    lines.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<u64>()?)).sum()
}

/// Datagrams of which is known what became of them.
fn accounted(metrics: &str) -> Result<u64> {
    sum(metrics, |line| {
        line.starts_with("siplens_ingest_packets_total{transport=\"udp\"")
            || line.starts_with("siplens_ingest_udp_kernel_drops{")
    })
}

/// Waits until the backend has read most of what was sent to this port over IPv4: the kernel may drop, but need not drop everything.
fn let_it_read(port: u16) -> Result<()> {
    let own = format!(":{port:04X}");
    eventually("the backend's breath", LIMIT, || {
        let sockets = std::fs::read_to_string("/proc/net/udp")?;
        let queued = sockets.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().filter(|local| local.ends_with(&own))?;
            let (_, received) = fields.nth(2)?.split_once(':')?;
            u64::from_str_radix(received, 16).ok()
        });
        let queued: u64 = queued.sum();
        ensure!(queued < QUEUED_BYTES, "{queued} octets wait");
        Ok(())
    })
}

/// A socket that nobody has used before: each of many addresses is a peer.
fn peer(number: u64) -> Result<UdpSocket> {
    let [.., high, middle, low] = (number % 0xff_fff0 + 1).to_be_bytes();
    Ok(UdpSocket::bind((std::net::Ipv4Addr::new(127, high, middle, low), 0))?)
}

#[test]
fn what_is_mutated_without_end_crashes_nothing_and_hides_nothing() -> Result<()> {
    let config = "[hep]\nudp_threads = 2\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    let (vectors, mut numbers) = (vectors()?, Numbers(0x5150_1e05));
    let (datagrams, begun) = (datagrams()?, Instant::now());
    let mut sockets = [UdpSocket::bind("127.0.0.1:0")?, peer(0)?];
    let mut good = Agent::tcp(backend.hep())?;
    let (mut sent_good, mut streams, mut early_mib) = (0, 0u64, None);
    for sent in 0..datagrams {
        let packet = mutate(&vectors, &mut numbers);
        sockets[numbers.below(2)].send_to(&packet, backend.hep())?;
        if sent % 100 == 0 {
            sockets[1] = peer(sent)?;
            let_it_read(backend.hep().port())?;
        }
        if sent % 333 == 0 {
            good.send(&Observed::request("OPTIONS", &format!("good-{sent}"), 1).in_session("good"))?;
            sent_good += 1;
            // Also as a stream, in pieces, until the backend has had enough of it.
            let mut stream = TcpStream::connect(backend.hep())?;
            for _ in 0..numbers.below(8) {
                if stream.write_all(&mutate(&vectors, &mut numbers)).is_err() {
                    break;
                }
            }
            streams += 1;
        }
        if sent == datagrams / 3 {
            early_mib = Some(resident_mib(&backend)?);
        }
        if sent % 1_000_000 == 999_999 {
            let mib = resident_mib(&backend)?;
            eprintln!("{} sent after {:.0?}, {mib} MiB resident", sent + 1, begun.elapsed());
        }
    }
    let metrics = || Ok::<_, anyhow::Error>(backend.api().fetch("/metrics")?.text());
    eventually("every datagram counted", LIMIT, || {
        let accounted = accounted(&metrics()?)?;
        ensure!(accounted == datagrams, "{accounted} of {datagrams}");
        Ok(())
    })?;
    let sending = begun.elapsed();
    // Packets of streams may still come; what is taken of any is stored, or counted among what cannot be.
    eventually("all that was taken stored", LIMIT, || {
        let metrics = metrics()?;
        let taken = sum(&metrics, |line| {
            line.starts_with("siplens_ingest_packets_total{") && line.contains("result=\"accepted\"")
        })?;
        let ends = ["store_messages_total", "store_left_out_messages_total", "decode_failed_records_total"];
        let ended =
            sum(&metrics, |line| ends.iter().any(|end| line.starts_with(&format!("siplens_{end} "))))?;
        ensure!(taken == ended, "{taken} taken, {ended} stored or left out");
        Ok(())
    })?;
    backend.session("good", sent_good)?;
    // The streams are all read, too: what is refused is counted twice, by way and by peer, and comes to the same.
    let metrics = eventually("refusals by peer", LIMIT, || {
        let metrics = metrics()?;
        let refused = sum(&metrics, |line| {
            line.starts_with("siplens_ingest_packets_total{")
                && !["accepted", "repeated"].iter().any(|taken| line.contains(&format!("result=\"{taken}\"")))
        })?;
        let by_peer = sum(&metrics, |line| line.starts_with("siplens_ingest_peer_refused_total{"))?;
        ensure!(refused == by_peer, "{refused} refused, {by_peer} by peer");
        Ok(metrics)
    })?;
    let of_streams =
        backend.api().metric("siplens_ingest_packets_total{transport=\"tcp\",result=\"malformed\"}")?;
    ensure!(of_streams > streams as f64 / 4.0, "{of_streams} of {streams} streams were refused something");
    let dropped = sum(&metrics, |line| line.starts_with("siplens_ingest_udp_kernel_drops{"))?;
    ensure!(dropped < datagrams / 10, "the kernel dropped {dropped} of {datagrams}");
    let series = metrics.lines().filter(|line| !line.starts_with('#')).count();
    ensure!(series < SERIES, "{series} series");
    let (early, late) = (early_mib.context("no early figure")?, resident_mib(&backend)?);
    eprintln!(
        "{datagrams} datagrams and {streams} streams in {sending:.0?}: {dropped} dropped by the kernel, {series} series, \
         {early} MiB resident after a third, {late} MiB at the end"
    );
    for line in metrics.lines().filter(|line| line.starts_with("siplens_ingest_packets_total{")) {
        eprintln!("  {line}");
    }
    ensure!(late < early + GROWTH_MIB, "{early} MiB resident after a third, {late} MiB at the end");
    Ok(())
}

#[test]
fn hundreds_of_half_open_connections_keep_no_agent_out() -> Result<()> {
    let config =
        "[hep]\ntcp_connections = 64\npeer_connections = 64\nhttp_listen = \"127.0.0.1:0\"\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    let http = backend.listener("hep-http")?.to_owned();
    let http = http.trim_start_matches("http://").trim_end_matches("/hep").to_owned();
    let mut good = Agent::tcp(backend.hep())?;
    let mut half_open = Vec::new();
    for n in 0..400 {
        good.send(&Observed::request("OPTIONS", &format!("good-{n}"), 1).in_session("good"))?;
        let mut stream = match n % 2 {
            0 => TcpStream::connect(backend.hep())?,
            _ => TcpStream::connect(&http)?,
        };
        // Silent, or the beginning of something.
        stream.write_all([&b""[..], b"POST /hep HTTP/1.1\r\n", b"HEP3\x20"][n % 3])?;
        half_open.push(stream);
    }
    let mut late = Agent::tcp(backend.hep())?;
    late.send(&Observed::request("OPTIONS", "late", 1).in_session("good"))?;
    backend.session("good", 401)?;
    ensure!(backend.api().metric("siplens_ingest_tcp_connections_refused_total")? >= 200.0, "few gave way");
    let mut first = half_open.swap_remove(0);
    first.set_read_timeout(Some(Duration::from_secs(20)))?;
    ensure!(first.read(&mut [0; 1]).unwrap_or(0) == 0, "the first one is still open");
    Ok(())
}

#[test]
fn an_agent_is_read_before_a_burst_of_connections_takes_its_place() -> Result<()> {
    let config = "[hep]\ntcp_connections = 64\npeer_connections = 64\n".to_owned();
    let backend = Backend::start_with(BackendSetup { config: Some(config), ..BackendSetup::default() })?;
    // All is there before the backend gets to look at any of it.
    backend.freeze()?;
    let mut good = Agent::tcp(backend.hep())?;
    good.send(&Observed::request("OPTIONS", "first", 1).in_session("good"))?;
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(backend.hep())).collect::<Result<_, _>>()?;
    backend.thaw()?;
    backend.session("good", 1)?;
    good.send(&Observed::request("OPTIONS", "second", 1).in_session("good"))?;
    backend.session("good", 2)?;
    drop(silent);
    Ok(())
}
