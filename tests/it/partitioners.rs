//! Topics with a partitioner on a real server: whatever partition a stock client names, each record comes once to the
//! one that the module chooses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{DeleteTopicsRequest, ListGroupsRequest, MetadataRequest};
use rdkafka::message::{Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer as _};
use serde_json::json;

use tidemill::error_code::ErrorCode;

use crate::fixture::TestServer;
use crate::fixture::admin::{call, counted, deploy, guest, push, try_deploy, until};
use crate::fixture::librdkafka::{
    PATIENCE, Producer, flush, producer, read_all, send, send_all, send_record, transactional_producer,
};
use crate::fixture::wire::{batch, create_topic, produce, text};

const WORD: [(&str, &str); 2] =
    [("tidemill.partitioner", "word"), ("tidemill.partitioner.config", "word=urgent")];

/// A server with three partitioners under their names.
fn server() -> TestServer {
    let server = TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")]);
    for (name, module) in
        [("word", "word-partitioner"), ("tenant", "tenant-partitioner"), ("test", "test-partitioner-typed")]
    {
        push(&server, name, &guest(module));
    }
    server
}

/// Reads a topic as a read-committed consumer until this many records are there.
fn arrived(server: &TestServer, topic: &str, partitions: i32, count: usize) -> Vec<OwnedMessage> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let read = read_all(server, topic, partitions, "read_committed");
        assert!(read.len() <= count, "{} of {count} records are in {topic}", read.len());
        if read.len() == count {
            return read;
        }
        assert!(Instant::now() < give_up, "{} of {count} records have come to {topic}", read.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The values of each partition in order.
fn by_partition(messages: &[OwnedMessage]) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for message in messages {
        let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
        values.entry(message.partition()).or_default().push(value);
    }
    values
}

fn places(places: &[(i32, &[&str])]) -> BTreeMap<i32, Vec<String>> {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    places.iter().map(|(partition, values)| (*partition, owned(values))).collect()
}

#[test]
fn values_with_the_word_go_to_partition_0_and_the_others_to_1() {
    let server = server();
    let mut client = server.wire();
    create_topic(&mut client, "t", 2, &WORD);
    for settings in [&[][..], &[("enable.idempotence", "true"), ("compression.type", "zstd")]] {
        let producer = producer(&server, settings);
        for partition in [0, 1] {
            for value in ["an urgent one", "the usual"] {
                send_record(&producer, BaseRecord::<(), str>::to("t").partition(partition).payload(value));
            }
        }
        assert!(flush(&producer).iter().all(Result::is_ok));
    }
    let read = by_partition(&arrived(&server, "t", 2, 8));
    assert_eq!(read, places(&[(0, &["an urgent one"; 4]), (1, &["the usual"; 4])]));
    let mover = until(&server, "__ingress.t", |mover| counted(mover, "records_out") == 8);
    assert_eq!(
        (&mover["state"], &mover["built_in"], &mover["lag"]),
        (&json!("running"), &json!(true), &json!(0))
    );
}

#[test]
fn keys_headers_times_and_tombstones_arrive_as_they_were_sent() {
    let server = server();
    create_topic(&mut server.wire(), "t", 2, &[&WORD[..], &[("cleanup.policy", "compact")]].concat());
    let producer = producer(&server, &[("compression.type", "lz4")]);
    let headers = OwnedHeaders::new()
        .insert(rdkafka::message::Header { key: "a", value: Some("1") })
        .insert(rdkafka::message::Header::<&str> { key: "a", value: None });
    let record = BaseRecord::<str, str>::to("t").partition(0).key("k").timestamp(1_234_567);
    send_record(&producer, record.payload("usual").headers(headers));
    send_record(&producer, BaseRecord::<str, str>::to("t").partition(0).key("gone"));
    assert!(flush(&producer).iter().all(Result::is_ok));
    let read = arrived(&server, "t", 2, 2);
    let [kept, gone] = &read[..] else { panic!("two records") };
    assert_eq!((kept.partition(), kept.key(), kept.payload()), (1, Some(&b"k"[..]), Some(&b"usual"[..])));
    assert_eq!(kept.timestamp().to_millis(), Some(1_234_567));
    let headers = kept.headers().unwrap();
    assert_eq!((headers.count(), headers.get(0).value, headers.get(1).value), (2, Some(&b"1"[..]), None));
    assert_eq!((gone.partition(), gone.key(), gone.payload()), (1, Some(&b"gone"[..]), None));
    // What the topic does not take is refused when it is sent, not when it is moved.
    let refused = produce(&mut server.wire(), "t", 0, batch(&["without a key"]));
    assert_eq!(ErrorCode::from_code(refused.error_code), Some(ErrorCode::InvalidRecord));
}

