//! The state of all tasks of the broker: which tasks have some, who owns it, and when the cache of it serves.
//!
//! Synchronous: for blocking threads.

use super::cache::{Cache, Slot};
use super::codec::{check_store_name, store_prefix};
use super::core::{Core, Ground, Ownership, Shared};
use super::error::StoreError;
use super::limits::StateLimits;
use super::mark::Mark;
use super::reader::StateReader;
use super::task::TaskState;
use crate::ids::{Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Whose state: a processor's task owns one input partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskKey {
    /// The processor's name.
    pub processor: String,
    /// The task's input partition.
    pub input: TopicPartition,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.processor, self.input)
    }
}

impl TaskKey {
    /// As the cache names it: the processor behind its length, the partition, the topic.
    fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.processor.len()).unwrap_or(u32::MAX);
        let mut name = length.to_be_bytes().to_vec();
        name.extend_from_slice(self.processor.as_bytes());
        name.extend_from_slice(&self.input.partition.value().to_be_bytes());
        name.extend_from_slice(self.input.topic.as_str().as_bytes());
        name
    }

    fn decode(name: &[u8]) -> Option<TaskKey> {
        let (length, rest) = name.split_first_chunk::<4>()?;
        let (processor, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let (partition, topic) = rest.split_first_chunk::<4>()?;
        let partition = PartitionIndex::from_wire(i32::from_be_bytes(*partition))?;
        let topic = TopicName::new(std::str::from_utf8(topic).ok()?);
        let processor = std::str::from_utf8(processor).ok()?.to_owned();
        Some(TaskKey { processor, input: TopicPartition::new(topic, partition) })
    }
}

/// What a task's deployment says of its state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskOptions {
    /// The names of its stores.
    pub stores: Vec<String>,
    /// How much there may be.
    pub limits: StateLimits,
}

/// A task's partition of the changelog as it is now. Take the transactional id first: then all is decided that an
/// owner before has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changelog {
    /// The topic.
    pub topic: TopicId,
    /// Where the log begins.
    pub log_start: Offset,
    /// Where it ends.
    pub log_end: Offset,
    /// `delete.retention.ms`: for how long compaction keeps deletions. A cache that is further behind may have
    /// missed one.
    pub delete_retention_ms: i64,
}

/// What there is of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSummary {
    /// Whose state.
    pub task: TaskKey,
    /// Up to where the changelog is in the cache.
    pub applied: Offset,
    /// What the entries weigh, roughly.
    pub bytes: u64,
    /// How many timers there are.
    pub timers: u64,
}

/// The state of all tasks of the broker, in a directory of its own. Clones are the same database.
#[derive(Clone)]
pub struct StateDatabase {
    pub(super) cache: Arc<Cache>,
    directory: Arc<Mutex<Directory>>,
}

/// Which task has which slot, and who owns it.
struct Directory {
    tasks: BTreeMap<TaskKey, Seat>,
    next_slot: Slot,
}

struct Seat {
    slot: Slot,
    owner: Option<Arc<Ownership>>,
}

impl Directory {
    fn take_slot(&mut self) -> Slot {
        let slot = self.next_slot;
        self.next_slot = slot.next();
        slot
    }
}

impl StateDatabase {
    /// Opens the database, or makes a new one. `block_cache_bytes` is what it may keep of its files in memory; beside
    /// that it needs up to 80 MiB for what is not in files yet. A database that is damaged is dropped: its tasks are
    /// restored from their changelogs.
    pub fn open(path: &Path, block_cache_bytes: u64) -> Result<StateDatabase, StoreError> {
        let cache = Cache::open(path, block_cache_bytes)?;
        let mut tasks = BTreeMap::new();
        let mut next_slot = Slot(1);
        for slot in cache.garbage()? {
            next_slot = next_slot.max(slot.next());
        }
        for (name, slot) in cache.tasks()? {
            next_slot = next_slot.max(slot.next());
            let task = TaskKey::decode(&name).ok_or_else(|| cache.found_damaged("a task has no name"))?;
            tasks.insert(task, Seat { slot, owner: None });
        }
        let directory = Arc::new(Mutex::new(Directory { tasks, next_slot }));
        Ok(StateDatabase { cache: Arc::new(cache), directory })
    }

    /// Takes a task's state over from whoever had it, and says where its changelog has to be read on from
    /// (`TaskState::applied`). What the cache has is dropped if it does not belong to this changelog: then that is
    /// the log's start. `now` is the wall clock in milliseconds since 1970.
    pub fn open_task(
        &self,
        task: TaskKey,
        options: TaskOptions,
        changelog: Changelog,
        now: i64,
    ) -> Result<TaskState, StoreError> {
        let stores = options.stores.into_iter().map(checked_store).collect::<Result<Vec<_>, _>>()?;
        let mut directory = self.directory.lock();
        let seat = directory.tasks.get_mut(&task);
        if let Some(owner) = seat.as_ref().and_then(|seat| seat.owner.as_ref()) {
            owner.end();
        }
        let before = seat.map(|seat| seat.slot);
        let kept = match before {
            None => None,
            Some(slot) => match self.usable(&task, slot, changelog, now)? {
                Ok(mark) => Some((slot, mark)),
                Err(cause) => {
                    tracing::warn!(%task, cause, "the cached state is dropped, and built again from the changelog");
                    None
                }
            },
        };
        let (slot, mark) = match kept {
            Some(kept) => kept,
            None => {
                let slot = directory.take_slot();
                let mark = Mark::new(changelog.topic, changelog.log_start, now);
                self.replace_slot(&task, before, slot, mark)?;
                (slot, mark)
            }
        };
        let ownership = Arc::new(Ownership::new());
        directory.tasks.insert(task.clone(), Seat { slot, owner: Some(ownership.clone()) });
        drop(directory);
        if let Some(garbage) = before.filter(|before| *before != slot) {
            self.cache.clear(garbage)?;
        }
        let ground = Ground { cache: self.cache.clone(), slot };
        let core = Mutex::new(Core::new(mark, ground.stream_time()?));
        let limits = options.limits;
        Ok(TaskState::new(Arc::new(Shared { task, ground, ownership, limits, stores, core })))
    }

