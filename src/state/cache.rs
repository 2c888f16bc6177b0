//! The cache on the disk: the one file that knows fjall.
//!
//! One database with one keyspace for all tasks, so that an idle task costs nothing but its rows. A task has a slot,
//! a number that all its rows begin with; giving it another one empties its state at once, and the rows of the old
//! one are taken away bit by bit. Nothing is synced when it is written: after a power cut the cache is an older state
//! of itself, each task's rows with the mark that belongs to them, since they are written in one batch.

pub(super) use fjall::Snapshot;

use super::codec::Schedule;
use super::error::StoreError;
use super::hot::HotValues;
use super::mark::Mark;
use super::view::Span;
use crate::plugin::ScanDirection;
use bytes::Bytes;
use fjall::config::{HashRatioPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the rows look like. A cache of another format is dropped.
const FORMAT: u8 = 1;
const KEYSPACE: &str = "state";
/// There to say that the cache is to be dropped at the next start.
const DAMAGED_FILE: &str = "damaged";
/// Changes are collected in memory up to this size before they become a file; up to five such tables wait.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// What part of the memory is for blocks as they are on the disk; the rest is for single values.
const BLOCKS_PART: u64 = 4;
/// Its journals, of which only the memtables' part is needed.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
const WORKER_THREADS: usize = 1;
/// Rows that are taken away in one batch.
const CLEAR_ROWS: usize = 4096;

/// A task's number in the cache. 0 is the cache's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Slot(pub u32);

impl Slot {
    const OWN: Slot = Slot(0);

    /// The slot after this one.
    pub fn next(self) -> Slot {
        Slot(self.0 + 1)
    }
}

/// Kinds of rows of a task.
const MARK: u8 = 0;
const ENTRY: u8 = 1;
const DUE: u8 = 2;
/// Kinds of rows of the cache's own.
const OWN_FORMAT: u8 = 0;
const OWN_TASK: u8 = 1;
const OWN_GARBAGE: u8 = 2;

/// How many bytes stand before a whole key in an entry's row.
const ENTRY_PREFIX: usize = 5;
/// How many stand before it in a schedule's row: the time among them.
const DUE_PREFIX: usize = 14;

fn row(slot: Slot, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(ENTRY_PREFIX + rest.len());
    row.extend_from_slice(&slot.0.to_be_bytes());
    row.push(kind);
    row.extend_from_slice(rest);
    row
}

fn due_row(slot: Slot, schedule: Schedule, time: i64, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(DUE_PREFIX + key.len());
    row.extend_from_slice(&slot.0.to_be_bytes());
    row.push(DUE);
    row.push(schedule.byte());
    row.extend_from_slice(&ordered(time));
    row.extend_from_slice(key);
    row
}

/// The rows of a slot's entries in a span. An empty range has no meaning to fjall, and must not be asked for.
fn entry_rows(slot: Slot, span: Span<'_>) -> Option<Range<Vec<u8>>> {
    (!span.is_empty()).then(|| row(slot, ENTRY, span.first)..row(slot, ENTRY, span.last))
}

/// A time as bytes that compare as it does.
fn ordered(time: i64) -> [u8; 8] {
    (time ^ i64::MIN).to_be_bytes()
}

fn unordered(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

/// The open cache.
pub(super) struct Cache {
    rows: Keyspace,
    database: Database,
    hot: HotValues,
    directory: PathBuf,
    damaged: AtomicBool,
}

/// What became of a cache when it was opened.
enum Opened {
    Good(Cache),
    /// It cannot serve, and why.
    Bad(String),
}

impl Cache {
    /// Opens the cache in this directory. One that is damaged or of another format is dropped: the changelogs have
    /// everything.
    pub fn open(directory: &Path, memory_bytes: u64) -> Result<Cache, StoreError> {
        let cause = if directory.join(DAMAGED_FILE).exists() {
            "it was found damaged while it was in use".to_owned()
        } else {
            match Cache::open_as_is(directory, memory_bytes)? {
                Opened::Good(cache) => return Ok(cache),
                Opened::Bad(cause) => cause,
            }
        };
        let path = directory.display().to_string();
        tracing::warn!(path, cause, "the state cache is dropped, and built again from the changelogs");
        std::fs::remove_dir_all(directory).map_err(|error| cache_error(directory, &error))?;
        match Cache::open_as_is(directory, memory_bytes)? {
            Opened::Good(cache) => Ok(cache),
            Opened::Bad(cause) => Err(StoreError::Cache { path, cause }),
        }
    }

    fn open_as_is(directory: &Path, memory_bytes: u64) -> Result<Opened, StoreError> {
        let open = || {
            let database = Database::builder(directory)
                .cache_size(memory_bytes / BLOCKS_PART)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .worker_threads(WORKER_THREADS)
                .open()?;
            let options = || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(MEMTABLE_BYTES)
                    // Else a filter of a megabyte goes through the block cache for each key that is looked for.
                    .filter_block_pinning_policy(PinningPolicy::all(true))
                    .index_block_pinning_policy(PinningPolicy::all(true))
                    .data_block_hash_ratio_policy(HashRatioPolicy::all(0.75))
            };
            let rows = database.keyspace(KEYSPACE, options)?;
            Ok::<_, fjall::Error>((database, rows))
        };
        // What it reads of its own files it trusts in places.
        let (database, rows) = match catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(opened)) => opened,
            Ok(Err(fjall::Error::Locked)) => {
                return Err(StoreError::InUse { path: directory.display().to_string() });
            }
            Ok(Err(error)) if is_of_the_disk(&error) => return Err(cache_error(directory, &error)),
            Ok(Err(error)) => return Ok(Opened::Bad(error.to_string())),
            Err(_panic) => return Ok(Opened::Bad("it cannot be read".to_owned())),
        };
        let directory = directory.to_owned();
        let hot = HotValues::new(memory_bytes - memory_bytes / BLOCKS_PART);
        let cache = Cache { rows, database, hot, directory, damaged: AtomicBool::new(false) };
        let key = row(Slot::OWN, OWN_FORMAT, &[]);
        let format = match cache.rows.get(&key) {
            Ok(format) => format,
            Err(error) => return Ok(Opened::Bad(error.to_string())),
        };
        match format.as_deref() {
            Some([FORMAT]) => Ok(Opened::Good(cache)),
            Some(other) => Ok(Opened::Bad(format!("it has format {other:?}, and this broker uses {FORMAT}"))),
            None if cache.rows.first_key_value().is_none() => {
                cache.rows.insert(key, [FORMAT]).map_err(|error| cache.failed(error))?;
                Ok(Opened::Good(cache))
            }
            None => Ok(Opened::Bad("it has no format".to_owned())),
        }
    }

    /// Syncs what there is, so that the next start need not read it from the changelogs.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| self.failed(error))
    }

    /// What is in the cache now and stays so.
    pub fn snapshot(&self) -> Snapshot {
        self.database.snapshot()
    }

    /// The value under a task's (whole) key.
    pub fn get(&self, slot: Slot, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = self.hot.get(slot, key) {
            return Ok(Some(value));
        }
        let found = self.rows.get(row(slot, ENTRY, key)).map_err(|error| self.failed(error))?;
        let found = found.map(Bytes::from);
        if let Some(value) = &found {
            self.hot.put(slot, key, value);
        }
        Ok(found)
    }

    /// The value under a task's (whole) key in a snapshot.
    pub fn get_in(&self, snapshot: &Snapshot, slot: Slot, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = snapshot.get(&self.rows, row(slot, ENTRY, key)).map_err(|error| self.failed(error))?;
        Ok(found.map(Bytes::from))
    }

    /// A task's entries in a span of (whole) keys, in this direction.
    pub fn scan(
        &self,
        slot: Slot,
        span: Span<'_>,
        direction: ScanDirection,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> {
        self.entries(entry_rows(slot, span).map(|range| self.rows.range(range)), direction)
    }

    /// The same in a snapshot.
    pub fn scan_in(
        &self,
        snapshot: &Snapshot,
        slot: Slot,
        span: Span<'_>,
        direction: ScanDirection,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> {
        self.entries(entry_rows(slot, span).map(|range| snapshot.range(&self.rows, range)), direction)
    }

    fn entries(
        &self,
        found: Option<fjall::Iter>,
        direction: ScanDirection,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StoreError>> {
        let found: Box<dyn Iterator<Item = fjall::Guard>> = match (found, direction) {
            (None, _) => Box::new(std::iter::empty()),
            (Some(found), ScanDirection::Ascending) => Box::new(found),
            (Some(found), ScanDirection::Descending) => Box::new(found.rev()),
        };
        found.map(|guard| {
            let (key, value) = guard.into_inner().map_err(|error| self.failed(error))?;
            Ok((Bytes::from(key).slice(ENTRY_PREFIX..), Bytes::from(value)))
        })
    }

    /// The (whole) keys of a schedule by time and key.
    pub fn due(
        &self,
        slot: Slot,
        schedule: Schedule,
    ) -> impl Iterator<Item = Result<(i64, Bytes), StoreError>> {
        self.rows.prefix(row(slot, DUE, &[schedule.byte()])).map(|guard| {
            let key = Bytes::from(guard.key().map_err(|error| self.failed(error))?);
            let time = key.get(DUE_PREFIX - 8..DUE_PREFIX).and_then(|time| <[u8; 8]>::try_from(time).ok());
            let time = time.ok_or_else(|| self.found_damaged("a row of a schedule is too short"))?;
            Ok((unordered(time), key.slice(DUE_PREFIX..)))
        })
    }

    /// A task's mark. `None` also if it cannot be read: then the task begins anew.
    pub fn mark(&self, slot: Slot) -> Result<Option<Mark>, StoreError> {
        let found = self.rows.get(row(slot, MARK, &[])).map_err(|error| self.failed(error))?;
        Ok(found.and_then(|found| Mark::decode(&found)))
    }

    /// The same in a snapshot.
    pub fn mark_in(&self, snapshot: &Snapshot, slot: Slot) -> Result<Option<Mark>, StoreError> {
        let found = snapshot.get(&self.rows, row(slot, MARK, &[])).map_err(|error| self.failed(error))?;
        Ok(found.and_then(|found| Mark::decode(&found)))
    }

    /// The names of all tasks, as they were given, with their slots.
    pub fn tasks(&self) -> Result<Vec<(Bytes, Slot)>, StoreError> {
        let found = self.rows.prefix(row(Slot::OWN, OWN_TASK, &[])).map(|guard| {
            let (key, slot) = guard.into_inner().map_err(|error| self.failed(error))?;
            let slot =
                <[u8; 4]>::try_from(&slot[..]).map_err(|_| self.found_damaged("a slot has no four bytes"))?;
            Ok((Bytes::from(key).slice(ENTRY_PREFIX..), Slot(u32::from_be_bytes(slot))))
        });
        found.collect()
    }

    /// Slots whose rows nobody needs any more.
    pub fn garbage(&self) -> Result<Vec<Slot>, StoreError> {
        let found = self.rows.prefix(row(Slot::OWN, OWN_GARBAGE, &[])).map(|guard| {
            let key = guard.key().map_err(|error| self.failed(error))?;
            let slot = key.get(ENTRY_PREFIX..).and_then(|slot| <[u8; 4]>::try_from(slot).ok());
            let slot = slot.ok_or_else(|| self.found_damaged("a slot has no four bytes"))?;
            Ok(Slot(u32::from_be_bytes(slot)))
        });
        found.collect()
    }

    /// Takes all rows of a slot away that is garbage.
    pub fn clear(&self, slot: Slot) -> Result<(), StoreError> {
        let end = slot.next().0.to_be_bytes();
        // What has been taken away is passed over with some effort: go on behind it.
        let mut from = slot.0.to_be_bytes().to_vec();
        loop {
            let rows = self.rows.range(&from[..]..&end[..]).take(CLEAR_ROWS).map(fjall::Guard::key);
            let rows = rows.collect::<Result<Vec<_>, _>>().map_err(|error| self.failed(error))?;
            let is_last = rows.len() < CLEAR_ROWS;
            if let Some(last) = rows.last() {
                from = last.to_vec();
            }
            let mut batch = self.batch();
            rows.into_iter().for_each(|row| batch.inner.remove(&self.rows, row));
            if is_last {
                batch.inner.remove(&self.rows, row(Slot::OWN, OWN_GARBAGE, &slot.0.to_be_bytes()));
            }
            batch.commit()?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// A batch of changes: all of them, or none.
    pub fn batch(&self) -> Batch<'_> {
        Batch { cache: self, inner: self.database.batch(), entries: Vec::new() }
    }

    /// A failure of fjall as ours. If it says that files are damaged, the cache is dropped at the next start.
    fn failed(&self, error: fjall::Error) -> StoreError {
        if is_of_the_disk(&error) {
            return cache_error(&self.directory, &error);
        }
        self.found_damaged(&error.to_string())
    }

    /// Something in the cache is not what was put there.
    pub fn found_damaged(&self, cause: &str) -> StoreError {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            let path = self.directory.display().to_string();
            tracing::error!(path, cause, "the state cache is damaged; it is built again at the next start");
            if let Err(error) = std::fs::write(self.directory.join(DAMAGED_FILE), cause) {
                tracing::error!(path, %error, "that cannot be noted; remove the directory by hand");
            }
        }
        cache_error(&self.directory, &cause)
    }
}

/// Whether the disk failed, and not what was on it.
fn is_of_the_disk(error: &fjall::Error) -> bool {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            // What is cut off, or not there, or makes no sense, is damage.
            !matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof
                    | std::io::ErrorKind::NotFound
                    | std::io::ErrorKind::InvalidData
                    | std::io::ErrorKind::InvalidInput
            )
        }
        fjall::Error::Poisoned | fjall::Error::Locked | fjall::Error::KeyspaceDeleted => true,
        // Theirs, and open to additions.
        _ => false,
    }
}

