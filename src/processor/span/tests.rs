//! Cutting spans: at any record, over batches, gaps and compressed batches.

use super::*;
use crate::ids::{LeaderEpoch, PartitionIndex, TopicName};
use crate::wire::record_batch::{BatchBuilder, BatchOptions, Compression, NewRecord};

fn batch(base: i64, values: &[&str], compression: Compression) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for value in values {
        builder.append(NewRecord {
            timestamp: 5,
            value: Some(value.as_bytes()),
            headers: &[(b"h", None)],
            ..NewRecord::default()
        });
    }
    builder.build().stamped(at(base), LeaderEpoch::ZERO)
}

fn at(offset: i64) -> Offset {
    Offset::from_wire(offset).unwrap()
}

fn shown(span: &Span) -> Vec<(i64, String)> {
    let input = TopicPartition::new(TopicName::new("in"), PartitionIndex::ZERO);
    let batch = span.input(&input, 0);
    let records = batch.records().map(Result::unwrap);
    records.map(|r| (r.offset.value(), String::from_utf8(r.value.unwrap().to_vec()).unwrap())).collect()
}

#[test]
fn a_span_is_cut_between_any_two_records() {
    let batches =
        vec![batch(10, &["a", "b", "c"], Compression::None), batch(20, &["d", "e"], Compression::Lz4)];
    let whole = spans_of(batches, at(10), at(30), 1 << 20).unwrap().pop_front().unwrap();
    assert_eq!((whole.count(), whole.end), (5, at(30)));
    let all = shown(&whole);
    for count in 0..=5 {
        let (first, rest) = whole.clone().split_at(count);
        assert_eq!((first.count(), rest.count()), (count, 5 - count));
        assert_eq!([shown(&first), shown(&rest)].concat(), all);
        assert_eq!(rest.end, at(30));
        assert_eq!(first.end, rest.first_offset().unwrap_or(at(30)));
    }
}

#[test]
fn records_before_the_position_are_left_out() {
    let batches = vec![batch(10, &["a", "b", "c"], Compression::Zstd)];
    let spans = spans_of(batches.clone(), at(12), at(13), 1 << 20).unwrap();
    assert_eq!(shown(&spans[0]), [(12, "c".to_owned())]);
    assert!(spans_of(batches, at(13), at(13), 1 << 20).unwrap().is_empty());
}

#[test]
fn a_call_takes_whole_batches_and_at_least_one() {
    let batches = (0..4).map(|n| batch(n * 10, &["0123456789", "x"], Compression::None)).collect::<Vec<_>>();
    let bytes = batches[0].records_region().len();
    let whole = spans_of(batches, at(0), at(40), usize::MAX).unwrap().pop_front().unwrap();
    for (bytes_max, count) in
        [(0, 2), (bytes, 2), (2 * bytes - 1, 2), (2 * bytes, 4), (4 * bytes, 8), (usize::MAX, 8)]
    {
        let (first, rest) = whole.clone().cut_within(bytes_max);
        assert_eq!((first.count(), rest.map_or(0, |rest| rest.count())), (count, 8 - count), "{bytes_max}");
    }
    let timers = (0..3).map(|at| Timer { id: vec![7].into(), at, payload: Vec::new().into() }).collect();
    assert_eq!(Span::of_timers(TimerDomain::Event, timers, at(0)).cut_within(0).0.count(), 3);
}

#[test]
fn batches_are_gathered_up_to_the_bound() {
    let batches = (0..4).map(|n| batch(n * 10, &["0123456789"], Compression::None)).collect::<Vec<_>>();
    let one = spans_of(batches.clone(), at(0), at(40), 1).unwrap();
    assert_eq!(one.iter().map(Span::count).collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert_eq!(one.iter().map(|span| span.end.value()).collect::<Vec<_>>(), [1, 11, 21, 40]);
    let two = spans_of(batches, at(0), at(40), 45).unwrap();
    assert_eq!(two.iter().map(Span::count).collect::<Vec<_>>(), [2, 2]);
}
