//! Interceptors on a real server: what they do to batches, and what they cannot do to anybody else.

use std::sync::mpsc;

use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use serde_json::{Value, json};

use tidemill::error_code::ErrorCode;
use tidemill::testing::WireClient;

use crate::fixture::TestServer;
use crate::fixture::admin::{attach, call, counters, guest, push};
use crate::fixture::librdkafka::{
    committed_values, flush, producer, read_all, send, send_all, transactional_producer, values as texts,
};
use crate::fixture::wire::{
    READ_UNCOMMITTED, assert_still_serves, batch, create_topic, fetch, next_offset, produce, produce_request,
    values,
};

/// A server with the judging module under its name.
fn server(settings: &[(&str, &str)]) -> TestServer {
    let all = [("tidemill.admin.listen", "127.0.0.1:0")].iter().chain(settings);
    let server = TestServer::with(&all.copied().collect::<Vec<_>>());
    for world in ["flat", "typed"] {
        push(&server, world, &guest(&format!("test-interceptor-{world}")));
    }
    server
}

fn on(paths: &[&str], module: &str) -> Value {
    // Time enough on a machine that does much else.
    json!({"module": module, "topics": ["t*"], "paths": paths, "limits": {"batch_time_ms": 10_000}})
}

fn with(mut attachment: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        attachment[key] = value.clone();
    }
    attachment
}

fn read(client: &mut WireClient, topic: &str) -> Vec<(i64, String)> {
    values(&fetch(client, topic, 0, 0, READ_UNCOMMITTED))
}

fn expect(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

fn error(response: &PartitionProduceResponse) -> (ErrorCode, String) {
    let code = ErrorCode::from_code(response.error_code).unwrap();
    (code, response.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[test]
fn dropped_and_replaced_records_leave_the_others_at_their_offsets() {
    for world in ["flat", "typed"] {
        let server = server(&[]);
        let mut client = server.wire();
        create_topic(&mut client, "t", 1, &[]);
        attach(&server, "judge", &on(&["produce"], world));
        let answered =
            produce(&mut client, "t", 0, batch(&["drop:", "a", "replace:b", "drop:", "c", "drop:"]));
        assert_eq!((answered.error_code, answered.base_offset), (0, 0));
        let whole = produce(&mut client, "t", 0, batch(&["drop:", "drop:"]));
        assert_eq!((whole.error_code, whole.base_offset), (0, 6));
        assert_eq!(produce(&mut client, "t", 0, batch(&["d"])).base_offset, 8);
        assert_eq!(read(&mut client, "t"), expect(&[(1, "a"), (2, "replaced:b"), (4, "c"), (8, "d")]));
        let read = texts(&read_all(&server, "t", 1, "read_committed"));
        assert_eq!(read, ["a", "replaced:b", "c", "d"], "a stock client reads across the gaps");
    }
}

#[test]
fn a_rejection_refuses_its_batch_and_tells_the_client_which_record_and_why() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    attach(&server, "judge", &on(&["produce"], "flat"));
    let refused = produce(&mut client, "t", 0, batch(&["a", "reject:no good", "b", "policy:neither"]));
    assert_eq!(refused.base_offset, -1);
    let message = "2 records were rejected; the first: interceptor judge: no good";
    assert_eq!(error(&refused), (ErrorCode::InvalidRecord, message.to_owned()));
    let blamed: Vec<_> = refused
        .record_errors
        .iter()
        .map(|record| (record.batch_index, record.batch_index_error_message.clone().unwrap().to_string()))
        .collect();
    let expected = [(1, "interceptor judge: no good"), (3, "interceptor judge: neither")];
    assert_eq!(blamed, expected.map(|(index, message)| (index, message.to_owned())));
    for (value, code) in
        [("policy:p", ErrorCode::PolicyViolation), ("authorize:a", ErrorCode::TopicAuthorizationFailed)]
    {
        assert_eq!(error(&produce(&mut client, "t", 0, batch(&[value]))).0, code);
    }
    // Version 7 has no words.
    let response = client.call(7, &produce_request("t", 0, batch(&["reject:x"]))).unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::InvalidRecord.code());
    assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).base_offset, 0, "no offset was used");
    let counted = counters(&server, "judge");
    assert_eq!(counted["produce"]["rejected"], 5);
}

