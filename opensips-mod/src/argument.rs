//! Arguments of script functions. The host evaluates them before it calls; literal ones are checked when the
//! configuration is read.

use std::ffi::{c_int, c_void};

use boundary::fence;
use opensips_sys::str_;

use crate::hooks;
use crate::log::{Level, log};

/// The octets that the host prints for a variable without value.
pub const NULL_VALUE: &[u8] = b"<null>";

/// The value of an argument; `None` if it was not given or has none.
///
/// # Safety
/// The argument must be what the host has passed to a script function, whose call the value does not outlive.
pub unsafe fn value<'v>(argument: *mut c_void) -> Option<&'v [u8]> {
    // SAFETY: null, or the host's text.
    let text: &str_ = unsafe { argument.cast::<str_>().as_ref() }?;
    // SAFETY: the host set pointer and length together.
    let value = unsafe { boundary::bytes(text.s, text.len) };
    Some(value).filter(|value| !value.is_empty() && *value != NULL_VALUE)
}

/// What stands for a fixup's failure; it stops the proxy before it serves.
const REFUSED: c_int = -1;
const FINE: c_int = 0;

/// Notes that the script calls us: the last parameter of each function has no other use, so that it is always left out.
pub unsafe extern "C" fn note_call(argument: *mut *mut c_void) -> c_int {
    fence(REFUSED, || {
        // SAFETY: the host passes the address of its pointer.
        if unsafe { argument.read() }.is_null() {
            hooks::note_call();
            return FINE;
        }
        log(Level::Error, "too many arguments");
        REFUSED
    })
}

/// Checks a literal with `check`. What only a variable's value makes wrong is logged once when it happens.
///
/// # Safety
/// To be called by a fixup with what the host gave it.
pub unsafe fn check(argument: *mut *mut c_void, check: fn(&[u8]) -> Result<(), String>) -> c_int {
    fence(REFUSED, || {
        // SAFETY: a plain question to the host. Other processes than the first evaluate variables.
        if unsafe { opensips_sys::process_no } != 0 {
            return FINE;
        }
        // SAFETY: the host passes the address of its pointer to the argument's text.
        let text = unsafe { argument.read() };
        // SAFETY: the text is the script's literal.
        match unsafe { value(text) }.map_or(Ok(()), check) {
            Ok(()) => FINE,
            Err(error) => {
                log(Level::Error, error);
                REFUSED
            }
        }
    })
}
