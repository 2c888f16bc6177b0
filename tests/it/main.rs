//! The one integration binary: modules by subject.
//!
//! Each test starts the real server on a free port in a directory of its own; nothing is shared.
#![allow(clippy::unwrap_used)]

mod fixture;

mod bad_input;
mod every_version;
#[cfg(feature = "client")]
mod groups;
#[cfg(feature = "client")]
mod produce_fetch;
mod regression;
mod startup;
mod tidy;
#[cfg(feature = "client")]
mod topics;
#[cfg(feature = "client")]
mod transactions;
mod transactions_v2;
