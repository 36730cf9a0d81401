//! The symbols of the core that the module asks for: all of them. `tests/opensips/imports.rs` holds the same list.

use std::ffi::{c_char, c_int, c_void};

use crate::message::sip_msg;
use crate::tables::str_;

macro_rules! opaque {
    ($($(#[$text:meta])* $name:ident)*) => {
        $(
            $(#[$text])*
            #[repr(C)]
            #[derive(Debug)]
            pub struct $name {
                _hidden: [u8; 0],
            }
        )*
    };
}

opaque! {
    /// Arguments of an MI command.
    mi_params_t
    /// The answer of an MI command.
    mi_response_t
    /// A part of such an answer.
    mi_item_t
    /// A text with variables, as the host has prepared it.
    pv_elem_t
}

/// Called before or after the script, or for what could not be parsed.
pub type ScriptCallback = unsafe extern "C" fn(*mut sip_msg, *mut c_void) -> c_int;

/// Called with the octets of a message before the host reads them, or before it sends them. It may put others in their
/// place; below 0 refuses the message.
pub type RawCallback = unsafe extern "C" fn(*mut str_, *mut sip_msg) -> c_int;

/// As the message came, before anything has read it.
pub const PRE_RAW_PROCESSING: c_int = 1;
/// As the message was made, before it is sent.
pub const POST_RAW_PROCESSING: c_int = 2;

/// Before the script.
pub const PRE_SCRIPT_CB: c_int = 1;
/// After the script.
pub const POST_SCRIPT_CB: c_int = 2;
/// For requests.
pub const REQ_TYPE_CB: c_int = 4;
/// For replies.
pub const RPL_TYPE_CB: c_int = 8;
/// For what could not be parsed.
pub const PARSE_ERR_CB: c_int = 16;
/// The answer of a callback before the script: go on with everything.
pub const SCB_RUN_ALL: c_int = 3;

/// Levels of log lines.
pub const L_ERR: c_int = -1;
/// As above.
pub const L_WARN: c_int = 1;
/// As above.
pub const L_NOTICE: c_int = 2;

unsafe extern "C" {
    /// This process's place in the core's table; set right after the fork.
    pub static process_no: c_int;
    /// Which kind of route is running.
    pub static route_type: c_int;
    /// The level of this process, by pointer; lines above it are not written.
    pub static log_level: *const c_int;
    /// For syslog.
    pub static log_facility: c_int;
    /// What the operator wants before each line.
    pub static log_prefix: *const c_char;

    /// Asks for a call before or after the script. Of two with different priorities, the higher comes first.
    pub fn __register_script_cb(
        function: ScriptCallback,
        kind: c_int,
        parameter: *mut c_void,
        priority: c_int,
    ) -> c_int;
    /// Asks to be shown what comes in, after those who have asked before. `freeable` 0: for good.
    pub fn register_pre_raw_processing_cb(function: RawCallback, kind: c_int, freeable: c_char) -> c_int;
    /// Asks to be shown what goes out; as above.
    pub fn register_post_raw_processing_cb(function: RawCallback, kind: c_int, freeable: c_char) -> c_int;
    /// How many processes there may be, as far as is known.
    pub fn count_child_processes() -> c_int;
    /// Whether a module of this name was loaded before.
    pub fn module_loaded(name: *const c_char) -> c_int;
    /// Writes a log line. The formats for the terminal take time, process id and prefix first, that for syslog only
    /// the prefix, and the bare one none of them.
    pub fn dprint(
        level: c_int,
        facility: c_int,
        module: *const c_char,
        function: *const c_char,
        terminal: *const c_char,
        syslog: *const c_char,
        bare: *const c_char,
        ...
    );
    /// Prepares a text with variables. It goes on pointing into the text.
    pub fn pv_parse_format(text: *const str_, prepared: *mut *mut pv_elem_t) -> c_int;
    /// Evaluates it, into a buffer of the host's that the next evaluations use again.
    pub fn pv_printf_s(msg: *mut sip_msg, prepared: *mut pv_elem_t, printed: *mut str_) -> c_int;

    /// A text among an MI command's parameters; it lives until the command has returned. Below 0 if it is none.
    pub fn get_mi_string_param(
        params: *const mi_params_t,
        name: *const c_char,
        value: *mut *mut c_char,
        value_len: *mut c_int,
    ) -> c_int;
    /// An answer that is an object.
    pub fn init_mi_result_object(object: *mut *mut mi_item_t) -> *mut mi_response_t;
    /// An answer that says what went wrong.
    pub fn init_mi_error_extra(
        code: c_int,
        text: *const c_char,
        text_len: c_int,
        details: *const c_char,
        details_len: c_int,
    ) -> *mut mi_response_t;
    /// Adds a number; the host copies the name.
    pub fn add_mi_number(to: *mut mi_item_t, name: *const c_char, name_len: c_int, value: f64) -> c_int;
    /// Adds a text; the host copies both.
    pub fn add_mi_string(
        to: *mut mi_item_t,
        name: *const c_char,
        name_len: c_int,
        value: *const c_char,
        value_len: c_int,
    ) -> c_int;
    /// Adds a list.
    pub fn add_mi_array(to: *mut mi_item_t, name: *const c_char, name_len: c_int) -> *mut mi_item_t;
    /// Adds an object; without a name if `to` is a list.
    pub fn add_mi_object(to: *mut mi_item_t, name: *const c_char, name_len: c_int) -> *mut mi_item_t;
}
