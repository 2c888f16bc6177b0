use super::*;

fn create(name: &str, partitions: i32) -> CreateTopic {
    CreateTopic {
        name: TopicName::new(name),
        id: TopicId::from_bytes([1; 16]).expect("not zero"),
        partitions,
        broker: BrokerId::from_wire(1).expect("not negative"),
        configs: BTreeMap::new(),
    }
}

fn image_with(name: &str) -> MetadataImage {
    let mut image = MetadataImage::default();
    let records = create_topic(&image, &create(name, 2)).expect("a good topic");
    records.iter().for_each(|record| image.apply(record));
    image
}

fn code(result: Result<Vec<MetadataRecord>, MetadataRefusal>) -> Option<ErrorCode> {
    result.err().map(|refusal| refusal.code)
}

#[test]
fn topic_names_follow_kafkas_rules() {
    let long = "x".repeat(250);
    for bad in ["", ".", "..", "a b", "ä", "a/b", long.as_str()] {
        let result = create_topic(&MetadataImage::default(), &create(bad, 1));
        assert_eq!(code(result), Some(ErrorCode::InvalidTopicException), "{bad:?}");
    }
    for good in ["a", "A.b_c-1", &"x".repeat(249)] {
        assert_eq!(code(create_topic(&MetadataImage::default(), &create(good, 1))), None, "{good:?}");
    }
}

#[test]
fn a_topic_is_created_once_and_not_beside_a_colliding_name() {
    let image = image_with("my.topic");
    assert_eq!(code(create_topic(&image, &create("my.topic", 1))), Some(ErrorCode::TopicAlreadyExists));
    assert_eq!(code(create_topic(&image, &create("my_topic", 1))), Some(ErrorCode::InvalidTopicException));
    assert_eq!(code(create_topic(&image, &create("my-topic", 1))), None);
}

#[test]
fn no_topic_lies_where_the_metadata_does() {
    assert_eq!(format!("{METADATA_TOPIC}-0"), crate::metadata::store::METADATA_DIRECTORY);
    let result = create_topic(&MetadataImage::default(), &create(METADATA_TOPIC, 1));
    assert_eq!(code(result), Some(ErrorCode::InvalidTopicException));
}

#[test]
fn partitions_only_grow() {
    let image = image_with("orders");
    let topic = image.topic("orders").expect("just created");
    let broker = BrokerId::from_wire(1).expect("not negative");
    assert_eq!(create_partitions(topic, 5, broker).map(|records| records.len()), Ok(3));
    for bad in [2, 1, 0, -1, PARTITIONS_MAX + 1] {
        assert_eq!(code(create_partitions(topic, bad, broker)), Some(ErrorCode::InvalidPartitions), "{bad}");
    }
}

#[test]
fn producer_id_blocks_never_overlap() {
    let mut image = MetadataImage::default();
    let (first, record) = allocate_producer_ids(&image);
    image.apply(&record);
    let (second, _) = allocate_producer_ids(&image);
    assert_eq!(second.value() - first.value(), PRODUCER_ID_BLOCK);
}

#[test]
fn internal_topics_are_not_deleted() {
    let image = image_with("__consumer_offsets");
    let topic = image.topic("__consumer_offsets").expect("just created");
    assert_eq!(code(delete_topic(topic)), Some(ErrorCode::InvalidTopicException));
}
