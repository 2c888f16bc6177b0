//! The second stage of a task: one transaction for each unit, one after the other.
//!
//! Outputs and the consumed offset become visible together or not at all. Any failure ends the
//! stage; the task then takes its transactional id anew and asks the cluster how far it came, so no
//! outcome is ever guessed.

use super::backend::BackendError;
use super::context::TaskContext;
use super::isolation::Refusal;
use super::status::TaskState;
use super::unit::Unit;
use crate::ids::{Offset, ProducerIdent, TopicPartition};
use crate::wire::control_record::EndTransaction;
use crate::wire::record_batch::RecordBatch;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Why the stage ended before it was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum CommitFailure {
    /// Another owner has the transactional id.
    Fenced(String),
    /// The task has to begin again from the committed offset.
    Rewind(String),
    /// The cluster will never take this unit's output.
    Rejected(Refusal),
    /// Nothing that the task does will help.
    Fatal(String),
}

/// Commits units until there are no more.
pub(super) async fn commit_units(
    context: &TaskContext,
    mut producer: ProducerIdent,
    mut units: mpsc::Receiver<Unit>,
) -> Result<(), CommitFailure> {
    while let Some(unit) = units.recv().await {
        producer = commit_unit(context, producer, unit).await?;
    }
    Ok(())
}

async fn commit_unit(
    context: &TaskContext,
    producer: ProducerIdent,
    unit: Unit,
) -> Result<ProducerIdent, CommitFailure> {
    let (first_record, next_offset, counts) = (unit.first_record, unit.next_offset, unit.counts);
    let batches = unit.into_batches(producer).map_err(|error| CommitFailure::Fatal(error.to_string()))?;
    let began = Instant::now();
    let error = match transact(context, producer, &batches, next_offset).await {
        Ok(next) => {
            context.board.update(|status| {
                status.state = TaskState::Running;
                status.cause = None;
                status.committed_offset = Some(next_offset.value());
                status.records_in += counts.records_in;
                status.records_out += counts.records_out;
                status.dead_letters += counts.dead_letters;
                status.skipped += counts.skipped;
                status.commits += 1;
            });
            return Ok(next);
        }
        Err(error) => error,
    };
    context.board.update(|status| status.aborts += 1);
    let cause = error.to_string();
    if let BackendError::Fenced { .. } = error {
        // The coordinator's own timeout fences too: then nobody else is there, and the task goes on.
        return if began.elapsed() >= context.tuning.transaction_timeout {
            Err(CommitFailure::Rewind(cause))
        } else {
            Err(CommitFailure::Fenced(cause))
        };
    }
    // So that readers of the outputs are not held up until the task is back. Whatever the answer:
    // taking the transactional id again settles the transaction.
    let abort = context.backend.end_transaction(&context.transactional_id, producer, EndTransaction::Abort);
    let _ = abort.await;
    Err(match error {
        BackendError::Fenced { .. }
        | BackendError::Retriable { .. }
        | BackendError::Abortable { .. }
        | BackendError::UnknownTopic(_)
        | BackendError::OffsetOutOfRange => CommitFailure::Rewind(cause),
        BackendError::Rejected { .. } => {
            let records_in = counts.records_in;
            CommitFailure::Rejected(Refusal { first_record, next_offset, records_in, cause })
        }
        BackendError::Fatal { .. } => CommitFailure::Fatal(cause),
    })
}

async fn transact(
    context: &TaskContext,
    producer: ProducerIdent,
    batches: &[(TopicPartition, Vec<RecordBatch>)],
    offset: Offset,
) -> Result<ProducerIdent, BackendError> {
    let id = &context.transactional_id;
    let backend = &context.backend;
    // Partitions side by side, so that they share a sync of the disk; within one, in order. All of
    // them are waited for, whatever happens: nothing may still be under way when the end is decided.
    let produces = batches.iter().map(|(partition, batches)| produce(context, producer, partition, batches));
    let commit_offset = context.in_place(|| {
        backend.commit_offset_in_transaction(id, producer, &context.group, &context.input, offset)
    });
    let (produced, committed) = tokio::join!(join_all(produces), commit_offset);
    let mut errors = produced.into_iter().chain([committed]).filter_map(Result::err).collect::<Vec<_>>();
    errors.sort_by_key(|error| !matches!(error, BackendError::Fenced { .. }));
    if let Some(first) = errors.into_iter().next() {
        return Err(first);
    }
    context.in_place(|| backend.end_transaction(id, producer, EndTransaction::Commit)).await
}

async fn produce(
    context: &TaskContext,
    producer: ProducerIdent,
    partition: &TopicPartition,
    batches: &[RecordBatch],
) -> Result<(), BackendError> {
    for batch in batches {
        let id = &context.transactional_id;
        let records = context.definition.work.provenance();
        context.in_place(|| context.backend.produce(producer, id, partition, batch.clone(), records)).await?;
    }
    Ok(())
}
