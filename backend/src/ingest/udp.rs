//! HEP over UDP: one packet a datagram. Each socket has a thread of its own, which receives in batches into one buffer
//! that is used again, and does nothing but offer what came. The kernel gives all datagrams of one sender to the same socket.
//!
//! Where datagrams keep coming, a thread that has taken what there was rests for a moment, so that many come out of one
//! call: woken for each, it would cost more than they do. A datagram that comes alone is taken at once.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt as told};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Admission, Arrival, Way};

/// Room for the largest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// From the place of one datagram to that of the next: an odd number of cache lines more than it needs. A power of two would
/// put the starts of all of them, which is all that most have, into the same few lines of the processor's caches.
const PLACE_BYTES: usize = DATAGRAM_BYTES + 17 * 64;

/// The longest rest of a thread that has taken what there was: what datagrams wait for at most.
const GATHER: Duration = Duration::from_micros(500);

/// What may come in a rest, octets a microsecond; a quarter of the receive buffer must hold it.
const FASTEST: usize = 1000;

/// How often a thread that nothing comes for looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long a thread rests after an error.
const REST: Duration = Duration::from_millis(10);

/// Sockets bound to one address.
pub struct Bound {
    sockets: Vec<UdpSocket>,
    /// Octets of receive buffer that the kernel granted each.
    pub buffer_bytes: usize,
}

/// Binds so many sockets to one address, at least one, and asks for a receive buffer of this size for each, octets. Who
/// may (CAP_NET_ADMIN) gets it whatever `net.core.rmem_max` says.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr, sockets: usize, buffer_bytes: usize) -> io::Result<Bound> {
    let share = sockets > 1;
    let first = bind_one(address, share, buffer_bytes)?;
    let (address, granted) = (first.local_addr()?, sockopt::socket_recv_buffer_size(&first)?);
    let mut bound = vec![first];
    for _ in 1..sockets {
        bound.push(bind_one(address, share, buffer_bytes)?);
    }
    // The kernel reports twice what it grants, for its own book-keeping.
    Ok(Bound { sockets: bound, buffer_bytes: granted / 2 })
}

