use super::*;
use crate::config::entry::ConfigSource;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn effective(all: &[(&str, &str)], own: &[(&str, &str)]) -> EffectiveConfig {
    EffectiveConfig::new(&ServerConfig::default(), DynamicSettings { all: &map(all), own: &map(own) })
}

/// Value, source and the sources of all synonyms of a key.
fn told(entries: Vec<ConfigEntry>, name: &str) -> (Option<String>, ConfigSource, Vec<ConfigSource>) {
    let entry = entries.into_iter().find(|entry| entry.name == name).unwrap();
    (entry.value, entry.source, entry.synonyms.iter().map(|synonym| synonym.source).collect())
}

#[test]
fn a_brokers_own_setting_wins_over_that_of_all_and_this_over_the_default() {
    use ConfigSource::{Default, DynamicBroker, DynamicDefaultBroker};
    let key = "message.max.bytes";
    let none = effective(&[], &[]);
    assert_eq!(told(none.describe(), key), (Some("1048588".to_owned()), Default, vec![Default]));
    let all = effective(&[(key, "5")], &[]);
    let expected = (Some("5".to_owned()), DynamicDefaultBroker, vec![DynamicDefaultBroker, Default]);
    assert_eq!(told(all.describe(), key), expected);
    let both = effective(&[(key, "5")], &[(key, "6")]);
    let sources = vec![DynamicBroker, DynamicDefaultBroker, Default];
    assert_eq!(told(both.describe(), key), (Some("6".to_owned()), DynamicBroker, sources.clone()));
    let topic = both.topic_defaults().describe(&BTreeMap::new());
    assert_eq!(told(topic, "max.message.bytes"), (Some("6".to_owned()), DynamicBroker, sources));
    let of_all = both.describe_defaults(&map(&[(key, "5")]));
    assert_eq!(of_all.len(), 1);
    assert_eq!(told(of_all, key).1, DynamicDefaultBroker);
}

#[test]
fn topics_follow_the_brokers_defaults() {
    let changed = effective(&[("log.retention.ms", "7"), ("compression.type", "zstd")], &[]);
    let topic = TopicConfig::effective(&BTreeMap::new(), changed.topic_defaults()).unwrap();
    assert_eq!(topic.retention, Some(std::time::Duration::from_millis(7)));
    let own = TopicConfig::effective(&map(&[("retention.ms", "8")]), changed.topic_defaults()).unwrap();
    assert_eq!(own.retention, Some(std::time::Duration::from_millis(8)));
}

#[test]
fn changes_are_checked_and_lists_grow_from_what_is_in_force() {
    let config = effective(&[], &[]);
    let mut settings = BTreeMap::new();
    let set = |text: &str| ConfigOperation::Set(text.to_owned());
    config.alter(&mut settings, "log.retention.ms", set("9")).unwrap();
    config.alter(&mut settings, "log.cleanup.policy", ConfigOperation::Append("compact".to_owned())).unwrap();
    assert_eq!(settings["log.cleanup.policy"], "delete,compact");
    config
        .alter(&mut settings, "log.cleanup.policy", ConfigOperation::Subtract("delete".to_owned()))
        .unwrap();
    assert_eq!(settings, map(&[("log.retention.ms", "9"), ("log.cleanup.policy", "compact")]));
    config.alter(&mut settings, "log.retention.ms", ConfigOperation::Delete).unwrap();
    assert_eq!(settings.len(), 1);
    let mut refused = |name: &str, operation| config.alter(&mut settings, name, operation).unwrap_err();
    assert!(matches!(refused("node.id", set("2")), DynamicConfigError::Static(_)));
    assert!(matches!(refused("log.retention.msec", set("2")), DynamicConfigError::Invalid(_)));
    assert!(matches!(refused("log.retention.ms", set("soon")), DynamicConfigError::Invalid(_)));
    let append = ConfigOperation::Append("1".to_owned());
    assert!(matches!(refused("log.retention.ms", append), DynamicConfigError::Invalid(_)));
}

#[test]
fn defaults_that_no_topic_could_live_with_are_refused() {
    let pairs = [("log.cleaner.min.compaction.lag.ms", "9"), ("log.cleaner.max.compaction.lag.ms", "8")];
    assert!(effective(&pairs, &[]).check().is_err());
    assert!(effective(&pairs[..1], &[]).check().is_ok());
}

#[test]
fn what_cannot_be_read_counts_as_not_set() {
    let odd = effective(&[("node.id", "7"), ("log.retention.ms", "?"), ("no.such.key", "1")], &[]);
    assert_eq!(odd, effective(&[], &[]));
}

#[test]
fn throttles_that_are_never_set_can_be_taken_away_as_kafkas_tools_do() {
    let config = effective(&[], &[]);
    let mut settings = map(&[("log.retention.ms", "9")]);
    let key = "leader.replication.throttled.rate";
    assert_eq!(config.alter(&mut settings, key, ConfigOperation::Delete), Ok(()));
    assert!(config.alter(&mut settings, key, ConfigOperation::Set("1".to_owned())).is_err());
    assert_eq!(settings.len(), 1);
}
