//! Reading the host's structs. Each function reads one member, at the place that the table gives.

use std::ffi::{c_char, c_int, c_uint};
use std::mem::offset_of;

use crate::ROW;

/// A message as the script works on it. Only ever behind a pointer.
#[repr(C)]
#[derive(Debug)]
pub struct sip_msg {
    _hidden: [u8; 0],
}

/// An address and port of the host's own. Only ever behind a pointer.
#[repr(C)]
#[derive(Debug)]
pub struct socket_info {
    _hidden: [u8; 0],
}

/// An address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ip_addr {
    /// `AF_INET` or `AF_INET6`.
    pub af: c_uint,
    /// 4 or 16.
    pub len: c_uint,
    /// The address; the first `len` octets of it.
    pub octets: [u8; 16],
}

/// `struct sockaddr_in` or `sockaddr_in6`, by its octets.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug)]
pub struct sockaddr_union {
    /// As the system's headers lay it out.
    pub octets: [u8; 28],
}

/// Where a message came from: the part that is the same in all versions.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct receive_info {
    /// Who sent it.
    pub src_ip: ip_addr,
    /// At which address of ours it arrived.
    pub dst_ip: ip_addr,
    /// In host order.
    pub src_port: u16,
    /// In host order.
    pub dst_port: u16,
    /// What carried it.
    pub proto: c_int,
}

const _: () = assert!(size_of::<ip_addr>() == 24 && size_of::<sockaddr_union>() == 28);
const _: () = assert!(offset_of!(receive_info, dst_ip) == 24 && offset_of!(receive_info, src_port) == 48);
const _: () = assert!(offset_of!(receive_info, proto) == 52 && size_of::<receive_info>() <= 64);
// Each member lies inside its struct, and aligned.
const _: () = assert!(ROW.msg_rcv.is_multiple_of(8) && ROW.msg_rcv + RECEIVED_AT + 8 <= ROW.msg_buf);
const _: () = assert!(ROW.msg_buf.is_multiple_of(8) && ROW.msg_buf + 12 <= ROW.msg_size);
const _: () = assert!(ROW.proto_send.is_multiple_of(8) && ROW.proto_send + 8 <= ROW.proto_size);
const _: () = assert!(ROW.socket_address.is_multiple_of(4) && ROW.socket_port.is_multiple_of(2));

/// IPv4 in `ip_addr` and socket addresses.
pub const AF_INET: c_uint = 2;
/// IPv6 in the same.
pub const AF_INET6: c_uint = 10;

/// UDP, in `proto`.
pub const PROTO_UDP: c_int = 1;
/// TCP.
pub const PROTO_TCP: c_int = 2;
/// TLS.
pub const PROTO_TLS: c_int = 3;
/// SCTP.
pub const PROTO_SCTP: c_int = 4;
/// WebSocket.
pub const PROTO_WS: c_int = 5;
/// WebSocket over TLS.
pub const PROTO_WSS: c_int = 6;

/// `first_line.type` of a request.
pub const SIP_REQUEST: c_int = 1;
/// `first_line.type` of a reply.
pub const SIP_REPLY: c_int = 2;
const FIRST_LINE_TYPE: usize = 8;
/// `receive_info.bind_address`
const RECEIVED_AT: usize = 96;

/// What a pointer to a struct and the place of a member give.
///
/// # Safety
/// The struct must be one that has a `T` there.
unsafe fn member<S, T: Copy>(of: *const S, place: usize) -> T {
    // SAFETY: the struct is longer than that, and there is a T there, as the caller knows.
    unsafe { of.wrapping_byte_add(place).cast::<T>().read() }
}

/// Whether a message is a request, a reply, or neither.
///
/// # Safety
/// The message must be one that the host has handed over, and still be in use.
pub unsafe fn message_type(msg: *const sip_msg) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { member(msg, FIRST_LINE_TYPE) }
}

/// The octets as they were received: where and how many.
///
/// # Safety
/// As [`message_type`].
pub unsafe fn message_octets(msg: *const sip_msg) -> (*const c_char, c_uint) {
    // SAFETY: the caller's promise.
    let start: *const c_char = unsafe { member(msg, ROW.msg_buf) };
    // SAFETY: as above.
    let len: c_uint = unsafe { member(msg, ROW.msg_buf + 8) };
    (start, len)
}

/// Where it came from.
///
/// # Safety
/// As [`message_type`].
pub unsafe fn message_received(msg: *const sip_msg) -> receive_info {
    // SAFETY: the caller's promise.
    unsafe { member(msg, ROW.msg_rcv) }
}

/// The socket at which it arrived; null for what has arrived nowhere.
///
/// # Safety
/// As [`message_type`].
pub unsafe fn message_socket(msg: *const sip_msg) -> *const socket_info {
    // SAFETY: the caller's promise.
    unsafe { member(msg, ROW.msg_rcv + RECEIVED_AT) }
}

/// Address and port that a socket advertises; an address of no family, and port 0, if it does not.
///
/// # Safety
/// As [`socket_end`].
pub unsafe fn socket_advertised(socket: *const socket_info) -> (ip_addr, u16) {
    // SAFETY: the caller's promise.
    let address: ip_addr = unsafe { member(socket, ROW.socket_advertised) };
    // SAFETY: as above.
    let port: u16 = unsafe { member(socket, ROW.socket_advertised + size_of::<ip_addr>()) };
    (address, port)
}

/// Address and port that a socket is bound to.
///
/// # Safety
/// The socket must be one of the host's.
pub unsafe fn socket_end(socket: *const socket_info) -> (ip_addr, u16) {
    // SAFETY: the caller's promise.
    let address: ip_addr = unsafe { member(socket, ROW.socket_address) };
    // SAFETY: as above.
    let port: u16 = unsafe { member(socket, ROW.socket_port) };
    (address, port)
}

/// The two numbers, local and remote, that the host writes the ports of a connection to whenever it writes to one that
/// belongs to this socket; null if there are none.
///
/// # Safety
/// As [`socket_end`].
pub unsafe fn socket_real_ports(socket: *const socket_info) -> *mut [u16; 2] {
    if ROW.real_ports_behind_pointer {
        // SAFETY: the caller's promise; this version has a pointer there.
        return unsafe { member(socket, ROW.socket_real_ports) };
    }
    socket.wrapping_byte_add(ROW.socket_real_ports).cast::<[u16; 2]>().cast_mut()
}
