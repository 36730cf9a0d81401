//! Arguments of script functions: prepared when the configuration is read, evaluated for each message.
//!
//! The host's own preparation would print each argument into a buffer at each call, those that never change too. Here
//! a text without variables is kept as it is, and one that is just one variable is asked for without printing.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use kamailio_sys::{pv_spec_t, sip_msg, str_};

use crate::process;

/// The octets that the host prints for a pseudo-variable without value.
pub const NULL_VALUE: &[u8] = b"<null>";

/// What the script's text became. The host holds a pointer to it in place of the text.
struct Argument {
    kind: Kind,
    /// What the host made of it; it knows the way back to the text.
    host: *mut c_void,
}

enum Kind {
    /// The same for every message.
    Literal(Box<[u8]>),
    /// Text with variables in it, a select: the host's to evaluate.
    Mixed,
    /// One pseudo-variable and nothing else.
    Variable(*mut pv_spec_t),
}

/// Addresses of what the script's arguments became. The host forgets its own pointers when it ends, and frees nothing:
/// this keeps what belongs to the script from looking like a leak.
static OF_SCRIPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Whether the text has its value already. Pseudo-variables and selects have theirs only later.
pub fn is_literal(text: &[u8]) -> bool {
    !text.contains(&b'$') && !text.starts_with(b"@")
}

/// Puts a prepared argument in the place of its text; answers as the host's own fixup.
///
/// # Safety
/// The parameter must be the address of the host's pointer to the text, as a fixup gets it.
pub unsafe fn prepare(parameter: *mut *mut c_void) -> c_int {
    // SAFETY: the caller passes the address of the host's pointer.
    let text = unsafe { *parameter };
    // SAFETY: the text is the script's literal, ended by a NUL; the host keeps it, but not at a place we know.
    let text = unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_bytes().to_vec();
    // SAFETY: called with the host's own argument, as if the table named it; the number is ignored.
    let status = unsafe { kamailio_sys::fixup_spve_all(parameter, 1) };
    if status < 0 {
        return status;
    }
    let kind = if is_literal(&text) {
        Kind::Literal(text.into())
    } else {
        match variable(&text) {
            spec if spec.is_null() => Kind::Mixed,
            spec => Kind::Variable(spec),
        }
    };
    // SAFETY: as above; the fixup has left its own structure there.
    let host = unsafe { *parameter };
    let argument: *mut Argument = Box::into_raw(Box::new(Argument { kind, host }));
    // What is prepared for an expression, while the proxy runs, is released with it.
    if process::shared().is_none() {
        OF_SCRIPT.lock().unwrap_or_else(PoisonError::into_inner).push(argument.addr());
    }
    // SAFETY: as above.
    unsafe { *parameter = argument.cast() };
    status
}

/// Puts the text back where [`prepare`] found it.
///
/// # Safety
/// As for [`prepare`], which must have been called with it and succeeded.
pub unsafe fn release(parameter: *mut *mut c_void) -> c_int {
    // SAFETY: the caller passes the address of the host's pointer.
    let argument = unsafe { *parameter }.cast::<Argument>();
    // SAFETY: made by Box::into_raw in `prepare`, and nobody else frees it.
    let argument = unsafe { Box::from_raw(argument) };
    // SAFETY: as above.
    unsafe { *parameter = argument.host };
    // SAFETY: it holds again what the host's own fixup has left.
    unsafe { kamailio_sys::fixup_free_spve_all(parameter, 1) }
}

/// The value for this message; `None` if the argument was not given or has none.
///
/// # Safety
/// The parameter must be null or what [`prepare`] made, the message the host's own. The value must not be used after
/// the next evaluation, by us or by the host, which may reuse its place.
#[inline]
pub unsafe fn value<'v>(msg: *mut sip_msg, parameter: *mut c_char) -> Option<&'v [u8]> {
    // SAFETY: null or made by `prepare`; the host frees it only when no message can come any more.
    let argument: &'v Argument = unsafe { parameter.cast::<Argument>().as_ref() }?;
    let mut found = str_ { s: null_mut(), len: 0 };
    let status = match &argument.kind {
        Kind::Literal(text) => return Some(&**text).filter(|text| !text.is_empty()),
        // SAFETY: the host's message, and what its fixup made.
        Kind::Mixed => unsafe { kamailio_sys::siplens_svalue(msg, argument.host, &raw mut found) },
        // SAFETY: the host's message, and a specification from its cache, which is never emptied.
        Kind::Variable(spec) => unsafe { kamailio_sys::siplens_pv_value(msg, *spec, &raw mut found) },
    };
    if status < 0 {
        return None;
    }
    // SAFETY: the value stays until the next evaluation, as the caller knows.
    let value = unsafe { boundary::bytes(found.s, found.len) };
    Some(value).filter(|value| !value.is_empty() && *value != NULL_VALUE)
}

/// As [`value`], but what may not outlast the next evaluation is copied.
///
/// # Safety
/// As for [`value`], but for the time that the value may be used.
#[inline(always)]
pub unsafe fn kept<'v>(msg: *mut sip_msg, parameter: *mut c_char, copy: &'v mut Vec<u8>) -> Option<&'v [u8]> {
    // SAFETY: the caller's promise.
    let value = unsafe { value(msg, parameter) }?;
    // SAFETY: not null, or there were no value.
    let argument: &'v Argument = unsafe { parameter.cast::<Argument>().as_ref() }?;
    if let Kind::Literal(_) = argument.kind {
        return Some(value);
    }
    copy.clear();
    copy.extend_from_slice(value);
    Some(copy)
}

/// The host's handle of the pseudo-variable that the text is; null if it is something else.
fn variable(text: &[u8]) -> *mut pv_spec_t {
    // For an expression the host prepares its value anew at each call. That may be anything that a message says, and
    // must not grow a cache.
    if process::shared().is_some() || !text.starts_with(b"$") {
        return null_mut();
    }
    let Ok(len) = c_int::try_from(text.len()) else { return null_mut() };
    let mut name = str_ { s: text.as_ptr().cast::<c_char>().cast_mut(), len };
    // SAFETY: the host reads the text and keeps a copy.
    unsafe { kamailio_sys::siplens_pv(&raw mut name) }
}
