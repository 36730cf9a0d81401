//! The two Call-IDs of a call whose topology is hidden: `topology_hiding("C")` shows the called side another one than the
//! calling side and the script know.
//!
//! What comes in is decoded before anything reads it, what goes out is encoded right before the transport gets it. So the
//! core's callbacks for raw messages show what the module of that name starts from, if they come before its own: they
//! are asked for before any module's `mod_init`, and only if it is loaded. Each message is captured as it was on the wire;
//! the Call-ID that the proxy knows is said along with it.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};

use boundary::fence;
use opensips_sys::{POST_RAW_PROCESSING, PRE_RAW_PROCESSING, RawCallback, sip_msg, str_};

use crate::log::{Level, log};

/// Whether the callbacks were asked for.
static ON: AtomicBool = AtomicBool::new(false);

/// What the host does after a callback, or after `preinit`: go on.
const GO_ON: c_int = 0;

/// Octets of the host's: where, and how many.
#[derive(Clone, Copy)]
struct Place {
    start: *const c_char,
    len: c_int,
}

const NOWHERE: Place = Place { start: null(), len: 0 };

/// A message that was decoded, and how it came.
struct Decoded {
    /// Where the script's version lies, and how many octets it has; compared, never read.
    host: Place,
    /// As it was on the wire. Room that is used again and again.
    wire: Vec<u8>,
}

thread_local! {
    /// What the host has received last, before anything has read it.
    static CAME: Cell<Place> = const { Cell::new(NOWHERE) };
    /// What the host is about to send, before anything is changed in it.
    static LEAVES: Cell<Place> = const { Cell::new(NOWHERE) };
    /// The message that the script works on.
    static DECODED: RefCell<Decoded> = const { RefCell::new(Decoded { host: NOWHERE, wire: Vec::new() }) };
}

/// Called before any module's `mod_init`, when all are loaded.
pub unsafe extern "C" fn preinit() -> c_int {
    fence(GO_ON, || {
        // SAFETY: a plain question to the host.
        if unsafe { opensips_sys::module_loaded(c"topology_hiding".as_ptr()) } != 0 {
            let (came, leaves): (RawCallback, RawCallback) = (came, leaves);
            // SAFETY: the main process, before any fork; the callback lives as long as the module is loaded.
            let first = unsafe { opensips_sys::register_pre_raw_processing_cb(came, PRE_RAW_PROCESSING, 0) };
            // SAFETY: as above.
            let second =
                unsafe { opensips_sys::register_post_raw_processing_cb(leaves, POST_RAW_PROCESSING, 0) };
            if first == 0 && second == 0 {
                ON.store(true, Ordering::Relaxed);
            } else {
                log(Level::Warning, "a call whose Call-ID topology_hiding changes is captured as two calls");
            }
        }
        GO_ON
    })
}

fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

unsafe extern "C" fn came(octets: *mut str_, _: *mut sip_msg) -> c_int {
    fence(GO_ON, || {
        // SAFETY: null, or the host's text.
        CAME.set(unsafe { place(octets) });
        GO_ON
    })
}

unsafe extern "C" fn leaves(octets: *mut str_, _: *mut sip_msg) -> c_int {
    fence(GO_ON, || {
        // SAFETY: null, or the host's text.
        LEAVES.set(unsafe { place(octets) });
        GO_ON
    })
}

/// # Safety
/// The pointer must be null or to a text of the host's.
unsafe fn place(octets: *const str_) -> Place {
    // SAFETY: the caller's promise.
    unsafe { octets.as_ref() }.map_or(NOWHERE, |octets| Place { start: octets.s, len: octets.len })
}

/// Keeps how a message came, if it was decoded. To be called when the host shows it, before the script.
///
/// # Safety
/// The message must be the one that the host has received last, and still be in use.
#[inline]
pub unsafe fn arrived(msg: *const sip_msg) {
    if is_on() && !msg.is_null() {
        // SAFETY: the caller's promise.
        let (start, len) = unsafe { opensips_sys::message_octets(msg) };
        // SAFETY: as above.
        unsafe { keep(start, c_int::try_from(len).unwrap_or_default()) };
    }
}

/// # Safety
/// As [`arrived`].
#[cold]
unsafe fn keep(host: *const c_char, len: c_int) {
    let came = CAME.replace(NOWHERE);
    DECODED.with_borrow_mut(|decoded| {
        decoded.host = NOWHERE;
        if came.start.is_null() || came.start == host {
            return;
        }
        decoded.host = Place { start: host, len };
        decoded.wire.clear();
        // SAFETY: the host keeps what it has received until it is done with the message, and passed both together.
        decoded.wire.extend_from_slice(unsafe { boundary::bytes(came.start, came.len) });
    });
}

/// Forgets how the last message came: the host is done with it.
pub fn forget() {
    if is_on() {
        DECODED.with_borrow_mut(|decoded| decoded.host = NOWHERE);
    }
}

/// The octets of a message as they were on the wire, and the Call-ID that the proxy knows it by if that is another.
///
/// # Safety
/// The octets must be those of the host's message, in use for as long as the answer, which must be gone when the next
/// message arrives.
#[inline]
pub unsafe fn received(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    // SAFETY: the caller's promise.
    if is_on() { unsafe { undecoded(host) } } else { (host, None) }
}

/// # Safety
/// As [`received`].
#[cold]
unsafe fn undecoded(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let wire = DECODED.with_borrow(|decoded| {
        let same =
            decoded.host.start == host.as_ptr().cast() && usize::try_from(decoded.host.len) == Ok(host.len());
        same.then(|| Place {
            start: decoded.wire.as_ptr().cast(),
            len: c_int::try_from(decoded.wire.len()).unwrap_or_default(),
        })
    });
    let Some(wire) = wire else { return (host, None) };
    // SAFETY: our copy, which is changed only when the next message arrives.
    let wire = unsafe { boundary::bytes(wire.start, wire.len) };
    (wire, inner_call_id(host, wire))
}

/// The Call-ID that the proxy knows a message by that it is sending, if it is another than that in `wire`.
///
/// # Safety
/// `call` must be what the host has asked the transport for; the answer must be gone when the call has ended.
pub unsafe fn sent(start: *const c_char, wire: &[u8]) -> Option<&[u8]> {
    if !is_on() {
        return None;
    }
    let made = LEAVES.replace(NOWHERE);
    if made.start.is_null() || made.start == start {
        return None;
    }
    // SAFETY: what the sender has made stays until the host has sent it.
    inner_call_id(unsafe { boundary::bytes(made.start, made.len) }, wire)
}

fn inner_call_id<'m>(inner: &'m [u8], wire: &[u8]) -> Option<&'m [u8]> {
    capture::call_id(inner).filter(|call_id| capture::call_id(wire) != Some(call_id))
}
