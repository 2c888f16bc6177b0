//! S1 to S4, S9 and S10: plain producing and consuming, latency, restart and footprint.

use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;

use crate::Bench;
use crate::broker::{Broker, Flavour, Flush};
use crate::clients;
use crate::raw::{self, Raw};
use crate::report::{Figure, Target, quantile};

const RECORD_BYTES: usize = 1024;
const PARTITIONS: i32 = 4;
/// Records of 1 KiB that fill a batch of 16 KiB.
const BATCH_RECORDS: usize = 15;
const IN_FLIGHT: usize = 5;

/// A broker on a fresh directory; the directory goes with it.
pub fn fresh(flavour: &Flavour, flush: Flush) -> anyhow::Result<(Broker, TempDir)> {
    let directory = tempfile::tempdir()?;
    let broker = flavour.start(directory.path(), flush)?;
    Ok((broker, directory))
}

/// Fills a topic with batches, over one connection for each partition.
pub fn fill(address: &str, topic: &str, partitions: i32, batches: usize, batch: &[u8]) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..partitions)
            .map(|partition| {
                scope.spawn(move || {
                    let mut frame = raw::produce_frame(topic, partition, None, batch);
                    Raw::connect(address)?.produce_many(&mut frame, batches, IN_FLIGHT)
                })
            })
            .collect();
        threads.into_iter().try_for_each(joined)
    })
}

/// What a thread answered.
pub fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the load generator panicked"))?
}

