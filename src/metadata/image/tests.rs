use super::*;

fn topic_records(name: &str, id: u8, partitions: i32) -> Vec<MetadataRecord> {
    let mut records = vec![MetadataRecord::Topic { name: name.to_owned(), topic_id: [id; 16] }];
    records.extend((0..partitions).map(|partition| MetadataRecord::Partition {
        topic_id: [id; 16],
        partition,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
    }));
    records
}

fn image_of(records: &[MetadataRecord]) -> MetadataImage {
    let mut image = MetadataImage::default();
    records.iter().for_each(|record| image.apply(record));
    image
}

#[test]
fn a_topic_is_found_by_name_and_by_id() {
    let image = image_of(&topic_records("orders", 9, 3));
    let id = TopicId::from_bytes([9; 16]).expect("not zero");
    assert_eq!(image.topic("orders").map(|topic| topic.partition_count()), Some(3));
    assert_eq!(image.topic_by_id(id).map(|topic| topic.name.as_str()), Some("orders"));
}

#[test]
fn a_deleted_and_recreated_topic_has_the_new_id_only() {
    let mut image = image_of(&topic_records("orders", 9, 3));
    image.apply(&MetadataRecord::RemoveTopic { topic_id: [9; 16] });
    assert!(image.topic("orders").is_none());
    topic_records("orders", 10, 1).iter().for_each(|record| image.apply(record));
    assert!(image.topic_by_id(TopicId::from_bytes([9; 16]).expect("not zero")).is_none());
    assert_eq!(image.topic("orders").map(|topic| topic.partition_count()), Some(1));
}

#[test]
fn a_name_collides_for_as_long_as_its_topic_is_there() {
    let mut image = image_of(&topic_records("my.own_topic", 9, 1));
    let colliding = |image: &MetadataImage, name| image.colliding_topic(name).map(ToString::to_string);
    for name in ["my.own.topic", "my_own_topic", "my_own.topic"] {
        assert_eq!(colliding(&image, name), Some("my.own_topic".to_owned()), "{name}");
    }
    for name in ["my-own-topic", "myowntopic", "my.own_topics"] {
        assert_eq!(colliding(&image, name), None, "{name}");
    }
    image.apply(&MetadataRecord::RemoveTopic { topic_id: [9; 16] });
    assert_eq!(colliding(&image, "my_own_topic"), None);
}

#[test]
fn a_broker_that_registers_again_starts_new_leader_epochs() {
    let mut image = image_of(&topic_records("orders", 9, 2));
    image.apply(&MetadataRecord::RegisterBroker { broker_id: 1 });
    image.apply(&MetadataRecord::RegisterBroker { broker_id: 2 });
    let epochs: Vec<i32> = image
        .topic("orders")
        .map(|topic| topic.partitions.iter().map(|partition| partition.leader_epoch.value()).collect())
        .unwrap_or_default();
    assert_eq!(epochs, [1, 1]);
}

#[test]
fn applying_the_same_records_twice_changes_nothing() {
    let mut records = topic_records("orders", 9, 2);
    records.push(MetadataRecord::TopicConfig {
        topic_id: [9; 16],
        key: "retention.ms".to_owned(),
        value: Some("5".to_owned()),
    });
    records.push(MetadataRecord::ProducerIds { next_producer_id: 1000 });
    let once = image_of(&records);
    let mut last_again = once.clone();
    records.iter().skip(1).for_each(|record| last_again.apply(record));
    assert_eq!(once, last_again);
}

#[test]
fn quotas_are_set_changed_and_taken_away() {
    let quota = |value: Option<&str>| MetadataRecord::ClientQuota {
        entity: vec![("user".to_owned(), Some("ann".to_owned()))],
        key: "producer_byte_rate".to_owned(),
        value: value.map(str::to_owned),
    };
    let mut image = image_of(&[quota(Some("1000")), quota(Some("2000"))]);
    let filter = crate::quota::Filter::new(Vec::new(), false).expect("takes all");
    let values: Vec<f64> = image
        .client_quotas()
        .describe(&filter)
        .flat_map(|(_, quotas)| quotas.values().map(|value| value.value()))
        .collect();
    assert_eq!(values, [2000.0]);
    image.apply(&quota(None));
    assert!(image.client_quotas().is_empty());
}
