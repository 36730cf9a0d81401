//! A bare HEP collector: what the module sends, decoded, with no backend in between.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use hep::framing::Frame;

use crate::port;
use crate::wait::eventually;

const TICK: Duration = Duration::from_millis(50);

/// One HEP packet, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Source of the captured message.
    pub src: Option<SocketAddr>,
    /// Destination of the captured message.
    pub dst: Option<SocketAddr>,
    /// IP protocol number (chunk 0x0002).
    pub ip_protocol: Option<u8>,
    /// Microseconds since the epoch.
    pub captured_at_us: Option<u64>,
    /// Capture agent (chunk 0x000c).
    pub agent_id: Option<u32>,
    /// What the payload is (chunk 0x000b): 1 SIP, 100 a log line.
    pub protocol_type: Option<u8>,
    /// Correlation id (chunk 0x0011).
    pub correlation_id: Option<String>,
    /// Octets that the message had, if its end was cut off (Siplens' chunk 0x0002).
    pub full_length: Option<u32>,
    /// The call that a line is about, if its correlation id does not say so (Siplens' chunk 0x0003).
    pub call_id: Option<String>,
    /// The SIP message, or whatever else it is.
    pub payload: String,
}

impl Seen {
    /// The start line of the SIP message.
    pub fn start_line(&self) -> &str {
        self.payload.lines().next().unwrap_or_default()
    }
}

type Packets = Arc<Mutex<Vec<Result<Seen, String>>>>;

/// Listens for HEP over UDP and TCP on one port.
pub struct Collector {
    address: SocketAddr,
    packets: Packets,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Collector {
    /// Starts on a free port of IPv4 loopback.
    pub fn start() -> Result<Self> {
        let mut tries = 3;
        loop {
            match Self::start_on(SocketAddr::from(([127, 0, 0, 1], port::free()?))) {
                // A program that another thread was starting still had the socket by which the port was tried.
                Err(error) if is_taken(&error) && tries > 0 => tries -= 1,
                started => return started,
            }
        }
    }

    /// Starts at a given address, for instance where another collector has been.
    pub fn start_on(address: SocketAddr) -> Result<Self> {
        let udp = UdpSocket::bind(address)?;
        udp.set_read_timeout(Some(TICK))?;
        let tcp = TcpListener::bind(address)?;
        tcp.set_nonblocking(true)?;
        let packets = Packets::default();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = vec![
            std::thread::spawn({
                let (packets, stop) = (packets.clone(), stop.clone());
                move || receive_datagrams(&udp, &packets, &stop)
            }),
            std::thread::spawn({
                let (packets, stop) = (packets.clone(), stop.clone());
                move || accept(&tcp, &packets, &stop)
            }),
        ];
        Ok(Self { address, packets, stop, threads })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything received so far; fails if anything was not HEP.
    pub fn packets(&self) -> Result<Vec<Seen>> {
        let packets = self.packets.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        packets.iter().map(|packet| packet.clone().map_err(anyhow::Error::msg)).collect()
    }

    /// Waits until at least `count` packets are there and returns all.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Seen>> {
        eventually(&format!("{count} packets at the collector"), limit, || {
            let packets = self.packets()?;
            ensure!(packets.len() >= count, "{} packets have come", packets.len());
            Ok(packets)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn receive_datagrams(socket: &UdpSocket, packets: &Packets, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = socket.recv(&mut buffer) {
            keep(packets, &buffer[..length]);
        }
    }
}

fn accept(listener: &TcpListener, packets: &Packets, stop: &Arc<AtomicBool>) {
    let mut connections = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let (packets, stop) = (packets.clone(), stop.clone());
                connections.push(std::thread::spawn(move || receive_stream(stream, &packets, &stop)));
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
    for connection in connections {
        let _ = connection.join();
    }
}

fn receive_stream(mut stream: TcpStream, packets: &Packets, stop: &AtomicBool) {
    if stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(TICK))).is_err() {
        return;
    }
    let mut pending = Vec::new();
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => pending.extend_from_slice(&buffer[..length]),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        loop {
            match hep::framing::frame(&pending) {
                Ok(Frame::Complete(length)) => {
                    keep(packets, &pending[..length]);
                    pending.drain(..length);
                }
                Ok(Frame::Incomplete { .. }) => break,
                Err(error) => {
                    push(packets, Err(format!("stream cannot go on: {error}")));
                    return;
                }
            }
        }
    }
}

fn keep(packets: &Packets, bytes: &[u8]) {
    push(packets, read(bytes).map_err(|error| format!("{error:#}")));
}

fn push(packets: &Packets, packet: Result<Seen, String>) {
    packets.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(packet);
}

fn read(bytes: &[u8]) -> Result<Seen> {
    let packet = hep::decode(bytes)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let address = |ip: Option<IpAddr>, port: Option<u16>| Some(SocketAddr::new(ip?, port?));
    let payload = packet.payload.inflate(1 << 20)?;
    Ok(Seen {
        src: address(packet.src_ip, packet.src_port),
        dst: address(packet.dst_ip, packet.dst_port),
        ip_protocol: packet.ip_protocol,
        captured_at_us: packet.time.map(|at| u64::from(at.seconds) * 1_000_000 + u64::from(at.microseconds)),
        agent_id: packet.agent_id,
        protocol_type: packet.protocol_type,
        correlation_id: packet.correlation_id.map(text),
        full_length: packet.full_length,
        call_id: packet.call_id.map(text),
        payload: text(&payload),
    })
}

fn is_taken(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}
