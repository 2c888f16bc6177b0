//! What the macros call: holds the one plugin of an instance, and turns batches into calls per record.

mod interceptor;
mod partitioner;
mod processor;

#[cfg(not(target_family = "wasm"))]
pub(crate) use interceptor::{Path, judge};
pub use interceptor::{
    close, configure, on_acknowledgement, on_consume_flat, on_consume_typed, on_send_flat, on_send_typed,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use partitioner::place;
pub use partitioner::{close_partitioner, configure_partitioner, partition_flat, partition_typed};
#[cfg(not(target_family = "wasm"))]
pub(crate) use processor::timer_of;
pub use processor::{Failed, fire_flat, fire_typed, init, process_flat, process_typed};

use std::any::Any;
use std::cell::RefCell;

thread_local! {
    static RUNNING: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Before any code of the plugin's runs.
fn prepare() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| log(crate::Level::Error, &panic.to_string())));
}

/// Makes this the instance's plugin.
fn start<T: Any>(plugin: T) {
    RUNNING.with(|slot| *slot.borrow_mut() = Some(Box::new(plugin)));
    tell_counts();
}

/// Calls with the instance's plugin, if it is one of that type.
fn with_running<T: Any, R>(call: impl FnOnce(&mut T) -> R) -> Option<R> {
    let answer = RUNNING
        .with(|slot| slot.borrow_mut().as_mut().and_then(|plugin| plugin.downcast_mut::<T>()).map(call));
    tell_counts();
    answer
}

/// Takes the instance's plugin away.
fn stop<T: Any>() -> Option<Box<T>> {
    RUNNING.with(|slot| slot.borrow_mut().take()?.downcast::<T>().ok())
}

#[cfg(target_family = "wasm")]
mod host {
    //! All worlds import the same interfaces, so any world's bindings will do.
    use std::cell::RefCell;

    use crate::Level;
    use crate::bindings::flat_world::tidemill::plugin::{config, log, metrics};

    pub fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message);
    }

    pub fn config(key: &str) -> Option<String> {
        config::get(key)
    }

    /// Counters whose sums wait for the end of the call: a call of the broker for each record would cost more
    /// than most plugins do. What a call has counted that ends in a panic is lost.
    const COUNTERS_WAITING_MAX: usize = 64;

    thread_local! {
        static COUNTS: RefCell<Vec<(String, u64)>> = const { RefCell::new(Vec::new()) };
    }

    pub fn count(counter: &str, value: u64) {
        COUNTS.with_borrow_mut(|counts| {
            let has_room = counts.len() < COUNTERS_WAITING_MAX;
            match counts.iter_mut().find(|(name, _)| name == counter) {
                Some((_, sum)) => *sum = sum.saturating_add(value),
                None if has_room => counts.push((counter.to_owned(), value)),
                None => metrics::add(counter, value),
            }
        });
    }

    /// Tells the broker what was counted since it was last told.
    pub fn tell_counts() {
        COUNTS.with_borrow_mut(|counts| {
            for (counter, sum) in counts.iter_mut().filter(|(_, sum)| *sum > 0) {
                metrics::add(counter, std::mem::take(sum));
            }
        });
    }
}

#[cfg(not(target_family = "wasm"))]
mod host {
    use crate::Level;

    pub fn log(level: Level, message: &str) {
        eprintln!("{level:?} {message}");
    }

    pub fn config(key: &str) -> Option<String> {
        crate::testing::config_of_this_thread(key)
    }

    pub fn count(counter: &str, value: u64) {
        crate::testing::count_on_this_thread(counter, value);
    }

    pub fn tell_counts() {}
}

pub(crate) use host::{config, count, log, tell_counts};
