//! The first stage of a task: reads committed records, has the module process them, and hands over
//! one unit of work per transaction while the one before it is being committed.
//!
//! A failing call is narrowed down to the one bad record, so that only it meets the error policy.
//! The guest runs on blocking threads only.

use super::backend::{BackendError, FetchedBatches};
use super::breaker::Breaker;
use super::commit_note::{CALLS_MAX, FailedTimer};
use super::context::{TaskContext, Waited};
use super::dead_letter::DeadLetter;
use super::definition::FailureAction;
use super::engine::{Again, CallError, Engine, Fault, Interrupted, Outputs};
use super::isolation::Isolation;
use super::placement::{OutputTopic, partitioner_of};
use super::span::{Span, spans_of};
use super::task::Start;
use super::unit::Unit;
use crate::ids::{Offset, TopicId};
use crate::state::TaskState;
use futures_util::future::select_all;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Why the stage ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ReadEnd {
    /// The task was told to stop; what was done has been handed over.
    Stopped,
    /// The input topic is gone, or is another one of the same name.
    TopicChanged,
    /// The task cannot go on; what was done has been handed over.
    Failed(String),
    /// Too many records fail: the processor is to be paused; what was done has been handed over.
    Broken(String),
    /// The task has to begin again from the committed offset.
    Rewind(String),
}

/// Calls for timers between two looks at the input.
const TIMER_ROUNDS_MAX: usize = 100;

/// Some records or timers still to be processed.
struct Work {
    span: Span,
    /// How often they have failed, if it is a single record.
    failed: u32,
    /// Their sentence, once no more tries are left.
    verdict: Option<Fault>,
}

/// The first stage.
pub(super) struct ReadStage<'a> {
    context: &'a TaskContext,
    isolation: &'a Isolation,
    /// The ids of the inputs' topics.
    topic_ids: Vec<TopicId>,
    /// The input that is asked first.
    turn: usize,
    /// Away while a call runs.
    engine: Option<Engine>,
    unit: Unit,
    units: mpsc::Sender<Unit>,
    next_commit: Instant,
    breaker: Breaker,
    /// For each input, a record that had failed so often when the task began.
    failed_before: Vec<Option<(Offset, u32)>>,
    /// A timer that had failed when the task began.
    failed_timer: Option<FailedTimer>,
    /// How many timers are in the units handed over.
    timers_settled: u64,
    /// Since when the position is ahead of the handed over offset by offsets without records only.
    skipped_since: Option<Instant>,
}