#[test]
fn only_topics_principals_and_paths_of_the_attachment_are_judged() {
    let server = server(&[
        ("listeners", "127.0.0.1:0,127.0.0.1:0"),
        ("tidemill.listener.principals", "User:apps,User:partner"),
    ]);
    let (mut apps, mut partner) = (server.wire_of_listener(0), server.wire_of_listener(1));
    for topic in ["t", "other"] {
        create_topic(&mut apps, topic, 1, &[]);
    }
    let judge = on(&["fetch"], "flat");
    attach(&server, "judge", &with(judge, &json!({"principals": ["User:part*"]})));
    for topic in ["t", "other"] {
        assert_eq!(produce(&mut partner, topic, 0, batch(&["a", "drop:b", "replace:c"])).error_code, 0);
    }
    let untouched = expect(&[(0, "a"), (1, "drop:b"), (2, "replace:c")]);
    assert_eq!(read(&mut partner, "other"), untouched);
    assert_eq!(read(&mut apps, "t"), untouched);
    assert_eq!(read(&mut partner, "t"), expect(&[(0, "a"), (2, "replaced:c")]));
}

#[test]
fn a_consumer_gets_past_batches_of_which_nothing_is_left() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    attach(&server, "judge", &on(&["fetch"], "flat"));
    for values in [&["drop:"][..], &["a", "drop:"], &["drop:", "drop:"]] {
        assert_eq!(produce(&mut client, "t", 0, batch(values)).error_code, 0);
    }
    let fetched = fetch(&mut client, "t", 0, 0, READ_UNCOMMITTED);
    assert_eq!((values(&fetched), next_offset(&fetched)), (expect(&[(1, "a")]), Some(5)));
    assert_eq!(texts(&read_all(&server, "t", 1, "read_committed")), ["a"]);
}

#[test]
fn a_fetch_stops_before_a_refused_batch_and_says_so_at_it() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    attach(&server, "judge", &on(&["fetch"], "flat"));
    for value in ["a", "authorize:secret", "b"] {
        assert_eq!(produce(&mut client, "t", 0, batch(&[value])).error_code, 0);
    }
    assert_eq!(read(&mut client, "t"), expect(&[(0, "a")]));
    let refused = fetch(&mut client, "t", 0, 1, READ_UNCOMMITTED);
    assert_eq!(ErrorCode::from_code(refused.error_code), Some(ErrorCode::TopicAuthorizationFailed));
    assert!(refused.records.unwrap_or_default().is_empty());
    assert_eq!(values(&fetch(&mut client, "t", 0, 2, READ_UNCOMMITTED)), expect(&[(2, "b")]));
}

#[test]
fn a_chain_goes_by_order_and_each_hears_what_became_of_the_batch() {
    let server = server(&[]);
    create_topic(&mut server.wire(), "t", 1, &[]);
    for (name, order, mark) in [("last", 20, "2"), ("first", 10, "1")] {
        let more = json!({"order": order, "config": {"mark": mark}});
        attach(&server, name, &with(on(&["produce"], "typed"), &more));
    }
    let (_, listed) = call(&server, "GET", "/v1/interceptors", &[]);
    let names: Vec<_> = listed["interceptors"].as_array().unwrap().iter().map(|i| &i["name"]).collect();
    assert_eq!(names, ["first", "last"]);
    let sender = producer(&server, &[("linger.ms", "50")]);
    send_all(&sender, "t", &["a", "b"]);
    send(&sender, "t", "reject:no");
    assert!(flush(&sender).iter().all(Result::is_err));
    let message = &read_all(&server, "t", 1, "read_committed")[0];
    use rdkafka::message::{Headers, Message};
    let headers = message.headers().unwrap();
    let marks: Vec<_> = headers.iter().map(|header| header.value.unwrap().to_vec()).collect();
    assert_eq!(marks, [b"1", b"2"]);
    let (_, detached) = call(&server, "DELETE", "/v1/interceptors/last", &[]);
    assert_eq!(detached, Value::Null);
    drop(server);
}

