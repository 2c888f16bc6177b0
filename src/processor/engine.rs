//! One task's instance of the module, and what its answers become: records in a transaction's unit.
//!
//! Synchronous, and always called on a blocking thread: a guest may take as long as its limit
//! allows. A guest's answer is checked as a whole before anything of it is kept.

use super::chain::Chain;
use super::commit_note::CALLS_MAX;
use super::dead_letter::{DeadLetter, write_dead_letter};
use super::definition::{ProcessorDefinition, TaskLimits, Work};
use super::partitioner::StickyPartition;
use super::placement::{ChoiceError, OutputTopic, Partitioners, batch_to_place};
use super::span::Span;
use super::status::TaskBoard;
use super::turns::{HeldTurn, Turn};
use super::unit::Unit;
use crate::ids::{Offset, PartitionIndex, TopicName, TopicPartition};
use crate::plugin::{
    FaultReason, GiveWay, InputBatch, Limits, LogSink, OutputBatch, OutputRecord, PageLimits, PluginHost,
    ProcessFault, StateError, Surroundings, TimerDomain,
};
use crate::state::{StoreError, TaskState};
use crate::wire::record_batch::{RawHeaders, RawRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Entries of the state that are deleted in one transaction because their time is over.
const EXPIRED_PER_TRANSACTION: usize = 1_000;
/// Timers that fire in one call.
const TIMERS_PER_CALL: PageLimits = PageLimits { entries_max: 500, bytes_max: 1 << 20 };

/// Whether trying a failed record again may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// It may.
    Worthwhile,
    /// The module has said that it never will.
    Useless,
    /// The module has said that no record will.
    StopTask,
}

/// A call that failed because of what was in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which record, if the module said so.
    pub index: Option<u32>,
    /// A short stable name of the kind of failure.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// Whether trying again may help.
    pub again: Again,
}

/// Why a call gave nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// Because of the records.
    Fault(Fault),
    /// Because there is no instance to call.
    NoInstance(String),
}

/// A call of a turn that failed; what came before it is in the unit.
#[derive(Debug)]
pub struct Interrupted {
    /// The part of the span whose call failed.
    pub failed: Span,
    /// What was not begun.
    pub left: Option<Span>,
    /// How the call failed.
    pub error: CallError,
}

/// The topics that a task writes to.
pub type Outputs = BTreeMap<TopicName, OutputTopic>;

/// One task's instances: of the modules, and of the partitioners of the topics that it writes to.
pub struct Engine {
    definition: Arc<ProcessorDefinition>,
    /// The first of the task's inputs; all have its partition's number.
    input: TopicPartition,
    inputs: Vec<TopicPartition>,
    board: Arc<TaskBoard>,
    chain: Chain,
    partitioners: Partitioners,
    sticky: StickyPartition,
    /// The topics that the task writes to.
    pub outputs: Outputs,
    /// The task's state, if it has any.
    state: Option<TaskState>,
    /// When the next timers of both domains are due, once that is known.
    next_timers: Option<(Option<i64>, Option<i64>)>,
    /// The turn of the call under way.
    turn: Arc<HeldTurn>,
}

impl Engine {
    /// An engine that makes its instances when they are first called.
    pub fn new(
        host: Arc<dyn PluginHost>,
        definition: Arc<ProcessorDefinition>,
        (input, inputs): (TopicPartition, Vec<TopicPartition>),
        log: LogSink,
        board: Arc<TaskBoard>,
        state: Option<TaskState>,
    ) -> Engine {
        let sticky = StickyPartition::new(input.partition);
        let limits = definition.limits.of_instance();
        let turn = Arc::new(HeldTurn::default());
        let held = Arc::clone(&turn);
        let give_way = GiveWay::new(move || held.give_way());
        let counters = board.processor.own.sink();
        let partitioners = Partitioners::new(host.clone(), limits, log.clone(), counters, give_way.clone());
        let outputs = BTreeMap::new();
        Engine {
            chain: Chain::new(host, definition.clone(), input.clone(), log, board.clone(), give_way),
            board,
            definition,
            input,
            inputs,
            partitioners,
            sticky,
            outputs,
            state,
            next_timers: None,
            turn,
        }
    }