#[test]
fn committed_transactions_arrive_whole_and_aborted_ones_never() {
    let server = server();
    let mut client = server.wire();
    create_topic(&mut client, "t", 2, &WORD);
    create_topic(&mut client, "plain", 1, &[]);
    let producer = transactional_producer(&server, "pay", &[]);
    let turn = |name: &str| {
        producer.begin_transaction().unwrap();
        for partition in [0, 1] {
            let value = format!("{name} urgent {partition}");
            send_record(&producer, BaseRecord::<(), str>::to("t").partition(partition).payload(&value));
            let value = format!("{name} usual {partition}");
            send_record(&producer, BaseRecord::<(), str>::to("t").partition(partition).payload(&value));
        }
        send(&producer, "plain", name);
    };
    turn("aborted");
    flush(&producer);
    producer.abort_transaction(PATIENCE).unwrap();
    turn("committed");
    producer.commit_transaction(PATIENCE).unwrap();
    turn("open");
    flush(&producer);
    let read = by_partition(&arrived(&server, "t", 2, 4));
    let sorted = |partition: i32| {
        let mut values = read[&partition].clone();
        values.sort();
        values
    };
    assert_eq!(sorted(0), ["committed urgent 0", "committed urgent 1"]);
    assert_eq!(sorted(1), ["committed usual 0", "committed usual 1"]);
    producer.abort_transaction(PATIENCE).unwrap();
    // Something behind the aborted ones is moved, and they are not.
    send_all(&crate::fixture::librdkafka::producer(&server, &[]), "t", &["last"]);
    let read = by_partition(&arrived(&server, "t", 2, 5));
    assert_eq!(read[&1].last().map(String::as_str), Some("last"));
}

#[test]
fn the_records_of_a_key_stay_in_order() {
    let server = server();
    let settings =
        [("tidemill.partitioner", "tenant"), ("tidemill.partitioner.config", "tenants=acme=0-1;globex=2")];
    create_topic(&mut server.wire(), "t", 4, &settings);
    let producer = producer(&server, &[("enable.idempotence", "true")]);
    let keys = ["acme:1", "acme:2", "acme:3", "globex:1", "other:1", "other:2"];
    for number in 0..300 {
        let (key, value) = (keys[number % keys.len()], number.to_string());
        send_record(&producer, BaseRecord::<str, str>::to("t").key(key).payload(&value));
    }
    assert!(flush(&producer).iter().all(Result::is_ok));
    let mut last: BTreeMap<String, (i32, usize)> = BTreeMap::new();
    for message in arrived(&server, "t", 4, 300) {
        let key = String::from_utf8_lossy(message.key().unwrap()).into_owned();
        let number: usize = String::from_utf8_lossy(message.payload().unwrap()).parse().unwrap();
        let allowed = match key.split(':').next().unwrap() {
            "acme" => 0..=1,
            "globex" => 2..=2,
            _ => 3..=3,
        };
        assert!(allowed.contains(&message.partition()), "{key} is on partition {}", message.partition());
        if let Some((partition, before)) = last.insert(key, (message.partition(), number)) {
            assert!(before < number && partition == message.partition());
        }
    }
    assert_eq!(last.len(), keys.len());
}

