//! Our log lines in the host's log.
//!
//! Only a process's first thread may log: the host formats into static buffers.

use std::ffi::c_int;
use std::fmt::Display;

use kamailio_sys::{L_ERR, L_NOTICE, L_WARN};

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
            Self::Notice => L_NOTICE as c_int,
            Self::Warning => L_WARN as c_int,
        }
    }
}

/// Writes one line.
pub fn log(level: Level, text: impl Display) {
    let level = level.number();
    // SAFETY: reads the host's log level.
    if unsafe { kamailio_sys::siplens_log_wanted(level) } == 0 {
        return;
    }
    // What comes from outside must not begin a line of its own.
    let text = text.to_string().replace(['\n', '\r', '\0'], " ");
    let len = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
    // SAFETY: the host copies `len` octets out of `text` before it returns.
    unsafe { kamailio_sys::siplens_log(level, text.as_ptr().cast(), len) };
}
