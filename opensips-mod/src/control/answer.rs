//! Answers of MI commands, and the parameters that they are given.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{null, null_mut};

use opensips_sys::{mi_item_t, mi_params_t, mi_response_t};

/// What a command hands back; null tells the host that it has failed.
pub type Response = *mut mi_response_t;

/// Codes that the host's tools show with the text of a fault, as HTTP has them.
#[derive(Clone, Copy, Debug)]
pub enum Code {
    /// What was asked for cannot be understood.
    BadRequest = 400,
    /// There is no such thing.
    NotFound = 404,
    /// Not now.
    Unavailable = 503,
}

/// An answer that says what went wrong.
pub fn fault(code: Code, text: impl std::fmt::Display) -> Response {
    let text = text.to_string();
    let (start, len) = octets(&text);
    // SAFETY: the host copies the text.
    unsafe { opensips_sys::init_mi_error_extra(code as c_int, start, len, null(), 0) }
}

/// An answer that `fill` fills.
pub fn object(fill: impl FnOnce(&Item)) -> Response {
    let mut root: *mut mi_item_t = null_mut();
    // SAFETY: the host writes its handle before it returns.
    let response = unsafe { opensips_sys::init_mi_result_object(&raw mut root) };
    if !response.is_null() && !root.is_null() {
        fill(&Item(root));
    }
    response
}

/// A text among a command's parameters; `None` if it is not there, or is no text.
pub fn parameter<'p>(params: *const mi_params_t, name: &CStr) -> Option<&'p [u8]> {
    let (mut start, mut len): (*mut c_char, c_int) = (null_mut(), 0);
    // SAFETY: the host's own parameters; what it writes lives until the command has returned.
    let status =
        unsafe { opensips_sys::get_mi_string_param(params, name.as_ptr(), &raw mut start, &raw mut len) };
    if status < 0 {
        return None;
    }
    // SAFETY: as above.
    Some(unsafe { boundary::bytes(start, len) })
}

/// The host's handle of an object or a list in the answer. What it has no memory for is left out.
pub struct Item(*mut mi_item_t);

impl Item {
    /// Adds a number; JSON's are exact up to 2^53.
    pub fn number(&self, name: &CStr, value: u64) {
        // SAFETY: the host copies the name.
        unsafe { opensips_sys::add_mi_number(self.0, name.as_ptr(), length(name), value as f64) };
    }

    /// Adds a text.
    pub fn text(&self, name: &CStr, value: &str) {
        let (start, len) = octets(value);
        // SAFETY: the host copies both, `len` octets of the value.
        unsafe { opensips_sys::add_mi_string(self.0, name.as_ptr(), length(name), start, len) };
    }

    /// Adds a list.
    pub fn list(&self, name: &CStr) -> Option<Self> {
        // SAFETY: the host copies the name.
        let list = unsafe { opensips_sys::add_mi_array(self.0, name.as_ptr(), length(name)) };
        (!list.is_null()).then_some(Self(list))
    }

    /// One more object in this list.
    pub fn entry(&self) -> Option<Self> {
        // SAFETY: without a name.
        let entry = unsafe { opensips_sys::add_mi_object(self.0, null(), 0) };
        (!entry.is_null()).then_some(Self(entry))
    }
}

fn octets(text: &str) -> (*const c_char, c_int) {
    (text.as_ptr().cast(), c_int::try_from(text.len()).unwrap_or_default())
}

fn length(text: &CStr) -> c_int {
    c_int::try_from(text.count_bytes()).unwrap_or_default()
}
