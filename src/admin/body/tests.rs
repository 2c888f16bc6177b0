//! Bodies of deployments: defaults, refusals, suggestions.

use super::*;
use serde_json::json;

fn parse(body: &Value) -> Result<ProcessorDefinition, ApiError> {
    parse_definition("p", body.to_string().as_bytes(), &DeploymentDefaults::default())
}

#[test]
fn what_is_left_out_has_defaults() {
    let definition = parse(&json!({"module": "m", "inputs": ["a"]})).unwrap();
    assert_eq!(definition.commit, CommitPolicy::default());
    assert_eq!(definition.on_error, ErrorPolicy::default());
    assert_eq!(definition.start, StartPosition::Committed);
}

#[test]
fn the_server_s_defaults_stand_where_the_body_says_nothing() {
    let defaults = DeploymentDefaults {
        commit: CommitPolicy { interval_ms: 1, records_max: 2, bytes_max: 3 },
        limits: TaskLimits {
            memory_bytes: 4,
            batch_time_ms: 5,
            output_bytes: 6,
            state_bytes: 7,
            ..TaskLimits::default()
        },
    };
    let body = json!({"module": "m", "inputs": ["a"], "commit": {"records_max": 20}});
    let definition = parse_definition("p", body.to_string().as_bytes(), &defaults).unwrap();
    assert_eq!(definition.commit, CommitPolicy { records_max: 20, ..defaults.commit });
    assert_eq!(definition.limits, defaults.limits);
}

#[test]
fn every_field_is_read() {
    let definition = parse(&json!({
        "module": "sha256:abc", "inputs": ["a"], "outputs": ["b"], "start": "latest",
        "config": {"k": "v", "n": 3},
        "commit": {"interval_ms": 5, "records_max": 6, "bytes_max": 7},
        "limits": {"memory_bytes": 8, "batch_time_ms": 9, "output_bytes": 10, "output_ratio": 11, "state_bytes": 7, "cpu_percent": 12, "log_lines_per_second": 13},
        "on_error": {"retries": 1, "backoff_ms": 2, "then": "skip", "dead_letter_topic": "d"},
    }))
    .unwrap();
    assert_eq!(definition.module, "abc");
    assert_eq!(definition.config.get("n").map(String::as_str), Some("3"));
    assert_eq!(definition.commit, CommitPolicy { interval_ms: 5, records_max: 6, bytes_max: 7 });
    assert_eq!(
        definition.limits,
        TaskLimits {
            memory_bytes: 8,
            batch_time_ms: 9,
            output_bytes: 10,
            output_ratio: 11,
            state_bytes: 7,
            cpu_percent: 12,
            log_lines_per_second: 13,
        }
    );
    assert_eq!(definition.on_error.then, FailureAction::Skip);
    assert_eq!(definition.on_error.dead_letter_topic, Some(TopicName::new("d")));
}

#[test]
fn unknown_fields_are_errors_with_a_suggestion() {
    let error = parse(&json!({"module": "m", "inputs": ["a"], "output": ["b"]})).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("UNKNOWN_FIELD", "There is no field \"output\".")
    );
    assert_eq!(error.hint, "Did you mean \"outputs\"?");
    let error = parse(&json!({"module": "m", "inputs": ["a"], "commit": {"intervall_ms": 1}})).unwrap_err();
    assert_eq!(error.message, "There is no field \"commit.intervall_ms\".");
    assert_eq!(error.hint, "Did you mean \"interval_ms\"?");
    let error = parse(&json!({"module": "m", "inputs": ["a"], "zzz": 1})).unwrap_err();
    assert!(error.hint.starts_with("It is one of name, module"));
}

#[test]
fn wrong_kinds_and_missing_fields_are_named() {
    let message = |body: Value| parse(&body).unwrap_err().message;
    assert_eq!(message(json!({"inputs": ["a"]})), "\"module\" is missing.");
    assert_eq!(message(json!({"module": "m"})), "\"inputs\" is missing.");
    assert_eq!(message(json!({"module": 1, "inputs": []})), "\"module\" is not a string.");
    assert_eq!(message(json!({"module": "m", "inputs": "a"})), "\"inputs\" is not a list of topic names.");
    assert_eq!(
        message(json!({"module": "m", "inputs": ["a"], "commit": {"interval_ms": -1}})),
        "\"commit.interval_ms\" is not a whole number from 0."
    );
    assert_eq!(
        message(json!({"module": "m", "inputs": ["a"], "on_error": {"then": "explode"}})),
        "\"on_error.then\" cannot be \"explode\"."
    );
    assert_eq!(message(json!([])), "The body is not an object.");
    assert_eq!(
        message(json!({"name": "q", "module": "m", "inputs": ["a"]})),
        "The body names processor \"q\", the path \"p\"."
    );
    assert!(
        parse_definition("p", b"{", &DeploymentDefaults::default())
            .unwrap_err()
            .message
            .starts_with("The body is not JSON")
    );
}