#[test]
fn a_record_without_a_place_is_a_dead_letter_and_the_others_go_on() {
    let server = server();
    create_topic(&mut server.wire(), "t", 3, &[("tidemill.partitioner", "test")]);
    let producer = producer(&server, &[]);
    let values = ["to:1", "fault:nowhere", "to:2", "to:9", "trap:", "to:0"];
    send_all(&producer, "t", &values);
    let read = by_partition(&arrived(&server, "t", 3, 3));
    assert_eq!(read, places(&[(0, &["to:0"]), (1, &["to:1"]), (2, &["to:2"])]));
    let letters = arrived(&server, "t.dlq", 3, 3);
    let mut seen: Vec<_> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| {
                let headers = letter.headers().unwrap();
                let found = headers.iter().find(|header| header.key == name).unwrap();
                String::from_utf8_lossy(found.value.unwrap()).into_owned()
            };
            let value = String::from_utf8_lossy(letter.payload().unwrap()).into_owned();
            (value, header("__tidemill.error.code"), header("__tidemill.error.message"))
        })
        .collect();
    seen.sort();
    let codes: Vec<_> = seen.iter().map(|(value, code, _)| (value.as_str(), code.as_str())).collect();
    assert_eq!(codes, [("fault:nowhere", "reject"), ("to:9", "bad-output"), ("trap:", "trap")]);
    assert!(seen[0].2.contains("partitioner of topic \"t\": nowhere in t of 3"), "{}", seen[0].2);
    assert!(seen[1].2.contains("it chooses partition 9"), "{}", seen[1].2);
}

#[test]
fn a_partitioner_that_is_set_later_and_taken_away_again_holds_for_what_comes_then() {
    let server = server();
    create_topic(&mut server.wire(), "t", 2, &[]);
    send_all(&producer(&server, &[]), "t", &["urgent before"]);
    let set = |arguments: &[(&str, Option<&str>)]| {
        use kafka_protocol::messages::IncrementalAlterConfigsRequest;
        use kafka_protocol::messages::incremental_alter_configs_request::{
            AlterConfigsResource, AlterableConfig,
        };
        let configs = arguments.iter().map(|(name, value)| {
            let operation = if value.is_some() { 0 } else { 1 };
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(text))
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response = server.wire().call(1, &request).unwrap();
        let answer = &response.responses[0];
        (answer.error_code, answer.error_message.clone().map(|text| text.to_string()).unwrap_or_default())
    };
    let (code, why) = set(&[("tidemill.partitioner", Some("wrod"))]);
    assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::InvalidConfig));
    assert!(why.contains("there is no partitioner \"wrod\""), "{why}");
    assert_eq!(set(&WORD.map(|(name, value)| (name, Some(value)))), (0, String::new()));
    // The client sends to partition 0.
    send_all(&producer(&server, &[]), "t", &["usual between"]);
    let read = by_partition(&arrived(&server, "t", 2, 2));
    assert_eq!(read, places(&[(0, &["urgent before"]), (1, &["usual between"])]));
    assert_eq!(set(&WORD.map(|(name, _)| (name, None))).0, 0);
    send_all(&producer(&server, &[]), "t", &["usual after"]);
    let read = by_partition(&arrived(&server, "t", 2, 3));
    assert_eq!(read[&0], ["urgent before", "usual after"]);
}

