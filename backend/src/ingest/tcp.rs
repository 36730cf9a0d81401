//! HEP over TCP: accepts streams, as many as are allowed.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Admission;
use super::stream::{self, Origin};

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
        if !admission.lets_in(hep::Transport::Tcp, peer) {
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            admission.metrics().tcp_refused.inc();
            continue;
        };
        let origin = Origin { transport: hep::Transport::Tcp, peer };
        let (admission, stop) = (admission.clone(), stop.clone());
        streams.spawn(async move {
            let _place = place;
            admission.metrics().tcp_connections.inc();
            if let Err(error) = stream::receive(stream, origin, limits.idle, &admission, &stop).await {
                tracing::info!(%peer, %error, "hep stream closed");
            }
            admission.metrics().tcp_connections.dec();
        });
    }
    streams.close();
    streams.wait().await;
}
