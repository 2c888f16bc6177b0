//! One running guest: calls within limits, and death after any fault that the guest cannot be trusted after.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::{Engine, Store, UpdateDeadline};

use super::bindings::{flat, typed};
use super::engine::Ticker;
use super::fault::FailedCall;
use super::host::LoadedWorld;
use super::state::{Given, GuestState};
use super::surroundings::Surrounded;
use crate::ids::PartitionIndex;
use crate::plugin::{
    FaultReason, GiveWay, InputBatch, InputRecord, InstanceOptions, Limits, NewOutput, OutputBatch,
    OutputBuilder, PluginError, PluginKind, ProcessFault, ProcessorInstance, Surroundings, TimerDomain,
};

use flat::exports::tidemill::plugin::flat_processor;
use flat::tidemill::plugin::timers;
use typed::exports::tidemill::plugin::typed_processor;
use typed::tidemill::plugin::types::{Fault, HeaderParam};

/// What host calls may copy besides a batch's output: log lines, config values.
pub(super) const SMALL_COPIES_BYTES_MAX: usize = 1 << 20;
/// How much larger typed records are in this process's memory than in the flat layout, at most.
pub(super) const TYPED_EXPANSION: usize = 8;

/// A guest of any kind with its memory. Its parts go away with the first fatal fault.
pub(super) struct Instance<G> {
    pub(super) alive: Option<Alive<G>>,
    pub(super) ticker: Arc<Ticker>,
    pub(super) limits: Limits,
    /// The flat input's bytes, kept for the next call.
    pub(super) input: Vec<u8>,
}

pub(super) struct Alive<G> {
    pub(super) store: Store<GuestState>,
    pub(super) guest: G,
}

impl<G> Instance<G> {
    pub(super) fn new(
        store: Store<GuestState>,
        guest: G,
        ticker: Arc<Ticker>,
        limits: Limits,
    ) -> Instance<G> {
        Instance { alive: Some(Alive { store, guest }), ticker, limits, input: Vec::new() }
    }

    /// One call for a batch, on this thread. A guest that is not to be trusted after it goes away.
    pub(super) fn call<T>(
        &mut self,
        batch: &InputBatch,
        call: impl FnOnce(&mut Alive<G>, &mut Vec<u8>, &Limits) -> Result<T, ProcessFault>,
    ) -> Result<T, ProcessFault> {
        // Taken out for the call: a host that panics in the middle leaves no half-run guest behind.
        let mut alive = self.alive.take().ok_or(ProcessFault::Dead)?;
        if let Err(too_large) = check_input_size(batch, &self.limits) {
            self.alive = Some(alive);
            return Err(too_large);
        }
        alive.forget_earlier_calls();
        begin_call(&mut alive.store, self.limits.batch_time_max);
        let running = self.ticker.call();
        let answer = call(&mut alive, &mut self.input, &self.limits);
        drop(running);
        if answer.as_ref().err().is_none_or(ProcessFault::instance_survives) {
            self.alive = Some(alive);
        } else {
            self.input = Vec::new();
        }
        answer
    }
}

impl<G> Alive<G> {
    /// What an earlier call left behind does not explain the next one's faults.
    pub(super) fn forget_earlier_calls(&mut self) {
        let state = self.store.data_mut();
        state.take_memory_refused();
        state.log.take_complaint();
    }
}

pub(super) enum Guest {
    Flat(flat::ProcessorFlat),
    Typed(typed::ProcessorTyped),
}

/// Makes an instance and runs its `init`.
pub(super) fn start(
    engine: &Engine,
    ticker: Arc<Ticker>,
    pre: &LoadedWorld,
    options: &InstanceOptions,
) -> Result<Instance<Guest>, PluginError> {
    let given = Given {
        limits: &options.limits,
        config: &options.config,
        log: &options.log,
        counters: &options.counters,
    };
    let give_way = options.give_way.clone();
    start_blocking(engine, ticker, given, (PluginKind::Processor, give_way), |store| {
        init(store, pre, options)
    })
}

/// A call may run so long, and not longer than a slice at a time.
pub(super) fn begin_call(store: &mut Store<GuestState>, time_max: Duration) {
    store.data_mut().time.begin(time_max);
    store.set_epoch_deadline(1);
}

/// A guest with what its first function answered.
pub(super) type Started<G> = Result<(G, Result<(), String>), StartError>;

