//! Partitioners: choices of both worlds, lies, limits, and a life from configure to close.

use super::*;

const WORLDS: [&str; 2] = ["test-partitioner-flat", "test-partitioner-typed"];

struct Chooser {
    instance: Box<dyn PartitionerInstance>,
    lines: Lines,
    counters: Counters,
}

fn limits() -> Limits {
    Limits { memory_bytes_max: 16 << 20, output_bytes_max: 2 << 20, ..Limits::default() }
}

fn quick() -> Limits {
    Limits { batch_time_max: Duration::from_millis(50), ..limits() }
}

fn start(module: &str, config: &[(&str, &str)], limits: Limits) -> Result<Chooser, PluginError> {
    let host = &SHARED.0;
    let digest = host.compile(&guest(module)).unwrap().digest;
    let (lines, counters) = (Lines::default(), Counters::default());
    let options = PartitionerOptions {
        limits,
        config: owned(config),
        log: lines_to(&lines),
        counters: counts_to(&counters),
        give_way: GiveWay::never(),
    };
    let instance = host.instantiate_partitioner(&digest, options)?;
    Ok(Chooser { instance, lines, counters })
}

fn behaving(world: &str, behaviour: &str) -> Chooser {
    start(world, &[("behaviour", behaviour)], limits()).unwrap()
}

impl Chooser {
    /// Where the records of a batch go in a topic of so many partitions.
    fn place(&mut self, partitions: u32, batch: &InputBatch) -> Result<Vec<i32>, ProcessFault> {
        let chosen = self.instance.partition(&TopicName::new("orders"), partitions, batch)?;
        Ok(chosen.iter().map(|partition| partition.value()).collect())
    }

    /// The fault of a batch for four partitions, after which the instance is dead.
    fn fatal(&mut self, values: &[&str]) -> ProcessFault {
        let fault = self.place(4, &batch(values)).unwrap_err();
        assert!(!fault.instance_survives(), "{fault}");
        assert_eq!(self.place(4, &batch(&["x"])), Err(ProcessFault::Dead));
        fault
    }

    fn messages(&self) -> Vec<String> {
        self.lines.lock().iter().map(|line| line.message.clone()).collect()
    }
}

#[test]
fn both_worlds_give_the_same_choices_whatever_the_chunks_say_besides_records() {
    let mut appended = chunk(70, &[Some(b"time:")]);
    appended.append_time = Some(1_700_000_000_007);
    let elsewhere = InputBatch {
        partition: PartitionIndex::from_wire(6).unwrap(),
        attempt: 3,
        ..batch_of(vec![
            chunk(5, &[Some(b"x"), Some(b"to:9"), None, Some(b"time:")]),
            chunk(0, &[Some(b"offset:"), Some(b"headers:")]),
            appended,
        ])
    };
    for world in WORLDS {
        let mut chooser = start(world, &[], limits()).unwrap();
        assert_eq!(chooser.place(10, &elsewhere), Ok(vec![5, 9, 3, 0, 4, 1, 7]));
        assert_eq!(chooser.place(10, &batch(&["to:0", "to:0"])), Ok(vec![0, 0]));
        assert_eq!(chooser.place(1, &batch(&["x", "y", "z"])), Ok(vec![0, 0, 0]));
        assert_eq!(chooser.place(10, &batch(&[])), Ok(vec![]));
        assert_eq!(chooser.counters.lock()["placed"], 12);
    }
}

#[test]
fn a_record_that_has_no_place_is_named_and_the_instance_lives_on() {
    let reasons =
        [("fault", FaultReason::Reject), ("retry", FaultReason::Retry), ("fatal", FaultReason::Fatal)];
    for world in WORLDS {
        let mut chooser = start(world, &[], limits()).unwrap();
        for (prefix, reason) in reasons {
            let value = format!("{prefix}:no place");
            let input =
                batch_of(vec![chunk(0, &[Some(b"a"), Some(b"b")]), chunk(2, &[Some(value.as_bytes())])]);
            let fault = chooser.place(4, &input).unwrap_err();
            let ProcessFault::Record { index: 2, reason: given, message } = &fault else { panic!("{fault}") };
            assert_eq!(*given, reason);
            assert!(message.starts_with("no place"), "{message}");
            assert_eq!(chooser.place(4, &batch(&["to:3"])), Ok(vec![3]));
        }
        let fault = chooser.place(4, &batch(&["fault:nowhere"])).unwrap_err().to_string();
        assert_eq!(fault, "record 0 of the batch: nowhere in orders of 4");
    }
}

