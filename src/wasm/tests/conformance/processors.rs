//! The list's items for processors.

use bytes::Bytes;

use super::*;
use crate::wasm::random::SplitMix64;

/// A language's guest, and what it logs.
struct Guest {
    language: Language,
    instance: Box<dyn ProcessorInstance>,
    lines: Lines,
    counters: Counters,
    state: MemoryState,
}

fn start(language: Language, config: &[(&str, &str)], limits: Limits) -> Result<Guest, PluginError> {
    start_module(language, &language.module("processor"), config, limits)
}

fn start_module(
    language: Language,
    module: &ModuleDigest,
    config: &[(&str, &str)],
    limits: Limits,
) -> Result<Guest, PluginError> {
    let (lines, counters) = (Lines::default(), Counters::default());
    let options = InstanceOptions {
        limits,
        config: owned(config),
        context: InstanceContext {
            processor: "proc".to_owned(),
            topic: TopicName::new("in"),
            partition: PartitionIndex::ZERO,
        },
        log: lines_to(&lines),
        counters: counts_to(&counters),
        give_way: GiveWay::never(),
    };
    let instance = HOST.instantiate(module, options)?;
    Ok(Guest { language, instance, lines, counters, state: MemoryState::default() })
}

/// An instance of each language.
fn guests() -> impl Iterator<Item = Guest> {
    languages().into_iter().map(|language| start(language, &CONFIG, limits()).unwrap())
}

impl Guest {
    fn process(&mut self, batch: &InputBatch) -> Result<OutputBatch, ProcessFault> {
        self.instance.process(batch, &mut around(&self.state))
    }

    fn obey(&mut self, commands: &[&str]) -> Result<OutputBatch, ProcessFault> {
        self.process(&telling(commands))
    }

    /// What the guest answers to commands, in text.
    fn answers(&mut self, commands: &[&str]) -> Vec<String> {
        let output = self.obey(commands).unwrap_or_else(|fault| panic!("{:?}: {fault}", self.language));
        let text = |record: OutputRecord<'_>| {
            record.value.map_or_else(|| "-".to_owned(), |value| String::from_utf8(value.to_vec()).unwrap())
        };
        output.iter().map(text).collect()
    }

    /// The fault of a batch, of which nothing is sent.
    fn fault(&mut self, commands: &[&str]) -> ProcessFault {
        let fault = self.obey(commands).map(|output| output.len());
        fault.expect_err(&format!("{:?}: {commands:?}", self.language))
    }

    /// A fault after which the instance is dead.
    fn fatal(mut self, command: &str) -> ProcessFault {
        let fault = self.fault(&["copy", command]);
        assert!(!fault.instance_survives(), "{:?}: {fault}", self.language);
        assert_eq!(self.fault(&["copy"]), ProcessFault::Dead);
        fault
    }

    fn logged(&self) -> Vec<(LogSource, LogLevel, String)> {
        let lines = std::mem::take(&mut *self.lines.lock());
        lines.into_iter().map(|line| (line.source, line.level, line.message)).collect()
    }
}

fn content(record: OutputRecord<'_>) -> Content {
    let headers = record.headers.iter();
    Content {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers.map(|(key, value)| (key.to_owned(), value.map(<[u8]>::to_vec))).collect(),
    }
}

#[test]
fn records_pass_whole() {
    let contents = strange_contents();
    for mut guest in guests() {
        let output = guest.process(&input(&contents)).unwrap();
        assert_eq!(output.iter().map(content).collect::<Vec<_>>(), contents, "{:?}", guest.language);
        let sources: Vec<u32> = output.iter().map(|record| record.source_index).collect();
        assert_eq!(sources, (0..8).collect::<Vec<_>>());
        assert!(
            output
                .iter()
                .all(|record| { (record.topic, record.partition, record.timestamp) == ("out", None, None) })
        );
    }
}

#[test]
fn records_may_give_nothing() {
    for mut guest in guests() {
        let output = guest.obey(&["nothing", "copy", "nothing"]).unwrap();
        assert_eq!(output.iter().map(|record| record.source_index).collect::<Vec<_>>(), [1]);
        assert!(guest.obey(&["nothing"]).unwrap().is_empty());
    }
}

#[test]
fn empty_batches_are_fine() {
    for mut guest in guests() {
        assert!(guest.process(&input(&[])).unwrap().is_empty(), "{:?}", guest.language);
        assert_eq!(guest.obey(&["copy"]).unwrap().len(), 1);
    }
}

