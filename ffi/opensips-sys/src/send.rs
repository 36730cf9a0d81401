//! Standing between the core and the functions that send.

use std::ffi::{c_char, c_int, c_uint};

use crate::ROW;
use crate::message::{sip_msg, sockaddr_union, socket_info};

/// What a transport's send function looks like.
#[cfg(not(send_gets_message))]
pub type SendFn =
    unsafe extern "C" fn(*const socket_info, *mut c_char, c_uint, *const sockaddr_union, c_uint) -> c_int;
/// What a transport's send function looks like.
#[cfg(send_gets_message)]
pub type SendFn = unsafe extern "C" fn(
    *const socket_info,
    *mut c_char,
    c_uint,
    *const sockaddr_union,
    c_uint,
    *mut sip_msg,
) -> c_int;

/// One call of it.
#[derive(Clone, Copy, Debug)]
pub struct SendCall {
    /// From which socket of ours.
    pub socket: *const socket_info,
    /// The message; the transport may change it while it sends.
    pub start: *mut c_char,
    /// Its octets.
    pub len: c_uint,
    /// To whom.
    pub to: *const sockaddr_union,
    /// Which connection, if one is meant.
    pub connection: c_uint,
    /// The message that caused it; null in versions that do not say.
    pub cause: *mut sip_msg,
}

impl SendCall {
    /// Passes the call on, as it came.
    ///
    /// # Safety
    /// `original` must be the function that the core would have called.
    pub unsafe fn forward(&self, original: SendFn) -> c_int {
        let Self { socket, start, len, to, connection, .. } = *self;
        #[cfg(not(send_gets_message))]
        // SAFETY: the arguments are those that the core gave.
        return unsafe { original(socket, start, len, to, connection) };
        #[cfg(send_gets_message)]
        // SAFETY: the arguments are those that the core gave.
        return unsafe { original(socket, start, len, to, connection, self.cause) };
    }
}

/// Who stands in between.
pub trait SendHook {
    /// Called in place of the function of protocol `proto`; answers what that would.
    fn send(proto: usize, call: &SendCall) -> c_int;
}

#[cfg(not(send_gets_message))]
unsafe extern "C" fn between<H: SendHook, const PROTO: usize>(
    socket: *const socket_info,
    start: *mut c_char,
    len: c_uint,
    to: *const sockaddr_union,
    connection: c_uint,
) -> c_int {
    H::send(PROTO, &SendCall { socket, start, len, to, connection, cause: std::ptr::null_mut() })
}

#[cfg(send_gets_message)]
unsafe extern "C" fn between<H: SendHook, const PROTO: usize>(
    socket: *const socket_info,
    start: *mut c_char,
    len: c_uint,
    to: *const sockaddr_union,
    connection: c_uint,
    cause: *mut sip_msg,
) -> c_int {
    H::send(PROTO, &SendCall { socket, start, len, to, connection, cause })
}

/// Room for the protocols that carry SIP in any version, counted from 0.
pub const PROTOS: usize = 8;

/// The ports that the core's table has for them by their standards, from number 1 on.
const STANDARD_PORTS: [u16; PROTOS - 1] = [5060, 5060, 5061, 5060, 80, 443, 5062];

/// `struct proto_info`. Only ever behind a pointer.
#[repr(C)]
#[derive(Debug)]
pub struct proto_info {
    _hidden: [u8; 0],
}

const PROTO_STANDARD_PORT: usize = 8;
const PROTO_ID: usize = 12;

unsafe extern "C" {
    /// The core's table of protocols.
    #[link_name = "protos"]
    static core_protos: proto_info;
}

/// The core's entry for a protocol.
fn entry(proto: usize) -> *const proto_info {
    (&raw const core_protos).wrapping_byte_add(proto * ROW.proto_size)
}

/// The standard port that the core's table has for a protocol, and its number if a transport serves it, else 0.
fn facts(proto: usize) -> (u16, c_int) {
    let entry = entry(proto);
    // SAFETY: the core's table is longer than what is read of it, whichever version it is; numbers are read only.
    let port = unsafe { entry.wrapping_byte_add(PROTO_STANDARD_PORT).cast::<u16>().read_unaligned() };
    // SAFETY: as above.
    let id = unsafe { entry.wrapping_byte_add(PROTO_ID).cast::<c_int>().read_unaligned() };
    (port, id)
}

/// Whether the core's table of protocols is laid out as ours says: each number where it should be.
#[must_use]
pub fn protocols_look_right() -> bool {
    (1..=ROW.last_sip_proto).zip(STANDARD_PORTS).all(|(proto, standard)| {
        let (port, id) = facts(proto);
        port == standard && (id == 0 || usize::try_from(id) == Ok(proto))
    })
}

/// The function that sends over a protocol; none if no transport serves it.
#[must_use]
pub fn protocol(proto: usize) -> Option<SendFn> {
    if proto == 0 || proto > ROW.last_sip_proto {
        return None;
    }
    if usize::try_from(facts(proto).1) != Ok(proto) {
        return None;
    }
    let place = entry(proto).wrapping_byte_add(ROW.proto_send);
    // SAFETY: the number was checked, so that the core's table has it; a transport that is there has a function there.
    unsafe { place.cast::<Option<SendFn>>().read() }
}

/// Puts `H` in place of the function that sends over a protocol.
///
/// # Safety
/// To be called in the main process before the first fork; the caller keeps what [`protocol`] gave before.
pub unsafe fn replace_send<H: SendHook>(proto: usize) {
    let ours: SendFn = match proto {
        1 => between::<H, 1>,
        2 => between::<H, 2>,
        3 => between::<H, 3>,
        4 => between::<H, 4>,
        5 => between::<H, 5>,
        6 => between::<H, 6>,
        7 => between::<H, 7>,
        _ => return,
    };
    let place = entry(proto).wrapping_byte_add(ROW.proto_send).cast_mut();
    // SAFETY: the core's table has these numbers; nobody else runs yet, as the caller knows, and the core never writes it again.
    unsafe { place.cast::<SendFn>().write(ours) };
}
