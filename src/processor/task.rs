//! One task: owns one input partition of one processor, or that of the same number of several topics, from taking its transactional id to the end.
//!
//! A session is one ownership: take the id (which fences whoever had it), ask for the committed
//! offset, run both stages until one of them ends. After any failure a new session begins from what
//! is committed; nothing is remembered that the cluster does not know better.

use super::backend::{BackendError, LogBounds};
use super::commit_note::{CommitNote, CommittedOffset, FailedTimer};
use super::commit_stage::{CommitFailure, commit_units};
use super::context::TaskContext;
use super::definition::{RunMode, StartPosition, not_co_partitioned};
use super::isolation::{Isolation, Refusal};
use super::read_stage::{ReadEnd, ReadStage};
use super::state_restore::restored_state;
use super::status::TaskState;
use super::unit::Unit;
use crate::ids::{Offset, ProducerIdent, TopicId, TopicPartition};
use crate::state;
use futures_util::future::select_all;
use std::collections::BTreeSet;
use tokio::sync::mpsc;

/// How a session ended.
pub(super) enum SessionEnd {
    Stopped,
    Fenced(String),
    Failed(String),
    Broken(String),
    /// Says which.
    TopicMissing(String),
    TopicChanged,
    Rewind(String),
    Rejected(Refusal),
}

/// What a task remembers from one session to the next.
#[derive(Default)]
struct Memory {
    /// Of each input.
    topics: Vec<TopicId>,
    /// The inputs whose topic is another one than before: what was committed belongs to the old one.
    from_start: BTreeSet<usize>,
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
            memory.from_start.clear();
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
            SessionEnd::TopicMissing(cause) => {
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
    let mut topics: Vec<_> = context.inputs.iter().map(|input| input.topic.clone()).collect();
    let changes = topics.iter_mut().map(|topic| {
        topic.mark_unchanged();
        Box::pin(topic.changed())
    });
    let changes = select_all(changes);
    tokio::select! {
        biased;
        (Ok(()), _, _) = changes => {}
        _ = context.wait(context.tuning.topic_poll) => {}
    }
}

/// What ends a session before it has begun.
pub(super) fn failed_start(error: &BackendError) -> SessionEnd {
    match error {
        BackendError::Fenced { .. } => SessionEnd::Fenced(error.to_string()),
        BackendError::UnknownTopic(_) => SessionEnd::TopicMissing(error.to_string()),
        BackendError::Fatal { .. } => SessionEnd::Failed(error.to_string()),
        BackendError::Retriable { .. }
        | BackendError::Abortable { .. }
        | BackendError::OffsetOutOfRange
        | BackendError::Rejected { .. } => SessionEnd::Rewind(error.to_string()),
    }
}

async fn session(context: &TaskContext, memory: &mut Memory) -> SessionEnd {
    match begin(context, memory).await {
        Ok(Begun { topics, producer, starts, state }) => {
            context.board.enter(TaskState::Running, None);
            let (sender, units) = mpsc::channel(1);
            if starts.iter().any(|start| start.commit_at_once) {
                let _ = sender.try_send(first_commit(&starts));
            }
            let read = ReadStage::new(context, &memory.isolation, topics, &starts, state, sender).run();
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
    /// A timer that has failed before.
    pub failed_timer: Option<FailedTimer>,
}

impl Start {
    fn at(position: Offset) -> Start {
        Start { position, commit_at_once: false, failed: 0, failed_timer: None }
    }

    /// The record there with how often it has failed, if it has.
    pub fn failed_record(&self) -> Option<(Offset, u32)> {
        (self.failed > 0).then_some((self.position, self.failed))
    }

    fn and_commit(self) -> Start {
        Start { commit_at_once: true, ..self }
    }
}

/// What a session begins with.
struct Begun {
    topics: Vec<TopicId>,
    producer: ProducerIdent,
    starts: Vec<Start>,
    state: Option<state::TaskState>,
}

/// A unit that commits where the inputs begin.
fn first_commit(starts: &[Start]) -> Unit {
    let mut unit = Unit::new(starts.iter().map(|start| start.position));
    for (progress, start) in unit.progress.iter_mut().zip(starts) {
        progress.is_first = start.commit_at_once;
    }
    unit
}

async fn begin(context: &TaskContext, memory: &mut Memory) -> Result<Begun, SessionEnd> {
    let topics = input_topics(context).await?;
    for (number, id) in topics.iter().enumerate() {
        if memory.topics.get(number).is_some_and(|before| before != id) {
            context.log("warn", "the topic was deleted and created again: begins at its start");
            memory.from_start.insert(number);
            memory.isolation = Isolation::default();
        }
    }
    memory.topics.clone_from(&topics);
    let timeout = context.tuning.transaction_timeout;
    let producer = context
        .in_place(|| context.backend.init_producer_id(&context.transactional_id, timeout))
        .await
        .map_err(|error| failed_start(&error))?;
    let state = restored_state(context).await?;
    let mut starts = Vec::with_capacity(topics.len());
    for (number, input) in context.inputs.iter().enumerate() {
        let start = position(context, memory, number, &input.partition).await;
        starts.push(start.map_err(|error| failed_start(&error))?);
    }
    Ok(Begun { topics, producer, starts, state })
}

/// The ids of the input topics. All must have the partition, and several as many partitions as one another: else a key
/// would be in another task for each of them.
async fn input_topics(context: &TaskContext) -> Result<Vec<TopicId>, SessionEnd> {
    let mut topics = Vec::with_capacity(context.inputs.len());
    for input in &context.inputs {
        let TopicPartition { topic, partition } = &input.partition;
        let found = context.in_place(|| context.backend.topic(topic)).await;
        let found = found.map_err(|error| failed_start(&error))?;
        let found = found.filter(|found| partition.value() < found.partitions);
        let missing = || SessionEnd::TopicMissing(format!("topic \"{topic}\" does not exist"));
        topics.push((topic, found.ok_or_else(missing)?));
    }
    let counts = topics.iter().map(|(topic, found)| (*topic, found.partitions));
    match not_co_partitioned(counts) {
        Some(cause) => Err(SessionEnd::Failed(cause)),
        None => Ok(topics.into_iter().map(|(_, found)| found.id).collect()),
    }
}

async fn position(
    context: &TaskContext,
    memory: &mut Memory,
    number: usize,
    input: &TopicPartition,
) -> Result<Start, BackendError> {
    let bounds = context.in_place(|| context.backend.log_bounds(input)).await?;
    let committed = context.in_place(|| context.backend.committed_offset(&context.group, input)).await?;
    let start = if memory.from_start.contains(&number) {
        Start::at(bounds.log_start).and_commit()
    } else {
        match committed {
            Some(committed) => resumed(context, bounds, &committed),
            None => first_start(context, input, bounds).await?,
        }
    };
    memory.isolation.forget_before(number, start.position);
    context.board.saw_last_stable(number, bounds.last_stable);
    context.board.committed(number, start.position);
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
    let CommitNote { failed, failed_timer, .. } = CommitNote::parse(&committed.metadata).unwrap_or_default();
    Start { failed, failed_timer, ..Start::at(offset) }
}

/// Where to begin, as the definition says.
async fn first_start(
    context: &TaskContext,
    input: &TopicPartition,
    bounds: LogBounds,
) -> Result<Start, BackendError> {
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
            let found = context.in_place(|| context.backend.offset_for_time(input, ms)).await?;
            Start::at(found.unwrap_or(bounds.last_stable)).and_commit()
        }
    })
}
