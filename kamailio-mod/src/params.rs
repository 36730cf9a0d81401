//! Module parameters → `capture::Settings`. Names, defaults and meaning are those of `capture::Settings`.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use boundary::HostCell;
use capture::{Scope, Settings};
use kamailio_sys::{PARAM_INT, PARAM_STR, param_export_t, sip_msg, str_};

use crate::siptrace;

/// What `trace_flag` is by default: no flag means anything.
const NO_FLAG: c_int = -1;
/// The message flag that makes calls without a mode capture the transaction, as a bit; 0 if there is none.
static FLAG_BIT: AtomicU32 = AtomicU32::new(0);

const EMPTY: str_ = str_ { s: std::ptr::null_mut(), len: 0 };

static ACKNOWLEDGE: HostCell<c_int> = HostCell::new(1);
static AGENT_NAME: HostCell<str_> = HostCell::new(EMPTY);
static AGENT_SOCKET: HostCell<str_> = HostCell::new(EMPTY);
static AUTH_KEY: HostCell<str_> = HostCell::new(EMPTY);
static BACKLOG_KIB: HostCell<c_int> = HostCell::new(8192);
static CORRELATION_HEADER: HostCell<str_> = HostCell::new(EMPTY);
static DATA_MODE: HostCell<c_int> = HostCell::new(0);
static DIALOG_EXPIRES: HostCell<c_int> = HostCell::new(43_200);
static DUPLICATE_URI: HostCell<str_> = HostCell::new(EMPTY);
static EVCB_MSG: HostCell<str_> = HostCell::new(EMPTY);
static HEP_CAPTURE_ID: HostCell<c_int> = HostCell::new(1);
static HEP_MODE_ON: HostCell<c_int> = HostCell::new(1);
static HEP_VERSION: HostCell<c_int> = HostCell::new(3);
static MASK_BODY: HostCell<str_> = HostCell::new(EMPTY);
static MASK_HEADERS: HostCell<str_> = HostCell::new(EMPTY);
static MIRROR: HostCell<str_> = HostCell::new(EMPTY);
static RING_SIZE_KIB: HostCell<c_int> = HostCell::new(4096);
static SESSION_ID: HostCell<str_> = HostCell::new(EMPTY);
static SESSIONS: HostCell<c_int> = HostCell::new(65_536);
static TLS_CA: HostCell<str_> = HostCell::new(EMPTY);
static TLS_CERT: HostCell<str_> = HostCell::new(EMPTY);
static TLS_KEY: HostCell<str_> = HostCell::new(EMPTY);
static TLS_SERVER_NAME: HostCell<str_> = HostCell::new(EMPTY);
static TRACE_FILTERS: HostCell<c_int> = HostCell::new(16);
static TRACE_FLAG: HostCell<c_int> = HostCell::new(NO_FLAG);
static TRACE_INIT_MODE: HostCell<c_int> = HostCell::new(0);
static TRACE_METHOD: HostCell<str_> = HostCell::new(EMPTY);
static TRACE_MODE: HostCell<c_int> = HostCell::new(0);
static TRACE_NETWORK: HostCell<str_> = HostCell::new(EMPTY);
static TRACE_ON: HostCell<c_int> = HostCell::new(1);
static TRACE_TO_DATABASE: HostCell<c_int> = HostCell::new(0);
static TRANSACTION_EXPIRES: HostCell<c_int> = HostCell::new(64);

/// Our own parameters, and those of siptrace.
const PARAMETERS: usize = 33 + siptrace::TABLE.len();

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[param_export_t; PARAMETERS]> = HostCell::new({
    let own = [
        number(c"acknowledge", &ACKNOWLEDGE),
        text(c"agent_name", &AGENT_NAME),
        text(c"agent_socket", &AGENT_SOCKET),
        text(c"auth_key", &AUTH_KEY),
        number(c"backlog_kib", &BACKLOG_KIB),
        text(c"collector", &DUPLICATE_URI),
        text(c"correlation_header", &CORRELATION_HEADER),
        number(c"data_mode", &DATA_MODE),
        number(c"dialog_expires", &DIALOG_EXPIRES),
        text(c"duplicate_uri", &DUPLICATE_URI),
        text(c"evcb_msg", &EVCB_MSG),
        number(c"hep_capture_id", &HEP_CAPTURE_ID),
        number(c"hep_mode_on", &HEP_MODE_ON),
        number(c"hep_version", &HEP_VERSION),
        text(c"mask_body", &MASK_BODY),
        text(c"mask_headers", &MASK_HEADERS),
        text(c"mirror", &MIRROR),
        number(c"ring_size_kib", &RING_SIZE_KIB),
        text(c"session_id", &SESSION_ID),
        number(c"sessions", &SESSIONS),
        text(c"tls_ca", &TLS_CA),
        text(c"tls_cert", &TLS_CERT),
        text(c"tls_key", &TLS_KEY),
        text(c"tls_server_name", &TLS_SERVER_NAME),
        number(c"trace_filters", &TRACE_FILTERS),
        number(c"trace_flag", &TRACE_FLAG),
        number(c"trace_init_mode", &TRACE_INIT_MODE),
        text(c"trace_method", &TRACE_METHOD),
        number(c"trace_mode", &TRACE_MODE),
        text(c"trace_network", &TRACE_NETWORK),
        number(c"trace_on", &TRACE_ON),
        number(c"trace_to_database", &TRACE_TO_DATABASE),
        number(c"transaction_expires", &TRANSACTION_EXPIRES),
    ];
    let mut all = [siptrace::END; PARAMETERS];
    let (ours, theirs) = all.split_at_mut(own.len());
    ours.copy_from_slice(&own);
    theirs.copy_from_slice(&siptrace::TABLE);
    all
});

