use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn written(line: &str, record: &Shown<'_>) -> String {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let Command::Consume(args) = cli.command else { panic!("{line}") };
    let mut out = Vec::new();
    write_record(record, &args, cli.global.format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn record() -> Shown<'static> {
    Shown {
        topic: "t",
        partition: 1,
        offset: 42,
        is_append_time: false,
        timestamp_ms: Some(1000),
        key: Some(b"k"),
        value: Some(b"v"),
        headers: vec![("h", Some(b"x")), ("n", None)],
    }
}

#[test]
fn a_record_is_its_value_on_a_line() {
    assert_eq!(written("tidemill consume t", &record()), "v\n");
    assert_eq!(written("tidemill consume t", &Shown { value: None, ..record() }), "null\n");
}

#[test]
fn what_is_asked_for_stands_before_the_value() {
    assert_eq!(written("tidemill consume t -K =", &record()), "k=v\n");
    let all = "tidemill consume t --show partition --show offset --show timestamp --show headers";
    assert_eq!(written(all, &record()), "1\t42\t1000\th=x,n=null\tv\n");
}

#[test]
fn json_keeps_null_apart_from_empty_and_bytes_apart_from_text() {
    let text = written("tidemill consume t --format json", &record());
    assert_eq!(text.lines().count(), 1);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        json!({"topic": "t", "partition": 1, "offset": 42, "timestamp_ms": 1000, "key": "k", "value": "v",
               "headers": [{"key": "h", "value": "x"}, {"key": "n", "value": null}]})
    );
    let bytes = Shown { key: None, value: Some(&[0xff, 0xfe, 0]), ..record() };
    let value: Value = serde_json::from_str(&written("tidemill consume t --format json", &bytes)).unwrap();
    assert_eq!((value["key"].clone(), value["value_base64"].clone()), (Value::Null, json!("//4A")));
    assert_eq!(value.get("value"), None);
}
