//! S11: producing 1 KiB records through a chain of one interceptor, against producing without any.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::Bench;
use crate::broker::{Flavour, Flush};
use crate::clients;
use crate::load::{fill, fresh, rates};
use crate::raw::{self, Raw};
use crate::report::{Figure, Target};

const RECORDS: usize = 200_000;
const RECORD_BYTES: usize = 1024;
const BATCH_RECORDS: usize = 15;
const PARTITIONS: i32 = 4;

const NONE: &str = "no interceptor";
/// What is attached, and the example that it is.
const CHAINS: [(&str, &str); 2] =
    [("counts each record", "counter"), ("replaces each record", "time-stamper")];

/// S11: a chain of one and none, in turns.
pub fn produce(bench: &mut Bench) -> anyhow::Result<()> {
    let guests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests");
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            measure(bench, &flavour, NONE, None)?;
            for (setting, example) in CHAINS {
                let guest = guests.join(format!("{example}.wasm"));
                if !guest.exists() {
                    bench.book.note(format!("S11 without {example}: `tools/build-guests` has not run."));
                    continue;
                }
                measure(bench, &flavour, setting, Some(&guest))?;
            }
        }
    }
    compare(bench);
    Ok(())
}

fn measure(bench: &mut Bench, flavour: &Flavour, setting: &str, guest: Option<&Path>) -> anyhow::Result<()> {
    let (broker, _directory) = fresh(flavour, Flush::Os)?;
    let mut client = Raw::connect(&broker.address)?;
    client.create_topic("produce", PARTITIONS)?;
    client.create_topic("produce-raw", PARTITIONS)?;
    if let Some(guest) = guest {
        let guest = guest.to_str().context("a path that is not UTF-8")?;
        let attach =
            ["interceptor", "attach", "i", "--module", guest, "--topic", "produce*", "--path", "produce"];
        flavour.command_line(&broker, &attach)?;
    }
    let before = broker.cpu_seconds()?;
    let took = clients::produce(&broker.address, "produce", RECORDS, RECORD_BYTES)?;
    let cpu = broker.cpu_seconds()? - before;
    rates(bench, "S11", &librdkafka(flavour, setting), RECORDS, cpu, took, None);

    let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
    let batches = RECORDS / BATCH_RECORDS / usize::try_from(PARTITIONS)?;
    let records = batches * BATCH_RECORDS * usize::try_from(PARTITIONS)?;
    let before = broker.cpu_seconds()?;
    let begin = Instant::now();
    fill(&broker.address, "produce-raw", PARTITIONS, batches, batch.bytes())?;
    let took = begin.elapsed();
    let cpu = broker.cpu_seconds()? - before;
    rates(bench, "S11", &flavour.label(&format!("raw client, {setting}")), records, cpu, took, None);
    Ok(())
}

fn librdkafka(flavour: &Flavour, setting: &str) -> String {
    flavour.label(&format!("librdkafka, {setting}"))
}

fn compare(bench: &mut Bench) {
    let Some(flavour) = bench.brokers.first().cloned() else { return };
    let median = |setting: &str| bench.book.median("S11", &librdkafka(&flavour, setting), "MB/s");
    let (setting, _) = CHAINS[0];
    if let Some((chain, none)) = median(setting).zip(median(NONE)) {
        let figure = Figure {
            scenario: "S11",
            setting: "medians compared".to_owned(),
            figure: "librdkafka's MB/s through a chain of one / without",
            target: Some(Target::AtLeast(0.8)),
        };
        bench.book.add(figure, chain / none);
    }
}
