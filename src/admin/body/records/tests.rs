//! Bodies that bring records: what a value may be, and refusals that name the record.

use super::*;
use serde_json::json;

fn parse(body: &Value) -> Result<SentRecords, ApiError> {
    parse_records("t", body.to_string().as_bytes())
}

/// The first record of a body with one.
fn one(record: &Value) -> Result<SentRecord, ApiError> {
    parse(&json!({ "records": [record] })).map(|mut sent| sent.records.remove(0))
}

fn value(body: &Value) -> Option<Vec<u8>> {
    one(&json!({ "value": body })).unwrap().value
}

#[test]
fn every_field_is_read() {
    let sent = parse(&json!({
        "records": [{
            "key": "k", "value": {"base64": "/wA="}, "timestamp": 7, "partition": 3,
            "headers": [{"key": "a", "value": "b"}, {"key": "a", "value": null},
                        {"key": "", "value": {"base64": ""}}],
        }],
        "partitioner": {"module": "sha256:abc", "config": {"word": "x", "n": 3}},
    }))
    .unwrap();
    let headers = [("a", Some("b")), ("a", None), ("", Some(""))];
    let headers = headers.map(|(key, value)| (key.to_owned(), value.map(|value| value.as_bytes().to_vec())));
    let record = SentRecord {
        key: Some(b"k".to_vec()),
        value: Some(vec![0xff, 0]),
        headers: headers.into(),
        timestamp: Some(7),
        partition: PartitionIndex::from_wire(3),
    };
    let config = [("word", "x"), ("n", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let partitioner = Partitioner { module: "abc".into(), config: config.into() };
    let expected =
        SentRecords { topic: TopicName::new("t"), records: vec![record], partitioner: Some(partitioner) };
    assert_eq!(sent, expected);
}

#[test]
fn a_record_needs_a_value_and_nothing_else() {
    assert_eq!(one(&json!({"value": null})).unwrap(), SentRecord::default());
    let error = one(&json!({"key": "k"})).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str(), error.hint.as_str()),
        ("MISSING_FIELD", "\"records[0].value\" is missing.", "Say null where there is to be none.")
    );
}

#[test]
fn a_value_that_is_neither_text_nor_base64_is_kept_as_it_was_sent() {
    assert_eq!(value(&json!("text \u{e9}")).unwrap(), "text \u{e9}".as_bytes());
    assert_eq!(value(&json!({"base64": "aGk="})).unwrap(), b"hi");
    let body =
        br#"{"records": [{"value":{"b": 1.50,  "a":[12345678901234567890123, null]} }, {"value" : 1e3},
        {"value": true}, {"value": {"base64": "aGk=", "more": 1}}]}"#;
    let sent = parse_records("t", body).unwrap();
    let values = sent.records.iter().map(|record| String::from_utf8(record.value.clone().unwrap()).unwrap());
    let expected = [
        r#"{"b": 1.50,  "a":[12345678901234567890123, null]}"#,
        "1e3",
        "true",
        r#"{"base64": "aGk=", "more": 1}"#,
    ];
    assert_eq!(values.collect::<Vec<_>>(), expected);
}

#[test]
fn errors_name_the_record_and_suggest() {
    let error = parse(&json!({"records": [{"value": "a"}, {"valeu": "b"}]})).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("UNKNOWN_FIELD", "There is no field \"records[1].valeu\".")
    );
    assert_eq!(error.hint, "Did you mean \"value\"?");
    let error = parse(&json!({"records": [{"value": "a"}], "partitoner": {}})).unwrap_err();
    assert_eq!(error.hint, "Did you mean \"partitioner\"?");
    let message = |record: Value| one(&record).unwrap_err().message;
    let bytes = "is not a string, null or {\"base64\": \"...\"}.";
    assert_eq!(message(json!({"value": "a", "key": 3})), format!("\"records[0].key\" {bytes}"));
    assert_eq!(message(json!({"value": {"base64": 3}})), format!("\"records[0].value\" {bytes}"));
    assert!(message(json!({"value": {"base64": "a"}})).starts_with("\"records[0].value\" is not base64: "),);
    let header = |header: Value| message(json!({"value": "a", "headers": [header]}));
    assert_eq!(header(json!({"value": "b"})), "\"records[0].headers[0].key\" is missing.");
    assert_eq!(header(json!({"key": "b"})), "\"records[0].headers[0].value\" is missing.");
    assert_eq!(header(json!({"key": "b", "value": 1})), format!("\"records[0].headers[0].value\" {bytes}"));
    assert_eq!(header(json!({"key": "b", "vlue": 1})), "There is no field \"records[0].headers[0].vlue\".");
    assert_eq!(
        message(json!({"value": "a", "headers": {}})),
        "\"records[0].headers\" is not a list of objects with \"key\" and \"value\"."
    );
    assert_eq!(
        message(json!({"value": "a", "partition": -1})),
        "\"records[0].partition\" is not a whole number from 0."
    );
    assert_eq!(
        message(json!({"value": "a", "timestamp": "now"})),
        "\"records[0].timestamp\" is not a whole number from 0."
    );
    assert_eq!(message(json!("a")), "\"records[0]\" is not an object.");
}

#[test]
fn a_body_is_an_object_with_some_records() {
    let message = |body: Value| parse(&body).unwrap_err().message;
    assert_eq!(message(json!([])), "The body is not an object.");
    assert_eq!(message(json!({})), "\"records\" is missing.");
    assert_eq!(message(json!({"records": {}})), "\"records\" is not a list.");
    assert_eq!(message(json!({"records": []})), "\"records\" has 0 records; 1 to 10000 are allowed.");
    let many = vec![json!({"value": "a"}); RECORDS_MAX + 1];
    assert_eq!(message(json!({ "records": many })), "\"records\" has 10001 records; 1 to 10000 are allowed.");
    assert_eq!(
        message(json!({"records": [{"value": "a"}], "partitioner": {}})),
        "\"partitioner.module\" is missing."
    );
    assert!(parse_records("t", b"{\"records\"").unwrap_err().message.starts_with("The body is not JSON: "));
}