fn cache_error(directory: &Path, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Cache { path: directory.display().to_string(), cause: cause.to_string() }
}

/// Changes of the cache that are made together.
pub(super) struct Batch<'a> {
    cache: &'a Cache,
    inner: OwnedWriteBatch,
    /// The entries among them.
    entries: Vec<(Slot, Bytes, Option<Bytes>)>,
}

impl Batch<'_> {
    /// Puts a task's entry under its (whole) key.
    pub fn put(&mut self, slot: Slot, key: &Bytes, value: Bytes) {
        self.entries.push((slot, key.clone(), Some(value.clone())));
        self.inner.insert(&self.cache.rows, row(slot, ENTRY, key), value);
    }

    /// Takes a task's entry away.
    pub fn remove(&mut self, slot: Slot, key: &Bytes) {
        self.entries.push((slot, key.clone(), None));
        self.inner.remove(&self.cache.rows, row(slot, ENTRY, key));
    }

    /// Puts a (whole) key into a schedule.
    pub fn put_due(&mut self, slot: Slot, time: i64, key: &[u8]) {
        self.inner.insert(&self.cache.rows, due_row(slot, Schedule::of(key), time, key), Bytes::new());
    }

    /// Takes it out again.
    pub fn remove_due(&mut self, slot: Slot, time: i64, key: &[u8]) {
        self.inner.remove(&self.cache.rows, due_row(slot, Schedule::of(key), time, key));
    }

    /// Puts a task's mark.
    pub fn put_mark(&mut self, slot: Slot, mark: Mark) {
        self.inner.insert(&self.cache.rows, row(slot, MARK, &[]), mark.encode());
    }

    /// Gives a task a slot.
    pub fn put_task(&mut self, name: &[u8], slot: Slot) {
        let value = slot.0.to_be_bytes();
        self.inner.insert(&self.cache.rows, row(Slot::OWN, OWN_TASK, name), value);
    }

    /// Forgets a task.
    pub fn remove_task(&mut self, name: &[u8]) {
        self.inner.remove(&self.cache.rows, row(Slot::OWN, OWN_TASK, name));
    }

    /// Notes that a slot's rows can go.
    pub fn put_garbage(&mut self, slot: Slot) {
        self.inner.insert(&self.cache.rows, row(Slot::OWN, OWN_GARBAGE, &slot.0.to_be_bytes()), Bytes::new());
    }

    /// Makes the changes.
    pub fn commit(self) -> Result<(), StoreError> {
        let Batch { cache, inner, entries } = self;
        let committed = inner.commit();
        for (slot, key, value) in &entries {
            match value.as_ref().filter(|_| committed.is_ok()) {
                Some(value) => cache.hot.put(*slot, key, value),
                None => cache.hot.remove(*slot, key),
            }
        }
        committed.map_err(|error| cache.failed(error))
    }
}

#[cfg(test)]
mod tests;
