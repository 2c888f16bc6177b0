use super::*;
use crate::disk::SimDisk;
use crate::error_code::ErrorCode;
use crate::metadata::decide::PARTITIONS_MAX;

const NOW: Timestamp = Timestamp::from_ms(1_000);

fn topic(name: &str) -> Vec<MetadataRecord> {
    vec![MetadataRecord::Topic { name: name.to_owned(), topic_id: [3; 16] }]
}

#[test]
fn a_change_is_visible_only_once_published_and_survives_a_restart() {
    let disk = Disk::simulated(SimDisk::new());
    let store = MetadataStore::open(&disk, NOW).expect("opens");
    let change = store.change(NOW, |_| Ok(topic("orders"))).expect("appends");
    assert!(store.image().topic("orders").is_none());
    disk.wait_durable_blocking(change.position).expect("durable");
    store.publish(&change);
    assert!(store.image().topic("orders").is_some());
    store.close().expect("closes");
    drop(store);
    let store = MetadataStore::open(&disk, NOW).expect("opens again");
    assert!(store.image().topic("orders").is_some());
}

#[test]
fn a_decision_sees_changes_that_are_not_published_yet() {
    let disk = Disk::simulated(SimDisk::new());
    let store = MetadataStore::open(&disk, NOW).expect("opens");
    let _pending = store.change(NOW, |_| Ok(topic("orders"))).expect("appends");
    let refused = store.change(NOW, |image| match image.topic("orders") {
        Some(_) => {
            Err(MetadataRefusal { code: ErrorCode::TopicAlreadyExists, message: "there is one".to_owned() })
        }
        None => Ok(topic("orders")),
    });
    assert!(matches!(refused, Err(MetadataError::Refused(_))));
}

#[test]
fn as_many_partitions_as_one_request_may_create_are_one_change() {
    let disk = Disk::simulated(SimDisk::new());
    let store = MetadataStore::open(&disk, NOW).expect("opens");
    let partition = |partition| MetadataRecord::Partition {
        topic_id: [3; 16],
        partition,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
    };
    let records = topic("wide").into_iter().chain((0..PARTITIONS_MAX).map(partition)).collect();
    let _pending = store.change(NOW, |_| Ok(records)).expect("appends");
    store.close().expect("closes");
    drop(store);
    let store = MetadataStore::open(&disk, NOW).expect("opens again");
    assert_eq!(store.image().topic("wide").map(|topic| topic.partition_count()), Some(PARTITIONS_MAX));
}
