//! The state, clock and randomness of processors in unit tests: one task for each test, as each has its own thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::random::Random;
use crate::testing::TestRecord;
use crate::timers::TimerDomain;

/// What a task has from batch to batch.
#[derive(Clone, Default)]
struct Task {
    stores: BTreeMap<String, Entries>,
    now: i64,
    stream_time: Option<i64>,
    seed: u64,
    timers: BTreeMap<(TimerDomain, Vec<u8>), (i64, Vec<u8>)>,
}

/// Values by their keys, with the stream time at which they are gone.
type Entries = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

thread_local! {
    static TASK: RefCell<Task> = RefCell::default();
    /// The randomness of the call under way, if there is one.
    static CALL: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// Sets what [`crate::clock::now`] says on this thread; 0 until then.
pub fn set_now(now: i64) {
    TASK.with_borrow_mut(|task| task.now = now);
}

/// Sets what the next batch's randomness begins with on this thread. Each batch that is processed has one that is larger
/// by 1; a batch that failed is tried again with the same.
pub fn set_seed(seed: u64) {
    TASK.with_borrow_mut(|task| task.seed = seed);
}

/// Calls as if a batch were being processed: to look into stores from a test, or to fill them.
pub fn in_call<T>(call: impl FnOnce() -> T) -> T {
    let _under_way = UnderWay::begin();
    call()
}

/// Calls with a batch: what is written stays if it goes well, and else was never written.
pub(super) fn with_batch<T, E>(records: &[TestRecord], call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let before = TASK.with_borrow(Task::clone);
    let answer = in_call(call);
    TASK.with_borrow_mut(|task| match answer {
        Ok(_) => {
            task.seed = task.seed.wrapping_add(1);
            task.stream_time = records.iter().map(|record| record.timestamp).max().max(task.stream_time);
        }
        Err(_) => *task = before,
    });
    answer
}

/// The timers of a domain that are due, by time and id, as records.
pub(super) fn due_timers() -> Option<(TimerDomain, Vec<TestRecord>)> {
    TASK.with_borrow(|task| {
        let times =
            [(TimerDomain::EventTime, task.stream_time), (TimerDomain::ProcessingTime, Some(task.now))];
        times.into_iter().find_map(|(domain, time)| {
            let time = time?;
            let of_domain = task.timers.iter().filter(|((of, _), (at, _))| *of == domain && *at <= time);
            let mut due: Vec<_> = of_domain.map(|((_, id), (at, payload))| (*at, id, payload)).collect();
            due.sort();
            let record = |(at, id, payload): (i64, &Vec<u8>, &Vec<u8>)| TestRecord {
                timestamp: at,
                ..TestRecord::new(id.as_slice(), payload.as_slice())
            };
            (!due.is_empty()).then(|| (domain, due.into_iter().map(record).collect()))
        })
    })
}

/// Calls with timers, which are gone if it goes well.
pub(super) fn with_timers<T, E>(
    domain: TimerDomain,
    due: &[TestRecord],
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let before = TASK.with_borrow(Task::clone);
    TASK.with_borrow_mut(|task| {
        for timer in due {
            task.timers.remove(&(domain, timer.key.clone().unwrap_or_default()));
        }
    });
    let answer = in_call(call);
    TASK.with_borrow_mut(|task| match answer {
        Ok(_) => task.seed = task.seed.wrapping_add(1),
        Err(_) => *task = before,
    });
    answer
}

struct UnderWay;

impl UnderWay {
    fn begin() -> UnderWay {
        let seed = TASK.with_borrow(|task| task.seed);
        CALL.set(Some(Random::seeded(seed)));
        UnderWay
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        CALL.set(None);
    }
}

#[track_caller]
fn must_be_in_call(interface: &str) {
    let is_in_call = CALL.with_borrow(Option::is_some);
    assert!(
        is_in_call,
        "`{interface}` is there only while a batch is processed, not in `init`; tests look at it in `testing::in_call`"
    );
}

/// What a plugin calls as `crate::state`'s host.
pub(crate) mod state {
    use std::ops::Bound;

    use super::{Entries, TASK, Task, must_be_in_call};
    use crate::bindings::flat_world::tidemill::plugin::state::{Direction, Entry, KeyRange, Page};

    /// The bounds of `wit/state.wit`.
    const PAGE_ENTRIES_MAX: usize = 1024;
    const PAGE_BYTES_MAX: usize = 1 << 20;

    pub struct Store(String);

    impl Store {
        #[track_caller]
        pub fn new(name: &str) -> Store {
            must_be_in_call("state");
            Store(name.to_owned())
        }

        #[track_caller]
        pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
            check_key(key);
            self.with(|entries, stream_time| {
                entries.get(key).filter(|entry| is_alive(entry.1, stream_time)).map(|entry| entry.0.clone())
            })
        }

        #[track_caller]
        pub fn get_many(&self, keys: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
            let mut bytes = 0;
            let values = keys.iter().take(PAGE_ENTRIES_MAX).map(|key| self.get(key));
            let fitting = values.enumerate().take_while(|(at, value)| {
                bytes += value.as_ref().map_or(0, Vec::len);
                *at == 0 || bytes <= PAGE_BYTES_MAX
            });
            fitting.map(|(_, value)| value).collect()
        }

        #[track_caller]
        pub fn put(&self, key: &[u8], value: &[u8]) {
            check_key(key);
            self.with(|entries, _| entries.insert(key.to_vec(), (value.to_vec(), None)));
        }

        #[track_caller]
        pub fn put_until(&self, key: &[u8], value: &[u8], expires: i64) {
            check_key(key);
            self.with(|entries, stream_time| {
                if is_alive(Some(expires), stream_time) {
                    entries.insert(key.to_vec(), (value.to_vec(), Some(expires)));
                } else {
                    entries.remove(key);
                }
            });
        }

        #[track_caller]
        pub fn delete(&self, key: &[u8]) {
            check_key(key);
            self.with(|entries, _| entries.remove(key));
        }

        #[track_caller]
        pub fn add(&self, key: &[u8], delta: i64) -> i64 {
            let before = self.get(key).map_or(0, |value| {
                let counter = value.try_into();
                i64::from_le_bytes(counter.expect("the value is no counter: it has not 8 bytes"))
            });
            let after = before.wrapping_add(delta);
            self.put(key, &after.to_le_bytes());
            after
        }

        #[track_caller]
        pub fn scan(&self, range: &KeyRange, direction: Direction, limit: u32) -> Page {
            let KeyRange { first, last } = range;
            if matches!((first, last), (Some(first), Some(last)) if first >= last) {
                return Page { entries: Vec::new(), more: false };
            }
            let bounds = (
                first.as_deref().map_or(Bound::Unbounded, Bound::Included),
                last.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
            );
            self.with(|entries, stream_time| {
                let range = entries.range::<[u8], _>(bounds);
                let alive = range.filter(|(_, entry)| is_alive(entry.1, stream_time));
                let alive = alive.map(|(key, entry)| Entry { key: key.clone(), value: entry.0.clone() });
                match direction {
                    Direction::Ascending => page(alive, limit),
                    Direction::Descending => page(alive.rev(), limit),
                }
            })
        }

        #[track_caller]
        fn with<T>(&self, call: impl FnOnce(&mut Entries, Option<i64>) -> T) -> T {
            must_be_in_call("state");
            TASK.with_borrow_mut(|Task { stores, stream_time, .. }| {
                call(stores.entry(self.0.clone()).or_default(), *stream_time)
            })
        }
    }

    #[track_caller]
    fn check_key(key: &[u8]) {
        assert!(!key.is_empty(), "a state key is empty, which no key may be");
    }

    fn is_alive(expires: Option<i64>, stream_time: Option<i64>) -> bool {
        expires.zip(stream_time).is_none_or(|(expires, stream_time)| expires > stream_time)
    }

    fn page(mut alive: impl Iterator<Item = Entry>, limit: u32) -> Page {
        let entries_max = (limit as usize).clamp(1, PAGE_ENTRIES_MAX);
        let mut page = Page { entries: Vec::new(), more: false };
        let mut bytes = 0;
        for entry in &mut alive {
            bytes += entry.key.len() + entry.value.len();
            if page.entries.len() == entries_max || (bytes > PAGE_BYTES_MAX && !page.entries.is_empty()) {
                page.more = true;
                break;
            }
            page.entries.push(entry);
        }
        page
    }
}

