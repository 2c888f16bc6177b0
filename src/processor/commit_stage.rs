//! The second stage of a task: one transaction for each unit, one after the other.
//!
//! Outputs and the consumed offset become visible together or not at all. Any failure ends the
//! stage; the task then takes its transactional id anew and asks the cluster how far it came, so no
//! outcome is ever guessed.

use super::backend::BackendError;
use super::commit_note::CommittedOffset;
use super::context::TaskContext;
use super::definition::Guarantee;
use super::isolation::Refusal;
use super::status::TaskState;
use super::unit::{Unit, UnitCounts};
use crate::ids::{Offset, ProducerIdent, TopicPartition};
use crate::state::PendingUnit;
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
    mut unit: Unit,
) -> Result<ProducerIdent, CommitFailure> {
    let state = unit.state.take();
    let changelog = state.as_ref().map(|(changelog, _)| changelog.clone());
    let (progress, counts) = (unit.progress.clone(), unit.counts);
    let oldest = unit.oldest;
    let first_timer = unit.first_timer.take();
    let commits = unit.commits();
    let claimed = Some(producer).filter(|_| context.definition.guarantee == Guarantee::ExactlyOnce);
    let batches = unit.into_batches(claimed);
    let began = Instant::now();
    let written = Written { batches: &batches, changelog: changelog.as_ref() };
    let done = match context.definition.guarantee {
        Guarantee::ExactlyOnce => transact(context, producer, written, &commits).await,
        Guarantee::AtLeastOnce => write_plainly(context, written, &commits).await.map(|end| (producer, end)),
    };
    let error = match done {
        Ok((next, changelog_end)) => {
            if let Some((_, pending)) = state {
                keep_state(context, pending, changelog_end).await?;
            }
            context.board.processor.committed(began.elapsed());
            for (number, committed) in &commits {
                context.board.committed(*number, committed.offset);
            }
            count(context, counts, oldest);
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
    // taking the transactional id again settles the transaction. Where there is none, this changes nothing.
    let abort = context.backend.end_transaction(&context.transactional_id, producer, EndTransaction::Abort);
    let _ = abort.await;
    Err(match error {
        BackendError::Fenced { .. }
        | BackendError::Retriable { .. }
        | BackendError::Abortable { .. }
        | BackendError::UnknownTopic(_)
        | BackendError::OffsetOutOfRange => CommitFailure::Rewind(cause),
        BackendError::Rejected { .. } => {
            let (records_in, timers) = (counts.records_in, counts.timers);
            CommitFailure::Rejected(Refusal { progress, records_in, timers, first_timer, cause })
        }
        BackendError::Fatal { .. } => CommitFailure::Fatal(cause),
    })
}

/// A unit is committed, up to this offset.
fn count(context: &TaskContext, counts: UnitCounts, oldest: Option<i64>) {
    if oldest.is_some() {
        context.board.meters.settled_unit();
    }
    context.board.update(|status| {
        status.state = TaskState::Running;
        status.cause = None;
        status.records_in += counts.records_in;
        status.records_out += counts.records_out;
        status.dead_letters += counts.dead_letters;
        status.skipped += counts.skipped;
        status.timers_fired += counts.timers;
        status.commits += 1;
    });
}

/// What a unit writes.
#[derive(Clone, Copy)]
struct Written<'a> {
    batches: &'a [(TopicPartition, Vec<RecordBatch>)],
    /// The partition that has the changes of the state.
    changelog: Option<&'a TopicPartition>,
}

impl Written<'_> {
    /// The end of the changelog, and the first failure: being fenced before all others.
    fn outcome(
        &self,
        produced: Vec<Result<Offset, BackendError>>,
        committed: Result<(), BackendError>,
    ) -> Result<Offset, BackendError> {
        let at = self.batches.iter().position(|(partition, _)| Some(partition) == self.changelog);
        let end = at.and_then(|at| produced.get(at)?.as_ref().ok().copied()).unwrap_or(Offset::ZERO);
        let produced = produced.into_iter().map(|produced| produced.map(|_| ()));
        let mut errors = produced.chain([committed]).filter_map(Result::err).collect::<Vec<_>>();
        errors.sort_by_key(|error| !matches!(error, BackendError::Fenced { .. }));
        errors.into_iter().next().map_or(Ok(end), Err)
    }
}