/// What the configuration file set.
pub fn settings() -> Settings {
    let tls_ca = Some(read_text(&TLS_CA)).filter(|file| !file.is_empty());
    Settings {
        acknowledge: read_number(&ACKNOWLEDGE),
        agent_name: read_text(&AGENT_NAME),
        agent_socket: read_text(&AGENT_SOCKET),
        auth_key: read_text(&AUTH_KEY),
        backlog_kib: read_number(&BACKLOG_KIB),
        correlation_header: read_text(&CORRELATION_HEADER),
        data_mode: read_number(&DATA_MODE),
        dialog_expires: read_number(&DIALOG_EXPIRES),
        duplicate_uri: read_text(&DUPLICATE_URI),
        hep_capture_id: read_number(&HEP_CAPTURE_ID),
        hep_mode_on: read_number(&HEP_MODE_ON),
        hep_version: read_number(&HEP_VERSION),
        mask_body: read_text(&MASK_BODY),
        mask_headers: read_text(&MASK_HEADERS),
        mirror: read_text(&MIRROR),
        ring_size_kib: read_number(&RING_SIZE_KIB),
        session_id: read_text(&SESSION_ID),
        sessions: read_number(&SESSIONS),
        tls_ca: tls_ca.unwrap_or_else(|| Settings::default().tls_ca),
        tls_cert: read_text(&TLS_CERT),
        tls_key: read_text(&TLS_KEY),
        tls_server_name: read_text(&TLS_SERVER_NAME),
        trace_filters: read_number(&TRACE_FILTERS),
        trace_init_mode: read_number(&TRACE_INIT_MODE),
        trace_method: read_text(&TRACE_METHOD),
        trace_mode: read_number(&TRACE_MODE),
        trace_network: read_text(&TRACE_NETWORK),
        trace_on: read_number(&TRACE_ON),
        trace_to_database: read_number(&TRACE_TO_DATABASE),
        transaction_expires: read_number(&TRANSACTION_EXPIRES),
    }
}

/// Reads `trace_flag`; in `mod_init`.
pub fn read_flag() -> Result<(), String> {
    let flag = read_number(&TRACE_FLAG);
    let bit = match u32::try_from(flag) {
        Ok(flag @ 0..=31) => 1 << flag,
        _ if flag == NO_FLAG => 0,
        _ => return Err(format!("modparam trace_flag = {flag}: expected 0 to 31, or -1 for none")),
    };
    FLAG_BIT.store(bit, Ordering::Relaxed);
    Ok(())
}

/// Whether a call without a mode may ask for a transaction.
pub fn has_trace_flag() -> bool {
    FLAG_BIT.load(Ordering::Relaxed) != 0
}

/// What a call without a mode captures: the transaction, if the script has set the flag `trace_flag` on the message.
pub fn scope_by_flag(msg: *const sip_msg) -> Scope {
    let bit = FLAG_BIT.load(Ordering::Relaxed);
    if bit == 0 {
        return Scope::Message;
    }
    // SAFETY: null, or the message that the script works on, which lives longer than this call.
    match unsafe { msg.as_ref() } {
        Some(msg) if msg.flags & bit != 0 => Scope::Transaction,
        _ => Scope::Message,
    }
}

/// Whether `evcb_msg` names a function.
pub fn has_callback() -> bool {
    !read_text(&EVCB_MSG).is_empty()
}

/// The host's own copy of `evcb_msg`, which it is given back.
pub fn callback() -> *mut str_ {
    EVCB_MSG.pointer()
}

/// The host's own copy of `session_id`: what it makes of the text goes on pointing into it.
pub fn session_id() -> *mut str_ {
    SESSION_ID.pointer()
}

const fn text(name: &'static CStr, cell: &'static HostCell<str_>) -> param_export_t {
    entry(name, PARAM_STR, cell.pointer().cast())
}

const fn number(name: &'static CStr, cell: &'static HostCell<c_int>) -> param_export_t {
    entry(name, PARAM_INT, cell.pointer().cast())
}

const fn entry(name: &'static CStr, kind: u32, target: *mut c_void) -> param_export_t {
    param_export_t { name: name.as_ptr().cast_mut(), type_: kind, param_pointer: target }
}

fn read_text(cell: &HostCell<str_>) -> String {
    // SAFETY: called from mod_init, when the configuration file has been read.
    let value = unsafe { cell.read() };
    // SAFETY: the host set pointer and length together; its copy of the value is never freed.
    let bytes = unsafe { boundary::bytes(value.s, value.len) };
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_number(cell: &HostCell<c_int>) -> i32 {
    // SAFETY: called from mod_init, when the configuration file has been read.
    unsafe { cell.read() }
}
