//! `siplens.so`: the capture agent as a Kamailio module. Only glue is here; what it does is in `capture`.
//!
//! In the order in which the proxy calls us:
//!
//! 1. `exports`: the loader looks up symbols and tables.
//! 2. `params`: `modparam` values are written into our variables.
//! 3. `commands`: the script's calls are checked (fixups), their arguments prepared (`argument`).
//! 4. `process`: `mod_init`, then `child_init` per process: the shared memory is made before the first fork, and the
//!    sender is started.
//! 5. `hooks`: every message that comes or goes → `message` → `capture::Agent::observe`.
//! 6. `commands`: `sip_trace()` → `template`, `message` → `capture::Agent::follow`.
//! 7. `event_route`: `event_route[siplens:msg]` may drop a message that would be captured.
//! 8. `control`: RPC commands, from whatever process serves them.
//!
//! Facts about the host that unsafe code relies on are written in `ffi/README.md`.

mod argument;
mod commands;
mod control;
mod event_route;
mod exports;
mod hooks;
mod log;
mod message;
mod params;
mod process;
mod template;
mod worker;
