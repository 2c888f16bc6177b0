use super::*;
use crate::ids::{CoordinatorEpoch, LeaderEpoch, ProducerIdent, Sequence};
use crate::log::cleaner::key_map::Put;
use crate::wire::control_record::EndTransaction;
use crate::wire::record_batch::{BatchBuilder, BatchOptions, BatchProducer, NewRecord, Transactional};

const NOW: Timestamp = Timestamp::from_ms(1_000_000);
const RETENTION_MS: u64 = 100;

fn offset(value: i64) -> Offset {
    Offset::from_wire(value).unwrap()
}

fn ident(id: i64, epoch: i16) -> ProducerIdent {
    ProducerIdent { id: ProducerId::from_wire(id).unwrap(), epoch: ProducerEpoch::from_wire(epoch).unwrap() }
}

fn at(batch: RecordBatch, base: i64) -> RecordBatch {
    batch.stamped(offset(base), LeaderEpoch::ZERO)
}

/// Key and value; upper case is a tombstone.
fn data(base: i64, keys: &str, producer: Option<(i64, Transactional)>) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: producer
            .map(|(id, _)| BatchProducer { ident: ident(id, 0), base_sequence: Sequence::from_wire(0) }),
        transactional: producer.map_or(Transactional::No, |(_, transactional)| transactional),
        ..BatchOptions::default()
    });
    for key in keys.chars() {
        let value = key.is_ascii_lowercase().then_some(&b"value"[..]);
        let key = key.to_ascii_lowercase().to_string();
        builder.append(NewRecord { timestamp: NOW.ms(), key: Some(key.as_bytes()), value, headers: &[] });
    }
    at(builder.build(), base)
}

fn marker(base: i64, id: i64, result: EndTransaction) -> RecordBatch {
    let marker =
        EndTransactionMarker { producer: ident(id, 0), result, coordinator_epoch: CoordinatorEpoch::ZERO };
    at(marker.to_batch(NOW), base)
}

fn judge(keys: &[(&str, i64)], keys_end: i64) -> Judge {
    let mut map = KeyMap::new(1 << 16, 100);
    for (key, at) in keys {
        assert_eq!(map.put(key.as_bytes(), offset(*at)), Put::Done);
    }
    Judge {
        keys: map,
        keys_end: offset(keys_end),
        aborted: Aborted::default(),
        seen: Seen::default(),
        traces: LastTraces::new(),
        now: NOW,
        delete_retention_ms: RETENTION_MS,
    }
}

fn aborted(id: i64, first: i64, last: i64) -> AbortedEntry {
    AbortedEntry {
        producer_id: ident(id, 0).id,
        first_offset: offset(first),
        last_offset: offset(last),
        last_stable_offset: offset(last + 1),
    }
}

fn fate(judge: &mut Judge, batch: &RecordBatch) -> Fate {
    judge.judge(batch, Place::Inner).unwrap().fate
}

/// Offsets and keys that are left.
fn left(fate: Fate, batch: &RecordBatch) -> Vec<(i64, String)> {
    let batch = match fate {
        Fate::Keep => batch.clone(),
        Fate::Rewrite(other) => RecordBatch::check(other.bytes().clone()).unwrap(),
        Fate::Drop => return Vec::new(),
    };
    let records = batch.records(1 << 20).unwrap();
    let key = |key: Option<&[u8]>| String::from_utf8(key.unwrap().to_vec()).unwrap();
    records.iter().map(|record| record.unwrap()).map(|r| (r.offset.value(), key(r.key))).collect()
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    let mut judge = judge(&[("a", 7), ("b", 1), ("c", 2)], 10);
    let batch = data(0, "abc", None);
    let judged = fate(&mut judge, &batch);
    assert_eq!(left(judged, &batch), [(1, "b".to_owned()), (2, "c".to_owned())]);
    let overtaken = data(3, "aa", None);
    assert_eq!(fate(&mut judge, &overtaken), Fate::Drop);
    let last = data(7, "a", None);
    assert_eq!(fate(&mut judge, &last), Fate::Keep);
}

#[test]
fn what_the_map_does_not_cover_stays() {
    let mut judge = judge(&[("a", 3)], 4);
    let across = data(2, "aaax", None);
    assert_eq!(left(fate(&mut judge, &across), &across).len(), 3, "only the first is known to be overtaken");
    let beyond = data(6, "aaA", None);
    assert_eq!(fate(&mut judge, &beyond), Fate::Keep);
}

#[test]
fn records_without_a_key_go() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NewRecord { timestamp: 1, key: None, value: Some(b"v"), headers: &[] });
    let batch = at(builder.build(), 0);
    assert_eq!(fate(&mut judge(&[], 5), &batch), Fate::Drop);
    assert_eq!(fate(&mut judge(&[], 0), &batch), Fate::Keep, "not before the pass covers it");
}

#[test]
fn a_tombstone_gets_a_horizon_and_goes_once_that_has_passed() {
    let mut judge = judge(&[("a", 0), ("b", 1)], 10);
    let batch = data(0, "Ab", None);
    let Fate::Rewrite(first) = fate(&mut judge, &batch) else { panic!("it gets a horizon") };
    let horizon = Timestamp::from_ms(NOW.ms() + 100);
    assert_eq!(first.header().delete_horizon(), Some(horizon));
    assert_eq!(first.records(1 << 20).unwrap().iter().next().unwrap().unwrap().timestamp, NOW.ms());
    assert_eq!(fate(&mut judge, &first), Fate::Keep, "the horizon is set once");
    judge.now = Timestamp::from_ms(horizon.ms() - 1);
    assert_eq!(fate(&mut judge, &first), Fate::Keep);
    judge.now = horizon;
    assert_eq!(left(fate(&mut judge, &first), &first), [(1, "b".to_owned())]);
}

