//! The symbols that the loader looks up.

use std::ffi::{c_char, c_uint};

use boundary::HostCell;
use kamailio_sys::{MODULE_FLAGS, MODULE_INTERFACE_VERSION, MODULE_VERSION, module_exports};

use crate::{commands, control, params, process, variables};

/// Compared by the core with its own; another version or build refuses to load us.
#[unsafe(no_mangle)]
pub static module_version: HostCell<*const c_char> = HostCell::new(MODULE_VERSION.as_ptr());

/// Compared by the core with its own.
#[unsafe(no_mangle)]
pub static module_flags: HostCell<*const c_char> = HostCell::new(MODULE_FLAGS.as_ptr());

/// Exported as every module does; not checked by the core.
#[unsafe(no_mangle)]
pub static module_interface_ver: HostCell<c_uint> = HostCell::new(MODULE_INTERFACE_VERSION);

/// What the module offers.
#[unsafe(no_mangle)]
pub static exports: HostCell<module_exports> = HostCell::new(module_exports {
    name: c"siplens".as_ptr().cast_mut(),
    dlflags: 0,
    cmds: commands::TABLE.pointer().cast(),
    params: params::TABLE.pointer().cast(),
    rpc_methods: control::TABLE.pointer().cast(),
    pv_items: variables::TABLE.pointer().cast(),
    response_f: None,
    init_mod_f: Some(process::mod_init),
    init_child_f: Some(process::child_init),
    destroy_mod_f: None,
});
