//! Windows over event time: values that collect what falls into a span of time, by key, and close when the stream has
//! passed it.
//!
//! ```
//! use std::time::Duration;
//! use tidemill_guest::timers::Timer;
//! use tidemill_guest::windows::Windows;
//! use tidemill_guest::{Context, Error, Output, Processor, Record};
//!
//! /// Counts each key's records by the minute, and waits ten seconds for those that come late.
//! struct PerMinute(Windows<String, u64>);
//!
//! impl Processor for PerMinute {
//!     fn init(_: &Context) -> Result<PerMinute, Error> {
//!         let windows = Windows::tumbling("windows", Duration::from_secs(60));
//!         Ok(PerMinute(windows.grace(Duration::from_secs(10))))
//!     }
//!
//!     fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
//!         let windows = self.0.update(record.key_str()?, record.timestamp, |count| *count += 1)?;
//!         if windows == 0 {
//!             out.send("late", record.key, record.value);
//!         }
//!         Ok(())
//!     }
//!
//!     fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
//!         if let Some(closed) = self.0.closed(&timer)? {
//!             out.send("per-minute", &closed.key, closed.value.to_string()).timestamp(closed.window.start);
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! Time is the [watermark](crate::clock::watermark): the largest timestamp of all records so far. A window is open until
//! the watermark has reached its end and the grace after it; a record for a window that is not open any more is late, falls
//! into none, and is counted under `late_records`. So what a window holds depends on the records and their order
//! alone, not on batches, crashes or how fast anything is read. A window is handed out once, after the batch that
//! has closed it: without later records in its partition, it waits.
//!
//! Each window of a key is an entry of its store and a timer: name the store in the deployment. A store holds the windows of
//! one `Windows` or `Sessions`, and nothing else.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::Key;
use crate::timers::{self, Timer, TimerDomain};
use crate::{Error, Map, clock, count};

/// A span of event time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Window {
    /// Where it begins, in milliseconds since 1970.
    pub start: i64,
    /// Where it ends, in milliseconds since 1970: the first moment that is not in it. Of a session: the timestamp of its
    /// last record.
    pub end: i64,
}

/// A window that is closed for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed<K, V> {
    /// Whose it was.
    pub key: K,
    /// Which it was.
    pub window: Window,
    /// What it collected.
    pub value: V,
}

/// Windows of one size: tumbling ones, which follow upon one another, or hopping ones, which overlap. They begin at
/// multiples of their advance since 1970.
#[derive(Debug)]
pub struct Windows<K, V> {
    size_ms: i64,
    advance_ms: i64,
    grace_ms: i64,
    open: Map<(K, i64), V>,
}