    /// Does the task's work on a span in a turn of its own: in calls of about so many bytes, at least one, for as long as
    /// it may go on. Answers what is left.
    pub fn process_in_turn(
        &mut self,
        turn: Turn,
        (span, attempt): (Span, u32),
        unit: &mut Unit,
        call_bytes: usize,
        may_go_on: impl Fn() -> bool,
    ) -> Result<Option<Span>, Box<Interrupted>> {
        self.turn.hold(turn);
        let mut left = Some(span);
        let done = loop {
            let Some(span) = left.take() else { break Ok(None) };
            // The last call that a note can tell of has all that is left.
            let may_be_cut = unit.calls.len() + 1 < CALLS_MAX;
            let (part, rest) = if may_be_cut { span.cut_within(call_bytes) } else { (span, None) };
            if let Err(error) = self.process(&part, attempt, unit) {
                break Err(Box::new(Interrupted { failed: part, left: rest, error }));
            }
            left = rest;
            if !may_go_on() {
                break Ok(left);
            }
        };
        self.turn.release();
        done
    }

    /// Does the task's work on a span, and adds what is written to the unit: all of it, or nothing.
    pub(super) fn process(&mut self, span: &Span, attempt: u32, unit: &mut Unit) -> Result<(), CallError> {
        let written = match self.definition.work {
            Work::RunModule => self.run_modules(span, attempt, unit),
            Work::MoveToPartitions => self.move_records(span, unit),
        };
        if let Some(state) = &mut self.state {
            match &written {
                Ok(_) => state.keep_call(),
                Err(_) => state.drop_call(),
            }
        }
        let written = written?;
        self.pass_time(span).map_err(|error| CallError::NoInstance(error.to_string()))?;
        self.look_for_timers().map_err(|error| CallError::NoInstance(error.to_string()))?;
        unit.counts.records_out += u64::try_from(written).unwrap_or(0);
        unit.called(span, attempt);
        unit.passed(span);
        Ok(())
    }

    /// Has the modules process the span; answers how many records they wrote.
    fn run_modules(&mut self, span: &Span, attempt: u32, unit: &mut Unit) -> Result<usize, CallError> {
        let from = self.inputs.get(span.input_number).unwrap_or(&self.input);
        let surroundings = surroundings(&mut self.state, unit.now, from, span)
            .map_err(|error| CallError::NoInstance(error.to_string()))?;
        let emitted = self.chain.run(span, from, attempt, surroundings)?;
        let records = emitted.for_topics().map_err(CallError::Fault)?;
        check_ratio(&records, self.definition.limits.output_ratio).map_err(CallError::Fault)?;
        let places = &mut Places {
            definition: &self.definition,
            outputs: &self.outputs,
            partitioners: &mut self.partitioners,
            sticky: self.sticky,
        };
        let placed = places.place(&records)?;
        for (partition, (_, record)) in placed.iter().zip(&records) {
            unit.append(partition, *record);
        }
        Ok(records.len())
    }

    /// Moves the span as it is to the partitions that the output topic's partitioner chooses; without one, to
    /// those that their senders chose.
    fn move_records(&mut self, span: &Span, unit: &mut Unit) -> Result<usize, CallError> {
        let Some(topic) = self.definition.outputs.first().cloned() else {
            return Err(CallError::NoInstance("it moves records to no topic".to_owned()));
        };
        let input = span.input(&TopicPartition::new(topic.clone(), self.input.partition), 0);
        let records = input.records().map(|record| {
            let record = record.map_err(|error| fault("bad-input", error.to_string()))?;
            raw_record(record.timestamp, record.key, record.value, record.headers.field)
        });
        let records = records.collect::<Result<Vec<_>, Fault>>().map_err(CallError::Fault)?;
        let output = self.outputs.get(&topic);
        let chosen = match output.and_then(|output| Some((output.partitioner_for(None)?, output.partitions)))
        {
            Some((partitioner, partitions)) => self
                .partitioners
                .choose(partitioner, partitions, &input)
                .map_err(|error| choice_failed(error, Some))?,
            None => vec![self.input.partition; records.len()],
        };
        unit.compression = span.compression();
        let count = records.len();
        for (partition, record) in chosen.into_iter().zip(records) {
            unit.append(&TopicPartition::new(topic.clone(), partition), record);
        }
        Ok(count)
    }

    /// Lets the partitioners say their last words. For blocking threads.
    pub fn close(mut self) {
        self.partitioners.close();
    }

    /// The stream time moves on with the records that were processed.
    fn pass_time(&mut self, span: &Span) -> Result<(), StoreError> {
        let Some(state) = self.state.as_mut().filter(|_| span.timers().is_none()) else { return Ok(()) };
        let input = span.input(&self.input, 0);
        let latest = input.records().filter_map(|record| Some(record.ok()?.timestamp)).max();
        latest.map_or(Ok(()), |latest| state.advance_stream_time(latest))
    }

