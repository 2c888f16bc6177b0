//! Runs processors in ordinary unit tests, without a broker.
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

use std::cell::RefCell;

use crate::body::Field;
use crate::varint;
use crate::{Context, Error, Output, Processor, input};

thread_local! {
    static CONFIG: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Sets what [`crate::config`] answers on this thread.
pub fn set_config(config: &[(&str, &str)]) {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    CONFIG.with(|slot| *slot.borrow_mut() = config);
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn config_of_this_thread(key: &str) -> Option<String> {
    CONFIG.with(|slot| slot.borrow().iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()))
}

/// A context for `Processor::init`.
pub fn context() -> Context {
    Context { processor: "test".to_owned(), topic: "input".to_owned(), partition: 0 }
}

/// A header with its value.
pub type TestHeader = (String, Option<Vec<u8>>);

/// A record to put in; it comes from the topic `input`, partition 0, at its index as offset.
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
        std::str::from_utf8(self.value.as_deref().unwrap_or_default()).expect("the value is text")
    }

    /// The key as text; empty if there is none.
    pub fn key_str(&self) -> &str {
        std::str::from_utf8(self.key.as_deref().unwrap_or_default()).expect("the key is text")
    }
}

/// Runs a batch through a processor, by the same encoding that the broker uses. An error comes with the
/// index of the record that it is about.
pub fn run<P: Processor>(
    processor: &mut P,
    records: &[TestRecord],
) -> Result<Vec<TestOutput>, (usize, Error)> {
    let mut output = Output::default();
    let flat = encode(records);
    let result = input::for_each_flat(&flat, |index, record| {
        output.source_index = index;
        processor.process(record, &mut output).map_err(|error| (index as usize, error))
    });
    result.expect("the batch is well formed")?;
    let outputs = output.take_typed().into_iter().map(|record| TestOutput {
        topic: record.topic,
        partition: record.partition,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|header| (header.key, header.value)).collect(),
        source: record.source as usize,
    });
    Ok(outputs.collect())
}

fn encode(records: &[TestRecord]) -> Vec<u8> {
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
    let mut flat = b"TMI1\0\0\0\0\x01\0\0\0\x01\0\0\0\x05\0input".to_vec();
    flat.extend_from_slice(&[0; 4 + 4 + 8 + 8]);
    flat.extend_from_slice(&(-1i64).to_le_bytes());
    flat.extend_from_slice(&(records.len() as u32).to_le_bytes());
    flat.extend_from_slice(&(region.len() as u32).to_le_bytes());
    flat.extend_from_slice(&region);
    flat
}

#[cfg(test)]
mod tests;