/// Makes an instance that is called on a thread of its own; `first` instantiates the guest and calls its first function.
pub(super) fn start_blocking<G>(
    engine: &Engine,
    ticker: Arc<Ticker>,
    given: Given<'_>,
    (kind, give_way): (PluginKind, GiveWay),
    first: impl FnOnce(&mut Store<GuestState>) -> Started<G>,
) -> Result<Instance<G>, PluginError> {
    let limits = *given.limits;
    let mut store = Store::new(engine, GuestState::new(given));
    store.limiter(GuestState::limiter);
    store.epoch_deadline_callback(move |mut store| match store.data_mut().time.end_slice() {
        Some(begin_next) => {
            give_way.now();
            begin_next();
            Ok(UpdateDeadline::Continue(1))
        }
        None => Ok(UpdateDeadline::Interrupt),
    });
    begin_call(&mut store, limits.init_time_max);
    let running = ticker.call();
    store.set_hostcall_fuel(SMALL_COPIES_BYTES_MAX);
    let answer = first(&mut store);
    drop(running);
    started(answer, store, ticker, limits, kind)
}

/// The instance, or why there is none.
pub(super) fn started<G>(
    answer: Started<G>,
    mut store: Store<GuestState>,
    ticker: Arc<Ticker>,
    limits: Limits,
    kind: PluginKind,
) -> Result<Instance<G>, PluginError> {
    match answer {
        Ok((guest, Ok(()))) => Ok(Instance::new(store, guest, ticker, limits)),
        Ok((_, Err(refusal))) => Err(PluginError::InitRefused(refusal)),
        Err(StartError::Instantiate(error)) => Err(instantiation_failed(store.data_mut(), &error, &limits)),
        Err(StartError::Init(error)) => {
            let failed = failed_call(store.data_mut(), error, &limits, limits.init_time_max);
            Err(PluginError::InitFailed(failed.fault()))
        }
        Err(StartError::WrongKind) => Err(PluginError::WrongKind { wanted: kind }),
    }
}

pub(super) enum StartError {
    Instantiate(wasmtime::Error),
    Init(wasmtime::Error),
    /// The module is of another kind.
    WrongKind,
}

fn init(store: &mut Store<GuestState>, pre: &LoadedWorld, options: &InstanceOptions) -> Started<Guest> {
    let context = &options.context;
    let partition = context.partition.value().unsigned_abs();
    match pre {
        LoadedWorld::Flat(pre) => {
            let guest = pre.instantiate(&mut *store).map_err(StartError::Instantiate)?;
            let context = flat_processor::Context {
                processor: context.processor.clone(),
                topic: context.topic.as_str().to_owned(),
                partition,
            };
            let answer = guest.tidemill_plugin_flat_processor().call_init(&mut *store, &context);
            Ok((Guest::Flat(guest), answer.map_err(StartError::Init)?))
        }
        LoadedWorld::Typed(pre) => {
            let guest = pre.instantiate(&mut *store).map_err(StartError::Instantiate)?;
            let context = typed_processor::Context {
                processor: &context.processor,
                topic: context.topic.as_str(),
                partition,
            };
            let answer = guest.tidemill_plugin_typed_processor().call_init(&mut *store, context);
            Ok((Guest::Typed(guest), answer.map_err(StartError::Init)?))
        }
        LoadedWorld::FlatInterceptor(_)
        | LoadedWorld::TypedInterceptor(_)
        | LoadedWorld::FlatPartitioner(_)
        | LoadedWorld::TypedPartitioner(_) => Err(StartError::WrongKind),
    }
}

fn instantiation_failed(state: &mut GuestState, error: &wasmtime::Error, limits: &Limits) -> PluginError {
    if state.take_memory_refused() {
        let bytes_max = limits.memory_bytes_max;
        return PluginError::Instantiate(format!(
            "it needs more than its {bytes_max} bytes of memory to start"
        ));
    }
    PluginError::Instantiate(format!("{error:#}"))
}

/// The fault of a call that ended in the engine's error, within the time of a batch.
pub(super) fn call_fault(
    store: &mut Store<GuestState>,
    error: wasmtime::Error,
    limits: &Limits,
) -> ProcessFault {
    failed_call(store.data_mut(), error, limits, limits.batch_time_max).fault()
}

fn failed_call(
    state: &mut GuestState,
    error: wasmtime::Error,
    limits: &Limits,
    time_max: Duration,
) -> FailedCall {
    FailedCall {
        error,
        memory_refused: state.take_memory_refused(),
        complaint: state.log.take_complaint(),
        time_max,
        memory_bytes_max: limits.memory_bytes_max,
        output_bytes_max: limits.output_bytes_max,
    }
}

