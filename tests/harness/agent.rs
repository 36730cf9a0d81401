//! A capture agent of the test's own: sends HEP where no proxy is needed, or where it must send what no proxy would.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

/// One captured message, as an agent would send it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Source of the message.
    pub src: SocketAddr,
    /// Destination of the message.
    pub dst: SocketAddr,
    /// When it was seen.
    pub at: SystemTime,
    /// HEP chunk 0x0011.
    pub correlation_id: Option<String>,
    /// HEP chunk 0x000e.
    pub key: Option<String>,
    /// HEP chunk 0x000b; 1 is SIP.
    pub protocol_type: u8,
    /// The message itself.
    pub payload: Vec<u8>,
}

impl Observed {
    /// Bytes seen now between two loopback addresses over UDP.
    pub fn raw(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            src: SocketAddr::from(([127, 0, 0, 1], 5080)),
            dst: SocketAddr::from(([127, 0, 0, 1], 5060)),
            at: SystemTime::now(),
            correlation_id: None,
            key: None,
            protocol_type: 1,
            payload: payload.into(),
        }
    }

    /// A request as alice sends it to bob.
    pub fn request(method: &str, call_id: &str, cseq: u32) -> Self {
        Self::raw(format!(
            "{method} sip:bob@127.0.0.1:5060 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK-{cseq}-{call_id}\r\n\
             From: <sip:alice@127.0.0.1>;tag=a\r\nTo: <sip:bob@127.0.0.1>\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    /// Bob's reply to such a request.
    pub fn reply(status: &str, method: &str, call_id: &str, cseq: u32) -> Self {
        let request = Self::raw(format!(
            "SIP/2.0 {status}\r\n\
             Via: SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bK-{cseq}-{call_id}\r\n\
             From: <sip:alice@127.0.0.1>;tag=a\r\nTo: <sip:bob@127.0.0.1>;tag=b\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        ));
        Self { src: request.dst, dst: request.src, ..request }
    }

    /// The same with a correlation id.
    pub fn in_session(mut self, id: &str) -> Self {
        self.correlation_id = Some(id.to_owned());
        self
    }

    /// The same with an agent's key.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The same seen at another time.
    pub fn at(mut self, at: SystemTime) -> Self {
        self.at = at;
        self
    }

    /// The HEP3 packet.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let at = self.at.duration_since(UNIX_EPOCH)?;
        let packet = hep::Packet {
            version: hep::Version::Hep3,
            ip_family: Some(if self.src.is_ipv4() { 2 } else { 10 }),
            ip_protocol: Some(17),
            src_ip: Some(self.src.ip()),
            dst_ip: Some(self.dst.ip()),
            src_port: Some(self.src.port()),
            dst_port: Some(self.dst.port()),
            time: Some(hep::Timestamp {
                seconds: u32::try_from(at.as_secs())?,
                microseconds: at.subsec_micros(),
            }),
            protocol_type: Some(self.protocol_type),
            agent_id: Some(2001),
            correlation_id: self.correlation_id.as_deref().map(str::as_bytes),
            auth_key: self.key.as_deref().map(str::as_bytes),
            payload: hep::Payload::Plain(&self.payload),
            ..hep::Packet::default()
        };
        let mut bytes = Vec::new();
        hep::encode(&packet, &mut bytes)?;
        Ok(bytes)
    }
}

/// A call of six messages that was answered and ended, `age` ago.
pub fn answered_call(call_id: &str, session: &str, age: Duration) -> Vec<Observed> {
    let start = SystemTime::now() - age;
    let messages = [
        Observed::request("INVITE", call_id, 1),
        Observed::reply("180 Ringing", "INVITE", call_id, 1),
        Observed::reply("200 OK", "INVITE", call_id, 1),
        Observed::request("ACK", call_id, 1),
        Observed::request("BYE", call_id, 2),
        Observed::reply("200 OK", "BYE", call_id, 2),
    ];
    let steps = (0u64..).map(|step| start + Duration::from_millis(10 * step));
    messages.into_iter().zip(steps).map(|(message, at)| message.in_session(session).at(at)).collect()
}

/// Sends packets to a collector.
#[derive(Debug)]
pub enum Agent {
    /// In a stream.
    Tcp(TcpStream),
    /// As datagrams.
    Udp(UdpSocket),
}

impl Agent {
    /// Over TCP.
    pub fn tcp(collector: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(collector)?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self::Tcp(stream))
    }

    /// Over UDP.
    pub fn udp(collector: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(collector)?;
        Ok(Self::Udp(socket))
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes)?,
            Self::Udp(socket) => drop(socket.send(bytes)?),
        }
        Ok(())
    }

    /// Sends one message.
    pub fn send(&mut self, message: &Observed) -> Result<()> {
        self.send_bytes(&message.encode()?)
    }

    /// Sends messages one after the other.
    pub fn send_all(&mut self, messages: &[Observed]) -> Result<()> {
        messages.iter().try_for_each(|message| self.send(message))
    }
}
