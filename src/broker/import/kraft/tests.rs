use super::*;
use crate::wire::record_batch::{BatchBuilder, BatchOptions, NewRecord};
use crate::wire::varint::put_unsigned;

const ORDERS: [u8; 16] = [7; 16];

fn framed(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    put_unsigned(&mut bytes, u64::from(kind));
    bytes.push(0);
    bytes.extend_from_slice(body);
    // No tagged fields.
    bytes.push(0);
    bytes
}

fn compact(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_unsigned(&mut bytes, text.len() as u64 + 1);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn topic(name: &str, id: [u8; 16]) -> Vec<u8> {
    framed(TOPIC_RECORD, &[compact(name), id.to_vec()].concat())
}

fn config(resource: i8, name: &str, key: &str, value: Option<&str>) -> Vec<u8> {
    let value = value.map_or_else(|| vec![0], compact);
    framed(CONFIG_RECORD, &[vec![resource.cast_unsigned()], compact(name), compact(key), value].concat())
}

fn file_of(records: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in records {
        builder.append(NewRecord { timestamp: 0, key: None, value: Some(value), headers: &[] });
    }
    builder.build().bytes().to_vec()
}

fn folded(records: &[Vec<u8>]) -> KraftMetadata {
    let mut metadata = KraftMetadata::default();
    metadata.apply_file(Bytes::from(file_of(records)), End::Whole).expect("records");
    metadata
}

#[test]
fn the_last_setting_of_a_topic_counts_and_brokers_settings_do_not() {
    let metadata = folded(&[
        topic("orders", ORDERS),
        config(TOPIC_RESOURCE, "orders", "retention.ms", Some("1")),
        config(TOPIC_RESOURCE, "orders", "retention.ms", Some("2")),
        config(TOPIC_RESOURCE, "orders", "segment.ms", Some("3")),
        config(TOPIC_RESOURCE, "orders", "segment.ms", None),
        config(4, "orders", "log.retention.ms", Some("4")),
        framed(99, b"a record of a later Kafka"),
    ]);
    let expected = BTreeMap::from([("retention.ms".to_owned(), "2".to_owned())]);
    assert_eq!(metadata.configs_of("orders"), expected);
    assert_eq!(metadata.configs_of("others"), BTreeMap::new());
}

#[test]
fn a_topic_made_again_begins_without_settings() {
    let metadata = folded(&[
        topic("orders", ORDERS),
        config(TOPIC_RESOURCE, "orders", "retention.ms", Some("1")),
        framed(REMOVE_TOPIC_RECORD, &ORDERS),
        topic("orders", [8; 16]),
    ]);
    assert_eq!(metadata.configs_of("orders"), BTreeMap::new());
}

#[test]
fn producer_ids_that_were_given_out_are_known() {
    let block = [1i32.to_be_bytes().to_vec(), 5i64.to_be_bytes().to_vec(), 3000i64.to_be_bytes().to_vec()];
    assert_eq!(folded(&[framed(PRODUCER_IDS_RECORD, &block.concat())]).next_producer_id, 3000);
}

#[test]
fn what_is_no_record_is_refused() {
    for broken in [vec![], vec![2, 2, 0], vec![1], framed(TOPIC_RECORD, &compact("orders"))] {
        let mut metadata = KraftMetadata::default();
        let bytes = Bytes::from(file_of(std::slice::from_ref(&broken)));
        assert!(metadata.apply_file(bytes, End::MayBeTorn).is_err(), "{broken:?}");
    }
}

#[test]
fn only_an_end_may_be_torn() {
    let whole = file_of(&[topic("orders", ORDERS), config(TOPIC_RESOURCE, "orders", "a", Some("b"))]);
    let cut = whole.get(..whole.len() - 1).expect("bytes").to_vec();
    let mut flipped = whole;
    *flipped.last_mut().expect("bytes") ^= 1;
    for torn in [cut, flipped] {
        let apply = |end| KraftMetadata::default().apply_file(Bytes::from(torn.clone()), end);
        assert_eq!(apply(End::MayBeTorn), Ok(()));
        assert!(apply(End::Whole).is_err());
    }
}

#[test]
fn the_newest_snapshot_comes_before_the_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let metadata = directory.path().join(METADATA_DIRECTORY);
    fs::create_dir(&metadata).expect("made");
    let write = |name: &str, retention: &str| {
        let record = config(TOPIC_RESOURCE, "orders", name.get(18..20).expect("digits"), Some(retention));
        fs::write(metadata.join(name), file_of(&[record])).expect("written");
    };
    write("00000000000000000010-0000000001.checkpoint", "old");
    write("00000000000000000020-0000000001.checkpoint", "new");
    write("00000000000000000015.log", "log");
    fs::write(metadata.join("quorum-state"), b"{}").expect("written");
    let read = KraftMetadata::of_log_directory(directory.path()).expect("readable").expect("there");
    let configs = read.configs_of("orders");
    let configs: Vec<(&str, &str)> =
        configs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(configs, [("15", "log"), ("20", "new")]);
    assert_eq!(KraftMetadata::of_log_directory(&metadata).expect("readable"), None);
}
