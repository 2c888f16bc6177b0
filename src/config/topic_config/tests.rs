use super::super::{FlagValue, ServerConfig, Sources};
use super::*;

fn defaults(broker: &[(&str, &str)]) -> TopicDefaults {
    let flag = |(key, value): &(&str, &str)| FlagValue {
        flag: "--config-set".to_owned(),
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let flags = broker.iter().map(flag).collect();
    ServerConfig::load(&Sources { flags, ..Sources::default() }).unwrap().topic_defaults().clone()
}

fn settings(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn effective(own: &[(&str, &str)]) -> Result<TopicConfig, InvalidTopicConfig> {
    TopicConfig::effective(&settings(own), &TopicDefaults::default())
}

#[test]
fn a_topic_without_settings_has_kafkas_defaults() {
    let config = effective(&[]).unwrap();
    assert_eq!(config.retention, Some(Duration::from_secs(7 * 24 * 3600)));
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.segment_bytes_max, 1 << 30);
    assert_eq!(config.segment_age_max, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.message_bytes_max, 1_048_588);
    assert_eq!(config.cleanup_policy, CleanupPolicy::Delete);
    assert_eq!(config.compression_type, CompressionType::Producer);
    assert_eq!(config.message_timestamp_type, MessageTimestampType::CreateTime);
    assert_eq!(config.timestamp_before_max_ms, i64::MAX);
    assert_eq!(config.timestamp_after_max_ms, 3_600_000);
}

#[test]
fn a_topics_own_setting_wins_over_the_brokers() {
    let broker = defaults(&[("log.retention.ms", "1000"), ("log.cleanup.policy", "compact")]);
    let config = TopicConfig::effective(&settings(&[("retention.ms", "-1")]), &broker).unwrap();
    assert_eq!(config.retention, None);
    assert_eq!(config.cleanup_policy, CleanupPolicy::Compact);
}

#[test]
fn retention_comes_from_ms_over_minutes_over_hours() {
    let retention = |broker: &[(&str, &str)]| {
        TopicConfig::effective(&BTreeMap::new(), &defaults(broker)).unwrap().retention.map(|d| d.as_secs())
    };
    assert_eq!(retention(&[("log.retention.hours", "2")]), Some(7200));
    assert_eq!(retention(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), Some(180));
    assert_eq!(retention(&[("log.retention.minutes", "3"), ("log.retention.ms", "4000")]), Some(4));
    assert_eq!(retention(&[("log.retention.hours", "-1")]), None);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_right_one() {
    let error = effective(&[("retention.m", "1")]).unwrap_err();
    assert_eq!(error.0, "unknown topic config name \"retention.m\"; did you mean \"retention.ms\"?");
}

#[test]
fn values_out_of_range_are_refused() {
    for (name, value) in [
        ("retention.ms", "-2"),
        ("segment.bytes", "1"),
        ("cleanup.policy", "keep"),
        ("cleanup.policy", ""),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("max.message.bytes", "many"),
        ("compression.type", "lzma"),
        ("preallocate", "yes"),
    ] {
        let error = effective(&[(name, value)]).unwrap_err();
        assert!(error.0.starts_with(&format!("invalid value for configuration {name}: ")), "{error}");
    }
    let lags = [("min.compaction.lag.ms", "2"), ("max.compaction.lag.ms", "1")];
    assert!(effective(&lags).unwrap_err().0.contains("min.compaction.lag.ms must not be more"));
}

#[test]
fn describing_names_the_source_and_every_synonym() {
    let broker = defaults(&[("log.retention.minutes", "10")]);
    let entries = broker.describe(&settings(&[("segment.bytes", "2048")]));
    assert_eq!(entries.len(), TOPIC_KEYS.len());
    let entry = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap().clone();
    assert_eq!(
        (entry("segment.bytes").value.as_deref(), entry("segment.bytes").source),
        (Some("2048"), ConfigSource::Topic)
    );
    let names: Vec<_> = entry("segment.bytes").synonyms.iter().map(|synonym| synonym.name.clone()).collect();
    assert_eq!(names, ["segment.bytes", "log.segment.bytes"]);
    let retention = entry("retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source), (Some("600000"), ConfigSource::StaticBroker));
    assert_eq!(retention.synonyms.len(), 2);
    assert_eq!(entry("flush.ms").value.as_deref(), Some("9223372036854775807"));
    assert_eq!(entry("index.interval.bytes").source, ConfigSource::Default);
}

#[test]
fn incremental_changes_set_delete_append_and_subtract() {
    let broker = TopicDefaults::default();
    let mut own = BTreeMap::new();
    let mut change = |name: &str, operation| alter(&mut own, &broker, name, operation).map(|()| own.clone());
    let after = change("retention.ms", ConfigOperation::Set(" 5 ".to_owned())).unwrap();
    assert_eq!(after, settings(&[("retention.ms", "5")]));
    let after = change("cleanup.policy", ConfigOperation::Append("compact".to_owned())).unwrap();
    assert_eq!(after["cleanup.policy"], "delete,compact");
    let after = change("cleanup.policy", ConfigOperation::Subtract("delete".to_owned())).unwrap();
    assert_eq!(after["cleanup.policy"], "compact");
    assert!(change("cleanup.policy", ConfigOperation::Subtract("compact".to_owned())).is_err());
    assert!(
        change("retention.ms", ConfigOperation::Append("5".to_owned())).unwrap_err().0.contains("not a list")
    );
    assert!(change("retention.secs", ConfigOperation::Delete).is_err());
    assert!(change("leader.replication.throttled.replicas", ConfigOperation::Delete).is_ok());
    let after = change("retention.ms", ConfigOperation::Delete).unwrap();
    assert_eq!(after, settings(&[("cleanup.policy", "compact")]));
}

#[test]
fn a_setting_is_kept_in_its_plain_form() {
    assert_eq!(check_setting("cleanup.policy", " Compact , delete ").unwrap(), "compact,delete");
    assert_eq!(check_setting("preallocate", "TRUE").unwrap(), "true");
}
