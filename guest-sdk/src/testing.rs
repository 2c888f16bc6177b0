//! Runs processors, interceptors and partitioners in ordinary unit tests, without a broker.
//!
//! ```
//! use tidemill_guest::testing::{self, TestRecord};
//! use tidemill_guest::{Context, Error, Output, Processor, Record};
//!
//! struct Copy;
//! impl Processor for Copy {
//!     fn init(_: &Context) -> Result<Self, Error> { Ok(Copy) }
//!     fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
//!         out.send("copy", record.key, record.value);
//!         Ok(())
//!     }
//! }
//!
//! let outputs = testing::run(&mut Copy, &[TestRecord::new("key", "value")]).unwrap();
//! assert_eq!(outputs[0].value_str(), "value");
//! ```
//!
//! A processor's stores, its stream time and its randomness go on from one batch to the next, as a task's do in the broker;
//! a batch that fails leaves nothing behind. [`in_call`] looks into stores from the test:
//!
//! ```
//! use tidemill_guest::testing::{self, TestRecord};
//! use tidemill_guest::{Context, Error, Output, Processor, Record, Store};
//!
//! struct Count(Store);
//! impl Processor for Count {
//!     fn init(_: &Context) -> Result<Self, Error> { Ok(Count(Store::open("counts"))) }
//!     fn process(&mut self, record: Record<'_>, _: &mut Output) -> Result<(), Error> {
//!         self.0.add(record.key_str()?, 1);
//!         Ok(())
//!     }
//! }
//!
//! let mut count = Count::init(&testing::context()).unwrap();
//! testing::run(&mut count, &[TestRecord::new("key", ())]).unwrap();
//! testing::run(&mut count, &[TestRecord::new("key", ()), TestRecord::new((), ())]).unwrap_err();
//! testing::run(&mut count, &[TestRecord::new("key", ())]).unwrap();
//! assert_eq!(testing::in_call(|| Store::open("counts").add("key", 0)), 2);
//! ```
//!
//! An interceptor is configured, and then judges batches:
//!
//! ```
//! use tidemill_guest::testing::{self, TestRecord, TestVerdict};
//! use tidemill_guest::{Attachment, Error, Interceptor, Origin, Record, Verdict};
//!
//! struct Stamp(String);
//! impl Interceptor for Stamp {
//!     fn configure(attachment: &Attachment) -> Result<Self, Error> { Ok(Stamp(attachment.name.clone())) }
//!     fn on_send(&mut self, _: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
//!         if record.value.is_some() {
//!             verdict.replace(record.key, record.value).headers_of(&record).header("by", &self.0);
//!         }
//!         tidemill_guest::count("sent", 1);
//!         Ok(())
//!     }
//! }
//!
//! let mut stamp = Stamp::configure(&testing::attachment()).unwrap();
//! let records = [TestRecord::new("key", "value"), TestRecord::new("key", ())];
//! let verdicts = testing::on_send(&mut stamp, &testing::origin(), &records).unwrap();
//! assert_eq!(verdicts[0].replaced().headers, [("by".to_owned(), Some(b"test".to_vec()))]);
//! assert_eq!(verdicts[1], TestVerdict::Keep);
//! assert_eq!(testing::counter("sent"), 2);
//! stamp.close();
//! ```
//!
//! A partitioner is configured, and then places batches in a topic of some name and size:
//!
//! ```
//! use tidemill_guest::testing::{self, TestRecord};
//! use tidemill_guest::{Error, Partitioner, Record, default_partition};
//!
//! struct TombstonesFirst;
//! impl Partitioner for TombstonesFirst {
//!     fn configure() -> Result<Self, Error> { Ok(TombstonesFirst) }
//!     fn partition(&mut self, _: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error> {
//!         if record.value.is_none() { Ok(0) } else { Ok(default_partition(&record, partitions)) }
//!     }
//! }
//!
//! let mut partitioner = TombstonesFirst::configure().unwrap();
//! let records = [TestRecord::new("abc", "value"), TestRecord::new("abc", ())];
//! assert_eq!(testing::partition(&mut partitioner, "topic", 4, &records).unwrap(), [3, 0]);
//! ```

