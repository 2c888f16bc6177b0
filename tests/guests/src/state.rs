//! Does to the store `s` what a record's value says, and sends the answer; some of it breaks rules.

use std::mem;

use tidemill_guest::bindings::flat_world::tidemill::plugin::state as wit;
use tidemill_guest::state::KeyRange;
use tidemill_guest::timers::{self, Timer, TimerDomain};
use tidemill_guest::{Error, Output, Record, Store, clock, random};

/// Obeys a record, with a store that lives as long as the instance.
pub fn obey(store: &Store, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
    let words: Vec<&str> = record.value_str()?.split(' ').collect();
    let answer = match words.as_slice() {
        ["put", key, value] => {
            store.put(key, value);
            "done".to_owned()
        }
        ["put-until", key, value, expires] => {
            store.put_until(key, value, expires.parse()?);
            "done".to_owned()
        }
        ["delete", key] => {
            store.delete(key);
            "done".to_owned()
        }
        ["get", key] => shown(store.get(key)),
        ["get-many", keys @ ..] => store.get_many(keys).into_iter().map(shown).collect::<Vec<_>>().join(" "),
        ["add", key, delta] => store.add(key, delta.parse()?).to_string(),
        ["scan", first, last] => keys(store.scan(range(first, last))),
        ["scan-back", first, last] => keys(store.scan(range(first, last)).descending()),
        ["fill", entries] => {
            let keys: Vec<String> = (0..entries.parse()?).map(|number: u32| format!("{number:05}")).collect();
            keys.iter().for_each(|key| store.put(key, key));
            let many = store.get_many(&keys).into_iter().flatten().filter(|value| value.len() == 5).count();
            format!("{many} {} {}", store.scan(..).count(), store.scan(..).descending().count())
        }
        ["fill-large", entries, bytes] => {
            let value = vec![7; bytes.parse()?];
            (0..entries.parse()?).for_each(|key: u8| store.put([key], &value));
            pages(store)
        }
        ["put-value", bytes] => {
            store.put("large", vec![7; bytes.parse()?]);
            "done".to_owned()
        }
        ["forever"] => {
            let mut number = 0u64;
            loop {
                store.put(number.to_string(), [7; 1000]);
                number += 1;
            }
        }
        ["other", name] => shown(Store::open(*name).get("k")),
        ["after-drop"] => {
            let handle = wit::Store::new("s");
            let number = handle.handle();
            drop(handle);
            // SAFETY: the number means nothing any more, which the broker is to find out.
            let dangling = unsafe { wit::Store::from_handle(number) };
            shown(dangling.get(b"k"))
        }
        ["handles", count] => {
            (0..count.parse()?).for_each(|_: u32| mem::forget(wit::Store::new("s")));
            "done".to_owned()
        }
        ["handles-in-turn", count] => {
            (0..count.parse()?).for_each(|_: u32| drop(wit::Store::new("s")));
            "done".to_owned()
        }
        ["timer", of, id, at, payload] => {
            timers::set(domain(of), id, at.parse()?, payload);
            "done".to_owned()
        }
        ["cancel", of, id] => timers::cancel(domain(of), id).to_string(),
        ["clock"] => format!("{} {:?}", clock::now(), clock::stream_time()),
        ["random"] => format!("{:?}", [0; 2].map(|_| random::next())),
        ["wasi"] => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            let mut bytes = [0; 12];
            getrandom::fill(&mut bytes).map_err(|error| Error::fatal(error.to_string()))?;
            format!("{} {bytes:?}", now.as_millis())
        }
        _ => return Err(Error::reject("unheard of")),
    };
    out.send("out", (), answer);
    Ok(())
}

/// Says what is known of a timer; `bad` is rejected, `panic` panics, `again` sets the timer once more.
pub fn fire(timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
    match timer.payload {
        b"bad" => return Err(Error::reject("bad timer")),
        b"panic" => panic!("the timer is not to my taste"),
        b"again" => timers::set(timer.domain, timer.id, timer.at + 1, "last"),
        _ => {}
    }
    let Timer { domain, id, at, payload, attempt } = timer;
    let text = [id, b" ", payload].concat();
    let text = String::from_utf8_lossy(&text);
    out.send(
        "out",
        id,
        format!("{domain:?} {at} {text} {attempt} {} {:?}", clock::now(), clock::watermark()),
    );
    Ok(())
}

fn domain(word: &str) -> TimerDomain {
    if word == "event" { TimerDomain::EventTime } else { TimerDomain::ProcessingTime }
}

fn shown(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
}

fn keys(scan: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> String {
    scan.map(|(key, value)| format!("{}={}", shown(Some(key)), shown(Some(value))))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `-` is no bound.
fn range(first: &str, last: &str) -> KeyRange {
    let bound = |word: &str| (word != "-").then(|| word.as_bytes().to_vec());
    KeyRange { first: bound(first), last: bound(last) }
}

/// How much the broker gives at once, whatever is asked for.
fn pages(store: &Store) -> String {
    let handle = wit::Store::new(store.name());
    let everything = wit::KeyRange { first: None, last: None };
    let page = |limit| {
        let page = handle.scan(&everything, wit::Direction::Ascending, limit);
        format!("{}{}", page.entries.len(), if page.more { "+" } else { "" })
    };
    let keys: Vec<Vec<u8>> = store.scan(..).map(|(key, _)| key).collect();
    let values = store.get_many(&keys).into_iter().flatten().count();
    format!("{} {} {} of {values}", page(u32::MAX), page(0), handle.get_many(&keys).len())
}
