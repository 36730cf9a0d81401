//! The host's structs → `capture::Message`. Nothing else reads them.

use std::ffi::{c_char, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use capture::{Message, Timestamp, Transport};
use opensips_sys::{
    AF_INET, AF_INET6, PROTO_SCTP, PROTO_TCP, PROTO_TLS, PROTO_WS, PROTO_WSS, SendCall, ip_addr,
    receive_info, sip_msg, sockaddr_union, socket_info,
};

use crate::{hidden, process};

/// The present time.
#[inline]
pub fn now() -> Timestamp {
    let (seconds, microseconds) = boundary::wall_clock();
    Timestamp { seconds, microseconds }
}

/// Octets of the longest message that the host takes, and more.
const MOST: u32 = 1 << 20;

/// A message that came in, as it was before the script, or whoever decodes it for the script, changed anything.
///
/// # Safety
/// The message must be one that the host has handed over, and be in use for as long as the answer.
pub unsafe fn received<'m>(msg: *const sip_msg, captured_at: Timestamp) -> Message<'m> {
    // SAFETY: the caller's promise.
    let (start, len) = unsafe { opensips_sys::message_octets(msg) };
    // SAFETY: the host keeps the whole message there for as long as the struct lives.
    let host = unsafe { boundary::bytes(start, c_int::try_from(len).unwrap_or_default()) };
    stumble(host);
    // SAFETY: these octets, and each answer is gone when the callback that it was made for has returned.
    let (raw, inner_call_id) = unsafe { hidden::received(host) };
    // SAFETY: the caller's promise.
    let receive_info { src_ip, dst_ip, src_port, dst_port, proto } =
        unsafe { opensips_sys::message_received(msg) };
    // SAFETY: the caller's promise.
    let socket = unsafe { opensips_sys::message_socket(msg) };
    Message {
        raw,
        source: address(&src_ip, src_port),
        // SAFETY: null, or one of the host's sockets, which live as long as the host.
        destination: unsafe { told(address(&dst_ip, dst_port), socket) },
        transport: transport(proto),
        captured_at,
        inner_call_id,
    }
}

/// Nothing, unless built for a test of what a defect costs.
#[inline]
fn stumble(raw: &[u8]) {
    #[cfg(feature = "test-panics")]
    #[expect(clippy::panic, reason = "what the feature is for")]
    if capture::call_id(raw) == Some(b"please-panic") {
        panic!("asked for");
    }
    let _ = raw;
}

/// Whether a message from the network is where our table says: if not, the host is not what this was built for.
///
/// # Safety
/// As [`received`].
pub unsafe fn looks_right(msg: *const sip_msg) -> bool {
    // SAFETY: the caller's promise.
    let (start, len) = unsafe { opensips_sys::message_octets(msg) };
    // SAFETY: the caller's promise.
    let receive_info { src_ip, dst_ip, proto, .. } = unsafe { opensips_sys::message_received(msg) };
    let is_address = |address: &ip_addr| matches!((address.af, address.len), (AF_INET, 4) | (AF_INET6, 16));
    !start.is_null()
        && (1..=MOST).contains(&len)
        && (1..=32).contains(&proto)
        && [src_ip, dst_ip].iter().all(is_address)
}

/// Which ports a connection has that a message was sent over; none if the host does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealPorts {
    /// Ours.
    pub local: Option<u16>,
    /// The other side's.
    pub remote: Option<u16>,
}

/// A message that was sent.
///
/// # Safety
/// The pointers in the call must be null or valid, which holds until the call has ended.
pub unsafe fn sent<'m>(
    call: &SendCall,
    raw: &'m [u8],
    proto: usize,
    ports: RealPorts,
    captured_at: Timestamp,
) -> Message<'m> {
    stumble(raw);
    let mut source = None;
    if !call.socket.is_null() {
        // SAFETY: one of the host's sockets, which live as long as the host.
        let (ip, port) = unsafe { opensips_sys::socket_end(call.socket) };
        let bound = address(&ip, ports.local.unwrap_or(port));
        // SAFETY: as above.
        source = unsafe { told(bound, call.socket) };
    }
    // SAFETY: null, or where the host sends to.
    let mut destination = unsafe { call.to.as_ref() }.and_then(socket_address);
    if let (Some(end), Some(port)) = (&mut destination, ports.remote) {
        end.set_port(port);
    }
    let proto = c_int::try_from(proto).unwrap_or_default();
    // SAFETY: the call has not ended.
    let inner_call_id = unsafe { hidden::sent(call.start, raw) };
    Message { raw, source, destination, transport: transport(proto), captured_at, inner_call_id }
}

/// An address of the host as it is to be reported: the advertised one of its socket, if the configuration says so and
/// there is one. A port that is not the socket's own stays.
///
/// # Safety
/// The socket must be null or one of the host's.
unsafe fn told(ours: Option<SocketAddr>, socket: *const socket_info) -> Option<SocketAddr> {
    if socket.is_null() || !process::config().is_some_and(|config| config.advertised) {
        return ours;
    }
    // SAFETY: the caller's promise.
    let (ip, port) = unsafe { opensips_sys::socket_advertised(socket) };
    // SAFETY: the caller's promise.
    let (_, own) = unsafe { opensips_sys::socket_end(socket) };
    let bound = ours?;
    let port = if port == 0 || bound.port() != own { bound.port() } else { port };
    address(&ip, port).or(ours)
}

/// The octets of a message that is being sent.
///
/// # Safety
/// As [`sent`].
pub unsafe fn sent_octets<'m>(call: &SendCall) -> &'m [u8] {
    let start: *const c_char = call.start;
    // SAFETY: the host's buffer, as long as it says, until the call has ended.
    unsafe { boundary::bytes(start, c_int::try_from(call.len).unwrap_or_default()) }
}

/// The host's address and a port in host order; `None` for what has no address, such as a message it made itself.
fn address(address: &ip_addr, port: u16) -> Option<SocketAddr> {
    let octets = address.octets;
    let ip: IpAddr = match address.af {
        AF_INET => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
        AF_INET6 => Ipv6Addr::from(octets).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// A C socket address; ports and addresses in it are in network order.
fn socket_address(address: &sockaddr_union) -> Option<SocketAddr> {
    let octets = &address.octets;
    let port = u16::from_be_bytes([octets[2], octets[3]]);
    let ip: IpAddr = match u32::from(u16::from_ne_bytes([octets[0], octets[1]])) {
        AF_INET => Ipv4Addr::new(octets[4], octets[5], octets[6], octets[7]).into(),
        AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(&octets[8..24]).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn transport(proto: c_int) -> Transport {
    match proto {
        PROTO_SCTP => Transport::Sctp,
        PROTO_TCP => Transport::Tcp,
        PROTO_TLS => Transport::Tls,
        PROTO_WS => Transport::Ws,
        PROTO_WSS => Transport::Wss,
        // UDP; also IPsec, and what the host made itself and has not chosen a transport for.
        _ => Transport::Udp,
    }
}
