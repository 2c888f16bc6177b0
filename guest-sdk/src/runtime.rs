//! What the macros call: holds the one processor of an instance, and turns batches into calls per record.

use std::any::Any;
use std::cell::RefCell;

use crate::bindings::{flat, typed};
use crate::input::{Headers, HeadersFrom};
use crate::{Context, Error, Output, Processor, Reason, Record, input};

struct Running {
    processor: Box<dyn Any>,
    output: Output,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// A record's index in its batch, and why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub(crate) index: u32,
    pub(crate) error: Error,
}

/// Makes the instance's processor.
pub fn init<P: Processor>(context: Context) -> Result<(), String> {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| log(crate::Level::Error, &panic.to_string())));
    let processor = P::init(&context).map_err(|error| error.message)?;
    let running = Running { processor: Box::new(processor), output: Output::default() };
    RUNNING.with(|slot| *slot.borrow_mut() = Some(running));
    Ok(())
}

fn with_processor<P: Processor, T>(
    call: impl FnOnce(&mut P, &mut Output) -> Result<T, Failed>,
) -> Result<T, Failed> {
    RUNNING.with(|slot| {
        let mut slot = slot.borrow_mut();
        let running = slot.as_mut().and_then(|running| {
            let Running { processor, output } = running;
            Some((processor.downcast_mut::<P>()?, output))
        });
        let (processor, output) =
            running.ok_or_else(|| Failed { index: 0, error: Error::fatal("process came before init") })?;
        output.clear();
        call(processor, output)
    })
}

/// One flat batch.
pub fn process_flat<P: Processor>(batch: &[u8]) -> Result<Vec<u8>, Failed> {
    with_processor::<P, _>(|processor, output| {
        let result = input::for_each_flat(batch, |index, record| {
            output.source_index = index;
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

#[cfg(target_family = "wasm")]
mod host {
    //! Both worlds import the same two interfaces, so either world's bindings will do.
    use crate::Level;
    use crate::bindings::flat_world::tidemill::plugin::{config, log};

    pub fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message);
    }

    pub fn config(key: &str) -> Option<String> {
        config::get(key)
    }
}

#[cfg(not(target_family = "wasm"))]
mod host {
    use crate::Level;

    pub fn log(level: Level, message: &str) {
        eprintln!("{level:?} {message}");
    }

    pub fn config(key: &str) -> Option<String> {
        crate::testing::config_of_this_thread(key)
    }
}

pub(crate) use host::{config, log};
