use super::*;
use tidemill_guest::testing::{self, TestRecord, TestVerdict};

fn consumed_by(principal: &str, config: &[(&str, &str)], value: &str) -> TestVerdict {
    testing::set_config(config);
    let mut masker = FieldMasker::configure(&testing::attachment()).unwrap();
    let origin = Origin { principal: principal.to_owned(), ..testing::origin() };
    let verdicts = testing::on_consume(&mut masker, &origin, &[TestRecord::new("k", value)]);
    testing::set_config(&[]);
    verdicts.unwrap().remove(0)
}

fn masked(fields: &str, value: &str) -> TestVerdict {
    consumed_by("User:ANONYMOUS", &[("fields", fields)], value)
}

#[test]
fn fields_are_masked_and_everything_else_stays_as_it_was_written() {
    let value = r#"{"z":1.10,"ssn":"1","a":{"email":"x@y","n":12345678901234567890123},"b":[1,2]}"#;
    let verdict = masked("ssn, a.email, absent, b.c", value);
    let expected = r#"{"z":1.10,"ssn":"***","a":{"email":"***","n":12345678901234567890123},"b":[1,2]}"#;
    assert_eq!(verdict.replaced().value_str(), expected);
    assert_eq!(verdict.replaced().key_str(), "k");
}

#[test]
fn whatever_a_field_holds_is_masked_through_arrays_and_dotted_names() {
    let check = |fields, value, expected| assert_eq!(masked(fields, value).replaced().value_str(), expected);
    check("a", r#"{"a":{"b":[1]}}"#, r#"{"a":"***"}"#);
    check("a", r#"{"a":null}"#, r#"{"a":"***"}"#);
    check("a", r#"{"a":1,"a":2}"#, r#"{"a":"***"}"#);
    check(
        "people.name",
        r#"{"people":[{"name":"A"},[{"name":"B"}],3]}"#,
        r#"{"people":[{"name":"***"},[{"name":"***"}],3]}"#,
    );
    check("name", r#"[{"name":"A"},{"name":"B"}]"#, r#"[{"name":"***"},{"name":"***"}]"#);
    check(
        "a.b.c",
        r#"{"a.b.c":1,"a.b":{"c":2},"a":{"b.c":3}}"#,
        r#"{"a.b.c":"***","a.b":{"c":"***"},"a":{"b.c":"***"}}"#,
    );
}

#[test]
fn records_without_the_fields_pass_untouched() {
    for value in [r#"{ "other": 1 }"#, "[1, 2]", "3", r#""ssn""#, "null"] {
        assert_eq!(masked("ssn", value), TestVerdict::Keep, "{value}");
    }
}

#[test]
fn the_mask_is_configured_and_some_principals_see_the_plain_values() {
    let config = [("fields", "ssn"), ("mask", "?"), ("unmasked_principals", "User:ann; User:bob")];
    let value = r#"{"ssn":"1"}"#;
    assert_eq!(consumed_by("User:eve", &config, value).replaced().value_str(), r#"{"ssn":"?"}"#);
    assert_eq!(consumed_by("User:bob", &config, value), TestVerdict::Keep);
    assert_eq!(consumed_by("User:bob", &config, "not json"), TestVerdict::Keep);
    assert_eq!(consumed_by("user:bob", &config, value).replaced().value_str(), r#"{"ssn":"?"}"#);
}

#[test]
fn what_is_not_json_is_refused_unless_the_config_keeps_it() {
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    for value in ["not json", "", r#"{"ssn":1} {"ssn":2}"#, &deep] {
        let TestVerdict::Reject(code, message) = masked("ssn", value) else { panic!("{value} passed") };
        assert_eq!(code, RejectionCode::TopicAuthorizationFailed);
        assert_eq!(message, "the value at offset 0 is not JSON, so it cannot be masked");
        let keep = [("fields", "ssn"), ("not_json", "keep")];
        assert_eq!(consumed_by("User:ANONYMOUS", &keep, value), TestVerdict::Keep);
    }
}

#[test]
fn tombstones_pass_and_the_way_to_the_log_is_left_alone() {
    testing::set_config(&[("fields", "ssn")]);
    let mut masker = FieldMasker::configure(&testing::attachment()).unwrap();
    let tombstone = [TestRecord::new("k", ())];
    let verdicts = testing::on_consume(&mut masker, &testing::origin(), &tombstone).unwrap();
    assert_eq!(verdicts, [TestVerdict::Keep]);
    let sent = [TestRecord::new("k", r#"{"ssn":1}"#)];
    assert_eq!(testing::on_send(&mut masker, &testing::origin(), &sent).unwrap(), [TestVerdict::Keep]);
    testing::set_config(&[]);
}

#[test]
fn a_config_that_would_mask_nothing_is_refused() {
    let refused = |config: &[(&str, &str)]| {
        testing::set_config(config);
        let error = FieldMasker::configure(&testing::attachment()).err().unwrap();
        testing::set_config(&[]);
        error.message
    };
    assert_eq!(refused(&[]), "the config key `fields` is missing");
    assert_eq!(refused(&[("fields", " , ")]), "the config key `fields` names no field");
    assert!(refused(&[("fields", "a"), ("not_json", "maybe")]).contains("`not_json` is `maybe`"));
}
