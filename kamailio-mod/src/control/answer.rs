//! Answers of RPC commands.

use std::ffi::{CStr, CString, c_char, c_int, c_ulonglong, c_void};
use std::fmt::Display;

use kamailio_sys::{rpc_t, str_};

/// The host's handle of a structure in the answer.
#[derive(Clone, Copy)]
pub struct Struct(*mut c_void);
/// The host's handle of a list in the answer.
#[derive(Clone, Copy)]
pub struct List(*mut c_void);

/// An answer under way. The host's functions are variadic: the format says what follows.
pub struct Answer<'a> {
    rpc: &'a rpc_t,
    context: *mut c_void,
}

/// A code that the host's tools show with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// What was asked for makes no sense.
    BadRequest = 400,
    /// There is no such thing.
    NotFound = 404,
    /// It makes sense, but cannot be done now.
    Unavailable = 500,
}

impl<'a> Answer<'a> {
    /// `None` without the host's table of functions.
    pub fn new(rpc: *mut rpc_t, context: *mut c_void) -> Option<Self> {
        // SAFETY: the host passes its table of functions, valid until the command returns.
        let rpc = unsafe { rpc.as_ref() }?;
        Some(Self { rpc, context })
    }

    /// Answers that the command failed. Nothing else may be answered then.
    pub fn fault(&self, code: Code, text: impl Display) {
        let Some(fault) = self.rpc.fault else { return };
        let text = c_text(&text.to_string());
        // SAFETY: the format takes one text; the host copies it.
        unsafe { fault(self.context, code as c_int, format(c"%s"), text.as_ptr()) };
    }

    /// The next argument of the command, numbers as text; `None` when there are no more.
    pub fn argument(&self) -> Option<Vec<u8>> {
        let scan = self.rpc.scan?;
        let mut found = str_ { s: std::ptr::null_mut(), len: 0 };
        // SAFETY: "S" takes the address of a str, which the host fills; "." converts, "*" makes it optional.
        let count = unsafe { scan(self.context, format(c"*.S"), &raw mut found) };
        // SAFETY: if the host has filled it, the text lives until the next argument is read; it is copied here.
        (count > 0).then(|| unsafe { boundary::bytes(found.s, found.len) }.to_vec())
    }

    /// The structure that is the answer.
    pub fn root(&self) -> Option<Struct> {
        let add = self.rpc.add?;
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: "{" takes the address of a handle, which the host fills.
        let status = unsafe { add(self.context, format(c"{"), &raw mut handle) };
        (status >= 0 && !handle.is_null()).then_some(Struct(handle))
    }

    /// Adds a number.
    pub fn number(&self, to: Struct, name: &CStr, value: u64) {
        let Some(add) = self.rpc.struct_add else { return };
        // SAFETY: "J" takes a name and an unsigned long long; the host copies both.
        unsafe { add(to.0, format(c"J"), name.as_ptr(), c_ulonglong::from(value)) };
    }

    /// Adds a text.
    pub fn text(&self, to: Struct, name: &CStr, value: &str) {
        let Some(add) = self.rpc.struct_add else { return };
        let value = c_text(value);
        // SAFETY: "s" takes a name and a C string; the host copies both.
        unsafe { add(to.0, format(c"s"), name.as_ptr(), value.as_ptr()) };
    }

    /// Adds a list.
    pub fn list(&self, to: Struct, name: &CStr) -> Option<List> {
        let add = self.rpc.struct_add?;
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: "[" takes a name and the address of a handle, which the host fills.
        let status = unsafe { add(to.0, format(c"["), name.as_ptr(), &raw mut handle) };
        (status >= 0 && !handle.is_null()).then_some(List(handle))
    }

    /// Adds a structure to a list.
    pub fn entry(&self, of: List) -> Option<Struct> {
        let add = self.rpc.array_add?;
        let mut handle: *mut c_void = std::ptr::null_mut();
        // SAFETY: "{" takes the address of a handle, which the host fills.
        let status = unsafe { add(of.0, format(c"{"), &raw mut handle) };
        (status >= 0 && !handle.is_null()).then_some(Struct(handle))
    }
}

/// The host's prototypes lack `const`; it never writes to a format.
fn format(text: &'static CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

/// A text as C wants it.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
