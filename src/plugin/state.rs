//! State in plain types: what a guest's calls reach while a batch is processed.

use bytes::Bytes;

/// A store of the task, as `StateAccess::open` numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoreId(pub u32);

/// Keys from `first` (inclusive) to `last` (exclusive), in the order of bytes; `None` is no bound.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyRange {
    /// Where it begins.
    pub first: Option<Bytes>,
    /// Where it ends.
    pub last: Option<Bytes>,
}

/// In which order a scan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanDirection {
    /// By rising keys.
    Ascending,
    /// By falling keys.
    Descending,
}

/// How much of a range one scan gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimits {
    /// Entries, at least 1.
    pub entries_max: usize,
    /// Bytes of keys and values. An entry that is larger by itself is given nevertheless, alone.
    pub bytes_max: usize,
}

/// The first entries of a range.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Keys with their values: at least one if the range has one.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether there may be more behind the last one.
    pub more: bool,
}

/// By which time a timer is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimerDomain {
    /// By the stream time, which only records move.
    Event,
    /// By the wall clock.
    Processing,
}

impl TimerDomain {
    /// Both.
    pub const ALL: [TimerDomain; 2] = [TimerDomain::Event, TimerDomain::Processing];

    /// As the contract spells it.
    pub const fn name(self) -> &'static str {
        match self {
            TimerDomain::Event => "event-time",
            TimerDomain::Processing => "processing-time",
        }
    }
}

/// A timer that was set and has not been deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Its name: one of a kind in its domain.
    pub id: Bytes,
    /// When it is due, in milliseconds since 1970.
    pub at: i64,
    /// What was given along.
    pub payload: Bytes,
}

/// Why a call on the state is refused: a fault of the whole batch, of which nothing is kept.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// The deployment names no such store.
    #[error("there is no state store \"{0}\"; name it in the deployment's \"stores\"")]
    UnknownStore(String),
    /// The deployment has no state, and so no timers.
    #[error("this deployment has no timers; say \"timers\": true in it")]
    NoTimers,
    /// A module of a chain behind the first set a timer.
    #[error("only the first module of a chain has timers")]
    TimersBehindFirst,
    /// A key is empty or too long.
    #[error("a state key has {bytes} bytes, and 1 to {bytes_max} are allowed")]
    KeySize {
        /// The key's size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A value is too long.
    #[error("a state value has {bytes} bytes, and at most {bytes_max} are allowed")]
    ValueSize {
        /// The value's size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// `add` met a value that is no counter.
    #[error("the value is no counter: it has {0} bytes, not 8")]
    NotACounter(usize),
    /// The task's state, or what this transaction writes to it, is as large as it may be.
    #[error("{what} is full: {bytes_max} bytes are allowed")]
    Full {
        /// What is full.
        what: &'static str,
        /// The bound.
        bytes_max: u64,
    },
    /// The task has as many timers as it may have.
    #[error("the task has {timers_max} timers, and no more are allowed")]
    TimersFull {
        /// The bound.
        timers_max: u64,
    },
    /// The store on the disk failed.
    #[error("the state store failed: {0}")]
    Failed(String),
}

/// A task's stores as the transaction that is being put together sees them.
pub trait StateAccess: Send {
    /// The store of this name.
    fn open(&mut self, name: &str) -> Result<StoreId, StateError>;

    /// A key's value.
    fn get(&mut self, store: StoreId, key: &[u8]) -> Result<Option<Bytes>, StateError>;

    /// Puts a value, which is gone once the stream time has reached `expires` (milliseconds since 1970): at once, if it
    /// has already.
    fn put(
        &mut self,
        store: StoreId,
        key: &[u8],
        value: &[u8],
        expires: Option<i64>,
    ) -> Result<(), StateError>;

    /// Takes a key away.
    fn delete(&mut self, store: StoreId, key: &[u8]) -> Result<(), StateError>;

    /// The first entries of a range in this direction, as far as the limits allow. A range that ends before it begins
    /// is empty.
    fn scan(
        &mut self,
        store: StoreId,
        range: &KeyRange,
        direction: ScanDirection,
        limits: PageLimits,
    ) -> Result<Page, StateError>;

    /// Adds to a counter of eight bytes, little-endian, that begins at 0 and wraps around; answers its new value. It
    /// does not expire, even if it was put so.
    fn add(&mut self, store: StoreId, key: &[u8], delta: i64) -> Result<i64, StateError> {
        let before = match self.get(store, key)? {
            None => 0,
            Some(value) => {
                let counter = <[u8; 8]>::try_from(&value[..]);
                i64::from_le_bytes(counter.map_err(|_| StateError::NotACounter(value.len()))?)
            }
        };
        let after = before.wrapping_add(delta);
        self.put(store, key, &after.to_le_bytes(), None)?;
        Ok(after)
    }

    /// Sets a timer; one of the same id in this domain is replaced. `at` is in milliseconds since 1970.
    fn set_timer(
        &mut self,
        domain: TimerDomain,
        id: &[u8],
        at: i64,
        payload: &[u8],
    ) -> Result<(), StateError>;

    /// Takes a timer away; answers whether there was one.
    fn cancel_timer(&mut self, domain: TimerDomain, id: &[u8]) -> Result<bool, StateError>;

    /// From now on timers are refused: the first module of a chain, to which they would come back, is done.
    fn end_timers(&mut self);
}

/// The state of one that has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoState;

impl StateAccess for NoState {
    fn open(&mut self, name: &str) -> Result<StoreId, StateError> {
        Err(StateError::UnknownStore(name.to_owned()))
    }

    fn get(&mut self, _: StoreId, _: &[u8]) -> Result<Option<Bytes>, StateError> {
        Ok(None)
    }

    fn put(&mut self, _: StoreId, _: &[u8], _: &[u8], _: Option<i64>) -> Result<(), StateError> {
        Err(StateError::UnknownStore(String::new()))
    }

    fn delete(&mut self, _: StoreId, _: &[u8]) -> Result<(), StateError> {
        Err(StateError::UnknownStore(String::new()))
    }

    fn scan(
        &mut self,
        _: StoreId,
        _: &KeyRange,
        _: ScanDirection,
        _: PageLimits,
    ) -> Result<Page, StateError> {
        Ok(Page::default())
    }

    fn set_timer(&mut self, _: TimerDomain, _: &[u8], _: i64, _: &[u8]) -> Result<(), StateError> {
        Err(StateError::NoTimers)
    }

    fn cancel_timer(&mut self, _: TimerDomain, _: &[u8]) -> Result<bool, StateError> {
        Err(StateError::NoTimers)
    }

    fn end_timers(&mut self) {}
}

/// What a guest may ask for during one call, beside its input. The same surroundings and the same input give the
/// same output.
pub struct Surroundings {
    /// The task's stores.
    pub state: Box<dyn StateAccess>,
    /// The broker's clock when the transaction of the batch was begun, in milliseconds since 1970.
    pub now: i64,
    /// The largest timestamp of all records that the task has processed before.
    pub stream_time: Option<i64>,
    /// What the call's randomness begins with.
    pub seed: u64,
}

impl Surroundings {
    /// Surroundings without state, at time 0.
    pub fn none() -> Surroundings {
        Surroundings { state: Box::new(NoState), now: 0, stream_time: None, seed: 0 }
    }
}
