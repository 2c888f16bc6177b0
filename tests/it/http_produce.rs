//! Records over HTTP on a real server: what is sent is what consumers read, from the partitions where it belongs.

use std::path::PathBuf;

use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};

use crate::fixture::TestServer;
use crate::fixture::admin::{attach, call, guest, push, until};
use crate::fixture::command::{assert_fails, tidemill, tidemill_json};
use crate::fixture::librdkafka::{flush, producer, read_all, send_all, send_record, values};
use crate::fixture::wire::{assert_still_serves, create_topic};

/// A server with topics of these names, of two partitions each.
fn server(topics: &[&str]) -> TestServer {
    let server = TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")]);
    let mut client = server.wire();
    for topic in topics {
        create_topic(&mut client, topic, 2, &[]);
    }
    server
}

fn send(server: &TestServer, topic: &str, body: &Value) -> (u16, Value) {
    call(server, "POST", &format!("/v1/topics/{topic}/records"), body.to_string().as_bytes())
}

/// Sends records that must all be taken; answers partitions and offsets.
fn sent(server: &TestServer, topic: &str, body: &Value) -> Vec<(i64, i64)> {
    let (status, answer) = send(server, topic, body);
    assert_eq!(status, 200, "{answer}");
    let place = |record: &Value| Some((record["partition"].as_i64()?, record["offset"].as_i64()?));
    answer["records"].as_array().unwrap().iter().map(|record| place(record).unwrap()).collect()
}

/// What the partitions of a topic of two hold.
fn read(server: &TestServer, topic: &str) -> [Vec<String>; 2] {
    let all = read_all(server, topic, 2, "read_committed");
    let of = |partition: i32| {
        let of_partition = all.iter().filter(|message| message.partition() == partition);
        values(&of_partition.cloned().collect::<Vec<_>>())
    };
    [of(0), of(1)]
}

