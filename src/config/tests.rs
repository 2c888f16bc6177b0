use std::collections::BTreeSet;

use super::keys::environment_variable;
use super::*;

fn flag(key: &str, value: &str) -> FlagValue {
    FlagValue { flag: "--config-set".to_owned(), key: key.to_owned(), value: value.to_owned() }
}

fn with_flags(flags: &[(&str, &str)]) -> Result<ServerConfig, ConfigErrors> {
    let flags = flags.iter().map(|(key, value)| flag(key, value)).collect();
    ServerConfig::load(&Sources { flags, ..Sources::default() })
}

fn with_file(text: &str) -> Result<ServerConfig, ConfigErrors> {
    let file = Some(("/etc/tidemill.toml".to_owned(), text.to_owned()));
    ServerConfig::load(&Sources { file, ..Sources::default() })
}

fn with_environment(variables: &[(&str, &str)]) -> Result<ServerConfig, ConfigErrors> {
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    ServerConfig::load(&Sources { environment, ..Sources::default() })
}

fn message(result: Result<ServerConfig, ConfigErrors>) -> String {
    result.expect_err("a mistake is refused").to_string()
}

fn address(text: &str) -> HostPort {
    HostPort::parse(text).unwrap()
}

#[test]
fn the_defaults_load_and_are_kafkas_own_where_it_has_them() {
    let config = ServerConfig::default();
    assert_eq!(config.node_id.value(), 1);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].bind, address(":9092"));
    assert_eq!(config.listeners[0].advertised, Advertised::SameAsConnection);
    assert_eq!(config.admin_listen, Some(address("127.0.0.1:9644")));
    assert_eq!(config.flush, FlushPolicy::Ack);
    assert_eq!(config.groups.offsets_topic_partitions, 50);
    assert_eq!(config.groups.offsets_retention, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.groups.session_timeout_min, Duration::from_secs(6));
    assert_eq!(config.transactions.state_log_partitions, 50);
    assert_eq!(config.transactions.timeout_max, Duration::from_secs(900));
    assert_eq!(config.net.request_bytes_max, 104_857_600);
}

#[test]
fn names_and_environment_variables_are_unique_and_every_key_explains_itself() {
    let mut names = BTreeSet::new();
    let mut variables = BTreeSet::new();
    for key in KEYS {
        for name in key.aliases.iter().copied().chain([key.name]) {
            assert!(names.insert(name), "{name} is in the table twice");
            let variable = environment_variable(name);
            assert!(variables.insert(variable.clone()), "{variable} would set two keys");
        }
        assert!(key.doc.ends_with('.'), "{} is not explained in a sentence", key.name);
    }
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let mut sources = Sources::default();
    let partitions = |sources: &Sources| {
        let config = ServerConfig::load(sources).unwrap();
        (config.num_partitions, config.values().get("num.partitions").unwrap().origin.to_string())
    };
    assert_eq!(partitions(&sources), (1, "default".to_owned()));
    sources.file = Some(("t.toml".to_owned(), "\"num.partitions\" = 2".to_owned()));
    assert_eq!(partitions(&sources), (2, "file t.toml".to_owned()));
    sources.environment = vec![("TIDEMILL_NUM_PARTITIONS".to_owned(), "3".to_owned())];
    assert_eq!(partitions(&sources), (3, "environment variable TIDEMILL_NUM_PARTITIONS".to_owned()));
    sources.flags = vec![flag("num.partitions", "4")];
    assert_eq!(partitions(&sources), (4, "flag --config-set".to_owned()));
    sources.flags.push(flag("num.partitions", "5"));
    assert_eq!(partitions(&sources).0, 5);
}

#[test]
fn the_file_takes_quoted_keys_nested_tables_and_lists() {
    let text = r#"
        "num.partitions" = 6
        listeners = ["127.0.0.1:9092", "PLAINTEXT://127.0.0.1:9192"]
        [log.segment]
        bytes = 1048576
        [tidemill]
        flush = "os"
        data.dir = "/data"
    "#;
    let config = with_file(text).unwrap();
    assert_eq!(config.num_partitions, 6);
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.flush, FlushPolicy::Os);
    assert_eq!(config.log_dirs, [PathBuf::from("/data")]);
    assert_eq!(config.values().get("log.segment.bytes").unwrap().value, Some(Value::Int(1_048_576)));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_right_one() {
    assert_eq!(
        message(with_flags(&[("log.retension.ms", "1")])),
        "unknown configuration key \"log.retension.ms\" (flag --config-set); did you mean \"log.retention.ms\"?"
    );
    assert_eq!(
        message(with_environment(&[("TIDEMILL_NUM_PARTITION", "1")])),
        "unknown configuration key \"num.partition\" (environment variable TIDEMILL_NUM_PARTITION); did you \
         mean \"num.partitions\"?"
    );
    assert_eq!(message(with_file("zzz = 1")), "unknown configuration key \"zzz\" (file /etc/tidemill.toml)");
}