mod interceptors;
mod partitioners;
mod surroundings;

pub use interceptors::{TestVerdict, attachment, on_consume, on_send, origin};
pub use partitioners::partition;
#[cfg(test)]
pub(crate) use surroundings::forget_stream_time;
pub(crate) use surroundings::{clock, random, state, timers};
pub use surroundings::{in_call, set_now, set_seed};

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::body::Field;
use crate::varint;
use crate::{Context, Error, Output, Processor, input, runtime};

thread_local! {
    static CONFIG: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
    static COUNTERS: RefCell<BTreeMap<String, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Sets what [`crate::config`] answers on this thread.
pub fn set_config(config: &[(&str, &str)]) {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    CONFIG.with(|slot| *slot.borrow_mut() = config);
}

pub(crate) fn config_of_this_thread(key: &str) -> Option<String> {
    CONFIG.with(|slot| slot.borrow().iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()))
}

/// What [`crate::count`] has counted on this thread: each of `cargo test`'s tests has its own.
pub fn counter(name: &str) -> u64 {
    COUNTERS.with(|counters| counters.borrow().get(name).copied().unwrap_or(0))
}

pub(crate) fn count_on_this_thread(name: &str, value: u64) {
    COUNTERS.with(|counters| {
        let mut counters = counters.borrow_mut();
        let sum = counters.entry(name.to_owned()).or_default();
        *sum = sum.wrapping_add(value);
    });
}

/// A context for `Processor::init`.
pub fn context() -> Context {
    Context { processor: "test".to_owned(), topic: "input".to_owned(), partition: 0 }
}

/// A header with its value.
pub type TestHeader = (String, Option<Vec<u8>>);

/// A record to put in, at its index as offset. For a processor it comes from the topic `input`, partition 0, unless
/// [`run_from`] says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRecord {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<TestHeader>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

impl TestRecord {
    /// A record without headers at time 0.
    pub fn new(key: impl Field, value: impl Field) -> TestRecord {
        let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
        TestRecord { key: owned(key.field()), value: owned(value.field()), ..TestRecord::default() }
    }

    /// The value as text; empty if there is none.
    pub fn value_str(&self) -> &str {
        text(self.value.as_deref())
    }

    /// The key as text; empty if there is none.
    pub fn key_str(&self) -> &str {
        text(self.key.as_deref())
    }
}

fn text(field: Option<&[u8]>) -> &str {
    std::str::from_utf8(field.unwrap_or_default()).expect("it is text")
}

/// A record that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutput {
    /// The topic that it goes to.
    pub topic: String,
    /// The partition, if one was chosen.
    pub partition: Option<u32>,
    /// The timestamp, if one was chosen.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<TestHeader>,
    /// The index of the record that it comes from.
    pub source: usize,
}

impl TestOutput {
    /// The value as text; empty if there is none.
    pub fn value_str(&self) -> &str {
        text(self.value.as_deref())
    }

    /// The key as text; empty if there is none.
    pub fn key_str(&self) -> &str {
        text(self.key.as_deref())
    }
}

/// Runs a batch through a processor, by the same encoding that the broker uses, and then fires the timers that are due,
/// as [`fire_timers`] does: their outputs come behind the batch's. An error comes with the index of the record that
/// it is about, and takes back what the batch has written to its stores.
///
/// Panics if a timer fails; call [`process`] and [`fire_timers`] to see it fail.
pub fn run<P: Processor>(
    processor: &mut P,
    records: &[TestRecord],
) -> Result<Vec<TestOutput>, (usize, Error)> {
    run_from(processor, "input", records)
}

/// The same with records of a topic, for a processor of several inputs.
pub fn run_from<P: Processor>(
    processor: &mut P,
    topic: &str,
    records: &[TestRecord],
) -> Result<Vec<TestOutput>, (usize, Error)> {
    let mut outputs = process_from(processor, topic, records)?;
    outputs.extend(fire_timers(processor).unwrap_or_else(|(timer, error)| {
        panic!("the timer number {timer} of those that are due failed: {error:?}")
    }));
    Ok(outputs)
}

