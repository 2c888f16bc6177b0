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
