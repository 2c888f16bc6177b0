//! Processors' state for those outside of it, as Kafka Streams has interactive queries.
//!
//! Only what is committed is seen: what a unit has written is in nobody's answer before its transaction is decided.
//! Each task's part of an answer is as it was at one moment, and says up to which offset of the changelog it is
//! true. Reading touches the disk, so it is done on blocking threads, a few at a time.

use super::backend::{Backend, BackendError};
use super::definition::{ProcessorDefinition, input_partitions};
use super::registry::Registry;
use crate::ids::{Offset, PartitionIndex, TopicName, TopicPartition};
use crate::plugin::{KeyRange, PageLimits, ScanDirection, StateError};
use crate::state::{StateDatabase, StateReader, StoreError, TaskKey};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Reads at the same time, at most: guests are called on the same threads.
const READS_MAX: usize = 4;
/// Keys and values in one answer; a larger entry is given nevertheless, alone.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Reads the state of deployed processors.
pub struct StateQueries {
    backend: Arc<Backend>,
    registry: Arc<Registry>,
    database: Option<StateDatabase>,
    permits: Arc<Semaphore>,
}

/// What part of a store is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanQuery {
    /// Of this input partition's task only; else of all, one after the other.
    pub partition: Option<PartitionIndex>,
    /// The keys.
    pub range: KeyRange,
    /// Their order, and that of the partitions.
    pub direction: ScanDirection,
    /// Entries in one answer, at least 1.
    pub entries_max: usize,
    /// Only what comes behind this.
    pub after: Option<ScanPosition>,
}

/// An entry's place in a scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPosition {
    /// Whose entry.
    pub partition: PartitionIndex,
    /// Its key.
    pub key: Bytes,
}

/// One entry of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateEntry {
    /// The input partition whose task has it.
    pub partition: PartitionIndex,
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// A task's state, as it was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenPartition {
    /// The task's input partition.
    pub partition: PartitionIndex,
    /// The answer has everything of the changelog's partition before this offset, and nothing from it on.
    pub changelog_offset: Offset,
    /// The task's stream time then, in milliseconds since 1970: what has expired by it is not shown.
    pub stream_time: Option<i64>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StateAnswer {
    /// The entries, by partition and then by key.
    pub entries: Vec<StateEntry>,
    /// The tasks that were looked at.
    pub partitions: Vec<SeenPartition>,
    /// The input partitions whose tasks have no state yet: they have never run here.
    pub without_state: Vec<PartitionIndex>,
    /// Where to go on, if there may be more.
    pub next: Option<ScanPosition>,
}

/// What state a processor has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateOverview {
    /// The names of its stores.
    pub stores: Vec<String>,
    /// Its input topic, which has a partition for each task.
    pub input: TopicName,
    /// The topic that has the same state.
    pub changelog: TopicName,
    /// The tasks that have state, by partition.
    pub tasks: Vec<TaskOverview>,
}

