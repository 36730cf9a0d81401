//! HEP over UDP: one packet a datagram, received in batches into one buffer that is used again.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{Admission, Arrival, Way};

/// Room for the largest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// A bound socket with the buffer that the kernel granted.
pub struct Bound {
    socket: UdpSocket,
    /// Octets of receive buffer.
    pub buffer_bytes: usize,
}

/// Binds the socket and asks for a receive buffer of this size, octets.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Bound> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != std::net::Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let buffer_bytes = socket.recv_buffer_size()?;
    Ok(Bound { socket: UdpSocket::from_std(socket.into())?, buffer_bytes })
}

impl Bound {
    /// The address that was bound.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Receives until stopped, then takes what the kernel still holds.
///
/// # Errors
/// When the socket cannot be set up.
pub async fn receive(bound: Bound, admission: Admission, stop: CancellationToken) -> io::Result<()> {
    let socket = bound.socket;
    let state = UdpSocketState::new((&socket).into())?;
    let mut memory = vec![0; DATAGRAM_BYTES * BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    loop {
        let mut buffers: Vec<_> = memory.chunks_mut(DATAGRAM_BYTES).map(IoSliceMut::new).collect();
        let received =
            socket.async_io(Interest::READABLE, || state.recv((&socket).into(), &mut buffers, &mut metas));
        let count = tokio::select! {
            biased;
            received = received => received,
            () = stop.cancelled() => return Ok(()),
        };
        let count = match count {
            Ok(count) => count,
            // For instance an ICMP error of an earlier datagram: of no consequence to a receiver.
            Err(error) => {
                tracing::warn!(%error, "udp receive failed");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        for (buffer, meta) in memory.chunks(DATAGRAM_BYTES).zip(&metas).take(count) {
            // The kernel may have joined datagrams of one sender: each is `stride` long, the last may be shorter.
            let joined = buffer.get(..meta.len).unwrap_or_default();
            let offer = |packet: &[u8]| {
                let arrival = Arrival { way: Way::Udp, peer: meta.addr, packet };
                let _counted = admission.offer(arrival);
            };
            if joined.is_empty() {
                offer(joined);
            }
            joined.chunks(meta.stride.max(1)).for_each(offer);
        }
    }
}
