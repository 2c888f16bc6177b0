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
    assert_eq!(split_line(&plain, b"a:b").unwrap(), Line { headers: vec![], key: None, value: Some(b"a:b") });
    let separated = args("tidemill produce t -K ::");
    assert_eq!(
        split_line(&separated, b"k::v::w").unwrap(),
        Line { headers: vec![], key: Some(b"k"), value: Some(b"v::w") }
    );
    assert_eq!(
        split_line(&separated, b"k::").unwrap(),
        Line { headers: vec![], key: Some(b"k"), value: Some(b"") }
    );
    let keyed = args("tidemill produce t -k all");
    assert_eq!(
        split_line(&keyed, b"v").unwrap(),
        Line { headers: vec![], key: Some(b"all"), value: Some(b"v") }
    );
}

#[test]
fn a_line_without_the_separator_is_refused() {
    let error = split_line(&args("tidemill produce t -K :"), b"novalue").unwrap_err();
    assert_eq!(error.message, "the line \"novalue\" has no \":\" between key and value");
}

#[test]
fn a_marked_value_is_null() {
    let args = args("tidemill produce t -K : --null-value NULL");
    assert_eq!(split_line(&args, b"k:NULL").unwrap(), Line { headers: vec![], key: Some(b"k"), value: None });
    assert_eq!(
        split_line(&args, b"NULL:v").unwrap(),
        Line { headers: vec![], key: Some(b"NULL"), value: Some(b"v") }
    );
}

#[test]
fn headers_of_a_line_stand_before_its_key() {
    let mut args = args("tidemill produce t --key-separator :");
    args.header_format = Some(HeaderFormat { key_separator: "=".to_owned(), ..HeaderFormat::default() });
    let line = split_line(&args, b"a=1,b=,c\tk:v").unwrap();
    assert_eq!(line.headers, [("a", b"1".as_slice()), ("b", b""), ("c", b"")]);
    assert_eq!((line.key, line.value), (Some(b"k".as_slice()), Some(b"v".as_slice())));
    assert_eq!(split_line(&args, b"\tk:v").unwrap().headers, []);
    assert!(split_line(&args, b"k:v").is_err());
}
