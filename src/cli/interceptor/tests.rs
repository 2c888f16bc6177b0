use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn args(line: &str) -> AttachArgs {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Interceptor(InterceptorCommand::Attach(args)) => *args,
        other => panic!("{other:?}"),
    }
}

fn body(manifest: &mut Manifest, line: &str) -> Value {
    overlay(manifest, &args(line));
    serde_json::to_value(&*manifest).unwrap()
}

#[test]
fn flags_alone_make_a_request() {
    let mut request = Manifest::default();
    let body = body(
        &mut request,
        "tidemill interceptor attach mask -m masker -t orders.* -t payments -p fetch --principal User:p* \
         --order -5 --on-fault fail-open -c fields=card --batch-time-ms 50",
    );
    assert_eq!(check(&request).unwrap(), "mask");
    assert_eq!(
        body,
        json!({"module": "masker", "topics": ["orders.*", "payments"], "principals": ["User:p*"],
               "paths": ["fetch"], "order": -5, "on_fault": "fail-open", "config": {"fields": "card"},
               "limits": {"batch_time_ms": 50}})
    );
}

#[test]
fn flags_win_over_the_manifest_and_the_rest_of_it_stays() {
    let manifest = r#"
        name = "mask"
        module = "old"
        topics = ["a", "b"]
        paths = ["produce", "fetch"]
        on_fault = "reload"
        [config]
        x = "1"
    "#;
    let mut request: Manifest = toml::from_str(manifest).unwrap();
    assert_eq!(
        body(&mut request, "tidemill interceptor attach -m new -t z -c y=2"),
        json!({"module": "new", "topics": ["z"], "paths": ["produce", "fetch"], "on_fault": "reload",
               "config": {"x": "1", "y": "2"}})
    );
}

#[test]
fn what_is_missing_is_named_with_a_way_to_give_it() {
    for (line, what) in [
        ("tidemill interceptor attach a -t t -p fetch", "no module"),
        ("tidemill interceptor attach a -m m -p fetch", "no topic"),
        ("tidemill interceptor attach a -m m -t t", "no path"),
        ("tidemill interceptor attach -m m -t t -p fetch", "no name"),
    ] {
        let mut request = Manifest::default();
        overlay(&mut request, &args(line));
        let error = check(&request).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_misspelt_field_of_a_manifest_is_named_with_those_that_there_are() {
    let error = toml::from_str::<Manifest>("on_falt = \"reload\"").unwrap_err().to_string();
    assert!(error.contains("on_falt") && error.contains("on_fault"), "{error}");
}

#[test]
fn verdicts_and_own_counters_are_shown_as_tables() {
    let direction =
        json!({"batches": 3, "kept": 5, "replaced": 1, "dropped": 0, "rejected": 2, "microseconds": 70});
    let report =
        described(json!({"name": "c", "counters": {"produce": direction, "fetch": direction, "faults": 1,
        "passed_open": 0, "acknowledged": 3, "acknowledgements_lost": 0, "last_fault": "it trapped",
        "own": {"sent": 8}}}));
    let tables: Vec<_> = report
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Table { rows, .. } => Some(rows.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(tables[1][0], ["produce", "3", "5", "1", "0", "2", "70"]);
    assert_eq!(tables[2], [["sent", "8"]]);
}
