//! The one integration binary: modules by subject.
//!
//! Each test starts the real server on a free port in a directory of its own; nothing is shared.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test gives up on real servers and clients after a while")]
// Without librdkafka some of the fixture has no user.
#![cfg_attr(not(feature = "client"), allow(dead_code))]

mod fixture;

mod administration;
mod bad_input;
#[cfg(feature = "client")]
mod compaction;
#[cfg(all(feature = "client", feature = "wasm"))]
mod consumer_groups;
mod dead_letters;
mod every_version;
mod fetch_sessions;
mod full_disk;
#[cfg(feature = "client")]
mod groups;
#[cfg(all(feature = "client", feature = "wasm"))]
mod http_produce;
mod interceptors;
mod many_topics;
mod names;
#[cfg(all(feature = "client", feature = "wasm"))]
mod partitioners;
#[cfg(all(feature = "client", feature = "wasm"))]
mod processors;
#[cfg(feature = "client")]
mod produce_fetch;
mod quotas;
mod regression;
mod startup;
#[cfg(all(feature = "client", feature = "wasm"))]
mod state;
mod tidy;
mod topic_settings;
#[cfg(feature = "client")]
mod topics;
#[cfg(feature = "client")]
mod transactions;
mod transactions_v2;
mod wrong_clients;
