//! S8: a processor of the flat world that copies 100 B records exactly once, against the same runner
//! with a native copy in the module's place, and against a loop outside the broker over librdkafka.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::Bench;
use crate::broker::{Broker, Flavour, Flush};
use crate::load::{fill, fresh};
use crate::raw::{self, Raw};
use crate::report::{Figure, Target};
use crate::{clients, native};

const RECORD_BYTES: usize = 100;
const PARTITIONS: i32 = 2;
const BATCH_RECORDS: usize = 500;
const BATCHES: usize = 600;
/// The test guest's `copy` writes here.
const OUTPUT: &str = "out";
const PATIENCE: Duration = Duration::from_secs(120);

/// S8: all three ways, in turns.
pub fn processors(bench: &mut Bench) -> anyhow::Result<()> {
    let guest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests/test-guest-flat.wasm");
    let has_guest = cfg!(feature = "wasm") && guest.exists();
    if !has_guest {
        bench.book.note(
            "S8 without WebAssembly: built without it, or `tools/build-guests` has not run.".to_owned(),
        );
    }
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            if has_guest {
                let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
                copy_by_wasm(bench, &flavour, broker, &guest)?;
            }
            let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
            copy_outside(bench, &flavour, &broker)?;
        }
        let (broker, _directory) = native_broker()?;
        copy_natively(bench, broker)?;
    }
    compare(bench);
    Ok(())
}

const WASM: &str = "flat world";
const NATIVE: &str = "plain copy in the broker";
const OUTSIDE: &str = "librdkafka loop outside";
const CPU_RATE: &str = "records per broker CPU s";
const WALL_RATE: &str = "records/s";

fn compare(bench: &mut Bench) {
    let Some(flavour) = bench.brokers.first().cloned() else { return };
    let median = |setting: &str, figure| bench.book.median("S8", setting, figure);
    let wasm = flavour.label(WASM);
    let against_native = median(&wasm, CPU_RATE).zip(median(NATIVE, CPU_RATE));
    let against_outside = median(&wasm, WALL_RATE).zip(median(&flavour.label(OUTSIDE), WALL_RATE));
    let figure = |figure, target| Figure {
        scenario: "S8",
        setting: "medians compared".to_owned(),
        figure,
        target: Some(Target::AtLeast(target)),
    };
    if let Some((wasm, native)) = against_native {
        bench.book.add(figure("flat world / plain copy, per CPU s", 0.5), wasm / native);
    }
    if let Some((wasm, outside)) = against_outside {
        bench.book.add(figure("flat world / loop outside, records/s", 3.0), wasm / outside);
    }
}

fn prepare(broker: &Broker) -> anyhow::Result<Raw> {
    let mut client = Raw::connect(&broker.address)?;
    client.create_topic("in", PARTITIONS)?;
    client.create_topic(OUTPUT, PARTITIONS)?;
    let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
    fill(&broker.address, "in", PARTITIONS, BATCHES, batch.bytes())?;
    Ok(client)
}

fn records() -> usize {
    BATCHES * BATCH_RECORDS * PARTITIONS as usize
}

fn copy_by_wasm(bench: &mut Bench, flavour: &Flavour, broker: Broker, guest: &Path) -> anyhow::Result<()> {
    let mut client = prepare(&broker)?;
    let guest = guest.to_str().context("a path that is not UTF-8")?;
    let run = |arguments: &[&str]| flavour.command_line(&broker, arguments);
    run(&["module", "push", guest, "--name", "copy"])?;
    let before = broker.cpu_seconds()?;
    let begin = Instant::now();
    run(&[
        "processor",
        "deploy",
        "copy",
        "--module",
        "copy",
        "--input",
        "in",
        "--output",
        OUTPUT,
        "--start",
        "earliest",
        "--config",
        "behaviour=copy",
        "--no-wait",
    ])?;
    until_committed(&mut client, begin)?;
    figures(bench, &flavour.label(WASM), &broker, before, begin.elapsed(), Some(300_000.0))
}

fn native_broker() -> anyhow::Result<(Broker, TempDir)> {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(native::CHILD).arg(directory.path()).args(["in", OUTPUT]);
    Ok((Broker::spawn(command)?, directory))
}

fn copy_natively(bench: &mut Bench, mut broker: Broker) -> anyhow::Result<()> {
    let mut client = prepare(&broker)?;
    let before = broker.cpu_seconds()?;
    let begin = Instant::now();
    broker.tell("go")?;
    until_committed(&mut client, begin)?;
    figures(bench, NATIVE, &broker, before, begin.elapsed(), None)
}

fn copy_outside(bench: &mut Bench, flavour: &Flavour, broker: &Broker) -> anyhow::Result<()> {
    prepare(broker)?;
    let before = broker.cpu_seconds()?;
    let took = clients::copy_exactly_once(&broker.address, "in", OUTPUT, PARTITIONS, records())?;
    figures(bench, &flavour.label(OUTSIDE), broker, before, took, None)
}

/// Waits until the processor's group has committed the end of every input partition.
fn until_committed(client: &mut Raw, begin: Instant) -> anyhow::Result<()> {
    let end = i64::try_from(BATCHES * BATCH_RECORDS)?;
    for partition in 0..PARTITIONS {
        while client.committed("copy", "in", partition)? < end {
            ensure!(begin.elapsed() < PATIENCE, "the copy does not get on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

fn figures(
    bench: &mut Bench,
    setting: &str,
    broker: &Broker,
    cpu_before: f64,
    took: Duration,
    wanted: Option<f64>,
) -> anyhow::Result<()> {
    let cpu = broker.cpu_seconds()? - cpu_before;
    let figure = |figure, target| Figure { scenario: "S8", setting: setting.to_owned(), figure, target };
    bench.book.add(figure(CPU_RATE, None), records() as f64 / cpu);
    bench.book.add(figure(WALL_RATE, wanted.map(Target::AtLeast)), records() as f64 / took.as_secs_f64());
    Ok(())
}
