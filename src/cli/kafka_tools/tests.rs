//! How the tools are called, and how their texts look.

use super::super::Command;
use super::super::consume::{ConsoleFormat, Shown};
use super::*;

fn arguments(line: &str) -> Vec<String> {
    let arguments = with_tool_name(line.split_whitespace());
    arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
}

#[test]
fn a_tool_is_known_by_the_name_of_the_program_or_by_the_first_argument() {
    assert_eq!(arguments("/usr/bin/kafka-topics --list")[1..], ["kafka-topics", "--list"]);
    assert_eq!(arguments("./kafka-topics.sh --list")[1..], ["kafka-topics", "--list"]);
    assert_eq!(arguments("tidemill kafka-topics.sh --list")[1..], ["kafka-topics", "--list"]);
    assert_eq!(arguments("tidemill topic list")[1..], ["topic", "list"]);
    for name in NAMES {
        assert!(is_tool(&with_tool_name([name])), "{name}");
    }
    assert!(!is_tool(&with_tool_name(["tidemill", "topic"])));
}

#[test]
fn usual_command_lines_are_read() {
    for line in [
        "kafka-topics --bootstrap-server h:1 --create --topic t --partitions 3 --replication-factor 1 --config a=b",
        "kafka-topics --bootstrap-server h:1 --describe --under-replicated-partitions",
        "kafka-topics --bootstrap-server h:1 --list --exclude-internal",
        "kafka-configs --bootstrap-server h:1 --alter --entity-type topics --entity-name t --add-config a=b",
        "kafka-configs --bootstrap-server h:1 --describe --broker 1 --all",
        "kafka-consumer-groups --bootstrap-server h:1 --describe --group g --members --verbose",
        "kafka-consumer-groups --bootstrap-server h:1 --list --state",
        "kafka-consumer-groups --bootstrap-server h:1 --list --state Stable,Empty",
        "kafka-consumer-groups --bootstrap-server h:1 --reset-offsets --group g --topic t:0,1 --shift-by -5 --execute",
        "kafka-console-producer --bootstrap-server h:1 --topic t --property parse.key=true --compression-codec zstd",
        "kafka-console-producer --broker-list h:1 --topic t --compression-codec --sync",
        "kafka-console-consumer --bootstrap-server h:1 --topic t --from-beginning --max-messages 1 --timeout-ms 5",
        "kafka-console-consumer --bootstrap-server h:1 --include a|b --isolation-level read_committed",
        "kafka-console-consumer --bootstrap-server h:1 --topic t --partition 0 --offset earliest",
        "kafka-transactions --bootstrap-server h:1 list",
        "kafka-transactions --bootstrap-server h:1 abort --topic t --partition 0 --start-offset 5",
        "kafka-get-offsets --bootstrap-server h:1 --topic t --time -1",
        "kafka-get-offsets --bootstrap-server h:1 --topic-partitions a:0,b:1-3 --time earliest",
    ] {
        let cli = Cli::try_parse_from(with_tool_name(line.split_whitespace()));
        let Ok(Cli { global, command: Command::KafkaTool(_) }) = cli else { panic!("{line}: {cli:?}") };
        assert_eq!(global.bootstrap_server, "h:1", "{line}");
    }
    for line in ["kafka-topics --list --delete", "kafka-topics --topic t", "kafka-consumer-groups --group g"]
    {
        assert!(Cli::try_parse_from(with_tool_name(line.split_whitespace())).is_err(), "{line}");
    }
}

#[test]
fn a_client_s_settings_are_read_and_those_of_another_connection_refused() {
    let text = "# a comment\n\nclient.id = me\nrequest.timeout.ms:5\n";
    assert_eq!(properties(text).collect::<Vec<_>>(), [("client.id", "me"), ("request.timeout.ms", "5")]);
    assert!(check_property("security.protocol", "PLAINTEXT").is_ok());
    assert!(check_property("security.protocol", "SASL_SSL").is_err());
    assert!(check_property("ssl.truststore.location", "x").is_err());
}

#[test]
fn topics_are_meant_as_a_whole() {
    let both = pattern("a.*,b").unwrap();
    assert!(both.is_match("apple") && both.is_match("b"));
    assert!(!both.is_match("bb") && !both.is_match("xa"));
    assert!(pattern("(").is_err());
}

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let rows = [vec!["group".to_owned(), "t".to_owned()], vec!["g".to_owned(), "topic".to_owned()]];
    assert_eq!(table(&["GROUP", "T"], &rows), ["GROUP T", "group t", "g     topic"]);
}

#[test]
fn settings_may_be_lists() {
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let read = configs::settings("cleanup.policy=[compact,delete],retention.ms=5").unwrap();
    assert_eq!(read, [set("cleanup.policy", "compact,delete"), set("retention.ms", "5")]);
    assert_eq!(configs::settings("a=").unwrap(), [set("a", "")]);
    for wrong in ["a", "a=1,b", "a=[1"] {
        assert!(configs::settings(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn records_look_as_the_console_consumer_writes_them() {
    let record = Shown {
        topic: "t",
        partition: 1,
        offset: 42,
        timestamp_ms: Some(1000),
        is_append_time: false,
        key: None,
        value: Some(b"v"),
        headers: vec![("h", Some(b"x")), ("n", None)],
    };
    let written = |format: &ConsoleFormat, record: &Shown<'_>| {
        let mut out = Vec::new();
        format.write(record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written(&ConsoleFormat::default(), &record), "v\n");
    let mut all =
        ConsoleFormat { timestamp: true, partition: true, offset: true, ..ConsoleFormat::default() };
    (all.headers, all.key) = (true, true);
    let line = "CreateTime:1000\tPartition:1\tOffset:42\th:x,n:null\tnull\tv\n";
    assert_eq!(written(&all, &record), line);
    let bare = Shown { timestamp_ms: None, headers: Vec::new(), ..record };
    assert_eq!(written(&all, &bare), "NO_TIMESTAMP\tPartition:1\tOffset:42\tNO_HEADERS\tnull\tv\n");
}