impl<K, V> Windows<K, V>
where
    K: Key<Owned = K>,
    V: Serialize + DeserializeOwned + Default,
{
    /// Windows that follow upon one another, in the store of this name. A size of less than a millisecond is one.
    pub fn tumbling(store: impl Into<String>, size: Duration) -> Windows<K, V> {
        Windows::hopping(store, size, size)
    }

    /// Windows of a size, of which one begins at each advance: a record falls into about `size / advance` of them. An
    /// advance that is larger than the size leaves gaps, and records in them are in no window.
    pub fn hopping(store: impl Into<String>, size: Duration, advance: Duration) -> Windows<K, V> {
        let [size_ms, advance_ms] = [size, advance].map(|duration| millis(duration).max(1));
        Windows { size_ms, advance_ms, grace_ms: 0, open: Map::open(store) }
    }

    /// For how long a window waits for late records after its end; not at all unless this is said.
    pub fn grace(self, grace: Duration) -> Windows<K, V> {
        Windows { grace_ms: millis(grace), ..self }
    }

    /// Changes the value of each window that a record of this key and timestamp falls into, and answers how many these
    /// are: 0 if it is late. A new window begins with the default value. A record without a timestamp is an error.
    pub fn update<Q: Key<Owned = K> + ?Sized>(
        &self,
        key: &Q,
        timestamp: i64,
        mut change: impl FnMut(&mut V),
    ) -> Result<u32, Error> {
        check_timestamp(timestamp)?;
        let watermark = clock::watermark();
        let mut windows = 0;
        let mut in_any = false;
        for start in self.starts(timestamp) {
            in_any = true;
            let closes = self.closes(start);
            if is_closed(closes, watermark) {
                continue;
            }
            windows += 1;
            let name = (Ref(key), start);
            let known = self.open.get(&name)?;
            if known.is_none() {
                timers::set(TimerDomain::EventTime, id(&self.open, &name), closes, []);
            }
            let mut value = known.unwrap_or_default();
            change(&mut value);
            self.open.put(&name, &value)?;
        }
        if windows == 0 && in_any {
            count("late_records", 1);
        }
        Ok(windows)
    }

    /// The value of a window that is open, or about to be handed out.
    pub fn get<Q: Key<Owned = K> + ?Sized>(&self, key: &Q, start: i64) -> Result<Option<V>, Error> {
        self.open.get(&(Ref(key), start))
    }

    /// The window that this timer closes; none if it is another's timer. From then on the window is gone.
    pub fn closed(&self, timer: &Timer<'_>) -> Result<Option<Closed<K, V>>, Error> {
        let Some((key, start)) = name_of(&self.open, timer)? else { return Ok(None) };
        let Some(value) = take(&self.open, &key, start)? else { return Ok(None) };
        let window = Window { start, end: start.saturating_add(self.size_ms) };
        Ok(Some(Closed { key, window, value }))
    }

    /// Where the windows that hold a moment begin, from the earliest on.
    fn starts(&self, timestamp: i64) -> impl Iterator<Item = i64> {
        let last = timestamp - timestamp % self.advance_ms;
        let before = (timestamp - self.size_ms).div_euclid(self.advance_ms).saturating_add(1);
        let first = before.max(0).saturating_mul(self.advance_ms);
        let advance_ms = self.advance_ms;
        let starts = std::iter::successors(Some(first), move |start| start.checked_add(advance_ms));
        starts.take_while(move |start| *start <= last)
    }

    fn closes(&self, start: i64) -> i64 {
        start.saturating_add(self.size_ms).saturating_add(self.grace_ms)
    }
}

/// Session windows: a key's records that follow upon one another without a longer gap. Two sessions become one when a
/// record comes between them.
#[derive(Debug)]
pub struct Sessions<K, V> {
    gap_ms: i64,
    grace_ms: i64,
    /// The end of each with its value.
    open: Map<(K, i64), (i64, V)>,
}

