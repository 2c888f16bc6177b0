use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn args(line: &str) -> ProduceArgs {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Produce(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_is_a_value_unless_a_separator_is_given() {
    let plain = args("tidemill produce t");
    assert_eq!(split_line(&plain, b"a:b").unwrap(), Line { key: None, value: Some(b"a:b") });
    let separated = args("tidemill produce t -K ::");
    assert_eq!(split_line(&separated, b"k::v::w").unwrap(), Line { key: Some(b"k"), value: Some(b"v::w") });
    assert_eq!(split_line(&separated, b"k::").unwrap(), Line { key: Some(b"k"), value: Some(b"") });
    let keyed = args("tidemill produce t -k all");
    assert_eq!(split_line(&keyed, b"v").unwrap(), Line { key: Some(b"all"), value: Some(b"v") });
}

#[test]
fn a_line_without_the_separator_is_refused() {
    let error = split_line(&args("tidemill produce t -K :"), b"novalue").unwrap_err();
    assert_eq!(error.message, "the line \"novalue\" has no \":\" between key and value");
}

#[test]
fn a_marked_value_is_null() {
    let args = args("tidemill produce t -K : --null-value NULL");
    assert_eq!(split_line(&args, b"k:NULL").unwrap(), Line { key: Some(b"k"), value: None });
    assert_eq!(split_line(&args, b"NULL:v").unwrap(), Line { key: Some(b"NULL"), value: Some(b"v") });
}
