//! S16: what a processor feels of its neighbours: of one that has nothing to do, of modules that never end a call, of
//! one that traps on each record, and of one that takes all the memory it may.

use std::time::Instant;

use crate::broker::{Broker, Flavour, Flush};
use crate::clients;
use crate::load::{fill, fresh};
use crate::processors::until_group_committed;
use crate::raw::{self, Raw};
use crate::report::{Figure, Target, quantile};
use crate::{Bench, guest};

const RECORDS: usize = 5_000;
const PER_SECOND: u32 = 1_000;
const BULK_BATCHES: usize = 400;
/// More than a neighbour gets through.
const NEIGHBOUR_BATCHES: usize = 400;
const BATCH_RECORDS: usize = 500;
const RECORD_BYTES: usize = 100;
const COPY: &str = "copy";
const ALONE: &str = "alone";
/// Who is beside it, what each of those does, and how many there are.
const NEIGHBOURS: [(&str, &str, usize); 4] = [
    (ALONE, "", 0),
    ("beside 4 endless loops", "loop", 4),
    ("beside 4 that panic on each record", "panic", 4),
    ("beside 4 that eat all their memory", "eat-memory", 4),
];

/// S16: a copy at a commit interval of 10 ms: records at a steady rate from end to end, and a bulk.
pub fn neighbours(bench: &mut Bench) -> anyhow::Result<()> {
    let Some(guest) = guest(bench, "S16", "test-guest-flat") else { return Ok(()) };
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            for (setting, behaviour, count) in NEIGHBOURS {
                let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
                let mut client = Raw::connect(&broker.address)?;
                flavour.command_line(&broker, &["module", "push", &guest, "--name", "m"])?;
                deploy(&flavour, &broker, &mut client, COPY, "copy")?;
                for number in 0..count {
                    let name = format!("neighbour{number}");
                    deploy(&flavour, &broker, &mut client, &name, behaviour)?;
                    let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
                    fill(&broker.address, &format!("{name}-in"), 1, NEIGHBOUR_BATCHES, batch.bytes())?;
                }
                measure(bench, &flavour, &broker, &mut client, setting)?;
            }
        }
    }
    Ok(())
}

/// A processor over a topic of its own, to the one output of all. What fails is left out, and never pauses it.
fn deploy(
    flavour: &Flavour,
    broker: &Broker,
    client: &mut Raw,
    name: &str,
    behaviour: &str,
) -> anyhow::Result<()> {
    let input = format!("{name}-in");
    client.create_topic(&input, 1)?;
    if name == COPY {
        client.create_topic("out", 1)?;
    }
    let manifest = tempfile::NamedTempFile::new()?;
    std::fs::write(
        &manifest,
        format!(
            "name = '{name}'\nmodule = 'm'\ninputs = ['{input}']\noutputs = ['out']\nstart = 'earliest'\n\
             [config]\nbehaviour = '{behaviour}'\n[commit]\ninterval_ms = 10\n\
             [on_error]\nretries = 0\nthen = 'skip'\nbreaker = {{ failures_percent = 0 }}\n"
        ),
    )?;
    let path = manifest.path().to_string_lossy();
    flavour.command_line(broker, &["processor", "deploy", "--file", &path])
}

fn measure(
    bench: &mut Bench,
    flavour: &Flavour,
    broker: &Broker,
    client: &mut Raw,
    setting: &str,
) -> anyhow::Result<()> {
    let latencies = clients::through(&broker.address, ("copy-in", "out"), PER_SECOND, RECORDS)?;
    let setting = flavour.label(setting);
    let figure = |figure, target| Figure { scenario: "S16", setting: setting.clone(), figure, target };
    let wanted = (setting == ALONE).then_some(Target::AtMost(20.0));
    bench.book.add(figure("end to end, p50 ms", None), quantile(&latencies, 0.5));
    bench.book.add(figure("end to end, p99 ms", wanted), quantile(&latencies, 0.99));
    let begin = Instant::now();
    let before = client.committed("copy", "copy-in", 0)?;
    let batch = raw::batch(BATCH_RECORDS, RECORD_BYTES, None);
    fill(&broker.address, "copy-in", 1, BULK_BATCHES, batch.bytes())?;
    let end = usize::try_from(before)? + BULK_BATCHES * BATCH_RECORDS;
    until_group_committed(client, "copy", "copy-in", 1, end, begin)?;
    let rate = (BULK_BATCHES * BATCH_RECORDS) as f64 / begin.elapsed().as_secs_f64();
    bench.book.add(figure("bulk, records/s", None), rate);
    Ok(())
}
