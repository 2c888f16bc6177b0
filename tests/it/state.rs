//! The state of processors, looked at from outside: over HTTP and by the command line, while it changes.

use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};

use crate::fixture::TestServer;
use crate::fixture::admin::{call, deploy, guest, push, until};
use crate::fixture::command::{assert_fails, tidemill, tidemill_json, tidemill_text};
use crate::fixture::librdkafka::{committed_values, flush, producer, send_record};
use crate::fixture::wire::create_topic;

/// A server with a processor that counts words, over two partitions.
fn counting() -> TestServer {
    let server = TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")]);
    let mut client = server.wire();
    create_topic(&mut client, "lines", 2, &[]);
    create_topic(&mut client, "word-counts", 1, &[]);
    push(&server, "word-count", &guest("word-count"));
    deploy(
        &server,
        "count",
        &json!({"module": "word-count", "inputs": ["lines"], "outputs": ["word-counts"], "stores": ["counts"]}),
    );
    server
}

fn send_line(server: &TestServer, partition: i32, line: &str) {
    let sender = producer(server, &[]);
    send_record(&sender, BaseRecord::<(), str>::to("lines").partition(partition).payload(line));
    assert!(flush(&sender).iter().all(Result::is_ok));
}

/// Asks until the entries are these: what is committed may still be on its way to where it is read from.
fn until_entries(server: &TestServer, path: &str, wanted: &Value) -> Value {
    until(server, "count", |_| call(server, "GET", path, &[]).1["entries"] == *wanted);
    call(server, "GET", path, &[]).1
}

fn entry(partition: i32, key: &str, count: i64) -> Value {
    json!({"partition": partition, "key": key, "key_format": "text", "value": count, "value_format": "counter"})
}

#[test]
fn the_state_of_a_processor_is_seen_over_http_and_by_the_command_line() {
    let server = counting();
    send_line(&server, 0, "tide mill tide");
    send_line(&server, 1, "tide sea");
    let all = json!([entry(0, "mill", 1), entry(0, "tide", 2), entry(1, "sea", 1), entry(1, "tide", 1)]);
    let path = "/v1/processors/count/state/counts";
    let answer = until_entries(&server, path, &all);
    assert_eq!(answer["without_state"], json!([]));
    assert_eq!(answer["next"], Value::Null);
    for seen in answer["partitions"].as_array().unwrap() {
        assert!(seen["changelog_offset"].as_i64().unwrap() >= 3, "{answer:#}");
        assert!(seen["stream_time_ms"].as_i64().unwrap() > 0, "{answer:#}");
    }
    let (status, page) = call(&server, "GET", &format!("{path}?reverse=true&limit=3"), &[]);
    assert_eq!((status, page["entries"].as_array().unwrap().len()), (200, 3));
    let rest = format!("{path}?reverse=true&limit=3&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(call(&server, "GET", &rest, &[]).1["entries"], json!([entry(0, "mill", 1)]));

    let scanned = tidemill_json(&server, &["state", "scan", "count", "counts", "--prefix", "ti"], "");
    assert_eq!(scanned["entries"], json!([entry(0, "tide", 2), entry(1, "tide", 1)]));
    let got = tidemill_json(&server, &["state", "get", "count", "counts", "tide", "-p", "1"], "");
    assert_eq!(got["entries"], json!([entry(1, "tide", 1)]));
    let arguments = ["state", "get", "count", "counts", "74696465", "--key-format", "hex", "-p", "0"];
    let arguments = [&arguments[..], &["--value-format", "hex"]].concat();
    let hex = json!([{"partition": 0, "key": "74696465", "key_format": "hex",
        "value": "0200000000000000", "value_format": "hex"}]);
    assert_eq!(tidemill_json(&server, &arguments, "")["entries"], hex);
    let table = tidemill_text(&server, &["state", "get", "count", "counts", "tide"]);
    assert!(table.contains("0          tide  2      counter\n"), "{table}");
    assert!(table.contains("As the changelog's partitions are committed: 0 up to offset"), "{table}");
    let listed = tidemill_json(&server, &["state", "list"], "");
    let listed = &listed["processors"][0];
    assert_eq!((&listed["processor"], &listed["stores"]), (&json!("count"), &json!(["counts"])));
    assert_eq!(listed["changelog"], "__changelog.count");
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 2, "{listed:#}");
}

