//! One task: owns one input partition of one processor, from taking its transactional id to the end.
//!
//! A session is one ownership: take the id (which fences whoever had it), ask for the committed
//! offset, run both stages until one of them ends. After any failure a new session begins from what
//! is committed; nothing is remembered that the cluster does not know better.

use super::backend::{BackendError, LogBounds};
use super::commit_note::{CommitNote, CommittedOffset};
use super::commit_stage::{CommitFailure, commit_units};
use super::context::TaskContext;
use super::definition::{RunMode, StartPosition};
use super::isolation::{Isolation, Refusal};
use super::read_stage::{ReadEnd, ReadStage};
use super::state_restore::restored_state;
use super::status::TaskState;
use super::unit::Unit;
use crate::ids::{Offset, ProducerIdent, TopicId};
use crate::state;
use tokio::sync::mpsc;

/// How a session ended.
pub(super) enum SessionEnd {
    Stopped,
    Fenced(String),
    Failed(String),
    Broken(String),
    TopicMissing,
    TopicChanged,
    Rewind(String),
    Rejected(Refusal),
}

/// What a task remembers from one session to the next.
#[derive(Default)]
struct Memory {
    topic: Option<TopicId>,
    /// The topic is another one than before: what was committed belongs to the old one.
    from_start: bool,
    isolation: Isolation,
    failures_in_a_row: u32,
    commits_before: u64,
}

/// Runs until the task is told to stop, is fenced, or cannot go on.
pub(super) async fn run_task(context: TaskContext) {
    let mut memory = Memory::default();
    while !context.is_stopped() {
        let end = session(&context, &mut memory).await;
        let commits = context.board.status().commits;
        if commits > memory.commits_before {
            memory.failures_in_a_row = 0;
            memory.from_start = false;
            memory.commits_before = commits;
        }
        match end {
            SessionEnd::Stopped => break,
            SessionEnd::Fenced(cause) => return finish(&context, TaskState::Fenced, cause),
            SessionEnd::Failed(cause) => return finish(&context, TaskState::Failed, cause),
            SessionEnd::Broken(cause) => {
                let name = &context.definition.name;
                let paused = context.registry.set_run_mode(name, RunMode::Paused, Some(cause.clone())).await;
                let outcome =
                    paused.err().map_or("paused".to_owned(), |error| format!("cannot pause: {error}"));
                return finish(&context, TaskState::Failed, format!("{outcome}: {cause}"));
            }
            SessionEnd::TopicMissing => {
                let cause = format!("topic \"{}\" does not exist", context.input.topic);
                context.board.enter(TaskState::WaitingForTopic, Some(cause));
                wait_for_topic(&context).await;
            }
            SessionEnd::TopicChanged => {
                // A topic that is being created may be known before its partitions are.
                let pause = context.tuning.retry_wait(memory.failures_in_a_row);
                memory.failures_in_a_row = memory.failures_in_a_row.saturating_add(1);
                let _ = context.wait(pause).await;
            }
            SessionEnd::Rewind(cause) => {
                context.log("warn", &format!("begins again from the committed offset: {cause}"));
                context.board.update(|status| status.restarts += 1);
                context.board.enter(TaskState::Retrying, Some(cause));
                let pause = context.tuning.retry_wait(memory.failures_in_a_row);
                memory.failures_in_a_row = memory.failures_in_a_row.saturating_add(1);
                let _ = context.wait(pause).await;
            }
            SessionEnd::Rejected(refusal) => {
                context.board.update(|status| status.restarts += 1);
                if let Err(cause) = memory.isolation.learn(refusal) {
                    return finish(&context, TaskState::Failed, cause);
                }
            }
        }
    }
    context.board.enter(TaskState::Stopped, None);
}

fn finish(context: &TaskContext, state: TaskState, cause: String) {
    context.log("error", &format!("stopped: {cause}"));
    context.board.enter(state, Some(cause));
}

async fn wait_for_topic(context: &TaskContext) {
    let mut topic = context.topic.clone();
    topic.mark_unchanged();
    tokio::select! {
        biased;
        Ok(()) = topic.changed() => {}
        _ = context.wait(context.tuning.topic_poll) => {}
    }
}

/// What ends a session before it has begun.
pub(super) fn failed_start(error: &BackendError) -> SessionEnd {
    match error {
        BackendError::Fenced { .. } => SessionEnd::Fenced(error.to_string()),
        BackendError::UnknownTopic(_) => SessionEnd::TopicMissing,
        BackendError::Fatal { .. } => SessionEnd::Failed(error.to_string()),
        BackendError::Retriable { .. }
        | BackendError::Abortable { .. }
        | BackendError::OffsetOutOfRange
        | BackendError::Rejected { .. } => SessionEnd::Rewind(error.to_string()),
    }
}

