//! HEP over TCP and TLS: accepts streams, as many as are allowed, finds out whose they are, and reads them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stream::{self, Origin};
use super::tls::Tls;
use super::{Admission, Refusal, Way, proxied};
use crate::network::Network;

/// How long a stream may take to say whose it is and to shake hands.
const OPENING: Duration = Duration::from_secs(10);

/// How long a stream may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// After this long without anything a peer is asked whether it is still there, and found out to be gone within another
/// minute.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How streams are treated.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Places for streams; all listeners may share them.
    pub places: Arc<Semaphore>,
    /// Closed after so long without a packet; `None` never.
    pub idle: Option<Duration>,
    /// Balancers, whose streams begin with a PROXY protocol header.
    pub balancers: Arc<[Network]>,
}

/// Accepts until stopped, and then waits for the streams to end at a packet. With `tls`, all streams must speak it.
pub async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    admission: Admission,
    stop: CancellationToken,
) {
    let way = if tls.is_some() { Way::Tls } else { Way::Tcp };
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
        let is_balancer = limits.balancers.iter().any(|network| network.contains(peer.ip().to_canonical()));
        if !is_balancer && !admission.lets_in(way, peer) {
            continue;
        }
        let Ok(place) = Arc::clone(&limits.places).try_acquire_owned() else {
            admission.metrics().tcp_refused.inc();
            continue;
        };
        let (admission, stop, tls) = (admission.clone(), stop.clone(), tls.clone());
        let idle = limits.idle;
        streams.spawn(async move {
            let _place = place;
            admission.metrics().tcp_connections.inc();
            let opened = Stream { stream, peer, is_balancer, way, tls };
            if let Err(error) = opened.receive(idle, &admission, &stop).await {
                tracing::info!(%peer, %error, "hep stream closed");
            }
            admission.metrics().tcp_connections.dec();
        });
    }
    streams.close();
    streams.wait().await;
}

/// A stream that was just accepted.
struct Stream {
    stream: TcpStream,
    peer: SocketAddr,
    is_balancer: bool,
    way: Way,
    tls: Option<Tls>,
}

impl Stream {
    async fn receive(
        mut self,
        idle: Option<Duration>,
        admission: &Admission,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        SockRef::from(&self.stream).set_tcp_keepalive(&keepalive)?;
        let way = self.way;
        let mut origin = Origin { way, peer: self.peer };
        let opened = async {
            if self.is_balancer {
                let behind = proxied::read(&mut self.stream).await.inspect_err(|_| {
                    admission.refuse(origin.packet(&[]), Refusal::Malformed);
                })?;
                let Some(peer) = behind else { return Ok(None) };
                origin.peer = peer;
                if !admission.lets_in(way, peer) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its network may not send"));
                }
            }
            let Some(tls) = self.tls else { return Ok(Some(Either::Plain(self.stream))) };
            let accepted = tls.acceptor().accept(self.stream).await;
            Ok(Some(Either::Tls(Box::new(accepted.inspect_err(|_| {
                admission.metrics().tls_failed.inc();
            })?))))
        };
        let opened = tokio::select! {
            opened = tokio::time::timeout(OPENING, opened) => opened,
            () = stop.cancelled() => return Ok(()),
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it took too long to begin");
        match opened.unwrap_or_else(|_| Err(late()))? {
            None => Ok(()),
            Some(Either::Plain(stream)) => stream::receive(stream, origin, idle, admission, stop).await,
            Some(Either::Tls(mut stream)) => {
                let received = stream::receive(&mut stream, origin, idle, admission, stop).await;
                // So that the agent can tell an end from a break.
                let _told = tokio::time::timeout(FAREWELL, stream.shutdown()).await;
                received
            }
        }
    }
}

enum Either {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}