    /// The mark of a cached state that belongs to this changelog; else why it does not.
    fn usable(
        &self,
        task: &TaskKey,
        slot: Slot,
        changelog: Changelog,
        now: i64,
    ) -> Result<Result<Mark, String>, StoreError> {
        let Some(mark) = self.cache.mark(slot)? else {
            return Ok(Err(format!(
                "the cache does not say how far it has followed the changelog of {task}"
            )));
        };
        let (applied, Changelog { log_start, log_end, .. }) = (mark.applied, changelog);
        let age = now.saturating_sub(mark.applied_at);
        Ok(if mark.topic != changelog.topic {
            Err(format!("the changelog is another topic: {} instead of {}", changelog.topic, mark.topic))
        } else if applied < log_start {
            Err(format!("it ends at offset {applied}, and the changelog begins at {log_start}"))
        } else if applied > log_end {
            Err(format!("it ends at offset {applied}, ahead of the changelog, which ends at {log_end}"))
        } else if applied < log_end && age > changelog.delete_retention_ms {
            Err(format!("it is {age} ms behind the changelog, and deletions may be gone from that by now"))
        } else {
            Ok(mark)
        })
    }

    /// Gives a task a slot without rows, and makes garbage of the one that it had.
    fn replace_slot(
        &self,
        task: &TaskKey,
        before: Option<Slot>,
        slot: Slot,
        mark: Mark,
    ) -> Result<(), StoreError> {
        let mut batch = self.cache.batch();
        if let Some(before) = before {
            batch.put_garbage(before);
        }
        batch.put_task(&task.encode(), slot);
        batch.put_mark(slot, mark);
        batch.commit()
    }

    /// A look at what is committed of a task's state, for those outside of it. `None` if the task has no state.
    pub fn reader(&self, task: &TaskKey) -> Result<Option<StateReader>, StoreError> {
        let Some(slot) = self.directory.lock().tasks.get(task).map(|seat| seat.slot) else { return Ok(None) };
        StateReader::new(Ground { cache: self.cache.clone(), slot })
    }

    /// The tasks that have state.
    pub fn tasks(&self) -> Result<Vec<TaskSummary>, StoreError> {
        let slots: Vec<(TaskKey, Slot)> = {
            let directory = self.directory.lock();
            directory.tasks.iter().map(|(task, seat)| (task.clone(), seat.slot)).collect()
        };
        let mut found = Vec::with_capacity(slots.len());
        for (task, slot) in slots {
            // One that is deleted meanwhile has none.
            if let Some(Mark { applied, bytes, timers, .. }) = self.cache.mark(slot)? {
                found.push(TaskSummary { task, applied, bytes, timers });
            }
        }
        Ok(found)
    }

    /// Deletes a task's state; whoever has it open loses it. Its changelog is the caller's.
    pub fn delete_task(&self, task: &TaskKey) -> Result<(), StoreError> {
        let slot = {
            let mut directory = self.directory.lock();
            let Some(seat) = directory.tasks.remove(task) else { return Ok(()) };
            if let Some(owner) = &seat.owner {
                owner.end();
            }
            let mut batch = self.cache.batch();
            batch.remove_task(&task.encode());
            batch.put_garbage(seat.slot);
            batch.commit()?;
            seat.slot
        };
        self.cache.clear(slot)
    }

    /// Deletes the state of all of a processor's tasks.
    pub fn delete_processor(&self, processor: &str) -> Result<(), StoreError> {
        let tasks: Vec<TaskKey> = {
            let directory = self.directory.lock();
            directory.tasks.keys().filter(|task| task.processor == processor).cloned().collect()
        };
        tasks.iter().try_for_each(|task| self.delete_task(task))
    }

    /// Ends deletions that a crash has interrupted: once after a start, on a thread that has the time.
    pub fn collect_garbage(&self) -> Result<(), StoreError> {
        self.cache.garbage()?.into_iter().try_for_each(|slot| self.cache.clear(slot))
    }

    /// Brings everything to the disk, so that the next start need not read it from the changelogs. The directory is
    /// free once all tasks' states and readers are gone too.
    pub fn close(self) -> Result<(), StoreError> {
        self.cache.sync()
    }
}

fn checked_store(name: String) -> Result<(String, Bytes), StoreError> {
    match check_store_name(&name) {
        Ok(()) => {
            let prefix = store_prefix(&name);
            Ok((name, prefix))
        }
        Err(reason) => Err(StoreError::StoreName { name, reason }),
    }
}

#[cfg(test)]
mod tests;
