//! A partitioner for the broker's tests: it does with each record what the prefix of its value says (`to:3` is a
//! choice), else as Kafka would, and behaves as its config key `behaviour` says, mostly badly.

use std::hint::black_box;

use tidemill_guest::bindings::typed::{Fault, FaultReason};
use tidemill_guest::{Error, Partitioner, Record, config, config_or, count, default_partition, info};

/// One partitioner for every behaviour.
pub struct TestPartitioner {
    behaviour: String,
    hoard: Vec<Vec<u8>>,
}

impl Partitioner for TestPartitioner {
    fn configure() -> Result<TestPartitioner, Error> {
        let behaviour = config("behaviour").unwrap_or_default();
        match behaviour.as_str() {
            "refuse" => return Err(Error::fatal("the config key `threshold` is missing")),
            "trap-configure" => trap(),
            "loop-configure" => spin(),
            "slow-configure" => {
                for round in 0..config_or("rounds", 1u64 << 24)? {
                    black_box(round);
                }
            }
            _ => {}
        }
        info!("configured");
        Ok(TestPartitioner { behaviour, hoard: Vec::new() })
    }

    fn partition(&mut self, topic: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error> {
        count("placed", 1);
        self.misbehave();
        let text = record.value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let (prefix, rest) = text.split_once(':').unwrap_or_default();
        match prefix {
            "to" => Ok(rest.parse()?),
            "offset" => Ok(record.offset as u32),
            "headers" => Ok(record.headers.len() as u32),
            "time" => Ok((record.timestamp % i64::from(partitions)) as u32),
            "fault" => Err(Error::reject(format!("{rest} in {topic} of {partitions}"))),
            "retry" => Err(Error::retry(rest)),
            "fatal" => Err(Error::fatal(rest)),
            "trap" => trap(),
            "loop" => spin(),
            _ => Ok(default_partition(&record, partitions)),
        }
    }

    fn close(&mut self) {
        match self.behaviour.as_str() {
            "trap-close" => trap(),
            "loop-close" => spin(),
            _ => {}
        }
        info!("closed");
        count("closed", 1);
    }
}

impl TestPartitioner {
    fn misbehave(&mut self) {
        match self.behaviour.as_str() {
            "eat" => loop {
                self.hoard.push(black_box(vec![1; 1 << 20]));
            },
            "recurse" => {
                black_box(recurse(black_box(1)));
            }
            "flood-log" => {
                for line in 0..1000 {
                    info!("line {line}");
                }
            }
            _ => {}
        }
    }
}

/// What the broker is told instead of the honest answer: what the SDK would never give. The same in both worlds.
fn told(honest: Result<Vec<u32>, Fault>) -> Result<Vec<u32>, Fault> {
    let mut choices = honest?;
    match config("behaviour").as_deref().unwrap_or_default() {
        "too-few" => drop(choices.pop()),
        "too-many" => choices.push(0),
        "none" => choices.clear(),
        "huge" => choices.resize(config_or("choices", 0).unwrap_or_default(), 0),
        "lie-index" => {
            return Err(Fault {
                index: 1_000_000,
                reason: FaultReason::Reject,
                message: "who knows".to_owned(),
            });
        }
        _ => {}
    }
    Ok(choices)
}

fn trap() -> ! {
    panic!("asked to trap");
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let pad = black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1).wrapping_add(pad[usize::try_from(depth % 64).unwrap_or(0)])
}

#[cfg(feature = "flat")]
mod flat;
#[cfg(feature = "typed")]
mod typed;
