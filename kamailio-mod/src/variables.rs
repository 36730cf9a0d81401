//! `$siplens(id)` and `$siplens(mode)`, in every route.

use std::cell::RefCell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::sync::OnceLock;

use boundary::{HostCell, fence};
use capture::{Lookup, Scope};
use kamailio_sys::{
    PV_NAME_OTHER, PV_VAL_NULL, PV_VAL_STR, pv_export_t, pv_param_t, pv_spec_t, pv_value_t, sip_msg, str_,
};

use crate::log::{Level, log};
use crate::{calls, process, template};

/// The table for the loader, ended by an empty entry.
pub static TABLE: HostCell<[pv_export_t; 2]> = HostCell::new([
    pv_export_t {
        name: str_ { s: c"siplens".as_ptr().cast_mut(), len: 7 },
        type_: kamailio_sys::_pv_type_PVT_OTHER,
        getf: Some(read),
        setf: None,
        parse_name: Some(parse_name),
        parse_index: None,
        init_param: None,
        iparam: 0,
    },
    pv_export_t {
        name: str_ { s: null_mut(), len: 0 },
        type_: 0,
        getf: None,
        setf: None,
        parse_name: None,
        parse_index: None,
        init_param: None,
        iparam: 0,
    },
]);

/// The names in the parentheses; the host keeps the number with the variable.
const ID: usize = 1;
const MODE: usize = 2;

/// What the host takes for success, and for the lack of a value with the flag that says so.
const DONE: c_int = 0;
const REFUSED: c_int = -1;

static LOOKUP: OnceLock<Lookup> = OnceLock::new();

thread_local! {
    /// The id of the last `$siplens(id)`: the host reads it before it asks for another one. Nothing is destroyed when the host
    /// exits.
    static VALUE: RefCell<ManuallyDrop<Value>> =
        const { RefCell::new(ManuallyDrop::new(Value { id: Vec::new(), template: Vec::new() })) };
}

struct Value {
    id: Vec<u8>,
    template: Vec<u8>,
}

/// Reads what is in the parentheses, when the configuration is read or a script of another language names a variable.
unsafe extern "C" fn parse_name(spec: *mut pv_spec_t, name: *mut str_) -> c_int {
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
        // SAFETY: null or the variable that the host is making.
        let Some(spec) = (unsafe { spec.as_mut() }) else { return REFUSED };
        spec.pvp.pvn.type_ = PV_NAME_OTHER as c_int;
        spec.pvp.pvn.nfree = None;
        // Not an address: the host keeps it, and gives it back.
        spec.pvp.pvn.u.dname = std::ptr::without_provenance_mut(number);
        DONE
    })
}

unsafe extern "C" fn read(msg: *mut sip_msg, param: *mut pv_param_t, result: *mut pv_value_t) -> c_int {
    fence(REFUSED, || {
        // SAFETY: null or the variable's parameters, which stay until we return.
        let Some(param) = (unsafe { param.as_ref() }) else { return REFUSED };
        // SAFETY: written by `parse_name`, as this field of the union.
        let number = unsafe { param.pvn.u.dname }.addr();
        // SAFETY: null or the host's room for the value.
        let Some(result) = (unsafe { result.as_mut() }) else { return REFUSED };
        let text = if number == MODE { mode(msg) } else { id(msg) };
        result.ri = 0;
        match text {
            Some(text) => {
                result.rs = text;
                result.flags = PV_VAL_STR as c_int;
            }
            None => {
                result.rs = str_ { s: c"".as_ptr().cast_mut(), len: 0 };
                result.flags = PV_VAL_NULL as c_int;
            }
        }
        DONE
    })
}

fn lookup() -> Option<&'static Lookup> {
    if LOOKUP.get().is_none() {
        let _ = LOOKUP.set(Lookup::new(process::shared()?, process::config()?));
    }
    LOOKUP.get()
}

/// The id under which `sip_trace()` would capture the message that the script works on.
fn id(msg: *mut sip_msg) -> Option<str_> {
    let lookup = lookup()?;
    let (message, _) = calls::present(msg, calls::NO_TIME)?;
    VALUE.with(|value| {
        // Taken already if the template `session_id` asks for what it makes itself.
        let mut value = value.try_borrow_mut().ok()?;
        let Value { id, template } = &mut **value;
        let has_template = template::evaluate(msg, template);
        lookup.correlation_id(&message, has_template.then_some(template.as_slice()), id);
        let len = c_int::try_from(id.len()).ok()?;
        (len > 0).then(|| str_ { s: id.as_mut_ptr().cast(), len })
    })
}

/// `t` or `d` if the message belongs to a transaction or dialog that is being followed.
fn mode(msg: *mut sip_msg) -> Option<str_> {
    let (message, _) = calls::present(msg, calls::NO_TIME)?;
    let letter = match lookup()?.scope(&message) {
        Scope::Message => return None,
        Scope::Transaction => c"t",
        Scope::Dialog => c"d",
    };
    Some(str_ { s: letter.as_ptr().cast_mut(), len: 1 })
}
