//! `$siplens(id)` and `$siplens(mode)`, in every route.
//!
//! The id is what was written into it for this message, else what `sip_trace()` would capture it under. Written, it is the
//! id for every later call of the script for this message that gives none.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use boundary::{HostCell, fence};
use capture::{Lookup, Scope};
use opensips_sys::{PV_VAL_NULL, PV_VAL_STR, pv_export_t, pv_value_t, sip_msg, str_};

use crate::log::{Level, log};
use crate::{commands, message, process, template, worker};

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[pv_export_t; 2]> = HostCell::new([
    pv_export_t {
        name: str_ { s: c"siplens".as_ptr().cast_mut(), len: 7 },
        kind: MODULE_KIND,
        getf: Some(read),
        setf: Some(write),
        parse_name: Some(parse_name),
        ..NONE
    },
    NONE,
]);

const NONE: pv_export_t = pv_export_t {
    name: str_ { s: null_mut(), len: 0 },
    kind: 0,
    getf: None,
    setf: None,
    parse_name: None,
    parse_index: null(),
    init_param: null(),
    iparam: 0,
};

/// Numbers from here on are for modules; the core does not look at them.
const MODULE_KIND: c_int = 1000;

/// The names in the parentheses; the host keeps the number with the variable.
const ID: usize = 1;
const MODE: usize = 2;

const REFUSED: c_int = -1;
const DONE: c_int = 0;

static LOOKUP: OnceLock<Lookup> = OnceLock::new();

thread_local! {
    /// The id of the last `$siplens(id)`: the host reads it before it asks for another one.
    static VALUE: RefCell<Value> = const { RefCell::new(Value { id: Vec::new(), template: Vec::new() }) };
}

struct Value {
    id: Vec<u8>,
    template: Vec<u8>,
}

unsafe extern "C" fn parse_name(variable: *mut c_void, name: *const str_) -> c_int {
    fence(REFUSED, || {
        // SAFETY: null or the host's text, which stays until we return.
        let Some(name) = (unsafe { name.as_ref() }) else { return REFUSED };
        // SAFETY: the host set pointer and length together.
        let name = unsafe { boundary::bytes(name.s, name.len) };
        let number = match name {
            b"id" => ID,
            b"mode" => MODE,
            _ => {
                let name = String::from_utf8_lossy(name);
                log(Level::Error, format_args!("$siplens({name}): expected $siplens(id) or $siplens(mode)"));
                return REFUSED;
            }
        };
        // SAFETY: the variable that the host is making.
        unsafe { opensips_sys::set_variable_number(variable, number) };
        DONE
    })
}

unsafe extern "C" fn read(msg: *mut sip_msg, parameter: *mut c_void, value: *mut pv_value_t) -> c_int {
    fence(REFUSED, || {
        // SAFETY: the host passes its value to fill.
        let Some(value) = (unsafe { value.as_mut() }) else { return REFUSED };
        // SAFETY: the host passes what `parse_name` has left.
        let number = unsafe { opensips_sys::variable_number(parameter) };
        let text = match number {
            ID => id(msg),
            MODE => mode(msg),
            _ => None,
        };
        value.flags = PV_VAL_NULL;
        if let Some(text) = text {
            value.rs = text;
            value.flags = PV_VAL_STR;
        }
        DONE
    })
}

fn lookup() -> Option<&'static Lookup> {
    if LOOKUP.get().is_none() {
        // One for each process: what a process is forked with is a copy.
        let _ = LOOKUP.set(Lookup::new(process::shared()?, process::config()?));
    }
    LOOKUP.get()
}

fn id(msg: *mut sip_msg) -> Option<str_> {
    // SAFETY: the host's message, in use until we return.
    let message = unsafe { message::received(msg, message::now()) };
    VALUE.with(|value| {
        // Taken already if the template `session_id` asks for what it makes itself.
        let mut value = value.try_borrow_mut().ok()?;
        let Value { id, template } = &mut *value;
        id.clear();
        worker::with(|worker| {
            id.extend_from_slice(worker.name.of(&message).unwrap_or_default());
        });
        if id.is_empty() {
            let has_template = template::evaluate(msg, template);
            lookup()?.correlation_id(&message, has_template.then_some(template.as_slice()), id);
        }
        let len = c_int::try_from(id.len()).ok()?;
        (len > 0).then(|| str_ { s: id.as_mut_ptr().cast::<c_char>(), len })
    })
}

/// `t` or `d` if the message belongs to a transaction or dialog that is being followed.
fn mode(msg: *mut sip_msg) -> Option<str_> {
    // SAFETY: the host's message, in use until we return.
    let message = unsafe { message::received(msg, message::now()) };
    let letter = match lookup()?.scope(&message) {
        Scope::Message => return None,
        Scope::Transaction => c"t",
        Scope::Dialog => c"d",
    };
    Some(str_ { s: letter.as_ptr().cast_mut(), len: 1 })
}

unsafe extern "C" fn write(
    msg: *mut sip_msg,
    parameter: *mut c_void,
    _: c_int,
    value: *mut pv_value_t,
) -> c_int {
    fence(REFUSED, || {
        // SAFETY: the host passes what `parse_name` has left.
        if unsafe { opensips_sys::variable_number(parameter) } != ID {
            log(Level::Error, "$siplens(mode) cannot be written");
            return REFUSED;
        }
        let mut id: &[u8] = &[];
        // SAFETY: null to delete, or the host's value.
        if let Some(value) = unsafe { value.as_ref() }
            && value.flags & PV_VAL_STR != 0
        {
            // SAFETY: the host set pointer and length together.
            id = unsafe { boundary::bytes(value.rs.s, value.rs.len) };
        }
        worker::with(|worker| {
            // SAFETY: the host's message, in use until we return.
            let message = unsafe { message::received(msg, message::now()) };
            worker.name.set(&message, id);
            if !id.is_empty() && process::config().is_some_and(|config| config.automatic && config.scripted) {
                commands::name_dialog(worker, &message);
            }
        });
        DONE
    })
}
