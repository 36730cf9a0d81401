//! The ways in for HEP: bound before anything starts, served until stopped.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind;
use crate::config::Config;
use crate::ingest::places::Places;
use crate::ingest::tcp::Speaks;
use crate::ingest::tls::Tls;
use crate::ingest::{Admission, http, tcp, udp, unix};
use crate::network::Network;

/// How often a free port is looked for that both UDP and TCP can have.
const PORT_TRIES: u32 = 20;

/// All listeners for HEP.
pub struct Listeners {
    udp: udp::Bound,
    tcp: TcpListener,
    tls: Option<(TcpListener, Tls)>,
    unix: Option<unix::Bound>,
    http: Option<TcpListener>,
    limits: tcp::Limits,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// When one cannot be bound, or its files cannot be used.
    pub async fn bind(config: &Config) -> Result<Self> {
        let hep = &config.hep;
        let (udp, tcp) = bind_both(config).await?;
        let tls = match hep.tls_address() {
            Some(address) => {
                let tls = Tls::open(hep.tls_files())
                    .context("hep.tls_certificate, hep.tls_key, hep.tls_client_ca")?;
                Some((bind(address, "hep.tls_listen").await?, tls))
            }
            None => None,
        };
        let unix = match hep.unix_listen.as_os_str().is_empty() {
            true => None,
            false => {
                let context = || format!("hep.unix_listen: {}", hep.unix_listen.display());
                Some(unix::bind(&hep.unix_listen).await.with_context(context)?)
            }
        };
        let http = match hep.http_address() {
            Some(address) => Some(bind(address, "hep.http_listen").await?),
            None => None,
        };
        let limits = tcp::Limits {
            places: Places::new(streams(config), hep.peer_connections),
            opening: tcp::OPENING,
            idle: Some(Duration::from_secs(hep.tcp_idle_seconds)).filter(|idle| !idle.is_zero()),
            balancers: hep.balancers.iter().filter_map(|text| Network::parse(text)).collect(),
        };
        Ok(Self { udp, tcp, tls, unix, http, limits })
    }

    /// Where UDP and TCP are taken.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.tcp.local_addr()?)
    }

    /// Lines that say where further ways in are.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn announcements(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        if let Some((listener, _)) = &self.tls {
            lines.push(format!("hep-tls listening on {}", listener.local_addr()?));
        }
        if let Some(bound) = &self.unix {
            lines.push(format!("hep-unix listening on {}", bound.path().display()));
        }
        if let Some(listener) = &self.http {
            lines.push(format!("hep-http listening on http://{}/hep", listener.local_addr()?));
        }
        Ok(lines)
    }

    /// What TLS is spoken with, to be read again at a SIGHUP.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.tls.as_ref().map(|(_, tls)| tls.clone())
    }

    /// Serves all of them until stopped.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn spawn(self, ingest: &TaskTracker, admission: &Admission, stop: &CancellationToken) -> Result<()> {
        let Self { udp, tcp, tls, unix, http, limits } = self;
        admission.metrics().udp_sockets(udp.inodes());
        udp.receive(admission, stop, ingest).context("hep over udp")?;
        let (admission, stop) = (|| admission.clone(), || stop.clone());
        ingest.spawn(tcp::accept(tcp, Speaks::Hep, limits.clone(), admission(), stop()));
        if let Some((listener, tls)) = tls {
            ingest.spawn(tls.clone().watch(stop()));
            ingest.spawn(tcp::accept(listener, Speaks::HepOverTls(tls), limits.clone(), admission(), stop()));
        }
        if let Some(bound) = unix {
            ingest.spawn(unix::accept(bound, limits.clone(), admission(), stop()));
        }
        if let Some(listener) = http {
            let routes = http::router(admission(), limits.idle, stop());
            ingest.spawn(tcp::accept(listener, Speaks::Http(routes), limits, admission(), stop()));
        }
        Ok(())
    }
}

/// Streams at a time: as many as are set, or as the budget of memory has room for.
fn streams(config: &Config) -> usize {
    let (asked, most) = (config.hep.tcp_connections, config.memory.budget().streams());
    if most < asked {
        tracing::warn!(
            asked,
            most,
            "hep.tcp_connections: memory.budget_bytes has room for fewer, 128 KiB and as much again for each"
        );
    }
    asked.min(most)
}

/// Binds UDP and TCP to one address; for port 0, to one free port.
async fn bind_both(config: &Config) -> Result<(udp::Bound, TcpListener)> {
    let wanted = config.hep.listen;
    let context = || format!("hep.listen: {wanted}");
    let mut tries = 0;
    loop {
        let tcp = TcpListener::bind(wanted).await.with_context(context)?;
        let address = tcp.local_addr()?;
        match udp::bind(address, config.hep.udp_threads(), config.hep.udp_buffer_bytes) {
            Ok(udp) => {
                warn_of_small_buffer(config.hep.udp_buffer_bytes, udp.buffer_bytes);
                return Ok((udp, tcp));
            }
            Err(_) if wanted.port() == 0 && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error).with_context(context),
        }
    }
}

fn warn_of_small_buffer(asked: usize, granted: usize) {
    if granted < asked {
        tracing::warn!(
            asked,
            granted,
            "hep.udp_buffer_bytes: the kernel gave less, and bursts will be dropped; run: sysctl -w net.core.rmem_max={asked}"
        );
    }
}
