//! A TLS connection to a collector.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustls::ClientConnection;

use crate::collector::CollectorUri;
use crate::sender::Limits;
use crate::sender::stream::Connection;
use crate::sender::tcp::connect;
use crate::tls;

/// How often is read before each write: session tickets and alerts come unasked.
const READS: usize = 16;

/// The connection, and how to make a new one.
#[derive(Debug)]
pub struct Tls {
    host: String,
    port: u16,
    limits: Limits,
    settings: tls::Tls,
    open: Option<(ClientConnection, TcpStream)>,
    reason: Option<String>,
}

impl Tls {
    pub fn new(uri: &CollectorUri<'_>, settings: &tls::Tls, limits: &Limits) -> Self {
        Self {
            host: uri.host.to_owned(),
            port: uri.port,
            limits: *limits,
            settings: settings.clone(),
            open: None,
            reason: None,
        }
    }

    fn try_open(&mut self) -> io::Result<(ClientConnection, TcpStream)> {
        let client = self.settings.client().map_err(io::Error::other)?;
        let name = self.settings.name(&self.host).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(client, name).map_err(io::Error::other)?;
        let mut socket = connect(&self.host, self.port, &self.limits)?;
        socket.set_read_timeout(Some(self.limits.connect))?;
        let until = Instant::now() + self.limits.connect;
        while session.is_handshaking() {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            flush(&mut session, &mut socket)?;
            if session.is_handshaking() {
                read(&mut session, &mut socket, &mut |_| {})?;
            }
        }
        flush(&mut session, &mut socket)?;
        Ok((session, socket))
    }
}

impl Connection for Tls {
    fn open(&mut self) -> io::Result<()> {
        self.reason = None;
        match self.try_open() {
            Ok(open) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => {
                // The kind alone would not say that it is the certificate.
                self.reason = error.get_ref().map(ToString::to_string);
                Err(error)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (session, socket) = self.open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // What was taken before must be on its way before more is taken: it counts as sent.
        flush(session, socket)?;
        let taken = session.writer().write(bytes)?;
        match flush(session, socket) {
            Ok(()) => Ok(taken),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(taken)
            }
            Err(error) => Err(error),
        }
    }

    fn hear(&mut self, heard: &mut dyn FnMut(&[u8])) -> bool {
        let Some((session, socket)) = &mut self.open else { return false };
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let mut open = true;
        // Bounded: one that never stops talking must not keep us from sending.
        for _ in 0..READS {
            match read(session, socket, heard) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.reason = error.get_ref().map(ToString::to_string);
                    open = false;
                    break;
                }
            }
        }
        open && socket.set_nonblocking(false).is_ok()
    }

    fn close(&mut self) {
        if let Some((mut session, mut socket)) = self.open.take() {
            session.send_close_notify();
            // A collector that takes nothing is not waited for.
            if socket.set_nonblocking(true).is_ok() {
                let _ = flush(&mut session, &mut socket);
            }
        }
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// Puts on the wire what the session has for it.
fn flush(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        if session.write_tls(socket)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Reads once, lets the session see it, and gives what the collector said to `heard`.
fn read(
    session: &mut ClientConnection,
    socket: &mut TcpStream,
    heard: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    if session.read_tls(socket)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match session.process_new_packets() {
        Ok(state) if state.peer_has_closed() => Err(io::ErrorKind::ConnectionAborted.into()),
        Ok(state) => {
            let mut left = state.plaintext_bytes_to_read();
            let mut said = [0; 4096];
            while left > 0 {
                let read = session.reader().read(&mut said)?;
                heard(said.get(..read).unwrap_or_default());
                left = if read == 0 { 0 } else { left.saturating_sub(read) };
            }
            Ok(())
        }
        Err(error) => {
            // The alert that tells the other side why.
            let _ = flush(session, socket);
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
}
