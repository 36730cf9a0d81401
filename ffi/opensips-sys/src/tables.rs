//! The tables that a module hands to the loader. The same in every version, but for those of MI.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_ushort, c_void};
use std::mem::offset_of;

use crate::ROW;
use crate::host::{mi_params_t, mi_response_t};
use crate::message::sip_msg;

/// What a text is to the host.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct str_ {
    /// Its octets, not ended by a NUL.
    pub s: *mut c_char,
    /// How many.
    pub len: c_int,
}

/// The one symbol that the loader looks up.
#[repr(C)]
#[derive(Debug)]
pub struct module_exports {
    /// Ended by a NUL, as all texts of these tables.
    pub name: *const c_char,
    /// [`MOD_TYPE_DEFAULT`]
    pub kind: c_int,
    /// Compared with the core's.
    pub version: *const c_char,
    /// Compared with the core's.
    pub compile_flags: *const c_char,
    /// Compared with the core's.
    pub scm_type: *const c_char,
    /// Compared with the core's, as far as the shorter of the two goes.
    pub scm_rev: *const c_char,
    /// 0: as the core does by default.
    pub dlflags: c_uint,
    /// Called before anything else in here is read.
    pub load_f: Option<unsafe extern "C" fn() -> c_int>,
    /// Modules that must come before; null for none.
    pub deps: *const c_void,
    /// Script functions.
    pub cmds: *const cmd_export_t,
    /// Script functions that may be continued later; null for none.
    pub acmds: *const c_void,
    /// Parameters.
    pub params: *const param_export_t,
    /// Statistics.
    pub stats: *const stat_export_t,
    /// MI commands.
    pub mi_cmds: *const mi_export_t,
    /// Variables.
    pub items: *const pv_export_t,
    /// Transformations; null for none.
    pub trans: *const c_void,
    /// Processes.
    pub procs: *const proc_export_t,
    /// Called before `init_f` of all modules.
    pub preinit_f: Option<unsafe extern "C" fn() -> c_int>,
    /// Called once the configuration is read, before the first fork.
    pub init_f: Option<unsafe extern "C" fn() -> c_int>,
    /// Asked about each reply.
    pub response_f: Option<unsafe extern "C" fn(*mut sip_msg) -> c_int>,
    /// Called in the last process that is left.
    pub destroy_f: Option<unsafe extern "C" fn()>,
    /// Called in each process.
    pub init_child_f: Option<unsafe extern "C" fn(c_int) -> c_int>,
    /// Asked before the script is read anew.
    pub reload_ack_f: Option<unsafe extern "C" fn() -> c_int>,
}

/// A module that is neither a database's nor a cache's.
pub const MOD_TYPE_DEFAULT: c_int = 1;

/// A function that the script calls, with as many arguments as there are places.
pub type CommandFn = unsafe extern "C" fn(
    *mut sip_msg,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
) -> c_int;
/// Checks an argument.
pub type FixupFn = unsafe extern "C" fn(*mut *mut c_void) -> c_int;

/// One parameter of a script function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct cmd_param {
    /// `CMD_PARAM_…`; 0 ends the list.
    pub flags: c_int,
    /// Checks or replaces the argument.
    pub fixup: Option<FixupFn>,
    /// Undoes it.
    pub free_fixup: Option<FixupFn>,
}

/// A text; variables in it are replaced by their values.
pub const CMD_PARAM_STR: c_int = 1 << 1;
/// It may be left out.
pub const CMD_PARAM_OPT: c_int = 1 << 4;
/// If it is left out, its fixup is called all the same, with nothing.
pub const CMD_PARAM_FIX_NULL: c_int = 1 << 5;

/// Places for parameters, and one for the end of the list.
pub const CMD_PARAMS: usize = 9;