impl<K, V> Sessions<K, V>
where
    K: Key<Owned = K>,
    V: Serialize + DeserializeOwned + Default,
{
    /// Sessions that end where nothing has come for longer than the gap, in the store of this name.
    pub fn new(store: impl Into<String>, gap: Duration) -> Sessions<K, V> {
        Sessions { gap_ms: millis(gap), grace_ms: 0, open: Map::open(store) }
    }

    /// For how long a session waits for late records after its end and the gap; not at all unless this is said.
    pub fn grace(self, grace: Duration) -> Sessions<K, V> {
        Sessions { grace_ms: millis(grace), ..self }
    }

    /// Changes the value of the session that a record of this key and timestamp belongs to, which it may begin, lengthen
    /// or put together of several: `merge` takes the values of later ones into that of the first. Answers the session,
    /// or none if the record is late. A record without a timestamp is an error.
    pub fn update<Q: Key<Owned = K> + ?Sized>(
        &self,
        key: &Q,
        timestamp: i64,
        merge: impl Fn(&mut V, V),
        change: impl FnOnce(&mut V),
    ) -> Result<Option<Window>, Error> {
        check_timestamp(timestamp)?;
        let watermark = clock::watermark();
        let mut window = Window { start: timestamp, end: timestamp };
        let mut value: Option<V> = None;
        let mut replaced = Vec::new();
        for entry in self.open.scan_prefix(key) {
            let ((_, start), (end, session)) = entry?;
            let is_near = start.saturating_sub(self.gap_ms) <= timestamp
                && timestamp <= end.saturating_add(self.gap_ms);
            if !is_near || is_closed(self.closes(end), watermark) {
                continue;
            }
            window = Window { start: window.start.min(start), end: window.end.max(end) };
            replaced.push(start);
            match &mut value {
                None => value = Some(session),
                Some(first) => merge(first, session),
            }
        }
        if value.is_none() && is_closed(self.closes(window.end), watermark) {
            count("late_records", 1);
            return Ok(None);
        }
        for start in replaced.into_iter().filter(|start| *start != window.start) {
            let name = (Ref(key), start);
            timers::cancel(TimerDomain::EventTime, id(&self.open, &name));
            self.open.delete(&name);
        }
        let mut value = value.unwrap_or_default();
        change(&mut value);
        let name = (Ref(key), window.start);
        timers::set(TimerDomain::EventTime, id(&self.open, &name), self.closes(window.end), []);
        self.open.put(&name, &(window.end, value))?;
        Ok(Some(window))
    }

    /// The session that this timer closes; none if it is another's timer. From then on the session is gone.
    pub fn closed(&self, timer: &Timer<'_>) -> Result<Option<Closed<K, V>>, Error> {
        let Some((key, start)) = name_of(&self.open, timer)? else { return Ok(None) };
        let Some((end, value)) = take(&self.open, &key, start)? else { return Ok(None) };
        Ok(Some(Closed { key, window: Window { start, end }, value }))
    }

    /// When a session that ends here is closed: behind the last moment that could lengthen it.
    fn closes(&self, end: i64) -> i64 {
        end.saturating_add(self.gap_ms).saturating_add(1).saturating_add(self.grace_ms)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn check_timestamp(timestamp: i64) -> Result<(), Error> {
    if timestamp < 0 {
        return Err(Error::reject("the record has no timestamp: it falls into no window"));
    }
    Ok(())
}

fn is_closed(closes: i64, watermark: Option<i64>) -> bool {
    watermark.is_some_and(|watermark| closes <= watermark)
}

/// A key that is borrowed, as part of a window's.
struct Ref<'a, Q: ?Sized>(&'a Q);

impl<Q: Key + ?Sized> Key for Ref<'_, Q> {
    type Owned = Q::Owned;

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.0.encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Q::Owned> {
        Q::decode(bytes)
    }
}

/// What the timer of a window is called: by its store, so that a processor may have several kinds.
fn id<K: Key<Owned = K>, V: Serialize + DeserializeOwned>(
    open: &Map<(K, i64), V>,
    name: &impl Key,
) -> Vec<u8> {
    let mut id = Vec::new();
    open.name().encode(&mut id);
    name.encode(&mut id);
    id
}

/// The key and the start of the window whose timer this is, if it is one of this store's.
fn name_of<K: Key<Owned = K>, V: Serialize + DeserializeOwned>(
    open: &Map<(K, i64), V>,
    timer: &Timer<'_>,
) -> Result<Option<(K, i64)>, Error> {
    let mut id = timer.id;
    let is_ours = timer.domain == TimerDomain::EventTime
        && String::decode(&mut id).is_some_and(|store| store == open.name());
    if !is_ours {
        return Ok(None);
    }
    let name = <(K, i64)>::decode(&mut id).filter(|_| id.is_empty());
    let foreign =
        || Error::fatal(format!("a window in the store `{}` has a key of another type", open.name()));
    name.map(Some).ok_or_else(foreign)
}

fn take<K: Key<Owned = K>, V: Serialize + DeserializeOwned>(
    open: &Map<(K, i64), V>,
    key: &K,
    start: i64,
) -> Result<Option<V>, Error> {
    let name = (Ref(key), start);
    let value = open.get(&name)?;
    open.delete(&name);
    Ok(value)
}

#[cfg(test)]
mod tests;