fn guest_path(name: &str) -> String {
    // Read first: the error of a missing one says what to do.
    guest(name);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/guests/{name}.wasm"));
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_sent_is_what_a_consumer_reads() {
    let server = server(&["t"]);
    let records = json!([
        {"value": "gr\u{fc}\u{df}e", "key": "k", "partition": 1, "timestamp": 1_700_000_000_123u64,
         "headers": [{"key": "h", "value": "1"}, {"key": "h", "value": null},
                     {"key": "b", "value": {"base64": "AP8="}}]},
        {"value": {"n": [1, true, null]}, "partition": 1},
        {"value": {"base64": "AP/+"}, "key": {"base64": "AA=="}, "partition": 1},
        {"value": null, "key": "gone", "partition": 1},
        {"value": "", "partition": 1},
    ]);
    let places = sent(&server, "t", &json!({ "records": records }));
    assert_eq!(places, [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
    let all = read_all(&server, "t", 2, "read_committed");
    let seen =
        |message: &OwnedMessage| (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec));
    let bytes = |bytes: &[u8]| Some(bytes.to_vec());
    let expected = [
        (bytes(b"k"), bytes("gr\u{fc}\u{df}e".as_bytes())),
        (None, bytes(br#"{"n":[1,true,null]}"#)),
        (bytes(&[0]), bytes(&[0, 0xff, 0xfe])),
        (bytes(b"gone"), None),
        (None, bytes(b"")),
    ];
    assert_eq!(all.iter().map(seen).collect::<Vec<_>>(), expected);
    assert_eq!(all[0].timestamp().to_millis(), Some(1_700_000_000_123));
    let headers = all[0].headers().unwrap();
    let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, [("h", Some(&b"1"[..])), ("h", None), ("b", Some(&[0, 0xff]))]);
    let age = tidemill::clock::Clock::System.now().ms() - all[1].timestamp().to_millis().unwrap();
    assert!((0..60_000).contains(&age), "a record without a timestamp is of now");
}

#[test]
fn keys_go_where_a_stock_client_puts_them() {
    let server = server(&[]);
    create_topic(&mut server.wire(), "t", 7, &[]);
    let keys: Vec<String> = (0..40).map(|number| "k".repeat(number % 5) + &number.to_string()).collect();
    let client = producer(&server, &[("partitioner", "murmur2")]);
    let mut theirs = Vec::new();
    for key in &keys {
        send_record(&client, BaseRecord::to("t").key(key).payload("v"));
        theirs.extend(flush(&client).into_iter().map(|report| i64::from(report.unwrap().0)));
    }
    let records: Vec<_> = keys.iter().map(|key| json!({"key": key, "value": "v"})).collect();
    let ours = sent(&server, "t", &json!({ "records": records }));
    assert_eq!(ours.into_iter().map(|(partition, _)| partition).collect::<Vec<_>>(), theirs);
}

#[test]
fn what_cannot_be_taken_is_refused_and_says_why() {
    let server = server(&["t"]);
    create_topic(&mut server.wire(), "small", 2, &[("max.message.bytes", "500")]);
    let refused = |topic: &str, body: &[u8]| {
        let (status, answer) = call(&server, "POST", &format!("/v1/topics/{topic}/records"), body);
        let text = |name: &str| answer["error"][name].as_str().unwrap_or_default().to_owned();
        (status, text("code"), text("message"), text("hint"))
    };
    let one = br#"{"records": [{"value": "a"}]}"#;
    let (status, code, message, hint) = refused("nowhere", one);
    assert_eq!((status, code.as_str()), (404, "UNKNOWN_TOPIC_OR_PARTITION"), "{message}");
    assert!(hint.contains("`tidemill topic create nowhere`"), "{hint}");
    assert_eq!(refused("__consumer_offsets", one).1, "INVALID_TOPIC_EXCEPTION");
    for (body, words) in [
        (&b"not JSON"[..], "The body is not JSON"),
        (br#"{"records": [{"value": "a"}, {"key": "k"}]}"#, "\"records[1].value\" is missing"),
        (br#"{"records": [{"value": "a", "vlaue": 1}]}"#, "There is no field \"records[0].vlaue\""),
        (br#"{"records": []}"#, "has 0 records"),
    ] {
        let (status, _, message, _) = refused("t", body);
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(words), "{words:?} is not in {message}");
    }
    let large = "x".repeat(600);
    let records = json!([{"value": large, "partition": 0}, {"value": "fits", "partition": 1}]);
    let (status, answer) = send(&server, "small", &json!({ "records": records }));
    assert_eq!(status, 207, "{answer}");
    assert_eq!(answer["records"][0]["error"]["code"], "MESSAGE_TOO_LARGE");
    assert_eq!(answer["records"][1], json!({"partition": 1, "offset": 0}));
    assert_eq!(read(&server, "small"), [vec![], vec!["fits".to_owned()]]);
    assert_eq!(read(&server, "t"), [Vec::<String>::new(), vec![]]);
    assert_still_serves(&server);
}

#[test]
fn interceptors_judge_what_comes_over_http() {
    let server = server(&["t"]);
    push(&server, "judge", &guest("test-interceptor-flat"));
    let attachment = json!({"module": "judge", "topics": ["t"], "paths": ["produce"],
        "principals": ["User:ANONYMOUS"]});
    attach(&server, "judge", &attachment);
    let records = json!([
        {"value": "replace:a", "partition": 0}, {"value": "drop:", "partition": 0}, {"value": "b", "partition": 0},
        {"value": "c", "partition": 1}, {"value": "policy:never", "partition": 1},
    ]);
    let (status, answer) = send(&server, "t", &json!({ "records": records }));
    assert_eq!((status, &answer["records"][2]), (207, &json!({"partition": 0, "offset": 2})), "{answer}");
    for index in [3, 4] {
        let error = &answer["records"][index]["error"];
        assert_eq!(error["code"], "POLICY_VIOLATION");
        assert_eq!(error["message"], "Interceptor judge: never.");
    }
    assert_eq!(read(&server, "t"), [vec!["replaced:a".to_owned(), "b".to_owned()], vec![]]);
}

#[test]
fn a_topic_s_partitioner_is_asked_inline_and_its_mover_is_left_alone() {
    let server = server(&[]);
    push(&server, "word", &guest("word-partitioner"));
    let settings = [("tidemill.partitioner", "word"), ("tidemill.partitioner.config", "word=red")];
    create_topic(&mut server.wire(), "t", 2, &settings);
    let records = json!([{"value": "a red fox", "partition": 1}, {"value": "a fox", "partition": 0}]);
    assert_eq!(sent(&server, "t", &json!({ "records": records })), [(0, 0), (1, 0)]);
    // A stock client's records take the way through the ingress, to the same places.
    send_all(&producer(&server, &[]), "t", &["red wine", "white wine"]);
    until(&server, "__ingress.t", |mover| mover["lag"] == 0 && mover["state"] == "running");
    let [red, others] = read(&server, "t");
    assert_eq!((red, others), (texts(&["a red fox", "red wine"]), texts(&["a fox", "white wine"])));
    let listed = tidemill_json(&server, &["processor", "list"], "");
    assert_eq!(listed["processors"][0]["name"], "__ingress.t");
    let described = tidemill(&server, &["processor", "describe", "__ingress.t"], "");
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    assert!(described.contains("BUILT IN") && described.contains("word=red"), "{described}");
    for arguments in
        [&["processor", "pause", "__ingress.t"][..], &["processor", "delete", "-y", "__ingress.t"]]
    {
        assert_fails(&tidemill(&server, arguments, ""), 4, &["belongs to topic t", "tidemill.partitioner"]);
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_command_line_sends_by_a_partitioner_of_its_own() {
    let server = server(&["t"]);
    let module = guest_path("word-partitioner");
    let by_word = ["produce", "t", "--partitioner", &module, "--partitioner-config", "word=red"];
    let input = "fox:a red fox\nhen:a hen\nbull:NULL\nowl:red\n";
    let told = tidemill_json(
        &server,
        &[&by_word[..], &["-K", ":", "--null-value", "NULL", "-H", "from=cli"]].concat(),
        input,
    );
    let range = |partition, last| json!({"partition": partition, "first_offset": 0, "last_offset": last});
    assert_eq!(
        told,
        json!({"topic": "t", "records": 4, "transaction": null, "offsets": [range(0, 1), range(1, 1)]})
    );
    assert_eq!(read(&server, "t"), [texts(&["a red fox", "red"]), texts(&["a hen", ""])]);
    let all = read_all(&server, "t", 2, "read_committed");
    let hen = all.iter().find(|message| message.key() == Some(b"hen")).unwrap();
    let header = hen.headers().unwrap().get(0);
    assert_eq!((header.key, header.value), ("from", Some(&b"cli"[..])));
    // Uploaded under its file's name, and found by it; what is long goes in several requests.
    let input = "some red line\nanother line\n".repeat(1_500);
    let by_name = ["produce", "t", "--partitioner", "word-partitioner", "--partitioner-config", "word=red"];
    let told = tidemill(&server, &by_name, &input);
    assert_fails(&told, 0, &["3000 records to t"]);
    let [red, others] = read(&server, "t");
    assert_eq!((red.len(), others.len()), (1_502, 1_502));
    let no_topic =
        ["produce", "nowhere", "--partitioner", "word-partitioner", "--partitioner-config", "word=red"];
    assert_fails(&tidemill(&server, &no_topic, "a\n"), 3, &["There is no topic \"nowhere\"", "hint: "]);
    let no_config = ["produce", "t", "--partitioner", "word-partitioner"];
    assert_fails(&tidemill(&server, &no_config, "a\n"), 7, &["word-partitioner", "does not start", "`word`"]);
    let no_sense = [&by_name[..], &["--partition", "1"]].concat();
    assert_fails(&tidemill(&server, &no_sense, "a\n"), 2, &["--partitioner", "--partition"]);
}

#[test]
fn a_processor_s_manifest_names_partitioners_beside_it() {
    let server = server(&["in", "out"]);
    push(&server, "redact", &guest("redact"));
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(guest_path("word-partitioner"), directory.path().join("word.wasm")).unwrap();
    let manifest = directory.path().join("p.toml");
    let text = r#"
        name = "p"
        module = "redact"
        inputs = ["in"]
        outputs = ["out"]
        config = { output = "out" }
        [partitioners.out]
        module = "word.wasm"
        config = { word = "red" }
    "#;
    std::fs::write(&manifest, text).unwrap();
    let deployed = tidemill_json(&server, &["processor", "deploy", "--file", manifest.to_str().unwrap()], "");
    assert_eq!(deployed["partitioners"]["out"]["config"]["word"], "red");
    send_all(&producer(&server, &[]), "in", &["a red fox", "a hen"]);
    until(&server, "p", |processor| processor["lag"] == 0 && processor["tasks"][0]["records_in"] == 2);
    assert_eq!(read(&server, "out"), [texts(&["a red fox"]), texts(&["a hen"])]);
    let described = tidemill(&server, &["processor", "describe", "p"], "");
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    assert!(described.contains("PARTITIONER") && described.contains("word=red"), "{described}");
}
