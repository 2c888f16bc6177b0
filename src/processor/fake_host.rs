//! A plugin host whose modules are written in Rust, for tests: what a record's value begins with
//! says what the module does with it. Never shipped.

use crate::ids::{PartitionIndex, TopicName};
use crate::interceptor::fake::{self, Seen};
use crate::plugin::{
    FaultReason, InputBatch, InputRecord, InstanceOptions, InterceptorInstance, InterceptorOptions, LogLevel,
    LogLine, LogSource, ModuleDescription, ModuleDigest, NewOutput, OutputBatch, OutputBuilder,
    PartitionerInstance, PartitionerOptions, PluginError, PluginHost, ProcessFault, ProcessorInstance,
    StateError, Surroundings, TimerDomain, World, check_choices,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Keeps modules: those whose bytes begin with `interceptor` intercept, with `partitioner` partition, all others do the same: echo, unless a record says otherwise.
///
/// `poison` is rejected, `trap` traps, `panic` panics the host, `fatal` stops the task, `flaky` fails
/// at its first try, `drop` gives nothing, `big` gives 2 MB, `to TOPIC TEXT` goes to another topic,
/// `at PARTITION` goes to that partition, `say TEXT` logs, `own COUNTER` adds 1 to that counter of the module's own, `count WORD` adds 1 to the word's counter in the store `counts`
/// and writes `WORD=N`, `count-poison WORD` does so and is then rejected, `timer DOMAIN ID AT PAYLOAD` sets a timer,
/// `cancel DOMAIN ID` takes one away, `ambient` writes the clocks, the seed and the attempt, `never` fails at each try, `hoard MB`
/// takes memory, `many N` is written so often.
pub(crate) struct FakeHost {
    modules: Mutex<BTreeMap<ModuleDigest, ModuleDescription>>,
    /// How many records have been processed, failed calls included.
    pub processed: Arc<watch::Sender<usize>>,
    /// How often records have failed that never do anything else.
    pub tries: Arc<AtomicUsize>,
    /// How many processors' instances there ever were.
    pub instances: Arc<AtomicUsize>,
    /// How many partitioners have said their last words.
    pub partitioners_closed: Arc<AtomicUsize>,
    /// What interceptors have seen.
    pub intercepted: Arc<Seen>,
}

impl FakeHost {
    pub fn new() -> FakeHost {
        FakeHost {
            modules: Mutex::default(),
            processed: Arc::new(watch::Sender::new(0)),
            tries: Arc::default(),
            instances: Arc::default(),
            partitioners_closed: Arc::default(),
            intercepted: Arc::default(),
        }
    }
}

impl PluginHost for FakeHost {
    fn compile(&self, module: &[u8]) -> Result<ModuleDescription, PluginError> {
        if module.starts_with(b"not wasm") {
            return Err(PluginError::NotWebAssembly { found: "text".into() });
        }
        let description = ModuleDescription {
            digest: ModuleDigest::of(module),
            world: if module.starts_with(b"interceptor") {
                World::InterceptorFlat
            } else if module.starts_with(b"partitioner") {
                World::PartitionerFlat
            } else {
                World::ProcessorFlat
            },
            contract_version: "0.1.0".into(),
            imports: vec![],
            exports: vec![],
            module_bytes: u64::try_from(module.len()).unwrap(),
            compiled_bytes: 1,
            compile_ms: 1,
        };
        self.modules.lock().insert(description.digest, description.clone());
        Ok(description)
    }

    fn load(&self, digest: &ModuleDigest) -> Result<(), PluginError> {
        self.describe(digest).map(|_| ())
    }

    fn describe(&self, digest: &ModuleDigest) -> Result<ModuleDescription, PluginError> {
        self.modules.lock().get(digest).cloned().ok_or(PluginError::NotFound(*digest))
    }

    fn list(&self) -> Result<Vec<ModuleDescription>, PluginError> {
        Ok(self.modules.lock().values().cloned().collect())
    }

    fn remove(&self, digest: &ModuleDigest) -> Result<(), PluginError> {
        self.modules.lock().remove(digest).map(|_| ()).ok_or(PluginError::NotFound(*digest))
    }

    fn instantiate(
        &self,
        digest: &ModuleDigest,
        options: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError> {
        self.describe(digest)?;
        self.instances.fetch_add(1, Ordering::SeqCst);
        let output = options.config.iter().find(|(key, _)| key == "output");
        let output = output.map_or("out".to_owned(), |(_, topic)| topic.clone());
        Ok(Box::new(FakeInstance {
            options,
            output,
            dead: false,
            processed: self.processed.clone(),
            tries: self.tries.clone(),
            memory_bytes: 64 << 10,
        }))
    }

    fn instantiate_partitioner(
        &self,
        digest: &ModuleDigest,
        options: PartitionerOptions,
    ) -> Result<Box<dyn PartitionerInstance>, PluginError> {
        self.describe(digest)?;
        let offset = options.config.iter().find(|(key, _)| key == "offset");
        let offset = offset.map_or(Ok(0), |(_, offset)| offset.parse());
        let offset = offset.map_err(|_| PluginError::InitRefused("offset is no number".into()))?;
        Ok(Box::new(FakePartitioner { offset, closed: self.partitioners_closed.clone() }))
    }

    fn instantiate_interceptor<'a>(
        &'a self,
        digest: &'a ModuleDigest,
        options: InterceptorOptions,
    ) -> BoxFuture<'a, Result<Box<dyn InterceptorInstance>, PluginError>> {
        let made = self.describe(digest).and_then(|_| fake::instantiate(options, &self.intercepted));
        Box::pin(std::future::ready(made))
    }
}

