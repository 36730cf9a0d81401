#![forbid(unsafe_code)]
//! The Siplens backend, in the order in which data flows: `ingest` → `decode` → `spool` → `store`, then `search` → `api`
//! for engineers and `search` → `customer` for their customers. `call` holds what messages mean and is used by all.

pub mod accounts;
pub mod api;
pub mod assets;
pub mod bench;
pub mod call;
mod checksum;
pub mod cli;
pub mod config;
pub mod customer;
pub mod databases;
pub mod decode;
mod descriptors;
pub mod export;
pub mod flush;
pub mod homer;
pub mod ingest;
pub mod memory;
pub mod network;
pub mod parallel;
pub mod search;
pub mod serve;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod tenant;
mod text;
