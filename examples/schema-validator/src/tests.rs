use super::*;
use tidemill_guest::RejectionCode;
use tidemill_guest::testing::{self, TestRecord, TestVerdict};

const PERSON: &str = r#"{
    "type": "object",
    "properties": { "name": { "type": "string", "pattern": "^[A-Z]" }, "ages": { "items": { "minimum": 0 } } },
    "required": ["name"]
}"#;

fn configured(config: &[(&str, &str)]) -> Result<SchemaValidator, Error> {
    testing::set_config(config);
    let validator = SchemaValidator::configure(&testing::attachment());
    testing::set_config(&[]);
    validator
}

fn sent(config: &[(&str, &str)], record: TestRecord) -> TestVerdict {
    let mut validator = configured(config).unwrap();
    testing::on_send(&mut validator, &testing::origin(), &[record]).unwrap().remove(0)
}

/// Why the person is rejected; nothing if it is kept.
fn rejection(person: &str) -> String {
    match sent(&[("schema", PERSON)], TestRecord::new("k", person)) {
        TestVerdict::Keep => String::new(),
        TestVerdict::Reject(RejectionCode::InvalidRecord, message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_that_matches_is_kept() {
    assert_eq!(rejection(r#"{"name":"Ann","ages":[1,2.5],"other":true}"#), "");
}

#[test]
fn a_record_that_does_not_is_rejected_with_path_and_reason() {
    assert_eq!(rejection("{}"), r#"at the top: "name" is a required property"#);
    assert_eq!(rejection("3"), r#"at the top: 3 is not of type "object""#);
    let ages = rejection(r#"{"name":"Ann","ages":[1,-2]}"#);
    assert_eq!(ages, "at /ages/1: -2 is less than the minimum of 0");
    assert!(rejection(r#"{"name":"ann"}"#).starts_with("at /name: "));
}

#[test]
fn a_value_that_is_not_json_is_rejected() {
    assert!(rejection("name: Ann").starts_with("the value is not JSON: "));
    assert!(rejection("").starts_with("the value is not JSON: "));
}

#[test]
fn tombstones_pass_unless_the_config_rejects_them() {
    let tombstone = || TestRecord::new("k", ());
    let schema = ("schema", PERSON);
    assert_eq!(sent(&[schema], tombstone()), TestVerdict::Keep);
    assert_eq!(sent(&[schema, ("tombstones", "allow")], tombstone()), TestVerdict::Keep);
    let message = "tombstones may not go here".to_owned();
    let rejected = TestVerdict::Reject(RejectionCode::InvalidRecord, message);
    assert_eq!(sent(&[schema, ("tombstones", "reject")], tombstone()), rejected);
}

#[test]
fn what_is_no_schema_is_refused_with_the_key_named() {
    let refused = |config: &[(&str, &str)], start: &str| {
        let error = configured(config).err().unwrap().message;
        assert!(error.starts_with(start), "{error}");
    };
    refused(&[], "the config key `schema` is missing");
    refused(&[("schema", "{")], "the config key `schema` is not JSON: ");
    refused(&[("schema", r#"{"type":"person"}"#)], "the config key `schema` is no JSON Schema: ");
    refused(&[("schema", r#"{"pattern":"("}"#)], "the config key `schema` is no JSON Schema: ");
    // Nothing is fetched, so a schema has to be whole.
    let elsewhere = r#"{"$ref":"https://example.org/person.json"}"#;
    refused(&[("schema", elsewhere)], "the config key `schema` is no JSON Schema: ");
    refused(&[("schema", PERSON), ("tombstones", "maybe")], "the config key `tombstones` is `maybe`");
}
