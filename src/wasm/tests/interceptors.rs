//! Interceptors: verdicts of both worlds, lies, limits, and the thread that they give back.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const WORLDS: [&str; 2] = ["test-interceptor-flat", "test-interceptor-typed"];

struct Judge {
    instance: Box<dyn InterceptorInstance>,
    lines: Lines,
    counters: Counters,
}

fn origin() -> Origin {
    Origin {
        principal: "User:alice".into(),
        client_id: "app".to_owned(),
        topic: TopicName::new("in"),
        partition: PartitionIndex::ZERO,
        is_transactional: false,
    }
}

async fn start(world: &str, config: &[(&str, &str)], limits: Limits) -> Result<Judge, PluginError> {
    let host = &SHARED.0;
    let digest = host.compile(&guest(world)).unwrap().digest;
    let (lines, counters) = (Lines::default(), Counters::default());
    let options = InterceptorOptions {
        attachment: "judge".to_owned(),
        limits,
        config: owned(config),
        log: lines_to(&lines),
        counters: counts_to(&counters),
    };
    let instance = host.instantiate_interceptor(&digest, options).await?;
    Ok(Judge { instance, lines, counters })
}

fn limits() -> Limits {
    Limits { memory_bytes_max: 16 << 20, output_bytes_max: 2 << 20, ..Limits::default() }
}

async fn behaving(world: &str, behaviour: &str) -> Judge {
    start(world, &[("behaviour", behaviour)], limits()).await.unwrap()
}

impl Judge {
    async fn judge(&mut self, values: &[&str]) -> Result<Verdicts, ProcessFault> {
        self.instance.judge(Direction::Produce, &origin(), &batch(values)).await
    }

    /// The fault of a batch, after which the instance is dead.
    async fn fatal(&mut self, values: &[&str]) -> ProcessFault {
        let fault = self.judge(values).await.unwrap_err();
        assert!(!fault.instance_survives(), "{fault}");
        assert_eq!(self.judge(&["x"]).await, Err(ProcessFault::Dead));
        fault
    }
}

