//! `siplens.so`: the capture agent as an OpenSIPS module. Only glue is here; what it does is in `capture`.
//!
//! In the order in which the proxy calls us:
//!
//! 1. `exports`: the loader looks up one symbol, compares its strings, and reads the tables.
//! 2. `params`: `modparam` values are written into our variables.
//! 3. `process`: `mod_init` checks the settings, makes the shared memory, and puts `hooks` in place, all before the
//!    first fork.
//! 4. `commands`: the script's literal arguments are checked (fixups, in `argument`).
//! 5. `process`: the keeper's process, which watches over the sender.
//! 6. `hooks`: every message that comes or goes → `message` → `capture::Agent::observe`.
//! 7. `commands`: `sip_trace()` → `template`, `message` → `capture::Agent::follow`; `texts`: `hlog()`; `variables`:
//!    `$siplens(id)`. What topology hiding has changed on the way is in `hidden`.
//! 8. `control` and `statistics`: MI, from whatever process serves it.
//!
//! Facts about the host that unsafe code relies on are written in `ffi/README.md`.

mod argument;
mod commands;
mod control;
mod destinations;
mod exports;
mod hidden;
mod hooks;
mod log;
mod message;
mod params;
mod process;
mod statistics;
mod template;
mod texts;
mod variables;
mod worker;
