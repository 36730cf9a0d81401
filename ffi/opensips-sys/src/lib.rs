//! OpenSIPS' module interface for Rust, without its headers: a table of where things lie in each version, the tables
//! that a module hands over, and the symbols that it asks for.
//!
//! `build.rs` reads what the target's `opensips -V` says and picks the row of [`ROWS`] for it; a version that is not
//! known is refused. No C compiler is needed, unless `OPENSIPS_SRC` asks for a comparison with the headers. No logic is
//! here; `opensips-mod` is the only user.
//!
//! Licence: GPL-2.0-or-later, as OpenSIPS itself, into which it is loaded.

mod host;
mod message;
mod rows;
mod send;
mod tables;

pub use host::*;
pub use message::*;
pub use rows::{ROWS, Row, Version, row_of};
pub use send::{PROTOS, SendCall, SendFn, SendHook, protocol, protocols_look_right, replace_send};
pub use tables::*;

include!(concat!(env!("OUT_DIR"), "/target.rs"));
