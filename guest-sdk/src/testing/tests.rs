use super::*;
use crate::timers::{Timer, TimerDomain};
use crate::{Record, config_or, config_parsed};

struct Everything;

impl Processor for Everything {
    fn init(_: &Context) -> Result<Self, Error> {
        Ok(Everything)
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        if record.value == Some(b"bad") {
            return Err(Error::retry("later"));
        }
        out.send("copy", record.key, record.value).headers_of(&record);
        let mut sent = out.send("many", (), "x").partition(7).timestamp(record.timestamp + 1);
        for index in 0..70 {
            sent = sent.header("n", index.to_string());
        }
        Ok(())
    }
}

#[test]
fn what_is_sent_comes_out_with_everything_set() {
    let mut record = TestRecord::new("k", ());
    record.headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("null".to_owned(), None)];
    record.timestamp = 41;
    let outputs = run(&mut Everything, &[TestRecord::new((), "first"), record.clone()]).unwrap();
    assert_eq!(outputs.len(), 4);
    assert_eq!((outputs[2].key_str(), &outputs[2].value, &outputs[2].headers), ("k", &None, &record.headers));
    assert_eq!((outputs[2].source, outputs[2].partition, outputs[2].timestamp), (1, None, None));
    assert_eq!(
        (outputs[3].partition, outputs[3].timestamp, outputs[3].headers.len()),
        (Some(7), Some(42), 70)
    );
}

#[test]
fn an_error_names_its_record() {
    let records = [TestRecord::new((), "good"), TestRecord::new((), "bad")];
    assert_eq!(run(&mut Everything, &records), Err((1, Error::retry("later"))));
}

#[test]
fn config_is_parsed_with_the_key_in_the_error() {
    set_config(&[("number", "12"), ("word", "x")]);
    assert_eq!(config_parsed::<u32>("number"), Ok(12));
    assert_eq!(config_or::<u32>("absent", 3), Ok(3));
    assert!(config_parsed::<u32>("word").unwrap_err().message.contains("`word` is `x`"));
    assert!(config_parsed::<u32>("absent").unwrap_err().message.contains("`absent` is missing"));
}

#[test]
fn a_record_is_kept_as_bytes_with_everything() {
    struct Keep;
    impl Processor for Keep {
        fn init(_: &Context) -> Result<Self, Error> {
            Ok(Keep)
        }

        fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
            let bytes = record.to_bytes();
            let kept = Record::from_bytes(&bytes)?;
            assert_eq!(format!("{kept:?}"), format!("{record:?}"));
            for cut in 0..bytes.len() - 3 {
                // What is cut off in the middle of the headers is only seen when they are read.
                let _ = Record::from_bytes(&bytes[..cut]).map(|record| record.headers.iter().count());
            }
            out.send("kept", kept.key, kept.value).headers_of(&kept);
            Ok(())
        }
    }
    let headers = vec![("h".to_owned(), Some(vec![0; 200])), ("null".to_owned(), None)];
    let records =
        [TestRecord { headers, timestamp: -1, ..TestRecord::new("k", ()) }, TestRecord::new((), "v")];
    let outputs = run(&mut Keep, &records).unwrap();
    assert_eq!((&outputs[0].headers, &outputs[0].value), (&records[0].headers, &None));
    assert!(Record::from_bytes(b"").is_err() && Record::from_bytes(b"\x02\x01").is_err());
}

