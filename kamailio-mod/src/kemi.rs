//! The functions for scripts in JavaScript, Lua, Python, …: `KSR.siplens.sip_trace()` and its companions, under the
//! names that they have in siptrace.

use std::ffi::{CStr, c_char, c_int, c_void};

use boundary::{HostCell, fence};
use kamailio_sys::{SR_KEMIP_INT, SR_KEMIP_STR, sip_msg, sr_kemi, str_};

use crate::argument::NULL_VALUE;
use crate::calls::{self, BadArgument, Text, TextKind, Trace};

const NONE: str_ = str_ { s: std::ptr::null_mut(), len: 0 };
const MODULE: &CStr = c"siplens";

/// The table for the host, ended by an empty entry.
static TABLE: HostCell<[sr_kemi; 9]> = HostCell::new([
    function(c"sip_trace", trace as *const c_void, 0),
    function(c"sip_trace_dst", trace_dst as *const c_void, 1),
    function(c"sip_trace_dst_cid", trace_dst_cid as *const c_void, 2),
    function(c"sip_trace_dst_cid_type", trace_dst_cid_type as *const c_void, 3),
    function(c"sip_trace_mode", trace_mode as *const c_void, 1),
    function(c"sip_trace_msg", trace_msg as *const c_void, 5),
    function(c"hlog", hlog as *const c_void, 1),
    function(c"hlog_cid", hlog_cid as *const c_void, 2),
    sr_kemi { mname: NONE, fname: NONE, rtype: 0, func: std::ptr::null_mut(), ptypes: [0; 6] },
]);

/// A function with so many texts as parameters. Names end in a NUL, since some of the host's languages need it.
const fn function(name: &'static CStr, function: *const c_void, parameters: usize) -> sr_kemi {
    let mut ptypes = [0; 6];
    let mut index = 0;
    while index < parameters {
        ptypes[index] = SR_KEMIP_STR as c_int;
        index += 1;
    }
    sr_kemi {
        mname: text(MODULE),
        fname: text(name),
        rtype: SR_KEMIP_INT as c_int,
        func: function.cast_mut(),
        ptypes,
    }
}

const fn text(name: &'static CStr) -> str_ {
    str_ { s: name.as_ptr().cast_mut(), len: name.count_bytes() as c_int }
}

/// Called by the loader when it has loaded the module.
#[unsafe(no_mangle)]
pub extern "C" fn mod_register(_: *mut c_char, _: *mut c_int, _: *mut c_void, _: *mut c_void) -> c_int {
    const FAILED: c_int = -1;
    // SAFETY: the table lives as long as the module, and nobody writes to it.
    fence(FAILED, || unsafe { kamailio_sys::sr_kemi_modules_add(TABLE.pointer().cast()) })
}

/// Whether a script may call us whose calls do not show when the configuration is read: one of another language, as the
/// routing logic or called by it. Every module that brings a language has a name that begins with `app_`.
pub fn is_possible() -> bool {
    // SAFETY: a plain question to the host; its list of modules is complete when the configuration was read.
    let mut module = unsafe { kamailio_sys::get_loaded_modules() };
    // SAFETY: null at the list's end, or a module that stays as long as the proxy.
    while let Some(loaded) = unsafe { module.as_ref() } {
        let name = loaded.exports.name;
        // SAFETY: a module's name is a C string that stays as long as the module.
        if !name.is_null() && unsafe { CStr::from_ptr(name) }.to_bytes().starts_with(b"app_") {
            return true;
        }
        module = loaded.next;
    }
    false
}

type Argument = *mut str_;
const NOT_GIVEN: Argument = std::ptr::null_mut();

unsafe extern "C" fn trace(msg: *mut sip_msg) -> c_int {
    run_trace(msg, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN)
}

unsafe extern "C" fn trace_dst(msg: *mut sip_msg, uri: Argument) -> c_int {
    run_trace(msg, uri, NOT_GIVEN, NOT_GIVEN)
}

unsafe extern "C" fn trace_dst_cid(msg: *mut sip_msg, uri: Argument, id: Argument) -> c_int {
    run_trace(msg, uri, id, NOT_GIVEN)
}

unsafe extern "C" fn trace_dst_cid_type(
    msg: *mut sip_msg,
    uri: Argument,
    id: Argument,
    mode: Argument,
) -> c_int {
    run_trace(msg, uri, id, mode)
}

unsafe extern "C" fn trace_mode(msg: *mut sip_msg, mode: Argument) -> c_int {
    run_trace(msg, NOT_GIVEN, NOT_GIVEN, mode)
}

unsafe extern "C" fn trace_msg(
    msg: *mut sip_msg,
    text: Argument,
    source: Argument,
    destination: Argument,
    uri: Argument,
    id: Argument,
) -> c_int {
    run_text(msg, TextKind::Message, text, [source, destination], uri, id)
}

unsafe extern "C" fn hlog(msg: *mut sip_msg, text: Argument) -> c_int {
    run_text(msg, TextKind::Log, text, [NOT_GIVEN; 2], NOT_GIVEN, NOT_GIVEN)
}

unsafe extern "C" fn hlog_cid(msg: *mut sip_msg, id: Argument, text: Argument) -> c_int {
    run_text(msg, TextKind::Log, text, [NOT_GIVEN; 2], NOT_GIVEN, id)
}

fn run_trace(msg: *mut sip_msg, uri: Argument, id: Argument, mode: Argument) -> c_int {
    calls::trace(msg, |_| {
        // SAFETY: null or the host's text of this call, which stays until the call returns; so do the others.
        let mode = unsafe { value(mode) };
        let scope = calls::scope(mode.unwrap_or_default())?;
        // SAFETY: as above.
        let collector = unsafe { value(uri) };
        // SAFETY: as above.
        let correlation = unsafe { value(id) };
        Ok(Trace { scope, collector, correlation })
    })
}

fn run_text(
    msg: *mut sip_msg,
    kind: TextKind,
    text: Argument,
    ends: [Argument; 2],
    uri: Argument,
    id: Argument,
) -> c_int {
    calls::text(msg, kind, |_| {
        // SAFETY: null or the host's text of this call, which stays until the call returns; so do the others.
        let ends = match ends.map(|end| unsafe { value(end) }) {
            [None, None] => None,
            [source, destination] => {
                let end = |text: Option<&[u8]>| {
                    capture::Endpoint::parse(text.unwrap_or_default()).map_err(|_| BadArgument::END)
                };
                Some((end(source)?, end(destination)?))
            }
        };
        // SAFETY: as above.
        let collector = unsafe { value(uri) };
        // SAFETY: as above.
        let correlation = unsafe { value(id) };
        // SAFETY: as above.
        let text = unsafe { value(text) }.unwrap_or_default();
        Ok(Text { text, collector, correlation, ends })
    })
}

/// What the script gave; `None` for nothing, an empty text, or the host's word for a variable without value.
///
/// # Safety
/// The argument must be null or one that the host passed to the call that is running.
unsafe fn value<'v>(argument: Argument) -> Option<&'v [u8]> {
    // SAFETY: the caller's promise.
    let text = unsafe { argument.as_ref() }?;
    // SAFETY: the host set pointer and length together.
    let text = unsafe { boundary::bytes(text.s, text.len) };
    Some(text).filter(|text| !text.is_empty() && *text != NULL_VALUE)
}