/// S1: 1 KiB records in 16 KiB batches at acks=all.
pub fn produce(bench: &mut Bench) -> anyhow::Result<()> {
    const RECORDS: usize = 200_000;
    for _ in 0..bench.repeats {
        for flush in Flush::BOTH {
            for flavour in bench.brokers.clone() {
                let (broker, _directory) = fresh(&flavour, flush)?;
                let mut client = Raw::connect(&broker.address)?;
                client.create_topic("produce", PARTITIONS)?;
                let before = broker.cpu_seconds()?;
                let took = clients::produce(&broker.address, "produce", RECORDS, RECORD_BYTES)?;
                let cpu = broker.cpu_seconds()? - before;
                let setting = flavour.label(&format!("librdkafka, flush={}", flush.name()));
                let wanted = if flush == Flush::Os { 350.0 } else { 175.0 };
                rates(bench, "S1", &setting, RECORDS, cpu, took, Some(wanted));

                client.create_topic("produce-raw", PARTITIONS)?;
                let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
                let batches = RECORDS / BATCH_RECORDS / usize::try_from(PARTITIONS)?;
                let before = broker.cpu_seconds()?;
                let begin = Instant::now();
                fill(&broker.address, "produce-raw", PARTITIONS, batches, batch.bytes())?;
                let took = begin.elapsed();
                let cpu = broker.cpu_seconds()? - before;
                let setting = flavour.label(&format!("raw client, flush={}", flush.name()));
                let records = batches * BATCH_RECORDS * usize::try_from(PARTITIONS)?;
                rates(bench, "S1", &setting, records, cpu, took, None);
            }
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "a measurement names its scenario, setting and load")]
pub fn rates(
    bench: &mut Bench,
    scenario: &'static str,
    setting: &str,
    records: usize,
    cpu: f64,
    took: Duration,
    wanted: Option<f64>,
) {
    let megabytes = (records * RECORD_BYTES) as f64 / 1e6;
    let figure = |figure, target| Figure { scenario, setting: setting.to_owned(), figure, target };
    let target = wanted.map(Target::AtLeast);
    bench.book.add(figure("MB per broker CPU s", target), megabytes / cpu);
    bench.book.add(figure("MB/s", None), megabytes / took.as_secs_f64());
}

/// S2: producers that send one record, wait for its acknowledgement, and send the next.
pub fn synchronous_producers(bench: &mut Bench) -> anyhow::Result<()> {
    for _ in 0..bench.repeats {
        for (clients, flush) in
            [(1, Flush::Os), (1, Flush::Ack), (16, Flush::Ack), (64, Flush::Os), (64, Flush::Ack)]
        {
            for flavour in bench.brokers.clone() {
                let (broker, _directory) = fresh(&flavour, flush)?;
                Raw::connect(&broker.address)?.create_topic("sync", PARTITIONS)?;
                let before = broker.cpu_seconds()?;
                let waits = produce_synchronously(&broker.address, clients)?;
                let cpu = broker.cpu_seconds()? - before;
                let setting = flavour.label(&format!("{clients} clients, flush={}", flush.name()));
                let figure =
                    |figure| Figure { scenario: "S2", setting: setting.clone(), figure, target: None };
                bench.book.add(figure("broker CPU µs per request"), cpu * 1e6 / waits.len() as f64);
                bench.book.add(figure("requests/s"), waits.len() as f64 / RUN.as_secs_f64());
                bench.book.add(figure("p50 ms"), quantile(&waits, 0.5));
                bench.book.add(figure("p99 ms"), quantile(&waits, 0.99));
            }
        }
    }
    Ok(())
}

/// How long clients that take turns with the broker run.
pub const RUN: Duration = Duration::from_millis(1000);

/// Each client on a thread of its own asks again and again for [`RUN`]; every answer's wait in milliseconds.
pub fn waits_of<C: Send>(
    clients: Vec<C>,
    ask: impl Fn(&mut C) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Vec<f64>> {
    std::thread::scope(|scope| {
        let begin = Instant::now();
        let run = |mut client: C| {
            let ask = &ask;
            scope.spawn(move || {
                let mut waits = Vec::new();
                while begin.elapsed() < RUN {
                    let asked = Instant::now();
                    ask(&mut client)?;
                    waits.push(asked.elapsed().as_secs_f64() * 1000.0);
                }
                Ok(waits)
            })
        };
        let threads: Vec<_> = clients.into_iter().map(run).collect();
        let waits: anyhow::Result<Vec<Vec<f64>>> = threads.into_iter().map(joined).collect();
        Ok(waits?.concat())
    })
}

/// Each request's wait in milliseconds.
fn produce_synchronously(address: &str, clients: usize) -> anyhow::Result<Vec<f64>> {
    let batch = raw::batch(1, RECORD_BYTES, None);
    let connect = |number: usize| {
        let frame = raw::produce_frame("sync", i32::try_from(number)? % PARTITIONS, None, batch.bytes());
        Ok((Raw::connect(address)?, frame))
    };
    let connections: anyhow::Result<Vec<_>> = (0..clients).map(connect).collect();
    waits_of(connections?, |(connection, frame)| connection.produce(frame))
}

/// S3: reading a topic that lies in the page cache, by librdkafka and by a client that discards.
pub fn consume(bench: &mut Bench) -> anyhow::Result<()> {
    const BATCHES: usize = 32_000;
    // Several times over: the broker's CPU time is told in hundredths of a second.
    const CONSUMERS: usize = 2;
    const DRAINS: usize = 6;
    let mut brokers = Vec::new();
    for flavour in bench.brokers.clone() {
        let (broker, directory) = fresh(&flavour, Flush::Os)?;
        Raw::connect(&broker.address)?.create_topic("consume", PARTITIONS)?;
        let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
        let batches = BATCHES / usize::try_from(PARTITIONS)?;
        fill(&broker.address, "consume", PARTITIONS, batches, batch.bytes())?;
        brokers.push((flavour, broker, directory));
    }
    let records = BATCHES * BATCH_RECORDS;
    for _ in 0..bench.repeats {
        for (flavour, broker, _) in &brokers {
            let before = broker.cpu_seconds()?;
            let mut took = Duration::ZERO;
            for _ in 0..CONSUMERS {
                took += clients::consume(&broker.address, "consume", PARTITIONS, records)?;
            }
            let cpu = broker.cpu_seconds()? - before;
            rates(bench, "S3", &flavour.label("librdkafka"), records * CONSUMERS, cpu, took, Some(2000.0));

            let before = broker.cpu_seconds()?;
            let begin = Instant::now();
            for _ in 0..DRAINS {
                drain(&broker.address, "consume")?;
            }
            let took = begin.elapsed();
            let cpu = broker.cpu_seconds()? - before;
            rates(bench, "S3", &flavour.label("raw drain client"), records * DRAINS, cpu, took, Some(2000.0));
        }
    }
    Ok(())
}

/// Reads all partitions, each over its own connection.
fn drain(address: &str, topic: &str) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                scope.spawn(move || {
                    let mut connection = Raw::connect(address)?;
                    let mut offset = 0;
                    loop {
                        let fetched = connection.fetch(topic, partition, offset, 1 << 20)?;
                        offset = fetched.next_offset;
                        if offset >= fetched.high_watermark || fetched.bytes == 0 {
                            return Ok(());
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(joined)
    })
}

/// S4: from the moment a record is due to its arrival, at 1,000 records a second.
pub fn end_to_end(bench: &mut Bench) -> anyhow::Result<()> {
    const RECORDS: usize = 3_000;
    for _ in 0..bench.repeats {
        for flush in Flush::BOTH {
            for flavour in bench.brokers.clone() {
                let (broker, _directory) = fresh(&flavour, flush)?;
                Raw::connect(&broker.address)?.create_topic("latency", 1)?;
                let before = broker.cpu_seconds()?;
                let latencies = clients::end_to_end(&broker.address, "latency", 1000, RECORDS)?;
                let cpu = broker.cpu_seconds()? - before;
                let setting = flavour.label(&format!("1,000 records/s, flush={}", flush.name()));
                let figure =
                    |figure, target| Figure { scenario: "S4", setting: setting.clone(), figure, target };
                let wanted = if flush == Flush::Os { 0.6 } else { 2.0 };
                bench.book.add(figure("p50 ms", Some(Target::AtMost(wanted))), quantile(&latencies, 0.5));
                bench.book.add(figure("p99 ms", None), quantile(&latencies, 0.99));
                let sent = latencies.len() as f64 * 1.2;
                bench.book.add(figure("broker CPU µs per record", None), cpu * 1e6 / sent);
            }
        }
    }
    Ok(())
}

/// S9: from `kill -9` with a log of 1 GiB to ready again.
pub fn restart_after_kill(bench: &mut Bench) -> anyhow::Result<()> {
    const BYTES: usize = 1 << 30;
    let batch = raw::batch(60, RECORD_BYTES, None);
    let batches = BYTES / batch.bytes().len() / usize::try_from(PARTITIONS)?;
    for _ in 0..bench.repeats {
        for flush in Flush::BOTH {
            for flavour in bench.brokers.clone() {
                let (broker, directory) = fresh(&flavour, flush)?;
                Raw::connect(&broker.address)?.create_topic("large", PARTITIONS)?;
                fill(&broker.address, "large", PARTITIONS, batches, batch.bytes())?;
                broker.kill()?;
                let broker = flavour.start(directory.path(), flush)?;
                let setting = flavour.label(&format!("1 GiB written, kill -9, flush={}", flush.name()));
                let figure =
                    |figure, target| Figure { scenario: "S9", setting: setting.clone(), figure, target };
                let seconds = broker.ready_in.as_secs_f64();
                bench.book.add(figure("s to ready", Some(Target::AtMost(2.07))), seconds);
                bench.book.add(figure("broker CPU s to ready", None), broker.cpu_seconds()?);
                let mut client = Raw::connect(&broker.address)?;
                let end = client.fetch("large", 0, 0, 1 << 16).context("the first fetch")?.high_watermark;
                anyhow::ensure!(end == i64::try_from(batches * 60)?, "records are missing: {end}");
            }
        }
    }
    Ok(())
}

/// S10: from the start of the process to ready, and what it takes while nothing happens.
pub fn start(bench: &mut Bench) -> anyhow::Result<()> {
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
            let setting = flavour.label("empty directory");
            let figure =
                |figure, target| Figure { scenario: "S10", setting: setting.clone(), figure, target };
            let ready = broker.ready_in.as_secs_f64();
            bench.book.add(figure("s to ready", Some(Target::AtMost(0.3))), ready);
            // Whatever it does behind the ready line belongs to the figure.
            std::thread::sleep(Duration::from_secs(1));
            let resident = broker.status("VmRSS")? * 1024.0 / 1e6;
            bench.book.add(figure("idle resident MB", Some(Target::AtMost(40.0))), resident);
            let before = broker.cpu_seconds()?;
            std::thread::sleep(Duration::from_secs(1));
            bench.book.add(figure("idle CPU %", None), (broker.cpu_seconds()? - before) * 100.0);
            bench.book.add(figure("threads of the one process", None), broker.status("Threads")?);
        }
    }
    Ok(())
}
