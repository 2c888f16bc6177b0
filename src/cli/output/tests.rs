use serde_json::json;

use super::*;

fn rendered(report: &Report, format: Format) -> String {
    let mut out = Vec::new();
    report.render(format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn table() -> Report {
    let rows = vec![vec!["orders".to_owned(), "3".to_owned()], vec!["a".to_owned(), "12".to_owned()]];
    Report::new(Block::Table { headers: &["NAME", "PARTITIONS"], rows }, json!([{"name": "orders"}]))
}

#[test]
fn a_table_has_columns_without_frames_or_trailing_spaces() {
    assert_eq!(rendered(&table(), Format::Table), "NAME    PARTITIONS\norders  3\na       12\n");
}

#[test]
fn json_is_one_document_and_shows_nothing_else() {
    let text = rendered(&table(), Format::Json);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([{"name": "orders"}]));
    assert_eq!(rendered(&Report::silent(), Format::Json), "");
    assert_eq!(rendered(&Report::silent(), Format::Table), "");
}

#[test]
fn blocks_are_set_apart_by_an_empty_line() {
    let mut report =
        Report::new(Block::Fields(vec![("NAME", "a".to_owned()), ("ID", "b".to_owned())]), json!({}));
    report.blocks.push(Block::Line("done".to_owned()));
    assert_eq!(rendered(&report, Format::Table), "NAME  a\nID    b\n\ndone\n");
}

#[test]
fn a_report_of_failures_exits_with_their_code_if_they_agree() {
    let failure = |kind| CliError::new(kind, "X", "x");
    let mut report = Report::silent();
    assert_eq!(report.exit_kind(), None);
    report.failures.push(failure(ExitKind::NotFound));
    assert_eq!(report.exit_kind(), Some(ExitKind::NotFound));
    report.failures.push(failure(ExitKind::Conflict));
    assert_eq!(report.exit_kind(), Some(ExitKind::Failed));
}

#[test]
fn bytes_are_shown_in_base64_and_in_units() {
    assert_eq!(
        ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
        ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
    );
    assert_eq!(base64(&[0xff, 0xfe, 0x00]), "//4A");
    assert_eq!([0, 1023, 1024, 5 << 20].map(human_bytes), ["0 B", "1023 B", "1.0 KiB", "5.0 MiB"]);
}
