//! Tasks' states over a changelog in memory: calls, units, restarts, failures.

use super::*;
use crate::ids::{Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
use crate::plugin::{
    KeyRange, Page, PageLimits, ScanDirection, StateAccess, StateError, StoreId, Timer, TimerDomain,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use tempfile::TempDir;

mod damage;
mod life;
mod measure;
mod properties;
mod times;
mod units;

const STORES: [&str; 2] = ["a", "b"];
const BLOCK_CACHE_BYTES: u64 = 4 << 20;
const DAY_MS: i64 = 86_400_000;

fn offset(value: i64) -> Offset {
    Offset::from_wire(value).unwrap()
}

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16]).unwrap()
}

fn task_key(processor: &str, partition: i32) -> TaskKey {
    let partition = PartitionIndex::from_wire(partition).unwrap();
    TaskKey {
        processor: processor.to_owned(),
        input: TopicPartition::new(TopicName::new("input"), partition),
    }
}

fn options() -> TaskOptions {
    TaskOptions { stores: STORES.map(str::to_owned).to_vec(), limits: StateLimits::default() }
}

/// A partition of a changelog. Every transaction is followed by its marker, which has an offset too.
#[derive(Clone)]
struct Log {
    topic: TopicId,
    start: i64,
    end: i64,
    records: Vec<ChangelogRecord>,
}

impl Log {
    fn new() -> Log {
        Log { topic: topic(1), start: 0, end: 0, records: Vec::new() }
    }

    /// Commits a unit's records; answers the offset behind the last of them.
    fn append(&mut self, unit: &PendingUnit) -> Offset {
        for (key, value) in unit.records() {
            self.records.push(ChangelogRecord { offset: offset(self.end), key: Some(key), value });
            self.end += 1;
        }
        let next = offset(self.end);
        self.end += 1;
        next
    }

    /// Keeps the last record of each key.
    fn compact(&mut self) {
        let last: BTreeMap<_, _> =
            self.records.iter().map(|record| (record.key.clone(), record.offset)).collect();
        self.records.retain(|record| last[&record.key] == record.offset);
    }

    fn state(&self) -> Changelog {
        Changelog {
            topic: self.topic,
            log_start: offset(self.start),
            log_end: offset(self.end),
            delete_retention_ms: DAY_MS,
        }
    }

    fn from(&self, from: Offset) -> Vec<ChangelogRecord> {
        self.records.iter().filter(|record| record.offset >= from).cloned().collect()
    }
}

/// A database in a directory of its own, with the changelog of one task.
struct Fixture {
    directory: TempDir,
    log: Log,
    options: TaskOptions,
    now: i64,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { directory: TempDir::new().unwrap(), log: Log::new(), options: options(), now: 1_000 }
    }

    fn database(&self) -> StateDatabase {
        StateDatabase::open(&self.directory.path().join("state"), BLOCK_CACHE_BYTES).unwrap()
    }

    fn open_in(&self, database: &StateDatabase) -> TaskState {
        database.open_task(task_key("p", 0), self.options.clone(), self.log.state(), self.now).unwrap()
    }

    /// The task's state, restored.
    fn restored_in(&self, database: &StateDatabase) -> TaskState {
        let mut task = self.open_in(database);
        self.restore(&mut task);
        task
    }

    fn restore(&self, task: &mut TaskState) {
        task.restore(self.log.from(task.applied()), offset(self.log.end), self.now).unwrap();
        assert_eq!(task.applied(), offset(self.log.end));
    }

    /// Commits the open unit.
    fn commit(&mut self, task: &mut TaskState) {
        if let Some(unit) = task.hand_over().unwrap() {
            let next = self.log.append(&unit);
            unit.committed(next, self.now).unwrap();
        }
    }
}

/// Writes in a call that succeeds.
fn call<T>(task: &mut TaskState, act: impl FnOnce(&mut CallState, StoreId) -> T) -> T {
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let answer = act(&mut access, store);
    task.keep_call();
    answer
}

fn put(task: &mut TaskState, key: &str, value: &str) {
    call(task, |access, store| access.put(store, key.as_bytes(), value.as_bytes(), None)).unwrap();
}

fn get(task: &mut TaskState, key: &str) -> Option<Bytes> {
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let found = access.get(store, key.as_bytes()).unwrap();
    task.drop_call();
    found
}

/// Limits of so many entries and as many bytes as there are.
fn up_to(entries_max: usize) -> PageLimits {
    PageLimits { entries_max, bytes_max: usize::MAX }
}

fn scan(task: &mut TaskState, direction: ScanDirection, limit: usize) -> Vec<(Bytes, Bytes)> {
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let found = access.scan(store, &KeyRange::default(), direction, up_to(limit)).unwrap().entries;
    task.drop_call();
    found
}

fn all(task: &mut TaskState) -> Vec<(Bytes, Bytes)> {
    scan(task, ScanDirection::Ascending, usize::MAX)
}

fn entries(of: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
    of.iter().map(|(key, value)| (Bytes::from(*key), Bytes::from(*value))).collect()
}