#[test]
fn a_lie_about_choices_is_malformed_output_and_ends_the_instance() {
    let lies = [
        ("too-few", "a", "it chooses 1 partitions for 2 records"),
        ("none", "a", "it chooses 0 partitions for 2 records"),
        ("too-many", "a", "it chooses 3 partitions for 2 records"),
        ("", "to:4", "it chooses partition 4 for record 1, and there are 4"),
        ("", "to:2147483648", "it chooses partition 2147483648 for record 1"),
        ("", "to:4294967295", "it chooses partition 4294967295 for record 1"),
        ("lie-index", "a", "it blames record 1000000 of 2: who knows"),
    ];
    for world in WORLDS {
        for (behaviour, value, what) in lies {
            let fault = behaving(world, behaviour).fatal(&["to:3", value]);
            let ProcessFault::BadOutput(message) = &fault else { panic!("{behaviour} {value}: {fault}") };
            assert!(message.contains(what), "{behaviour} {value}: {message}");
        }
    }
}

#[test]
fn limits_hold_and_faults_are_told_apart() {
    for world in WORLDS {
        let fault = start(world, &[], quick()).unwrap().fatal(&["loop:"]);
        assert_eq!(fault, ProcessFault::Timeout { after: Duration::from_millis(50) });
        let fault = behaving(world, "eat").fatal(&["x"]);
        assert_eq!(fault, ProcessFault::OutOfMemory { bytes_max: 16 << 20 });
        let fault = behaving(world, "recurse").fatal(&["x"]);
        // Whichever of its two stacks ends first: the engine's, or the one in its memory.
        assert!(fault.to_string().contains("recurse"), "{fault}");
        let fault = behaving(world, "").fatal(&["trap:"]).to_string();
        assert!(fault.contains("asked to trap"), "{fault}");
        // Four bytes each: beyond the limit, and then beyond what host calls may copy at all.
        for choices in ["600000", "1500000"] {
            let config = [("behaviour", "huge"), ("choices", choices)];
            let fault = start(world, &config, limits()).unwrap().fatal(&["x"]);
            assert_eq!(fault, ProcessFault::OutputTooLarge { bytes_max: 2 << 20 });
        }
    }
}

#[test]
fn a_batch_that_cannot_be_given_to_the_guest_leaves_it_alive() {
    let big = "x".repeat(17 << 20);
    let mut lying = batch(&["a"]);
    lying.chunks[0].record_count = 2;
    for world in WORLDS {
        let mut chooser = start(world, &[], limits()).unwrap();
        let fault = chooser.place(4, &batch(&[&big])).unwrap_err();
        assert!(matches!(fault, ProcessFault::InputTooLarge { .. }), "{fault}");
        let fault = chooser.place(4, &lying).unwrap_err();
        assert!(fault.instance_survives(), "{fault}");
        assert_eq!(chooser.place(4, &batch(&["to:3"])), Ok(vec![3]));
    }
    // The typed world's records are read here; a flat one finds out by itself.
    let fault = start(WORLDS[1], &[], limits()).unwrap().place(4, &lying).unwrap_err();
    assert!(matches!(fault, ProcessFault::BadInput(_)), "{fault}");
}

#[test]
fn a_configuration_that_is_refused_traps_or_never_ends_gives_no_instance() {
    let quick = Limits { init_time_max: Duration::from_millis(50), ..limits() };
    for world in WORLDS {
        let refused =
            |behaviour, limits| start(world, &[("behaviour", behaviour)], limits).map(|_| ()).unwrap_err();
        let reason = "the config key `threshold` is missing".to_owned();
        assert_eq!(refused("refuse", quick), PluginError::InitRefused(reason));
        let trapped = refused("trap-configure", quick);
        assert!(matches!(&trapped, PluginError::InitFailed(ProcessFault::Trap { .. })), "{trapped}");
        assert!(trapped.to_string().contains("asked to trap"), "{trapped}");
        let timeout = ProcessFault::Timeout { after: Duration::from_millis(50) };
        assert_eq!(refused("loop-configure", quick), PluginError::InitFailed(timeout));
        let tight = refused("", Limits { memory_bytes_max: 1 << 16, ..limits() });
        assert!(
            matches!(&tight, PluginError::Instantiate(text) if text.contains("memory to start")),
            "{tight}"
        );
    }
}

#[test]
fn configuring_has_a_time_of_its_own_which_is_not_a_batchs() {
    let hurried = Limits { batch_time_max: Duration::from_millis(1), ..limits() };
    for world in WORLDS {
        assert!(start(world, &[("behaviour", "slow-configure")], hurried).is_ok());
    }
}

