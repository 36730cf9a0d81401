//! A UDP socket to a collector.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use crate::collector::CollectorUri;
use crate::sender::Limits;
use crate::sender::datagram::Socket;

/// The socket, and how to make a new one.
#[derive(Debug)]
pub struct Udp {
    host: String,
    port: u16,
    limits: Limits,
    socket: Option<UdpSocket>,
}

impl Udp {
    pub fn new(uri: &CollectorUri<'_>, limits: &Limits) -> Self {
        Self { host: uri.host.to_owned(), port: uri.port, limits: *limits, socket: None }
    }
}

impl Socket for Udp {
    fn open(&mut self) -> io::Result<()> {
        let address = (self.host.as_str(), self.port).to_socket_addrs()?.next();
        let address = address.ok_or(io::ErrorKind::NotFound)?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_write_timeout(Some(self.limits.write))?;
        // Connected, so that the kernel tells us when nobody listens there.
        socket.connect(address)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.send(packet).map(|_whole| ())
    }
}
