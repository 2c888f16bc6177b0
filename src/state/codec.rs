//! Records of the changelog, which are also the entries of the cache. Pure; bytes from outside are hostile.
//!
//! A key is a version, a store's name behind its length, and the key within the store. A value is a version, flags,
//! a time if the flags say so, and the value; no value is a deletion. The time is when an entry expires or a timer
//! is due. What has another version, or a store of ours that is not known here, was written by a newer broker:
//! refused, never guessed at.

use super::limits::{KEY_BYTES_MAX, STORE_NAME_BYTES_MAX, VALUE_BYTES_MAX};
use super::timers::store_of_timers;
use crate::plugin::TimerDomain;
use bytes::{BufMut, Bytes, BytesMut};

/// The version of keys and of values.
const VERSION: u8 = 1;
/// A time follows the flags.
const FLAG_TIME: u8 = 1;
const TIME_BYTES: usize = 8;

/// What names of stores begin with that guests cannot open.
pub(super) const INTERNAL_PREFIX: &str = "__";
const CLOCK: &str = "__clock";
const STREAM_TIME: &[u8] = b"stream-time";

/// Why a record of a changelog cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangelogError {
    /// It has no key.
    #[error("it has no key")]
    NoKey,
    /// Another version than this broker writes.
    #[error("its {part} has version {version}, and this broker knows 1: it was written by a newer one")]
    Version {
        /// The key or the value.
        part: &'static str,
        /// Its version.
        version: u8,
    },
    /// Flags that this broker does not know.
    #[error(
        "its value has the flags {0:#04x}, which this broker does not know: it was written by a newer one"
    )]
    Flags(u8),
    /// A store of the broker's own that this one does not have.
    #[error("it is of the store \"{0}\", which this broker does not know: it was written by a newer one")]
    UnknownStore(String),
    /// It is not built as records of state are.
    #[error("it is not built as a record of state is: {0}")]
    Malformed(&'static str),
}

/// What a store is for, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StoreKind {
    /// The guest's own.
    Guest,
    /// The stream time.
    Clock,
    /// Timers by their ids.
    Timers(TimerDomain),
}

impl StoreKind {
    fn of(name: &str) -> Result<StoreKind, ChangelogError> {
        if !name.starts_with(INTERNAL_PREFIX) {
            check_store_name(name).map_err(ChangelogError::Malformed)?;
            return Ok(StoreKind::Guest);
        }
        let domain = TimerDomain::ALL.into_iter().find(|domain| store_of_timers(*domain) == name);
        match domain {
            Some(domain) => Ok(StoreKind::Timers(domain)),
            None if name == CLOCK => Ok(StoreKind::Clock),
            None => Err(ChangelogError::UnknownStore(name.to_owned())),
        }
    }
}

/// The order of time that an entry with a time stands in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Schedule {
    /// When entries expire.
    Expiry,
    /// When timers are due.
    Timers(TimerDomain),
}

impl Schedule {
    /// The schedule of the entry with this (whole) key.
    pub fn of(key: &[u8]) -> Schedule {
        let name = store_of(key);
        let domain = TimerDomain::ALL.into_iter().find(|domain| store_of_timers(*domain).as_bytes() == name);
        domain.map_or(Schedule::Expiry, Schedule::Timers)
    }

    /// The byte for it in keys of the cache.
    pub const fn byte(self) -> u8 {
        match self {
            Schedule::Expiry => 0,
            Schedule::Timers(TimerDomain::Event) => 1,
            Schedule::Timers(TimerDomain::Processing) => 2,
        }
    }
}

/// Whether a guest may have a store of this name; else why not.
pub fn check_store_name(name: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err("it is empty")
    } else if name.len() > STORE_NAME_BYTES_MAX {
        Err("it is longer than 64 bytes")
    } else if name.starts_with(INTERNAL_PREFIX) {
        Err("names that begin with \"__\" are the broker's own")
    } else if !name.bytes().all(allowed) {
        Err("only letters, digits, \".\", \"_\" and \"-\" are allowed")
    } else {
        Ok(())
    }
}

/// What all keys of a store begin with.
pub(super) fn store_prefix(name: &str) -> Bytes {
    let length = u8::try_from(name.len()).expect("names of stores have been checked");
    let mut prefix = BytesMut::with_capacity(2 + name.len());
    prefix.put_u8(VERSION);
    prefix.put_u8(length);
    prefix.put_slice(name.as_bytes());
    prefix.freeze()
}

/// The whole key of the stream time.
pub(super) fn clock_key() -> Bytes {
    let mut key = BytesMut::from(&store_prefix(CLOCK)[..]);
    key.put_slice(STREAM_TIME);
    key.freeze()
}

