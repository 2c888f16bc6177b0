//! Write stream processors, interceptors and partitioners in Rust that run inside the Tidemill broker.
//!
//! A processor reads topics and sends to topics, exactly once:
//!
//! ```
//! use tidemill_guest::{Error, Output, Record};
//!
//! fn shout(record: Record<'_>, out: &mut Output) -> Result<(), Error> {
//!     let text = record.value_str()?.to_uppercase();
//!     out.send("shouted", record.key, &text).headers_of(&record);
//!     Ok(())
//! }
//!
//! tidemill_guest::processor!(fn shout);
//! ```
//!
//! An interceptor judges records on their way between clients and topics:
//!
//! ```
//! use tidemill_guest::{Attachment, Error, Interceptor, Origin, Record, RejectionCode, Verdict};
//!
//! struct Polite;
//!
//! impl Interceptor for Polite {
//!     fn configure(_: &Attachment) -> Result<Polite, Error> {
//!         Ok(Polite)
//!     }
//!
//!     fn on_send(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
//!         match record.value {
//!             Some(b"spam") => verdict.drop(),
//!             Some(b"HELLO") => {
//!                 verdict.replace(record.key, "hello").headers_of(&record).header("lowered", "yes");
//!             }
//!             Some(b"damn") => {
//!                 verdict.reject(RejectionCode::PolicyViolation, format_args!("language, {}!", origin.principal));
//!             }
//!             _ => {}
//!         }
//!         Ok(())
//!     }
//! }
//!
//! tidemill_guest::interceptor!(Polite);
//! ```
//!
//! A partitioner chooses the partitions that records go to:
//!
//! ```
//! use tidemill_guest::{Error, Partitioner, Record, default_partition};
//!
//! struct AuditApart;
//!
//! impl Partitioner for AuditApart {
//!     fn configure() -> Result<AuditApart, Error> {
//!         Ok(AuditApart)
//!     }
//!
//!     fn partition(&mut self, _topic: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error> {
//!         match record.header("audit") {
//!             Some(_) => Ok(0),
//!             None => Ok(default_partition(&record, partitions)),
//!         }
//!     }
//! }
//!
//! tidemill_guest::partitioner!(AuditApart);
//! ```
//!
//! Build each as a `cdylib` with `cargo build --release --target wasm32-wasip2`. A processor with state or
//! settings of its own implements [`Processor`] instead; [`state`] has stores that outlive it, [`timers`] call it
//! later, `windows` (feature `map`) collect records by time, [`clock`] and [`random`] are what else it may ask for.
//! [`testing`] runs plugins in ordinary unit tests.
//!
//! A processor's batch is all or nothing: a record's [`Error`] discards the outputs of its whole batch and what it has
//! written to its stores, and the broker decides by the processor's policy what becomes of that record. Memory of a
//! plugin lives only as long as its instance: treat it as a cache.

extern crate self as tidemill_guest;

#[doc(hidden)]
pub mod bindings;
mod body;
pub mod clock;
mod error;
mod input;
mod interceptor;
mod output;
mod partitioner;
pub mod random;
#[cfg(all(target_family = "wasm", getrandom_backend = "custom"))]
mod randomness;
#[doc(hidden)]
pub mod runtime;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod timers;
mod varint;
mod verdict;
#[cfg(feature = "map")]
pub mod windows;

pub use body::Field;
pub use error::{Error, Reason};
pub use input::{Headers, Record};
pub use interceptor::{Acknowledgement, Attachment, Interceptor, Origin};
pub use output::{Output, Sent};
pub use partitioner::{Partitioner, default_partition, partition_for_key};
#[cfg(feature = "map")]
pub use state::Map;
pub use state::Store;
pub use verdict::{RejectionCode, Replaced, Verdict};

use std::fmt::Display;
use std::str::FromStr;

/// Who an instance runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The processor's name.
    pub processor: String,
    /// The input topic of its task.
    pub topic: String,
    /// The input partition of its task.
    pub partition: u32,
}

/// A processor with settings, stores or memory of its own.
pub trait Processor: Sized + 'static {
    /// Runs once, before anything else. An error means: not with this configuration.
    fn init(context: &Context) -> Result<Self, Error>;

    /// Processes one record: sends any number of records, to any declared topics.
    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error>;

    /// Does what a timer was set for: sends records, sets timers, changes stores. See [`timers`]. What sets no timers
    /// leaves this out.
    fn on_timer(&mut self, timer: timers::Timer<'_>, _out: &mut Output) -> Result<(), Error> {
        Err(Error::reject(format!("no `on_timer` is there for the timer `{}`", timer.id.escape_ascii())))
    }
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever debugs the plugin.
    Trace,
    /// For whoever develops the plugin.
    Debug,
    /// What happens.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
}

/// Writes a line to the plugin's log; in unit tests, to standard error. See also [`info!`] and its siblings.
pub fn log(level: Level, message: &str) {
    runtime::log(level, message);
}

