//! The operators' and the customers' listener, whole routers on a real store: every route, who may ask, and what links
//! must not open. Cases about accounts run on PostgreSQL too where `SIPLENS_TEST_POSTGRES_URL` names a server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod access;
mod description;
mod events;
mod hostile;
mod ingest;
mod links;
mod routes;
mod stage;
