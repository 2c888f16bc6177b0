//! Modules and processors that a real server is given, good ones and bad ones: whatever a guest does,
//! its records are accounted for, and nobody else notices.

use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::fixture::TestServer;
use crate::fixture::admin::{call, counted, deploy, guest, push, try_deploy, until};
use crate::fixture::command::tidemill_text;
use crate::fixture::librdkafka::{
    PATIENCE, TestConsumer, admin, committed_values, create, producer, send_all, wait,
};
use crate::fixture::wire::{assert_still_serves, create_topic};

const RECORDS: [&str; 3] = ["one", "two", "three"];

fn server() -> TestServer {
    TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")])
}

fn with_topics(names: &[&str]) -> TestServer {
    let server = server();
    let mut client = server.wire();
    for name in names {
        create_topic(&mut client, name, 1, &[]);
    }
    server
}

fn from_to(module: &str, input: &str, output: &str) -> Value {
    json!({"module": module, "inputs": [input], "outputs": [output]})
}

/// A deployment that behaves like this, and gives a record up at once.
fn behaving(module: &str, behaviour: &str) -> Value {
    json!({
        "module": module, "inputs": ["in"], "outputs": ["out"],
        "config": {"behaviour": behaviour},
        "limits": {"memory_bytes": 16 << 20, "batch_time_ms": 100, "output_bytes": 1 << 20},
        "on_error": {"retries": 0, "backoff_ms": 1},
    })
}

