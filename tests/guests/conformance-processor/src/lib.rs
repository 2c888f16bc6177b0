//! The conformance list's processor in Rust: see tests/conformance/README.md.

use std::hint::black_box;
use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_guest::bindings::flat_world::tidemill::plugin::state as wit;
use tidemill_guest::timers::{self, Timer, TimerDomain};
use tidemill_guest::{Context, Error, Level, Output, Processor, Record, Store, clock, config, count, log, random};

struct Conformance;

impl Processor for Conformance {
    fn init(context: &Context) -> Result<Conformance, Error> {
        let init = config("init").unwrap_or_default();
        match init.split_once(' ').unwrap_or((&init, "")) {
            ("refuse", words) => return Err(Error::fatal(words)),
            ("trap", words) => panic!("{words}"),
            ("loop", _) => spin(),
            _ => {}
        }
        let Context { processor, topic, partition } = context;
        log(Level::Info, &format!("started {processor} {topic} {partition}"));
        Ok(Conformance)
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let command = record.header("do").map_or("copy", text);
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        let store = Store::open("s");
        let answer = match (verb, words.as_slice()) {
            ("copy", _) => {
                out.send("out", record.key, record.value).headers_of(&record);
                return Ok(());
            }
            ("nothing", _) => return Ok(()),
            ("send", [topic, partition, timestamp]) => {
                let (partition, timestamp) = (partition.parse()?, timestamp.parse()?);
                let sent = out.send(topic, record.key, record.value).headers_of(&record);
                sent.partition(partition).timestamp(timestamp);
                return Ok(());
            }
            ("config", _) => config(rest).map(String::into_bytes),
            ("where", _) => {
                let Record { topic, partition, attempt, offset, timestamp, .. } = record;
                Some(format!("{topic} {partition} {attempt} {offset} {timestamp}").into_bytes())
            }
            ("log", [level, ..]) => {
                log(level_of(level)?, rest.split_once(' ').map_or("", |(_, words)| words));
                return Ok(());
            }
            ("print", _) => {
                println!("{rest}");
                return Ok(());
            }
            ("count", [counter, value]) => {
                count(counter, value.parse()?);
                return Ok(());
            }
            ("reject", _) => return Err(Error::reject(rest)),
            ("retry", _) => return Err(Error::retry(rest)),
            ("fatal", _) => return Err(Error::fatal(rest)),
            ("trap", _) => panic!("{rest}"),
            ("loop", _) => spin(),
            ("grow", _) => grow(),
            ("put", [key]) => {
                store.put(key, record.value.unwrap_or_default());
                return Ok(());
            }
            ("get", [key]) => store.get(key),
            ("delete", [key]) => {
                store.delete(key);
                return Ok(());
            }
            ("add", [key, delta]) => Some(store.add(key, delta.parse()?).to_string().into_bytes()),
            ("scan", [first, last, direction, limit]) => Some(scan(first, last, direction, limit.parse()?)),
            ("timer", [domain, id, at]) => {
                timers::set(domain_of(domain)?, id, at.parse()?, record.value.unwrap_or_default());
                return Ok(());
            }
            ("cancel", [domain, id]) => Some(timers::cancel(domain_of(domain)?, id).to_string().into_bytes()),
            ("clock", _) => {
                let stream_time = clock::stream_time().map_or_else(|| "-".to_owned(), |time| time.to_string());
                Some(format!("{} {stream_time}", clock::now()).into_bytes())
            }
            ("random", _) => Some(format!("{} {}", random::next(), random::next()).into_bytes()),
            ("ambient", _) => Some(ambient()?.into_bytes()),
            _ => return Err(Error::reject(format!("unheard of: {command}"))),
        };
        out.send("out", record.key, answer).headers_of(&record);
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
        let Timer { domain, id, at, payload, attempt } = timer;
        if payload == b"reject" {
            return Err(Error::reject("a bad timer"));
        }
        let domain = if domain == TimerDomain::EventTime { "event" } else { "processing" };
        out.send("out", id, format!("{domain} {at} {attempt} {}", text(payload)));
        Ok(())
    }
}

fn domain_of(word: &str) -> Result<TimerDomain, Error> {
    match word {
        "event" => Ok(TimerDomain::EventTime),
        "processing" => Ok(TimerDomain::ProcessingTime),
        _ => Err(Error::reject("no such time")),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("commands are text")
}

fn level_of(name: &str) -> Result<Level, Error> {
    Ok(match name {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => return Err(Error::reject("no such level")),
    })
}

/// One page, which the SDK's iterator does not show.
fn scan(first: &str, last: &str, direction: &str, limit: u32) -> Vec<u8> {
    let bound = |key: &str| Some(key.as_bytes().to_vec());
    let range = wit::KeyRange { first: bound(first), last: bound(last) };
    let direction = match direction {
        "descending" => wit::Direction::Descending,
        _ => wit::Direction::Ascending,
    };
    let page = wit::Store::new("s").scan(&range, direction, limit);
    let entries = page.entries.iter().map(|entry| format!("{}={} ", text(&entry.key), text(&entry.value)));
    let end = if page.more { "more" } else { "end" };
    (entries.collect::<String>() + end).into_bytes()
}

/// The standard library's clock, and the randomness that crates get.
fn ambient() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::fatal(error.to_string()))?;
    Ok(format!("{} {}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(), u64::from_le_bytes(bytes)))
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1u8; 1 << 20]));
    }
}

#[cfg(feature = "flat")]
tidemill_guest::processor!(Conformance);

#[cfg(feature = "typed")]
tidemill_guest::processor_typed!(Conformance);