#[test]
fn the_end_reaches_the_guest_and_its_faults_are_only_its_own() {
    for world in WORLDS {
        let mut chooser = start(world, &[], limits()).unwrap();
        chooser.place(4, &batch(&["a", "b"])).unwrap();
        let Chooser { instance, lines, counters } = chooser;
        instance.close().unwrap();
        let lines: Vec<_> = lines.lock().iter().map(|line| line.message.clone()).collect();
        assert_eq!(lines, ["configured", "closed"]);
        let counters = counters.lock();
        assert_eq!((counters["placed"], counters["closed"]), (2, 1));
        for (behaviour, what) in [("trap-close", "asked to trap"), ("loop-close", "longer than 50 ms")] {
            let chooser = start(world, &[("behaviour", behaviour)], quick()).unwrap();
            let fault = chooser.instance.close().unwrap_err();
            assert!(fault.to_string().contains(what), "{fault}");
        }
        let mut dead = start(world, &[], limits()).unwrap();
        dead.fatal(&["trap:"]);
        assert_eq!(dead.instance.close(), Err(ProcessFault::Dead));
    }
}

#[test]
fn a_flood_of_log_lines_is_bounded() {
    let few = Limits { log_lines_per_second: 10, ..limits() };
    for world in WORLDS {
        let mut chooser = start(world, &[("behaviour", "flood-log")], few).unwrap();
        chooser.place(4, &batch(&["x"])).unwrap();
        let lines = chooser.messages().len();
        // A slow machine may see a second begin within the thousand lines.
        assert!((10..500).contains(&lines), "{lines}");
    }
}

#[test]
fn a_dead_instance_leaves_others_alone() {
    let mut good = start(WORLDS[0], &[], limits()).unwrap();
    start(WORLDS[0], &[], limits()).unwrap().fatal(&["trap:"]);
    for _ in 0..100 {
        assert_eq!(good.place(4, &batch(&["to:1", "to:2"])), Ok(vec![1, 2]));
    }
}

#[test]
fn no_kind_of_module_can_be_used_as_another() {
    let host = &SHARED.0;
    for (module, world) in WORLDS.into_iter().zip([World::PartitionerFlat, World::PartitionerTyped]) {
        let description = host.compile(&guest(module)).unwrap();
        assert_eq!((description.world, description.world.kind()), (world, PluginKind::Partitioner));
        let fixture = Fixture::new();
        let refused = fixture.instance(module, fixture.options("")).map(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "the module is no processor");
        let options = InterceptorOptions {
            attachment: "a".to_owned(),
            limits: limits(),
            config: Vec::new(),
            log: LogSink::none(),
            counters: CounterSink::none(),
        };
        let refused = host.instantiate_interceptor(&description.digest, options);
        let refused = futures_util::FutureExt::now_or_never(refused).unwrap().map(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "the module is no interceptor");
    }
    for module in BOTH.into_iter().chain(["test-interceptor-flat", "test-interceptor-typed"]) {
        let refused = start(module, &[], limits()).map(|_| ()).unwrap_err();
        assert_eq!(refused, PluginError::WrongKind { wanted: PluginKind::Partitioner });
    }
}

#[test]
fn the_examples_run() {
    let mut words = start("word-partitioner", &[("word", "urgent")], limits()).unwrap();
    assert_eq!(words.place(2, &batch(&["urgent!", "later", "not urgent"])), Ok(vec![0, 1, 0]));
    let tenants = [("tenants", "k0=2-3;k1=5")];
    let mut tenants = start("tenant-partitioner", &tenants, limits()).unwrap();
    let chosen = tenants.place(6, &batch(&["a", "b", "c"])).unwrap();
    assert!((2..4).contains(&chosen[0]) && chosen[1] == 5 && [0, 1, 4].contains(&chosen[2]), "{chosen:?}");
    let fault = tenants.place(4, &batch(&["a", "b"])).unwrap_err().to_string();
    let reason = "tenant `k1` (5) goes beyond the 4 partitions of topic `orders`";
    assert_eq!(fault, format!("record 1 of the batch: {reason}"));
    let refused = start("tenant-partitioner", &[("tenants", "a=0-3;b=3")], limits()).map(|_| ()).unwrap_err();
    let reason = "the config key `tenants`: `a` (0-3) and `b` (3) overlap".to_owned();
    assert_eq!(refused, PluginError::InitRefused(reason));
}
