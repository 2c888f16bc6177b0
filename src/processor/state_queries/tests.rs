use super::*;
use crate::processor::definition::ProcessorDefinition;
use crate::processor::memory_backend::{Call, Fault};
use crate::processor::tests::{Fixture, within};
use crate::state::{Changelog, TaskOptions, TaskState};
use proptest::prelude::*;
use tempfile::TempDir;

const CHANGELOG: &str = "__changelog.p";

fn partition(number: i32) -> PartitionIndex {
    PartitionIndex::from_wire(number).unwrap()
}

/// A fixture whose processor counts words in the store `counts`.
async fn counting() -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().await;
    fixture.state = Some(StateDatabase::open(directory.path(), 1 << 20).unwrap());
    let stores = vec!["counts".to_owned()];
    fixture.deploy(ProcessorDefinition { stores, ..fixture.definition() }).await;
    (fixture, directory)
}

/// A task's state with these entries, each with the stream time at which it expires, if it does.
fn fill(fixture: &Fixture, number: i32, entries: &[(&str, Option<i64>)]) -> TaskState {
    let input = TopicPartition::new(TopicName::new("in"), partition(number));
    let task = TaskKey { processor: "p".to_owned(), input };
    let options = TaskOptions { stores: vec!["counts".to_owned()], ..TaskOptions::default() };
    let topic = crate::ids::TopicId::from_bytes([1; 16]).unwrap();
    let (log_start, log_end) = (Offset::ZERO, Offset::ZERO);
    let changelog = Changelog { topic, log_start, log_end, delete_retention_ms: 1_000 };
    let mut state = fixture.state.as_ref().unwrap().open_task(task, options, changelog, 0).unwrap();
    let mut call = state.begin_call();
    let store = crate::plugin::StateAccess::open(&mut call, "counts").unwrap();
    for (key, expires) in entries {
        crate::plugin::StateAccess::put(&mut call, store, key.as_bytes(), b"value", *expires).unwrap();
    }
    state.keep_call();
    state.advance_stream_time(100).unwrap();
    let unit = state.hand_over().unwrap().unwrap();
    unit.committed(Offset::from_wire(9).unwrap(), 0).unwrap();
    state
}

fn whole(entries_max: usize, direction: ScanDirection) -> ScanQuery {
    ScanQuery { partition: None, range: KeyRange::default(), direction, entries_max, after: None }
}