#[test]
fn outputs_choose_topic_partition_and_timestamp() {
    for mut guest in guests() {
        let commands = ["send a 3 9007199254740995", "send b 0 0", "copy", "send a 2147483647 9"];
        let output = guest.obey(&commands).unwrap();
        assert_eq!(output.topics().collect::<Vec<_>>(), ["a", "b", "out"], "{:?}", guest.language);
        let places: Vec<_> = output
            .iter()
            .map(|record| (record.topic, record.partition.map(PartitionIndex::value), record.timestamp))
            .collect();
        let expected = [
            ("a", Some(3), Some(9_007_199_254_740_995)),
            ("b", Some(0), Some(0)),
            ("out", None, None),
            ("a", Some(i32::MAX), Some(9)),
        ];
        assert_eq!(places, expected, "{:?}", guest.language);
    }
}

#[test]
fn places_and_times_are_told() {
    for mut guest in guests() {
        let answers = guest.answers(&["where", "where"]);
        let place = |index| format!("in 0 2 {} {}", FIRST_OFFSET + index, FIRST_TIMESTAMP + index);
        assert_eq!(answers, [place(0), place(1)], "{:?}", guest.language);
    }
}

/// Timers as the broker hands them over: at `FIRST_TIMESTAMP`, and each a millisecond later.
fn due(timers: &[(&str, &str)]) -> InputBatch {
    let timer = |(id, payload): &(&str, &str)| Content {
        key: Some(id.as_bytes().to_vec()),
        value: Some(payload.as_bytes().to_vec()),
        headers: vec![],
    };
    InputBatch { attempt: 3, ..input(&timers.iter().map(timer).collect::<Vec<_>>()) }
}

#[test]
fn timers_are_set_cancelled_and_fired() {
    for mut guest in guests() {
        let language = guest.language;
        let commands = [
            "timer event größe 1700000000123",
            "timer processing t 5",
            "timer event gone 7",
            "cancel event gone",
            "cancel processing gone",
        ];
        assert_eq!(guest.answers(&commands), ["true", "false"], "{language:?}");
        let payload = Bytes::from_static(b"value");
        let expected = [
            ((TimerDomain::Event, "größe".as_bytes().to_vec()), (1_700_000_000_123, payload.clone())),
            ((TimerDomain::Processing, b"t".to_vec()), (5, payload)),
        ];
        assert_eq!(*guest.state.timers.lock(), BTreeMap::from(expected), "{language:?}");
        let mut surroundings = around(&guest.state);
        for (domain, name) in [(TimerDomain::Event, "event"), (TimerDomain::Processing, "processing")] {
            let batch = due(&[("größe", "x y"), ("t", "")]);
            let fired = guest.instance.on_timers(domain, &batch, &mut surroundings).unwrap();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let fired: Vec<_> =
                fired.iter().map(|sent| (text(sent.key), text(sent.value), sent.source_index)).collect();
            let (first, second) = (FIRST_TIMESTAMP, FIRST_TIMESTAMP + 1);
            let expected = [
                ("größe".to_owned(), format!("{name} {first} 3 x y"), 0),
                ("t".to_owned(), format!("{name} {second} 3 "), 1),
            ];
            assert_eq!(fired, expected, "{language:?}");
        }
        let bad = due(&[("a", "x"), ("b", "reject")]);
        let fault = guest.instance.on_timers(TimerDomain::Event, &bad, &mut surroundings).unwrap_err();
        let message = "a bad timer".to_owned();
        let expected = ProcessFault::Record { index: 1, reason: FaultReason::Reject, message };
        assert_eq!(fault, expected, "{language:?}");
    }
}

#[test]
fn config_values_are_told() {
    for mut guest in guests() {
        let answers = guest.answers(&["config plain", "config empty", "config größe", "config missing"]);
        assert_eq!(answers, ["some text", "", "größe 🌊", "-"], "{:?}", guest.language);
    }
}

#[test]
fn log_lines_have_their_level() {
    for mut guest in guests() {
        let started = (LogSource::Log, LogLevel::Info, "started proc in 0".to_owned());
        assert_eq!(guest.logged(), [started], "{:?}", guest.language);
        guest
            .obey(&["log trace a b", "log debug größe 🌊", "log info c", "log warn d", "log error e"])
            .unwrap();
        let expected = [
            (LogLevel::Trace, "a b"),
            (LogLevel::Debug, "größe 🌊"),
            (LogLevel::Info, "c"),
            (LogLevel::Warn, "d"),
            (LogLevel::Error, "e"),
        ]
        .map(|(level, text)| (LogSource::Log, level, text.to_owned()));
        assert_eq!(guest.logged(), expected, "{:?}", guest.language);
    }
}