/// The store's name in a whole key that has been checked.
fn store_of(key: &[u8]) -> &[u8] {
    let length = key.get(1).copied().map_or(0, usize::from);
    key.get(2..2 + length).unwrap_or_default()
}

/// The key within its store, of a whole key that has been checked.
pub(super) fn key_in_store(key: &Bytes) -> Bytes {
    let prefix = 2 + store_of(key).len();
    key.slice(prefix.min(key.len())..)
}

/// A value as it stands in changelog and cache.
pub(super) fn encode_value(value: &[u8], time: Option<i64>) -> Bytes {
    let mut encoded = BytesMut::with_capacity(2 + time.map_or(0, |_| TIME_BYTES) + value.len());
    encoded.put_u8(VERSION);
    match time {
        Some(time) => {
            encoded.put_u8(FLAG_TIME);
            encoded.put_i64(time);
        }
        None => encoded.put_u8(0),
    }
    encoded.put_slice(value);
    encoded.freeze()
}

/// The stream time as a value.
pub(super) fn encode_clock(time: i64) -> Bytes {
    encode_value(&time.to_be_bytes(), None)
}

/// A value with its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    pub value: Bytes,
    pub time: Option<i64>,
}

impl Stored {
    /// Takes an encoded value apart.
    pub fn decode(encoded: &Bytes) -> Result<Stored, ChangelogError> {
        let (time, header_bytes) = header(encoded)?;
        Ok(Stored { value: encoded.slice(header_bytes..), time })
    }

    /// The stream time that a value of the clock's store says.
    pub fn clock(&self) -> Result<i64, ChangelogError> {
        let bytes = <[u8; 8]>::try_from(&self.value[..]);
        bytes.map(i64::from_be_bytes).map_err(|_| ChangelogError::Malformed("a stream time has eight bytes"))
    }
}

/// The time in an encoded value; none if it cannot be read.
pub(super) fn time_of(encoded: &[u8]) -> Option<i64> {
    header(encoded).ok().and_then(|(time, _)| time)
}

/// The time, and how many bytes stand before the value.
fn header(encoded: &[u8]) -> Result<(Option<i64>, usize), ChangelogError> {
    match encoded {
        [VERSION, 0, ..] => Ok((None, 2)),
        [VERSION, FLAG_TIME, rest @ ..] => {
            let time = rest.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
            let time = time.ok_or(ChangelogError::Malformed("its time is cut off"))?;
            Ok((Some(time), 2 + TIME_BYTES))
        }
        [VERSION, flags, ..] => Err(ChangelogError::Flags(*flags)),
        [VERSION] | [] => Err(ChangelogError::Malformed("its value is cut off")),
        [version, ..] => Err(ChangelogError::Version { part: "value", version: *version }),
    }
}

/// Checks a whole key; answers what its store is for.
pub(super) fn check_key(key: &[u8]) -> Result<StoreKind, ChangelogError> {
    let (length, rest) = match key {
        [VERSION, length, rest @ ..] => (usize::from(*length), rest),
        [VERSION] | [] => return Err(ChangelogError::Malformed("its key is cut off")),
        [version, ..] => return Err(ChangelogError::Version { part: "key", version: *version }),
    };
    let (name, in_store) =
        rest.split_at_checked(length).ok_or(ChangelogError::Malformed("the store's name is cut off"))?;
    let name =
        std::str::from_utf8(name).map_err(|_| ChangelogError::Malformed("the store's name is no text"))?;
    let kind = StoreKind::of(name)?;
    if in_store.is_empty() || in_store.len() > KEY_BYTES_MAX {
        return Err(ChangelogError::Malformed("its key is empty or too long"));
    }
    if kind == StoreKind::Clock && in_store != STREAM_TIME {
        return Err(ChangelogError::Malformed("the clock has one key only"));
    }
    Ok(kind)
}

/// Checks a record's key and value as a whole.
pub(super) fn check_record(key: Option<&Bytes>, value: Option<&Bytes>) -> Result<StoreKind, ChangelogError> {
    let kind = check_key(key.ok_or(ChangelogError::NoKey)?)?;
    let Some(stored) = value.map(Stored::decode).transpose()? else { return Ok(kind) };
    if stored.value.len() > VALUE_BYTES_MAX {
        return Err(ChangelogError::Malformed("its value is too long"));
    }
    match (kind, stored.time) {
        (StoreKind::Guest, _) | (StoreKind::Timers(_), Some(_)) => Ok(kind),
        (StoreKind::Timers(_), None) => Err(ChangelogError::Malformed("a timer without a time")),
        (StoreKind::Clock, Some(_)) => Err(ChangelogError::Malformed("a stream time that expires")),
        (StoreKind::Clock, None) => stored.clock().map(|_| kind),
    }
}

#[cfg(test)]
mod tests;