    /// Notes when the next timers are due.
    fn look_for_timers(&mut self) -> Result<(), StateError> {
        if let Some(state) = &self.state {
            let [event, processing] = TimerDomain::ALL.map(|domain| state.next_timer(domain));
            self.next_timers = Some((event?, processing?));
            self.board.meters.set_state(state.bytes(), state.timers());
        }
        Ok(())
    }

    /// When the next timer is due by the wall clock.
    pub fn next_processing_timer(&self) -> Option<i64> {
        self.next_timers.and_then(|(_, processing)| processing)
    }

    /// Whether timers may be due at a moment of the wall clock.
    pub fn may_have_due_timers(&self, now: i64) -> bool {
        let Some(state) = &self.state else { return false };
        let is_due = |at: Option<i64>, time: Option<i64>| at.zip(time).is_some_and(|(at, time)| at <= time);
        self.next_timers.is_none_or(|(event, processing)| {
            is_due(event, state.stream_time()) || is_due(processing, Some(now))
        })
    }

    /// Timers of one domain that are due at a moment of the wall clock: by event time first.
    pub fn due_timers(&mut self, now: i64, position: Offset) -> Result<Option<Span>, StateError> {
        self.look_for_timers()?;
        let Some(state) = &self.state else { return Ok(None) };
        for (domain, time) in
            [(TimerDomain::Event, state.stream_time()), (TimerDomain::Processing, Some(now))]
        {
            let Some(time) = time else { continue };
            let due = state.due_timers(domain, time, TIMERS_PER_CALL)?;
            if !due.is_empty() {
                return Ok(Some(Span::of_timers(domain, due, position)));
            }
        }
        Ok(None)
    }

    /// Takes away timers that a policy has dealt with.
    pub fn forget_timers(&mut self, span: &Span) -> Result<(), StateError> {
        let (Some(state), Some((domain, timers))) = (&mut self.state, span.timers()) else { return Ok(()) };
        for timer in timers {
            state.fire_timer(domain, timer)?;
        }
        self.look_for_timers()
    }

    /// How much the open transaction writes to the state so far.
    pub fn state_bytes(&self) -> u64 {
        self.state.as_ref().map_or(0, TaskState::open_bytes)
    }

    /// Ends the state's part of a transaction: its changes go into the unit, for the changelog.
    pub fn seal_state(&mut self, unit: &mut Unit) -> Result<(), StoreError> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let Some(changelog) = self.definition.changelog_topic() else { return Ok(()) };
        state.sweep_expired(EXPIRED_PER_TRANSACTION)?;
        let Some(pending) = state.hand_over()? else { return Ok(()) };
        let changelog = TopicPartition::new(changelog, self.input.partition);
        for (key, value) in pending.records() {
            let headers = RawHeaders::NONE;
            let record = RawRecord { timestamp: unit.now, key: Some(&key), value: value.as_deref(), headers };
            unit.append(&changelog, record);
        }
        unit.state = Some((changelog, pending));
        Ok(())
    }

    /// Moves records without a key on to the next partition: for a new transaction.
    pub fn turn(&mut self) {
        self.sticky.turn();
    }

    /// Writes the single record of a span to the dead-letter topic.
    pub fn dead_letter(
        &self,
        span: &Span,
        topic: &TopicName,
        letter: &DeadLetter<'_>,
        unit: &mut Unit,
    ) -> Result<(), Fault> {
        let input = span.input(&self.input, 0);
        let unreadable = || fault("bad-input", "the source record cannot be read".into());
        let record = input.records().next().and_then(Result::ok).ok_or_else(unreadable)?;
        let count = self.outputs.get(topic).map_or(1, |output| output.partitions).max(1);
        // Dead letters keep their source's partition where they can: their order means something.
        let partition =
            PartitionIndex::from_wire(self.input.partition.value() % count).unwrap_or(PartitionIndex::ZERO);
        write_dead_letter(unit, &TopicPartition::new(topic.clone(), partition), &record, letter);
        unit.counts.dead_letters += 1;
        unit.gave_up(span);
        unit.passed(span);
        Ok(())
    }
}

/// What decides where output records go.
struct Places<'a> {
    definition: &'a ProcessorDefinition,
    outputs: &'a Outputs,
    partitioners: &'a mut Partitioners,
    sticky: StickyPartition,
}