impl ProcessorInstance for Instance<Guest> {
    fn process(
        &mut self,
        batch: &InputBatch,
        surroundings: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault> {
        self.call(batch, |Alive { store, guest }, input, limits| {
            let surrounded = Surrounded::enter(store, surroundings);
            match guest {
                Guest::Flat(guest) => {
                    batch.write_flat(input);
                    call_flat(surrounded.store, batch, limits, |store| {
                        guest.tidemill_plugin_flat_processor().call_process(store, input)
                    })
                }
                Guest::Typed(guest) => call_typed(surrounded.store, guest, batch, limits),
            }
        })
    }

    fn on_timers(
        &mut self,
        domain: TimerDomain,
        due: &InputBatch,
        surroundings: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault> {
        self.call(due, |Alive { store, guest }, input, limits| {
            let surrounded = Surrounded::enter(store, surroundings);
            match guest {
                Guest::Flat(guest) => {
                    due.write_flat(input);
                    let domain = domain_to(domain);
                    call_flat(surrounded.store, due, limits, |store| {
                        guest.tidemill_plugin_flat_processor().call_on_timers(store, domain, input)
                    })
                }
                Guest::Typed(guest) => fire_typed(surrounded.store, guest, domain, due, limits),
            }
        })
    }

    fn memory_bytes(&self) -> u64 {
        self.alive.as_ref().map_or(0, |alive| alive.store.data().memory_bytes())
    }
}

fn domain_to(domain: TimerDomain) -> timers::Domain {
    match domain {
        TimerDomain::Event => timers::Domain::EventTime,
        TimerDomain::Processing => timers::Domain::ProcessingTime,
    }
}

fn call_flat(
    store: &mut Store<GuestState>,
    batch: &InputBatch,
    limits: &Limits,
    call: impl FnOnce(&mut Store<GuestState>) -> wasmtime::Result<Result<Vec<u8>, flat_processor::Fault>>,
) -> Result<OutputBatch, ProcessFault> {
    store.set_hostcall_fuel(limits.output_bytes_max.saturating_add(SMALL_COPIES_BYTES_MAX));
    match call(store) {
        Ok(Ok(output)) => {
            check_output_size(output.len(), limits)?;
            OutputBatch::check(Bytes::from(output), batch.record_count())
                .map_err(|bad| ProcessFault::BadOutput(bad.0))
        }
        Ok(Err(fault)) => {
            use flat::tidemill::plugin::types::FaultReason as Guest;
            let reason = match fault.reason {
                Guest::Reject => FaultReason::Reject,
                Guest::Retry => FaultReason::Retry,
                Guest::Fatal => FaultReason::Fatal,
            };
            Err(record_fault(fault.index, reason, fault.message, batch))
        }
        Err(error) => Err(call_fault(store, error, limits)),
    }
}

fn call_typed(
    store: &mut Store<GuestState>,
    guest: &typed::ProcessorTyped,
    batch: &InputBatch,
    limits: &Limits,
) -> Result<OutputBatch, ProcessFault> {
    let records = input_records(batch)?;
    let headers = input_headers(&records);
    let input = lend(&records, &headers, |record, headers| typed_processor::RecordIn {
        offset: record.offset.value().unsigned_abs(),
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers,
    });
    let source = typed_processor::Source {
        topic: batch.topic.as_str(),
        partition: batch.partition.value().unsigned_abs(),
        attempt: batch.attempt,
    };
    store.set_hostcall_fuel(typed_fuel(limits));
    let answer = guest.tidemill_plugin_typed_processor().call_process(&mut *store, source, &input);
    typed_answer(store, answer, batch, limits)
}

/// Timers that are due, for a typed world.
fn fire_typed(
    store: &mut Store<GuestState>,
    guest: &typed::ProcessorTyped,
    domain: TimerDomain,
    due: &InputBatch,
    limits: &Limits,
) -> Result<OutputBatch, ProcessFault> {
    let records = input_records(due)?;
    let timers = records.iter().map(|record| typed_processor::Timer {
        id: record.key.unwrap_or_default(),
        at: record.timestamp,
        payload: record.value.unwrap_or_default(),
    });
    let timers: Vec<_> = timers.collect();
    store.set_hostcall_fuel(typed_fuel(limits));
    let guest = guest.tidemill_plugin_typed_processor();
    let answer = guest.call_on_timers(&mut *store, domain_to(domain), due.attempt, &timers);
    typed_answer(store, answer, due, limits)
}

fn typed_fuel(limits: &Limits) -> usize {
    limits.output_bytes_max.saturating_mul(TYPED_EXPANSION).saturating_add(SMALL_COPIES_BYTES_MAX)
}

type TypedAnswer = wasmtime::Result<Result<Vec<typed_processor::RecordOut>, Fault>>;

fn typed_answer(
    store: &mut Store<GuestState>,
    answer: TypedAnswer,
    batch: &InputBatch,
    limits: &Limits,
) -> Result<OutputBatch, ProcessFault> {
    match answer {
        Ok(Ok(output)) => typed_output(&output, batch.record_count(), limits),
        Ok(Err(fault)) => Err(guest_fault(fault, batch)),
        Err(error) => Err(call_fault(store, error, limits)),
    }
}

/// The records of a batch one by one, for a typed world.
pub(super) fn input_records(batch: &InputBatch) -> Result<Vec<InputRecord<'_>>, ProcessFault> {
    batch.records().collect::<Result<_, _>>().map_err(|bad| ProcessFault::BadInput(bad.to_string()))
}

/// All records' headers in one run, of which `lend` gives each record its part.
pub(super) fn input_headers<'a>(records: &[InputRecord<'a>]) -> Vec<HeaderParam<'a>> {
    let headers = records.iter().flat_map(|record| record.headers.iter());
    headers.map(|(key, value)| HeaderParam { key, value }).collect()
}

