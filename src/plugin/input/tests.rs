use super::*;

/// A v2 record: attributes, deltas, key, value, headers.
fn record(offset_delta: i64, timestamp_delta: i64, value: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    varint::put(&mut body, timestamp_delta);
    varint::put(&mut body, offset_delta);
    varint::put_nullable(&mut body, Some(b"k"));
    varint::put_nullable(&mut body, Some(value));
    varint::put(&mut body, 1);
    varint::put_nullable(&mut body, Some(b"h"));
    varint::put_nullable(&mut body, None);
    let mut out = Vec::new();
    varint::put(&mut out, i64::try_from(body.len()).unwrap());
    out.extend_from_slice(&body);
    out
}

fn chunk(base_offset: i64, records: &[Vec<u8>]) -> InputChunk {
    InputChunk {
        base_offset: Offset::from_wire(base_offset).unwrap(),
        base_timestamp: 1000,
        append_time: None,
        record_count: u32::try_from(records.len()).unwrap(),
        records: records.concat().into(),
    }
}

fn batch(chunks: Vec<InputChunk>) -> InputBatch {
    InputBatch { topic: TopicName::new("in"), partition: PartitionIndex::ZERO, attempt: 0, chunks }
}

#[test]
fn records_are_numbered_over_all_chunks_and_keep_their_offsets() {
    let input = batch(vec![
        chunk(10, &[record(0, 0, b"a"), record(3, 5, b"b")]),
        chunk(20, &[]),
        chunk(30, &[record(1, -2, b"c")]),
    ]);
    let seen: Vec<_> = input
        .records()
        .map(|record| record.map(|r| (r.index, r.offset.value(), r.timestamp, r.value.unwrap().to_vec())))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(
        seen,
        [(0, 10, 1000, b"a".to_vec()), (1, 13, 1005, b"b".to_vec()), (2, 31, 998, b"c".to_vec())]
    );
    assert_eq!(input.record_count(), 3);
}

#[test]
fn the_append_time_stands_in_for_the_records_own() {
    let mut with_append_time = chunk(0, &[record(0, 7, b"a")]);
    with_append_time.append_time = Some(5);
    let input = batch(vec![with_append_time]);
    assert_eq!(input.records().next().unwrap().unwrap().timestamp, 5);
}

#[test]
fn broken_records_are_named_and_end_the_iteration() {
    let mut cut = chunk(0, &[record(0, 0, b"a"), record(1, 0, b"b")]);
    cut.records = cut.records.slice(..cut.records.len() - 1);
    let seen: Vec<_> = batch(vec![cut]).records().map(|r| r.map(|r| r.index).map_err(|e| e.index)).collect();
    assert_eq!(seen, [Ok(0), Err(1)]);
    let mut too_few = chunk(0, &[record(0, 0, b"a")]);
    too_few.record_count = 2;
    assert!(batch(vec![too_few]).records().nth(1).unwrap().is_err());
    let mut too_many = chunk(0, &[record(0, 0, b"a"), record(1, 0, b"b")]);
    too_many.record_count = 1;
    assert!(batch(vec![too_many]).records().nth(1).unwrap().is_err());
}

#[test]
fn the_flat_input_holds_the_records_verbatim() {
    let input = batch(vec![chunk(10, &[record(0, 0, b"a")]), chunk(11, &[record(0, 0, b"b")])]);
    let mut flat = b"old".to_vec();
    input.write_flat(&mut flat);
    assert_eq!(flat.len(), input.flat_bytes());
    let mut golden = Vec::new();
    golden.extend_from_slice(b"TMI1\0\0\0\0\x01\0\0\0\x02\0\0\0\x02\0in");
    for chunk in &input.chunks {
        golden.extend_from_slice(&[0; 8]);
        golden.extend_from_slice(&chunk.base_offset.value().to_le_bytes());
        golden.extend_from_slice(&1000i64.to_le_bytes());
        golden.extend_from_slice(&(-1i64).to_le_bytes());
        golden.extend_from_slice(&1u32.to_le_bytes());
        golden.extend_from_slice(&u32::try_from(chunk.records.len()).unwrap().to_le_bytes());
        golden.extend_from_slice(&chunk.records);
    }
    assert_eq!(flat, golden);
}