/// Chooses the partition that a record's value begins with, plus the config's `offset`; without a number partition 0.
/// `poison` is a record fault, `trap` traps, `panic` panics the host.
struct FakePartitioner {
    offset: u32,
    closed: Arc<AtomicUsize>,
}

impl PartitionerInstance for FakePartitioner {
    fn partition(
        &mut self,
        _: &TopicName,
        partitions: u32,
        batch: &InputBatch,
    ) -> Result<Vec<PartitionIndex>, ProcessFault> {
        let mut choices = Vec::new();
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            match value.split(' ').next().unwrap_or_default() {
                "poison" => {
                    let message = format!("{value} has no place");
                    return Err(ProcessFault::Record {
                        index: record.index,
                        reason: FaultReason::Reject,
                        message,
                    });
                }
                "trap" => return Err(ProcessFault::Trap { message: "unreachable".into(), function: None }),
                "panic" => panic!("the host has a bug"),
                number => choices.push(number.parse::<u32>().unwrap_or(0) + self.offset),
            }
        }
        check_choices(&choices, partitions, batch.record_count())
            .map_err(|bad| ProcessFault::BadOutput(bad.0))
    }

    fn close(self: Box<Self>) -> Result<(), ProcessFault> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A timer writes its payload, which may be `poison TEXT` (rejected), `never` (fails each time), `trap`, `big` (2 MB), or
/// `then DOMAIN ID AT PAYLOAD`: sets another.
struct FakeInstance {
    options: InstanceOptions,
    output: String,
    dead: bool,
    processed: Arc<watch::Sender<usize>>,
    tries: Arc<AtomicUsize>,
    memory_bytes: u64,
}

impl ProcessorInstance for FakeInstance {
    fn process(
        &mut self,
        batch: &InputBatch,
        surroundings: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault> {
        if self.dead {
            return Err(ProcessFault::Dead);
        }
        let mut out = OutputBuilder::new();
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            let fault = |reason| ProcessFault::Record {
                index: record.index,
                reason,
                message: format!("cannot take {value}"),
            };
            let (word, rest) = value.split_once(' ').unwrap_or((&value, ""));
            let mut new = echo(&record, &self.output);
            match word {
                "poison" => return Err(fault(FaultReason::Reject)),
                "fatal" => return Err(fault(FaultReason::Fatal)),
                "flaky" if batch.attempt == 0 => return Err(fault(FaultReason::Retry)),
                "trap" => return Err(self.trap()),
                "panic" => panic!("the host has a bug"),
                "drop" => {}
                "big" => out.push(NewOutput { value: Some(&vec![b'x'; 2 << 20]), ..new }),
                "to" => {
                    let (topic, text) = rest.split_once(' ').unwrap();
                    out.push(NewOutput { topic, value: Some(text.as_bytes()), ..new });
                }
                "at" => {
                    new.partition = PartitionIndex::from_wire(rest.parse().unwrap());
                    out.push(new);
                }
                "count" | "count-poison" => {
                    let counted = count(surroundings, rest).map_err(ProcessFault::State)?;
                    if word == "count-poison" {
                        return Err(fault(FaultReason::Reject));
                    }
                    let text = format!("{rest}={counted}");
                    out.push(NewOutput { value: Some(text.as_bytes()), ..new });
                }
                "many" => {
                    (0..rest.parse::<u32>().unwrap()).for_each(|_| out.push(echo(&record, &self.output)))
                }
                "hoard" => self.memory_bytes += rest.parse::<u64>().unwrap() << 20,
                "never" => {
                    self.tries.fetch_add(1, Ordering::SeqCst);
                    return Err(fault(FaultReason::Retry));
                }
                "timer" => set_timer(surroundings, rest).map_err(ProcessFault::State)?,
                "cancel" | "ambient" => {
                    let text = match word {
                        "cancel" => cancel_timer(surroundings, rest).map_err(ProcessFault::State)?,
                        _ => ambient(surroundings, batch.attempt),
                    };
                    out.push(NewOutput { value: Some(text.as_bytes()), ..new });
                }
                "say" => say(&self.options, rest),
                "own" => self.options.counters.add(rest, 1),
                _ => out.push(new),
            }
        }
        let count = batch.record_count();
        self.processed.send_modify(|sum| *sum += usize::try_from(count).unwrap());
        out.build(count).map_err(|bad| ProcessFault::BadOutput(bad.0))
    }

