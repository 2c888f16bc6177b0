use super::*;

#[test]
fn both_worlds_give_the_same_records_for_the_same_input() {
    let fixture = Fixture::new();
    let input = batch_of(vec![chunk(5, &[Some(b"one"), None]), chunk(9, &[Some(b"three")])]);
    let mut outputs = BOTH.map(|name| {
        let mut instance = fixture.behaving(name, "uppercase");
        instance.run(&batch(&["warm", "up"])).unwrap();
        instance.run(&input).unwrap()
    });
    let [flat, typed] = &mut outputs;
    assert_eq!(flat.bytes(), typed.bytes());
    let records: Vec<_> = flat.iter().collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].value, Some(&b"ONE"[..]));
    assert_eq!((records[1].key, records[1].value), (Some(&b"k1"[..]), None));
    assert_eq!((records[2].value, records[2].source_index), (Some(&b"THREE"[..]), 2));
    assert!(records.iter().all(|record| record.topic == "out" && record.timestamp.is_none()));
    let headers: Vec<_> = records[0].headers.iter().collect();
    assert_eq!(headers, [("h", None), ("by", Some(&b"test-guest"[..]))]);
}

#[test]
fn an_empty_batch_gives_an_empty_output() {
    let fixture = Fixture::new();
    for name in BOTH {
        assert!(fixture.behaving(name, "uppercase").run(&batch(&[])).unwrap().is_empty());
    }
}

#[test]
fn a_failing_record_is_named_and_the_instance_lives_on() {
    let fixture = Fixture::new();
    for name in BOTH {
        for (behaviour, reason) in [("fail-on", FaultReason::Reject), ("retry-on", FaultReason::Retry)] {
            let mut instance = fixture.behaving(name, behaviour);
            let input = batch_of(vec![chunk(0, &[Some(b"a"), Some(b"b")]), chunk(2, &[Some(b"poison")])]);
            let fault = instance.run(&input).map(|output| output.len()).unwrap_err();
            assert!(
                matches!(fault, ProcessFault::Record { index: 2, reason: r, .. } if r == reason),
                "{fault}"
            );
            assert_eq!(instance.run(&batch(&["fine"])).unwrap().len(), 1);
        }
    }
}

#[test]
fn guests_cannot_tell_two_runs_apart() {
    let fixture = Fixture::new();
    for name in with_wasi() {
        let [first, second] = [0, 1].map(|_| {
            let mut instance = fixture.behaving(name, "ambient");
            let rounds = [0, 1].map(|_| instance.run(&batch(&["a", "b"])).unwrap().bytes().to_vec());
            rounds.concat()
        });
        assert_eq!(first, second);
        let text = String::from_utf8_lossy(&first).into_owned();
        assert!(text.contains("tv_sec: 0") || text.contains("SystemTime"), "{text}");
        assert!(!text.contains("PATH"), "{text}");
    }
}

#[test]
fn guests_know_who_they_are_and_what_they_print_is_logged() {
    let fixture = Fixture::new();
    for name in with_wasi() {
        fixture.behaving(name, "log-context");
        fixture.behaving(name, "print").run(&batch(&["a"])).unwrap();
        let lines = std::mem::take(&mut *fixture.lines.lock());
        let seen: Vec<_> = lines.iter().map(|line| (line.source, line.message.as_str())).collect();
        assert_eq!(
            seen,
            [
                (LogSource::Log, "proc in-0"),
                (LogSource::Stdout, "half a line"),
                (LogSource::Stderr, "a complaint")
            ]
        );
    }
}

#[test]
fn the_examples_run() {
    let fixture = Fixture::new();
    let mut quakes = fixture.behaving("quake-alerts", "");
    let quake = r#"{"id":"x","properties":{"mag":6.5,"place":"9 km W of Hilo, Hawaii","time":1},
        "geometry":{"coordinates":[1.0,2.0,3.0]}}"#;
    let output = quakes.run(&batch(&[quake])).unwrap();
    assert_eq!(output.topics().collect::<Vec<_>>(), ["quakes.classified", "quakes.alerts"]);
    assert!(output.iter().all(|record| record.key == Some(b"Hawaii")));
    let fault = quakes.run(&batch(&[quake, "no json"])).map(|output| output.len()).unwrap_err();
    assert!(matches!(fault, ProcessFault::Record { index: 1, .. }));
    let output = fixture.behaving("redact", "").run(&batch(&["to ann@example.org"])).unwrap();
    assert_eq!(output.iter().next().unwrap().value, Some(&b"to [redacted]"[..]));
}
