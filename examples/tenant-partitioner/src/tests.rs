use super::*;
use tidemill_guest::partition_for_key;
use tidemill_guest::testing::{self, TestRecord};

fn configured(config: &[(&str, &str)]) -> Result<TenantPartitioner, Error> {
    testing::set_config(config);
    let partitioner = TenantPartitioner::configure();
    testing::set_config(&[]);
    partitioner
}

fn place(
    config: &[(&str, &str)],
    partitions: u32,
    records: &[TestRecord],
) -> Result<Vec<u32>, (usize, Error)> {
    testing::partition(&mut configured(config).unwrap(), "orders", partitions, records)
}

const TENANTS: (&str, &str) = ("tenants", "acme=0-3; globex=6");

/// Where a record of this key and value goes, in a topic of eight partitions: 4, 5 and 7 are left.
fn placed(key: &str) -> u32 {
    place(&[TENANTS], 8, &[TestRecord::new(key, "v")]).unwrap()[0]
}

fn keys(prefix: &str) -> Vec<String> {
    (0..100).map(|number| format!("{prefix}{number}")).collect()
}

/// Every partition of these, and no other, has some of the records.
#[track_caller]
fn assert_spread(records: &[TestRecord], over: &[u32]) {
    let config = [TENANTS, ("header", "tenant")];
    let mut chosen = place(&config, 8, records).unwrap();
    assert_eq!(place(&config, 8, records).unwrap(), chosen, "the same again");
    chosen.sort_unstable();
    chosen.dedup();
    assert_eq!(chosen, over);
}

#[test]
fn a_tenant_has_its_partitions_and_all_others_share_what_is_left() {
    let of = |prefix: &str| keys(prefix).iter().map(|key| TestRecord::new(key, "v")).collect::<Vec<_>>();
    assert_spread(&of("acme:"), &[0, 1, 2, 3]);
    assert_spread(&of("globex:"), &[6]);
    assert_spread(&of("initech:"), &[4, 5, 7]);
    assert_spread(&of("other"), &[4, 5, 7]);
}

#[test]
fn within_a_range_the_whole_key_decides_as_kafka_would() {
    for key in keys("acme:") {
        assert_eq!(placed(&key), partition_for_key(key.as_bytes(), 4));
    }
    for key in keys("other:") {
        assert_eq!(placed(&key), [4, 5, 7][partition_for_key(key.as_bytes(), 3) as usize]);
    }
}

#[test]
fn a_key_names_its_tenant_up_to_the_first_separator_or_as_a_whole() {
    for key in ["globex:1", "globex:a:b", "globex:", "globex"] {
        assert_eq!(placed(key), 6, "{key}");
    }
    for key in ["globex1", "Globex:1", " globex:1", ":globex", "x:globex", ""] {
        assert!([4, 5, 7].contains(&placed(key)), "{key}");
    }
    let dashes = [TENANTS, ("separator", "--")];
    let records = ["globex--1", "globex-1", "globex:1", "globex-"].map(|key| TestRecord::new(key, "v"));
    let chosen = place(&dashes, 8, &records).unwrap();
    assert!(chosen[0] == 6 && chosen[1..].iter().all(|partition| *partition != 6), "{chosen:?}");
}

#[test]
fn a_header_names_the_tenant_before_the_key_does() {
    let headed = |key: &str, values: &[Option<&str>]| {
        let header =
            |value: &Option<&str>| ("tenant".to_owned(), value.map(|value| value.as_bytes().to_vec()));
        TestRecord { headers: values.iter().map(header).collect(), ..TestRecord::new(key, "v") }
    };
    let config = [TENANTS, ("header", "tenant")];
    let records = [
        headed("acme:1", &[Some("globex")]),
        headed("globex:1", &[]),
        // A header without value names nobody: the key does.
        headed("globex:1", &[None]),
        // As Kafka's `lastHeader`.
        headed("acme:1", &[Some("acme"), Some("globex")]),
        headed("globex:1", &[Some("acme"), None]),
    ];
    assert_eq!(place(&config, 8, &records).unwrap(), [6; 5]);
    let unlisted = [headed("globex:1", &[Some("initech")]), headed("globex:1", &[Some("")])];
    assert!(place(&config, 8, &unlisted).unwrap().iter().all(|partition| [4, 5, 7].contains(partition)));
    // Not configured, it is a header like any other.
    assert!(place(&[TENANTS], 8, &records[..1]).unwrap()[0] < 4);
}

#[test]
fn a_record_without_a_key_is_spread_by_its_value() {
    let records: Vec<_> = keys("value ").iter().map(|value| TestRecord::new((), value)).collect();
    assert_spread(&records, &[4, 5, 7]);
    let header = ("tenant".to_owned(), Some(b"acme".to_vec()));
    let of_acme = |record: TestRecord| TestRecord { headers: vec![header.clone()], ..record };
    assert_spread(&records.into_iter().map(of_acme).collect::<Vec<_>>(), &[0, 1, 2, 3]);
    assert!([4, 5, 7].contains(&place(&[TENANTS], 8, &[TestRecord::new((), ())]).unwrap()[0]));
}

