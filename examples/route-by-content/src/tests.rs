use super::*;
use tidemill_guest::testing::{self, TestRecord};

fn routed(config: &[(&str, &str)], values: &[&str]) -> Vec<(String, String)> {
    testing::set_config(config);
    let mut router = Router::init(&testing::context()).unwrap();
    let records: Vec<_> = values.iter().map(|value| TestRecord::new("k", *value)).collect();
    let outputs = testing::run(&mut router, &records).unwrap();
    outputs.iter().map(|out| (out.topic.clone(), out.value_str().to_owned())).collect()
}

#[test]
fn the_body_decides() {
    let config = [("route.paid", "invoices, ledger"), ("route.sent", "parcels"), ("else", "others")];
    let events = [r#"{"type":"paid"}"#, r#"{"type":"sent"}"#, r#"{"type":"lost"}"#, r#"{"type":7}"#, "{}"];
    let expected = [
        ("invoices", events[0]),
        ("ledger", events[0]),
        ("parcels", events[1]),
        ("others", events[2]),
        ("others", events[3]),
        ("others", events[4]),
    ];
    assert_eq!(routed(&config, &events), expected.map(|(topic, value)| (topic.to_owned(), value.to_owned())));
}

#[test]
fn what_has_no_route_is_counted() {
    let config = [("field", "kind"), ("route.a", "as")];
    let kept = routed(&config, &[r#"{"kind":"a"}"#, r#"{"kind":"b"}"#, r#"{"type":"a"}"#]);
    assert_eq!(kept.len(), 1);
    assert_eq!(testing::counter("unrouted"), 2);
}

#[test]
fn what_is_no_object_is_rejected() {
    let mut router = Router::init(&testing::context()).unwrap();
    for value in ["[]", "not JSON"] {
        testing::run(&mut router, &[TestRecord::new((), value)]).unwrap_err();
    }
}