#[test]
fn the_ingress_is_hidden_goes_with_its_topic_and_is_nobodys_to_write_to() {
    let server = server();
    let mut client = server.wire();
    create_topic(&mut client, "t", 2, &WORD);
    send_all(&producer(&server, &[]), "t", &["urgent", "usual"]);
    arrived(&server, "t", 2, 2);
    let listed = client.call(9, &MetadataRequest::default().with_topics(None)).unwrap();
    let names: Vec<_> = listed.topics.iter().map(|topic| topic.name.clone().unwrap().0.to_string()).collect();
    assert!(
        names.contains(&"t".to_owned()) && names.iter().all(|name| !name.starts_with("__ingress")),
        "{names:?}"
    );
    let refused = produce(&mut client, "__ingress.t", 0, batch(&["x"]));
    assert_eq!(ErrorCode::from_code(refused.error_code), Some(ErrorCode::InvalidTopicException));
    let module = json!({"module": "word", "inputs": ["t"], "outputs": ["u"]});
    let (status, answer) = try_deploy(&server, "wrong", &module);
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("WRONG_KIND")));
    let (status, answer) = call(&server, "DELETE", "/v1/modules/word", &[]);
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("MODULE_IN_USE")), "{answer}");
    let groups = client.call(4, &ListGroupsRequest::default()).unwrap();
    assert!(
        groups.groups.iter().any(|group| group.group_id.as_str() == "__ingress.t"),
        "its lag can be seen"
    );
    let names = vec![kafka_protocol::messages::TopicName(text("t"))];
    let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(30_000);
    assert_eq!(client.call(5, &request).unwrap().responses[0].error_code, 0);
    let files: Vec<_> =
        std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().starts_with("__ingress.t-0")), "{files:?}");
    let gone = Instant::now() + PATIENCE;
    while call(&server, "GET", "/v1/processors/__ingress.t", &[]).0 != 404 {
        assert!(Instant::now() < gone, "its mover goes with it");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, _) = call(&server, "DELETE", "/v1/modules/word", &[]);
    assert_eq!(status, 204);
}

#[test]
fn processors_outputs_are_placed_inline_by_topics_and_by_their_own() {
    let server = server();
    let mut client = server.wire();
    push(&server, "copy", &guest("redact"));
    create_topic(&mut client, "in", 1, &[]);
    create_topic(&mut client, "governed", 2, &WORD);
    create_topic(&mut client, "free", 2, &[]);
    let copy_to = |output: &str| json!({"module": "copy", "inputs": ["in"], "outputs": [output], "config": {"output": output}});
    deploy(&server, "one", &copy_to("governed"));
    let mut own = copy_to("free");
    own["partitioners"] = json!({"free": {"module": "word", "config": {"word": "usual"}}});
    deploy(&server, "two", &own);
    send_all(&producer(&server, &[]), "in", &["urgent", "usual"]);
    assert_eq!(
        by_partition(&arrived(&server, "governed", 2, 2)),
        places(&[(0, &["urgent"]), (1, &["usual"])])
    );
    assert_eq!(by_partition(&arrived(&server, "free", 2, 2)), places(&[(0, &["usual"]), (1, &["urgent"])]));
    let ingress = until(&server, "__ingress.governed", |mover| mover["state"] == "running");
    assert_eq!(counted(&ingress, "records_in"), 0, "what processors write does not wait in an ingress");
}

#[test]
fn moved_records_survive_a_restart_and_come_once() {
    let mut server = server();
    create_topic(&mut server.wire(), "t", 2, &WORD);
    let mut sent = 0;
    for _ in 0..3 {
        let producer: Producer = producer(&server, &[("enable.idempotence", "true")]);
        for number in 0..200 {
            let value = if number % 3 == 0 { format!("urgent {sent}") } else { format!("usual {sent}") };
            send_record(&producer, BaseRecord::<(), str>::to("t").partition(number % 2).payload(&value));
            sent += 1;
        }
        assert!(flush(&producer).iter().all(Result::is_ok));
        drop(producer);
        server.restart();
    }
    let read = arrived(&server, "t", 2, sent);
    let wrong: Vec<&OwnedMessage> = read
        .iter()
        .filter(|message| {
            let is_urgent = message.payload().is_some_and(|value| value.starts_with(b"urgent"));
            message.partition() != i32::from(!is_urgent)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut values: Vec<_> = by_partition(&read).into_values().flatten().collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), sent);
}