impl Places<'_> {
    /// Where each output record goes, or why one of them cannot go anywhere.
    fn place(
        &mut self,
        records: &[(OutputRecord<'_>, RawRecord<'_>)],
    ) -> Result<Vec<TopicPartition>, CallError> {
        let mut placed = Vec::with_capacity(records.len());
        let mut to_choose: BTreeMap<TopicName, Vec<usize>> = BTreeMap::new();
        for (number, (record, _)) in records.iter().enumerate() {
            let topic = self.output_topic(record).map_err(CallError::Fault)?;
            if let Some(output) = self.outputs.get(topic)
                && output.partitioner_for(record.partition).is_some()
            {
                to_choose.entry(topic.clone()).or_default().push(number);
                placed.push(TopicPartition::new(topic.clone(), PartitionIndex::ZERO));
            } else {
                placed.push(self.place_record(topic, record).map_err(CallError::Fault)?);
            }
        }
        for (topic, numbers) in to_choose {
            let Some(output_topic) = self.outputs.get(&topic) else { continue };
            let Some((partitioner, _)) = &output_topic.partitioner else { continue };
            let chosen_for = numbers.iter().filter_map(|number| Some(records.get(*number)?.1));
            let batch = batch_to_place(&topic, chosen_for);
            let source_of = |index: u32| {
                let number = numbers.get(usize::try_from(index).ok()?)?;
                Some(records.get(*number)?.0.source_index)
            };
            let chosen = self.partitioners.choose(partitioner, output_topic.partitions, &batch);
            let chosen = chosen.map_err(|error| choice_failed(error, source_of))?;
            for (number, partition) in numbers.iter().zip(chosen) {
                if let Some(place) = placed.get_mut(*number) {
                    place.partition = partition;
                }
            }
        }
        Ok(placed)
    }

    fn output_topic(&self, record: &OutputRecord<'_>) -> Result<&TopicName, Fault> {
        let topic = self.definition.outputs.iter().find(|topic| topic.as_str() == record.topic);
        topic.ok_or_else(|| {
            let topic = record.topic;
            let message =
                format!("it writes to topic \"{topic}\", which is not among the processor's outputs");
            bad_output(record, message)
        })
    }

    fn place_record(&self, topic: &TopicName, record: &OutputRecord<'_>) -> Result<TopicPartition, Fault> {
        let output = self.outputs.get(topic);
        let count = output.map_or(0, |output| output.partitions);
        let chosen =
            output.and_then(|output| output.partition_for(record.partition, record.key, self.sticky));
        chosen.map(|partition| TopicPartition::new(topic.clone(), partition)).ok_or_else(|| {
            let message = match record.partition {
                Some(asked) => {
                    format!(
                        "it writes to partition {asked} of topic \"{topic}\", which has {count} partitions"
                    )
                }
                None => format!("it writes to topic \"{topic}\", which does not exist"),
            };
            bad_output(record, message)
        })
    }
}

impl TaskLimits {
    /// The limits of an instance.
    pub(super) fn of_instance(&self) -> Limits {
        Limits {
            memory_bytes_max: usize::try_from(self.memory_bytes).unwrap_or(usize::MAX),
            batch_time_max: Duration::from_millis(self.batch_time_ms),
            output_bytes_max: usize::try_from(self.output_bytes).unwrap_or(usize::MAX),
            log_lines_per_second: u32::try_from(self.log_lines_per_second).unwrap_or(u32::MAX),
            ..Limits::default()
        }
    }
}

/// What a call may ask for. Its randomness follows from where its input lies, or from its first timer: the same again
/// for the same input. Timers that fire are gone, unless the call fails.
fn surroundings(
    state: &mut Option<TaskState>,
    now: i64,
    input: &TopicPartition,
    span: &Span,
) -> Result<Surroundings, StateError> {
    let place = u64::from(crc32c::crc32c(input.to_string().as_bytes()));
    let within = match span.timers() {
        None => span.first_offset().map_or(0, |offset| offset.value().unsigned_abs()),
        Some((_, timers)) => timers
            .first()
            .map_or(0, |timer| timer.at.unsigned_abs() ^ (u64::from(crc32c::crc32c(&timer.id)) << 16)),
    };
    let seed = (place << 32) ^ within;
    let Some(state) = state else { return Ok(Surroundings { now, seed, ..Surroundings::none() }) };
    let call = state.begin_call();
    if let Some((domain, timers)) = span.timers() {
        for timer in timers {
            state.fire_timer(domain, timer)?;
        }
    }
    Ok(Surroundings { stream_time: state.stream_time(), state: Box::new(call), now, seed })
}

