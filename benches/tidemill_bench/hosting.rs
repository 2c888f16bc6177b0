//! S14 and S15: how long a module takes from its upload to its first output, and what processors cost that have
//! nothing to do.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::broker::{Broker, Flavour, Flush};
use crate::load::{fill, fresh};
use crate::raw::{self, Raw};
use crate::report::{Figure, Target};
use crate::{Bench, guest};

const PATIENCE: Duration = Duration::from_secs(300);
const DEPLOYED: [(&str, &str, &[&str]); 2] = [
    ("Rust, typed, counts words", "word-count", &["--store", "counts", "--output", "word-counts"]),
    ("C, typed, counts keys", "key-counter", &["--store", "counts", "--output", "counts"]),
];

/// S14: a topic with a record, a module pushed and deployed over the command line, until its output can be read.
pub fn first_output(bench: &mut Bench) -> anyhow::Result<()> {
    for _ in 0..bench.repeats {
        for flavour in bench.brokers.clone() {
            for (what, module, options) in DEPLOYED {
                let Some(guest) = guest(bench, "S14", module) else { continue };
                let (broker, _directory) = fresh(&flavour, Flush::Ack)?;
                let mut client = Raw::connect(&broker.address)?;
                client.create_topic("in", 1)?;
                fill(&broker.address, "in", 1, 1, raw::keyed("word", "word").bytes())?;
                let begin = Instant::now();
                flavour.command_line(&broker, &["module", "push", &guest, "--name", "m"])?;
                let deploy = ["processor", "deploy", "p", "--module", "m", "--input", "in", "--no-wait"];
                let deploy = [deploy.as_slice(), options, &["--start", "earliest"]].concat();
                flavour.command_line(&broker, &deploy)?;
                let output = options.last().copied().unwrap_or_default();
                while client.fetch(output, 0, 0, 1 << 20)?.bytes == 0 {
                    ensure!(begin.elapsed() < PATIENCE, "nothing came");
                }
                let kilobytes = std::fs::metadata(&guest)?.len() / 1000;
                let setting = flavour.label(&format!("{what}, {kilobytes} KB"));
                let figure = "s from upload to first output";
                let target = Some(Target::AtMost(1.0));
                bench
                    .book
                    .add(Figure { scenario: "S14", setting, figure, target }, begin.elapsed().as_secs_f64());
            }
        }
    }
    Ok(())
}

const PROCESSORS: usize = 1_000;
const IDLE: Duration = Duration::from_secs(5);

/// S15: so many processors that have each processed a record and then wait for the next. Once: it takes a minute.
pub fn idle(bench: &mut Bench) -> anyhow::Result<()> {
    let Some(guest) = guest(bench, "S15", "test-guest-flat") else { return Ok(()) };
    for flavour in bench.brokers.clone() {
        let (broker, _directory) = fresh(&flavour, Flush::Os)?;
        let mut client = Raw::connect(&broker.address)?;
        client.create_topic("in", 1)?;
        client.create_topic("out", 1)?;
        flavour.command_line(&broker, &["module", "push", &guest, "--name", "copy"])?;
        let empty = broker.status("VmRSS")?;
        let begin = Instant::now();
        for number in 0..PROCESSORS {
            let name = format!("copy-{number}");
            let deploy = ["processor", "deploy", &name, "--module", "copy", "--input", "in", "--no-wait"];
            let rest = ["--output", "out", "--config", "behaviour=copy", "--start", "earliest"];
            let own = ["--on-error", "stop"];
            flavour.command_line(&broker, &[deploy.as_slice(), rest.as_slice(), own.as_slice()].concat())?;
        }
        let deployed = begin.elapsed();
        fill(&broker.address, "in", 1, 1, raw::keyed("k", "v").bytes())?;
        until_all_committed(&mut client, begin)?;
        idle_figures(bench, &flavour, &broker, empty, deployed)?;
    }
    Ok(())
}

fn until_all_committed(client: &mut Raw, begin: Instant) -> anyhow::Result<()> {
    for number in 0..PROCESSORS {
        while client.committed(&format!("copy-{number}"), "in", 0)? < 1 {
            ensure!(begin.elapsed() < PATIENCE, "processor copy-{number} does not get on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // What follows a commit is over by then.
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn idle_figures(
    bench: &mut Bench,
    flavour: &Flavour,
    broker: &Broker,
    empty_kib: f64,
    deployed: Duration,
) -> anyhow::Result<()> {
    let before = broker.cpu_seconds()?;
    std::thread::sleep(IDLE);
    let cpu = broker.cpu_seconds()? - before;
    let resident = broker.status("VmRSS")?;
    let setting = flavour.label("1,000 processors with an instance each, idle");
    let figure = |figure, target| Figure { scenario: "S15", setting: setting.clone(), figure, target };
    bench.book.add(figure("resident MB", Some(Target::AtMost(1000.0))), resident * 1024.0 / 1e6);
    bench.book.add(figure("KB a processor", None), (resident - empty_kib) * 1024.0 / 1e3 / PROCESSORS as f64);
    bench.book.add(figure("CPU % of one core", Some(Target::AtMost(1.0))), cpu / IDLE.as_secs_f64() * 100.0);
    bench.book.add(
        figure("ms to deploy one, with its command line", None),
        deployed.as_secs_f64() * 1000.0 / PROCESSORS as f64,
    );
    Ok(())
}