    fn on_timers(
        &mut self,
        domain: TimerDomain,
        due: &InputBatch,
        surroundings: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault> {
        if self.dead {
            return Err(ProcessFault::Dead);
        }
        let mut out = OutputBuilder::new();
        for timer in due.records() {
            let timer = timer.unwrap();
            let payload = String::from_utf8(timer.value.unwrap().to_vec()).unwrap();
            let id = String::from_utf8(timer.key.unwrap().to_vec()).unwrap();
            let (word, rest) = payload.split_once(' ').unwrap_or((&payload, ""));
            let text = match word {
                "poison" => {
                    let message = format!("cannot fire {id}");
                    let (index, reason) = (timer.index, FaultReason::Reject);
                    return Err(ProcessFault::Record { index, reason, message });
                }
                "never" => {
                    self.tries.fetch_add(1, Ordering::SeqCst);
                    let message = format!("{id} never fires");
                    let (index, reason) = (timer.index, FaultReason::Retry);
                    return Err(ProcessFault::Record { index, reason, message });
                }
                "trap" => return Err(self.trap()),
                "then" => {
                    set_timer(surroundings, rest).map_err(ProcessFault::State)?;
                    format!("{} {id} set another", domain.name())
                }
                "big" => "x".repeat(2 << 20),
                _ => format!("{} {id}@{} {payload}", domain.name(), timer.timestamp),
            };
            let (topic, value) = (self.output.as_str(), Some(text.as_bytes()));
            out.push(NewOutput { topic, value, source_index: timer.index, ..NewOutput::default() });
        }
        out.build(due.record_count()).map_err(|bad| ProcessFault::BadOutput(bad.0))
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl FakeInstance {
    fn trap(&mut self) -> ProcessFault {
        self.dead = true;
        ProcessFault::Trap { message: "unreachable".into(), function: None }
    }
}

fn ambient(surroundings: &Surroundings, attempt: u32) -> String {
    let Surroundings { now, stream_time, seed, .. } = surroundings;
    format!("{now} {stream_time:?} {seed} {attempt}")
}

/// `DOMAIN ID AT PAYLOAD`, the domain being `event` or `processing`.
fn set_timer(surroundings: &mut Surroundings, text: &str) -> Result<(), StateError> {
    let mut parts = text.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let (domain, id, at, payload) = (next(), next(), next().parse().unwrap(), next());
    surroundings.state.set_timer(domain_of(domain), id.as_bytes(), at, payload.as_bytes())
}

fn say(options: &InstanceOptions, text: &str) {
    let (level, source) = (LogLevel::Info, LogSource::Log);
    options.log.send(LogLine { level, source, message: text.into(), dropped_before: 0 });
}

fn cancel_timer(surroundings: &mut Surroundings, text: &str) -> Result<String, StateError> {
    let (domain, id) = text.split_once(' ').unwrap();
    let cancelled = surroundings.state.cancel_timer(domain_of(domain), id.as_bytes())?;
    Ok(format!("{id} cancelled: {cancelled}"))
}

fn echo<'a>(record: &InputRecord<'a>, topic: &'a str) -> NewOutput<'a> {
    NewOutput {
        topic,
        key: record.key,
        value: record.value,
        source_index: record.index,
        ..NewOutput::default()
    }
}

fn domain_of(text: &str) -> TimerDomain {
    match text {
        "event" => TimerDomain::Event,
        "processing" => TimerDomain::Processing,
        other => panic!("no such domain: {other}"),
    }
}

fn count(surroundings: &mut Surroundings, word: &str) -> Result<i64, StateError> {
    let state = &mut surroundings.state;
    let counts = state.open("counts")?;
    state.add(counts, word.as_bytes(), 1)
}
