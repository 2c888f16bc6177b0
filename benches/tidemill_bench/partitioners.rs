//! S12: a topic with a partitioner: how long a record is on its way through the ingress, and how many get through.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::Bench;
use crate::broker::{Broker, Flavour, Flush};
use crate::clients;
use crate::load::{fill, fresh};
use crate::processors::until_group_committed;
use crate::raw::{self, Raw};
use crate::report::{Figure, quantile};

const EXAMPLE: &str = "word-partitioner";
const TOPIC: &str = "placed";
const LATENCY_RECORDS: usize = 3_000;
const RECORD_BYTES: usize = 1024;
const BATCH_RECORDS: usize = 15;
const PARTITIONS: i32 = 4;
const BATCHES: usize = 3_400;

/// S12: latency at 1,000 records a second, and throughput with a raw client.
pub fn partitioners(bench: &mut Bench) -> anyhow::Result<()> {
    let guests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/guests");
    let guest = guests.join(format!("{EXAMPLE}.wasm"));
    if !guest.exists() {
        bench.book.note(format!("S12 without {EXAMPLE}: `tools/build-guests` has not run."));
        return Ok(());
    }
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            for flush in Flush::BOTH {
                latency(bench, &flavour, flush, &guest)?;
            }
            throughput(bench, &flavour, &guest)?;
        }
    }
    Ok(())
}

fn create(flavour: &Flavour, broker: &Broker, guest: &Path, partitions: i32) -> anyhow::Result<()> {
    let guest = guest.to_str().context("a path that is not UTF-8")?;
    flavour.command_line(broker, &["module", "push", guest, "--name", "word"])?;
    let partitions = partitions.to_string();
    let settings = ["tidemill.partitioner=word", "tidemill.partitioner.config=word=no such word"];
    let create = ["topic", "create", TOPIC, "--partitions", &partitions];
    let settings = settings.iter().flat_map(|setting| ["--config", setting]);
    flavour.command_line(broker, &create.into_iter().chain(settings).collect::<Vec<_>>())
}

fn latency(bench: &mut Bench, flavour: &Flavour, flush: Flush, guest: &Path) -> anyhow::Result<()> {
    let (broker, _directory) = fresh(flavour, flush)?;
    create(flavour, &broker, guest, 1)?;
    let before = broker.cpu_seconds()?;
    let latencies = clients::end_to_end(&broker.address, TOPIC, 1000, LATENCY_RECORDS)?;
    let cpu = broker.cpu_seconds()? - before;
    let setting = flavour.label(&format!("1,000 records/s, flush={}", flush.name()));
    let figure = |figure| Figure { scenario: "S12", setting: setting.clone(), figure, target: None };
    bench.book.add(figure("p50 ms"), quantile(&latencies, 0.5));
    bench.book.add(figure("p99 ms"), quantile(&latencies, 0.99));
    bench.book.add(figure("broker CPU µs per record"), cpu * 1e6 / (latencies.len() as f64 * 1.2));
    Ok(())
}

fn throughput(bench: &mut Bench, flavour: &Flavour, guest: &Path) -> anyhow::Result<()> {
    let (broker, _directory) = fresh(flavour, Flush::Os)?;
    create(flavour, &broker, guest, PARTITIONS)?;
    let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
    let before = broker.cpu_seconds()?;
    let begin = Instant::now();
    fill(&broker.address, TOPIC, PARTITIONS, BATCHES, batch.bytes())?;
    let ingress = format!("__ingress.{TOPIC}");
    let mut client = Raw::connect(&broker.address)?;
    until_group_committed(&mut client, &ingress, &ingress, PARTITIONS, BATCHES * BATCH_RECORDS, begin)?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), broker.cpu_seconds()? - before);
    let records = (BATCHES * BATCH_RECORDS) as f64 * f64::from(PARTITIONS);
    let setting = flavour.label("1 KiB, from a raw client to the partitions chosen");
    let figure = |figure| Figure { scenario: "S12", setting: setting.clone(), figure, target: None };
    bench.book.add(figure("records/s"), records / took);
    bench.book.add(figure("records per broker CPU second"), records / cpu);
    Ok(())
}
