//! Our log lines in the host's log.
//!
//! Only a process's first thread may log: the host formats into static buffers.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt::Display;
use std::mem::MaybeUninit;
use std::ptr::null;

use opensips_sys::{L_ERR, L_NOTICE, L_WARN};

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is configured or built wrongly.
    Error,
    /// Worth knowing.
    Notice,
    /// Messages are or may be lost to the capture.
    Warning,
}

impl Level {
    fn number(self) -> c_int {
        match self {
            Self::Error => L_ERR,
            Self::Notice => L_NOTICE,
            Self::Warning => L_WARN,
        }
    }

    /// For the terminal (time, process, prefix, text) and for syslog (prefix, text).
    fn formats(self) -> (&'static CStr, &'static CStr) {
        match self {
            Self::Error => (c"%s [%d] %sERROR:siplens: %s\n", c"%sERROR:siplens: %s\n"),
            Self::Notice => (c"%s [%d] %sNOTICE:siplens: %s\n", c"%sNOTICE:siplens: %s\n"),
            Self::Warning => (c"%s [%d] %sWARNING:siplens: %s\n", c"%sWARNING:siplens: %s\n"),
        }
    }
}

/// Writes one line, to wherever the operator has the core's lines go.
pub fn log(level: Level, text: impl Display) {
    // SAFETY: the host set it before it loaded any module, to an address that stays.
    let wanted = unsafe { opensips_sys::log_level };
    // SAFETY: as above.
    if unsafe { wanted.as_ref() }.is_some_and(|wanted| *wanted < level.number()) {
        return;
    }
    // What comes from outside must not begin a line of its own.
    let text = CString::new(text.to_string().replace(['\n', '\r', '\0'], " ")).unwrap_or_default();
    let (terminal, syslog) = level.formats();
    let time = now();
    let process = c_int::try_from(std::process::id()).unwrap_or_default();
    // SAFETY: read as the core's own lines do.
    let facility = unsafe { opensips_sys::log_facility };
    // SAFETY: as above.
    let prefix = unsafe { opensips_sys::log_prefix };
    // SAFETY: the formats take these arguments, and the host copies all of them before it returns.
    unsafe {
        opensips_sys::dprint(
            level.number(),
            facility,
            c"siplens".as_ptr(),
            null(),
            terminal.as_ptr(),
            syslog.as_ptr(),
            c"%s\n".as_ptr(),
            time.as_ptr(),
            process,
            prefix,
            text.as_ptr(),
        );
    };
}

/// The local time as the core writes it, `Nov 21 15:04:05`.
fn now() -> [c_char; 32] {
    let mut text = [0; 32];
    // SAFETY: a null argument asks for the answer only.
    let seconds = unsafe { libc::time(std::ptr::null_mut()) };
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both are ours; zeroed is a valid time, should the call fail.
    unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: the length is that of the buffer, which stays ended by a NUL.
    unsafe { libc::strftime(text.as_mut_ptr(), text.len() - 1, c"%b %e %H:%M:%S".as_ptr(), parts.as_ptr()) };
    text
}