#[test]
fn a_value_out_of_range_or_of_the_wrong_type_names_key_place_and_range() {
    assert_eq!(
        message(with_flags(&[("num.partitions", "0")])),
        "bad value for \"num.partitions\" (flag --config-set): 0 is less than the least value, 1 (expected: \
         whole number from 1)"
    );
    assert!(message(with_flags(&[("tidemill.flush", "never")])).contains("\"never\" is not one of ack, os"));
    assert!(message(with_file("\"auto.create.topics.enable\" = 1")).contains("neither true nor false"));
    assert!(message(with_file("\"num.partitions\" = 1979-05-27")).contains("text, a number"));
    assert!(message(with_file("= 3")).starts_with("cannot read the configuration file /etc/tidemill.toml"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let errors = with_flags(&[("num.partitions", "x"), ("nod.id", "1")]).unwrap_err();
    assert_eq!(errors.0.len(), 2);
    assert_eq!(errors.to_string().lines().count(), 2);
}

#[test]
fn two_names_of_one_key_in_one_place_are_refused() {
    let text = message(with_flags(&[("log.dirs", "/a"), ("tidemill.data.dir", "/b")]));
    assert!(text.contains("\"log.dirs\" sets the same thing"), "{text}");
    let over = Sources {
        file: Some(("t".to_owned(), "\"log.dirs\" = \"/a\"".to_owned())),
        environment: vec![("TIDEMILL_DATA_DIR".to_owned(), "/b".to_owned())],
        ..Sources::default()
    };
    assert_eq!(ServerConfig::load(&over).unwrap().data_dir(), Path::new("/b"));
}

#[test]
fn variables_of_the_client_verbs_and_of_kubernetes_are_not_taken_for_keys() {
    with_environment(&[
        ("TIDEMILL_ADMIN", "http://x"),
        ("TIDEMILL_BOOTSTRAP_SERVERS", "x:1"),
        ("TIDEMILL_SERVICE_HOST", "10.0.0.1"),
        ("TIDEMILL_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ])
    .unwrap();
}

#[test]
fn a_named_listener_advertises_itself_and_a_wildcard_the_clients_way_in() {
    let config = with_flags(&[("listeners", "broker.example:9092,[::]:9093,127.0.0.1:0")]).unwrap();
    let advertised: Vec<_> = config.listeners.iter().map(|listener| listener.advertised.clone()).collect();
    assert_eq!(
        advertised,
        [
            Advertised::Address(address("broker.example:9092")),
            Advertised::SameAsConnection,
            Advertised::SameAsConnection
        ]
    );
}

#[test]
fn advertised_listeners_apply_to_all_or_one_each() {
    let two = ("listeners", ":9092,:9093");
    let config = with_flags(&[two, ("advertised.listeners", "PLAINTEXT://example.org:19092")]).unwrap();
    assert!(
        config.listeners.iter().all(|l| l.advertised == Advertised::Address(address("example.org:19092")))
    );
    let config = with_flags(&[two, ("advertised.listeners", "a:1,b:2")]).unwrap();
    assert_eq!(config.listeners[1].advertised, Advertised::Address(address("b:2")));
    assert!(
        message(with_flags(&[two, ("advertised.listeners", "a:1,b:2,c:3")])).contains("3 addresses for 2")
    );
    assert!(message(with_flags(&[("advertised.listeners", "0.0.0.0:9092")])).contains("all interfaces"));
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    for (bad, why) in [
        ("localhost", "has no port"),
        ("localhost:x", "is not a port"),
        ("localhost:70000", "is not a port"),
        ("::1:9092", "ambiguous"),
        ("SSL://:9093", "only PLAINTEXT"),
        ("a:1,a:1", "given twice"),
    ] {
        let text = message(with_flags(&[("listeners", bad)]));
        assert!(text.contains(why), "{bad}: {text}");
    }
    assert_eq!(address("[::1]:9092").to_string(), "[::1]:9092");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let timeouts = [("group.min.session.timeout.ms", "2000"), ("group.max.session.timeout.ms", "1000")];
    assert!(message(with_flags(&timeouts)).contains("2000 is more than group.max.session.timeout.ms"));
    assert!(
        message(with_flags(&[("tidemill.admin.listen", "127.0.0.1:9092")])).contains("taken by a listener")
    );
    assert!(message(with_flags(&[("log.dirs", "/a,/b,/a")])).contains("/a is named twice"));
    let several = with_flags(&[("log.dirs", "/a, /b")]).unwrap().log_dirs;
    assert_eq!(several, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(with_flags(&[("tidemill.admin.listen", "off")]).unwrap().admin_listen, None);
}

#[test]
fn a_broker_resource_is_described_with_source_and_synonyms() {
    let config = with_flags(&[("num.partitions", "3")]).unwrap();
    let none = std::collections::BTreeMap::new();
    let entries = dynamic::EffectiveConfig::new(&config, dynamic::DynamicSettings { all: &none, own: &none })
        .describe();
    assert_eq!(entries.len(), KEYS.len());
    let entry = entries.iter().find(|entry| entry.name == "num.partitions").unwrap();
    assert_eq!((entry.value.as_deref(), entry.source), (Some("3"), ConfigSource::StaticBroker));
    assert_eq!(entry.synonyms.len(), 2);
    assert_eq!(entry.synonyms[1].source, ConfigSource::Default);
    assert_eq!(entry.wire_type, WireType::Int);
}

#[test]
fn a_suggestion_is_made_only_if_it_is_near() {
    assert_eq!(nearest("retention.msec", ["retention.ms", "segment.ms"]), Some("retention.ms"));
    assert_eq!(nearest("colour", ["retention.ms", "segment.ms"]), None);
}
