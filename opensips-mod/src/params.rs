//! Module parameters → `capture::Settings`. Names, defaults and meaning are those of `capture::Settings`, and the same
//! as in the Kamailio module.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use boundary::HostCell;
use capture::Settings;
use opensips_sys::{INT_PARAM, STR_PARAM, USE_FUNC_PARAM, param_export_t, str_};

use crate::destinations;

type Text = HostCell<*const c_char>;
type Number = HostCell<c_int>;
type Function = unsafe extern "C" fn(c_uint, *mut c_void) -> c_int;

static ACKNOWLEDGE: Number = HostCell::new(1);
static AGENT_NAME: Text = HostCell::new(null());
static AGENT_SOCKET: Text = HostCell::new(null());
static AUTH_KEY: Text = HostCell::new(null());
static BACKLOG_KIB: Number = HostCell::new(8192);
static CORRELATION_HEADER: Text = HostCell::new(null());
static DATA_MODE: Number = HostCell::new(0);
static DIALOG_EXPIRES: Number = HostCell::new(43_200);
static DUPLICATE_URI: Text = HostCell::new(null());
static HEP_CAPTURE_ID: Number = HostCell::new(1);
static HEP_MODE_ON: Number = HostCell::new(1);
static HEP_VERSION: Number = HostCell::new(3);
static MASK_BODY: Text = HostCell::new(null());
static MASK_HEADERS: Text = HostCell::new(null());
static MIRROR: Text = HostCell::new(null());
static RING_SIZE_KIB: Number = HostCell::new(4096);
static SESSION_ID: Text = HostCell::new(null());
static SESSIONS: Number = HostCell::new(65_536);
static TLS_CA: Text = HostCell::new(null());
static TLS_CERT: Text = HostCell::new(null());
static TLS_KEY: Text = HostCell::new(null());
static TLS_SERVER_NAME: Text = HostCell::new(null());
static TRACE_FILTERS: Number = HostCell::new(16);
static TRACE_INIT_MODE: Number = HostCell::new(0);
static TRACE_METHOD: Text = HostCell::new(null());
static TRACE_MODE: Number = HostCell::new(0);
static TRACE_NETWORK: Text = HostCell::new(null());
static TRACE_ON: Number = HostCell::new(1);
static TRACE_TO_DATABASE: Number = HostCell::new(0);
static TRANSACTION_EXPIRES: Number = HostCell::new(64);

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[param_export_t; 34]> = HostCell::new([
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
    number(c"hep_capture_id", &HEP_CAPTURE_ID),
    each(c"hep_id", destinations::add_hep_id),
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
    each(c"trace_id", destinations::add_trace_id),
    number(c"trace_init_mode", &TRACE_INIT_MODE),
    text(c"trace_method", &TRACE_METHOD),
    number(c"trace_mode", &TRACE_MODE),
    text(c"trace_network", &TRACE_NETWORK),
    number(c"trace_on", &TRACE_ON),
    number(c"trace_to_database", &TRACE_TO_DATABASE),
    number(c"transaction_expires", &TRANSACTION_EXPIRES),
    param_export_t { name: null(), kind: 0, param_pointer: null_mut() },
]);

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

/// The host's own copy of `session_id`: what it makes of the text goes on pointing into it.
pub fn session_id() -> str_ {
    // SAFETY: called from mod_init, when the configuration file has been read.
    let text = unsafe { SESSION_ID.read() };
    // SAFETY: null, or the host's copy, which is never freed.
    let len = unsafe { octets(text) }.len();
    str_ { s: text.cast_mut(), len: c_int::try_from(len).unwrap_or_default() }
}

/// The octets of a text that ends with a NUL; none if there is none.
///
/// # Safety
/// The text must be null or ended by a NUL, and live as long as its octets are used.
pub unsafe fn octets<'t>(text: *const c_char) -> &'t [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

const fn text(name: &'static CStr, cell: &'static Text) -> param_export_t {
    entry(name, STR_PARAM, cell.pointer().cast())
}

const fn number(name: &'static CStr, cell: &'static Number) -> param_export_t {
    entry(name, INT_PARAM, cell.pointer().cast())
}

/// A parameter that may be given several times.
const fn each(name: &'static CStr, function: Function) -> param_export_t {
    entry(name, STR_PARAM | USE_FUNC_PARAM, function as *mut c_void)
}

const fn entry(name: &'static CStr, kind: c_uint, target: *mut c_void) -> param_export_t {
    param_export_t { name: name.as_ptr(), kind, param_pointer: target }
}

fn read_text(cell: &Text) -> String {
    // SAFETY: called from mod_init, when the configuration file has been read.
    let text = unsafe { cell.read() };
    // SAFETY: null, or the host's copy, which is never freed.
    String::from_utf8_lossy(unsafe { octets(text) }).into_owned()
}

fn read_number(cell: &Number) -> i32 {
    // SAFETY: called from mod_init, when the configuration file has been read.
    unsafe { cell.read() }
}