/// Adds to a counter of the plugin's own, which the broker sums over all instances and shows beside its own. Names
/// are 1 to 64 of `a-z 0-9 _`, and a deployment has at most 64. In unit tests: see [`testing::counter`].
pub fn count(counter: &str, value: u64) {
    runtime::count(counter, value);
}

/// The value of a configuration key. In unit tests: what [`testing::set_config`] set.
pub fn config(key: &str) -> Option<String> {
    runtime::config(key)
}

/// The value of a configuration key that must be there and parse.
pub fn config_parsed<T: FromStr<Err: Display>>(key: &str) -> Result<T, Error> {
    let text = config(key).ok_or_else(|| Error::fatal(format!("the config key `{key}` is missing")))?;
    text.parse().map_err(|error| Error::fatal(format!("the config key `{key}` is `{text}`: {error}")))
}

/// The value of a configuration key that must parse if it is there.
pub fn config_or<T: FromStr<Err: Display>>(key: &str, default: T) -> Result<T, Error> {
    if config(key).is_some() { config_parsed(key) } else { Ok(default) }
}

macro_rules! level_macro {
    ($(#[$doc:meta])* $name:ident, $level:ident, $d:tt) => {
        $(#[$doc])*
        #[macro_export]
        macro_rules! $name {
            ($d($d arg:tt)*) => { $crate::log($crate::Level::$level, &::std::format!($d($d arg)*)) };
        }
    };
}
level_macro!(
    /// Logs a formatted line for whoever develops the plugin.
    debug, Debug, $
);
level_macro!(
    /// Logs a formatted line about what happens.
    info, Info, $
);
level_macro!(
    /// Logs a formatted line about what should be looked at.
    warn, Warn, $
);
level_macro!(
    /// Logs a formatted line about what went wrong.
    error, Error, $
);

/// Makes the crate a plugin, in the fast flat world: `processor!(MyProcessor)` for a type that implements
/// [`Processor`], `processor!(fn my_function)` for a function.
#[macro_export]
macro_rules! processor {
    (fn $function:path) => { $crate::__function!($function); $crate::processor!(__TidemillFunction); };
    ($processor:ty) => {
        #[doc(hidden)]
        pub struct __TidemillPlugin;
        impl $crate::bindings::flat::Guest for __TidemillPlugin {
            fn init(context: $crate::bindings::flat::Context) -> ::std::result::Result<(), ::std::string::String> {
                $crate::runtime::init::<$processor>(context.into())
            }
            fn process(
                batch: ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<::std::vec::Vec<u8>, $crate::bindings::flat::Fault> {
                $crate::runtime::process_flat::<$processor>(&batch).map_err(::std::convert::Into::into)
            }
            fn on_timers(
                domain: $crate::bindings::flat::Domain,
                batch: ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<::std::vec::Vec<u8>, $crate::bindings::flat::Fault> {
                $crate::runtime::fire_flat::<$processor>(domain.into(), &batch).map_err(::std::convert::Into::into)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_flat!(__TidemillPlugin with_types_in $crate::bindings::flat_world);
    };
}

/// Makes the crate a plugin in the typed world: takes what [`processor!`] takes.
#[macro_export]
macro_rules! processor_typed {
    (fn $function:path) => { $crate::__function!($function); $crate::processor_typed!(__TidemillFunction); };
    ($processor:ty) => {
        #[doc(hidden)]
        pub struct __TidemillPlugin;
        impl $crate::bindings::typed::Guest for __TidemillPlugin {
            fn init(context: $crate::bindings::typed::Context) -> ::std::result::Result<(), ::std::string::String> {
                $crate::runtime::init::<$processor>(context.into())
            }
            fn process(
                source: $crate::bindings::typed::Source,
                batch: ::std::vec::Vec<$crate::bindings::typed::RecordIn>,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::bindings::typed::RecordOut>,
                $crate::bindings::typed::Fault,
            > {
                $crate::runtime::process_typed::<$processor>(&source, &batch).map_err(::std::convert::Into::into)
            }
            fn on_timers(
                domain: $crate::bindings::typed::Domain,
                attempt: u32,
                due: ::std::vec::Vec<$crate::bindings::typed::Timer>,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::bindings::typed::RecordOut>,
                $crate::bindings::typed::Fault,
            > {
                $crate::runtime::fire_typed::<$processor>(domain.into(), attempt, &due)
                    .map_err(::std::convert::Into::into)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_typed!(__TidemillPlugin with_types_in $crate::bindings::typed_world);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    ($function:path) => {
        #[doc(hidden)]
        pub struct __TidemillFunction;
        impl $crate::Processor for __TidemillFunction {
            fn init(_: &$crate::Context) -> ::std::result::Result<Self, $crate::Error> {
                Ok(__TidemillFunction)
            }
            fn process(
                &mut self,
                record: $crate::Record<'_>,
                out: &mut $crate::Output,
            ) -> ::std::result::Result<(), $crate::Error> {
                $function(record, out)
            }
        }
    };
}
