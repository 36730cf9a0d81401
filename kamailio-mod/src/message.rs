//! The host's structs → `capture::Message`. Nothing else reads them.

use std::ffi::c_char;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use capture::{Message, Timestamp, Transport};
use kamailio_sys::{
    AF_INET, AF_INET6, dest_info, ip_addr, onsend_info, receive_info, sip_msg, sip_protos_PROTO_SCTP,
    sip_protos_PROTO_TCP, sip_protos_PROTO_TLS, sip_protos_PROTO_WS, sip_protos_PROTO_WSS, sockaddr_union,
    socket_info,
};

use crate::{connection, process};

/// The present time.
#[inline]
pub fn now() -> Timestamp {
    let (seconds, microseconds) = boundary::wall_clock();
    Timestamp { seconds, microseconds }
}

/// A message that came in, as it was before the script changed anything.
///
/// # Safety
/// `buf` and `len` of the struct must be what the host set, which holds for every message that a script meets.
pub unsafe fn received(msg: &sip_msg, captured_at: Timestamp) -> Message<'_> {
    // SAFETY: the host keeps the whole message in `buf` for as long as the struct lives; the caller vouches for both.
    let raw = unsafe { boundary::bytes(msg.buf, msg.len as i32) };
    arrived(raw, &msg.rcv, captured_at)
}

/// A message of which the host has told where it came from and at which address of its own.
#[inline(always)]
pub fn arrived<'a>(raw: &'a [u8], from: &receive_info, captured_at: Timestamp) -> Message<'a> {
    let receive_info { src_ip, dst_ip, src_port, dst_port, proto, proto_reserved1, bind_address, .. } = from;
    // SAFETY: null or the listening socket's struct, which lives as long as the host.
    let socket: Option<&socket_info> = unsafe { bind_address.as_ref() };
    // The host does not know its port on a connection that it has opened from a socket of the script's choice.
    let port = if *dst_port == 0 { socket.map_or(0, |socket| socket.port_no) } else { *dst_port };
    let transport = transport(*proto);
    let ends = |source, destination| Message {
        raw,
        source,
        destination,
        transport,
        captured_at,
        inner_call_id: None,
    };
    // Apart, because nearly all messages are such, and to put together one kind of address is cheaper than any.
    let message = if src_ip.af == AF_INET && dst_ip.af == AF_INET {
        ends(Some(v4(src_ip, *src_port)), told(Some(v4(dst_ip, port)), socket))
    } else {
        ends(address(src_ip, *src_port), told(address(dst_ip, port), socket))
    };
    connection::remember(&message, *proto_reserved1);
    message
}

/// A message that is about to leave, inside `onsend_route`.
///
/// # Safety
/// The pointers in the struct must be null or valid, which holds while the host runs `onsend_route`.
pub unsafe fn leaving(info: &onsend_info, captured_at: Timestamp) -> Message<'_> {
    // SAFETY: the host's send buffer stays until `onsend_route` has ended.
    let raw = unsafe { boundary::bytes(info.buf, info.len) };
    // SAFETY: null or the listening socket's struct, which lives as long as the host.
    let socket: Option<&socket_info> = unsafe { info.send_sock.as_ref() };
    // SAFETY: null or part of the destination that the host sends to, valid during `onsend_route`.
    let to = unsafe { info.to.as_ref() };
    Message {
        raw,
        source: socket.and_then(listening),
        destination: to.and_then(socket_address),
        // Not from `dst`: the host leaves that empty, and tm and sl leave in it whatever was there before.
        transport: transport(socket.map(|socket| socket.proto).unwrap_or_default()),
        captured_at,
        inner_call_id: None,
    }
}

/// A message that goes to a destination.
///
/// # Safety
/// The socket in the destination must be null or valid, which holds while the host sends.
pub unsafe fn departing<'a>(raw: &'a [u8], to: &dest_info, captured_at: Timestamp) -> Message<'a> {
    // SAFETY: null or the listening socket's struct, which lives as long as the host.
    let socket: Option<&socket_info> = unsafe { to.send_sock.as_ref() };
    Message {
        raw,
        source: socket.and_then(listening),
        destination: socket_address(&to.to),
        transport: transport(to.proto),
        captured_at,
        inner_call_id: None,
    }
}

/// Where a socket listens, as it is to be reported.
fn listening(socket: &socket_info) -> Option<SocketAddr> {
    told(address(&socket.address, socket.port_no), Some(socket))
}

/// An address of the host as it is to be reported: the advertised one of its listening socket, if the configuration says
/// so and there is one. A port that is not the listening socket's stays.
#[inline]
pub fn told(ours: Option<SocketAddr>, socket: Option<&socket_info>) -> Option<SocketAddr> {
    if process::config().is_some_and(|config| config.advertised) { advertised(ours, socket) } else { ours }
}

#[cold]
#[inline(never)]
fn advertised(ours: Option<SocketAddr>, socket: Option<&socket_info>) -> Option<SocketAddr> {
    let (Some(bound), Some(socket)) = (ours, socket) else { return ours };
    let port = match socket.useinfo.port_no {
        0 => bound.port(),
        advertised if bound.port() == socket.port_no => advertised,
        _ => bound.port(),
    };
    address(&socket.useinfo.address, port).or(ours)
}

/// The host's address and a port in host order; `None` for what has no address, such as a message it made itself.
#[inline]
pub fn address(address: &ip_addr, port: u16) -> Option<SocketAddr> {
    match address.af {
        AF_INET => Some(v4(address, port)),
        AF_INET6 => {
            // SAFETY: all variants of the union are plain octets of the same memory.
            let octets = unsafe { address.u.addr };
            Some(SocketAddr::new(Ipv6Addr::from(octets).into(), port))
        }
        _ => None,
    }
}

/// The host's IPv4 address.
#[inline]
fn v4(address: &ip_addr, port: u16) -> SocketAddr {
    // SAFETY: all variants of the union are plain octets of the same memory.
    let octets = unsafe { address.u.addr };
    SocketAddr::new(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(), port)
}

/// A C socket address; ports and addresses in it are in network order.
fn socket_address(address: &sockaddr_union) -> Option<SocketAddr> {
    // SAFETY: every variant begins with the family.
    let family = u32::from(unsafe { address.s }.sa_family);
    match family {
        AF_INET => {
            // SAFETY: the family says that this variant was written.
            let v4 = unsafe { address.sin };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
        }
        AF_INET6 => {
            // SAFETY: the family says that this variant was written.
            let v6 = unsafe { address.sin6 };
            // SAFETY: all variants of the union are plain octets of the same memory.
            let octets = unsafe { v6.sin6_addr.__in6_u.__u6_addr8 };
            Some(SocketAddr::new(Ipv6Addr::from(octets).into(), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

fn transport(proto: c_char) -> Transport {
    #[expect(non_upper_case_globals, reason = "bindgen's names of the host's constants")]
    match proto as u32 {
        sip_protos_PROTO_SCTP => Transport::Sctp,
        sip_protos_PROTO_TCP => Transport::Tcp,
        sip_protos_PROTO_TLS => Transport::Tls,
        sip_protos_PROTO_WS => Transport::Ws,
        sip_protos_PROTO_WSS => Transport::Wss,
        // UDP; also what the host made itself and has not chosen a transport for.
        _ => Transport::Udp,
    }
}
