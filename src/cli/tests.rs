use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn exit(line: &str) -> ExitCode {
    run_with(line.split_whitespace().map(str::to_owned))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_of_the_plan_parses() {
    for line in [
        "tidemill serve --data-dir /d --listen :9092 --admin-listen off --flush os --config-set num.partitions=3",
        "tidemill start --advertised-listeners a:1 --log-level debug --node-id 2 --config f.toml",
        "tidemill print-config retention --docs --changed",
        "tidemill topic create a b -p 3 -r 1 -c retention.ms=1 --if-not-exists --dry-run",
        "tidemill topic list --internal",
        "tidemill topic describe a --all-configs",
        "tidemill topic delete a --yes --if-exists",
        "tidemill topic alter a --partitions 4 --config a=b --delete-config c",
        "tidemill produce a -K : --header k=v --partition 0 --compression zstd --acks 1 --timeout 5s",
        "tidemill produce a --transactional-id t --abort",
        "tidemill produce a --partitioner m.wasm --partitioner-config word=x --partitioner-config b= -K : -H a=b",
        "tidemill consume a --from-beginning --isolation read-uncommitted --max-messages 3 --exit-at-end",
        "tidemill consume a --offset -5 --partition 0 --timeout 500ms --show offset --show headers",
        "tidemill consume a b --group g --isolation read_committed",
        "tidemill group list",
        "tidemill group describe g h",
        "tidemill group delete g -y",
        "tidemill group reset-offsets g --topic t:0,1 --shift-by -3 --execute",
        "tidemill group reset-offsets g --all-topics --to-earliest",
        "tidemill txn list --state Ongoing",
        "tidemill txn describe x",
        "tidemill txn abort x -y",
        "tidemill txn abort --topic t --partition 0 --start-offset 5",
        "tidemill module push m.wasm --name m",
        "tidemill module upload m.wasm",
        "tidemill module inspect abc",
        "tidemill module delete abc --yes",
        "tidemill processor deploy p -m m -i in -o out --start latest --on-error dead-letter --no-wait",
        "tidemill transform deploy --file p.toml --timeout 1m",
        "tidemill processor logs p --follow",
        "tidemill processor pause p",
        "tidemill processor resume p",
        "tidemill processor delete p -y",
        "tidemill state list",
        "tidemill state list p",
        "tidemill state get p counts k --partition 0 --key-format hex --value-format json",
        "tidemill state scan p counts --from a --to b --prefix a -r -n 5 --cursor 0.YQ --value-format auto",
        "tidemill dlq list",
        "tidemill dlq show p.dlq --all -p 0 --processor p --code rejected -n 5",
        "tidemill dlq replay p.dlq --partition 1 --limit 10 --skip-unreplayable --batch 50 --dry-run",
        "tidemill dlq purge p.dlq --replayed -y",
        "tidemill perf produce --topic t --num-records 5 --record-size 10 --throughput 100 --acks all",
        "tidemill perf produce -t t --transactional-id x --transaction-records 10 --linger-ms 1 --batch-size 100",
        "tidemill perf consume --topic t --num-records 5",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "tidemill",
        "tidemill topic create",
        "tidemill topic create a -p 0",
        "tidemill topic create a -c novalue",
        "tidemill produce a --abort",
        "tidemill produce a --partitioner-config word=x",
        "tidemill produce a --partitioner m --partition 1",
        "tidemill produce a --partitioner m --acks 1",
        "tidemill produce a --partitioner m --compression gzip",
        "tidemill produce a --partitioner m --transactional-id t",
        "tidemill consume a --group g --offset 3",
        "tidemill group reset-offsets g --topic t",
        "tidemill group reset-offsets g --topic t --to-earliest --to-latest",
        "tidemill group reset-offsets g --to-latest",
        "tidemill txn abort x --topic t --partition 0 --start-offset 1",
        "tidemill txn abort --topic t",
        "tidemill perf produce -t t --transaction-records 10",
        "tidemill dlq replay p.dlq --batch 0",
        "tidemill dlq replay p.dlq --limit 0",
        "tidemill topic list --request-timeout 3weeks",
        "tidemill topic list --format xml",
    ] {
        assert!(parse(line).is_err(), "{line}");
        assert_eq!(exit(line), ExitCode::from(2), "{line}");
    }
}

#[test]
fn global_options_are_taken_before_and_after_the_verb() {
    for line in [
        "tidemill --format json -b h:1 --admin http://a topic list",
        "tidemill topic list --format json --bootstrap-servers h:1 --admin http://a",
    ] {
        let global = parse(line).unwrap().global;
        assert_eq!(global.format, Format::Json);
        assert_eq!((global.bootstrap_server.as_str(), global.admin.as_str()), ("h:1", "http://a"));
        assert_eq!(global.request_timeout, Duration::from_secs(10));
    }
}

#[test]
fn help_and_version_are_no_failures() {
    assert_eq!(exit("tidemill --version"), ExitCode::SUCCESS);
    assert_eq!(exit("tidemill topic create --help"), ExitCode::SUCCESS);
}

#[test]
fn a_bad_configuration_ends_with_the_code_for_what_is_not_valid() {
    assert_eq!(exit("tidemill print-config --config-set num.partition=3"), ExitCode::from(7));
    assert_eq!(exit("tidemill print-config --config /nowhere/at/all.toml"), ExitCode::from(7));
    assert_eq!(exit("tidemill serve --config-set num.partitions=0"), ExitCode::from(7));
    assert_eq!(exit("tidemill print-config --data-dir /d"), ExitCode::SUCCESS);
}

#[test]
fn a_broker_that_is_not_there_ends_with_the_code_for_unreachable() {
    // A port that was free a moment ago: bound, learnt and let go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(exit(&format!("tidemill topic list -b 127.0.0.1:{port}")), ExitCode::from(6));
    assert_eq!(exit(&format!("tidemill module list --admin http://127.0.0.1:{port}")), ExitCode::from(6));
    assert_eq!(exit(&format!("tidemill topic list -b 127.0.0.1:{port} --format json")), ExitCode::from(6));
}

#[cfg(not(feature = "client"))]
#[test]
fn without_the_client_the_verbs_that_move_records_say_so() {
    for line in ["tidemill produce t", "tidemill consume t", "tidemill perf consume -t t"] {
        assert_eq!(exit(line), ExitCode::from(2));
    }
    assert!(without_client().message.contains("`client` feature"));
}

#[test]
fn durations_are_read_with_their_unit() {
    let read = |text| time::parse_duration(text).ok();
    assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
    assert_eq!(read("2m"), Some(Duration::from_secs(120)));
    assert_eq!((read("-1s"), read("x"), read("3d"), read("")), (None, None, None, None));
}

#[test]
fn errors_carry_kafkas_name_a_hint_and_the_right_exit_code() {
    let error = CliError::kafka(36, "cannot create topic a", Some("Topic 'a' already exists."));
    assert_eq!(
        error.to_string(),
        "error: cannot create topic a: Topic 'a' already exists. (TOPIC_ALREADY_EXISTS)"
    );
    assert_eq!(error.kind.code(), 4);
    let error = CliError::kafka(3, "no topic a", None);
    assert_eq!(
        error.to_string(),
        "error: no topic a: UNKNOWN_TOPIC_OR_PARTITION\nhint: `tidemill topic list` shows the topics there are"
    );
    assert_eq!(
        error.to_json().to_string(),
        r#"{"error":{"code":"UNKNOWN_TOPIC_OR_PARTITION","hint":"`tidemill topic list` shows the topics there are","kafka_code":3,"message":"no topic a: UNKNOWN_TOPIC_OR_PARTITION","retriable":true}}"#
    );
    for (code, exit) in [(29, 5), (69, 3), (68, 4), (7, 6), (40, 7), (17, 7), (-1, 1), (9999, 1)] {
        assert_eq!(CliError::kafka(code, "x", None).kind.code(), exit, "{code}");
    }
}