#[test]
fn a_tombstone_that_the_map_does_not_cover_gets_no_horizon() {
    // Older records of its key may still be there when the horizon has passed.
    let mut judge = judge(&[("a", 0)], 1);
    assert_eq!(fate(&mut judge, &data(0, "AB", None)), Fate::Keep);
    assert_eq!(fate(&mut judge, &data(5, "B", None)), Fate::Keep);
}

#[test]
fn aborted_records_go_and_their_marker_only_a_pass_later() {
    let transaction = Some((1, Transactional::Yes));
    let mut pass = judge(&[], 10);
    pass.aborted = Aborted::new(vec![aborted(1, 0, 4)]);
    assert_eq!(fate(&mut pass, &data(0, "ab", transaction)), Fate::Drop);
    assert_eq!(fate(&mut pass, &data(2, "a", Some((2, Transactional::Yes)))), Fate::Keep);
    assert_eq!(fate(&mut pass, &data(3, "a", Some((1, Transactional::No)))), Fate::Keep);
    let end = marker(4, 1, EndTransaction::Abort);
    let judged = pass.judge(&end, Place::Inner).unwrap();
    assert_eq!((judged.fate, judged.aborted), (Fate::Keep, Some(aborted(1, 0, 4))));
    assert_eq!(fate(&mut pass, &data(5, "a", transaction)), Fate::Keep, "the next transaction");

    let mut next = judge(&[], 10);
    next.aborted = Aborted::new(vec![aborted(1, 0, 4)]);
    let judged = next.judge(&end, Place::Inner).unwrap();
    let Fate::Rewrite(waiting) = judged.fate else { panic!("it gets a horizon") };
    assert_eq!(judged.aborted, None, "nothing is left to be skipped");
    let again = EndTransactionMarker::from_batch(&waiting).unwrap().unwrap();
    assert_eq!(again.result, EndTransaction::Abort);
    next.now = NOW.plus(Duration::from_millis(RETENTION_MS));
    assert_eq!(fate(&mut next, &waiting), Fate::Drop);
}

#[test]
fn a_commit_marker_stays_as_long_as_a_record_of_its_transaction() {
    let transaction = Some((1, Transactional::Yes));
    let end = marker(4, 1, EndTransaction::Commit);
    let mut pass = judge(&[("a", 0)], 10);
    assert_eq!(fate(&mut pass, &data(0, "a", transaction)), Fate::Keep);
    assert_eq!(fate(&mut pass, &end), Fate::Keep);
    assert!(matches!(fate(&mut pass, &end), Fate::Rewrite(_)), "a second one ends nothing");
}

#[test]
fn a_live_producers_last_batch_stays_without_records_and_holds_its_marker() {
    let transaction = Some((1, Transactional::Yes));
    let mut pass = judge(&[("a", 9)], 10);
    pass.traces = LastTraces::from([(ident(1, 0).id, LastTrace::Batch(offset(3)))]);
    assert_eq!(fate(&mut pass, &data(0, "aa", transaction)), Fate::Drop);
    let batch = data(2, "aa", transaction);
    let Fate::Rewrite(empty) = fate(&mut pass, &batch) else { panic!("it stays") };
    let (old, new) = (batch.header(), empty.header());
    assert_eq!((new.record_count, new.is_control, new.is_producers_own()), (0, true, true));
    assert_eq!(
        (new.base_offset, new.last_offset(), new.producer),
        (old.base_offset, old.last_offset(), old.producer)
    );
    assert_eq!(new.max_timestamp, old.max_timestamp);
    let end = marker(4, 1, EndTransaction::Commit);
    assert_eq!(fate(&mut pass, &end), Fate::Keep);
    // The same in the next pass, until the producer has written something else or is forgotten.
    assert_eq!(fate(&mut pass, &empty), Fate::Keep);
    assert_eq!(fate(&mut pass, &end), Fate::Keep);
    pass.traces.clear();
    assert_eq!(fate(&mut pass, &empty), Fate::Drop);
    assert_eq!(fate(&mut pass, &end), Fate::Keep, "this pass has met its batch");
    assert!(matches!(fate(&mut pass, &end), Fate::Rewrite(_)));
}

#[test]
fn the_marker_that_alone_tells_a_live_producers_epoch_stays() {
    let epoch = ProducerEpoch::ZERO;
    let mut pass = judge(&[], 10);
    pass.now = Timestamp::from_ms(i64::MAX / 2);
    let trace = |last: Option<i64>| {
        LastTraces::from([(ident(1, 0).id, LastTrace::Marker { epoch, last: last.map(offset) })])
    };
    let end = marker(4, 1, EndTransaction::Commit);
    for (last, stays) in [(None, true), (Some(4), true), (Some(8), false)] {
        pass.traces = trace(last);
        assert_eq!(fate(&mut pass, &end) == Fate::Keep, stays, "{last:?}");
    }
}

#[test]
fn a_segments_last_batch_stays_whatever_it_holds() {
    let mut pass = judge(&[("a", 9)], 10);
    let batch = data(5, "aa", None);
    let Fate::Rewrite(empty) = pass.judge(&batch, Place::Last).unwrap().fate else { panic!("it stays") };
    assert_eq!((empty.header().last_offset(), empty.header().record_count), (offset(6), 0));
    assert_eq!(pass.judge(&empty, Place::Last).unwrap().fate, Fate::Keep);
    assert_eq!(pass.judge(&empty, Place::Inner).unwrap().fate, Fate::Drop);
    let end = marker(7, 1, EndTransaction::Abort);
    assert_eq!(pass.judge(&end, Place::Last).unwrap().fate, Fate::Keep);
}
