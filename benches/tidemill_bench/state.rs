//! S13: a stateful count over a million keys: for each record a count in a store, its change in the changelog, and an
//! output, in one transaction.

use std::time::Instant;

use crate::broker::{Broker, Flavour, Flush};
use crate::load::{fresh, joined};
use crate::processors::until_group_committed;
use crate::raw::{self, Raw};
use crate::report::{Figure, Target};
use crate::{Bench, guest};

const EXAMPLE: &str = "word-count";
const TOPIC: &str = "words";
const PARTITIONS: i32 = 2;
const BATCH_RECORDS: usize = 500;
/// In each partition, as are the records.
const KEYS: usize = 500_000;
const IN_FLIGHT: usize = 5;

/// S13: counts each key once, and then a million records more, of all keys in another order.
pub fn count(bench: &mut Bench) -> anyhow::Result<()> {
    let Some(guest) = guest(bench, "S13", EXAMPLE) else { return Ok(()) };
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            for flush in Flush::BOTH {
                let (broker, _directory) = fresh(&flavour, flush)?;
                measure(bench, &flavour, &broker, flush, &guest)?;
            }
        }
    }
    Ok(())
}

fn measure(
    bench: &mut Bench,
    flavour: &Flavour,
    broker: &Broker,
    flush: Flush,
    guest: &str,
) -> anyhow::Result<()> {
    let mut client = Raw::connect(&broker.address)?;
    client.create_topic(TOPIC, PARTITIONS)?;
    flavour.command_line(broker, &["module", "push", guest, "--name", "count"])?;
    let deploy = ["processor", "deploy", "count", "--module", "count", "--input", TOPIC];
    let rest = ["--output", "word-counts", "--store", "counts", "--start", "earliest"];
    flavour.command_line(broker, &[deploy.as_slice(), rest.as_slice()].concat())?;
    // Steps that have no divisor in common with the number of keys come by each of them once.
    for (what, step, end) in [("first of each key", 1, KEYS), ("of a million keys", 300_007, 2 * KEYS)] {
        flavour.command_line(broker, &["processor", "pause", "count"])?;
        fill_words(&broker.address, step)?;
        let (cpu_before, begin) = (broker.cpu_seconds()?, Instant::now());
        flavour.command_line(broker, &["processor", "resume", "count"])?;
        until_group_committed(&mut client, "count", TOPIC, PARTITIONS, end, begin)?;
        let (took, cpu) = (begin.elapsed().as_secs_f64(), broker.cpu_seconds()? - cpu_before);
        let records = KEYS as f64 * f64::from(PARTITIONS);
        let setting = flavour.label(&format!("counts, {what}, flush={}", flush.name()));
        let figure = |figure, target| Figure { scenario: "S13", setting: setting.clone(), figure, target };
        let wanted = (step != 1).then_some(Target::AtLeast(150_000.0));
        bench.book.add(figure("records/s", wanted), records / took);
        bench.book.add(figure("records per broker CPU s", None), records / cpu);
        bench.book.add(figure("resident MB", None), broker.status("VmRSS")? * 1024.0 / 1e6);
    }
    Ok(())
}

fn fill_words(address: &str, step: usize) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let fill = |partition| {
            scope.spawn(move || {
                let mut connection = Raw::connect(address)?;
                let mut waiting = 0;
                for batch in 0..KEYS / BATCH_RECORDS {
                    let numbers = batch * BATCH_RECORDS..(batch + 1) * BATCH_RECORDS;
                    let words = numbers.map(|number| format!("w{partition}n{:07}", number * step % KEYS));
                    let words = raw::batch_of(words);
                    connection.send(&mut raw::produce_frame(TOPIC, partition, None, words.bytes()))?;
                    waiting += 1;
                    if waiting == IN_FLIGHT {
                        anyhow::ensure!(connection.produced()? == 0, "Produce failed");
                        waiting -= 1;
                    }
                }
                for _ in 0..waiting {
                    anyhow::ensure!(connection.produced()? == 0, "Produce failed");
                }
                Ok(())
            })
        };
        let threads: Vec<_> = (0..PARTITIONS).map(fill).collect();
        threads.into_iter().try_for_each(joined)
    })
}
