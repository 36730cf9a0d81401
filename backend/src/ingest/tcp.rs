//! HEP over TCP: packets back to back, framed by their length. A stream that is not HEP3 is closed, since nothing says
//! where the next packet would begin. A full spool holds the stream back instead of losing from it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hep::framing::{self, Frame};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Admission, Refusal};

const READ_BYTES: usize = 64 * 1024;

/// How long a stream is held back before the spool is asked again.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// How streams are treated.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most so many at a time.
    pub connections: usize,
    /// Closed after so long without a packet; `None` never.
    pub idle: Option<Duration>,
}

/// Accepts until stopped, and then waits for the streams to end at a packet.
pub async fn accept(listener: TcpListener, limits: Limits, admission: Admission, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let streams = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of file descriptors, most likely: wait for streams to end.
            Err(error) => {
                tracing::warn!(%error, "tcp accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            admission.metrics().tcp_refused.inc();
            continue;
        };
        let (admission, stop) = (admission.clone(), stop.clone());
        streams.spawn(async move {
            let _place = place;
            admission.metrics().tcp_connections.inc();
            if let Err(error) = receive(stream, peer, limits.idle, &admission, &stop).await {
                tracing::info!(%peer, %error, "hep stream closed");
            }
            admission.metrics().tcp_connections.dec();
        });
    }
    streams.close();
    streams.wait().await;
}

async fn receive(
    mut stream: TcpStream,
    peer: SocketAddr,
    idle: Option<Duration>,
    admission: &Admission,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        let read = stream.read_buf(&mut buffer);
        let read = async {
            match idle {
                Some(idle) => tokio::time::timeout(idle, read).await.unwrap_or_else(|_| {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for the idle time"))
                }),
                None => read.await,
            }
        };
        let octets = tokio::select! {
            octets = read => octets?,
            () = stop.cancelled() => return Ok(()),
        };
        if octets == 0 {
            if !buffer.is_empty() {
                admission.count(hep::Transport::Tcp, buffer.len(), Err(Refusal::Malformed));
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed in the middle of a packet"));
            }
            return Ok(());
        }
        loop {
            match framing::frame(&buffer) {
                Ok(Frame::Complete(length)) => {
                    take(buffer.get(..length).unwrap_or_default(), peer, admission, stop).await;
                    buffer.advance(length.min(buffer.len()));
                }
                Ok(Frame::Incomplete { .. }) => break,
                Err(error) => {
                    admission.count(hep::Transport::Tcp, buffer.len(), Err(Refusal::Malformed));
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }
}

/// Takes one packet, however long the spool is full. While it waits nothing is read, and the agent feels it.
async fn take(packet: &[u8], peer: SocketAddr, admission: &Admission, stop: &CancellationToken) {
    let mut result = admission.check(packet);
    if result.is_ok() {
        loop {
            result = admission.spool(hep::Transport::Tcp, peer, packet);
            if result != Err(Refusal::SpoolFull) || stop.is_cancelled() {
                break;
            }
            admission.metrics().tcp_held_back.inc();
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }
    admission.count(hep::Transport::Tcp, packet.len(), result);
}
