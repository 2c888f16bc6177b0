//! Batches for a processor.

use crate::bindings::{flat, typed};
use crate::input::{Headers, HeadersFrom};
use crate::timers::{Timer, TimerDomain};
use crate::{Context, Error, Output, Processor, Reason, Record, clock, input, runtime};

struct Running<P> {
    processor: P,
    output: Output,
}

/// A record's index in its batch, and why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub(crate) index: u32,
    pub(crate) error: Error,
}

/// Makes the instance's processor.
pub fn init<P: Processor>(context: Context) -> Result<(), String> {
    runtime::prepare();
    let processor = P::init(&context).map_err(|error| error.message)?;
    runtime::start(Running { processor, output: Output::default() });
    Ok(())
}

fn with_processor<P: Processor, T>(
    call: impl FnOnce(&mut P, &mut Output) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let called = runtime::with_running(|Running { processor, output }| {
        output.clear();
        clock::begin_call();
        call(processor, output)
    });
    called.unwrap_or_else(|| Err(Failed { index: 0, error: Error::fatal("process came before init") }))
}

/// One flat batch.
pub fn process_flat<P: Processor>(batch: &[u8]) -> Result<Vec<u8>, Failed> {
    with_processor::<P, _>(|processor, output| {
        let result = input::for_each_flat(batch, |index, record| {
            output.source_index = index;
            clock::saw(record.timestamp);
            processor.process(record, output).map_err(|error| Failed { index, error })
        });
        result.map_err(|message| Failed { index: 0, error: Error::fatal(message) })??;
        Ok(output.take_flat())
    })
}

/// One typed batch.
pub fn process_typed<P: Processor>(
    source: &typed::Source,
    batch: &[typed::RecordIn],
) -> Result<Vec<typed::RecordOut>, Failed> {
    with_processor::<P, _>(|processor, output| {
        for (index, record) in (0..).zip(batch) {
            output.source_index = index;
            clock::saw(record.timestamp);
            let record = Record {
                topic: &source.topic,
                partition: source.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: Headers(HeadersFrom::Typed(&record.headers)),
                attempt: source.attempt,
            };
            processor.process(record, output).map_err(|error| Failed { index, error })?;
        }
        Ok(output.take_typed())
    })
}

/// Timers of a domain as one flat batch.
pub fn fire_flat<P: Processor>(domain: TimerDomain, batch: &[u8]) -> Result<Vec<u8>, Failed> {
    with_processor::<P, _>(|processor, output| {
        let result = input::for_each_flat(batch, |index, record| {
            output.source_index = index;
            processor.on_timer(timer_of(domain, &record), output).map_err(|error| Failed { index, error })
        });
        result.map_err(|message| Failed { index: 0, error: Error::fatal(message) })??;
        Ok(output.take_flat())
    })
}

/// A timer as it comes in a flat batch.
pub(crate) fn timer_of<'a>(domain: TimerDomain, record: &Record<'a>) -> Timer<'a> {
    let (id, payload) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
    Timer { domain, id, at: record.timestamp, payload, attempt: record.attempt }
}

/// Timers of a domain, typed.
pub fn fire_typed<P: Processor>(
    domain: TimerDomain,
    attempt: u32,
    due: &[typed::Timer],
) -> Result<Vec<typed::RecordOut>, Failed> {
    with_processor::<P, _>(|processor, output| {
        for (index, timer) in (0..).zip(due) {
            output.source_index = index;
            let typed::Timer { id, at, payload } = timer;
            let timer = Timer { domain, id, at: *at, payload, attempt };
            processor.on_timer(timer, output).map_err(|error| Failed { index, error })?;
        }
        Ok(output.take_typed())
    })
}

macro_rules! conversions {
    ($world:ident) => {
        impl From<Failed> for $world::Fault {
            fn from(failed: Failed) -> $world::Fault {
                let reason = match failed.error.reason {
                    Reason::Reject => $world::FaultReason::Reject,
                    Reason::Retry => $world::FaultReason::Retry,
                    Reason::Fatal => $world::FaultReason::Fatal,
                };
                $world::Fault { index: failed.index, reason, message: failed.error.message }
            }
        }

        impl From<$world::Context> for Context {
            fn from(context: $world::Context) -> Context {
                let $world::Context { processor, topic, partition } = context;
                Context { processor, topic, partition }
            }
        }
    };
}
conversions!(flat);
conversions!(typed);
