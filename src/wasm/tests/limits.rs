use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The fault of one record through an instance of that behaviour, which must be dead afterwards.
fn fatal(fixture: &Fixture, name: &str, options: InstanceOptions) -> ProcessFault {
    let mut instance = fixture.instance(name, options).unwrap();
    let fault = instance.run(&batch(&["a"])).map(|output| output.len()).unwrap_err();
    assert!(!fault.instance_survives(), "{fault}");
    assert_eq!(instance.run(&batch(&["a"])).map(|output| output.len()), Err(ProcessFault::Dead));
    fault
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline() {
    let fixture = Fixture::new();
    for name in BOTH {
        let mut options = fixture.options("loop");
        options.limits.batch_time_max = Duration::from_millis(50);
        let fault = fatal(&fixture, name, options);
        assert_eq!(fault, ProcessFault::Timeout { after: Duration::from_millis(50) });
    }
}

#[test]
fn a_long_call_gives_way_after_each_slice_and_no_time_passes_meanwhile() {
    const WAITS: usize = 10;
    let fixture = Fixture::new();
    for name in BOTH {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let mut options = fixture.options("loop");
        options.limits.batch_time_max = Duration::from_millis(500);
        options.give_way = GiveWay::new(move || {
            if counted.fetch_add(1, Ordering::SeqCst) < WAITS {
                #[allow(clippy::disallowed_methods, reason = "others take their time")]
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let fault = fatal(&fixture, name, options);
        assert_eq!(fault, ProcessFault::Timeout { after: Duration::from_millis(500) });
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked > WAITS, "after {asked} waits its time was over, as if they counted");
    }
}

#[test]
fn slow_is_not_too_slow() {
    let fixture = Fixture::new();
    let mut instance = fixture.behaving("test-guest-flat", "slow");
    assert!(instance.run(&batch(&["a"])).is_ok());
}

#[test]
fn sleeping_takes_no_time() {
    let fixture = Fixture::new();
    for name in with_wasi() {
        assert!(fixture.behaving(name, "sleep").run(&batch(&["a", "b"])).is_ok());
    }
}

#[test]
fn eating_memory_ends_at_the_limit() {
    let fixture = Fixture::new();
    for name in BOTH {
        let fault = fatal(&fixture, name, fixture.options("eat-memory"));
        assert_eq!(fault, ProcessFault::OutOfMemory { bytes_max: 16 << 20 });
    }
}

#[test]
fn a_batch_larger_than_the_guests_memory_is_refused_before_the_call() {
    let fixture = Fixture::new();
    let big = "x".repeat(17 << 20);
    for name in BOTH {
        let mut instance = fixture.behaving(name, "uppercase");
        let fault = instance.run(&batch(&[&big])).map(|output| output.len()).unwrap_err();
        assert!(matches!(fault, ProcessFault::InputTooLarge { .. }), "{fault}");
        assert!(instance.run(&batch(&["a"])).is_ok());
    }
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let fixture = Fixture::new();
    for name in BOTH {
        let fault = fatal(&fixture, name, fixture.options("recurse"));
        let in_guest = |function: &Option<String>| function.as_deref().is_some_and(|f| f.contains("recurse"));
        assert!(
            matches!(&fault, ProcessFault::StackOverflow { function } if in_guest(function))
                // Rust keeps large frames in linear memory, whose end may come first.
                || matches!(&fault, ProcessFault::Trap { function, .. } if in_guest(function)),
            "{fault}"
        );
    }
}

#[test]
fn a_panic_tells_its_message_and_function() {
    let fixture = Fixture::new();
    for name in BOTH {
        let ProcessFault::Trap { message, function } = fatal(&fixture, name, fixture.options("panic")) else {
            panic!("not a trap")
        };
        assert!(message.contains("the record at offset 5 is not to my taste"), "{message}");
        assert!(function.as_deref().is_some_and(|name| name.contains("test_guest::")), "{function:?}");
        assert!(fixture.messages().iter().any(|line| line.contains("not to my taste")));
    }
}

#[test]
fn traps_and_exits_are_told_apart() {
    let fixture = Fixture::new();
    for name in BOTH {
        let trap = fatal(&fixture, name, fixture.options("unreachable")).to_string();
        assert!(trap.contains("unreachable"), "{trap}");
    }
    for name in with_wasi() {
        let exit = fatal(&fixture, name, fixture.options("exit")).to_string();
        // WASI 0.2 knows only success and failure.
        assert!(exit.contains("exited with code 1"), "{exit}");
    }
}

#[test]
fn output_beyond_the_limit_is_refused() {
    let fixture = Fixture::new();
    for name in BOTH {
        let mut options = fixture.options("huge");
        options.limits.memory_bytes_max = 256 << 20;
        options.config.push(("bytes".to_owned(), (20 << 20).to_string()));
        assert_eq!(fatal(&fixture, name, options), ProcessFault::OutputTooLarge { bytes_max: 1 << 20 });
        // A little beyond: what the engine lets through is still weighed here.
        let mut options = fixture.options("huge");
        options.config.push(("bytes".to_owned(), (1 << 20).to_string()));
        assert_eq!(fatal(&fixture, name, options), ProcessFault::OutputTooLarge { bytes_max: 1 << 20 });
        // A gigabyte does not even fit into the guest.
        let fault = fatal(&fixture, name, fixture.options("huge"));
        assert_eq!(fault, ProcessFault::OutOfMemory { bytes_max: 16 << 20 });
    }
}

#[test]
fn lies_in_the_flat_layout_are_bad_output() {
    let fixture = Fixture::new();
    for (behaviour, words) in [
        ("garbage", "TMO1"),
        ("cut", "output record 0"),
        ("lie-count", "announces 4294967295 records"),
        ("lie-length", "body has 2147483647 bytes"),
        ("lie-source", "source record 1000000 of 1"),
        ("lie-index", "blames record 1000000 of 1"),
        ("unknown-topic", "illegal name"),
    ] {
        let fault = fatal(&fixture, "test-guest-flat", fixture.options(behaviour));
        assert!(
            matches!(&fault, ProcessFault::BadOutput(text) if text.contains(words)),
            "{behaviour}: {fault}"
        );
    }
    let fault = fatal(&fixture, "test-guest-typed", fixture.options("unknown-topic"));
    assert!(matches!(&fault, ProcessFault::BadOutput(text) if text.contains("illegal name")), "{fault}");
}

#[test]
fn init_may_refuse_but_not_trap_or_hang() {
    let fixture = Fixture::new();
    for name in BOTH {
        let start = |options| fixture.instance(name, options).map(|_| ()).unwrap_err();
        let refused = start(fixture.options("refuse-init"));
        assert_eq!(refused, PluginError::InitRefused("the config key `threshold` is missing".to_owned()));
        let panicked = start(fixture.options("panic-in-init"));
        assert!(
            matches!(&panicked, PluginError::InitFailed(ProcessFault::Trap { message, .. })
                if message.contains("cannot start")),
            "{panicked}"
        );
        let mut options = fixture.options("loop-in-init");
        options.limits.init_time_max = Duration::from_millis(20);
        let hung = start(options);
        assert!(matches!(hung, PluginError::InitFailed(ProcessFault::Timeout { .. })), "{hung}");
        let mut options = fixture.options("uppercase");
        options.limits.memory_bytes_max = 1 << 16;
        let tight = start(options);
        assert!(
            matches!(&tight, PluginError::Instantiate(text) if text.contains("memory to start")),
            "{tight}"
        );
    }
}

#[test]
fn a_flood_of_log_lines_is_counted_and_long_lines_are_cut() {
    let fixture = Fixture::new();
    let mut options = fixture.options("log-flood");
    options.limits.log_lines_per_second = 10;
    options.limits.log_line_bytes_max = 5;
    fixture.instance("test-guest-flat", options).unwrap().run(&batch(&["a"])).unwrap();
    let messages = fixture.messages();
    // A slow machine may see a second begin within the thousand lines.
    assert!((10..500).contains(&messages.len()), "{}", messages.len());
    assert!(messages.iter().all(|line| line == "line "));
}

#[test]
fn a_dead_instance_leaves_others_alone() {
    let fixture = Fixture::new();
    let mut good = fixture.behaving("test-guest-flat", "uppercase");
    fatal(&fixture, "test-guest-flat", fixture.options("panic"));
    for _ in 0..100 {
        assert_eq!(good.run(&batch(&["a", "b"])).unwrap().len(), 2);
    }
}