#[tokio::test]
async fn both_worlds_give_the_same_verdicts() {
    let values = [
        "keep",
        "drop:",
        "replace:x",
        "retime:77",
        "null:",
        "keep",
        "reject:no good",
        "policy:p",
        "authorize:a",
    ];
    let mut all = Vec::new();
    for world in WORLDS {
        let mut judge = start(world, &[], limits()).await.unwrap();
        let verdicts = judge.judge(&values).await.unwrap();
        assert_eq!(verdicts.iter().map(|(index, _)| index).collect::<Vec<_>>(), [1, 2, 3, 4, 6, 7, 8]);
        assert_eq!(verdicts.on(1), Some(&Verdict::Drop));
        let rejected = Verdict::Reject { code: RejectionCode::InvalidRecord, message: "no good".to_owned() };
        assert_eq!(verdicts.on(6), Some(&rejected));
        assert!(matches!(verdicts.on(3), Some(Verdict::Replace { timestamp: Some(77), .. })));
        assert!(matches!(verdicts.on(2), Some(Verdict::Replace { timestamp: None, .. })));
        assert_eq!(judge.counters.lock()["sent"], 9);
        assert!(judge.judge(&["keep", "keep"]).await.unwrap().is_empty());
        all.push(verdicts);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn the_config_says_which_direction_is_judged() {
    for world in WORLDS {
        let mut judge = start(world, &[("only", "consume")], limits()).await.unwrap();
        assert!(judge.judge(&["drop:"]).await.unwrap().is_empty());
        let consumed = judge.instance.judge(Direction::Fetch, &origin(), &batch(&["drop:"])).await.unwrap();
        assert_eq!(consumed.on(0), Some(&Verdict::Drop));
        let counters = judge.counters.lock();
        assert_eq!((counters["sent"], counters["consumed"]), (1, 1));
    }
}

#[tokio::test]
async fn a_lie_about_verdicts_is_malformed_output_and_ends_the_instance() {
    let lies = [
        ("garbage", "not with `TMV1`"),
        ("short-count", "it judges 1 records, and 2 were given"),
        ("long-count", "it judges 3 records, and 2 were given"),
        ("too-many", "it announces 3 verdicts on 2 records"),
        ("index-beyond", "it names record 2"),
        ("index-twice", "it names record 0"),
        ("index-descending", "it names record 0"),
        ("unknown-kind", "its kind 9 is none"),
        ("lie-length", "it is cut short"),
        ("bad-body", "cannot be read"),
        ("trailing", "1 bytes lie behind"),
        ("bad-code", "its code 9 is none"),
        ("bad-utf8", "its message is not UTF-8"),
        ("negative-time", "its timestamp is -5"),
    ];
    for (behaviour, what) in lies {
        let fault = behaving("test-interceptor-flat", behaviour).await.fatal(&["a", "b"]).await;
        let ProcessFault::BadOutput(message) = &fault else { panic!("{behaviour}: {fault}") };
        assert!(message.contains(what), "{behaviour}: {message}");
    }
    let lies = [
        ("too-few", "it gives 1 verdicts on 2 records"),
        ("too-many", "it gives 3 verdicts on 2 records"),
        ("negative-time", "its timestamp is -5"),
    ];
    for (behaviour, what) in lies {
        let fault = behaving("test-interceptor-typed", behaviour).await.fatal(&["a", "b"]).await;
        let ProcessFault::BadOutput(message) = &fault else { panic!("{behaviour}: {fault}") };
        assert!(message.contains(what), "{behaviour}: {message}");
    }
}

#[tokio::test]
async fn limits_hold_and_faults_are_told_apart() {
    let quick = Limits { batch_time_max: Duration::from_millis(50), ..limits() };
    for world in WORLDS {
        let fault = start(world, &[], quick).await.unwrap().fatal(&["loop:"]).await;
        assert_eq!(fault, ProcessFault::Timeout { after: Duration::from_millis(50) });
        let fault = behaving(world, "eat").await.fatal(&["x"]).await;
        assert_eq!(fault, ProcessFault::OutOfMemory { bytes_max: 16 << 20 });
        let fault = behaving(world, "recurse").await.fatal(&["x"]).await;
        // Whichever of its two stacks ends first: the engine's, or the one in its memory.
        assert!(fault.to_string().contains("recurse"), "{fault}");
        let mut judge = start(world, &[], limits()).await.unwrap();
        let fault = judge.fatal(&["trap:"]).await.to_string();
        assert!(fault.contains("asked to trap"), "{fault}");
        let fault = start(world, &[], limits()).await.unwrap().fatal(&["grow:"; 3]).await;
        assert_eq!(fault, ProcessFault::OutputTooLarge { bytes_max: 2 << 20 });
        let mut judge = start(world, &[], limits()).await.unwrap();
        let fault = judge.judge(&["x", "fault:cannot"]).await.unwrap_err();
        assert!(fault.instance_survives() && fault.to_string().contains("cannot"), "{fault}");
        assert!(judge.judge(&["x"]).await.is_ok());
    }
}

#[tokio::test]
async fn a_configuration_that_is_refused_traps_or_never_ends_gives_no_instance() {
    let quick = Limits { init_time_max: Duration::from_millis(50), ..limits() };
    for world in WORLDS {
        let refused = async |behaviour| {
            let started = start(world, &[("behaviour", behaviour)], quick).await;
            started.map(|_| ()).unwrap_err().to_string()
        };
        assert!(refused("refuse").await.contains("the config key `threshold` is missing"));
        assert!(refused("trap-configure").await.contains("asked to trap"));
        assert!(refused("loop-configure").await.contains("longer than 50 ms"));
    }
}

#[tokio::test]
async fn acknowledgements_and_the_end_reach_the_guest_and_their_faults_are_only_its_own() {
    let acknowledgement = |outcome| Acknowledgement {
        topic: TopicName::new("in"),
        partition: PartitionIndex::ZERO,
        record_count: 3,
        outcome,
    };
    let heard = [acknowledgement(Ok(Offset::ZERO)), acknowledgement(Err("MESSAGE_TOO_LARGE"))];
    for world in WORLDS {
        let mut judge = start(world, &[], limits()).await.unwrap();
        judge.instance.acknowledge(&heard).await.unwrap();
        judge.instance.close().await.unwrap();
        let lines: Vec<_> = judge.lines.lock().iter().map(|line| line.message.clone()).collect();
        assert_eq!(lines, ["ack in-0 3 0", "ack in-0 3 MESSAGE_TOO_LARGE", "closed"]);
        let counters = judge.counters.lock();
        assert_eq!((counters["acknowledged"], counters["failed"]), (3, 3));
    }
    let quick = Limits { batch_time_max: Duration::from_millis(50), ..limits() };
    for (behaviour, what) in [("trap-ack", "asked to trap"), ("loop-ack", "longer than 50 ms")] {
        let mut judge = start(WORLDS[0], &[("behaviour", behaviour)], quick).await.unwrap();
        let fault = judge.instance.acknowledge(&heard).await.unwrap_err();
        assert!(fault.to_string().contains(what), "{fault}");
        assert_eq!(judge.judge(&["x"]).await, Err(ProcessFault::Dead));
    }
    for (behaviour, what) in [("trap-close", "asked to trap"), ("loop-close", "longer than 50 ms")] {
        let judge = start(WORLDS[0], &[("behaviour", behaviour)], quick).await.unwrap();
        let fault = judge.instance.close().await.unwrap_err();
        assert!(fault.to_string().contains(what), "{fault}");
    }
}

/// One thread for everything: the loop gives it back after each slice, and what else is to be done is done.
#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_does_not_keep_the_thread_from_others() {
    let slow = Limits { batch_time_max: Duration::from_millis(300), ..limits() };
    for world in WORLDS {
        let mut judge = start(world, &[], slow).await.unwrap();
        let ended = AtomicBool::new(false);
        let mut turns_of_others = 0;
        let looping = async {
            let fault = judge.judge(&["loop:"]).await;
            ended.store(true, Ordering::SeqCst);
            fault
        };
        let others = async {
            while !ended.load(Ordering::SeqCst) {
                turns_of_others += 1;
                tokio::task::yield_now().await;
            }
        };
        let (fault, ()) = tokio::join!(looping, others);
        assert_eq!(fault, Err(ProcessFault::Timeout { after: Duration::from_millis(300) }));
        assert!(turns_of_others > 20, "others had {turns_of_others} turns");
    }
}

/// Others keep the thread for far longer than the call may run, again and again: that is not the call's time.
#[tokio::test(flavor = "current_thread")]
async fn the_time_of_a_call_is_what_it_runs_not_what_it_waits() {
    let time_max = Duration::from_millis(200);
    let quick = Limits { batch_time_max: time_max, ..limits() };
    let mut judge = start(WORLDS[0], &[], quick).await.unwrap();
    let ended = AtomicBool::new(false);
    let mut turns_of_others = 0;
    let looping = async {
        let fault = judge.judge(&["loop:"]).await;
        ended.store(true, Ordering::SeqCst);
        fault
    };
    let others = async {
        while !ended.load(Ordering::SeqCst) {
            turns_of_others += 1;
            let began = super::super::engine::now();
            // Twice is enough to tell, and slices are far shorter, however busy the machine is.
            while turns_of_others <= 2 && began.elapsed() < time_max {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    };
    let (fault, ()) = tokio::join!(looping, others);
    assert_eq!(fault, Err(ProcessFault::Timeout { after: time_max }));
    assert!(turns_of_others > 2, "the call ended after {turns_of_others} turns of others");
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_is_given_up_in_the_middle_ends_the_instance() {
    let mut judge = start(WORLDS[0], &[], limits()).await.unwrap();
    let (origin, input) = (origin(), batch(&["loop:"]));
    let mut call = judge.instance.judge(Direction::Produce, &origin, &input);
    // One slice, then somebody closes the connection.
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(judge.judge(&["x"]).await, Err(ProcessFault::Dead));
}

#[tokio::test]
async fn floods_of_lines_and_counters_are_bounded_by_who_receives_them() {
    let few = Limits { log_lines_per_second: 10, ..limits() };
    let mut judge = start(WORLDS[0], &[("behaviour", "flood-log")], few).await.unwrap();
    judge.judge(&["x"]).await.unwrap();
    assert!(judge.lines.lock().len() <= 20);
    let mut judge = behaving(WORLDS[1], "flood-metrics").await;
    let answer = judge.judge(&["x"]).await;
    // A name of a megabyte costs more than a call may copy.
    assert!(matches!(answer, Err(ProcessFault::OutputTooLarge { .. })) || answer.is_ok());
}

#[tokio::test]
async fn a_module_of_another_kind_is_refused_in_words() {
    let host = &SHARED.0;
    let processor = host.compile(&guest("test-guest-flat")).unwrap();
    assert_eq!(processor.world.kind(), PluginKind::Processor);
    let options = InterceptorOptions {
        attachment: "a".to_owned(),
        limits: limits(),
        config: Vec::new(),
        log: LogSink::none(),
        counters: CounterSink::none(),
    };
    let refused = host.instantiate_interceptor(&processor.digest, options).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "the module is no interceptor");
    let interceptor = host.compile(&guest("test-interceptor-flat")).unwrap();
    assert_eq!(interceptor.world, World::InterceptorFlat);
    let fixture = Fixture::new();
    let refused = fixture.instance("test-interceptor-flat", fixture.options("")).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "the module is no processor");
}
