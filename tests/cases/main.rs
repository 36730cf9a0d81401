#![forbid(unsafe_code)]
//! End to end: a real Kamailio with the module, sipp, the real backend.
//!
//! `cargo test -p siplens-e2e --test cases`, after `cargo build -p siplens` and `scripts/build-module`; `./test e2e`
//! does all of it. What is missing fails a case; only what the kernel cannot do (SCTP) is skipped, and says so.

mod access;
mod address;
mod admission;
mod bad_input;
mod bench;
mod build_module;
mod call;
mod capture;
mod clickhouse;
mod collectors;
mod config;
mod control;
mod customer_link;
mod delivery;
mod events;
mod examples;
mod export;
mod faults_away;
mod faults_disk;
mod faults_kill;
mod faults_nodes;
mod faults_spool;
mod faults_store;
mod garbage;
mod homer;
mod hostile;
mod interface;
mod isolation;
mod kemi;
mod mask;
mod memory;
mod modes;
mod numbered;
mod outage;
mod overload;
mod panics;
mod replica;
mod restart;
mod retention;
mod scene;
mod script;
mod search;
mod session;
mod siptrace;
mod spool;
mod stage;
mod tenants;
mod ways;
mod websocket;
