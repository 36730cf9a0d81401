//! A TCP connection to a collector.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use crate::collector::CollectorUri;
use crate::sender::Limits;
use crate::sender::stream::Connection;

/// The socket, and how to make a new one.
#[derive(Debug)]
pub struct Tcp {
    host: String,
    port: u16,
    limits: Limits,
    socket: Option<TcpStream>,
}

impl Tcp {
    pub fn new(uri: &CollectorUri<'_>, limits: &Limits) -> Self {
        Self { host: uri.host.to_owned(), port: uri.port, limits: *limits, socket: None }
    }
}

impl Connection for Tcp {
    fn open(&mut self) -> io::Result<()> {
        self.socket = Some(connect(&self.host, self.port, &self.limits)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?.write(bytes)
    }

    fn is_open(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        // A collector has nothing to say; what it does say is thrown away.
        let mut answer = [0; 512];
        let looked = socket.set_nonblocking(true).and_then(|()| socket.read(&mut answer));
        let open = match looked {
            Ok(read) => read > 0,
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        open && socket.set_nonblocking(false).is_ok()
    }

    fn close(&mut self) {
        self.socket = None;
    }
}

/// Resolves the name and connects to the first address that answers. The name is resolved at each attempt: the
/// collector may have moved.
pub fn connect(host: &str, port: u16, limits: &Limits) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limits.connect) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_write_timeout(Some(limits.write))?;
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
