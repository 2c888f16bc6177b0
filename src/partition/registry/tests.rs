use super::*;

#[test]
fn a_topic_id_is_written_as_kafka_writes_uuids() {
    // RFC 4648's URL-safe base64 of 16 bytes, without padding.
    let id = TopicId::from_bytes([0xff; 16]).expect("not zero");
    assert_eq!(kafka_uuid(id), "_____________________w");
    let id = TopicId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).expect("not zero");
    assert_eq!(kafka_uuid(id), "AAAAAAAAAAAAAAAAAAAAAQ");
}

#[test]
fn a_directory_is_renamed_within_what_the_file_system_takes() {
    let topic_id = "0b7f6f5e-7d2b-4d0c-9a55-8f3b8a0c1d2e";
    let short = renamed_directory("grain-bin-7", topic_id, DELETED_SUFFIX);
    assert_eq!(short, format!("grain-bin-7.{topic_id}-delete"));
    let long = "x".repeat(249);
    let names =
        [0, 1, 9_999].map(|number| renamed_directory(&format!("{long}-{number}"), topic_id, "-stray"));
    for (name, number) in names.iter().zip(["-0", "-1", "-9999"]) {
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(name.ends_with(&format!("x{number}.{topic_id}-stray")), "{name}");
    }
}
