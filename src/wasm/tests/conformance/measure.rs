//! What each language costs: the figures of examples/README.md.

use std::hint::black_box;
use std::time::Instant;

use super::*;
use crate::wasm::engine::now;

const RECORDS: u32 = 100;

fn best(rounds: usize, mut round: impl FnMut()) -> Duration {
    let mut took = || {
        let start: Instant = now();
        round();
        start.elapsed()
    };
    (0..rounds).map(|_| took()).min().unwrap()
}

fn instance(language: Language, memory_bytes_max: usize) -> Result<Box<dyn ProcessorInstance>, PluginError> {
    let options = InstanceOptions {
        limits: Limits { memory_bytes_max, ..limits() },
        config: Vec::new(),
        context: InstanceContext {
            processor: "proc".to_owned(),
            topic: TopicName::new("in"),
            partition: PartitionIndex::ZERO,
        },
        log: LogSink::none(),
        counters: CounterSink::none(),
        give_way: GiveWay::never(),
    };
    HOST.instantiate(&language.module("processor"), options)
}

/// A batch of values of this size, each with a key and a header.
fn values_of(bytes: usize) -> InputBatch {
    let headers = vec![("header".to_owned(), Some(b"value".to_vec()))];
    let content = Content { key: Some(b"key".to_vec()), value: Some(vec![b'x'; bytes]), headers };
    input(&vec![content; RECORDS as usize])
}

/// The smallest limit, in pages, within which an instance starts and processes a batch of small values.
fn memory_pages_min(language: Language) -> usize {
    let batch = values_of(1024);
    let is_enough =
        |pages: usize| instance(language, pages << 16).is_ok_and(|mut instance| instance.run(&batch).is_ok());
    let (mut too_few, mut enough) = (0, limits().memory_bytes_max >> 16);
    while enough - too_few > 1 {
        let pages = usize::midpoint(too_few, enough);
        if is_enough(pages) {
            enough = pages;
        } else {
            too_few = pages;
        }
    }
    enough
}

#[test]
#[ignore = "prints the figures of examples/README.md; checks nothing"]
fn what_a_language_costs() {
    println!(
        "language, component KB, compiled KB, compile ms, instance us, its first batch us, memory MiB, \
         us a record of 100 B and of 1 KiB (batches of {RECORDS})"
    );
    for language in languages() {
        let module = HOST.describe(&language.module("processor")).unwrap();
        let start = || instance(language, limits().memory_bytes_max).unwrap();
        let batches = [100, 1024].map(values_of);
        let instantiate = best(20, || drop(black_box(start())));
        let first = (0..5).map(|_| {
            let mut instance = start();
            best(1, || drop(black_box(instance.run(&batches[0]).unwrap())))
        });
        let first = first.min().unwrap();
        let mut instance = start();
        let calls = batches
            .each_ref()
            .map(|batch| best(60, || drop(black_box(instance.run(batch).unwrap()))) / RECORDS);
        println!(
            "{:<10} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6.1} {:>8.2} {:>8.2}",
            language.name,
            module.module_bytes / 1000,
            module.compiled_bytes / 1000,
            module.compile_ms,
            instantiate.as_micros(),
            first.as_micros(),
            f64::from(u32::try_from(memory_pages_min(language)).unwrap()) / 16.0,
            calls[0].as_secs_f64() * 1e6,
            calls[1].as_secs_f64() * 1e6,
        );
    }
}
