use super::*;

fn headers(of: &[(&str, Option<&str>)]) -> Vec<(String, Option<Vec<u8>>)> {
    let owned = |(name, value): &(&str, Option<&str>)| {
        ((*name).to_owned(), value.map(|value| value.as_bytes().to_vec()))
    };
    of.iter().map(owned).collect()
}

/// What a processor adds.
fn failed(processor: &str, topic: &str, partition: &str) -> Vec<(String, Option<Vec<u8>>)> {
    headers(&[
        ("__tidemill.error.message", Some("too\nbad")),
        ("__tidemill.error.code", Some("rejected")),
        ("__tidemill.error.topic", Some(topic)),
        ("__tidemill.error.partition", Some(partition)),
        ("__tidemill.error.offset", Some("7")),
        ("__tidemill.error.processor", Some(processor)),
        ("__tidemill.error.module", Some("abc")),
        ("__tidemill.error.attempts", Some("3")),
    ])
}

fn letter(headers: Vec<(String, Option<Vec<u8>>)>) -> Letter {
    Letter::of(Record { headers, ..Record::default() })
}

#[test]
fn a_letter_is_the_record_as_it_was_and_what_was_wrong_with_it() {
    let own = headers(&[("a", Some("1")), ("a", None), ("b", Some(""))]);
    let found = letter([own.clone(), failed("p", "in", "2")].concat());
    assert_eq!(found.record.headers, own);
    assert_eq!(found.destination(), Ok(("in", 2)));
    let failure = found.failure.unwrap();
    assert_eq!((failure.processor.as_deref(), failure.code.as_deref()), (Some("p"), Some("rejected")));
    assert_eq!((failure.offset, failure.attempts, failure.message.as_str()), (Some(7), Some(3), "too\nbad"));
}

#[test]
fn a_letter_of_a_letter_goes_back_as_the_letter_that_it_was() {
    let first = [headers(&[("a", None)]), failed("p", "in", "0")].concat();
    let second = letter([first.clone(), failed("q", "p.dlq", "1")].concat());
    assert_eq!(second.record.headers, first);
    assert_eq!(second.destination(), Ok(("p.dlq", 1)));
    let back = letter(first);
    assert_eq!(back.destination(), Ok(("in", 0)));
    assert_eq!(back.record.headers, headers(&[("a", None)]));
}

#[test]
fn headers_that_somebody_has_added_behind_ours_stay() {
    let added = [failed("p", "in", "0"), headers(&[("mirrored", Some("yes"))])].concat();
    assert_eq!(letter(added).record.headers, headers(&[("mirrored", Some("yes"))]));
}

#[test]
fn what_says_of_no_partition_is_no_letter_and_keeps_its_headers() {
    for bad in [
        headers(&[]),
        headers(&[("__tidemill.error.message", None)]),
        failed("p", "", "0"),
        failed("p", "in", "-1"),
        failed("p", "in", "x"),
        headers(&[("__tidemill.error.message", Some("m")), ("__tidemill.error.topic", None)]),
    ] {
        let found = letter(bad.clone());
        assert_eq!((found.failure.as_ref(), &found.record.headers), (None, &bad));
        assert_eq!(found.destination(), Err("it has no headers of a processor".to_owned()));
    }
}

#[test]
fn what_came_by_an_ingress_goes_to_the_topic_and_nothing_goes_to_the_broker_s_own() {
    assert_eq!(letter(failed("p", "__ingress.t", "1")).destination(), Ok(("t", 1)));
    for own in ["__consumer_offsets", "__ingress.__x"] {
        assert!(letter(failed("p", own, "0")).destination().unwrap_err().contains("the broker's own"));
    }
}

#[test]
fn a_row_is_one_line_whatever_is_in_the_letter() {
    let mut found = letter(failed("p", "in", "2"));
    found.record.value = Some("v".repeat(60).into_bytes());
    let row = found.row("pending");
    assert_eq!(row.len(), HEADERS.len());
    assert_eq!(
        row[2..],
        ["pending", "-", "p", "in-2@7", "rejected", "3", "null", &("v".repeat(48) + "…"), "too\\nbad",]
    );
    let json = found.json("pending");
    assert_eq!((&json["key"], &json["error"]["message"]), (&Value::Null, &json!("too\nbad")));
}
