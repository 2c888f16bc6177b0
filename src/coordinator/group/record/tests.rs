//! Kafka's own bytes, older versions, and bytes that are no record.

use proptest::prelude::*;

use super::*;

fn group_record() -> GroupRecord {
    GroupRecord::Group {
        group: GroupId::new("g"),
        value: Some(GroupMetadata {
            protocol_type: "consumer".to_owned(),
            generation: GenerationId::from_wire(3).unwrap(),
            protocol: Some("range".to_owned()),
            leader: Some(MemberId::new("m")),
            current_state_timestamp: Some(Timestamp::from_ms(5)),
            members: vec![MemberMetadata {
                member_id: MemberId::new("m"),
                group_instance_id: Some(GroupInstanceId::new("i")),
                client_id: "c".to_owned(),
                client_host: "/h".to_owned(),
                rebalance_timeout_ms: 7,
                session_timeout_ms: 6,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"as"),
            }],
        }),
    }
}

fn offset_record() -> GroupRecord {
    GroupRecord::Offset {
        group: GroupId::new("g"),
        partition: TopicPartition::new(TopicName::new("t"), PartitionIndex::from_wire(2).unwrap()),
        value: Some(OffsetValue {
            offset: Offset::from_wire(9).unwrap(),
            leader_epoch: LeaderEpoch::from_wire(1),
            metadata: "note".to_owned(),
            commit_timestamp: Timestamp::from_ms(11),
        }),
    }
}

fn decoded(key: &[u8], value: Option<&[u8]>) -> GroupRecord {
    GroupRecord::decode(key, value).unwrap().unwrap()
}

#[test]
fn an_offset_is_written_as_kafka_writes_it() {
    let (key, value) = offset_record().encode();
    assert_eq!(key, &b"\0\x01\0\x01g\0\x01t\0\0\0\x02"[..]);
    let expected = b"\0\x03\0\0\0\0\0\0\0\x09\0\0\0\x01\0\x04note\0\0\0\0\0\0\0\x0b";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    assert_eq!(decoded(&key, value.as_deref()), offset_record());
}

#[test]
fn a_group_is_written_as_kafka_writes_it() {
    let (key, value) = group_record().encode();
    assert_eq!(key, &b"\0\x02\0\x01g"[..]);
    let expected = b"\0\x03\0\x08consumer\0\0\0\x03\0\x05range\0\x01m\0\0\0\0\0\0\0\x05\
        \0\0\0\x01\0\x01m\0\x01i\0\x01c\0\x02/h\0\0\0\x07\0\0\0\x06\0\0\0\x03sub\0\0\0\x02as";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    assert_eq!(decoded(&key, value.as_deref()), group_record());
}

#[test]
fn tombstones_have_keys_only() {
    for record in [
        GroupRecord::Group { group: GroupId::new("g"), value: None },
        GroupRecord::Offset {
            group: GroupId::new("g"),
            partition: TopicPartition::new(TopicName::new("t"), PartitionIndex::ZERO),
            value: None,
        },
    ] {
        let (key, value) = record.encode();
        assert_eq!(value, None);
        assert_eq!(decoded(&key, None), record);
    }
}

#[test]
fn older_offset_values_are_read() {
    let (key, _) = offset_record().encode();
    let with = |leader_epoch| match offset_record() {
        GroupRecord::Offset { group, partition, value: Some(value) } => {
            let value = Some(OffsetValue { leader_epoch, ..value });
            GroupRecord::Offset { group, partition, value }
        }
        other => panic!("{other:?}"),
    };
    let body = b"\0\0\0\0\0\0\0\x09\0\x04note\0\0\0\0\0\0\0\x0b";
    for (version, tail) in [(0u8, &b""[..]), (1, b"\0\0\0\0\0\0\0\x63"), (2, b"")] {
        let value = [&[0, version][..], body, tail].concat();
        assert_eq!(decoded(&key, Some(&value)), with(None), "version {version}");
    }
    // Version 4 is flexible and has the topic's id as tagged field 0.
    let mut value = b"\0\x04\0\0\0\0\0\0\0\x09\0\0\0\x01\x05note\0\0\0\0\0\0\0\x0b\x01\0\x10".to_vec();
    value.extend([7; 16]);
    assert_eq!(decoded(&key, Some(&value)), with(LeaderEpoch::from_wire(1)));
}

#[test]
fn older_and_flexible_group_values_are_read() {
    let (key, _) = group_record().encode();
    let read = |value: &[u8]| match decoded(&key, Some(value)) {
        GroupRecord::Group { value: Some(metadata), .. } => metadata,
        other => panic!("{other:?}"),
    };
    let head = b"\0\x08consumer\0\0\0\x03\0\x05range\0\x01m";
    let tail = b"\0\0\0\x06\0\0\0\x03sub\0\0\0\x02as";
    let zero = read(&[b"\0\0", &head[..], b"\0\0\0\x01\0\x01m\0\x01c\0\x02/h", tail].concat());
    assert_eq!(zero.members[0].rebalance_timeout_ms, 6, "the session timeout served for both");
    assert_eq!(zero.current_state_timestamp, None);
    let one = read(&[b"\0\x01", &head[..], b"\0\0\0\x01\0\x01m\0\x01c\0\x02/h\0\0\0\x07", tail].concat());
    assert_eq!(one.members[0].rebalance_timeout_ms, 7);
    let two = read(
        &[b"\0\x02", &head[..], &[0xff; 8], b"\0\0\0\x01\0\x01m\0\x01c\0\x02/h\0\0\0\x07", tail].concat(),
    );
    assert_eq!((two.current_state_timestamp, &two.members[0].group_instance_id), (None, &None));
    let flexible = b"\0\x04\x09consumer\0\0\0\x03\x06range\x02m\0\0\0\0\0\0\0\x05\
        \x02\x02m\x02i\x02c\x03/h\0\0\0\x07\0\0\0\x06\x04sub\x03as\0\0";
    let GroupRecord::Group { value, .. } = group_record() else { panic!() };
    assert_eq!(Some(read(flexible)), value);
}

#[test]
fn unknown_versions_are_skipped_in_keys_and_refused_in_values() {
    assert_eq!(GroupRecord::decode(b"\0\x09\0\x01g", Some(b"anything")), Ok(None));
    let (key, _) = group_record().encode();
    let error = GroupRecord::decode(&key, Some(b"\0\x05")).unwrap_err();
    assert_eq!(error.to_string(), "version 5 of GroupMetadataValue is not supported");
    assert!(GroupRecord::decode(b"\xff\xff", None).is_err());
}

#[test]
fn every_truncation_is_an_error_and_a_huge_count_allocates_nothing() {
    for record in [group_record(), offset_record()] {
        let (key, value) = record.encode();
        let value = value.unwrap();
        for length in 0..value.len() {
            assert!(GroupRecord::decode(&key, Some(&value[..length])).is_err());
        }
        for length in 0..key.len() {
            assert!(GroupRecord::decode(&key[..length], Some(&value)).is_err());
        }
    }
    let (key, _) = group_record().encode();
    let huge = b"\0\x03\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x7f\xff\xff\xff";
    assert!(GroupRecord::decode(&key, Some(huge)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        kind in 0u8..18,
        version in 0u8..6,
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let key = [&[0, kind][..], &key].concat();
        let value = [&[0, version][..], &value].concat();
        if let Ok(Some(record)) = GroupRecord::decode(&key, Some(&value)) {
            let (key, value) = record.encode();
            prop_assert_eq!(decoded(&key, value.as_deref()), record);
        }
    }
}