/// Runs a batch through a processor and fires no timers.
pub fn process<P: Processor>(
    processor: &mut P,
    records: &[TestRecord],
) -> Result<Vec<TestOutput>, (usize, Error)> {
    process_from(processor, "input", records)
}

fn process_from<P: Processor>(
    processor: &mut P,
    topic: &str,
    records: &[TestRecord],
) -> Result<Vec<TestOutput>, (usize, Error)> {
    let mut output = Output::default();
    let flat = encode(topic, 0, records);
    surroundings::with_batch(records, || {
        crate::clock::begin_call();
        let result = input::for_each_flat(&flat, |index, record| {
            output.source_index = index;
            crate::clock::saw(record.timestamp);
            processor.process(record, &mut output).map_err(|error| (index as usize, error))
        });
        result.expect("the batch is well formed")
    })?;
    Ok(outputs_of(&mut output))
}

/// Fires the timers that are due until none is: those of event time by the records so far, those of processing time by
/// [`set_now`]. The source of an output is its timer's index within its call. An error comes with the index of
/// the timer that it is about; what is due stays so.
///
/// Panics if timers set others that are due at once, without end.
pub fn fire_timers<P: Processor>(processor: &mut P) -> Result<Vec<TestOutput>, (usize, Error)> {
    const ROUNDS_MAX: usize = 10_000;
    let mut outputs = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let Some((domain, due)) = surroundings::due_timers() else { return Ok(outputs) };
        let mut output = Output::default();
        let flat = encode("input", 0, &due);
        surroundings::with_timers(domain, &due, || {
            crate::clock::begin_call();
            let result = input::for_each_flat(&flat, |index, record| {
                output.source_index = index;
                let timer = runtime::timer_of(domain, &record);
                processor.on_timer(timer, &mut output).map_err(|error| (index as usize, error))
            });
            result.expect("the batch is well formed")
        })?;
        outputs.extend(outputs_of(&mut output));
    }
    panic!("the timers set others that are due at once, without end");
}

fn outputs_of(output: &mut Output) -> Vec<TestOutput> {
    let outputs = output.take_typed().into_iter().map(|record| TestOutput {
        topic: record.topic,
        partition: record.partition,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|header| (header.key, header.value)).collect(),
        source: record.source as usize,
    });
    outputs.collect()
}

/// One chunk in the layout `TMI1`.
pub(crate) fn encode(topic: &str, partition: u32, records: &[TestRecord]) -> Vec<u8> {
    let mut region = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let mut body = vec![0];
        varint::put(&mut body, record.timestamp);
        varint::put(&mut body, index as i64);
        varint::put_field(&mut body, record.key.as_deref());
        varint::put_field(&mut body, record.value.as_deref());
        varint::put(&mut body, record.headers.len() as i64);
        for (key, value) in &record.headers {
            varint::put_field(&mut body, Some(key.as_bytes()));
            varint::put_field(&mut body, value.as_deref());
        }
        varint::put(&mut region, body.len() as i64);
        region.extend_from_slice(&body);
    }
    let mut flat = b"TMI1\0\0\0\0\x01\0\0\0\x01\0\0\0".to_vec();
    flat.extend_from_slice(&(topic.len() as u16).to_le_bytes());
    flat.extend_from_slice(topic.as_bytes());
    flat.extend_from_slice(&[0; 4]);
    flat.extend_from_slice(&partition.to_le_bytes());
    flat.extend_from_slice(&[0; 8 + 8]);
    flat.extend_from_slice(&(-1i64).to_le_bytes());
    flat.extend_from_slice(&(records.len() as u32).to_le_bytes());
    flat.extend_from_slice(&(region.len() as u32).to_le_bytes());
    flat.extend_from_slice(&region);
    flat
}

#[cfg(test)]
mod tests;
