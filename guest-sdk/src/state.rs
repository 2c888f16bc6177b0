//! A processor's state: stores of keys and values, ordered by key, written exactly once.
//!
//! Each task (one input partition) has its own stores, of the names that the deployment gives. What a batch writes
//! commits with the batch's outputs and its consumed offset, in one transaction: after an [`Error`](crate::Error), a
//! panic or a crash it was never written. The plugin's own memory is not taken back so: keep in the state what must
//! agree with the outputs.
//!
//! [`Store`] has bytes, `Map` (feature `map`) has Rust's types:
//!
//! ```
//! use tidemill_guest::{Context, Error, Output, Processor, Record, Store};
//!
//! struct Visits { counts: Store }
//!
//! impl Processor for Visits {
//!     fn init(_: &Context) -> Result<Visits, Error> {
//!         Ok(Visits { counts: Store::open("counts") })
//!     }
//!
//!     fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
//!         let visitor = record.key_str()?;
//!         let count = self.counts.add(visitor, 1);
//!         out.send("visits", visitor, count.to_string());
//!         Ok(())
//!     }
//! }
//! ```
//!
//! A call that breaks a rule does not return: a store that the deployment does not name, an empty key, a key or a value
//! beyond the broker's bounds, a state that is full. It ends the batch as a fault, and the instance with it. So does any
//! call from `init`: there is no state outside of `process`.

mod key;
#[cfg(feature = "map")]
mod map;
mod scan;

pub use key::Key;
#[cfg(feature = "map")]
pub use map::{Map, MapScan};
pub use scan::{KeyRange, Scan};

use std::cell::OnceCell;
use std::fmt;

#[cfg(target_family = "wasm")]
use crate::bindings::flat_world::tidemill::plugin::state as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing::state as host;

/// How many keys or entries the broker gives at once.
const PAGE_ENTRIES_MAX: usize = 1024;

/// One store of the processor's task, with keys and values in bytes.
pub struct Store {
    name: String,
    /// Made by the first call that needs it, so that a store may be opened in `init`.
    handle: OnceCell<host::Store>,
}

impl Store {
    /// The store of this name, which the deployment must name as well. Nothing is asked of the broker yet.
    pub fn open(name: impl Into<String>) -> Store {
        Store { name: name.into(), handle: OnceCell::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A key's value.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.handle().get(key.as_ref())
    }

    /// The values of several keys, in their order: fewer calls of the broker than `get` for each.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        let mut values = Vec::with_capacity(keys.len());
        while values.len() < keys.len() {
            let rest = keys.iter().skip(values.len()).take(PAGE_ENTRIES_MAX);
            let rest: Vec<Vec<u8>> = rest.map(|key| key.as_ref().to_vec()).collect();
            // Of large values, fewer come than were asked for.
            values.extend(self.handle().get_many(&rest));
        }
        values
    }

    /// Puts a value.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.handle().put(key.as_ref(), value.as_ref());
    }

    /// Puts a value that is gone once the stream time ([`crate::clock::stream_time`]) has reached `expires`, in
    /// milliseconds since 1970: at once, if it has already.
    pub fn put_until(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expires: i64) {
        self.handle().put_until(key.as_ref(), value.as_ref(), expires);
    }

    /// Takes a key away.
    pub fn delete(&self, key: impl AsRef<[u8]>) {
        self.handle().delete(key.as_ref());
    }

    /// Adds to a counter, which begins at 0 and wraps around, and answers its new value. `get` shows it as eight bytes,
    /// little-endian: [`i64::from_le_bytes`]. It does not expire, even if it was put so.
    pub fn add(&self, key: impl AsRef<[u8]>, delta: i64) -> i64 {
        self.handle().add(key.as_ref(), delta)
    }

    /// The entries of a range, by rising keys: `store.scan(..)`, `store.scan("a".."b")`,
    /// `store.scan(KeyRange::prefix("user/"))`.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan<'_> {
        Scan::new(self, range.into())
    }

    fn handle(&self) -> &host::Store {
        self.handle.get_or_init(|| host::Store::new(&self.name))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.name)
    }
}

#[cfg(test)]
mod tests;
