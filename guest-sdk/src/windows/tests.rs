use super::*;
use crate::testing::{self, TestRecord};
use crate::{Context, Output, Processor, Record};

type Counted = (String, i64, i64, u64);

fn at(timestamp: i64, key: &str) -> TestRecord {
    TestRecord { timestamp, ..TestRecord::new(key, "v") }
}

/// Keeps what closes; the number of windows of each record goes out.
struct Counting {
    windows: Windows<String, u64>,
    closed: Vec<Counted>,
}

impl Processor for Counting {
    fn init(_: &Context) -> Result<Counting, Error> {
        unreachable!("made by the tests");
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let windows = self.windows.update(record.key_str()?, record.timestamp, |count| *count += 1)?;
        out.send("windows", (), windows.to_string());
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, _: &mut Output) -> Result<(), Error> {
        let Closed { key, window, value } = self.windows.closed(&timer)?.expect("no other timers are set");
        self.closed.push((key, window.start, window.end, value));
        Ok(())
    }
}

fn counting(windows: Windows<String, u64>) -> Counting {
    Counting { windows, closed: Vec::new() }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn run(counting: &mut Counting, records: &[TestRecord]) -> String {
    let outputs = testing::run(counting, records).unwrap();
    outputs.iter().map(|output| output.value_str().to_owned()).collect::<Vec<_>>().join(" ")
}

fn counted(key: &str, start: i64, end: i64, count: u64) -> Counted {
    (key.to_owned(), start, end, count)
}

#[test]
fn tumbling_windows_close_when_the_stream_has_passed_them() {
    let mut counting = counting(Windows::tumbling("w", ms(10)));
    assert_eq!(run(&mut counting, &[at(0, "a"), at(9, "a"), at(9, "b")]), "1 1 1");
    assert_eq!(counting.closed, []);
    run(&mut counting, &[at(10, "a")]);
    assert_eq!(counting.closed, [counted("a", 0, 10, 2), counted("b", 0, 10, 1)]);
    // Too late for the first, whichever key it is of.
    assert_eq!(run(&mut counting, &[at(5, "c"), at(12, "a"), at(40, "a")]), "0 1 1");
    assert_eq!(counting.closed[2..], [counted("a", 10, 20, 2)]);
    assert_eq!(testing::counter("late_records"), 1);
    let left = testing::in_call(|| crate::Store::open("w").scan(..).count());
    assert_eq!(left, 1, "what is closed is gone");
}

#[test]
fn the_grace_is_for_late_records() {
    let mut counting = counting(Windows::tumbling("w", ms(10)).grace(ms(5)));
    assert_eq!(run(&mut counting, &[at(1, "a"), at(14, "a"), at(2, "a")]), "1 1 1");
    assert_eq!(counting.closed, []);
    assert_eq!(run(&mut counting, &[at(15, "a"), at(3, "a")]), "1 0");
    assert_eq!(counting.closed, [counted("a", 0, 10, 2)]);
}

#[test]
fn a_record_falls_into_all_hopping_windows_around_it() {
    let mut counting = counting(Windows::hopping("w", ms(10), ms(4)));
    assert_eq!(run(&mut counting, &[at(0, "a"), at(9, "a"), at(11, "a")]), "1 3 2");
    // Time goes on for the windows that are open, and not for those that are not.
    assert_eq!(run(&mut counting, &[at(7, "a"), at(100, "b")]), "1 3");
    let expected = [counted("a", 0, 10, 2), counted("a", 4, 14, 3), counted("a", 8, 18, 2)];
    assert_eq!(counting.closed, expected);
}

#[test]
fn windows_may_be_longer_than_32_bits_of_milliseconds() {
    const DAY: u64 = 86_400_000;
    let windows = Windows::<String, u64>::hopping("w", ms(120 * DAY), ms(60 * DAY));
    let starts: Vec<i64> = windows.starts(200 * 86_400_000).collect();
    assert_eq!(starts, [120 * 86_400_000, 180 * 86_400_000]);
}

#[test]
fn windows_with_gaps_between_them_leave_records_out() {
    let mut counting = counting(Windows::hopping("w", ms(3), ms(10)));
    assert_eq!(run(&mut counting, &[at(2, "a"), at(3, "a"), at(10, "a")]), "1 0 1");
    assert_eq!(testing::counter("late_records"), 0);
}

#[test]
fn what_a_window_holds_does_not_depend_on_batches() {
    let times = [3, 17, 9, 10, 31, 8, 25, 12, 44, 39, 41, 20, 60];
    let records: Vec<TestRecord> = times.iter().map(|time| at(*time, "a")).collect();
    let closed_in = |batch: usize| {
        let name = format!("batches-of-{batch}");
        let mut counting = counting(Windows::tumbling(name, ms(10)).grace(ms(9)));
        // Each round begins a new stream, whose time begins before all records.
        testing::forget_stream_time();
        records.chunks(batch).for_each(|batch| drop(run(&mut counting, batch)));
        counting.closed
    };
    let expected = closed_in(1);
    assert_eq!(expected.len(), 5);
    for batch in 2..=times.len() {
        assert_eq!(closed_in(batch), expected, "batches of {batch}");
    }
}

#[test]
fn a_record_without_a_timestamp_is_refused() {
    let mut counting = counting(Windows::tumbling("w", ms(10)));
    let (_, error) = testing::run(&mut counting, &[at(-1, "a")]).unwrap_err();
    assert!(error.message.contains("no timestamp"), "{error:?}");
}

struct Visits {
    sessions: Sessions<String, Vec<i64>>,
    closed: Vec<(i64, i64, Vec<i64>)>,
}

impl Processor for Visits {
    fn init(_: &Context) -> Result<Visits, Error> {
        unreachable!("made by the tests");
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let merge = |first: &mut Vec<i64>, later| first.extend::<Vec<i64>>(later);
        let change = |times: &mut Vec<i64>| times.push(record.timestamp);
        let session = self.sessions.update(record.key_str()?, record.timestamp, merge, change)?;
        let session = session.map_or("late".to_owned(), |window| format!("{}-{}", window.start, window.end));
        out.send("sessions", (), session);
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, _: &mut Output) -> Result<(), Error> {
        let Closed { window, value, .. } = self.sessions.closed(&timer)?.expect("no other timers are set");
        self.closed.push((window.start, window.end, value));
        Ok(())
    }
}

fn visited(visits: &mut Visits, times: &[i64]) -> String {
    let records: Vec<_> = times.iter().map(|time| at(*time, "anna")).collect();
    let outputs = testing::run(visits, &records).unwrap();
    outputs.iter().map(|output| output.value_str().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn sessions_grow_merge_and_close_after_the_gap() {
    let mut visits = Visits { sessions: Sessions::new("s", ms(10)).grace(ms(5)), closed: Vec::new() };
    assert_eq!(visited(&mut visits, &[100, 105, 90, 120]), "100-100 100-105 90-105 120-120");
    // Within the gap of both.
    assert_eq!(visited(&mut visits, &[115]), "90-120");
    assert_eq!(visited(&mut visits, &[116, 135]), "90-120 135-135");
    assert_eq!(visits.closed, [], "120, the gap and the grace reach to 136");
    assert_eq!(visited(&mut visits, &[136, 110]), "135-136 late");
    assert_eq!(visits.closed, [(90, 120, vec![100, 105, 90, 120, 115, 116])]);
    assert_eq!(testing::counter("late_records"), 1);
    // Of sessions that were put together, one timer is left, and one entry.
    visited(&mut visits, &[500]);
    assert_eq!(visits.closed[1..], [(135, 136, vec![135, 136])]);
    assert_eq!(testing::in_call(|| crate::Store::open("s").scan(..).count()), 1);
}
