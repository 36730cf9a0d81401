//! `session_id`: a text with variables that gives messages their correlation id.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use opensips_sys::{pv_elem_t, sip_msg, str_};

use crate::{argument, params};

/// What the host made of the text; lives as long as the process. Every process has the copy that it was forked with.
static PREPARED: AtomicPtr<pv_elem_t> = AtomicPtr::new(null_mut());

/// Lets the host read the text; call it from `mod_init`, when all modules have made their variables known.
pub fn prepare() -> Result<(), String> {
    let mut prepared: *mut pv_elem_t = null_mut();
    let text = params::session_id();
    // SAFETY: the host reads the description at once; the octets belong to the host and stay.
    let status = unsafe { opensips_sys::pv_parse_format(&raw const text, &raw mut prepared) };
    if status < 0 || prepared.is_null() {
        return Err(
            "modparam session_id: expected a text, with variables that loaded modules know".to_owned()
        );
    }
    PREPARED.store(prepared, Ordering::Relaxed);
    Ok(())
}

/// Whether there is a template.
pub fn is_set() -> bool {
    !PREPARED.load(Ordering::Relaxed).is_null()
}

/// Leaves in `copy` what the template gives for this message; `false` if there is no template or it gives nothing.
pub fn evaluate(msg: *mut sip_msg, copy: &mut Vec<u8>) -> bool {
    copy.clear();
    let prepared = PREPARED.load(Ordering::Relaxed);
    if prepared.is_null() {
        return false;
    }
    let mut printed = str_ { s: null_mut(), len: 0 };
    // SAFETY: the template was made by the host, the message is its own, and `printed` is ours.
    let status = unsafe { opensips_sys::pv_printf_s(msg, prepared, &raw mut printed) };
    if status < 0 {
        return false;
    }
    // SAFETY: the text lies in one of the host's buffers until the next evaluation; it is copied here.
    let text = unsafe { boundary::bytes(printed.s, printed.len) };
    if text != argument::NULL_VALUE {
        copy.extend_from_slice(text);
    }
    !copy.is_empty()
}
