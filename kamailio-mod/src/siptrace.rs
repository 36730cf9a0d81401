//! The parameters of siptrace (Kamailio 5.6 to 6.1) that have no meaning here: refused with a line that says what to do
//! instead. Kamailio itself would just say that there is no such parameter.

use std::ffi::{CStr, c_char, c_int, c_void};

use boundary::fence;
use kamailio_sys::{PARAM_INT, PARAM_STR, PARAM_STRING, PARAM_USE_FUNC, modparam_t, param_export_t};

use crate::log::{Level, log};

const DONE: c_int = 0;
/// The host reports the line of its configuration, reads on, and does not start.
const REFUSED: c_int = -1;

type Setter = unsafe extern "C" fn(modparam_t, *mut c_void) -> c_int;

/// A parameter that is refused, whatever its value.
macro_rules! removed {
    ($name:literal, $instead:expr) => {{
        unsafe extern "C" fn set(_: modparam_t, _: *mut c_void) -> c_int {
            fence(REFUSED, || refuse($name, format_args!("remove it: {}", $instead)))
        }
        entry($name, PARAM_INT | PARAM_STR | PARAM_STRING, set)
    }};
}

/// A parameter of which one value says what happens here anyway, so that it may stay in a configuration.
macro_rules! only {
    ($name:literal, $value:literal, $instead:expr) => {{
        unsafe extern "C" fn set(_: modparam_t, value: *mut c_void) -> c_int {
            fence(REFUSED, || {
                // The host passes an integer in the pointer's place.
                if value.addr() as c_int == $value {
                    return DONE;
                }
                refuse($name, format_args!("expected {}: {}", $value, $instead))
            })
        }
        entry($name, PARAM_INT, set)
    }};
}

const DATABASE: &str = "there is no database here, messages go to the collector that duplicate_uri names";
const SOCKET: &str =
    "HEP leaves from a socket of the sender, never from a SIP socket; the system's routes choose its address";

/// In the order of siptrace's documentation.
pub const TABLE: [param_export_t; 28] = [
    removed!(c"db_url", DATABASE),
    removed!(c"table", DATABASE),
    removed!(c"date_column", DATABASE),
    removed!(c"callid_column", DATABASE),
    removed!(c"traced_user_column", DATABASE),
    removed!(c"msg_column", DATABASE),
    removed!(c"method_column", DATABASE),
    removed!(c"status_column", DATABASE),
    removed!(c"fromip_column", DATABASE),
    removed!(c"toip_column", DATABASE),
    removed!(c"fromtag_column", DATABASE),
    removed!(c"totag_column", DATABASE),
    removed!(c"direction_column", DATABASE),
    removed!(
        c"traced_user_avp",
        "messages are not stored by user; call sip_trace() in the script where the AVP is set"
    ),
    removed!(c"trace_table_avp", DATABASE),
    removed!(
        c"trace_local_ip",
        "addresses are reported as they are on the wire; to report another one let the socket advertise it, and set data_mode to 1"
    ),
    only!(
        c"trace_sl_acks",
        1,
        "ACKs belong to what is followed; to capture no ACKs, list the other methods in trace_method"
    ),
    only!(
        c"xheaders_write",
        0,
        "captured messages are never changed; HEP carries addresses and time beside them"
    ),
    only!(c"xheaders_read", 0, "HEP carries addresses and time beside the messages"),
    removed!(c"force_send_sock", SOCKET),
    removed!(c"send_sock_addr", SOCKET),
    removed!(c"send_sock_name", SOCKET),
    removed!(c"trace_delayed", DATABASE),
    removed!(c"trace_db_mode", DATABASE),
    only!(
        c"trace_ephemeral_socket",
        1,
        "a connection's own port is always reported, where Kamailio can tell it"
    ),
    only!(
        c"trace_dialog_ack",
        1,
        "ACKs belong to the dialog; to capture no ACKs, list the other methods in trace_method"
    ),
    only!(c"trace_dialog_spiral", 1, "a call that comes back to the proxy is followed like any other"),
    END,
];

/// What ends the host's table.
pub const END: param_export_t =
    param_export_t { name: std::ptr::null_mut(), type_: 0, param_pointer: std::ptr::null_mut() };

const fn entry(name: &'static CStr, kinds: u32, set: Setter) -> param_export_t {
    param_export_t {
        name: name.as_ptr().cast_mut().cast::<c_char>(),
        type_: PARAM_USE_FUNC | kinds,
        param_pointer: set as *const c_void as *mut c_void,
    }
}

fn refuse(name: &CStr, why: std::fmt::Arguments<'_>) -> c_int {
    log(Level::Error, format_args!("modparam {} of siptrace: {why}", name.to_string_lossy()));
    REFUSED
}