/// A script function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct cmd_export_t {
    /// Null ends the table.
    pub name: *const c_char,
    /// What is called.
    pub function: Option<CommandFn>,
    /// Ended by one with flags 0.
    pub params: [cmd_param; CMD_PARAMS],
    /// Routes that may call it.
    pub flags: c_int,
}

/// Every route that handles a message: request, failure, onreply, branch, error, local.
pub const MESSAGE_ROUTES: c_int = 1 | 2 | 4 | 8 | 16 | 32;
/// `local_route`, as `route_type` says it.
pub const LOCAL_ROUTE: c_int = 32;

/// A module parameter.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct param_export_t {
    /// Null ends the table.
    pub name: *const c_char,
    /// `STR_PARAM` or `INT_PARAM`, and maybe `USE_FUNC_PARAM`.
    pub kind: c_uint,
    /// What is written, or with `USE_FUNC_PARAM` called.
    pub param_pointer: *mut c_void,
}

/// A text; the host writes a pointer to a copy that it never frees.
pub const STR_PARAM: c_uint = 1;
/// A number.
pub const INT_PARAM: c_uint = 2;
/// A function is called for each value.
pub const USE_FUNC_PARAM: c_uint = 1 << 31;

/// A statistic.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct stat_export_t {
    /// Null ends the table.
    pub name: *const c_char,
    /// `STAT_…`
    pub flags: c_ushort,
    /// With `STAT_IS_FUNC` the function that is asked.
    pub stat_pointer: Option<unsafe extern "C" fn(*mut c_void) -> c_ulong>,
}

/// A statistic that cannot be set to 0.
pub const STAT_NO_RESET: c_ushort = 1;
/// A statistic that is asked for by a call.
pub const STAT_IS_FUNC: c_ushort = 1 << 3;

/// A process of the module's own.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proc_export_t {
    /// As process lists show it; null ends the table.
    pub name: *const c_char,
    /// Called in the parent before the fork.
    pub pre_fork: Option<unsafe extern "C" fn() -> c_int>,
    /// Called in the parent after it.
    pub post_fork: Option<unsafe extern "C" fn() -> c_int>,
    /// What the process does; it must not return.
    pub function: Option<unsafe extern "C" fn(c_int)>,
    /// How many of them.
    pub no: c_uint,
    /// 0: no `child_init`, no inter-process calls.
    pub flags: c_uint,
}

/// What an MI command calls.
pub type MiFn = unsafe extern "C" fn(*const mi_params_t, *mut c_void) -> *mut mi_response_t;

/// One set of parameters that an MI command takes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mi_recipe_t {
    /// What is called; none ends the list.
    pub cmd: Option<MiFn>,
    /// Names; null ends the list.
    pub params: [*const c_char; ROW.mi_params],
}

/// Sets of parameters for one MI command.
pub const MI_RECIPES: usize = 48;

/// An MI command.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mi_export_t {
    /// Null ends the table.
    pub name: *const c_char,
    /// Shown by `help`.
    pub help: *const c_char,
    /// 0
    pub flags: c_uint,
    /// Called in each process that serves MI.
    pub init_f: Option<unsafe extern "C" fn() -> c_int>,
    /// Ended by an empty one.
    pub recipes: [mi_recipe_t; MI_RECIPES],
    /// Other names.
    pub aliases: [*const c_char; ROW.mi_aliases],
}

/// The value of a variable.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pv_value_t {
    /// The text, if the flags say so.
    pub rs: str_,
    /// The number, if the flags say so.
    pub ri: c_int,
    /// `PV_VAL_…`
    pub flags: c_int,
}

/// There is no value.
pub const PV_VAL_NULL: c_int = 1;
/// The value is a text.
pub const PV_VAL_STR: c_int = 4;

/// Reads a variable.
pub type PvGetFn = unsafe extern "C" fn(*mut sip_msg, *mut c_void, *mut pv_value_t) -> c_int;
/// Writes a variable; a null value deletes it.
pub type PvSetFn = unsafe extern "C" fn(*mut sip_msg, *mut c_void, c_int, *mut pv_value_t) -> c_int;