impl<'a> ReadStage<'a> {
    pub fn new(
        context: &'a TaskContext,
        isolation: &'a Isolation,
        topic_ids: Vec<TopicId>,
        starts: &[Start],
        state: Option<TaskState>,
        units: mpsc::Sender<Unit>,
    ) -> ReadStage<'a> {
        let engine = Engine::new(
            context.host.clone(),
            context.definition.clone(),
            (context.input.clone(), context.inputs.iter().map(|input| input.partition.clone()).collect()),
            context.log_sink(),
            context.board.clone(),
            state,
        );
        context.board.meters.began_session();
        context.board.tries_no_more();
        let now = Instant::now();
        ReadStage {
            context,
            isolation,
            topic_ids,
            turn: 0,
            engine: Some(engine),
            unit: Unit::new(starts.iter().map(|start| start.position)),
            units,
            next_commit: now,
            breaker: Breaker::new(context.definition.on_error.breaker, now),
            failed_before: starts.iter().map(Start::failed_record).collect(),
            failed_timer: starts.iter().find_map(|start| start.failed_timer.clone()),
            timers_settled: 0,
            skipped_since: None,
        }
    }

    /// Reads until something ends it.
    pub async fn run(mut self) -> ReadEnd {
        let end = loop {
            match self.step().await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        match end {
            ReadEnd::Stopped | ReadEnd::Failed(_) | ReadEnd::Broken(_) => {
                // Everything before the stop is whole: it need not be done again.
                if self.unit.has_moved() || !self.unit.is_without_records() {
                    let _ = self.hand_over().await;
                }
            }
            ReadEnd::TopicChanged | ReadEnd::Rewind(_) => {}
        }
        if let Some(engine) = self.engine.take() {
            // Whether guests get to their last words or the runtime goes down first changes nothing.
            let _ = tokio::task::spawn_blocking(move || engine.close()).await;
        }
        end
    }

    async fn step(&mut self) -> Result<(), ReadEnd> {
        if self.context.is_stopped() {
            return Err(ReadEnd::Stopped);
        }
        self.hand_over_if_due().await?;
        self.fire_timers().await?;
        let context = self.context;
        let positions = self.unit.progress.iter().map(|progress| progress.next_offset).collect();
        let fetched = fetch_first(context, positions, self.turn, self.fetch_wait());
        let (number, found) = tokio::select! {
            biased;
            () = context.stopped() => return Err(ReadEnd::Stopped),
            () = topics_changed(context, &self.topic_ids) => return Err(ReadEnd::TopicChanged),
            found = fetched => found.map_err(|error| fetch_failed(&error))?,
        };
        // Whoever has given something waits for the others.
        self.turn = number + 1;
        if Some(&found.topic_id) != self.topic_ids.get(number) {
            return Err(ReadEnd::TopicChanged);
        }
        context.board.saw_last_stable(number, found.last_stable_offset);
        let (position, next_offset) = (self.unit.progress_in(number).next_offset, found.next_offset);
        let mut spans = spans_of(found.batches, position, next_offset, context.tuning.turn_bytes)
            .map_err(|error| ReadEnd::Failed(format!("the input at offset {position}: {error}")))?;
        spans.iter_mut().for_each(|span| span.input_number = number);
        if !spans.is_empty() && self.unit.is_without_records() {
            // What a topic says of its partitions holds from the next transaction on.
            self.refresh_outputs().await?;
        }
        self.process_spans(spans).await?;
        if let Some(progress) = self.unit.progress.get_mut(number) {
            // Markers, aborted records, or gaps that compaction left.
            progress.next_offset = next_offset.max(progress.next_offset);
        }
        if self.unit.is_without_records() && self.unit.has_moved() {
            self.skipped_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    fn fetch_wait(&self) -> Duration {
        let longest = self.context.tuning.fetch_wait;
        if !self.unit.is_without_records() {
            return self.next_commit.saturating_duration_since(Instant::now()).min(longest);
        }
        let lazily = self.skipped_since.map(|since| since + self.context.tuning.lazy_commit);
        let lazily = lazily.map_or(longest, |at| at.saturating_duration_since(Instant::now()));
        let timer = self.engine.as_ref().and_then(Engine::next_processing_timer);
        let timer = timer.map_or(longest, |at| {
            let wait = at.saturating_sub(self.context.clock.now().ms());
            Duration::from_millis(u64::try_from(wait).unwrap_or(0))
        });
        lazily.min(timer).min(longest)
    }

    async fn process_spans(&mut self, spans: VecDeque<Span>) -> Result<(), ReadEnd> {
        for span in spans {
            self.process_span(span).await?;
            self.fire_timers().await?;
        }
        Ok(())
    }

    async fn process_span(&mut self, span: Span) -> Result<(), ReadEnd> {
        let mut stack = self.work_of(span);
        while let Some(work) = stack.pop() {
            if self.context.is_stopped() {
                return Err(ReadEnd::Stopped);
            }
            self.process(work, &mut stack).await?;
            self.hand_over_if_due().await?;
        }
        Ok(())
    }

    /// A span as work; the record or timer that had failed before the task began goes alone, at its next try.
    fn work_of(&mut self, span: Span) -> Vec<Work> {
        let fresh = |span| Work { span, failed: 0, verdict: None };
        let failed_before = match span.timers() {
            None => {
                let is_there = |(offset, _): &mut (Offset, u32)| span.first_offset() == Some(*offset);
                let before = self.failed_before.get_mut(span.input_number);
                before.and_then(|before| before.take_if(is_there)).map(|(_, failed)| failed)
            }
            Some((domain, timers)) => {
                let first = timers.first();
                let is_first = |failed: &mut FailedTimer| first.is_some_and(|timer| failed.is(domain, timer));
                self.failed_timer.take_if(is_first).map(|timer| timer.failed)
            }
        };
        match failed_before {
            Some(failed) => {
                let (first, rest) = span.split_at(1);
                let first = Work { span: first, failed, verdict: None };
                if rest.count() > 0 { vec![fresh(rest), first] } else { vec![first] }
            }
            None => vec![fresh(span)],
        }
    }

    /// Fires the timers that are due. Those that set others which are due at once do not keep it from reading for ever.
    async fn fire_timers(&mut self) -> Result<(), ReadEnd> {
        for _ in 0..TIMER_ROUNDS_MAX {
            // What its calls take for the present, they also fire by.
            let now = if self.unit.now < 0 { self.context.clock.now().ms() } else { self.unit.now };
            if !self.engine.as_ref().is_some_and(|engine| engine.may_have_due_timers(now)) {
                return Ok(());
            }
            let due = self
                .with_engine(move |engine, unit| engine.due_timers(now, unit.progress_in(0).next_offset))
                .await;
            let Some(due) = due.map_err(|error| ReadEnd::Rewind(error.to_string()))? else { return Ok(()) };
            if self.unit.is_without_records() {
                self.refresh_outputs().await?;
            }
            self.process_span(due).await?;
        }
        Ok(())
    }

    async fn process(&mut self, work: Work, stack: &mut Vec<Work>) -> Result<(), ReadEnd> {
        let work = self.shorten(work, stack);
        if let Some(fault) = work.verdict {
            if let Some(cause) = self.breaker.saw(Instant::now(), 1, 1) {
                return Err(ReadEnd::Broken(format!("{cause}; the last: {}", fault.message)));
            }
            return self.settle(work.span, work.failed, &fault).await;
        }
        if work.failed > 0 {
            // Whatever comes of it, those before it need not wait for it; and a crash does not forget the tries.
            match work.span.timers() {
                None => self.unit.failed = (work.span.input_number, work.failed),
                Some((domain, timers)) => {
                    let timer = timers.first().map(|timer| FailedTimer::new(domain, timer, work.failed));
                    self.unit.failed_timer = timer;
                }
            }
            self.hand_over().await?;
            if self.context.wait(self.context.definition.backoff(work.failed)).await == Waited::Stopped {
                return Err(ReadEnd::Stopped);
            }
        }
        let Work { span, failed, .. } = work;
        let count = span.count();
        let (bad, left) = match self.call(span, failed).await {
            Ok(left) => (None, left),
            Err(interrupted) => (Some((interrupted.failed, interrupted.error)), interrupted.left),
        };
        let not_done = [bad.as_ref().map(|(span, _)| span), left.as_ref()];
        let not_done: u32 = not_done.into_iter().flatten().map(Span::count).sum();
        let _ = self.breaker.saw(Instant::now(), u64::from(count - not_done), 0);
        stack.extend(left.map(|span| Work { span, failed: 0, verdict: None }));
        match bad {
            Some((_, CallError::NoInstance(cause))) => Err(ReadEnd::Rewind(cause)),
            Some((span, CallError::Fault(fault))) => self.narrow(span, failed, fault, stack).await,
            None => {
                if failed > 0 {
                    self.context.board.tries_no_more();
                }
                Ok(())
            }
        }
    }

    /// Cuts work that is more than the present transaction may hold, and puts the rest back.
    fn shorten(&self, work: Work, stack: &mut Vec<Work>) -> Work {
        let count = work.span.count();
        let first = work.span.first_offset();
        let number = work.span.input_number;
        let is_alone =
            first.map_or_else(|| self.are_timers_alone(), |offset| self.isolation.holds(number, offset));
        let room = if is_alone {
            1
        } else {
            let records_max = self.context.definition.commit.records_max;
            let left = records_max.saturating_sub(self.unit.counts.taken()).max(1);
            u32::try_from(left).unwrap_or(u32::MAX)
        };
        let mut work = work;
        if count > room {
            let (now, later) = work.span.split_at(room);
            stack.push(Work { span: later, failed: 0, verdict: None });
            work = Work { span: now, failed: 0, verdict: None };
        }
        let refusal = match (work.span.timers(), first) {
            (Some((domain, [timer])), _) => self.isolation.refusal_of_timer(domain, timer),
            (None, Some(offset)) if work.span.count() == 1 => self.isolation.refusal_of(number, offset),
            (Some(_) | None, _) => None,
        };
        if let Some(cause) = refusal {
            let message = format!("the cluster refused its output: {cause}");
            work.verdict =
                Some(Fault { index: None, code: "output-refused", message, again: Again::Useless });
        }
        work
    }

    /// Whether what the unit begins with goes in a transaction of its own.
    fn is_held(&self) -> bool {
        let mut inputs = self.unit.progress.iter().enumerate();
        inputs.any(|(number, progress)| {
            progress.first_record.is_some_and(|record| self.isolation.holds(number, record))
        })
    }

    /// Whether timers go one a transaction, because the cluster has refused what some of them gave.
    fn are_timers_alone(&self) -> bool {
        self.isolation.holds_timers(self.timers_settled)
    }

    /// Calls the module on a blocking thread, until a commit is due or the task is to stop; answers what is left.
    async fn call(&mut self, span: Span, attempt: u32) -> Result<Option<Span>, Box<Interrupted>> {
        if self.unit.now < 0 {
            self.unit.now = self.context.clock.now().ms();
        }
        if let (None, Some(timestamp)) = (self.unit.oldest, span.first_timestamp()) {
            self.unit.oldest = Some(timestamp);
            self.context.board.meters.began_unit(timestamp);
        }
        let (turns, definition) = (&self.context.turns, &self.context.definition);
        let pause = turns.pause(&definition.name);
        if !pause.is_zero() {
            // Who is told to stop does not wait for its share any more.
            let _ = self.context.wait(pause).await;
        }
        let turn = turns.take(&definition.name, definition.limits.cpu_percent).await;
        let call_bytes = self.context.tuning.call_bytes;
        let (stop, next_commit) = (self.context.stop.clone(), self.next_commit);
        let may_go_on = move || !*stop.borrow() && Instant::now() < next_commit;
        self.with_engine(move |engine, unit| {
            engine.process_in_turn(turn, (span, attempt), unit, call_bytes, may_go_on)
        })
        .await
    }

    /// Works with engine and unit on a blocking thread.
    async fn with_engine<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Engine, &mut Unit) -> T + Send + 'static,
    ) -> T {
        let mut engine = self.engine.take().expect("it is away only while a call runs");
        let mut unit = std::mem::replace(&mut self.unit, Unit::new([]));
        let called = tokio::task::spawn_blocking(move || {
            let answer = work(&mut engine, &mut unit);
            (engine, unit, answer)
        });
        match called.await {
            Ok((engine, unit, answer)) => {
                self.engine = Some(engine);
                self.unit = unit;
                answer
            }
            // A panic of ours, not of the guest: let it end the task.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down, and the task with it.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }

    /// Puts the work back in smaller pieces, so that in the end only the bad record fails.
    async fn narrow(
        &mut self,
        span: Span,
        failed: u32,
        fault: Fault,
        stack: &mut Vec<Work>,
    ) -> Result<(), ReadEnd> {
        if fault.again == Again::StopTask {
            return Err(ReadEnd::Failed(format!("the module cannot go on: {}", fault.message)));
        }
        if fault.code == "bad-output" && self.refresh_outputs().await? == Refreshed::Changed {
            stack.push(Work { span, failed, verdict: None });
            return Ok(());
        }
        let count = span.count();
        let again = |span| Work { span, failed: 0, verdict: None };
        if count <= 1 {
            stack.push(self.next_try(span, failed + 1, fault));
            return Ok(());
        }
        match fault.index.filter(|index| *index < count) {
            Some(index) => {
                let (before, rest) = span.split_at(index);
                let (bad, after) = rest.split_at(1);
                if after.count() > 0 {
                    stack.push(again(after));
                }
                stack.push(self.next_try(bad, 1, fault));
                if before.count() > 0 {
                    stack.push(again(before));
                }
            }
            None => {
                let (first, second) = span.split_at(count / 2);
                stack.push(again(second));
                stack.push(again(first));
            }
        }
        Ok(())
    }

    fn next_try(&self, span: Span, failed: u32, fault: Fault) -> Work {
        let hopeless = fault.again == Again::Useless || failed > self.context.definition.on_error.retries;
        if !hopeless {
            let cause = format!("{} is tried again ({}): {}", name_of(&span), fault.code, fault.message);
            self.context.board.tries_again(cause);
        }
        Work { span, failed, verdict: hopeless.then_some(fault) }
    }

    /// Carries out the policy on the one record, or timer, of a span.
    async fn settle(&mut self, span: Span, attempts: u32, fault: &Fault) -> Result<(), ReadEnd> {
        let context = self.context;
        let definition = &context.definition;
        context.board.tries_no_more();
        let text = format!("{} failed ({}): {}", name_of(&span), fault.code, fault.message);
        context.board.update(|status| status.last_error = Some(text.clone()));
        context.log("error", &text);
        match (definition.on_error.then, definition.dead_letter_topic()) {
            (FailureAction::DeadLetter, Some(topic)) => {
                let letter = DeadLetter {
                    message: &fault.message,
                    code: fault.code,
                    source: context
                        .inputs
                        .get(span.input_number)
                        .map_or(&context.input, |input| &input.partition),
                    processor: &definition.name,
                    module: &definition.module,
                    attempts,
                    timer: span.timers().map(|(domain, _)| domain),
                };
                let engine = self.engine.as_ref().expect("no call runs");
                engine
                    .dead_letter(&span, &topic, &letter, &mut self.unit)
                    .map_err(|unreadable| ReadEnd::Failed(unreadable.message))?;
            }
            (FailureAction::Skip, _) => {
                self.unit.counts.skipped += 1;
                self.unit.gave_up(&span);
                self.unit.passed(&span);
            }
            (FailureAction::Stop, _) | (FailureAction::DeadLetter, None) => {
                return Err(ReadEnd::Failed(text));
            }
        }
        if span.timers().is_none() {
            return Ok(());
        }
        let forgotten = self.with_engine(move |engine, _| engine.forget_timers(&span)).await;
        forgotten.map_err(|error| ReadEnd::Rewind(error.to_string()))
    }

    async fn hand_over_if_due(&mut self) -> Result<(), ReadEnd> {
        let policy = &self.context.definition.commit;
        let now = Instant::now();
        let due = if self.unit.is_without_records() {
            let patience = self.context.tuning.lazy_commit;
            self.skipped_since.is_some_and(|since| now >= since + patience)
        } else {
            now >= self.next_commit
                || self.unit.counts.taken() >= policy.records_max
                || (self.unit.counts.timers > 0 && self.are_timers_alone())
                || self.unit.calls.len() >= CALLS_MAX
                || self.written_bytes() >= policy.bytes_max
                || self.is_held()
        };
        if due { self.hand_over().await } else { Ok(()) }
    }

    /// Outputs and changes of the state so far.
    fn written_bytes(&self) -> u64 {
        let outputs = u64::try_from(self.unit.bytes()).unwrap_or(u64::MAX);
        outputs.saturating_add(self.engine.as_ref().map_or(0, Engine::state_bytes))
    }

    async fn hand_over(&mut self) -> Result<(), ReadEnd> {
        self.timers_settled += self.unit.counts.timers;
        if self.context.definition.has_state() {
            let sealed = self.with_engine(Engine::seal_state).await;
            sealed.map_err(|error| ReadEnd::Rewind(error.to_string()))?;
        }
        let next = self.unit.next();
        let unit = std::mem::replace(&mut self.unit, next);
        self.next_commit = Instant::now() + Duration::from_millis(self.context.definition.commit.interval_ms);
        self.skipped_since = None;
        if let Some(engine) = &mut self.engine {
            engine.turn();
        }
        // If the committer is gone, its failure is what ends the session.
        self.units.send(unit).await.map_err(|_| ReadEnd::Rewind("the committer has stopped".into()))
    }

    async fn refresh_outputs(&mut self) -> Result<Refreshed, ReadEnd> {
        let mut outputs = Outputs::new();
        for topic in self.context.definition.written_topics() {
            let found = match self.context.in_place(|| self.context.backend.topic(&topic)).await {
                Ok(Some(found)) => found,
                Ok(None) => return Err(ReadEnd::Rewind(format!("output topic \"{topic}\" does not exist"))),
                Err(error) => return Err(ReadEnd::Rewind(error.to_string())),
            };
            let writers = self.context.definition.partitioners.get(topic.as_str());
            let partitioner = partitioner_of(found.partitioner, writers, &self.context.registry);
            let partitioner = partitioner
                .map_err(|error| ReadEnd::Rewind(format!("the partitioner of topic \"{topic}\": {error}")))?;
            outputs.insert(topic, OutputTopic { partitions: found.partitions, partitioner });
        }
        let engine = self.engine.as_mut().expect("no call runs");
        let changed = engine.outputs != outputs;
        engine.outputs = outputs;
        Ok(if changed { Refreshed::Changed } else { Refreshed::Same })
    }
}

/// How logs call the one record, or timer, of a span.
fn name_of(span: &Span) -> String {
    match (span.timers(), span.first_offset()) {
        (Some((domain, [timer, ..])), _) => {
            format!("{} timer \"{}\" of {}", domain.name(), timer.id.escape_ascii(), timer.at)
        }
        (_, Some(offset)) => format!("record at offset {offset}"),
        (_, None) => "record at offset ?".into(),
    }
}

/// Whether the outputs have other partitions than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refreshed {
    Changed,
    Same,
}

/// Waits for the first input that has something behind its position; answers its number. All are asked at once, and
/// each first in turn.
async fn fetch_first(
    context: &TaskContext,
    positions: Vec<Offset>,
    turn: usize,
    wait: Duration,
) -> Result<(usize, FetchedBatches), BackendError> {
    let count = context.inputs.len();
    let inputs = context.inputs.iter().zip(positions).enumerate();
    let in_turn = inputs.cycle().skip(turn % count.max(1)).take(count);
    let fetches = in_turn.map(|(number, (input, from))| {
        let fetch = context.backend.fetch(&input.partition, from, context.tuning.fetch_bytes, wait);
        Box::pin(async move { (number, from, fetch.await) })
    });
    let mut left: Vec<_> = fetches.collect();
    loop {
        let ((number, from, found), _, others) = select_all(left).await;
        let found = found?;
        if found.next_offset > from || others.is_empty() {
            return Ok((number, found));
        }
        context.board.saw_last_stable(number, found.last_stable_offset);
        left = others;
    }
}

fn fetch_failed(error: &BackendError) -> ReadEnd {
    match error {
        BackendError::UnknownTopic(_) => ReadEnd::TopicChanged,
        BackendError::Fatal { .. } => ReadEnd::Failed(error.to_string()),
        BackendError::OffsetOutOfRange
        | BackendError::Retriable { .. }
        | BackendError::Abortable { .. }
        | BackendError::Fenced { .. }
        | BackendError::Rejected { .. } => ReadEnd::Rewind(error.to_string()),
    }
}

/// Resolves once an input topic is known to be another one.
async fn topics_changed(context: &TaskContext, ids: &[TopicId]) {
    let changes = context.inputs.iter().zip(ids).map(|(input, id)| {
        let mut topic = input.topic.clone();
        Box::pin(async move {
            let nobody_looks =
                topic.wait_for(|now| now.as_ref().is_some_and(|now| now.id != *id)).await.is_err();
            if nobody_looks {
                // The fetches will tell.
                std::future::pending::<()>().await;
            }
        })
    });
    select_all(changes).await;
}
