//! Time as a processor may know it. Both clocks stand still while a batch is processed, and say the same when it is
//! processed again. Neither is there in `init`. `std`'s `SystemTime` follows [`now`].

#[cfg(target_family = "wasm")]
use crate::bindings::flat_world::tidemill::plugin::clock as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing::clock as host;

/// The broker's clock when the batch was first processed, in milliseconds since 1970. In unit tests: what
/// [`crate::testing::set_now`] set.
pub fn now() -> i64 {
    host::now()
}

/// The largest timestamp of all records that the task has processed before this batch, in milliseconds since 1970;
/// none before the first. It never goes back. What is put with an expiry goes by it.
pub fn stream_time() -> Option<i64> {
    host::stream_time()
}
