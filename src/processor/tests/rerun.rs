//! Every call can be made again bit for bit, from what is written beside the committed offsets.

use super::*;
use crate::ids::{Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
use crate::plugin::LogSink;
use crate::processor::commit_note::{CallNote, CommitNote};
use crate::processor::engine::Engine;
use crate::processor::placement::OutputTopic;
use crate::processor::span::{Span, spans_of};
use crate::processor::status::TaskBoard;
use crate::processor::unit::Unit;
use crate::state::{Changelog, StateLimits, TaskKey, TaskOptions};
use crate::wire::record_batch::RecordBatch;
use std::collections::BTreeMap;

const CHANGELOG: &str = "__changelog.p";

/// What was written to a topic: timestamps, keys and values, in order.
type Written = BTreeMap<String, Vec<(i64, Option<Vec<u8>>, Option<Vec<u8>>)>>;

fn add(written: &mut Written, topic: &str, batch: &RecordBatch) {
    let of_topic = written.entry(topic.to_owned()).or_default();
    for record in batch.records(usize::MAX).unwrap().iter() {
        let record = record.unwrap();
        of_topic.push((record.timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)));
    }
}

fn input() -> TopicPartition {
    TopicPartition::new(TopicName::new("in"), PartitionIndex::ZERO)
}

/// An engine as at the processor's first start, with nothing in its state.
fn fresh_engine(fixture: &Fixture, definition: &ProcessorDefinition, database: &StateDatabase) -> Engine {
    let task = TaskKey { processor: "rerun".to_owned(), input: input() };
    let options = TaskOptions { stores: definition.stores.clone(), limits: StateLimits::default() };
    let changelog = Changelog {
        topic: TopicId::from_bytes([9; 16]).unwrap(),
        log_start: Offset::ZERO,
        log_end: Offset::ZERO,
        delete_retention_ms: 86_400_000,
    };
    let state = database.open_task(task, options, changelog, 0).unwrap();
    let definition = Arc::new(definition.clone());
    let board = TaskBoard::new(&input(), Arc::default(), Arc::default());
    let (host, inputs) = (fixture.host.clone(), (input(), vec![input()]));
    let mut engine = Engine::new(host, definition, inputs, LogSink::none(), Arc::new(board), Some(state));
    engine.outputs.insert(TopicName::new("out"), OutputTopic { partitions: 1, partitioner: None });
    engine
}

/// The records from an offset on, cut to so many.
fn records(fixture: &Fixture, from: Offset, count: u32) -> Span {
    let found = fixture.cluster.with(|cluster| cluster.fetch(&input(), from, usize::MAX).unwrap());
    let mut spans = spans_of(found.batches, from, found.next_offset, usize::MAX).unwrap();
    spans.pop_front().unwrap().split_at(count).0
}

fn run_again(fixture: &Fixture, engine: &mut Engine, note: &CommitNote, written: &mut Written) {
    let from = Offset::from_wire(note.first_offsets[0]).unwrap();
    let mut unit = Unit::new([from]);
    unit.now = note.now;
    for call in &note.calls {
        let timers = |engine: &mut Engine, count| {
            engine.due_timers(note.now, unit.progress[0].next_offset).unwrap().unwrap().split_at(count).0
        };
        match *call {
            CallNote::Records(at, count, attempt) => {
                engine.process(&records(fixture, from.plus(at), count), attempt, &mut unit).unwrap();
            }
            CallNote::EventTimers(count, attempt) | CallNote::ProcessingTimers(count, attempt) => {
                let due = timers(engine, count);
                engine.process(&due, attempt, &mut unit).unwrap();
            }
            CallNote::RecordsOf(..) | CallNote::GivenUpOf(..) => unreachable!("it has one input"),
            CallNote::GivenUp(at) => unit.passed(&records(fixture, from.plus(at), 1)),
            CallNote::EventTimerGivenUp | CallNote::ProcessingTimerGivenUp => {
                let due = timers(engine, 1);
                engine.forget_timers(&due).unwrap();
                unit.passed(&due);
            }
        }
    }
    engine.turn();
    engine.seal_state(&mut unit).unwrap();
    for (partition, batches) in unit.into_batches(None) {
        batches.iter().for_each(|batch| add(written, partition.topic.as_str(), batch));
    }
}

#[tokio::test]
async fn every_call_can_be_made_again_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().await;
    fixture.state = Some(StateDatabase::open(&directory.path().join("a"), 1 << 20).unwrap());
    let mut definition = ProcessorDefinition { stores: vec!["counts".into()], ..fixture.definition() };
    definition.commit.records_max = 4;
    fixture.deploy(definition.clone()).await;
    let connection = fixture.cluster.connect();
    connection.plan(
        crate::processor::memory_backend::Call::EndTransaction,
        crate::processor::memory_backend::Fault::LoseReply,
    );
    let supervisor = fixture.supervisor_on(connection);
    for round in 0..12i64 {
        fixture.append(&["count a", "ambient", "flaky x", "count b", "poison y", "ambient", "trap"]);
        fixture.append_at(2_000 + round * 10, &format!("timer event e{round} {} x", 2_015 + round * 10));
        fixture
            .append_at(2_000 + round * 10, &format!("timer event bad{round} {} poison", 2_011 + round * 10));
        fixture.append_at(2_000, &format!("timer processing p{round} {} y", round * 7));
        fixture.clock.advance(Duration::from_millis(5));
        fixture.append(&["ambient"]);
        fixture.caught_up().await;
    }
    until_task(&supervisor, |task| task.timers_fired >= 20).await;
    supervisor.stop().await;
    let notes = fixture.cluster.with(|cluster| cluster.notes.clone());
    let notes: Vec<_> = notes.iter().filter_map(|(_, note)| CommitNote::parse(note)).collect();
    let database = StateDatabase::open(&directory.path().join("b"), 1 << 20).unwrap();
    let mut engine = fresh_engine(&fixture, &definition, &database);
    let mut again = Written::new();
    for note in &notes {
        run_again(&fixture, &mut engine, note, &mut again);
    }
    let mut first = Written::new();
    for topic in ["out", CHANGELOG] {
        let partition = TopicPartition::new(TopicName::new(topic), PartitionIndex::ZERO);
        let found =
            fixture.cluster.with(|cluster| cluster.fetch(&partition, Offset::ZERO, usize::MAX).unwrap());
        found.batches.iter().for_each(|batch| add(&mut first, topic, batch));
    }
    assert!(first["out"].len() > 60, "{}", first["out"].len());
    assert_eq!(again["out"], first["out"]);
    assert_eq!(again[CHANGELOG], first[CHANGELOG]);
}
