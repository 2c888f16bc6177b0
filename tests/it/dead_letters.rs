//! Dead letters on a real server, by the command line: they go back to where they came from, each exactly once,
//! whatever becomes of the replay.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::fixture::TestServer;
use crate::fixture::admin::{call, counted, deploy, guest, push, until};
use crate::fixture::command::{assert_fails, command, tidemill, tidemill_json, tidemill_text};
use crate::fixture::librdkafka::{
    PATIENCE, TestConsumer, committed_values, create, flush, producer, read_all, send_record,
    transactional_producer, values,
};
use crate::fixture::wire::create_topic;

const LETTERS: &str = "p.dlq";

fn server(topics: &[(&str, i32)]) -> TestServer {
    let server = TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")]);
    let mut client = server.wire();
    for (topic, partitions) in topics {
        create_topic(&mut client, topic, *partitions, &[]);
    }
    server
}

/// The headers of a letter that came from there.
fn came_from(topic: &str, partition: i32, offset: usize) -> OwnedHeaders {
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let ours = [
        ("message", "no good"),
        ("code", "rejected"),
        ("topic", topic),
        ("partition", &partition),
        ("offset", &offset),
        ("processor", "p"),
        ("module", "abc"),
        ("attempts", "1"),
    ];
    ours.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header { key: &format!("__tidemill.error.{name}"), value: Some(value.as_bytes()) })
    })
}

/// Writes letters with these values into the dead-letter topic, as if they came from these topics; no topic is a
/// record that is no letter.
fn write_letters(server: &TestServer, letters: &[(Option<&str>, &str)]) {
    let producer = producer(server, &[]);
    for (offset, (topic, value)) in letters.iter().enumerate() {
        let mut record = BaseRecord::<str, str>::to(LETTERS).partition(0).payload(value);
        record.headers = topic.map(|topic| came_from(topic, 0, offset));
        send_record(&producer, record);
    }
    assert!(flush(&producer).iter().all(Result::is_ok));
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("letter {number}")).collect()
}

fn replay(server: &TestServer, arguments: &[&str]) -> Value {
    tidemill_json(server, &[&["dlq", "replay", LETTERS], arguments].concat(), "")
}

/// How many letters the replay says it wrote.
fn replayed(answer: &Value) -> u64 {
    answer["to"].as_array().unwrap().iter().map(|to| to["letters"].as_u64().unwrap()).sum()
}

type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Vec<(String, Option<Vec<u8>>)>);

/// Key, value, timestamp and headers.
fn parts(message: &OwnedMessage) -> Parts {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers = headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
    (
        message.key().map(<[u8]>::to_vec),
        message.payload().map(<[u8]>::to_vec),
        message.timestamp().to_millis(),
        headers.collect(),
    )
}

