//! HEP over a Unix socket: streams of programs on this machine. Who may send is a matter of the socket's folder.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stream::{self, Origin};
use super::tcp::Limits;
use super::{Admission, Way};

/// Whom such streams are counted under: this machine.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A socket that listens; its file goes with it.
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

/// Binds the socket. A file that an earlier run left there, and that nobody listens at, is replaced.
///
/// # Errors
/// When the path cannot be used, or another process listens at it.
pub async fn bind(path: &Path) -> io::Result<Bound> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    // Of the owner's group too: a proxy rarely runs as the same user.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(Bound { listener, path: path.to_owned() })
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays");
        }
    }
}

/// Accepts until stopped, and then waits for the streams to end at a packet.
pub async fn accept(bound: Bound, limits: Limits, admission: Admission, stop: CancellationToken) {
    let streams = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "unix accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = match limits.places.take(None) {
            Ok(place) => place,
            Err(full) => {
                admission.metrics().stream_refused(full.as_str());
                continue;
            }
        };
        let (admission, stop, idle) = (admission.clone(), stop.clone(), limits.idle);
        streams.spawn(async move {
            admission.metrics().tcp_connections.inc();
            let origin = Origin { way: Way::Unix, peer: PEER };
            let ended = tokio::select! {
                biased;
                ended = stream::receive(stream, origin, idle, &place, &admission, &stop) => ended,
                () = place.gives_way() => {
                    admission.metrics().stream_refused("gave_way");
                    Ok(())
                }
            };
            if let Err(error) = ended {
                tracing::info!(%error, "hep stream of the unix socket closed");
            }
            admission.metrics().tcp_connections.dec();
        });
    }
    streams.close();
    streams.wait().await;
}