#[test]
fn standard_output_is_logged() {
    for mut guest in guests() {
        guest.logged();
        if !guest.language.deviates(Deviation::Freestanding) {
            guest.obey(&["print some text"]).unwrap();
            let printed = (LogSource::Stdout, LogLevel::Info, "some text".to_owned());
            assert_eq!(guest.logged(), [printed], "{:?}", guest.language);
        }
    }
}

#[test]
fn counters_add_up() {
    for mut guest in guests() {
        let commands = ["count records 1", "count large 18446744073709551615", "count records 4"];
        assert!(guest.obey(&commands).unwrap().is_empty(), "{:?}", guest.language);
        let counters = guest.counters.lock();
        assert_eq!((counters["records"], counters["large"]), (5, u64::MAX), "{:?}", guest.language);
    }
}

#[test]
fn faults_name_record_reason_and_message() {
    for mut guest in guests() {
        for (command, expected) in [
            ("reject bad größe", FaultReason::Reject),
            ("retry bad größe", FaultReason::Retry),
            ("fatal bad größe", FaultReason::Fatal),
        ] {
            let fault = guest.fault(&["copy", command, "copy"]);
            let message = "bad größe".to_owned();
            assert_eq!(
                fault,
                ProcessFault::Record { index: 1, reason: expected, message },
                "{:?}",
                guest.language
            );
            assert_eq!(guest.obey(&["copy"]).unwrap().len(), 1);
        }
    }
}

#[test]
fn starting_may_be_refused_with_words() {
    for language in languages() {
        let refused =
            start(language, &[("init", "refuse no größe given")], limits()).map(|_| ()).unwrap_err();
        assert_eq!(refused, PluginError::InitRefused("no größe given".to_owned()), "{language:?}");
    }
}

#[test]
fn a_trap_or_a_loop_while_starting_gives_no_instance() {
    for language in languages() {
        let failed = |init, limits| start(language, &[("init", init)], limits).map(|_| ()).unwrap_err();
        let trapped = failed("trap out of ideas", limits());
        let PluginError::InitFailed(ProcessFault::Trap { message, .. }) = &trapped else {
            panic!("{language:?}: {trapped}")
        };
        assert!(message.contains("out of ideas"), "{language:?}: {message}");
        let hung = failed("loop", quick());
        assert!(
            matches!(hung, PluginError::InitFailed(ProcessFault::Timeout { .. })),
            "{language:?}: {hung}"
        );
    }
}

#[test]
fn a_trap_ends_the_instance_and_tells_why() {
    for guest in guests() {
        let language = guest.language;
        let lines = Arc::clone(&guest.lines);
        let fault = guest.fatal("trap out of ideas");
        let ProcessFault::Trap { message, .. } = &fault else { panic!("{language:?}: {fault}") };
        let logged = || lines.lock().iter().map(|line| line.message.clone()).collect::<Vec<_>>();
        assert!(message.contains("out of ideas"), "{language:?}: {message}, with {:?} logged", logged());
    }
}

#[test]
fn an_endless_loop_is_cut() {
    for language in languages() {
        let fault = start(language, &[], quick()).unwrap().fatal("loop");
        assert_eq!(fault, ProcessFault::Timeout { after: quick().batch_time_max }, "{language:?}");
    }
}

#[test]
fn memory_ends_at_its_limit() {
    for guest in guests() {
        let language = guest.language;
        let bytes_max = limits().memory_bytes_max as u64;
        assert_eq!(guest.fatal("grow"), ProcessFault::OutOfMemory { bytes_max }, "{language:?}");
    }
}

#[test]
fn memory_is_given_back() {
    let batch = input(&[Content { key: None, value: Some(vec![b'x'; ROUND_BYTES]), headers: Vec::new() }]);
    for mut guest in guests() {
        let language = guest.language;
        let fault = (0..ROUNDS).find_map(|_| guest.process(&batch).err());
        let is_lost = matches!(fault, Some(ProcessFault::OutOfMemory { .. }));
        assert_eq!(is_lost, language.deviates(Deviation::LosesMemory), "{language:?}: {fault:?}");
        assert!(is_lost || fault.is_none(), "{language:?}: {fault:?}");
    }
}

