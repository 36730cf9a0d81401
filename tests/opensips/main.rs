#![forbid(unsafe_code)]
//! The OpenSIPS module: in a host of our own for each known version, and in the real one that `OPENSIPS_BIN` names.
//!
//! `scripts/build-opensips-module --dev --all`, the same with `--panics ffi/opensips-sys/versions/3.6.8.txt`, then `cargo test -p siplens-e2e --test opensips`; `./test opensips` does it.

mod collectors;
mod host;
mod hosted;
mod imports;
mod proxy;
