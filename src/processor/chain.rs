//! The modules of a processor, one behind the other, in one call and one transaction, with no topic between.
//!
//! The first gets the span. Each of the others has a name that it reads, its pipe: what modules before it send there is
//! its input. All that goes anywhere else goes to topics. A failure, wherever, is one of the span's record that led to
//! it. Synchronous, for blocking threads.

use super::definition::ProcessorDefinition;
use super::engine::{CallError, Fault, fault, fault_of, panic_text, records_of};
use super::placement::input_to_place;
use super::span::Span;
use super::status::TaskBoard;
use crate::ids::{TopicName, TopicPartition};
use crate::plugin::{
    GiveWay, InputBatch, InstanceContext, InstanceOptions, LogLevel, LogLine, LogSink, LogSource,
    ModuleDigest, OutputBatch, OutputRecord, PluginHost, ProcessorInstance, Surroundings, TimerDomain,
};
use crate::wire::record_batch::{BatchBuilder, BatchOptions, RawRecord};
use std::sync::Arc;

/// The instances of a task.
pub(super) struct Chain {
    host: Arc<dyn PluginHost>,
    definition: Arc<ProcessorDefinition>,
    input: TopicPartition,
    log: LogSink,
    board: Arc<TaskBoard>,
    give_way: GiveWay,
    instances: Vec<Option<Box<dyn ProcessorInstance>>>,
}

/// What one module was given and gave.
struct Link {
    input: InputBatch,
    output: OutputBatch,
    /// The records of the span that those of the input come from; none if they are the span's.
    sources: Option<Vec<u32>>,
}

/// What all modules have given.
pub(super) struct Emitted<'a> {
    links: Vec<Link>,
    definition: &'a ProcessorDefinition,
}

impl Chain {
    /// Instances are made when they are first called.
    pub fn new(
        host: Arc<dyn PluginHost>,
        definition: Arc<ProcessorDefinition>,
        input: TopicPartition,
        log: LogSink,
        board: Arc<TaskBoard>,
        give_way: GiveWay,
    ) -> Chain {
        let instances = (0..=definition.then.len()).map(|_| None).collect();
        Chain { host, definition, input, log, board, give_way, instances }
    }

    /// Has the modules process the span.
    pub fn run(
        &mut self,
        span: &Span,
        from: &TopicPartition,
        attempt: u32,
        mut surroundings: Surroundings,
    ) -> Result<Emitted<'_>, CallError> {
        let input = span.input(from, attempt);
        let output = self.call(0, &input, &mut surroundings, span.timers().map(|(domain, _)| domain))?;
        let mut links = vec![Link { input, output, sources: None }];
        surroundings.state.end_timers();
        let definition = Arc::clone(&self.definition);
        for (number, stage) in (1..).zip(&definition.then) {
            let (builder, sources) = piped(&links, &stage.input).map_err(CallError::Fault)?;
            if sources.is_empty() {
                continue;
            }
            let batch = input_to_place(&TopicName::new(stage.input.as_str()), builder);
            let input = InputBatch { partition: self.input.partition, attempt, ..batch };
            // Other numbers than the modules before it got.
            surroundings.seed = surroundings.seed.rotate_left(17) ^ number;
            let called = self.call(usize::try_from(number).unwrap_or(0), &input, &mut surroundings, None);
            let output = called.map_err(|error| blame(error, number, &stage.module, &sources))?;
            links.push(Link { input, output, sources: Some(sources) });
        }
        Ok(Emitted { links, definition: &self.definition })
    }

    fn call(
        &mut self,
        number: usize,
        input: &InputBatch,
        surroundings: &mut Surroundings,
        timers: Option<TimerDomain>,
    ) -> Result<OutputBatch, CallError> {
        let mut instance = match self.instances.get_mut(number).and_then(Option::take) {
            Some(instance) => instance,
            None => self.instantiate(number, &input.topic)?,
        };
        // A host that panics is no better than a guest that traps.
        let call = std::panic::AssertUnwindSafe(|| match timers {
            None => instance.process(input, surroundings),
            Some(domain) => instance.on_timers(domain, input, surroundings),
        });
        let called = self.board.meters.time_guest(|| std::panic::catch_unwind(call));
        let called = called.map_err(|panic| CallError::Fault(fault("panic", panic_text(panic.as_ref()))))?;
        let is_kept = called.as_ref().err().is_none_or(|fault| fault.instance_survives())
            && !self.is_nearly_full(instance.as_ref());
        if is_kept && let Some(place) = self.instances.get_mut(number) {
            *place = Some(instance);
        }
        let memory = self.instances.iter().flatten().map(|instance| instance.memory_bytes()).sum();
        self.board.meters.set_guest_memory(memory);
        called.map_err(|fault| CallError::Fault(fault_of(fault)))
    }

    /// Whether an instance is better replaced before it runs out of memory, in the middle of a batch that is not to blame:
    /// linear memory never shrinks, and some languages' tools lose a little in each call.
    fn is_nearly_full(&self, instance: &dyn ProcessorInstance) -> bool {
        let (bytes, bytes_max) = (instance.memory_bytes(), self.definition.limits.memory_bytes);
        let is_nearly_full = bytes > bytes_max - bytes_max / 8;
        if is_nearly_full {
            let message = format!(
                "its memory is nearly full ({bytes} of {bytes_max} bytes): a new instance goes on; if this comes often, \
                 give it more by limits.memory_bytes"
            );
            let (level, source) = (LogLevel::Warn, LogSource::Log);
            self.log.send(LogLine { level, source, message, dropped_before: 0 });
        }
        is_nearly_full
    }

    fn instantiate(&self, number: usize, topic: &TopicName) -> Result<Box<dyn ProcessorInstance>, CallError> {
        let no_instance = |error: &dyn std::fmt::Display| CallError::NoInstance(error.to_string());
        let definition = &self.definition;
        let stage = number.checked_sub(1).and_then(|behind_first| definition.then.get(behind_first));
        let (module, config) =
            stage.map_or((&definition.module, &definition.config), |stage| (&stage.module, &stage.config));
        let digest: ModuleDigest = module.parse().map_err(|error| no_instance(&error))?;
        let context = InstanceContext {
            processor: definition.name.clone(),
            topic: topic.clone(),
            partition: self.input.partition,
        };
        let limits = definition.limits.of_instance();
        let config = config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let (log, counters) = (self.log.clone(), self.board.processor.own.sink());
        let give_way = self.give_way.clone();
        self.host
            .instantiate(&digest, InstanceOptions { limits, config, context, log, counters, give_way })
            .map_err(|error| no_instance(&error))
    }
}

