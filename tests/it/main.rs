//! The one integration binary: modules by subject.
//!
//! Each test starts the real server on a free port in a directory of its own; nothing is shared.
#![allow(clippy::unwrap_used)]

mod fixture;

mod bad_input;
mod every_version;
mod tidy;

#[cfg(feature = "client")]
mod produce_fetch;
