//! A plugin that behaves as its config key `behaviour` says, mostly badly; for the broker's tests.

mod state;

use std::collections::HashMap;
use std::hint::black_box;

use tidemill_guest::timers::{self, Timer, TimerDomain};
use tidemill_guest::{Context, Error, Output, Processor, Record, Store, config, config_or};

/// One processor for every behaviour.
pub struct TestGuest {
    behaviour: String,
    seen: HashMap<Vec<u8>, u64>,
    hoard: Vec<Vec<u8>>,
    store: Store,
}

impl Processor for TestGuest {
    fn init(context: &Context) -> Result<TestGuest, Error> {
        let behaviour = config("behaviour").unwrap_or_else(|| "uppercase".to_owned());
        match behaviour.as_str() {
            "refuse-init" => return Err(Error::fatal("the config key `threshold` is missing")),
            "panic-in-init" => panic!("cannot start"),
            "loop-in-init" => spin(),
            "state-in-init" => {
                Store::open("s").get("k");
            }
            "clock-in-init" => {
                tidemill_guest::clock::stream_time();
            }
            "random-in-init" => {
                tidemill_guest::random::next();
            }
            "timers-in-init" => {
                timers::cancel(TimerDomain::EventTime, "t");
            }
            "log-context" => {
                tidemill_guest::info!("{} {}-{}", context.processor, context.topic, context.partition);
            }
            _ => {}
        }
        Ok(TestGuest { behaviour, seen: HashMap::new(), hoard: Vec::new(), store: Store::open("s") })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        match self.behaviour.as_str() {
            "loop" => spin(),
            "eat-memory" => loop {
                self.hoard.push(black_box(vec![1; 1 << 20]));
            },
            "recurse" => {
                black_box(recurse(black_box(1)));
            }
            "panic" => panic!("the record at offset {} is not to my taste", record.offset),
            #[cfg(target_family = "wasm")]
            "unreachable" => core::arch::wasm32::unreachable(),
            "exit" => std::process::exit(3),
            "copy" => {
                out.send("out", record.key, record.value).headers_of(&record);
            }
            "sleep" => std::thread::sleep(std::time::Duration::from_secs(3600)),
            "slow" => {
                for round in 0..config_or("rounds", 1u64 << 20)? {
                    black_box(round);
                }
            }
            "log-flood" => {
                for line in 0..1000 {
                    tidemill_guest::info!("line {line}");
                }
            }
            "print" => {
                print!("half ");
                println!("a line");
                eprintln!("a complaint");
            }
            "huge" => {
                let bytes = config_or("bytes", 1usize << 30)?;
                let value = vec![7; 1 << 20];
                for _ in 0..bytes >> 20 {
                    out.send("out", (), &value);
                }
            }
            "state" => state::obey(&self.store, record, out)?,
            "fail-on" if record.value == Some(b"poison") => return Err(Error::reject("poison")),
            "retry-on" if record.value == Some(b"poison") => return Err(Error::retry("not yet")),
            "unknown-topic" => {
                out.send("no/such topic", record.key, record.value);
            }
            "ambient" => {
                let (wall, start) = (std::time::SystemTime::now(), std::time::Instant::now());
                let seen = self.seen.entry(record.key.unwrap_or_default().to_vec()).or_default();
                *seen += 1;
                let order: Vec<_> = (0..20).collect::<std::collections::HashSet<u32>>().into_iter().collect();
                let text = format!(
                    "{wall:?} {:?} {seen} {order:?} {:?} {:?} {:?}",
                    start.elapsed(),
                    std::env::vars().collect::<Vec<_>>(),
                    std::env::args().collect::<Vec<_>>(),
                    std::fs::read_dir("/").err().map(|error| error.kind()),
                );
                out.send("out", record.key, text);
            }
            _ => {
                let value = record.value.map(|value| value.to_ascii_uppercase());
                out.send("out", record.key, value).headers_of(&record).header("by", "test-guest");
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
        state::fire(timer, out)
    }
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

#[cfg(feature = "typed")]
tidemill_guest::processor_typed!(TestGuest);

#[cfg(feature = "flat")]
mod flat;
