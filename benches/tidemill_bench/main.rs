//! The benchmark behind `make bench`: drives brokers as child processes and writes `benches/RESULTS.md`.
//!
//! The first figure is always the broker's own CPU time as the operating system counts it; wall time
//! comes second, because the load generator shares the machine. Settings that are compared take
//! turns within every repeat. Nothing here is a test: no figure makes it fail.
//!
//! Environment: `BENCH_ONLY=S1,S3` runs some scenarios, `BENCH_REPEATS=5`, and
//! `BENCH_BROKERS=before=path,after=path` compares brokers; the table then goes to standard output.
#![allow(clippy::disallowed_methods, reason = "measuring needs the clock, open-loop load needs pauses")]

mod broker;
mod clients;
mod hosting;
mod interceptors;
mod load;
mod native;
mod neighbours;
mod partitioners;
mod processors;
mod raw;
mod report;
mod state;
mod transactions;

use std::path::PathBuf;

use anyhow::Context;
use broker::Flavour;
use report::Book;

/// What every scenario is given.
struct Bench {
    repeats: usize,
    brokers: Vec<Flavour>,
    book: Book,
}

/// As the binary has: one of the brokers that are compared runs in this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Scenario = (&'static str, fn(&mut Bench) -> anyhow::Result<()>);

const SCENARIOS: [Scenario; 14] = [
    ("S1", load::produce),
    ("S2", load::synchronous_producers),
    ("S3", load::consume),
    ("S4", load::end_to_end),
    ("S7", transactions::transactions),
    ("S8", processors::processors),
    ("S9", load::restart_after_kill),
    ("S10", load::start),
    ("S11", interceptors::produce),
    ("S12", partitioners::partitioners),
    ("S13", state::count),
    ("S14", hosting::first_output),
    ("S15", hosting::idle),
    ("S16", neighbours::neighbours),
];

fn main() -> anyhow::Result<()> {
    if let Some(child) = native::ChildArguments::from_command_line() {
        return native::run(child);
    }
    let only: Option<Vec<String>> =
        std::env::var("BENCH_ONLY").ok().map(|names| names.split(',').map(str::to_owned).collect());
    let repeats = match std::env::var("BENCH_REPEATS") {
        Ok(repeats) => repeats.parse().context("BENCH_REPEATS")?,
        Err(_) => 5,
    };
    let (brokers, is_comparison) = brokers();
    let mut bench = Bench { repeats, brokers, book: Book::start()? };
    for (name, run) in SCENARIOS {
        if only.as_ref().is_some_and(|only| !only.iter().any(|wanted| wanted == name)) {
            continue;
        }
        eprintln!("{name} …");
        run(&mut bench).with_context(|| name)?;
    }
    let text = bench.book.render(repeats)?;
    if only.is_some() || is_comparison {
        println!("{text}");
    } else {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
        std::fs::write(&path, &text)?;
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

/// A module that `tools/build-guests` has built; without it the scenario is left out, and the page says so.
fn guest(bench: &mut Bench, scenario: &str, name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/guests/{name}.wasm"));
    if !path.exists() {
        bench.book.note(format!("{scenario} without {name}: `tools/build-guests` has not run."));
        return None;
    }
    Some(path.to_string_lossy().into_owned())
}

/// The brokers that are measured: the one that was built with this, unless the environment names others.
fn brokers() -> (Vec<Flavour>, bool) {
    match std::env::var("BENCH_BROKERS") {
        Ok(list) => {
            let parsed = list.split(',').filter_map(|entry| entry.split_once('='));
            (parsed.map(|(name, path)| Flavour::new(name, path)).collect(), true)
        }
        Err(_) => (vec![Flavour::new("", env!("CARGO_BIN_EXE_tidemill"))], false),
    }
}
