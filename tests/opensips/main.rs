#![forbid(unsafe_code)]
//! The OpenSIPS module: in a host of our own for each known version, and in the real one that `OPENSIPS_BIN` names.
//!
//! `./test opensips` builds what they need: `scripts/build-opensips-module --dev --all`, and with `--panics` one that has a
//! defect; then `cargo test -p siplens-e2e --test opensips`.

#[macro_use]
mod stage;
mod carried;
mod collectors;
mod controlled;
mod hidden;
mod host;
mod hosted;
mod imports;
mod proxy;
mod texts;
