use std::hint::black_box;

use super::*;
use crate::wasm::engine::now;

const RECORDS: u32 = 1000;

/// Nanoseconds a record, best of many rounds.
fn best(mut round: impl FnMut()) -> u128 {
    let rounds = (0..60).map(|_| {
        let start = now();
        round();
        start.elapsed().as_nanos()
    });
    rounds.min().unwrap() / u128::from(RECORDS)
}

#[test]
#[ignore = "prints the figures of wit/README.md; checks nothing"]
fn what_a_record_costs() {
    let fixture = Fixture::new();
    println!(
        "ns a record, batches of {RECORDS}: flat call, typed call, slice input, re-encode input, check output"
    );
    for bytes in [100, 1024] {
        let value = vec![b'x'; bytes];
        let input = batch_of(vec![chunk(0, &vec![Some(value.as_slice()); RECORDS as usize])]);
        let [flat, typed] = BOTH.map(|name| {
            let mut options = fixture.options("copy");
            options.limits = Limits::default();
            let mut instance = fixture.instance(name, options).unwrap();
            best(|| drop(black_box(instance.run(&input).unwrap())))
        });
        let mut buffer = Vec::new();
        let slice = best(|| input.write_flat(black_box(&mut buffer)));
        let encode = || {
            let mut builder = OutputBuilder::new();
            for record in input.records() {
                let record = record.unwrap();
                let headers: Vec<_> = record.headers.iter().collect();
                let (key, value, headers) = (record.key, record.value, headers.as_slice());
                let source_index = record.index;
                builder.push(NewOutput {
                    topic: "out",
                    key,
                    value,
                    headers,
                    source_index,
                    ..NewOutput::default()
                });
            }
            builder.build(RECORDS).unwrap()
        };
        let re_encode = best(|| drop(black_box(encode())));
        let output = encode().bytes().clone();
        let check = best(|| drop(black_box(OutputBatch::check(output.clone(), RECORDS).unwrap())));
        println!("{bytes:>5} B: {flat:>6} {typed:>6} {slice:>6} {re_encode:>6} {check:>6}");
    }
}
