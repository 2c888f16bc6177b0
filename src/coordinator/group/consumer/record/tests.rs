//! Kafka's own bytes, and bytes that are no record.

use super::*;
use crate::coordinator::group::GroupRecord;
use crate::ids::GroupId;

fn record_of(record: ConsumerRecord) -> GroupRecord {
    GroupRecord::Consumer { group: GroupId::new("g"), record }
}

fn topic() -> TopicId {
    TopicId::from_bytes([1; 16]).unwrap()
}

fn partitions(indexes: &[i32]) -> BTreeSet<TopicIdPartition> {
    let partition = |index: &i32| PartitionIndex::from_wire(*index).unwrap();
    indexes.iter().map(|index| TopicIdPartition { topic_id: topic(), partition: partition(index) }).collect()
}

fn member() -> ConsumerMember {
    ConsumerMember {
        group_instance_id: None,
        rack_id: Some("r".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        topic_names: [TopicName::new("t")].into(),
        topic_regex: None,
        rebalance_timeout_ms: 5,
        server_assignor: Some("range".to_owned()),
        classic: None,
    }
}

fn epoch(number: i32) -> GroupEpoch {
    GroupEpoch::from_wire(number).unwrap()
}

const ID: &[u8] = &[1; 16];

/// Each kind with its key and value as Kafka's generated classes write them.
fn golden() -> Vec<(ConsumerRecord, Vec<u8>, Vec<u8>)> {
    let id = MemberId::new("m");
    let classic = ClassicMember {
        session_timeout_ms: 6,
        protocols: vec![JoinProtocol { name: "p".to_owned(), metadata: Bytes::from_static(b"xy") }],
    };
    let current = CurrentAssignment {
        epoch: None,
        previous_epoch: MemberEpoch::from_wire(2),
        state: MemberState::UnrevokedPartitions,
        assigned: partitions(&[3]),
        pending_revocation: BTreeSet::new(),
    };
    let resolved =
        ResolvedRegex { topics: [TopicName::new("t")].into(), resolved_at: Timestamp::from_ms(258) };
    let subscribed = SubscribedTopic { id: topic(), partitions: 4 };
    let plain = b"\0\0\0\x02r\x02c\x03/h\x02\x02t\0\0\0\0\x05\x06range";
    vec![
        (ConsumerRecord::Epoch(Some(epoch(7))), b"\0\x03\0\x01g".to_vec(), b"\0\0\0\0\0\x07\0".to_vec()),
        (
            ConsumerRecord::Topics(Some([(TopicName::new("t"), subscribed)].into())),
            b"\0\x04\0\x01g".to_vec(),
            [b"\0\0\x02", ID, b"\x02t\0\0\0\x04\x01\0\0"].concat(),
        ),
        (
            ConsumerRecord::Member(id.clone(), Some(member())),
            b"\0\x05\0\x01g\0\x01m".to_vec(),
            [&plain[..], b"\0"].concat(),
        ),
        (
            ConsumerRecord::Member(id.clone(), Some(ConsumerMember { classic: Some(classic), ..member() })),
            b"\0\x05\0\x01g\0\x01m".to_vec(),
            [&plain[..], b"\x01\0\x0d\x01\0\0\0\x06\x02\x02p\x03xy\0\0"].concat(),
        ),
        (
            ConsumerRecord::TargetEpoch(Some(epoch(7))),
            b"\0\x06\0\x01g".to_vec(),
            b"\0\0\0\0\0\x07\0".to_vec(),
        ),
        (
            ConsumerRecord::Target(id.clone(), Some(partitions(&[0, 2]))),
            b"\0\x07\0\x01g\0\x01m".to_vec(),
            [b"\0\0\x02", ID, b"\x03\0\0\0\0\0\0\0\x02\0\0"].concat(),
        ),
        (
            ConsumerRecord::Current(id, Some(current)),
            b"\0\x08\0\x01g\0\x01m".to_vec(),
            [b"\0\0\xff\xff\xff\xfe\0\0\0\x02\x01\x02", ID, b"\x02\0\0\0\x03\0\x01\0"].concat(),
        ),
        (
            ConsumerRecord::Regex("t.*".to_owned(), Some(resolved)),
            b"\0\x10\0\x01g\0\x03t.*".to_vec(),
            b"\0\0\x02\x02t\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\0".to_vec(),
        ),
    ]
}

#[test]
fn records_are_written_and_read_as_kafka_does() {
    for (record, key, value) in golden() {
        let record = record_of(record);
        let encoded = record.encode();
        assert_eq!((&encoded.0[..], encoded.1.as_deref()), (&key[..], Some(&value[..])), "{record:?}");
        assert_eq!(GroupRecord::decode(&key, Some(&value)), Ok(Some(record)));
    }
}

#[test]
fn a_tombstone_has_the_key_of_what_it_ends() {
    let members = [MemberId::new("m")];
    let group = super::super::ConsumerGroup {
        epoch: Some(epoch(1)),
        members: members.iter().map(|id| (id.clone(), member())).collect(),
        targets: members.iter().map(|id| (id.clone(), partitions(&[0]))).collect(),
        currents: members.iter().map(|id| (id.clone(), CurrentAssignment::of_newcomer())).collect(),
        ..Default::default()
    };
    let mut left = group.clone();
    for tombstone in group.tombstones() {
        let (key, value) = record_of(tombstone).encode();
        assert_eq!(value, None);
        let Ok(Some(GroupRecord::Consumer { record, .. })) = GroupRecord::decode(&key, None) else {
            panic!()
        };
        left.apply(&record);
    }
    assert!(left.is_nothing());
}

#[test]
fn what_newer_versions_tag_on_is_read_past() {
    let with_hash = b"\0\0\0\0\0\x07\x01\0\x08\0\0\0\0\0\0\0\x09";
    assert_eq!(
        GroupRecord::decode(b"\0\x03\0\x01g", Some(with_hash)),
        Ok(Some(record_of(ConsumerRecord::Epoch(Some(epoch(7))))))
    );
    // KIP-1251's epochs beside the partitions, and a classic member that is null.
    let with_epochs =
        [b"\0\0\0\0\0\x01\0\0\0\0\0\x02", ID, b"\x02\0\0\0\x03\x01\0\x05\x02\0\0\0\x01\x01\0"].concat();
    let Ok(Some(GroupRecord::Consumer { record: ConsumerRecord::Current(_, Some(current)), .. })) =
        GroupRecord::decode(b"\0\x08\0\x01g\0\x01m", Some(&with_epochs))
    else {
        panic!()
    };
    assert_eq!(current.assigned, partitions(&[3]));
    let null_classic = b"\0\0\0\x02r\x02c\x03/h\x02\x02t\0\0\0\0\x05\x06range\x01\0\x01\0";
    assert_eq!(
        GroupRecord::decode(b"\0\x05\0\x01g\0\x01m", Some(null_classic)),
        Ok(Some(record_of(ConsumerRecord::Member(MemberId::new("m"), Some(member())))))
    );
}

#[test]
fn every_truncation_is_an_error() {
    for (record, key, value) in golden() {
        for length in 0..value.len() {
            assert!(GroupRecord::decode(&key, Some(&value[..length])).is_err(), "{record:?} cut at {length}");
        }
        for length in 0..key.len() {
            assert!(GroupRecord::decode(&key[..length], Some(&value)).is_err());
        }
        let newer = [b"\0\x01", &value[2..]].concat();
        assert!(GroupRecord::decode(&key, Some(&newer)).is_err(), "a version that is not known");
    }
}
