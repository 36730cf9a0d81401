//! A TCP connection to a collector.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use crate::collector::CollectorUri;
use crate::sender::Limits;
use crate::sender::stream::Connection;

/// How often is read before each write.
const READS: usize = 16;

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

    fn hear(&mut self, heard: &mut dyn FnMut(&[u8])) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let mut said = [0; 4096];
        let mut open = true;
        // Bounded: one that never stops talking must not keep us from sending.
        for _ in 0..READS {
            match socket.read(&mut said) {
                Ok(0) => open = false,
                Ok(read) => {
                    heard(said.get(..read).unwrap_or_default());
                    if read == said.len() {
                        continue;
                    }
                }
                Err(error) => {
                    open = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
                }
            }
            break;
        }
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