/// What state a task has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskOverview {
    /// Its input partition.
    pub partition: PartitionIndex,
    /// Up to where it has followed its partition of the changelog (exclusive).
    pub changelog_offset: Offset,
    /// What all its stores weigh, roughly, with what has expired and is not swept yet.
    pub bytes: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StateQueryError {
    /// No processor has this name.
    #[error("there is no processor \"{0}\"")]
    UnknownProcessor(String),
    /// The processor has no stores.
    #[error("processor \"{0}\" keeps no state: its deployment names no stores")]
    NoState(String),
    /// The processor has stores, and none of this name.
    #[error("processor \"{processor}\" has no store \"{store}\"")]
    UnknownStore {
        /// The processor.
        processor: String,
        /// What was asked for.
        store: String,
        /// What there is.
        stores: Vec<String>,
    },
    /// No task has this input partition.
    #[error("no task of processor \"{processor}\" has partition {partition}: {input} has {partitions}")]
    UnknownPartition {
        /// The processor.
        processor: String,
        /// Its input topic.
        input: TopicName,
        /// What was asked for.
        partition: PartitionIndex,
        /// How many there are, from 0.
        partitions: i32,
    },
    /// The task has never run on this broker.
    #[error("the task of {0} has no state yet")]
    NotBegun(TopicPartition),
    /// The key cannot be one.
    #[error(transparent)]
    Refused(#[from] StateError),
    /// The cluster does not say which partitions there are.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The store on the disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug of ours.
    #[error("a bug: {0}")]
    Bug(String),
}

/// The tasks that a query is about.
struct Tasks {
    database: StateDatabase,
    processor: String,
    inputs: Vec<TopicPartition>,
}

impl StateQueries {
    /// Reads of what these hold; without a database there is no state.
    pub fn new(
        backend: Arc<Backend>,
        registry: Arc<Registry>,
        database: Option<StateDatabase>,
    ) -> StateQueries {
        StateQueries { backend, registry, database, permits: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// What state a processor has.
    pub async fn overview(&self, processor: &str) -> Result<StateOverview, StateQueryError> {
        let (definition, database) = self.stateful(processor)?;
        let no_state = || StateQueryError::NoState(processor.to_owned());
        let input = definition.inputs.first().cloned().ok_or_else(no_state)?;
        let changelog = definition.changelog_topic().ok_or_else(no_state)?;
        let summaries = self.read(move || Ok(database.tasks()?)).await?;
        let of_it = |task: &TaskKey| task.processor == definition.name && task.input.topic == input;
        let tasks =
            summaries.into_iter().filter(|summary| of_it(&summary.task)).map(|summary| TaskOverview {
                partition: summary.task.input.partition,
                changelog_offset: summary.applied,
                bytes: summary.bytes,
            });
        let tasks = tasks.collect();
        Ok(StateOverview { stores: definition.stores.clone(), input, changelog, tasks })
    }

    /// Looks for a key, in one task's state or in all: which records meet in a task is up to who partitions the
    /// input, so several tasks may have an entry under the same key.
    pub async fn get(
        &self,
        processor: &str,
        store: &str,
        key: Bytes,
        partition: Option<PartitionIndex>,
    ) -> Result<StateAnswer, StateQueryError> {
        let tasks = self.tasks(processor, store, partition).await?;
        let store = store.to_owned();
        self.read(move || {
            let mut answer = StateAnswer::default();
            for input in &tasks.inputs {
                let Some(reader) = tasks.look(input, &mut answer)? else { continue };
                if let Some(value) = reader.get(&store, &key)? {
                    answer.entries.push(StateEntry { partition: input.partition, key: key.clone(), value });
                }
            }
            tasks.check_begun(partition, answer)
        })
        .await
    }

    /// The first entries of a range, task by task, as far as the limits allow.
    pub async fn scan(
        &self,
        processor: &str,
        store: &str,
        query: ScanQuery,
    ) -> Result<StateAnswer, StateQueryError> {
        let mut tasks = self.tasks(processor, store, query.partition).await?;
        if query.direction == ScanDirection::Descending {
            tasks.inputs.reverse();
        }
        let store = store.to_owned();
        self.read(move || {
            let answer = tasks.scan(&store, &query)?;
            tasks.check_begun(query.partition, answer)
        })
        .await
    }

    /// The tasks of a processor that has this store.
    async fn tasks(
        &self,
        processor: &str,
        store: &str,
        partition: Option<PartitionIndex>,
    ) -> Result<Tasks, StateQueryError> {
        let (definition, database) = self.stateful(processor)?;
        if !definition.stores.iter().any(|known| known == store) {
            return Err(StateQueryError::UnknownStore {
                processor: processor.to_owned(),
                store: store.to_owned(),
                stores: definition.stores.clone(),
            });
        }
        let mut inputs = Vec::new();
        for input in definition.task_topics() {
            let topic = self.backend.topic(input).await?;
            let partitions = topic.ok_or_else(|| BackendError::UnknownTopic(input.to_string()))?.partitions;
            if let Some(partition) = partition.filter(|partition| partition.value() >= partitions) {
                let (processor, input) = (processor.to_owned(), input.clone());
                return Err(StateQueryError::UnknownPartition { processor, input, partition, partitions });
            }
            let is_wanted = |input: &TopicPartition| partition.is_none_or(|wanted| wanted == input.partition);
            inputs.extend(input_partitions(input, partitions).filter(is_wanted));
        }
        Ok(Tasks { database, processor: definition.name.clone(), inputs })
    }

    fn stateful(
        &self,
        processor: &str,
    ) -> Result<(Arc<ProcessorDefinition>, StateDatabase), StateQueryError> {
        let definition = self.registry.definition(processor);
        let definition = definition.ok_or_else(|| StateQueryError::UnknownProcessor(processor.to_owned()))?;
        let database = self.database.clone().filter(|_| !definition.stores.is_empty());
        let database = database.ok_or_else(|| StateQueryError::NoState(processor.to_owned()))?;
        Ok((definition, database))
    }

    /// Runs a read on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, StateQueryError> + Send + 'static,
    ) -> Result<T, StateQueryError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|closed| StateQueryError::Bug(closed.to_string()))?;
        let read = tokio::task::spawn_blocking(move || {
            // Kept until the read is over, also if whoever asked has gone.
            let _permit = permit;
            read()
        });
        read.await.map_err(|panic| StateQueryError::Bug(panic.to_string()))?
    }
}