/// The guest's records, each with its own time or its source's.
pub(super) fn records_of<'a>(
    input: &InputBatch,
    output: &'a OutputBatch,
) -> Result<Vec<RawRecord<'a>>, Fault> {
    let timestamps = if output.iter().any(|record| record.timestamp.is_none()) {
        let read = input.records().map(|record| record.map(|record| record.timestamp));
        read.collect::<Result<Vec<_>, _>>().map_err(|error| fault("bad-input", error.to_string()))?
    } else {
        Vec::new()
    };
    let records = output.iter().map(|record| {
        let source = usize::try_from(record.source_index).ok().and_then(|at| timestamps.get(at));
        let timestamp = record.timestamp.or(source.copied()).unwrap_or(-1);
        raw_record(timestamp, record.key, record.value, record.headers.field)
    });
    records.collect()
}

/// That no record of the input leads to more than this many of the output; it alone is to blame, in whatever batch it
/// comes.
fn check_ratio(records: &[(OutputRecord<'_>, RawRecord<'_>)], ratio: u64) -> Result<(), Fault> {
    if u64::try_from(records.len()).unwrap_or(u64::MAX) <= ratio {
        return Ok(());
    }
    let mut counts = BTreeMap::<u32, u64>::new();
    for (record, _) in records {
        let count = counts.entry(record.source_index).or_default();
        *count += 1;
        if *count > ratio {
            let message = format!(
                "it writes more than {ratio} records for one: if that is meant, raise limits.output_ratio"
            );
            let index = Some(record.source_index);
            return Err(Fault { index, code: "output-ratio", message, again: Again::Useless });
        }
    }
    Ok(())
}

fn raw_record<'a>(
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [u8],
) -> Result<RawRecord<'a>, Fault> {
    let headers = RawHeaders::parse(headers).map_err(|error| fault("bad-output", error.to_string()))?;
    Ok(RawRecord { timestamp, key, value, headers })
}

fn bad_output(record: &OutputRecord<'_>, message: String) -> Fault {
    Fault { index: Some(record.source_index), code: "bad-output", message, again: Again::Useless }
}

/// A partitioner's failure as the task's; `source_of` finds the source of the record that it names.
fn choice_failed(error: ChoiceError, source_of: impl Fn(u32) -> Option<u32>) -> CallError {
    match error {
        ChoiceError::NoInstance { .. } => CallError::NoInstance(error.to_string()),
        ChoiceError::Fault { topic, fault } => {
            let fault = fault_of(fault);
            let message = format!("the partitioner of topic \"{topic}\": {}", fault.message);
            CallError::Fault(Fault { index: fault.index.and_then(source_of), message, ..fault })
        }
    }
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}

pub(super) fn fault(code: &'static str, message: String) -> Fault {
    Fault { index: None, code, message, again: Again::Worthwhile }
}

pub(super) fn fault_of(fault: ProcessFault) -> Fault {
    let (index, again) = match &fault {
        ProcessFault::Record { index, reason, .. } => {
            let again = match reason {
                FaultReason::Reject => Again::Useless,
                FaultReason::Retry => Again::Worthwhile,
                FaultReason::Fatal => Again::StopTask,
            };
            (Some(*index), again)
        }
        ProcessFault::Trap { .. }
        | ProcessFault::StackOverflow { .. }
        | ProcessFault::Timeout { .. }
        | ProcessFault::OutOfMemory { .. }
        | ProcessFault::GaveUp(_)
        | ProcessFault::State(
            StateError::Full { .. } | StateError::TimersFull { .. } | StateError::Failed(_),
        )
        | ProcessFault::Dead => (None, Again::Worthwhile),
        // The same bytes give the same answer; only a smaller batch may do better.
        ProcessFault::OutputTooLarge { .. }
        | ProcessFault::BadOutput(_)
        | ProcessFault::BadInput(_)
        | ProcessFault::InputTooLarge { .. }
        | ProcessFault::State(
            StateError::UnknownStore(_)
            | StateError::NoTimers
            | StateError::TimersBehindFirst
            | StateError::KeySize { .. }
            | StateError::ValueSize { .. }
            | StateError::NotACounter(_),
        ) => (None, Again::Useless),
    };
    let code = fault.kind();
    let message = match fault {
        ProcessFault::Record { message, .. } => message,
        other @ (ProcessFault::Trap { .. }
        | ProcessFault::StackOverflow { .. }
        | ProcessFault::Timeout { .. }
        | ProcessFault::OutOfMemory { .. }
        | ProcessFault::OutputTooLarge { .. }
        | ProcessFault::BadOutput(_)
        | ProcessFault::BadInput(_)
        | ProcessFault::InputTooLarge { .. }
        | ProcessFault::GaveUp(_)
        | ProcessFault::State(_)
        | ProcessFault::Dead) => other.to_string(),
    };
    Fault { index, code, message, again }
}
