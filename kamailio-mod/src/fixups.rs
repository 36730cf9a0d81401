//! A call's arguments when the configuration is read.
//!
//! What is wrong in every call stops the proxy before it serves; what only a variable's value makes wrong is logged
//! once when it happens. A call also tells what the module must ask the host for; see `hooks`.

use std::ffi::{CStr, c_char, c_int, c_void};

use boundary::fence;
use kamailio_sys::sip_msg;

use crate::log::{Level, log};
use crate::{argument, calls, hooks};

pub type Fixup = unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int;
pub type Command = unsafe extern "C" fn(*mut sip_msg, *mut c_char, *mut c_char) -> c_int;

/// What an argument is.
#[derive(Clone, Copy)]
enum Kind {
    Collector,
    /// Source or destination.
    End,
    Mode,
    /// Anything: an id, a text.
    Text,
}

/// `sip_trace(uri, correlation_id, mode)`
pub unsafe extern "C" fn trace(parameter: *mut *mut c_void, number: c_int) -> c_int {
    hooks::note_call();
    let kind = match number {
        1 => Kind::Collector,
        3 => Kind::Mode,
        _ => Kind::Text,
    };
    // SAFETY: the host's own argument.
    unsafe { fix("sip_trace", parameter, kind) }
}

/// `sip_trace_mode(mode)`
pub unsafe extern "C" fn trace_mode(parameter: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: the host's own argument.
    unsafe { fix("sip_trace_mode", parameter, Kind::Mode) }
}

/// `sip_trace_msg(text, uri, correlation_id)`
pub unsafe extern "C" fn trace_msg(parameter: *mut *mut c_void, number: c_int) -> c_int {
    let kind = if number == 2 { Kind::Collector } else { Kind::Text };
    // SAFETY: the host's own argument.
    unsafe { fix("sip_trace_msg", parameter, kind) }
}

/// `sip_trace_msg(text, source, destination, uri, correlation_id)`
pub unsafe extern "C" fn trace_msg_ends(parameter: *mut *mut c_void, number: c_int) -> c_int {
    let kind = match number {
        2 | 3 => Kind::End,
        4 => Kind::Collector,
        _ => Kind::Text,
    };
    // SAFETY: the host's own argument.
    unsafe { fix("sip_trace_msg", parameter, kind) }
}

/// `hlog(correlation_id, text)`
pub unsafe extern "C" fn hlog(parameter: *mut *mut c_void, _: c_int) -> c_int {
    // SAFETY: the host's own argument.
    unsafe { fix("hlog", parameter, Kind::Text) }
}

/// Checks an argument, then lets the host prepare it.
///
/// # Safety
/// The parameter must be the address of the host's pointer to the argument's text.
unsafe fn fix(function: &str, parameter: *mut *mut c_void, kind: Kind) -> c_int {
    const REFUSED: c_int = -1;
    fence(REFUSED, || {
        // SAFETY: the host passes the address of its pointer to the argument's text.
        let text = unsafe { *parameter };
        // SAFETY: the text is the script's literal, ended by a NUL.
        let text = unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_bytes();
        if matches!(kind, Kind::Mode) && !matches!(text, [] | [b'm' | b'M', ..]) {
            hooks::ask_for();
        }
        if argument::is_literal(text)
            && let Err(error) = check(function, text, kind)
        {
            log(Level::Error, error);
            return REFUSED;
        }
        // SAFETY: called with the host's own argument, as if the table named it.
        unsafe { argument::prepare(parameter) }
    })
}

/// Undoes what a fixup did.
pub unsafe extern "C" fn free(parameter: *mut *mut c_void, _: c_int) -> c_int {
    const REFUSED: c_int = -1;
    // SAFETY: the host passes what a fixup has left in its pointer.
    fence(REFUSED, || unsafe { argument::release(parameter) })
}

/// An empty text stands for no argument, but for an end.
fn check(function: &str, text: &[u8], kind: Kind) -> Result<(), String> {
    let found = String::from_utf8_lossy(text);
    match kind {
        Kind::Collector if !text.is_empty() => {
            capture::collectors(text).map(drop).map_err(|error| format!("{function}(\"{found}\"): {error}"))
        }
        Kind::End => capture::Endpoint::parse(text)
            .map(drop)
            .map_err(|error| format!("{function}(\"{found}\"): {error}")),
        Kind::Mode => calls::scope(text)
            .map(drop)
            .map_err(|error| format!("{function} {}, found \"{found}\"", error.text)),
        Kind::Collector | Kind::Text => Ok(()),
    }
}