fn bind_one(address: SocketAddr, share: bool, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != std::net::Ipv6Addr::UNSPECIFIED)?;
    }
    if sockopt::set_socket_recv_buffer_size_force(&socket, buffer_bytes).is_err() {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    sockopt::set_socket_reuseport(&socket, share)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl Bound {
    /// The address that was bound.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        // There is one at least.
        self.sockets.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// The sockets as the kernel's tables name them.
    #[must_use]
    pub fn inodes(&self) -> Vec<u64> {
        let inode = |socket: &UdpSocket| rustix::fs::fstat(socket).map(|stat| stat.st_ino);
        self.sockets.iter().map(|socket| inode(socket).unwrap_or_default()).collect()
    }

    /// Receives, a thread for each socket, until stopped, then takes what the kernel still holds. The threads count as
    /// tasks.
    ///
    /// # Errors
    /// When a socket cannot be set up, or a thread not started.
    pub fn receive(
        self,
        admission: &Admission,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> io::Result<()> {
        for (number, socket) in self.sockets.into_iter().enumerate() {
            let state = prepare(&socket)?;
            let gather = gather(self.buffer_bytes);
            let (admission, stop, running) = (admission.clone(), stop.clone(), tasks.token());
            std::thread::Builder::new().name(format!("udp-{number}")).spawn(move || {
                receive(&socket, &state, gather, &admission, &stop);
                drop(running);
            })?;
        }
        Ok(())
    }
}

/// Makes a socket ready. The kernel is to tell no more of a datagram than it has to: where it came from, and the length of those
/// that it joined. What [`UdpSocketState`] asks for besides, for instance a time, is not used here, and costs for each datagram.
fn prepare(socket: &UdpSocket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    let of_family = if socket.local_addr()?.is_ipv6() {
        [
            setsockopt(socket, told::Ipv6RecvPacketInfo, &false),
            setsockopt(socket, told::Ipv6RecvTClass, &false),
        ]
    } else {
        [setsockopt(socket, told::Ipv4PacketInfo, &false), Ok(())]
    };
    // A socket for IPv6 that takes IPv4 has the class of that, too.
    let of_all =
        [setsockopt(socket, told::ReceiveTimestampns, &false), setsockopt(socket, told::IpRecvTos, &false)];
    for error in of_family.into_iter().chain(of_all).filter_map(Result::err) {
        // What a kernel does not know it does not tell.
        tracing::debug!(%error, "udp: the kernel may tell more than is needed");
    }
    Ok(state)
}

/// How long a thread rests whose socket has a buffer of this size.
fn gather(buffer_bytes: usize) -> Duration {
    GATHER.min(Duration::from_micros((buffer_bytes / 4 / FASTEST) as u64))
}

fn receive(
    socket: &UdpSocket,
    state: &UdpSocketState,
    gather: Duration,
    admission: &Admission,
    stop: &CancellationToken,
) {
    let mut memory = vec![0; PLACE_BYTES * BATCH_SIZE];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    loop {
        let places = memory.chunks_mut(PLACE_BYTES);
        let mut buffers = places.filter_map(|place| place.get_mut(..DATAGRAM_BYTES)).map(IoSliceMut::new);
        let mut buffers: [_; BATCH_SIZE] =
            std::array::from_fn(|_| buffers.next().unwrap_or(IoSliceMut::new(&mut [])));
        let count = match state.recv(socket.into(), &mut buffers, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stop.is_cancelled() {
                    return;
                }
                wait(socket);
                continue;
            }
            // For instance an ICMP error of an earlier datagram: of no consequence to a receiver.
            Err(error) => {
                tracing::warn!(%error, "udp receive failed");
                std::thread::sleep(REST);
                if stop.is_cancelled() {
                    return;
                }
                continue;
            }
        };
        let mut batch = admission.batch();
        for (buffer, meta) in memory.chunks(PLACE_BYTES).zip(&metas).take(count) {
            // The kernel may have joined datagrams of one sender: each is `stride` long, the last may be shorter.
            let joined = buffer.get(..meta.len).unwrap_or_default();
            let mut add = |packet| {
                let _counted = batch.add(Arrival { way: Way::Udp, peer: meta.addr, packet });
            };
            if joined.is_empty() {
                add(joined);
            }
            joined.chunks(meta.stride.max(1)).for_each(add);
        }
        let _datagrams_never_wait = batch.take(false, |_| {});
        if count < BATCH_SIZE && !stop.is_cancelled() {
            std::thread::sleep(gather);
        }
    }
}

/// Waits until something comes, or a moment.
fn wait(socket: &UdpSocket) {
    let mut sockets = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    // A signal ends it early, which does no harm.
    let _ready = poll(&mut sockets, Some(&LOOK));
}

#[cfg(test)]
mod tests {
    use quinn_udp::Transmit;

    use super::*;

    #[test]
    fn the_kernel_tells_who_sent_a_datagram_and_how_it_was_joined_and_no_more() {
        for (here, to) in
            [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("[::]", "127.0.0.1"), ("[::]", "[::1]")]
        {
            let bound = bind(format!("{here}:0").parse().expect("an address"), 1, 1 << 20).expect("a socket");
            let state = prepare(&bound.sockets[0]).expect("a ready socket");
            let port = bound.local_addr().expect("bound").port();
            let sender = UdpSocket::bind(format!("{to}:0")).expect("a sender");
            let sending = UdpSocketState::new((&sender).into()).expect("a ready sender");
            let transmit = Transmit {
                destination: format!("{to}:{port}").parse().expect("an address"),
                ecn: None,
                contents: &[7; 250],
                segment_size: Some(100),
                src_ip: None,
            };
            sending.try_send((&sender).into(), &transmit).expect("sent");
            let (mut lengths, from) = (Vec::new(), sender.local_addr().expect("bound"));
            while lengths.iter().sum::<usize>() < 250 {
                wait(&bound.sockets[0]);
                let mut memory = vec![0; DATAGRAM_BYTES];
                let mut metas = [RecvMeta::default()];
                let mut buffers = [IoSliceMut::new(&mut memory)];
                let received = state.recv((&bound.sockets[0]).into(), &mut buffers, &mut metas);
                assert_eq!(received.expect("a datagram"), 1);
                let [meta] = metas;
                assert_eq!((meta.timestamp, meta.dst_ip, meta.ecn), (None, None, None), "{here}");
                assert_eq!((meta.addr.ip().to_canonical(), meta.addr.port()), (from.ip(), from.port()));
                lengths.extend(memory[..meta.len].chunks(meta.stride).map(<[u8]>::len));
            }
            assert_eq!(lengths, [100, 100, 50], "{here}");
        }
    }

    #[test]
    fn a_small_buffer_makes_a_short_rest() {
        assert_eq!(gather(64 << 20), GATHER);
        assert_eq!(gather(212_992), Duration::from_micros(53));
    }

    #[test]
    fn sockets_share_an_address_and_one_alone_shares_it_with_nobody() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let two = bind(any, 2, 1 << 20).expect("two sockets");
        let inodes = two.inodes();
        assert!(inodes.len() == 2 && inodes[0] != inodes[1] && !inodes.contains(&0), "{inodes:?}");
        assert!(two.buffer_bytes >= 65_536, "{}", two.buffer_bytes);
        let one = bind(any, 1, 1 << 20).expect("a socket");
        let taken = one.local_addr().expect("bound");
        assert_eq!(bind(taken, 1, 1 << 20).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
    }
}
