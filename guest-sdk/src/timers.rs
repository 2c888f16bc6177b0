//! Timers: set while a batch is processed, durable with it, and fired exactly once, by [`Processor::on_timer`].
//!
//! ```
//! use tidemill_guest::timers::{self, Timer, TimerDomain};
//! use tidemill_guest::{Context, Error, Output, Processor, Record, clock};
//!
//! struct AMinuteLater;
//!
//! impl Processor for AMinuteLater {
//!     fn init(_: &Context) -> Result<AMinuteLater, Error> {
//!         Ok(AMinuteLater)
//!     }
//!
//!     fn process(&mut self, record: Record<'_>, _: &mut Output) -> Result<(), Error> {
//!         let id = record.offset.to_be_bytes();
//!         timers::set(TimerDomain::ProcessingTime, id, clock::now() + 60_000, record.value_str()?);
//!         Ok(())
//!     }
//!
//!     fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
//!         out.send("delayed", (), timer.payload);
//!         Ok(())
//!     }
//! }
//! ```
//!
//! They are part of the task's state: the deployment says `timers = true`, or names a store. A timer that the plugin
//! fails on meets the policy of a bad record: tried again, dead-lettered with its id as key and its payload as value, or
//! whatever the deployment says.
//!
//! [`Processor::on_timer`]: crate::Processor::on_timer

use crate::bindings::{flat, typed};

#[cfg(target_family = "wasm")]
use crate::bindings::flat_world::tidemill::plugin::timers as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing::timers as host;

/// By which time a timer is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimerDomain {
    /// By the stream time ([`crate::clock::stream_time`]), which only records move: the same records fire the same
    /// timers, however late they are read. It fires after the batch that has passed its time.
    EventTime,
    /// By the broker's clock ([`crate::clock::now`]). Never early; late by as long as the task is busy or away.
    ProcessingTime,
}

/// A timer that is due. It is gone once this goes well, unless it is set again.
#[derive(Clone, Copy, Debug)]
pub struct Timer<'a> {
    /// By which time it was due.
    pub domain: TimerDomain,
    /// Its id: one of a kind in its domain and task.
    pub id: &'a [u8],
    /// When it was due, in milliseconds since 1970: what outputs without a timestamp get.
    pub at: i64,
    /// What was given along.
    pub payload: &'a [u8],
    /// How often it was tried before: 0 at first.
    pub attempt: u32,
}

/// Sets a timer that is due at `at`, in milliseconds since 1970 (not before). One of the same id in this domain is
/// replaced. An id has the bounds of a key of a store, a payload those of a value. What is due already fires after this
/// batch.
pub fn set(domain: TimerDomain, id: impl AsRef<[u8]>, at: i64, payload: impl AsRef<[u8]>) {
    host::set(domain.into(), id.as_ref(), at, payload.as_ref());
}

/// Takes a timer away that has not fired; answers whether there was one.
pub fn cancel(domain: TimerDomain, id: impl AsRef<[u8]>) -> bool {
    host::cancel(domain.into(), id.as_ref())
}

impl From<TimerDomain> for flat::Domain {
    fn from(domain: TimerDomain) -> flat::Domain {
        match domain {
            TimerDomain::EventTime => flat::Domain::EventTime,
            TimerDomain::ProcessingTime => flat::Domain::ProcessingTime,
        }
    }
}

impl From<flat::Domain> for TimerDomain {
    fn from(domain: flat::Domain) -> TimerDomain {
        match domain {
            flat::Domain::EventTime => TimerDomain::EventTime,
            flat::Domain::ProcessingTime => TimerDomain::ProcessingTime,
        }
    }
}

impl From<typed::Domain> for TimerDomain {
    fn from(domain: typed::Domain) -> TimerDomain {
        match domain {
            typed::Domain::EventTime => TimerDomain::EventTime,
            typed::Domain::ProcessingTime => TimerDomain::ProcessingTime,
        }
    }
}
