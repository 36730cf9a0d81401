//! Raw bindings, made by bindgen from the headers of the Kamailio that the module is built for.

#![expect(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "generated; names and documentation are Kamailio's"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
