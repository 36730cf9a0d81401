//! The symbol that the loader looks up.

use std::ptr::null;

use boundary::HostCell;
use opensips_sys::{COMPILE_FLAGS, FULL_VERSION, MOD_TYPE_DEFAULT, SCM_TYPE, module_exports};

use crate::{commands, control, hidden, params, process, statistics, variables};

/// What the module offers. Four strings in it are compared by the core with its own; another version or build refuses
/// to load us.
#[unsafe(no_mangle)]
pub static exports: HostCell<module_exports> = HostCell::new(module_exports {
    name: c"siplens".as_ptr(),
    kind: MOD_TYPE_DEFAULT,
    version: FULL_VERSION.as_ptr(),
    compile_flags: COMPILE_FLAGS.as_ptr(),
    scm_type: SCM_TYPE.as_ptr(),
    // Compared as far as the shorter of the two goes.
    scm_rev: c"".as_ptr(),
    dlflags: 0,
    load_f: Some(commands::choose_names),
    deps: null(),
    cmds: commands::TABLE.pointer().cast(),
    acmds: null(),
    params: params::TABLE.pointer().cast(),
    stats: statistics::TABLE.pointer().cast(),
    mi_cmds: control::TABLE.pointer().cast(),
    items: variables::TABLE.pointer().cast(),
    trans: null(),
    procs: process::TABLE.pointer().cast(),
    preinit_f: Some(hidden::preinit),
    init_f: Some(process::mod_init),
    response_f: None,
    destroy_f: None,
    init_child_f: None,
    reload_ack_f: None,
});