/// Makes a typed world's records of a batch's, each with its part of the headers.
pub(super) fn lend<'a, T>(
    records: &[InputRecord<'a>],
    mut headers: &'a [HeaderParam<'a>],
    typed: impl Fn(&InputRecord<'a>, &'a [HeaderParam<'a>]) -> T,
) -> Vec<T> {
    let lend = |record: &InputRecord<'a>| {
        let count = record.headers.count as usize;
        let (own, rest) = headers.split_at_checked(count).unwrap_or((headers, &[]));
        headers = rest;
        typed(record, own)
    };
    records.iter().map(lend).collect()
}

fn typed_output(
    records: &[typed_processor::RecordOut],
    source_records: u32,
    limits: &Limits,
) -> Result<OutputBatch, ProcessFault> {
    let mut builder = OutputBuilder::new();
    let mut headers = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let bad = |what: &str| ProcessFault::BadOutput(format!("output record {index}: {what}"));
        let partition = record.partition.map(|partition| {
            i32::try_from(partition)
                .ok()
                .and_then(PartitionIndex::from_wire)
                .ok_or_else(|| bad("its partition is too large"))
        });
        if record.timestamp.is_some_and(|timestamp| timestamp < 0) {
            return Err(bad("its timestamp is negative"));
        }
        headers.clear();
        headers.extend(record.headers.iter().map(|header| (header.key.as_str(), header.value.as_deref())));
        builder.push(NewOutput {
            topic: &record.topic,
            partition: partition.transpose()?,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
            source_index: record.source,
        });
        check_output_size(builder.len_bytes(), limits)?;
    }
    builder.build(source_records).map_err(|bad| ProcessFault::BadOutput(bad.0))
}

pub(super) fn check_input_size(batch: &InputBatch, limits: &Limits) -> Result<(), ProcessFault> {
    let (bytes, bytes_max) = (batch.flat_bytes() as u64, limits.memory_bytes_max as u64);
    if bytes > bytes_max {
        return Err(ProcessFault::InputTooLarge { bytes, bytes_max });
    }
    Ok(())
}

pub(super) fn check_output_size(bytes: usize, limits: &Limits) -> Result<(), ProcessFault> {
    if bytes > limits.output_bytes_max {
        return Err(ProcessFault::OutputTooLarge { bytes_max: limits.output_bytes_max as u64 });
    }
    Ok(())
}

/// What a guest says about a record, if it is one of the batch's.
pub(super) fn guest_fault(fault: Fault, batch: &InputBatch) -> ProcessFault {
    use typed::tidemill::plugin::types::FaultReason as Guest;
    let reason = match fault.reason {
        Guest::Reject => FaultReason::Reject,
        Guest::Retry => FaultReason::Retry,
        Guest::Fatal => FaultReason::Fatal,
    };
    record_fault(fault.index, reason, fault.message, batch)
}

fn record_fault(index: u32, reason: FaultReason, message: String, batch: &InputBatch) -> ProcessFault {
    let records = batch.record_count();
    if index >= records {
        return ProcessFault::BadOutput(format!("it blames record {index} of {records}: {message}"));
    }
    ProcessFault::Record { index, reason, message }
}