#[test]
fn acknowledgements_reach_the_guest_with_offsets_and_errors() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[("max.message.bytes", "2000")]);
    attach(&server, "judge", &on(&["produce"], "flat"));
    produce(&mut client, "t", 0, batch(&["a", "drop:"]));
    produce(&mut client, "t", 0, batch(&["b"]));
    assert_eq!(error(&produce(&mut client, "t", 0, batch(&["grow:"]))).0, ErrorCode::MessageTooLarge);
    produce(&mut client, "t", 0, batch(&["reject:x"]));
    let lines = loop {
        let (_, logs) = call(&server, "GET", "/v1/interceptors/judge/logs", &[]);
        let lines = logs["lines"].as_array().unwrap().clone();
        if lines.len() == 4 {
            break lines;
        }
        std::thread::yield_now();
    };
    let lines: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        lines,
        ["ack t-0 2 0", "ack t-0 1 2", "ack t-0 1 MESSAGE_TOO_LARGE", "ack t-0 1 INVALID_RECORD"]
    );
    let own = counters(&server, "judge")["own"].clone();
    assert_eq!((&own["acknowledged"], &own["failed"]), (&json!(3), &json!(2)));
}

#[test]
fn transactions_and_idempotence_hold_with_dropped_and_rejected_records() {
    let server = server(&[]);
    create_topic(&mut server.wire(), "t", 1, &[]);
    attach(&server, "judge", &on(&["produce"], "flat"));
    let sender = transactional_producer(&server, "id", &[("linger.ms", "20")]);
    use crate::fixture::librdkafka::PATIENCE;
    use rdkafka::producer::Producer as _;
    sender.begin_transaction().unwrap();
    send_all(&sender, "t", &["drop:", "a", "drop:", "replace:b"]);
    sender.commit_transaction(PATIENCE).unwrap();
    sender.begin_transaction().unwrap();
    send(&sender, "t", "lost");
    send(&sender, "t", "reject:x");
    assert!(flush(&sender).iter().any(Result::is_err));
    sender.abort_transaction(PATIENCE).unwrap();
    // librdkafka keeps its epoch after an abort, and counts the refused batch: its next transaction begins at
    // a sequence that the log does not expect, as with any refused batch in Kafka. It aborts that one too.
    sender.begin_transaction().unwrap();
    send(&sender, "t", "drop:");
    flush(&sender);
    assert!(sender.commit_transaction(PATIENCE).is_err());
    sender.abort_transaction(PATIENCE).unwrap();
    sender.begin_transaction().unwrap();
    send_all(&sender, "t", &["drop:", "drop:"]);
    sender.commit_transaction(PATIENCE).unwrap();
    sender.begin_transaction().unwrap();
    send_all(&sender, "t", &["c"]);
    sender.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed_values(&server, "t"), ["a", "replaced:b", "c"]);
    let idempotent = producer(&server, &[("enable.idempotence", "true"), ("linger.ms", "20")]);
    for round in 0..10 {
        send_all(&idempotent, "t", &["drop:", &format!("{round}"), "drop:"]);
    }
    assert_eq!(committed_values(&server, "t").len(), 13);
}