#[test]
fn state_is_read_after_a_restart_while_the_processor_is_paused() {
    let mut server = counting();
    send_line(&server, 0, "tide");
    let path = "/v1/processors/count/state/counts/keys/tide";
    let before = until_entries(&server, path, &json!([entry(0, "tide", 1)]));
    assert_eq!(call(&server, "POST", "/v1/processors/count/pause", &[]).0, 200);
    send_line(&server, 0, "tide");
    server.restart();
    let (status, after) = call(&server, "GET", path, &[]);
    assert_eq!((status, &after["entries"]), (200, &before["entries"]));
    assert_eq!(committed_values(&server, "word-counts"), ["1"]);
    assert_eq!(call(&server, "POST", "/v1/processors/count/resume", &[]).0, 200);
    until_entries(&server, path, &json!([entry(0, "tide", 2)]));
}

#[test]
fn keys_and_values_of_any_bytes_survive() {
    let server = TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")]);
    let mut client = server.wire();
    create_topic(&mut client, "in", 1, &[]);
    create_topic(&mut client, "deduplicated", 1, &[]);
    push(&server, "deduplicate", &guest("deduplicate"));
    let definition = json!({"module": "deduplicate", "inputs": ["in"], "outputs": ["deduplicated"],
        "stores": ["seen"], "config": {"minutes": "1"}});
    deploy(&server, "count", &definition);
    let sender = producer(&server, &[]);
    let minute = 60_000;
    for (key, timestamp) in [(&[0xff, 0, b'/'][..], 10 * minute), (b"a/b c", 10 * minute)] {
        let record = BaseRecord::<[u8], str>::to("in").partition(0).key(key).payload("v");
        send_record(&sender, record.timestamp(timestamp));
    }
    assert!(flush(&sender).iter().all(Result::is_ok));
    let path = "/v1/processors/count/state/seen";
    let binary = json!({"partition": 0, "key": "/wAv", "key_format": "base64", "value": 11 * minute,
        "value_format": "counter"});
    let text = entry(0, "a/b c", 11 * minute);
    until_entries(&server, path, &json!([text, binary]));
    for key in ["a%2Fb%20c", "612f622063?key_format=hex", "YS9iIGM?key_format=base64"] {
        let (status, answer) = call(&server, "GET", &format!("{path}/keys/{key}"), &[]);
        assert_eq!((status, &answer["entries"][0]["value"]), (200, &json!(11 * minute)), "{key} {answer}");
    }
    let got =
        tidemill_json(&server, &["state", "get", "count", "seen", "/wAv", "--key-format", "base64"], "");
    assert_eq!(got["entries"], json!([binary]));
    // The stream time goes on, and what has expired is not shown, whether or not it has been swept.
    let record = BaseRecord::<str, str>::to("in").partition(0).key("later").payload("v");
    send_record(&sender, record.timestamp(12 * minute));
    assert!(flush(&sender).iter().all(Result::is_ok));
    until_entries(&server, path, &json!([entry(0, "later", 13 * minute)]));
    let (status, gone) = call(&server, "GET", &format!("{path}/keys/a%2Fb%20c"), &[]);
    assert_eq!((status, &gone["error"]["code"]), (404, &json!("KEY_NOT_FOUND")));
}

#[test]
fn what_is_not_there_is_said_in_a_sentence() {
    let server = counting();
    send_line(&server, 0, "tide");
    until_entries(&server, "/v1/processors/count/state/counts", &json!([entry(0, "tide", 1)]));
    deploy(&server, "stateless", &json!({"module": "word-count", "inputs": ["lines"], "outputs": ["other"]}));
    for (arguments, words) in [
        (&["get", "cuont", "counts", "tide"][..], &["There is no processor \"cuont\"", "processor list"][..]),
        (&["get", "count", "count", "tide"], &["has no store \"count\"", "Did you mean \"counts\"?"]),
        (&["get", "stateless", "counts", "tide"], &["keeps no state", "--store NAME"]),
        (&["get", "count", "counts", "moon"], &["has no key \"moon\"", "tasks of the partitions 0, 1"]),
        (&["scan", "count", "counts", "-p", "7"], &["has partition 7: lines has 2"]),
    ] {
        assert_fails(&tidemill(&server, &[&["state"], arguments].concat(), ""), 3, words);
    }
    let bad = tidemill(&server, &["state", "get", "count", "counts", "abc", "--key-format", "hex"], "");
    assert_fails(&bad, 7, &["The text of the key is not hexadecimal: \"abc\"", "two digits for each byte"]);
    let (status, answer) = call(&server, "GET", "/v1/processors/count/state/counts?limits=5", &[]);
    assert_eq!((status, &answer["error"]["hint"]), (400, &json!("Did you mean \"limit\"?")));
}