#[test]
fn state_is_kept() {
    let script = [
        ("get a", Some("-")),
        ("put a", None),
        ("put b", None),
        ("get a", Some("value")),
        ("add n 5", Some("5")),
        ("add n 7", Some("12")),
        ("add m 9007199254740993", Some("9007199254740993")),
        ("scan a c ascending 10", Some("a=value b=value end")),
        ("scan a c descending 1", Some("b=value more")),
        ("scan a b ascending 10", Some("a=value end")),
        ("scan c d ascending 10", Some("end")),
        ("delete a", None),
        ("get a", Some("-")),
        ("get b", Some("value")),
    ];
    let commands = script.map(|(command, _)| command);
    for mut guest in guests() {
        let expected: Vec<&str> = script.iter().filter_map(|(_, answer)| *answer).collect();
        assert_eq!(guest.answers(&commands), expected, "{:?}", guest.language);
    }
}

#[test]
fn arguments_may_be_negative() {
    for mut guest in guests() {
        if guest.language.deviates(Deviation::NoNegativeArguments) {
            assert_eq!(guest.fatal("add n -7").kind(), "trap");
        } else {
            assert_eq!(guest.answers(&["add n -7"]), ["-7"], "{:?}", guest.language);
        }
    }
}

#[test]
fn a_call_that_the_state_refuses_ends_the_batch() {
    for guest in guests() {
        let language = guest.language;
        let key = "k".repeat(1000);
        assert_eq!(guest.fatal(&format!("put {key}")).kind(), "state", "{language:?}");
    }
}

#[test]
fn clock_and_randomness_are_the_calls_own() {
    let mut random = SplitMix64::new(7);
    let numbers = format!("{} {}", random.next(), random.next());
    for mut guest in guests() {
        for _ in 0..2 {
            let answers = guest.answers(&["clock", "random"]);
            assert_eq!(answers, ["1700000000123 41", &numbers], "{:?}", guest.language);
        }
        let mut none = Surroundings { stream_time: None, ..around(&MemoryState::default()) };
        let output = guest.instance.process(&telling(&["clock"]), &mut none).unwrap();
        assert_eq!(output.iter().next().unwrap().value, Some(&b"1700000000123 -"[..]));
    }
}

#[test]
fn the_languages_own_clock_and_randomness_repeat() {
    for language in languages() {
        if !language.deviates(Deviation::Freestanding) {
            let answers =
                [0, 1].map(|_| start(language, &CONFIG, limits()).unwrap().answers(&["ambient"; 2]));
            assert_eq!(answers[0], answers[1], "{language:?}");
            assert!(answers[0].iter().all(|answer| answer.starts_with("1700000000123 ")), "{answers:?}");
        }
    }
}

#[test]
fn the_examples_run() {
    let plain =
        |value: &str| Content { value: Some(value.as_bytes().to_vec()), headers: Vec::new(), ..told("") };
    let run = |mut guest: Guest, values: &[&str]| {
        let output =
            guest.process(&input(&values.iter().map(|value| plain(value)).collect::<Vec<_>>())).unwrap();
        let sent = output.iter().map(|record| {
            format!("{} {}", record.topic, String::from_utf8_lossy(record.value.unwrap_or_default()))
        });
        sent.collect::<Vec<_>>()
    };
    let readings = [20.0, 21.0, 20.0, 21.0, 35.0].map(|reading| format!("{{\"value\":{reading}}}"));
    let config = [("example", "yes"), ("readings_min", "4")];
    let mut outliers = start(language("python"), &config, limits()).unwrap();
    outliers.state.name = Some("sensors");
    let alerts = run(outliers, &readings.each_ref().map(String::as_str));
    assert_eq!(alerts, [r#"outliers {"reading": 35.0, "mean": 20.5, "readings": 4}"#]);

    let config = [("example", "yes"), ("routes", "type=order:orders")];
    let mut router = start(language("javascript"), &config, limits()).unwrap();
    router.state.name = Some("seen");
    let routed = run(router, &[r#"{"type":"order","id":1}"#, "{}", r#"{"type":"order","id":1}"#]);
    assert_eq!(routed, [r#"orders {"type":"order","id":1}"#, "unrouted {}"]);

    let counter = HOST.compile(&guest("key-counter")).unwrap().digest;
    let mut counter = start_module(language("c"), &counter, &[], limits()).unwrap();
    counter.state.name = Some("counts");
    let counted = run(counter, &["a", "b"]);
    assert_eq!(counted, ["counts 1", "counts 2"]);
}
