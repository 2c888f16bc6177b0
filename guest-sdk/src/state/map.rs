//! The typed view of a store: keys that keep their order, values as MessagePack.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::state::{Key, KeyRange, Scan, Store, key};

/// A store with keys and values of Rust's types. Every store may be used as one map only, of the same types for good.
///
/// Keys keep their order (see [`Key`]), and may be given as what they borrow: `("anna", 1u32)` for a `(String, u32)`.
/// Values are MessagePack with the names of their fields, so that a later version of the plugin may add fields that
/// `#[serde(default)]` fills in.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidemill_guest::{Error, Map, testing};
///
/// #[derive(Serialize, Deserialize, Default)]
/// struct Account { balance: i64 }
///
/// testing::in_call(|| {
///     let accounts = Map::<(String, u32), Account>::open("accounts");
///     accounts.put(&("anna", 1u32), &Account { balance: 5 })?;
///     accounts.put(&("anna", 2u32), &Account { balance: 7 })?;
///     let balances = accounts.scan_prefix("anna").map(|entry| Ok(entry?.1.balance));
///     assert_eq!(balances.sum::<Result<i64, Error>>()?, 12);
///     Ok::<_, Error>(())
/// }).unwrap();
/// ```
pub struct Map<K, V> {
    store: Store,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Key<Owned = K>, V: Serialize + DeserializeOwned> Map<K, V> {
    /// The map in the store of this name, which the deployment must name as well. Nothing is asked of the broker yet.
    pub fn open(name: impl Into<String>) -> Map<K, V> {
        Map { store: Store::open(name), types: PhantomData }
    }

    /// The name of its store.
    pub fn name(&self) -> &str {
        self.store.name()
    }

    /// A key's value. An error means that what is stored is none of this type: the plugin cannot go on.
    pub fn get<Q: Key<Owned = K> + ?Sized>(&self, key: &Q) -> Result<Option<V>, Error> {
        self.store.get(key::encoded(key)).map(|value| self.value(&value)).transpose()
    }

    /// Puts a value. An error means that its type cannot be MessagePack.
    pub fn put<Q: Key<Owned = K> + ?Sized>(&self, key: &Q, value: &V) -> Result<(), Error> {
        self.store.put(key::encoded(key), self.bytes(value)?);
        Ok(())
    }

    /// Puts a value that is gone once the stream time has reached `expires`, as [`Store::put_until`] does.
    pub fn put_until<Q: Key<Owned = K> + ?Sized>(
        &self,
        key: &Q,
        value: &V,
        expires: i64,
    ) -> Result<(), Error> {
        self.store.put_until(key::encoded(key), self.bytes(value)?, expires);
        Ok(())
    }

    /// Takes a key away.
    pub fn delete<Q: Key<Owned = K> + ?Sized>(&self, key: &Q) {
        self.store.delete(key::encoded(key));
    }

    /// All entries, by rising keys.
    pub fn scan(&self) -> MapScan<'_, K, V> {
        MapScan { map: self, entries: self.store.scan(..) }
    }

    /// The entries from one key (inclusive) to another (exclusive), by rising keys.
    pub fn scan_between<Q: Key<Owned = K> + ?Sized>(&self, first: &Q, last: &Q) -> MapScan<'_, K, V> {
        MapScan { map: self, entries: self.store.scan(key::encoded(first)..key::encoded(last)) }
    }

    /// The entries whose keys, tuples all of them, begin with these parts, by rising keys.
    pub fn scan_prefix<Q: Key + ?Sized>(&self, parts: &Q) -> MapScan<'_, K, V> {
        MapScan { map: self, entries: self.store.scan(KeyRange::prefix(key::encoded(parts))) }
    }

    fn bytes(&self, value: &V) -> Result<Vec<u8>, Error> {
        rmp_serde::to_vec_named(value).map_err(|error| {
            Error::fatal(format!("a value for the store `{}` cannot be written: {error}", self.store.name()))
        })
    }

    fn value(&self, bytes: &[u8]) -> Result<V, Error> {
        rmp_serde::from_slice(bytes).map_err(|error| {
            Error::fatal(format!("a value in the store `{}` is of another type: {error}", self.store.name()))
        })
    }

    fn entry(&self, mut key: &[u8], value: &[u8]) -> Result<(K, V), Error> {
        let key = K::decode(&mut key).filter(|_| key.is_empty()).ok_or_else(|| {
            Error::fatal(format!("a key in the store `{}` is of another type", self.store.name()))
        })?;
        Ok((key, self.value(value)?))
    }
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({:?})", self.store.name())
    }
}

/// The entries of a map, read as they are asked for: see [`Scan`].
pub struct MapScan<'a, K, V> {
    map: &'a Map<K, V>,
    entries: Scan<'a>,
}

impl<'a, K, V> MapScan<'a, K, V> {
    /// By falling keys instead. To be said before the first entry is taken.
    pub fn descending(self) -> MapScan<'a, K, V> {
        MapScan { entries: self.entries.descending(), ..self }
    }

    /// Only the first entries. To be said before the first entry is taken.
    pub fn limit(self, entries: usize) -> MapScan<'a, K, V> {
        MapScan { entries: self.entries.limit(entries), ..self }
    }
}

impl<K: Key<Owned = K>, V: Serialize + DeserializeOwned> Iterator for MapScan<'_, K, V> {
    type Item = Result<(K, V), Error>;

    fn next(&mut self) -> Option<Result<(K, V), Error>> {
        let (key, value) = self.entries.next()?;
        Some(self.map.entry(&key, &value))
    }
}
