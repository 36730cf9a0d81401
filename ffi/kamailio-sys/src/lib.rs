//! Kamailio's module interface for Rust: bindings, a C shim for what exists as macros only, and the two strings that
//! the core compares when it loads a module.
//!
//! `build.rs` makes all of it from the headers of the Kamailio that is installed, and fails with a sentence when
//! headers and installation do not match. No logic is here; `kamailio-mod` is the only user.
//!
//! Licence: GPL-2.0-or-later, as Kamailio's own headers.

mod bindings;
mod layout;

pub use bindings::*;
pub use layout::check as check_layout;

include!(concat!(env!("OUT_DIR"), "/strings.rs"));

/// Usable in every route block. The header's macro is an expression that bindgen passes over.
pub const ANY_ROUTE: u32 = 0xFFFF_FFFF;
/// Callbacks after the script; a macro with a suffix that bindgen passes over.
pub const POST_SCRIPT_CB: u32 = 1 << 31;
/// The value of a parameter goes to a function; a macro with a `sizeof` that bindgen passes over.
pub const PARAM_USE_FUNC: u32 = 1 << 31;
/// The interface that `module_exports` follows; exported beside the two strings.
pub const MODULE_INTERFACE_VERSION: u32 = 4;
