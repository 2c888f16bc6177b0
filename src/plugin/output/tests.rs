use super::*;

fn two_records() -> OutputBuilder {
    let mut builder = OutputBuilder::new();
    builder.push(NewOutput { topic: "a", key: Some(b"k"), value: Some(b"v"), ..NewOutput::default() });
    builder.push(NewOutput {
        topic: "b",
        partition: PartitionIndex::from_wire(3),
        timestamp: Some(77),
        headers: &[("h", Some(b"1")), ("null", None)],
        source_index: 1,
        ..NewOutput::default()
    });
    builder
}

fn good_bytes() -> Vec<u8> {
    two_records().build(2).unwrap().bytes().to_vec()
}

#[test]
fn what_is_built_is_lent_out_again() {
    let batch = two_records().build(2).unwrap();
    assert_eq!(batch.topics().collect::<Vec<_>>(), ["a", "b"]);
    let records: Vec<_> = batch.iter().collect();
    assert_eq!((records[0].topic, records[0].key, records[0].value), ("a", Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!((records[0].partition, records[0].timestamp, records[0].headers.count), (None, None, 0));
    assert_eq!(records[0].body, [2, b'k', 2, b'v', 0]);
    assert_eq!((records[1].topic, records[1].key, records[1].value), ("b", None, None));
    assert_eq!((records[1].partition, records[1].timestamp), (PartitionIndex::from_wire(3), Some(77)));
    assert_eq!(records[1].source_index, 1);
    let headers: Vec<_> = records[1].headers.iter().collect();
    assert_eq!(headers, [("h", Some(&b"1"[..])), ("null", None)]);
}

#[test]
fn an_output_cut_at_any_byte_is_refused() {
    let good = good_bytes();
    for end in 0..good.len() {
        let cut = Bytes::copy_from_slice(&good[..end]);
        assert!(OutputBatch::check(cut, 2).is_err(), "cut at {end}");
    }
    let mut long = good;
    long.push(0);
    assert!(OutputBatch::check(long.into(), 2).is_err());
}

#[test]
fn any_flipped_byte_is_refused_or_read_within_bounds() {
    let good = good_bytes();
    for at in 0..good.len() {
        for flip in [0x01, 0x40, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            if let Ok(batch) = OutputBatch::check(bad.into(), 2) {
                let read: usize = batch.iter().map(|record| record.headers.iter().count()).sum();
                assert!(read <= good.len());
            }
        }
    }
}

#[test]
fn lies_about_counts_lengths_and_indexes_are_named() {
    let check = |at: usize, bytes: &[u8]| {
        let mut bad = good_bytes();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        OutputBatch::check(bad.into(), 2).map(|_| ()).unwrap_err().0
    };
    assert!(check(0, b"TMO2").contains("TMO1"));
    assert!(check(8, &u32::MAX.to_le_bytes()).contains("announces 4294967295 records"));
    assert!(check(4, &u32::MAX.to_le_bytes()).contains("output topic"));
    // The first record starts behind the header and the topics `a` and `b`.
    assert!(check(18, &u32::MAX.to_le_bytes()).contains("body has 4294967295 bytes"));
    assert!(check(22, &2u32.to_le_bytes()).contains("topic 2 of 2"));
    assert!(check(26, &2u32.to_le_bytes()).contains("source record 2 of 2"));
    assert!(check(30, &(-2i32).to_le_bytes()).contains("partition is -2"));
    assert!(check(34, &(-2i64).to_le_bytes()).contains("timestamp is -2"));
    assert!(check(14, b"/").contains("illegal name \"/\""));
}

#[test]
fn topic_names_that_kafka_refuses_are_refused() {
    let long = "x".repeat(250);
    for topic in ["", "a b", "ä", "..", long.as_str()] {
        let mut builder = OutputBuilder::new();
        builder.push(NewOutput { topic, ..NewOutput::default() });
        assert!(builder.build(1).is_err(), "{topic}");
    }
}
