//! Brings a task's state up to what is committed: the cache on the disk, and what its changelog has beyond it.
//!
//! Comes after the task has taken its transactional id: then nobody writes to the changelog any more, and all that
//! an owner before has written is decided.

use super::backend::ChangelogBounds;
use super::context::{TaskContext, Waited};
use super::task::{SessionEnd, failed_start};
use crate::ids::{Offset, TopicPartition};
use crate::state::{
    Changelog, ChangelogRecord, StateDatabase, StateLimits, StoreError, TaskKey, TaskOptions, TaskState,
};
use crate::wire::record_batch::{BatchError, RecordBatch};
use bytes::Bytes;
use std::time::Duration;

/// Decompressed bytes of one batch of a changelog: we wrote it, uncompressed.
const BATCH_BYTES_MAX: usize = 128 << 20;

/// The task's state as its last committed transaction has left it; `None` if the processor has none.
pub(super) async fn restored_state(context: &TaskContext) -> Result<Option<TaskState>, SessionEnd> {
    let Some(topic) = context.definition.changelog_topic() else { return Ok(None) };
    let Some(database) = context.state.clone() else {
        return Err(SessionEnd::Failed(
            "this broker keeps no state: it was started without a place for it".to_owned(),
        ));
    };
    let changelog = TopicPartition::new(topic, context.input.partition);
    let partitions = changelog.partition.value().saturating_add(1);
    context
        .in_place(|| context.backend.ensure_changelog(&changelog.topic, partitions))
        .await
        .map_err(|error| failed_start(&error))?;
    let bounds = context
        .in_place(|| context.backend.changelog_bounds(&changelog))
        .await
        .map_err(|error| failed_start(&error))?;
    let mut state = open(context, database, bounds).await?;
    let mut next = state.applied();
    let end = bounds.bounds.last_stable;
    let began_behind = end.since(next);
    while next < end {
        if context.is_stopped() {
            return Err(SessionEnd::Stopped);
        }
        let fetch = || context.backend.fetch(&changelog, next, context.tuning.fetch_bytes, Duration::ZERO);
        let found = context.in_place(fetch).await.map_err(|error| failed_start(&error))?;
        if found.next_offset <= next {
            // Readable a little later than it is decided.
            if context.wait(context.tuning.retry_first).await == Waited::Stopped {
                return Err(SessionEnd::Stopped);
            }
            continue;
        }
        next = found.next_offset;
        state = apply(context, state, found.batches, next).await?;
    }
    if began_behind > 0 {
        context
            .log("info", &format!("the state is restored: {began_behind} offsets of {changelog} were read"));
    }
    Ok(Some(state))
}

async fn open(
    context: &TaskContext,
    database: StateDatabase,
    changelog: ChangelogBounds,
) -> Result<TaskState, SessionEnd> {
    let definition = &context.definition;
    let task = TaskKey { processor: definition.name.clone(), input: context.input.clone() };
    let limits = StateLimits { state_bytes_max: definition.limits.state_bytes, ..StateLimits::default() };
    let options = TaskOptions { stores: definition.stores.clone(), limits };
    let changelog = Changelog {
        topic: changelog.topic,
        log_start: changelog.bounds.log_start,
        log_end: changelog.bounds.last_stable,
        delete_retention_ms: changelog.delete_retention_ms,
    };
    let now = context.clock.now().ms();
    on_blocking_thread(move || database.open_task(task, options, changelog, now)).await
}

async fn apply(
    context: &TaskContext,
    mut state: TaskState,
    batches: Vec<RecordBatch>,
    next: Offset,
) -> Result<TaskState, SessionEnd> {
    let now = context.clock.now().ms();
    let records = records_of(&batches);
    let records =
        records.map_err(|error| SessionEnd::Failed(format!("the changelog cannot be read: {error}")))?;
    on_blocking_thread(move || {
        state.restore(records, next, now)?;
        Ok(state)
    })
    .await
}

fn records_of(batches: &[RecordBatch]) -> Result<Vec<ChangelogRecord>, BatchError> {
    let mut all = Vec::new();
    for batch in batches {
        for record in batch.records(BATCH_BYTES_MAX)?.iter() {
            let record = record?;
            all.push(ChangelogRecord {
                offset: record.offset,
                key: record.key.map(Bytes::copy_from_slice),
                value: record.value.map(Bytes::copy_from_slice),
            });
        }
    }
    Ok(all)
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, SessionEnd> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        // What is in the changelog will be there at the next try as well.
        Ok(Err(error @ (StoreError::Changelog { .. } | StoreError::StoreName { .. }))) => {
            Err(SessionEnd::Failed(error.to_string()))
        }
        Ok(Err(error)) => Err(SessionEnd::Rewind(error.to_string())),
        Err(panic) => Err(SessionEnd::Rewind(panic.to_string())),
    }
}
