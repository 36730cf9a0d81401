//! HEP over TCP, TLS and HTTP: accepts streams, as many as are allowed, finds out whose they are, and reads them.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Extension};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::places::{Place, Places};
use super::stream::{self, Origin};
use super::tls::Tls;
use super::{Admission, Refusal, Way, proxied};
use crate::network::Network;

/// How long a stream may take to say whose it is, to shake hands, and for the head of each HTTP request.
pub const OPENING: Duration = Duration::from_secs(10);

/// The longest head of an HTTP request, octets.
const HEAD_BYTES: usize = 16 * 1024;

/// How long a stream may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// After this long without anything a peer is asked whether it is still there, and found out to be gone within another
/// minute.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How streams are treated.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Places for streams; all listeners may share them.
    pub places: Places,
    /// How long one may take to say whose it is, to shake hands, and for the head of each HTTP request; [`OPENING`].
    pub opening: Duration,
    /// Closed after so long without a packet; `None` never.
    pub idle: Option<Duration>,
    /// Balancers, whose streams begin with a PROXY protocol header.
    pub balancers: Arc<[Network]>,
}

/// What is spoken at a listener.
#[derive(Clone)]
pub enum Speaks {
    /// HEP, packet after packet.
    Hep,
    /// The same in TLS.
    HepOverTls(Tls),
    /// HTTP, to these routes. The peer, and the stream's [`Place`], stand in each request's extensions.
    Http(Router),
}

impl Speaks {
    const fn way(&self) -> Way {
        match self {
            Self::Hep => Way::Tcp,
            Self::HepOverTls(_) => Way::Tls,
            Self::Http(_) => Way::Http,
        }
    }
}

/// Accepts until stopped, and then waits for the streams to end at a packet.
pub async fn accept(
    listener: TcpListener,
    speaks: Speaks,
    limits: Limits,
    admission: Admission,
    stop: CancellationToken,
) {
    let way = speaks.way();
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
        // HTTP has an answer for those who may not send.
        if !is_balancer && way != Way::Http && !admission.lets_in(way, peer) {
            continue;
        }
        let place = match limits.places.take((!is_balancer).then(|| peer.ip())) {
            Ok(place) => Arc::new(place),
            Err(full) => {
                admission.metrics().stream_refused(full.as_str());
                continue;
            }
        };
        let (admission, stop) = (admission.clone(), stop.clone());
        let opened =
            Stream { stream, peer, is_balancer, speaks: speaks.clone(), limits: limits.clone(), place };
        streams.spawn(async move {
            admission.metrics().tcp_connections.inc();
            let place = Arc::clone(&opened.place);
            let ended = tokio::select! {
                biased;
                ended = opened.receive(&admission, &stop) => ended,
                () = place.gives_way() => {
                    admission.metrics().stream_refused("gave_way");
                    Err(io::Error::new(io::ErrorKind::TimedOut, "it sent nothing and gave way to another"))
                }
            };
            if let Err(error) = ended {
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
    speaks: Speaks,
    limits: Limits,
    place: Arc<Place>,
}

impl Stream {
    async fn receive(self, admission: &Admission, stop: &CancellationToken) -> io::Result<()> {
        let Self { mut stream, peer, is_balancer, speaks, limits, place } = self;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let way = speaks.way();
        let mut origin = Origin { way, peer };
        let opened = async {
            if is_balancer {
                let behind = proxied::read(&mut stream).await.inspect_err(|_| {
                    admission.refuse(origin.packet(&[]), Refusal::Malformed);
                })?;
                let Some(peer) = behind else { return Ok(None) };
                origin.peer = peer;
                if way != Way::Http && !admission.lets_in(way, peer) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its network may not send"));
                }
                if let Err(full) = place.belongs_to(peer.ip()) {
                    admission.metrics().stream_refused(full.as_str());
                    return Err(io::Error::new(
                        io::ErrorKind::QuotaExceeded,
                        "its peer has too many streams",
                    ));
                }
            }
            match speaks {
                Speaks::Hep => Ok(Some(Opened::Plain(stream))),
                Speaks::Http(router) => Ok(Some(Opened::Http(stream, router))),
                Speaks::HepOverTls(tls) => {
                    let accepted = tls.acceptor().accept(stream).await;
                    Ok(Some(Opened::Tls(Box::new(accepted.inspect_err(|_| {
                        admission.metrics().tls_failed.inc();
                    })?))))
                }
            }
        };
        let opened = tokio::select! {
            opened = tokio::time::timeout(limits.opening, opened) => opened,
            () = stop.cancelled() => return Ok(()),
        };
        let Ok(opened) = opened else {
            admission.metrics().stream_refused("opening");
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long to begin"));
        };
        match opened? {
            None => Ok(()),
            Some(Opened::Plain(stream)) => {
                stream::receive(stream, origin, limits.idle, &place, admission, stop).await
            }
            Some(Opened::Tls(mut stream)) => {
                let received =
                    stream::receive(&mut stream, origin, limits.idle, &place, admission, stop).await;
                // So that the agent can tell an end from a break.
                let _told = tokio::time::timeout(FAREWELL, stream.shutdown()).await;
                received
            }
            Some(Opened::Http(stream, router)) => {
                serve_http(stream, router, origin.peer, &limits, place, admission, stop).await
            }
        }
    }
}

enum Opened {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Http(TcpStream, Router),
}

/// Answers the requests of a stream. What is upgraded to a WebSocket goes on by itself.
async fn serve_http(
    stream: TcpStream,
    router: Router,
    peer: SocketAddr,
    limits: &Limits,
    place: Arc<Place>,
    admission: &Admission,
    stop: &CancellationToken,
) -> io::Result<()> {
    let routes = router.layer(Extension(ConnectInfo(peer))).layer(Extension(place));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.opening).max_buf_size(HEAD_BYTES);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut serving = pin!(serving.with_upgrades());
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::time::timeout(FAREWELL, serving).await.unwrap_or(Ok(()))
        }
    };
    served.map_err(|error| {
        if error.is_timeout() || error.is_parse_too_large() {
            admission.metrics().stream_refused("http_head");
        }
        io::Error::other(error)
    })
}
