//! S8: a processor of the flat world that copies records of 100 B and of 1 KiB exactly once, against the same
//! runner with a native copy in the module's place, and against a loop outside the broker over librdkafka.

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

/// What is copied: so many batches of so many records in each partition.
#[derive(Clone, Copy)]
struct Load {
    record_bytes: usize,
    batch_records: usize,
    batches: usize,
    /// What the native copy may be ahead, per CPU second.
    of_native: f64,
    /// Records a second.
    wanted: Option<f64>,
    is_compared_outside: bool,
}

const LOADS: [Load; 2] = [
    Load {
        record_bytes: 100,
        batch_records: 500,
        batches: 600,
        of_native: 0.5,
        wanted: Some(300_000.0),
        is_compared_outside: true,
    },
    Load {
        record_bytes: 1024,
        batch_records: 48,
        batches: 4_000,
        of_native: 0.85,
        wanted: None,
        is_compared_outside: false,
    },
];
const PARTITIONS: i32 = 2;
/// Where copies go.
const OUTPUT: &str = "out";
const PATIENCE: Duration = Duration::from_secs(120);

/// S8: all three ways, in turns.
pub fn processors(bench: &mut Bench) -> anyhow::Result<()> {
    let guest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests/copy.wasm");
    let has_guest = cfg!(feature = "wasm") && guest.exists();
    if !has_guest {
        bench.book.note(
            "S8 without WebAssembly: built without it, or `tools/build-guests` has not run.".to_owned(),
        );
    }
    for _ in 0..bench.repeats {
        for load in LOADS {
            for flavour in bench.brokers.clone() {
                if has_guest {
                    let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
                    copy_by_wasm(bench, load, &flavour, broker, &guest)?;
                }
                if load.is_compared_outside {
                    let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
                    copy_outside(bench, load, &flavour, &broker)?;
                }
            }
            let (broker, _directory) = native_broker()?;
            copy_natively(bench, load, broker)?;
        }
    }
    LOADS.iter().for_each(|load| compare(bench, *load));
    Ok(())
}

impl Load {
    fn records(self) -> usize {
        self.batches * self.batch_records * PARTITIONS as usize
    }

    /// A setting's text, with the size of the records.
    fn label(self, setting: &str) -> String {
        format!("{setting}, {} B", self.record_bytes)
    }
}

const WASM: &str = "flat world";
const NATIVE: &str = "plain copy in the broker";
const OUTSIDE: &str = "librdkafka loop outside";
const CPU_RATE: &str = "records per broker CPU s";
const WALL_RATE: &str = "records/s";

fn compare(bench: &mut Bench, load: Load) {
    let Some(flavour) = bench.brokers.first().cloned() else { return };
    let median = |setting: &str, figure| bench.book.median("S8", &load.label(setting), figure);
    let wasm = flavour.label(WASM);
    let against_native = median(&wasm, CPU_RATE).zip(median(NATIVE, CPU_RATE));
    let against_outside = median(&wasm, WALL_RATE).zip(median(&flavour.label(OUTSIDE), WALL_RATE));
    let figure = |figure, target| Figure {
        scenario: "S8",
        setting: load.label("medians compared"),
        figure,
        target: Some(Target::AtLeast(target)),
    };
    if let Some((wasm, native)) = against_native {
        bench.book.add(figure("flat world / plain copy, per CPU s", load.of_native), wasm / native);
    }
    if let Some((wasm, outside)) = against_outside {
        bench.book.add(figure("flat world / loop outside, records/s", 3.0), wasm / outside);
    }
}

fn prepare(broker: &Broker, load: Load) -> anyhow::Result<Raw> {
    let mut client = Raw::connect(&broker.address)?;
    client.create_topic("in", PARTITIONS)?;
    client.create_topic(OUTPUT, PARTITIONS)?;
    let batch = raw::batch(load.batch_records, load.record_bytes, None);
    fill(&broker.address, "in", PARTITIONS, load.batches, batch.bytes())?;
    Ok(client)
}

fn copy_by_wasm(
    bench: &mut Bench,
    load: Load,
    flavour: &Flavour,
    broker: Broker,
    guest: &Path,
) -> anyhow::Result<()> {
    let mut client = prepare(&broker, load)?;
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
        &format!("output={OUTPUT}"),
        "--no-wait",
    ])?;
    until_committed(&mut client, load, begin)?;
    figures(bench, load, &flavour.label(WASM), &broker, before, begin.elapsed(), load.wanted)
}

fn native_broker() -> anyhow::Result<(Broker, TempDir)> {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(native::CHILD).arg(directory.path()).args(["in", OUTPUT]);
    Ok((Broker::spawn(command)?, directory))
}

fn copy_natively(bench: &mut Bench, load: Load, mut broker: Broker) -> anyhow::Result<()> {
    let mut client = prepare(&broker, load)?;
    let before = broker.cpu_seconds()?;
    let begin = Instant::now();
    broker.tell("go")?;
    until_committed(&mut client, load, begin)?;
    figures(bench, load, NATIVE, &broker, before, begin.elapsed(), None)
}

fn copy_outside(bench: &mut Bench, load: Load, flavour: &Flavour, broker: &Broker) -> anyhow::Result<()> {
    prepare(broker, load)?;
    let before = broker.cpu_seconds()?;
    let took = clients::copy_exactly_once(&broker.address, "in", OUTPUT, PARTITIONS, load.records())?;
    figures(bench, load, &flavour.label(OUTSIDE), broker, before, took, None)
}

fn until_committed(client: &mut Raw, load: Load, begin: Instant) -> anyhow::Result<()> {
    until_group_committed(client, "copy", "in", PARTITIONS, load.batches * load.batch_records, begin)
}

/// Waits until a processor's group has committed this end of every input partition.
pub fn until_group_committed(
    client: &mut Raw,
    group: &str,
    topic: &str,
    partitions: i32,
    end: usize,
    begin: Instant,
) -> anyhow::Result<()> {
    let end = i64::try_from(end)?;
    for partition in 0..partitions {
        while client.committed(group, topic, partition)? < end {
            ensure!(begin.elapsed() < PATIENCE, "processor {group} does not get on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "a measurement names its load and setting")]
fn figures(
    bench: &mut Bench,
    load: Load,
    setting: &str,
    broker: &Broker,
    cpu_before: f64,
    took: Duration,
    wanted: Option<f64>,
) -> anyhow::Result<()> {
    let cpu = broker.cpu_seconds()? - cpu_before;
    let setting = load.label(setting);
    let figure = |figure, target| Figure { scenario: "S8", setting: setting.clone(), figure, target };
    let records = load.records() as f64;
    bench.book.add(figure(CPU_RATE, None), records / cpu);
    bench.book.add(figure(WALL_RATE, wanted.map(Target::AtLeast)), records / took.as_secs_f64());
    Ok(())
}