/// Reads the name in a variable's parentheses, when the script is read.
pub type PvParseFn = unsafe extern "C" fn(*mut c_void, *const str_) -> c_int;

/// Keeps `number` with the variable that the host is making; reads of it will be given [`variable_number`].
///
/// # Safety
/// To be called in a [`PvParseFn`], with its first argument.
pub unsafe fn set_variable_number(variable: *mut c_void, number: usize) {
    // SAFETY: the name is a part of the host's variable, as the caller knows.
    unsafe {
        variable
            .wrapping_byte_add(PV_SPEC_NAME)
            .cast::<pv_name_t>()
            .write(pv_name_t { kind: 0, value: number })
    };
}

/// What [`set_variable_number`] kept.
///
/// # Safety
/// To be called in a [`PvGetFn`] or [`PvSetFn`], with the parameter that it is given.
pub unsafe fn variable_number(parameter: *const c_void) -> usize {
    // SAFETY: the parameter begins with the name, as the caller knows.
    unsafe { parameter.cast::<pv_name_t>().read() }.value
}

/// A variable's name; the host takes what follows the kind for its own only if the kind says so.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct pv_name_t {
    /// 0: it is no variable itself.
    kind: c_int,
    value: usize,
}

/// Where a variable's description has its parameter, which begins with the name.
const PV_SPEC_NAME: usize = 24;

/// A variable.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pv_export_t {
    /// Without `$`; null ends the table.
    pub name: str_,
    /// From 1000 on for modules.
    pub kind: c_int,
    /// Reads it.
    pub getf: Option<PvGetFn>,
    /// Writes it; none if it cannot be written.
    pub setf: Option<PvSetFn>,
    /// For names in parentheses.
    pub parse_name: Option<PvParseFn>,
    /// For an index in brackets; none.
    pub parse_index: *const c_void,
    /// For `iparam`; none.
    pub init_param: *const c_void,
    /// Nothing.
    pub iparam: c_int,
}

macro_rules! assert_layout {
    ($($type:ty { $($field:ident @ $place:expr),* } = $size:expr;)*) => {
        $(
            const _: () = assert!(size_of::<$type>() == $size);
            $(const _: () = assert!(offset_of!($type, $field) == $place);)*
        )*
    };
}

assert_layout! {
    module_exports {
        kind @ 8, version @ 16, compile_flags @ 24, scm_type @ 32, scm_rev @ 40, dlflags @ 48, load_f @ 56, deps @ 64,
        cmds @ 72, acmds @ 80, params @ 88, stats @ 96, mi_cmds @ 104, items @ 112, trans @ 120, procs @ 128,
        preinit_f @ 136, init_f @ 144, response_f @ 152, destroy_f @ 160, init_child_f @ 168, reload_ack_f @ 176
    } = 184;
    cmd_param { fixup @ 8, free_fixup @ 16 } = 24;
    cmd_export_t { function @ 8, params @ 16, flags @ 232 } = 240;
    param_export_t { kind @ 8, param_pointer @ 16 } = 24;
    stat_export_t { flags @ 8, stat_pointer @ 16 } = 24;
    proc_export_t { pre_fork @ 8, post_fork @ 16, function @ 24, no @ 32, flags @ 36 } = 40;
    mi_recipe_t { params @ 8 } = 8 + 8 * ROW.mi_params;
    mi_export_t { help @ 8, flags @ 16, init_f @ 24, recipes @ 32 }
        = 32 + MI_RECIPES * (8 + 8 * ROW.mi_params) + 8 * ROW.mi_aliases;
    str_ { len @ 8 } = 16;
    pv_value_t { ri @ 16, flags @ 20 } = 24;
    pv_export_t {
        kind @ 16, getf @ 24, setf @ 32, parse_name @ 40, parse_index @ 48, init_param @ 56, iparam @ 64
    } = 72;
}