impl Tasks {
    /// A look at one task's state, noted in the answer.
    fn look(
        &self,
        input: &TopicPartition,
        answer: &mut StateAnswer,
    ) -> Result<Option<StateReader>, StoreError> {
        let task = TaskKey { processor: self.processor.clone(), input: input.clone() };
        let reader = self.database.reader(&task)?;
        match &reader {
            Some(reader) => answer.partitions.push(SeenPartition {
                partition: input.partition,
                changelog_offset: reader.applied(),
                stream_time: reader.stream_time(),
            }),
            None => answer.without_state.push(input.partition),
        }
        Ok(reader)
    }

    fn scan(&self, store: &str, query: &ScanQuery) -> Result<StateAnswer, StateQueryError> {
        let mut answer = StateAnswer::default();
        let mut bytes = 0;
        for input in &self.inputs {
            let Some(range) = range_in(input.partition, query) else { continue };
            let is_full = answer.entries.len() >= query.entries_max || bytes >= ANSWER_BYTES_MAX;
            if is_full {
                // Whether the tasks that are left have anything, the next answer says.
                answer.next = answer.position();
                break;
            }
            let Some(reader) = self.look(input, &mut answer)? else { continue };
            let limits = PageLimits {
                entries_max: query.entries_max - answer.entries.len(),
                bytes_max: ANSWER_BYTES_MAX - bytes,
            };
            let page = reader.scan(store, &range, query.direction, limits)?;
            for (key, value) in page.entries {
                bytes += key.len() + value.len();
                answer.entries.push(StateEntry { partition: input.partition, key, value });
            }
            if page.more {
                answer.next = answer.position();
                break;
            }
        }
        Ok(answer)
    }

    /// Nothing is found where nothing has begun: that is said, not shown as an empty store.
    fn check_begun(
        &self,
        partition: Option<PartitionIndex>,
        answer: StateAnswer,
    ) -> Result<StateAnswer, StateQueryError> {
        match self.inputs.first().filter(|_| partition.is_some() && !answer.without_state.is_empty()) {
            Some(input) => Err(StateQueryError::NotBegun(input.clone())),
            None => Ok(answer),
        }
    }
}

impl StateAnswer {
    /// Where its last entry is.
    fn position(&self) -> Option<ScanPosition> {
        let last = self.entries.last()?;
        Some(ScanPosition { partition: last.partition, key: last.key.clone() })
    }
}

/// The keys that are asked for of one partition; `None` if they all come before the position of the answer before.
fn range_in(partition: PartitionIndex, query: &ScanQuery) -> Option<KeyRange> {
    let mut range = query.range.clone();
    let Some(after) = &query.after else { return Some(range) };
    let is_behind = match query.direction {
        ScanDirection::Ascending => partition > after.partition,
        ScanDirection::Descending => partition < after.partition,
    };
    if partition == after.partition {
        match query.direction {
            ScanDirection::Ascending => {
                let next = Bytes::from([&after.key[..], &[0]].concat());
                range.first = Some(range.first.map_or(next.clone(), |first| first.max(next)));
            }
            ScanDirection::Descending => {
                let key = after.key.clone();
                range.last = Some(range.last.map_or(key.clone(), |last| last.min(key)));
            }
        }
        return Some(range);
    }
    is_behind.then_some(range)
}

/// The part of a range whose keys begin with a prefix.
pub fn with_prefix(range: KeyRange, prefix: &[u8]) -> KeyRange {
    let first = Bytes::copy_from_slice(prefix);
    let first = range.first.map_or(first.clone(), |bound| bound.max(first));
    // The first key behind all that begin with it: none, if it is all 255.
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX).map_or(0, |last| last + 1);
    let mut end = prefix.get(..kept).unwrap_or_default().to_vec();
    let end = end.last_mut().map(|last| *last += 1).map(|()| Bytes::from(end));
    let last = match (range.last, end) {
        (Some(bound), Some(end)) => Some(bound.min(end)),
        (bound, end) => bound.or(end),
    };
    KeyRange { first: Some(first), last }
}

#[cfg(test)]
mod tests;