#[test]
fn what_is_attached_holds_after_a_restart_and_after_a_crash() {
    let mut server = server(&[]);
    create_topic(&mut server.wire(), "t", 1, &[]);
    attach(&server, "judge", &on(&["produce"], "flat"));
    server.restart();
    assert_eq!(produce(&mut server.wire(), "t", 0, batch(&["drop:", "a"])).error_code, 0);
    server.restart();
    assert_eq!(read(&mut server.wire(), "t"), expect(&[(1, "a")]), "a log with gaps opens again");
    assert_eq!(produce(&mut server.wire(), "t", 0, batch(&["drop:", "drop:"])).base_offset, 2);
    assert_eq!(produce(&mut server.wire(), "t", 0, batch(&["b"])).base_offset, 4);
}

/// What a guest does wrong refuses its own batches, with words, and nobody else's.
#[test]
fn a_misbehaving_interceptor_fails_closed_and_disturbs_nobody() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    let behaviours = [
        ("eat", "bytes of memory"),
        ("recurse", "recurse"),
        ("garbage", "not with `TMV1`"),
        ("too-many", "3 verdicts on 2 records"),
        ("short-count", "it judges 1 records"),
        ("index-beyond", "it names record 2"),
        ("index-twice", "it names record 0"),
        ("lie-length", "it is cut short"),
        ("bad-body", "cannot be read"),
        ("negative-time", "its timestamp is -5"),
    ];
    for (behaviour, words) in behaviours {
        let more = json!({"config": {"behaviour": behaviour}, "limits": {"memory_bytes": 16 << 20, "batch_time_ms": 200}});
        attach(&server, "judge", &with(on(&["produce"], "flat"), &more));
        let (code, message) = error(&produce(&mut client, "t", 0, batch(&["a", "b"])));
        assert_eq!(code, ErrorCode::UnknownServerError, "{behaviour}");
        assert!(message.contains("interceptor judge could not judge the batch"), "{message}");
        assert!(message.contains(words), "{behaviour}: {message}");
        assert_still_serves(&server);
    }
    for (value, words) in
        [("trap:", "asked to trap"), ("loop:", "longer than 100 ms"), ("fault:f", "record 0: f")]
    {
        let brief = with(on(&["produce"], "flat"), &json!({"limits": {"batch_time_ms": 100}}));
        attach(&server, "judge", &brief);
        let (_, message) = error(&produce(&mut client, "t", 0, batch(&[value])));
        assert!(message.contains(words), "{message}");
        assert_eq!(
            produce(&mut client, "t", 0, batch(&["a"])).error_code,
            0,
            "the next batch is judged anew"
        );
    }
    assert_eq!(read(&mut client, "t").len(), 3);
    let open = with(on(&["produce"], "flat"), &json!({"on_fault": "fail-open"}));
    attach(&server, "judge", &open);
    assert_eq!(produce(&mut client, "t", 0, batch(&["trap:", "drop:"])).error_code, 0);
    assert_eq!(counters(&server, "judge")["passed_open"], 1);
    assert_eq!(read(&mut client, "t").len(), 5);
}

/// While one connection's batch is in an endless loop, others are served.
#[test]
fn a_loop_holds_up_its_own_connection_only() {
    let server = server(&[]);
    for topic in ["t", "other"] {
        create_topic(&mut server.wire(), topic, 1, &[]);
    }
    attach(&server, "judge", &with(on(&["produce"], "flat"), &json!({"limits": {"batch_time_ms": 2000}})));
    let loops = std::thread::available_parallelism().unwrap().get() + 1;
    let (ended, endings) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..loops {
            let (mut client, ended) = (server.wire(), ended.clone());
            scope.spawn(move || {
                produce(&mut client, "t", 0, batch(&["loop:"]));
                ended.send(()).unwrap();
            });
        }
        // More loops than threads: if they kept them, nothing here would be answered before they end.
        let mut client = server.wire();
        for number in 0..50 {
            assert_eq!(produce(&mut client, "other", 0, batch(&["a"])).base_offset, number);
        }
        assert!(endings.try_recv().is_err(), "the loops had ended already");
    });
}