#[test]
fn a_tombstone_goes_where_its_key_went() {
    for key in keys("acme:").iter().chain(&keys("other:")) {
        let tombstone = place(&[TENANTS], 8, &[TestRecord::new(key, ())]).unwrap();
        assert_eq!(tombstone, [placed(key)], "{key}");
    }
}

#[test]
fn a_range_beyond_the_topic_is_a_fault_of_its_tenants_records_only() {
    let records = ["acme:1", "globex:1", "acme:2"].map(|key| TestRecord::new(key, "v"));
    let (index, error) = place(&[TENANTS], 6, &records).unwrap_err();
    assert_eq!(index, 1);
    assert_eq!(error.message, "tenant `globex` (6) goes beyond the 6 partitions of topic `orders`");
    assert!(place(&[TENANTS], 6, &records[..1]).is_ok());
    let (_, error) = place(&[TENANTS], 3, &records).unwrap_err();
    assert_eq!(error.message, "tenant `acme` (0-3) goes beyond the 3 partitions of topic `orders`");
}

#[test]
fn the_shared_partitions_are_those_of_the_topic_that_nobody_owns() {
    let shared = |tenants, partitions| {
        let records: Vec<_> = keys("other:").iter().map(|key| TestRecord::new(key, "v")).collect();
        let mut chosen = place(&[("tenants", tenants)], partitions, &records)?;
        chosen.sort_unstable();
        chosen.dedup();
        Ok::<_, (usize, Error)>(chosen)
    };
    assert_eq!(shared("a=0-3;b=6", 6), Ok(vec![4, 5]));
    assert_eq!(shared("a=2-9", 4), Ok(vec![0, 1]));
    assert_eq!(shared("b=6;a=0-1;c=3", 8), Ok(vec![2, 4, 5, 7]));
    assert_eq!(shared("a=0;b=1;c=2", 4), Ok(vec![3]));
    assert_eq!(shared("a=1-2147483647", 4), Ok(vec![0]));
    let (_, error) = shared("a=0;b=1-3", 4).unwrap_err();
    let sentence = "is not listed, and others own all 4 partitions of topic `orders`";
    assert_eq!(error.message, format!("tenant `other` {sentence}"));
    let (_, error) = place(&[("tenants", "a=0-3")], 4, &[TestRecord::new((), "v")]).unwrap_err();
    assert_eq!(error.message, format!("tenant without a name {sentence}"));
}

#[test]
fn a_topic_of_one_partition_is_for_one_tenant_or_for_all_who_are_not_listed() {
    let record = |key| [TestRecord::new(key, "v")];
    let acme = [("tenants", "acme=0")];
    assert_eq!(place(&acme, 1, &record("acme:1")), Ok(vec![0]));
    assert!(place(&acme, 1, &record("globex:1")).is_err());
    let beyond = [("tenants", "acme=1")];
    assert!(place(&beyond, 1, &record("acme:1")).is_err());
    assert_eq!(place(&beyond, 1, &record("globex:1")), Ok(vec![0]));
}

#[test]
fn names_may_have_equals_signs_and_spaces_around_them() {
    let config = [("tenants", " a=b = 2 - 3 ;; ")];
    assert!(place(&config, 4, &[TestRecord::new("a=b:1", "v")]).unwrap()[0] >= 2);
}

#[test]
fn a_config_that_cannot_be_kept_is_refused_with_what_is_wrong() {
    let refused = |config: &[(&str, &str)]| configured(config).err().unwrap().message;
    let wrong = |tenants| refused(&[("tenants", tenants)]);
    assert_eq!(refused(&[]), "the config key `tenants` is missing");
    assert_eq!(wrong(" ; "), "the config key `tenants`: it names no tenant");
    let overlap = "the config key `tenants`: `acme` (0-3) and `globex` (3) overlap";
    assert_eq!(wrong("acme=0-3;globex=3"), overlap);
    assert_eq!(wrong("globex=3;acme=0-3"), overlap);
    assert!(wrong("a=0-9;b=4-5").ends_with("`a` (0-9) and `b` (4-5) overlap"));
    assert!(wrong("a=2;b=2").ends_with("`a` (2) and `b` (2) overlap"));
    let twice = "the config key `tenants`: `a` (0) and `a` (4-5) are the same tenant: give it one range";
    assert_eq!(wrong("a=0;b=1;a=4-5"), twice);
    assert_eq!(wrong("a=3-1"), "the config key `tenants`: `a=3-1` ends before it begins");
    for entry in ["a", "=1", "a=", "a=x", "a=1-", "a=-1", "a=1-2-3", "a=4294967296", "a=2147483648"] {
        let sentence = "is not a tenant with its partitions, as `acme=0-3` or `globex=4`";
        assert_eq!(wrong(entry), format!("the config key `tenants`: `{entry}` {sentence}"));
    }
    let empty = "the config key `separator` is empty: give at least one character";
    assert_eq!(refused(&[TENANTS, ("separator", "")]), empty);
}
