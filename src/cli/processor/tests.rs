use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn args(line: &str) -> DeployArgs {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Processor(ProcessorCommand::Deploy(args)) => *args,
        other => panic!("{other:?}"),
    }
}

fn manifest(toml: &str) -> Manifest {
    toml::from_str(toml).unwrap()
}

#[test]
fn flags_alone_make_a_request() {
    let mut request = Manifest::default();
    overlay(
        &mut request,
        &args(
            "tidemill processor deploy p -m upper -i in -o out --start earliest -c a=b --on-error dead-letter \
             --dead-letter-topic dlq --retries 3",
        ),
    );
    assert_eq!(check_manifest(&request).unwrap(), "p");
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        json!({"module": "upper", "inputs": ["in"], "outputs": ["out"], "start": "earliest", "config": {"a": "b"},
               "on_error": {"retries": 3, "then": "dead-letter", "dead_letter_topic": "dlq"}})
    );
}

#[test]
fn flags_win_over_the_manifest_and_the_rest_of_it_stays() {
    let mut request = manifest(
        r#"
        name = "p"
        module = "old"
        inputs = ["a", "b"]
        outputs = ["c"]
        start = "latest"
        [config]
        x = "1"
        [commit]
        interval_ms = 5
        [limits]
        memory_bytes = 1000
        [on_error]
        then = "skip"
        "#,
    );
    overlay(&mut request, &args("tidemill processor deploy -m new -i z -c y=2 --commit-interval-ms 7"));
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        json!({"module": "new", "inputs": ["z"], "outputs": ["c"], "start": "latest",
               "config": {"x": "1", "y": "2"}, "commit": {"interval_ms": 7}, "limits": {"memory_bytes": 1000},
               "on_error": {"then": "skip"}})
    );
}

#[test]
fn outputs_may_have_partitioners() {
    let request = manifest(
        r#"
        module = "m"
        inputs = ["in"]
        outputs = ["out", "other"]
        [partitioners.out]
        module = "word"
        config = { word = "x" }
        [partitioners.other]
        module = "abc"
        "#,
    );
    let body = serde_json::to_value(&request).unwrap();
    let expected = json!({"out": {"module": "word", "config": {"word": "x"}}, "other": {"module": "abc"}});
    assert_eq!(body["partitioners"], expected);
    assert!(toml::from_str::<Manifest>("[partitioners.out]\nmodul = \"m\"").is_err());
    let blocks = described(json!({"name": "p", "partitioners": expected, "tasks": []})).blocks;
    let [Block::Table { rows: fields, .. }, Block::Table { rows, .. }] = &blocks[..] else {
        panic!("{blocks:?}");
    };
    assert_eq!(fields[..], [["NAME", "p"]]);
    assert_eq!(rows[..], [["other", "abc", "-"], ["out", "word", "word=x"]]);
}

#[test]
fn a_manifest_with_a_misspelt_field_is_refused() {
    let error = toml::from_str::<Manifest>("modul = \"m\"").unwrap_err().to_string();
    assert!(error.contains("modul"), "{error}");
    assert!(toml::from_str::<Manifest>("[commit]\ninterval = 3").is_err());
    assert!(toml::from_str::<Manifest>("start = \"middle\"").is_err());
    assert!(toml::from_str::<Manifest>("on_error = { breaker = { percent = 1 } }").is_err());
}

#[test]
fn what_is_missing_is_named_with_the_way_to_give_it() {
    let missing = |toml: &str| check_manifest(&manifest(toml)).unwrap_err().message;
    assert_eq!(missing("name = \"p\""), "the processor has no module");
    assert_eq!(missing("module = \"m\""), "the processor has no input topic");
    assert_eq!(missing("module = \"m\"\ninputs = [\"a\"]"), "the processor has no name");
}

#[test]
fn a_start_is_a_word_an_offset_or_a_moment() {
    let sent = |text: &str| text.parse::<Start>().map(|start| start.0);
    for same in ["committed", "earliest", "latest", "offset:17", "time:1769860800000"] {
        assert_eq!(sent(same).unwrap(), same);
    }
    assert_eq!(sent("time:2026-01-31T12:00:00Z").unwrap(), "time:1769860800000");
    assert_eq!(sent("time:2026-01-31T13:00:00+01:00").unwrap(), "time:1769860800000");
    for wrong in ["", "middle", "offset:-1", "offset:", "time:yesterday", "time:1950-01-01T00:00:00Z"] {
        assert!(sent(wrong).unwrap_err().contains("offset:N and time:MOMENT"), "{wrong}");
    }
}