#[test]
fn acks_0_is_judged_too() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    attach(&server, "judge", &on(&["produce"], "flat"));
    let unacknowledged =
        producer(&server, &[("acks", "0"), ("enable.idempotence", "false"), ("linger.ms", "50")]);
    for value in ["drop:", "a", "drop:"] {
        send(&unacknowledged, "t", value);
    }
    flush(&unacknowledged);
    let read = loop {
        let read = read(&mut client, "t");
        if !read.is_empty() {
            break read;
        }
        std::thread::yield_now();
    };
    assert_eq!(read, expect(&[(1, "a")]));
}

#[test]
fn a_compacted_topic_takes_no_replacement_without_a_key() {
    let server = server(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[("cleanup.policy", "compact")]);
    attach(&server, "judge", &on(&["produce"], "flat"));
    let keyed =
        |value: &'static str| rdkafka::producer::BaseRecord::to("t").partition(0).key("k").payload(value);
    let sender = producer(&server, &[]);
    crate::fixture::librdkafka::send_record(&sender, keyed("a"));
    assert!(flush(&sender).iter().all(Result::is_ok));
    crate::fixture::librdkafka::send_record(&sender, keyed("null:"));
    assert!(flush(&sender).iter().all(Result::is_err));
    assert_eq!(read(&mut client, "t").len(), 1);
}

/// The examples, with their records, on one server.
#[test]
fn the_examples_do_what_their_readmes_say() {
    let server = server(&[
        ("listeners", "127.0.0.1:0,127.0.0.1:0"),
        ("tidemill.listener.principals", "User:apps,User:partner"),
    ]);
    let (mut apps, mut partner) = (server.wire_of_listener(0), server.wire_of_listener(1));
    create_topic(&mut apps, "t", 1, &[]);
    for example in ["time-stamper", "counter", "field-masker", "schema-validator"] {
        push(&server, example, &guest(example));
    }
    let schema = json!({"type": "object", "required": ["card"], "properties": {"card": {"type": "string"}}});
    for (name, paths, more) in [
        ("schema-validator", ["produce"], json!({"order": 1, "config": {"schema": schema.to_string()}})),
        ("time-stamper", ["produce"], json!({"order": 2, "config": {"header": "at"}})),
        ("counter", ["produce"], json!({"order": 3})),
        (
            "field-masker",
            ["fetch"],
            json!({"config": {"fields": "card", "unmasked_principals": "User:apps"}}),
        ),
    ] {
        let attachment = json!({"module": name, "topics": ["t"], "paths": paths});
        attach(&server, name, &with(attachment, &more));
    }
    let good = r#"{"card":"4111","amount":3}"#;
    assert_eq!(produce(&mut apps, "t", 0, batch(&[good])).error_code, 0);
    for (bad, words) in [(r#"{"card":7}"#, "at /card: 7 is not of type"), ("card", "the value is not JSON")] {
        let (code, message) = error(&produce(&mut apps, "t", 0, batch(&[good, bad])));
        assert_eq!(code, ErrorCode::InvalidRecord);
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(read(&mut apps, "t"), expect(&[(0, good)]));
    assert_eq!(read(&mut partner, "t"), expect(&[(0, r#"{"card":"***","amount":3}"#)]));
    use rdkafka::message::{Headers, Message};
    let read = &read_all(&server, "t", 1, "read_committed")[0];
    let header = read.headers().unwrap().get(0);
    assert_eq!(header.key, "at");
    assert!(header.value.unwrap().ends_with(b"Z"));
    let counters = counters(&server, "counter");
    assert_eq!((&counters["own"]["sent"], &counters["produce"]["kept"]), (&json!(1), &json!(1)));
    let without = json!({"module": "field-masker", "topics": ["t"], "paths": ["fetch"]});
    let (status, refused) =
        call(&server, "PUT", "/v1/interceptors/no-fields", without.to_string().as_bytes());
    assert_eq!(status, 422);
    assert!(refused.to_string().contains("`fields` is missing"), "{refused}");
}