#[test]
fn what_is_forwarded_is_what_the_record_says_now() {
    /// Forwards a record as it came, with a header more, with a part of it changed, and from its kept bytes.
    struct Forward;
    impl Processor for Forward {
        fn init(_: &Context) -> Result<Self, Error> {
            Ok(Forward)
        }

        fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
            out.forward("whole", &record);
            out.forward("whole", &record).header("more", "x").partition(3).timestamp(9);
            out.forward("changed", &Record { key: Some(b"k2"), ..record });
            out.forward("changed", &Record { value: None, ..record });
            out.forward("changed", &Record { value: record.value.map(|value| &value[1..]), ..record });
            out.forward("changed", &Record { headers: crate::Headers::NONE, ..record });
            out.forward("whole", &Record::from_bytes(&record.to_bytes())?);
            Ok(())
        }
    }
    let header = |name: &str| (name.to_owned(), Some(b"v".to_vec()));
    for count in [0, 1, 63, 64, 200] {
        let headers: Vec<_> = (0..count).map(|number| header(&number.to_string())).collect();
        let record = TestRecord { headers: headers.clone(), ..TestRecord::new("k", "value") };
        let outputs = run(&mut Forward, &[record, TestRecord::new((), "no key")]).unwrap();
        let said = |output: &TestOutput| (output.key.clone(), output.value.clone(), output.headers.clone());
        let (key, value) = (Some(b"k".to_vec()), Some(b"value".to_vec()));
        assert_eq!(said(&outputs[0]), (key.clone(), value.clone(), headers.clone()), "{count}");
        let more = [&headers[..], &[("more".to_owned(), Some(b"x".to_vec()))]].concat();
        assert_eq!(said(&outputs[1]), (key.clone(), value.clone(), more), "{count}");
        assert_eq!((outputs[1].partition, outputs[1].timestamp), (Some(3), Some(9)));
        assert_eq!(said(&outputs[2]), (Some(b"k2".to_vec()), value.clone(), headers.clone()), "{count}");
        assert_eq!(said(&outputs[3]), (key.clone(), None, headers.clone()), "{count}");
        assert_eq!(said(&outputs[4]), (key.clone(), Some(b"alue".to_vec()), headers.clone()), "{count}");
        assert_eq!(said(&outputs[5]), (key.clone(), value.clone(), Vec::new()), "{count}");
        assert_eq!(said(&outputs[6]), (key.clone(), value.clone(), headers.clone()), "{count}");
        assert_eq!(outputs[7].key, None);
    }
}

/// Sets the timer that a record's value names: `DOMAIN ID AT`, or takes it away: `cancel DOMAIN ID`.
struct Timed;

impl Processor for Timed {
    fn init(_: &Context) -> Result<Self, Error> {
        Ok(Timed)
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let words: Vec<_> = record.value_str()?.split(' ').collect();
        let domain =
            |word| if word == "event" { TimerDomain::EventTime } else { TimerDomain::ProcessingTime };
        match words[..] {
            ["cancel", of, id] => {
                out.send("out", (), crate::timers::cancel(domain(of), id).to_string());
            }
            [of, id, at] => crate::timers::set(domain(of), id, at.parse()?, format!("{id}!")),
            _ => {}
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
        if timer.id == b"bad" {
            return Err(Error::reject("bad"));
        }
        out.send("out", timer.id, timer.payload).timestamp(timer.at);
        Ok(())
    }
}

#[test]
fn timers_fire_by_their_times_and_once() {
    let at = |timestamp, value: &str| TestRecord { timestamp, ..TestRecord::new((), value) };
    let values =
        |outputs: Vec<TestOutput>| outputs.iter().map(|out| out.value_str().to_owned()).collect::<Vec<_>>();
    let records = [
        at(1, "event b 20"),
        at(1, "event a 20"),
        at(1, "event c 10"),
        at(1, "processing p 50"),
        at(2, "event d 9"),
    ];
    assert_eq!(values(run(&mut Timed, &records).unwrap()), Vec::<String>::new());
    assert_eq!(
        values(run(&mut Timed, &[at(10, "cancel event d"), at(3, "cancel event d")]).unwrap()),
        ["true", "false", "c!"]
    );
    assert_eq!(values(run(&mut Timed, &[at(25, "x")]).unwrap()), ["a!", "b!"]);
    set_now(50);
    assert_eq!(values(fire_timers(&mut Timed).unwrap()), ["p!"]);
    assert_eq!(fire_timers(&mut Timed).unwrap(), []);
}

#[test]
fn a_timer_that_fails_stays_due() {
    let records = [TestRecord::new((), "event bad 0"), TestRecord::new((), "event good 0")];
    process(&mut Timed, &records).unwrap();
    for _ in 0..2 {
        let (index, error) = fire_timers(&mut Timed).unwrap_err();
        assert_eq!((index, error.message.as_str()), (0, "bad"));
    }
}