async fn transact(
    context: &TaskContext,
    producer: ProducerIdent,
    written: Written<'_>,
    commits: &[(usize, CommittedOffset)],
) -> Result<(ProducerIdent, Offset), BackendError> {
    let id = &context.transactional_id;
    let backend = &context.backend;
    // Partitions side by side, so that they share a sync of the disk; within one, in order. All of
    // them are waited for, whatever happens: nothing may still be under way when the end is decided.
    let produces = written
        .batches
        .iter()
        .map(|(partition, batches)| produce(context, Some(producer), partition, batches));
    let commit_offsets = async {
        for (partition, committed) in of_inputs(context, commits) {
            context
                .in_place(|| {
                    backend.commit_offset_in_transaction(id, producer, &context.group, partition, committed)
                })
                .await?;
        }
        Ok(())
    };
    let (produced, offsets_committed) = tokio::join!(join_all(produces), commit_offsets);
    let changelog_end = written.outcome(produced, offsets_committed)?;
    let next = context.in_place(|| backend.end_transaction(id, producer, EndTransaction::Commit)).await?;
    Ok((next, changelog_end))
}

/// Writes everything, and commits the offset once all of it is there; answers the end of the changelog.
async fn write_plainly(
    context: &TaskContext,
    written: Written<'_>,
    commits: &[(usize, CommittedOffset)],
) -> Result<Offset, BackendError> {
    let produces =
        written.batches.iter().map(|(partition, batches)| produce(context, None, partition, batches));
    let changelog_end = written.outcome(join_all(produces).await, Ok(()))?;
    for (partition, committed) in of_inputs(context, commits) {
        context.in_place(|| context.backend.commit_offset(&context.group, partition, committed)).await?;
    }
    Ok(changelog_end)
}

/// The offsets to commit with the partitions that they are of.
fn of_inputs<'a>(
    context: &'a TaskContext,
    commits: &'a [(usize, CommittedOffset)],
) -> impl Iterator<Item = (&'a TopicPartition, &'a CommittedOffset)> {
    commits
        .iter()
        .filter_map(|(number, committed)| Some((&context.inputs.get(*number)?.partition, committed)))
}

/// What is committed goes into the cache of the state. If that fails, the task begins again, from the changelog.
async fn keep_state(
    context: &TaskContext,
    pending: PendingUnit,
    changelog_end: Offset,
) -> Result<(), CommitFailure> {
    let now = context.clock.now().ms();
    let kept = tokio::task::spawn_blocking(move || pending.committed(changelog_end, now)).await;
    match kept {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(CommitFailure::Rewind(error.to_string())),
        Err(panic) => Err(CommitFailure::Rewind(panic.to_string())),
    }
}

/// Answers the offset behind the last record.
async fn produce(
    context: &TaskContext,
    producer: Option<ProducerIdent>,
    partition: &TopicPartition,
    batches: &[RecordBatch],
) -> Result<Offset, BackendError> {
    let mut end = Offset::ZERO;
    for batch in batches {
        let id = &context.transactional_id;
        let records = context.definition.work.provenance();
        let base = match producer {
            Some(producer) => {
                let produce = || context.backend.produce(producer, id, partition, batch.clone(), records);
                context.in_place(produce).await?
            }
            None => {
                let produce = || context.backend.produce_plain(partition, batch.clone(), records);
                context.in_place(produce).await?
            }
        };
        end = base.plus(i64::from(batch.header().last_offset_delta) + 1);
    }
    Ok(end)
}
