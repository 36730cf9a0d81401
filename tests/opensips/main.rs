#![forbid(unsafe_code)]
//! The OpenSIPS module: in a host of our own for each known version, and in the real one that `OPENSIPS_BIN` names.
//!
//! `scripts/build-opensips-module --all`, then `cargo test -p siplens-e2e --test opensips`; `./test opensips` does it.

mod proxy;