/// Refused with this code and a sentence in which these words stand.
fn assert_refused((status, answer): &(u16, Value), code: &str, words: &[&str]) {
    assert!((400..500).contains(status), "{status} {answer}");
    let text = answer.to_string();
    assert!(text.contains(code), "{code} is not in {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_a_sentence() {
    let server = server();
    let upload = |bytes: &[u8]| call(&server, "POST", "/v1/modules?name=bad", bytes);
    assert_refused(
        &upload(b"#!/bin/sh\necho this is a text file\n"),
        "NOT_WEBASSEMBLY",
        &["looks like text"],
    );
    assert_refused(&upload(b"\0asm\x01\0\0\0"), "NOT_A_COMPONENT", &["core WebAssembly module"]);
    let mut cut = guest("redact");
    cut.truncate(cut.len() / 2);
    assert_refused(&upload(&cut), "COMPILE_FAILED", &[]);
    // A component, and none of ours: it exports nothing.
    assert_refused(&upload(b"\0asm\x0d\0\x01\0"), "WRONG_WORLD", &["tidemill:plugin"]);
    assert_refused(&upload(b""), "INVALID", &["empty"]);
    let (status, answer) = call(&server, "GET", "/v1/modules", &[]);
    assert_eq!((status, &answer["modules"]), (200, &json!([])));
    assert_still_serves(&server);
}

#[test]
fn a_processor_that_would_feed_itself_is_refused() {
    let server = with_topics(&["a", "b"]);
    push(&server, "test", &guest("test-guest-flat"));
    assert_refused(&try_deploy(&server, "own", &from_to("test", "a", "a")), "LOOP", &["a"]);
    deploy(&server, "there", &from_to("test", "a", "b"));
    assert_refused(&try_deploy(&server, "back", &from_to("test", "b", "a")), "LOOP", &["there", "back"]);
    assert_refused(
        &try_deploy(&server, "in", &from_to("test", "__consumer_offsets", "b")),
        "",
        &["internal"],
    );
    assert_refused(
        &try_deploy(&server, "no", &from_to("nothing", "a", "b")),
        "MODULE_NOT_FOUND",
        &["nothing"],
    );
    until(&server, "there", |processor| processor["state"] == "running");
}

/// Every misbehaviour that a guest is capable of, at once, beside a good processor and a client.
#[test]
fn guests_that_misbehave_disturb_nobody_and_lose_nothing() {
    let server = with_topics(&["in", "out", "good-out"]);
    push(&server, "flat", &guest("test-guest-flat"));
    push(&server, "typed", &guest("test-guest-typed"));
    let bad = [
        ("flat", "loop"),
        ("typed", "loop"),
        ("flat", "eat-memory"),
        ("flat", "recurse"),
        ("flat", "panic"),
        ("typed", "panic"),
        ("flat", "exit"),
        ("flat", "unreachable"),
        ("flat", "huge"),
        ("typed", "huge"),
        ("flat", "garbage"),
        ("flat", "cut"),
        ("flat", "lie-count"),
        ("flat", "lie-length"),
        ("flat", "lie-source"),
        ("flat", "unknown-topic"),
    ];
    for (module, behaviour) in bad {
        deploy(&server, &format!("{module}-{behaviour}"), &behaving(module, behaviour));
    }
    // The test guest writes to `out`; the good one is an example.
    push(&server, "redact", &guest("redact"));
    deploy(
        &server,
        "good",
        &json!({"module": "redact", "inputs": ["in"], "outputs": ["good-out"],
        "config": {"output": "good-out"}}),
    );
    let sender = producer(&server, &[]);
    send_all(&sender, "in", &RECORDS);
    for (module, behaviour) in bad {
        let name = format!("{module}-{behaviour}");
        let ended = until(&server, &name, |processor| counted(processor, "dead_letters") == 3);
        assert_eq!(ended["state"], "running", "{name}: {ended:#}");
        assert_eq!(committed_values(&server, &format!("{name}.dlq")), RECORDS, "{name}");
    }
    until(&server, "good", |processor| counted(processor, "records_in") == 3);
    assert_eq!(committed_values(&server, "out"), [""; 0]);
    assert_still_serves(&server);
}

#[test]
fn a_topic_that_is_deleted_under_its_processor_is_waited_for_and_taken_from_its_start() {
    let server = with_topics(&["in", "out", "other"]);
    push(&server, "test", &guest("test-guest-flat"));
    deploy(&server, "shout", &from_to("test", "in", "out"));
    let sender = producer(&server, &[]);
    send_all(&sender, "in", &RECORDS);
    until(&server, "shout", |processor| counted(processor, "records_in") == 3);
    wait(admin(&server).delete_topics(&["in"], &Default::default())).unwrap();
    until(&server, "shout", |processor| processor["state"] == "waiting-for-topic");
    send_all(&sender, "other", &["meanwhile"]);
    assert_eq!(committed_values(&server, "other"), ["meanwhile"]);
    create_topic(&mut server.wire(), "in", 1, &[]);
    let sender = producer(&server, &[]);
    send_all(&sender, "in", &["again"]);
    until(&server, "shout", |processor| processor["lag"] == 0 && processor["state"] == "running");
    assert_eq!(committed_values(&server, "out"), ["ONE", "TWO", "THREE", "AGAIN"]);
}

#[test]
fn state_goes_on_after_a_restart_and_from_the_changelog_alone() {
    let mut server = with_topics(&["in", "out"]);
    push(&server, "word-count", &guest("word-count"));
    let counting =
        json!({"module": "word-count", "inputs": ["in"], "outputs": ["out"], "config": {"output": "out"}});
    let (status, answer) = try_deploy(&server, "count", &{
        let mut twice = counting.clone();
        twice["stores"] = json!(["counts", "counts"]);
        twice
    });
    assert_refused(&(status, answer), "INVALID_STATE", &["named twice"]);
    let mut definition = counting;
    definition["stores"] = json!(["counts"]);
    deploy(&server, "count", &definition);
    let mut expected = Vec::new();
    for round in 0..3 {
        send_all(&producer(&server, &[]), "in", &["tide mill", "tide"]);
        expected.extend([(2 * round + 1).to_string(), (2 * round + 2).to_string(), (round + 1).to_string()]);
        expected.sort();
        until(&server, "count", |processor| processor["lag"] == 0 && counted(processor, "records_in") == 2);
        let mut counts = committed_values(&server, "out");
        counts.sort();
        assert_eq!(counts, expected, "round {round}");
        if round == 0 {
            server.restart();
        } else {
            server.restart_without("state");
        }
    }
    let logs = until(&server, "count", |processor| processor["state"] == "running");
    assert_eq!(counted(&logs, "dead_letters"), 0);
    let (_, page) = call(&server, "GET", "/v1/processors/count/logs", &[]);
    assert!(page.to_string().contains("the state is restored"), "{page}");
    // A store that the deployment does not name: its records are dead letters that say so.
    definition["stores"] = json!(["other"]);
    deploy(&server, "count", &definition);
    send_all(&producer(&server, &[]), "in", &["sea"]);
    let failed = until(&server, "count", |processor| counted(processor, "dead_letters") == 1);
    assert!(failed["last_error"].to_string().contains("there is no state store"), "{failed:#}");
}

/// The group's committed offset of partition 0 of the topic.
fn committed_offset(server: &TestServer, group: &str, topic: &str) -> Offset {
    let consumer: TestConsumer = create(server, &[("group.id", group)]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
    found.find_partition(topic, 0).unwrap().offset()
}

fn until_expired(server: &TestServer, group: &str, topic: &str) {
    let give_up = Instant::now() + PATIENCE;
    while committed_offset(server, group, topic) != Offset::Invalid {
        assert!(Instant::now() < give_up, "the offset of {group} does not expire");
        std::thread::yield_now();
    }
}

/// Commits offset 0 of partition 0 under a group without members, and waits until that has expired.
fn outlive_a_control_group(server: &TestServer, topic: &str) {
    let control: TestConsumer = create(server, &[("group.id", "control")]);
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(topic, 0, Offset::Offset(0)).unwrap();
    control.commit(&position, CommitMode::Sync).unwrap();
    until_expired(server, "control", topic);
}

/// One shard holds all groups, so that a sweep that finds the control group's offset has found the processor's,
/// which is older.
#[test]
fn an_idle_processor_keeps_its_place_and_a_deleted_one_loses_it() {
    let settings = [
        ("tidemill.admin.listen", "127.0.0.1:0"),
        ("offsets.topic.num.partitions", "1"),
        ("offsets.retention.check.interval.ms", "20"),
    ];
    let mut server = TestServer::adjusted(&settings, |config| {
        config.groups.offsets_retention = Duration::from_millis(100);
    });
    create_topic(&mut server.wire(), "in", 1, &[]);
    create_topic(&mut server.wire(), "out", 1, &[]);
    push(&server, "redact", &guest("redact"));
    let definition = json!({"module": "redact", "inputs": ["in"], "outputs": ["out"],
        "config": {"output": "out"}});
    deploy(&server, "idle", &definition);
    send_all(&producer(&server, &[]), "in", &["a@b.example"]);
    until(&server, "idle", |processor| counted(processor, "records_in") == 1);
    for _ in 0..2 {
        outlive_a_control_group(&server, "in");
        server.restart();
    }
    assert_eq!(call(&server, "POST", "/v1/processors/idle/pause", &[]).0, 200);
    outlive_a_control_group(&server, "in");
    assert_eq!(call(&server, "POST", "/v1/processors/idle/resume", &[]).0, 200);
    send_all(&producer(&server, &[]), "in", &["c@d.example"]);
    until(&server, "idle", |processor| counted(processor, "records_in") > 0 && processor["lag"] == 0);
    assert_eq!(committed_values(&server, "out").len(), 2, "each record is there once");
    assert_eq!(call(&server, "DELETE", "/v1/processors/idle", &[]).0, 204);
    until_expired(&server, "idle", "in");
}

#[test]
fn what_a_processor_has_said_is_there_after_a_restart_and_for_every_consumer() {
    let mut server = with_topics(&["in", "out"]);
    push(&server, "test", &guest("test-guest-flat"));
    deploy(&server, "bad", &behaving("test", "panic"));
    send_all(&producer(&server, &[]), "in", &["one"]);
    until(&server, "bad", |processor| counted(processor, "dead_letters") == 1);
    let logs = |server: &TestServer, since: u64| {
        let (status, page) = call(server, "GET", &format!("/v1/processors/bad/logs?since={since}"), &[]);
        assert_eq!(status, 200, "{page}");
        page
    };
    let said = logs(&server, 0);
    assert!(said["lines"].to_string().contains("record at offset 0 failed"), "{said}");
    server.restart();
    until(&server, "bad", |processor| processor["state"] == "running");
    let again = logs(&server, 0);
    let (before, after) = (said["lines"].as_array().unwrap(), again["lines"].as_array().unwrap());
    assert_eq!(after.get(..before.len()), Some(&before[..]), "{again}");
    // Who followed them goes on where it was.
    send_all(&producer(&server, &[]), "in", &["two"]);
    until(&server, "bad", |processor| counted(processor, "dead_letters") == 1);
    let next = logs(&server, said["next"].as_u64().unwrap());
    assert!(next["lines"].to_string().contains("record at offset 1 failed"), "{next}");
    assert!(!next["lines"].to_string().contains("record at offset 0 failed"), "{next}");
    let kept = committed_values(&server, "__plugin_logs");
    let kept: Vec<Value> = kept.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = kept.iter().find(|line| line["message"].to_string().contains("record at offset 0")).unwrap();
    assert_eq!(
        (&found["kind"], &found["name"], &found["task"]),
        (&json!("processor"), &json!("bad"), &json!("in-0"))
    );
    assert_refused(&try_deploy(&server, "loop", &from_to("test", "__plugin_logs", "out")), "", &["internal"]);
}

#[test]
fn describe_says_that_a_processor_tries_again_and_why() {
    let server = with_topics(&["in", "out"]);
    push(&server, "test", &guest("test-guest-flat"));
    deploy(&server, "stuck", &behaving("test", "refuse-init"));
    send_all(&producer(&server, &[]), "in", &["one"]);
    let stuck = until(&server, "stuck", |processor| processor["state"] == "retrying");
    let cause = stuck["cause"].as_str().unwrap();
    assert!(cause.contains("the config key `threshold` is missing"), "{cause}");
    // In the middle of the next try it runs, for a moment.
    let give_up = Instant::now() + PATIENCE;
    loop {
        let described = tidemill_text(&server, &["processor", "describe", "stuck"]);
        if described.contains("retrying") && described.contains("`threshold` is missing") {
            break;
        }
        assert!(Instant::now() < give_up, "{described}");
    }
}