/// All pages of a scan, each entry as `partition:key`.
async fn pages(queries: &StateQueries, mut query: ScanQuery) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let answer = queries.scan("p", "counts", query.clone()).await.unwrap();
        let shown =
            |entry: &StateEntry| format!("{}:{}", entry.partition, String::from_utf8_lossy(&entry.key));
        pages.push(answer.entries.iter().map(shown).collect());
        match answer.next {
            Some(next) => query.after = Some(next),
            None => return pages,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_open_transaction_has_written_is_in_no_answer() {
    let (fixture, _directory) = counting().await;
    let connection = fixture.cluster.connect();
    let supervisor = fixture.supervisor_on(connection.clone());
    fixture.append(&["count a"]);
    fixture.caught_up().await;
    let queries = fixture.state_queries();
    // The answer to the commit may still be on its way to the cache.
    let committed = within(async {
        loop {
            let answer = queries.get("p", "counts", Bytes::from("a"), None).await;
            if let Ok(answer) = answer
                && !answer.entries.is_empty()
            {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(committed.entries[0].value, Bytes::copy_from_slice(&1_i64.to_le_bytes()));
    let gate = Arc::new(Semaphore::new(0));
    connection.plan(Call::EndTransaction, Fault::Hold(gate.clone()));
    let end = fixture.cluster.with(|cluster| cluster.end_offset(CHANGELOG, 0));
    fixture.append(&["count a", "count b"]);
    within(fixture.cluster.wait_until(|cluster| cluster.end_offset(CHANGELOG, 0) > end)).await;
    let answer = queries.get("p", "counts", Bytes::from("a"), None).await.unwrap();
    assert_eq!(answer, committed, "the transaction is open");
    let answer = queries.scan("p", "counts", whole(10, ScanDirection::Ascending)).await.unwrap();
    assert_eq!((answer.entries.len(), answer.partitions), (1, committed.partitions));
    gate.add_permits(1);
    fixture.caught_up().await;
    supervisor.stop().await;
    let answer = queries.scan("p", "counts", whole(10, ScanDirection::Ascending)).await.unwrap();
    let values = answer.entries.iter().map(|entry| entry.value.to_vec()).collect::<Vec<_>>();
    assert_eq!(values, [2_i64.to_le_bytes(), 1_i64.to_le_bytes()]);
    assert!(answer.partitions[0].changelog_offset.value() > end);
}

#[tokio::test]
async fn a_scan_goes_through_all_tasks_page_by_page_in_both_directions() {
    let (fixture, _directory) = counting().await;
    fixture.cluster.with(|cluster| cluster.grow_topic("in", 4));
    let first = fill(&fixture, 0, &[("a", None), ("c", None), ("gone", Some(100)), ("stays", Some(101))]);
    let last = fill(&fixture, 3, &[("b", None), ("c", None)]);
    let queries = fixture.state_queries();
    let rising = ["0:a", "0:c", "0:stays", "3:b", "3:c"];
    let falling: Vec<_> = rising.iter().rev().copied().collect();
    for entries_max in 1..7 {
        let found = pages(&queries, whole(entries_max, ScanDirection::Ascending)).await;
        assert_eq!(found.concat(), rising, "{entries_max}: {found:?}");
        assert!(found.iter().all(|page| page.len() <= entries_max), "{found:?}");
        let found = pages(&queries, whole(entries_max, ScanDirection::Descending)).await;
        assert_eq!(found.concat(), falling, "{entries_max}: {found:?}");
    }
    let of_one = ScanQuery { partition: Some(partition(3)), ..whole(1, ScanDirection::Ascending) };
    assert_eq!(pages(&queries, of_one).await.concat(), ["3:b", "3:c"]);
    let range = with_prefix(KeyRange::default(), b"c");
    let with_c = ScanQuery { range, ..whole(1, ScanDirection::Ascending) };
    assert_eq!(pages(&queries, with_c).await.concat(), ["0:c", "3:c"]);
    let answer = queries.get("p", "counts", Bytes::from("c"), None).await.unwrap();
    let seen: Vec<_> = answer.partitions.iter().map(|seen| seen.partition).collect();
    assert_eq!(seen, [partition(0), partition(3)]);
    assert_eq!(answer.without_state, [partition(1), partition(2)]);
    assert_eq!(answer.entries.len(), 2, "several tasks may have a key");
    let gone = queries.get("p", "counts", Bytes::from("gone"), None).await.unwrap();
    assert_eq!(gone.entries, [], "it has expired");
    assert_eq!(gone.partitions[0].stream_time, Some(100));
    drop((first, last));
}

#[tokio::test]
async fn what_there_is_not_is_said() {
    let (fixture, _directory) = counting().await;
    let queries = fixture.state_queries();
    let key = || Bytes::from("a");
    let said = async |processor: &str, store: &str, key: Bytes, number: Option<i32>| {
        let found = queries.get(processor, store, key, number.map(partition)).await;
        found.unwrap_err().to_string()
    };
    assert_eq!(said("q", "counts", key(), None).await, "there is no processor \"q\"");
    assert_eq!(said("p", "count", key(), None).await, "processor \"p\" has no store \"count\"");
    assert_eq!(said("p", "counts", key(), Some(0)).await, "the task of in-0 has no state yet");
    let unknown = said("p", "counts", key(), Some(1)).await;
    assert_eq!(unknown, "no task of processor \"p\" has partition 1: in has 1");
    let state = fill(&fixture, 0, &[]);
    assert!(said("p", "counts", Bytes::new(), Some(0)).await.contains("a state key has 0 bytes"));
    drop(state);
    fixture.deploy(ProcessorDefinition { name: "q".into(), ..fixture.definition() }).await;
    assert!(said("q", "counts", key(), None).await.contains("keeps no state"));
    let overview = queries.overview("p").await.unwrap();
    assert_eq!((overview.changelog.as_str(), overview.tasks.len()), (CHANGELOG, 1));
    assert_eq!(overview.tasks[0].changelog_offset.value(), 9);
}

proptest! {
    #[test]
    fn the_range_of_a_prefix_has_the_keys_that_begin_with_it(
        prefix in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..4),
        key in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..5),
        first in prop::option::of(prop::collection::vec(any::<u8>(), 0..3)),
        last in prop::option::of(prop::collection::vec(any::<u8>(), 0..3)),
    ) {
        let range = KeyRange { first: first.clone().map(Bytes::from), last: last.clone().map(Bytes::from) };
        let range = with_prefix(range, &prefix);
        let is_in = range.first.is_none_or(|first| key >= first) && range.last.is_none_or(|last| key < last);
        let wanted = key.starts_with(&prefix)
            && first.is_none_or(|first| key >= first)
            && last.is_none_or(|last| key < last);
        prop_assert_eq!(is_in, wanted);
    }
}

#[tokio::test]
async fn a_task_of_several_inputs_is_looked_at_once() {
    let (fixture, _directory) = counting().await;
    fixture.cluster.with(|cluster| cluster.ensure_topic("other", 1));
    let inputs = ["in", "other"].map(TopicName::new).to_vec();
    let stores = vec!["counts".to_owned()];
    fixture.deploy(ProcessorDefinition { inputs, stores, ..fixture.definition() }).await;
    let _task = fill(&fixture, 0, &[("a", None)]);
    let answer =
        fixture.state_queries().scan("p", "counts", whole(9, ScanDirection::Ascending)).await.unwrap();
    assert_eq!((answer.entries.len(), answer.without_state.len()), (1, 0));
}