async fn session(context: &TaskContext, memory: &mut Memory) -> SessionEnd {
    match begin(context, memory).await {
        Ok((id, producer, start, state)) => {
            context.board.enter(TaskState::Running, None);
            let (sender, units) = mpsc::channel(1);
            if start.commit_at_once {
                let _ = sender.try_send(Unit::new(start.position));
            }
            let read = ReadStage::new(context, &memory.isolation, id, &start, state, sender).run();
            let commit = commit_units(context, producer, units);
            tokio::pin!(read, commit);
            let failure = tokio::select! {
                biased;
                committed = &mut commit => committed.err(),
                end = &mut read => {
                    // Whatever was handed over is whole, and is committed before the session ends.
                    match commit.await {
                        Ok(()) => return read_ended(end),
                        Err(failure) => Some(failure),
                    }
                }
            };
            failure.map_or(SessionEnd::Stopped, commit_failed)
        }
        Err(end) => end,
    }
}

fn read_ended(end: ReadEnd) -> SessionEnd {
    match end {
        ReadEnd::Stopped => SessionEnd::Stopped,
        ReadEnd::TopicChanged => SessionEnd::TopicChanged,
        ReadEnd::Failed(cause) => SessionEnd::Failed(cause),
        ReadEnd::Broken(cause) => SessionEnd::Broken(cause),
        ReadEnd::Rewind(cause) => SessionEnd::Rewind(cause),
    }
}

fn commit_failed(failure: CommitFailure) -> SessionEnd {
    match failure {
        CommitFailure::Fenced(cause) => SessionEnd::Fenced(cause),
        CommitFailure::Rewind(cause) => SessionEnd::Rewind(cause),
        CommitFailure::Fatal(cause) => SessionEnd::Failed(cause),
        CommitFailure::Rejected(refusal) => SessionEnd::Rejected(refusal),
    }
}

/// Where a session begins.
pub(super) struct Start {
    /// At this offset.
    pub position: Offset,
    /// Nothing is committed, and the position would be another one at the next start.
    pub commit_at_once: bool,
    /// How often the record there has failed before.
    pub failed: u32,
}

impl Start {
    fn at(position: Offset) -> Start {
        Start { position, commit_at_once: false, failed: 0 }
    }

    fn and_commit(self) -> Start {
        Start { commit_at_once: true, ..self }
    }
}

async fn begin(
    context: &TaskContext,
    memory: &mut Memory,
) -> Result<(TopicId, ProducerIdent, Start, Option<state::TaskState>), SessionEnd> {
    let topic = context
        .in_place(|| context.backend.topic(&context.input.topic))
        .await
        .map_err(|error| failed_start(&error))?
        .filter(|topic| context.input.partition.value() < topic.partitions)
        .ok_or(SessionEnd::TopicMissing)?;
    if memory.topic.replace(topic.id).is_some_and(|before| before != topic.id) {
        context.log("warn", "the topic was deleted and created again: begins at its start");
        memory.from_start = true;
        memory.isolation = Isolation::default();
    }
    let timeout = context.tuning.transaction_timeout;
    let producer = context
        .in_place(|| context.backend.init_producer_id(&context.transactional_id, timeout))
        .await
        .map_err(|error| failed_start(&error))?;
    let state = restored_state(context).await?;
    let start = position(context, memory).await.map_err(|error| failed_start(&error))?;
    Ok((topic.id, producer, start, state))
}

async fn position(context: &TaskContext, memory: &mut Memory) -> Result<Start, BackendError> {
    let bounds = context.in_place(|| context.backend.log_bounds(&context.input)).await?;
    let committed =
        context.in_place(|| context.backend.committed_offset(&context.group, &context.input)).await?;
    let start = if memory.from_start {
        Start::at(bounds.log_start).and_commit()
    } else {
        match committed {
            Some(committed) => resumed(context, bounds, &committed),
            None => first_start(context, bounds).await?,
        }
    };
    memory.isolation.forget_before(start.position);
    context.board.saw_last_stable(bounds.last_stable);
    context.board.update(|status| status.committed_offset = Some(start.position.value()));
    Ok(start)
}

/// Where to go on.
fn resumed(context: &TaskContext, bounds: LogBounds, committed: &CommittedOffset) -> Start {
    let offset = committed.offset;
    if offset < bounds.log_start {
        let lost = bounds.log_start.since(offset);
        context.log("warn", &format!("{lost} offsets were deleted before they were read"));
        return Start::at(bounds.log_start);
    }
    if offset > bounds.last_stable {
        context.log("warn", "the committed offset lies behind the end of the log: goes on at its end");
        return Start::at(bounds.last_stable).and_commit();
    }
    let failed = CommitNote::parse(&committed.metadata).map_or(0, |note| note.failed);
    Start { failed, ..Start::at(offset) }
}

/// Where to begin, as the definition says.
async fn first_start(context: &TaskContext, bounds: LogBounds) -> Result<Start, BackendError> {
    Ok(match context.definition.start {
        StartPosition::Committed | StartPosition::Earliest => Start::at(bounds.log_start),
        StartPosition::Latest => Start::at(bounds.last_stable).and_commit(),
        StartPosition::Offset(offset) => {
            let position = offset.max(bounds.log_start).min(bounds.last_stable);
            if position != offset {
                context.log("warn", &format!("there is no offset {offset}: begins at {position}"));
            }
            Start::at(position).and_commit()
        }
        StartPosition::Time(ms) => {
            let found = context.in_place(|| context.backend.offset_for_time(&context.input, ms)).await?;
            Start::at(found.unwrap_or(bounds.last_stable)).and_commit()
        }
    })
}
