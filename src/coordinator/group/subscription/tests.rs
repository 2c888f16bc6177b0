//! Subscriptions as the protocol crate encodes them, and other bytes.

use kafka_protocol::messages::ConsumerProtocolSubscription;
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;

#[test]
fn the_topics_of_every_version_are_read() {
    let topics = vec![StrBytes::from_static_str("grain"), StrBytes::from_static_str("flour")];
    let subscription = ConsumerProtocolSubscription::default().with_topics(topics);
    for version in 0..=3i16 {
        let mut bytes = version.to_be_bytes().to_vec();
        subscription.encode(&mut bytes, version).unwrap();
        let expected = BTreeSet::from([TopicName::new("grain"), TopicName::new("flour")]);
        assert_eq!(subscribed_topics(&bytes), Some(expected), "version {version}");
    }
}

#[test]
fn other_bytes_are_no_subscription() {
    for bytes in [
        &b""[..],
        b"\0",
        b"\0\x01\0\0",
        b"\xff\xff\0\0\0\0",
        b"\0\x01\x7f\xff\xff\xff\0",
        b"\0\x01\0\0\0\x01\0\x05ab",
    ] {
        assert_eq!(subscribed_topics(bytes), None, "{bytes:?}");
    }
}

#[test]
fn a_subscription_says_what_its_member_owns_and_where_it_runs() {
    use kafka_protocol::messages::TopicName as WireTopic;
    use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as Owned;
    let owned =
        Owned::default().with_topic(WireTopic(StrBytes::from_static_str("a"))).with_partitions(vec![0, 2]);
    for version in 0..=3i16 {
        let mut message =
            ConsumerProtocolSubscription::default().with_topics(vec![StrBytes::from_static_str("a")]);
        if version >= 1 {
            message = message.with_owned_partitions(vec![owned.clone()]);
        }
        if version >= 3 {
            message = message.with_rack_id(Some(StrBytes::from_static_str("r")));
        }
        let mut bytes = version.to_be_bytes().to_vec();
        message.encode(&mut bytes, version).unwrap();
        let read = Subscription::read(&bytes).unwrap();
        assert_eq!((read.topics.len(), read.owned.len()), (1, if version >= 1 { 2 } else { 0 }));
        assert_eq!(read.rack_id.as_deref(), (version >= 3).then_some("r"));
        for length in 0..bytes.len() {
            assert_eq!(Subscription::read(&bytes[..length]), None, "version {version} cut at {length}");
        }
    }
}

#[test]
fn an_assignment_is_read_as_it_was_written_and_user_data_is_noticed() {
    let partition =
        |index| TopicPartition::new(TopicName::new("a"), PartitionIndex::from_wire(index).unwrap());
    let partitions: BTreeSet<TopicPartition> = [partition(1), partition(4)].into();
    let bytes = assignment_bytes(b"\0\x02", &partitions);
    assert_eq!(&bytes[..2], b"\0\x02", "the version of the subscription");
    let expected = Assigned { partitions: partitions.clone(), has_user_data: false };
    assert_eq!(Assigned::read(&bytes), Some(expected));
    let with_data = [&bytes[..bytes.len() - 4], b"\0\0\0\x01x"].concat();
    assert_eq!(Assigned::read(&with_data), Some(Assigned { partitions, has_user_data: true }));
    assert_eq!(Assigned::read(b""), Some(Assigned::default()));
    assert_eq!(Assigned::read(b"\0\0\x7f\xff\xff\xff"), None);
}
