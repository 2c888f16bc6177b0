use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn command(line: &str) -> StateCommand {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::State(command) => command,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_asked_for_becomes_the_query() {
    let line =
        "tidemill state scan a/b counts --from x&y --prefix + --reverse -n 5 -p 2 --value-format counter";
    let StateCommand::Scan(args) = command(line) else { panic!() };
    assert_eq!(
        with_query(store_path(&args.of), &of_scan(&args)),
        "/v1/processors/a%2Fb/state/counts?key_format=text&value_format=counter&partition=2&from=x%26y\
         &prefix=%2B&limit=5&reverse=true"
    );
}

#[test]
fn entries_are_rows_and_below_them_stands_of_when_they_are() {
    let report = entries(json!({
        "entries": [
            {"partition": 0, "key": "a\nb", "key_format": "text", "value": 42, "value_format": "counter"},
            {"partition": 1, "key": "c", "key_format": "text", "value": {"n": [1]}, "value_format": "json"},
        ],
        "partitions": [{"partition": 0, "changelog_offset": 7}, {"partition": 1, "changelog_offset": 9}],
        "without_state": [2], "next": "1.Yw",
    }));
    let mut out = Vec::new();
    report.render(crate::cli::Format::Table, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "PARTITION  KEY   VALUE      FORMAT\n0          a\\nb  42         counter\n\
         1          c     {\"n\":[1]}  json\n\n\
         As the changelog's partitions are committed: 0 up to offset 7, 1 up to offset 9.\n\n\
         Without state yet: the tasks of 2.\n\nThere may be more: add --cursor 1.Yw\n"
    );
}
