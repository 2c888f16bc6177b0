//! Time as a processor may know it. The clocks stand still while a batch is processed, and say the same when it is
//! processed again; only the watermark moves, with the batch's own records. None is there in `init`. `std`'s `SystemTime`
//! follows [`now`].

use std::cell::Cell;

#[cfg(target_family = "wasm")]
use crate::bindings::flat_world::tidemill::plugin::clock as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing::clock as host;

thread_local! {
    /// The largest timestamp of the records of the call under way, up to the present one.
    static IN_THIS_CALL: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The broker's clock when the batch was first processed, in milliseconds since 1970. In unit tests: what
/// [`crate::testing::set_now`] set.
pub fn now() -> i64 {
    host::now()
}

/// The largest timestamp of all records that the task has processed before this batch, in milliseconds since 1970;
/// none before the first. It never goes back. What is put with an expiry goes by it, and so do timers of event time.
pub fn stream_time() -> Option<i64> {
    host::stream_time()
}

/// The largest timestamp of all records that the task has processed, the present one among them: the stream time, and what
/// this batch has added to it so far. It does not depend on where one batch ends and the next begins, so it is the
/// time to judge by whether a record is late.
pub fn watermark() -> Option<i64> {
    host::stream_time().max(IN_THIS_CALL.get())
}

/// A call begins.
pub(crate) fn begin_call() {
    IN_THIS_CALL.set(None);
}

/// A record of this timestamp comes.
pub(crate) fn saw(timestamp: i64) {
    IN_THIS_CALL.set(IN_THIS_CALL.get().max(Some(timestamp)));
}