/// A server with a paused processor that has failed on records of every shape: five, on both partitions.
fn failed() -> TestServer {
    let server = server(&[("in", 2), ("out", 1)]);
    push(&server, "test", &guest("test-guest-flat"));
    let definition = json!({"module": "test", "inputs": ["in"], "outputs": ["out"],
        "config": {"behaviour": "panic"}, "on_error": {"retries": 0, "backoff_ms": 1}});
    deploy(&server, "p", &definition);
    let sender = producer(&server, &[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header::<&str> { key: "a", value: None })
        .insert(Header { key: "empty", value: Some("") });
    let to = |partition: i32| BaseRecord::<[u8], [u8]>::to("in").partition(partition).timestamp(1_234_567);
    send_record(&sender, to(0).key(b"k").payload(b"value").headers(headers));
    send_record(&sender, to(0).key(b"tombstone"));
    send_record(&sender, to(0).payload(b"no key"));
    send_record(&sender, to(1).key(b"").payload(b""));
    send_record(&sender, to(1).key(&[0xff, 0]).payload(&[0, 0xff]));
    assert!(flush(&sender).iter().all(Result::is_ok));
    until(&server, "p", |processor| counted(processor, "dead_letters") == 5);
    assert_eq!(call(&server, "POST", "/v1/processors/p/pause", &[]).0, 200);
    server
}

#[test]
fn letters_are_listed_and_shown_with_what_was_wrong() {
    let server = failed();
    let listed = tidemill_json(&server, &["dlq", "list"], "");
    let listed = &listed["topics"][0];
    assert_eq!((&listed["topic"], &listed["processors"]), (&json!(LETTERS), &json!(["p"])));
    assert_eq!((&listed["pending"], &listed["replayed"]), (&json!(5), &json!(0)));
    assert_eq!((&listed["oldest_ms"], &listed["newest_ms"]), (&json!(1_234_567), &json!(1_234_567)));
    let shown = tidemill_json(&server, &["dlq", "show", LETTERS, "-p", "0"], "");
    let first = &shown["letters"][0];
    assert_eq!(
        (&first["key"], &first["value"], &first["state"]),
        (&json!("k"), &json!("value"), &json!("pending"))
    );
    let error = &first["error"];
    assert_eq!(
        (&error["topic"], &error["partition"], &error["offset"]),
        (&json!("in"), &json!(0), &json!(0))
    );
    assert_eq!((&error["processor"], &error["attempts"]), (&json!("p"), &json!(1)));
    assert!(error["message"].as_str().unwrap().contains("not to my taste"), "{error}");
    assert_eq!(first["headers"].as_array().unwrap().len(), 3, "{first:#}");
    assert_eq!((&shown["letters"][1]["value"], &shown["letters"][2]["key"]), (&Value::Null, &Value::Null));
    let table = tidemill_text(&server, &["dlq", "show", LETTERS, "--processor", "p", "--limit", "2"]);
    assert!(table.contains("in-0@0") && table.contains("There are more"), "{table}");
    let none = tidemill_json(&server, &["dlq", "show", LETTERS, "--code", "other"], "");
    assert_eq!(none["letters"], json!([]));
}

#[test]
fn letters_are_replayed_once_as_they_were_and_purged() {
    let server = failed();
    assert_eq!(replayed(&replay(&server, &["--dry-run"])), 5);
    assert_eq!(read_all(&server, "in", 2, "read_committed").len(), 5, "nothing was written");
    assert_eq!(replay(&server, &[])["to"], json!([{"topic": "in", "letters": 5}]));
    let mut by_partition: BTreeMap<i32, Vec<Parts>> = BTreeMap::new();
    for message in read_all(&server, "in", 2, "read_committed") {
        by_partition.entry(message.partition()).or_default().push(parts(&message));
    }
    for (partition, records) in by_partition {
        let (sent, back) = records.split_at(records.len() / 2);
        assert_eq!(sent, back, "partition {partition}");
    }
    assert_eq!(replayed(&replay(&server, &[])), 0, "once");
    let listed = tidemill_json(&server, &["dlq", "list"], "");
    let listed = &listed["topics"][0];
    assert_eq!((&listed["pending"], &listed["replayed"]), (&json!(0), &json!(5)));
    assert_eq!(tidemill_json(&server, &["dlq", "show", LETTERS], "")["letters"], json!([]));
    let all = tidemill_json(&server, &["dlq", "show", LETTERS, "--all"], "");
    assert_eq!(all["letters"].as_array().unwrap().len(), 5);
    // A replay has no lag left, whoever asks.
    let group = tidemill_json(&server, &["group", "describe", &format!("__dlq.{LETTERS}")], "");
    for partition in group[0]["offsets"].as_array().unwrap() {
        assert_eq!(partition["lag"], 0, "{group:#}");
    }
    let purge = ["dlq", "purge", LETTERS, "--replayed"];
    assert_fails(&tidemill(&server, &purge, ""), 2, &["Delete 5 replayed letters", "--yes"]);
    assert_eq!(tidemill_json(&server, &[&purge[..], &["--yes"]].concat(), "")["deleted"], 5);
    assert_eq!(read_all(&server, LETTERS, 2, "read_committed").len(), 0);
}

#[test]
fn a_replay_that_is_cut_before_its_commit_leaves_nothing_and_cannot_come_back() {
    let server = server(&[("in", 1), (LETTERS, 1)]);
    write_letters(&server, &[(Some("in"), "a"), (Some("in"), "b"), (Some("in"), "c")]);
    // What a replay does, up to its commit.
    let id = format!("__dlq.{LETTERS}");
    let doomed = transactional_producer(&server, &id, &[]);
    doomed.begin_transaction().unwrap();
    for value in ["a", "b"] {
        send_record(&doomed, BaseRecord::<(), str>::to("in").partition(0).payload(value));
    }
    assert!(flush(&doomed).iter().all(Result::is_ok));
    let consumer: TestConsumer = create(&server, &[("group.id", &id)]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(LETTERS, 0, Offset::Offset(2)).unwrap();
    doomed.send_offsets_to_transaction(&offsets, &consumer.group_metadata().unwrap(), PATIENCE).unwrap();
    assert_eq!(committed_values(&server, "in"), [""; 0]);

    assert_eq!(replayed(&replay(&server, &[])), 3, "the next replay begins where nothing is committed");
    assert_eq!(committed_values(&server, "in"), ["a", "b", "c"]);
    assert!(doomed.commit_transaction(PATIENCE).is_err(), "it is fenced");
    assert_eq!(committed_values(&server, "in"), ["a", "b", "c"]);
    assert_eq!(values(&read_all(&server, "in", 1, "read_uncommitted")), ["a", "b", "a", "b", "c"]);
    assert_eq!(replayed(&replay(&server, &[])), 0);
}

#[test]
fn replays_that_are_killed_again_and_again_write_each_letter_once() {
    const COUNT: usize = 120;
    let server = server(&[("in", 1), (LETTERS, 1)]);
    let expected = numbered(COUNT);
    let letters: Vec<_> = expected.iter().map(|value| (Some("in"), value.as_str())).collect();
    write_letters(&server, &letters);
    let watcher: TestConsumer = create(&server, &[]);
    let end = || watcher.fetch_watermarks("in", 0, PATIENCE).unwrap().1;
    let mut kills = 0;
    let give_up = Instant::now() + PATIENCE;
    for round in 0.. {
        assert!(Instant::now() < give_up, "{round} rounds");
        let begun = end();
        let mut command = command(&server, &["dlq", "replay", LETTERS, "--batch", "1"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Each round a little further on: between any two of its steps, over time.
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if end() > begun + 10 + round {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                break None;
            }
        };
        if let Some(status) = status {
            assert!(status.success());
            break;
        }
    }
    assert!(kills >= 3, "{kills} kills");
    assert_eq!(committed_values(&server, "in"), expected);
}

#[test]
fn two_replays_at_once_write_each_letter_once() {
    const COUNT: usize = 60;
    let server = server(&[("in", 1), (LETTERS, 1)]);
    let expected = numbered(COUNT);
    let letters: Vec<_> = expected.iter().map(|value| (Some("in"), value.as_str())).collect();
    write_letters(&server, &letters);
    let arguments = ["dlq", "replay", LETTERS, "--batch", "1"];
    let children: Vec<_> =
        (0..3).map(|_| command(&server, &arguments).stdin(Stdio::null()).spawn().unwrap()).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in outputs.iter().filter(|output| !output.status.success()) {
        assert_fails(output, 4, &["another replay of p.dlq has begun"]);
    }
    replay(&server, &[]);
    assert_eq!(committed_values(&server, "in"), expected);
}

#[test]
fn a_letter_that_cannot_go_back_holds_up_those_behind_it_until_it_is_passed_over() {
    for (letters, before) in [
        (&[(None, "foreign"), (Some("in"), "a")][..], 0),
        (&[(Some("in"), "a"), (Some("gone"), "orphan"), (Some("in"), "b")], 1),
        (&[(Some("in"), "a"), (Some("in"), "b"), (Some("__consumer_offsets"), "own")], 2),
        (&[(Some("gone"), "orphan")], 0),
    ] {
        let server = server(&[("in", 1), (LETTERS, 1)]);
        write_letters(&server, letters);
        let output = tidemill(&server, &["dlq", "replay", LETTERS], "");
        let place = format!("{LETTERS}-0 offset {before} cannot be replayed");
        assert_fails(&output, 1, &[&place, "--skip-unreplayable"]);
        let good: Vec<_> =
            letters.iter().filter(|(topic, _)| *topic == Some("in")).map(|(_, value)| *value).collect();
        assert_eq!(committed_values(&server, "in"), good[..before]);
        let answer = replay(&server, &["--skip-unreplayable"]);
        assert_eq!((replayed(&answer), &answer["skipped"]), ((good.len() - before) as u64, &json!(1)));
        assert_eq!(committed_values(&server, "in"), good);
    }
}

#[test]
fn a_letter_that_its_topic_refuses_is_named_and_those_before_it_go() {
    let server = server(&[("in", 1), (LETTERS, 1)]);
    create_topic(&mut server.wire(), "narrow", 1, &[("max.message.bytes", "500")]);
    let large = "x".repeat(1_000);
    write_letters(
        &server,
        &[(Some("in"), "a"), (Some("narrow"), "fits"), (Some("narrow"), &large), (Some("in"), "b")],
    );
    let output = tidemill(&server, &["dlq", "replay", LETTERS], "");
    assert_fails(
        &output,
        1,
        &["cannot write p.dlq-0 offset 2 to narrow", "MESSAGE_TOO_LARGE", "--to-offset 3"],
    );
    assert_eq!(committed_values(&server, "in"), ["a"]);
    assert_eq!(committed_values(&server, "narrow"), ["fits"]);
    let reset =
        ["group", "reset-offsets", "__dlq.p.dlq", "--topic", "p.dlq:0", "--to-offset", "3", "--execute"];
    tidemill_json(&server, &reset, "");
    assert_eq!(replayed(&replay(&server, &[])), 1);
    assert_eq!(committed_values(&server, "in"), ["a", "b"]);
}

#[test]
fn limits_and_partitions_choose_what_comes_first() {
    let server = server(&[("in", 1), (LETTERS, 2)]);
    let sender = producer(&server, &[]);
    for (partition, value) in [(0, "a"), (0, "b"), (0, "c"), (1, "d")] {
        let record = BaseRecord::<str, str>::to(LETTERS).partition(partition).payload(value);
        send_record(&sender, record.headers(came_from("in", 0, 0)));
    }
    assert!(flush(&sender).iter().all(Result::is_ok));
    assert_eq!(replayed(&replay(&server, &["--partition", "0", "--limit", "2"])), 2);
    assert_eq!(committed_values(&server, "in"), ["a", "b"]);
    assert_eq!(replayed(&replay(&server, &["--partition", "1"])), 1);
    assert_eq!(replayed(&replay(&server, &[])), 1);
    assert_eq!(committed_values(&server, "in"), ["a", "b", "d", "c"]);
    assert_fails(&tidemill(&server, &["dlq", "replay", LETTERS, "-p", "7"], ""), 3, &["no partition 7"]);
    assert_fails(&tidemill(&server, &["dlq", "show", "nothing"], ""), 3, &["no topic nothing", "dlq list"]);
}

#[test]
fn a_letter_from_an_ingress_goes_through_the_topic_s_partitioner_again() {
    let server = server(&[(LETTERS, 1)]);
    push(&server, "word", &guest("word-partitioner"));
    let settings = [("tidemill.partitioner", "word"), ("tidemill.partitioner.config", "word=urgent")];
    create_topic(&mut server.wire(), "t", 2, &settings);
    write_letters(&server, &[(Some("__ingress.t"), "the usual"), (Some("__ingress.t"), "an urgent one")]);
    assert_eq!(replay(&server, &[])["to"], json!([{"topic": "t", "letters": 2}]));
    until(&server, "__ingress.t", |mover| counted(mover, "records_out") == 2);
    let placed: BTreeMap<i32, Vec<String>> = [0, 1]
        .into_iter()
        .map(|partition| {
            let all = read_all(&server, "t", 2, "read_committed");
            let of_it: Vec<_> = all.into_iter().filter(|message| message.partition() == partition).collect();
            (partition, values(&of_it))
        })
        .collect();
    assert_eq!(placed[&0], ["an urgent one"]);
    assert_eq!(placed[&1], ["the usual"]);
}

#[test]
fn a_purge_takes_what_waits_too_unless_told_otherwise() {
    let server = server(&[("in", 1), (LETTERS, 1)]);
    write_letters(&server, &[(Some("in"), "a"), (Some("in"), "b"), (Some("in"), "c")]);
    assert_eq!(replayed(&replay(&server, &["--limit", "1"])), 1);
    let purged = tidemill_json(&server, &["dlq", "purge", LETTERS, "--replayed", "--yes"], "");
    assert_eq!(
        (&purged["deleted"], committed_values(&server, LETTERS)),
        (&json!(1), vec!["b".into(), "c".into()])
    );
    let asked = tidemill(&server, &["dlq", "purge", LETTERS], "");
    assert_fails(&asked, 2, &["Delete 2 letters of p.dlq, of which 2 are not replayed?"]);
    assert_eq!(tidemill_json(&server, &["dlq", "purge", LETTERS, "--yes"], "")["deleted"], 2);
    assert_eq!(committed_values(&server, LETTERS), [""; 0]);
    assert_eq!(replayed(&replay(&server, &[])), 0);
    // Where a topic keeps the last record of each key, nothing else can be deleted.
    create_topic(&mut server.wire(), "kept.dlq", 1, &[("cleanup.policy", "compact")]);
    assert_fails(&tidemill(&server, &["dlq", "purge", "kept.dlq", "--yes"], ""), 4, &["POLICY_VIOLATION"]);
}