impl Emitted<'_> {
    /// What goes to topics, with the records of the span that it comes from.
    pub fn for_topics(&self) -> Result<Vec<(OutputRecord<'_>, RawRecord<'_>)>, Fault> {
        let mut all = Vec::with_capacity(self.links.iter().map(|link| link.output.len()).sum());
        for link in &self.links {
            let records = records_of(&link.input, &link.output)?;
            for (output, record) in link.output.iter().zip(records) {
                let is_piped = self.definition.then.iter().any(|stage| stage.input == output.topic);
                if !is_piped {
                    let source_index = link.source_of(output.source_index);
                    all.push((OutputRecord { source_index, ..output }, record));
                }
            }
        }
        Ok(all)
    }
}

impl Link {
    /// The span's record that a record of the input comes from.
    fn source_of(&self, index: u32) -> u32 {
        self.sources.as_ref().map_or(index, |sources| source_in(sources, index).unwrap_or(index))
    }
}

fn source_in(sources: &[u32], index: u32) -> Option<u32> {
    sources.get(usize::try_from(index).ok()?).copied()
}

/// What was sent to a pipe, with the records of the span that it comes from.
fn piped(links: &[Link], pipe: &str) -> Result<(BatchBuilder, Vec<u32>), Fault> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut sources = Vec::new();
    for link in links {
        if link.output.topics().all(|topic| topic != pipe) {
            continue;
        }
        for (output, record) in link.output.iter().zip(records_of(&link.input, &link.output)?) {
            if output.topic == pipe {
                builder.append_raw_body(record);
                sources.push(link.source_of(output.source_index));
            }
        }
    }
    Ok((builder, sources))
}

/// A failure of a module behind the first: the record of the span that led to it is to blame.
fn blame(error: CallError, number: u64, module: &str, sources: &[u32]) -> CallError {
    match error {
        CallError::Fault(fault) => {
            let short = module.get(..12).unwrap_or(module);
            let message = format!("module {} of the chain ({short}): {}", number + 1, fault.message);
            let index = fault.index.and_then(|index| source_in(sources, index));
            // Where the module names no record, it is found by halving the span.
            CallError::Fault(Fault { index, message, ..fault })
        }
        CallError::NoInstance(cause) => {
            CallError::NoInstance(format!("module {} of the chain: {cause}", number + 1))
        }
    }
}
