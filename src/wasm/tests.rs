//! Runs the built guests: `make guests` (tools/build-guests) puts them into `target/guests`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::ids::{Offset, PartitionIndex, TopicName};
use crate::plugin::*;

mod conformance;
mod interceptors;
mod limits;
mod measure;
mod modules;
mod partitioners;
mod state;
mod worlds;

/// A guest's bytes.
fn guest(name: &str) -> Vec<u8> {
    built(&format!("{name}.wasm"))
}

fn guests_directory() -> PathBuf {
    std::env::var_os("TIDEMILL_GUESTS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests"), PathBuf::from)
}

/// What tools/build-guests left.
fn built(file: &str) -> Vec<u8> {
    let path = guests_directory().join(file);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{} cannot be read ({error}): run `make guests` (or tools/build-guests) first", path.display())
    })
}

/// One host for all tests that do not change its modules: each guest is compiled once.
static SHARED: LazyLock<(WasmHost, tempfile::TempDir)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    (WasmHost::open(&WasmHostOptions::new(directory.path().join("modules"))).unwrap(), directory)
});

/// What guests have logged.
type Lines = Arc<Mutex<Vec<LogLine>>>;
/// What guests have counted.
type Counters = Arc<Mutex<BTreeMap<String, u64>>>;

fn lines_to(lines: &Lines) -> LogSink {
    let lines = Arc::clone(lines);
    LogSink::new(move |line| lines.lock().push(line))
}

fn counts_to(counters: &Counters) -> CounterSink {
    let counters = Arc::clone(counters);
    CounterSink::new(move |name, value| {
        let mut counters = counters.lock();
        let counter = counters.entry(name.to_owned()).or_default();
        *counter = counter.saturating_add(value);
    })
}

fn owned(config: &[(&str, &str)]) -> Vec<(String, String)> {
    config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

struct Fixture {
    host: &'static WasmHost,
    lines: Lines,
}

const BOTH: [&str; 2] = ["test-guest-flat", "test-guest-typed"];

/// The guests that know of sleep, exit, clocks and streams: where the target wasm32-wasip2 is not to be
/// had they are built without, and then have nothing that these tests could watch.
fn with_wasi() -> &'static [&'static str] {
    match built("target").trim_ascii() {
        b"wasm32-wasip2" => &BOTH,
        b"wasm32-unknown-unknown" => &[],
        other => panic!("target/guests/target names no known target: {}", String::from_utf8_lossy(other)),
    }
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { host: &SHARED.0, lines: Arc::default() }
    }

    fn options(&self, behaviour: &str) -> InstanceOptions {
        InstanceOptions {
            limits: Limits { memory_bytes_max: 16 << 20, output_bytes_max: 1 << 20, ..Limits::default() },
            config: owned(&[("behaviour", behaviour)]),
            context: InstanceContext {
                processor: "proc".to_owned(),
                topic: TopicName::new("in"),
                partition: PartitionIndex::ZERO,
            },
            log: lines_to(&self.lines),
            counters: CounterSink::none(),
            give_way: GiveWay::never(),
        }
    }

    fn instance(
        &self,
        name: &str,
        options: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError> {
        let digest = self.host.compile(&guest(name)).unwrap().digest;
        self.host.instantiate(&digest, options)
    }

    fn behaving(&self, name: &str, behaviour: &str) -> Box<dyn ProcessorInstance> {
        self.instance(name, self.options(behaviour)).unwrap()
    }

    fn messages(&self) -> Vec<String> {
        self.lines.lock().iter().map(|line| line.message.clone()).collect()
    }
}

/// Calls of processors that need no surroundings.
trait Run {
    fn run(&mut self, batch: &InputBatch) -> Result<OutputBatch, ProcessFault>;
}

impl Run for Box<dyn ProcessorInstance> {
    fn run(&mut self, batch: &InputBatch) -> Result<OutputBatch, ProcessFault> {
        self.process(batch, &mut Surroundings::none())
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    put_varint(out, field.map_or(-1, |field| i64::try_from(field.len()).unwrap()));
    out.extend_from_slice(field.unwrap_or_default());
}

/// A v2 records region with keys `k0`, `k1`, … and one header each.
fn chunk(base_offset: i64, values: &[Option<&[u8]>]) -> InputChunk {
    let mut records = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let mut body = vec![0];
        put_varint(&mut body, 10 * i64::try_from(index).unwrap());
        put_varint(&mut body, i64::try_from(index).unwrap());
        put_field(&mut body, Some(format!("k{index}").as_bytes()));
        put_field(&mut body, *value);
        put_varint(&mut body, 1);
        put_field(&mut body, Some(b"h"));
        put_field(&mut body, None);
        put_varint(&mut records, i64::try_from(body.len()).unwrap());
        records.extend_from_slice(&body);
    }
    InputChunk {
        base_offset: Offset::from_wire(base_offset).unwrap(),
        base_timestamp: 1_700_000_000_000,
        append_time: None,
        record_count: u32::try_from(values.len()).unwrap(),
        records: records.into(),
    }
}

fn batch_of(chunks: Vec<InputChunk>) -> InputBatch {
    InputBatch { topic: TopicName::new("in"), partition: PartitionIndex::ZERO, attempt: 0, chunks }
}

fn batch(values: &[&str]) -> InputBatch {
    let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    batch_of(vec![chunk(5, &values)])
}
