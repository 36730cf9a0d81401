//! `siplens.so`: the capture agent as a Kamailio module. Only glue is here; what it does is in `capture`.
//!
//! In the order in which the proxy calls us:
//!
//! 1. `exports`: the loader looks up symbols and tables; `kemi` adds those for scripts of other languages.
//! 2. `params`: `modparam` values are written into our variables; `siptrace` answers for those of siptrace.
//! 3. `fixups`: the script's calls are checked, their arguments prepared (`argument`).
//! 4. `process`: `mod_init`, then `child_init` per process: the shared memory is made before the first fork, and the
//!    sender is started.
//! 5. `hooks`: every message that comes or goes → `message` → `capture::Agent::observe`.
//! 6. `commands` or `kemi`: `sip_trace()` → `calls` → `template`, `message` → `capture::Agent::follow`, for some messages
//!    later (`deferred`); `variables`: what the script asks of its message.
//! 7. `event_route`: `event_route[siplens:msg]` may drop a message that would be captured.
//! 8. `control` and `statistics`: RPC commands and counters, in whatever process serves them.
//!
//! Facts about the host that unsafe code relies on are written in `ffi/README.md`.

mod argument;
mod calls;
mod commands;
mod connection;
mod control;
mod deferred;
mod event_route;
mod exports;
mod fixups;
mod hooks;
mod kemi;
mod log;
mod message;
mod params;
mod process;
mod siptrace;
mod statistics;
mod template;
mod variables;
mod worker;