/// What a plugin calls as `crate::clock`'s host.
pub(crate) mod clock {
    use super::{TASK, must_be_in_call};

    #[track_caller]
    pub fn now() -> i64 {
        must_be_in_call("clock");
        TASK.with_borrow(|task| task.now)
    }

    #[track_caller]
    pub fn stream_time() -> Option<i64> {
        must_be_in_call("clock");
        TASK.with_borrow(|task| task.stream_time)
    }
}

/// What a plugin calls as `crate::random`'s host.
pub(crate) mod random {
    use super::{CALL, must_be_in_call};

    #[track_caller]
    pub fn next() -> u64 {
        must_be_in_call("random");
        CALL.with_borrow_mut(|call| call.as_mut().map_or(0, |random| random.bits()))
    }
}

/// What a plugin calls as `crate::timers`' host.
pub(crate) mod timers {
    use super::{TASK, must_be_in_call};
    use crate::bindings::flat::Domain;

    #[track_caller]
    pub fn set(domain: Domain, id: &[u8], at: i64, payload: &[u8]) {
        must_be_in_call("timers");
        assert!(!id.is_empty(), "a timer's id is empty, which none may be");
        let timer = (at.max(0), payload.to_vec());
        TASK.with_borrow_mut(|task| task.timers.insert((domain.into(), id.to_vec()), timer));
    }

    #[track_caller]
    pub fn cancel(domain: Domain, id: &[u8]) -> bool {
        must_be_in_call("timers");
        TASK.with_borrow_mut(|task| task.timers.remove(&(domain.into(), id.to_vec())).is_some())
    }
}

#[cfg(test)]
pub(crate) fn forget_stream_time() {
    TASK.with_borrow_mut(|task| task.stream_time = None);
}
