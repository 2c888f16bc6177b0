use super::*;

#[test]
fn a_topic_id_is_written_as_kafka_writes_uuids() {
    // RFC 4648's URL-safe base64 of 16 bytes, without padding.
    let id = TopicId::from_bytes([0xff; 16]).expect("not zero");
    assert_eq!(kafka_uuid(id), "_____________________w");
    let id = TopicId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).expect("not zero");
    assert_eq!(kafka_uuid(id), "AAAAAAAAAAAAAAAAAAAAAQ");
}
