//! Exactly once: over crashes at every step, lost replies, zombies and a slow cluster.

use super::*;
use crate::error_code::ErrorCode;
use crate::processor::backend::BackendError;
use crate::processor::definition::StartPosition;
use crate::processor::memory_backend::{Call, Fault};
use crate::processor::status::TaskState;
use crate::wire::control_record::EndTransaction;
use tokio::sync::Semaphore;

#[tokio::test]
async fn records_are_processed_once_with_their_keys_and_times() {
    let fixture = Fixture::new().await;
    fixture.append(&["a", "b"]);
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let records = fixture.cluster.with(|cluster| cluster.committed_records("out"));
    let seen = records.iter().map(|r| (r.key.as_deref().unwrap(), r.value.as_deref().unwrap(), r.timestamp));
    assert_eq!(seen.collect::<Vec<_>>(), [("key", "a", 1_000), ("key", "b", 1_001)]);
    let task = until_task(&supervisor, |task| task.records_in == 2).await;
    assert_eq!((task.records_out, task.committed_offset, task.lag_records), (2, Some(2), Some(0)));
    supervisor.stop().await;
}

/// Every changing call has a point before and one after it: taking the id, one or two appends, the
/// offset, the end. Three transactions of them, and some more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_neither_loses_nor_repeats_a_record() {
    let mut crashes = 0;
    for step in 0..28 {
        let fixture = Fixture::new().await;
        let mut definition = fixture.definition();
        definition.commit.records_max = 2;
        fixture.deploy(definition).await;
        fixture.append(&["a", "poison 1", "b", "c"]);
        fixture.append(&["d", "e"]);
        crashes += usize::from(fixture.crash_at(step, fixture.caught_up()).await);
        let second = fixture.supervisor();
        fixture.append(&["f"]);
        fixture.caught_up().await;
        second.stop().await;
        assert_eq!(fixture.values("out"), ["a", "b", "c", "d", "e", "f"], "crash at step {step}");
        assert_eq!(fixture.values("p.dlq"), ["poison 1"], "crash at step {step}");
    }
    assert!(crashes >= 20, "only {crashes} crashes");
}

#[tokio::test]
async fn a_second_owner_fences_the_first_which_then_stops() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let first = fixture.supervisor();
    fixture.append(&["a"]);
    until_task(&first, |task| task.committed_offset == Some(1)).await;
    let second = fixture.supervisor();
    until_task(&second, |task| task.state == TaskState::Running).await;
    fixture.append(&["b", "c"]);
    let fenced = until_task(&first, |task| task.state == TaskState::Fenced).await;
    assert!(fenced.cause.unwrap().starts_with("INVALID_PRODUCER_EPOCH"));
    fixture.caught_up().await;
    assert_eq!(fixture.values("out"), ["a", "b", "c"]);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_transaction_that_the_coordinator_timed_out_is_done_again_by_the_same_owner() {
    let mut fixture = Fixture::new().await;
    // Every fence comes after the timeout then.
    fixture.tuning.transaction_timeout = Duration::ZERO;
    fixture.deploy(fixture.definition()).await;
    let (backend, gate) = (fixture.cluster.connect(), Arc::new(Semaphore::new(0)));
    backend.plan(Call::EndTransaction, Fault::Hold(gate.clone()));
    let supervisor = fixture.supervisor_on(backend);
    fixture.append(&["a"]);
    within(fixture.cluster.wait_until(|cluster| !cluster.open_transactional_ids().is_empty())).await;
    fixture.cluster.with(|cluster| cluster.time_out("proc/p/in-0"));
    gate.add_permits(1);
    fixture.caught_up().await;
    assert_eq!(until_task(&supervisor, |task| task.commits == 1).await.restarts, 1);
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a"]);
}

#[tokio::test]
async fn a_lost_reply_to_any_call_is_resolved_without_a_repeat() {
    for call in [Call::InitProducerId, Call::Produce, Call::CommitOffset, Call::EndTransaction] {
        let fixture = Fixture::new().await;
        fixture.deploy(fixture.definition()).await;
        let backend = fixture.cluster.connect();
        backend.plan(call, Fault::LoseReply);
        backend.plan(call, Fault::LoseReply);
        let supervisor = fixture.supervisor_on(backend);
        fixture.append(&["a", "b"]);
        fixture.caught_up().await;
        supervisor.stop().await;
        assert_eq!(fixture.values("out"), ["a", "b"], "{call:?}");
    }
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_asked_for_and_not_repeated() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let backend = fixture.cluster.connect();
    let gone = BackendError::from_code(ErrorCode::UnknownServerError, "the connection broke");
    let supervisor = fixture.supervisor_on(backend.clone());
    until_task(&supervisor, |task| task.state == TaskState::Running).await;
    // The commit happens, its reply is lost, and the retry is answered with something unknown.
    backend.plan(Call::EndTransaction, Fault::LoseReply);
    backend.plan(Call::EndTransaction, Fault::Refuse(gone));
    fixture.append(&["a", "b"]);
    let task = until_task(&supervisor, |task| task.restarts == 1 && task.state == TaskState::Running).await;
    assert_eq!(task.committed_offset, Some(2));
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
}

#[tokio::test]
async fn concurrent_transactions_are_waited_for_in_place() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let backend = fixture.cluster.connect();
    for call in [Call::InitProducerId, Call::Produce, Call::EndTransaction] {
        let busy = BackendError::from_code(ErrorCode::ConcurrentTransactions, "the one before is ending");
        backend.plan(call, Fault::Refuse(busy.clone()));
        backend.plan(call, Fault::Refuse(busy));
    }
    let supervisor = fixture.supervisor_on(backend);
    fixture.append(&["a"]);
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.commits == 1).await;
    assert_eq!((task.restarts, task.aborts), (0, 0));
    supervisor.stop().await;
}

#[tokio::test]
async fn while_a_commit_is_slow_the_next_records_are_processed_and_stay_in_order() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.commit.records_max = 1;
    fixture.deploy(definition).await;
    let (backend, gate) = (fixture.cluster.connect(), Arc::new(Semaphore::new(0)));
    backend.plan(Call::EndTransaction, Fault::Hold(gate.clone()));
    let supervisor = fixture.supervisor_on(backend);
    let mut processed = fixture.host.processed.subscribe();
    fixture.append(&["1", "2", "3", "4", "5", "6"]);
    // One held in its commit, one handed over, one processed and waiting: the bound of the pipeline.
    within(processed.wait_for(|count| *count >= 3)).await.unwrap();
    assert_eq!(fixture.values("out"), Vec::<String>::new());
    assert_eq!(fixture.cluster.with(|cluster| cluster.committed_offset("p", "in", 0)), None);
    assert!(*processed.borrow() <= 3);
    gate.add_permits(1);
    fixture.caught_up().await;
    supervisor.stop().await;
    let records = fixture.cluster.with(|cluster| cluster.committed_records("out"));
    let order = records.into_iter().map(|record| record.value.unwrap()).collect::<Vec<_>>();
    assert_eq!(order, ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_failed_commit_rewinds_what_was_already_processed_behind_it() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.commit.records_max = 1;
    fixture.deploy(definition).await;
    let (backend, gate) = (fixture.cluster.connect(), Arc::new(Semaphore::new(0)));
    backend.plan(Call::Produce, Fault::Hold(gate.clone()));
    let lost = BackendError::from_code(ErrorCode::TransactionAbortable, "abort and try again");
    backend.plan(Call::CommitOffset, Fault::Refuse(lost));
    let supervisor = fixture.supervisor_on(backend);
    let mut processed = fixture.host.processed.subscribe();
    fixture.append(&["1", "2", "3"]);
    within(processed.wait_for(|count| *count >= 3)).await.unwrap();
    gate.add_permits(1);
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.records_out == 3).await;
    assert_eq!((task.restarts, task.aborts), (1, 1));
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["1", "2", "3"]);
}

#[tokio::test]
async fn aborted_and_open_transactions_of_the_input_are_not_read() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    fixture.cluster.with(|cluster| {
        cluster.append_transaction("in", 0, &[("k", "aborted")], EndTransaction::Abort);
        cluster.append_transaction("in", 0, &[("k", "committed")], EndTransaction::Commit);
        cluster.append_transaction("in", 0, &[("k", "aborted too")], EndTransaction::Abort);
    });
    let supervisor = fixture.supervisor();
    // The offset passes over the trailing marker: no lag stays for ever.
    fixture.caught_up().await;
    fixture.cluster.with(|cluster| cluster.open_transaction("in", 0, &[("k", "open")]));
    fixture.append(&["behind the open one"]);
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["committed"]);
}

#[tokio::test]
async fn an_input_of_markers_only_moves_the_committed_offset() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    until_task(&supervisor, |task| task.state == TaskState::Running).await;
    fixture.cluster.with(|cluster| {
        cluster.append_transaction("in", 0, &[("k", "aborted")], EndTransaction::Abort);
    });
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.lag_records == Some(0)).await;
    assert_eq!((task.records_in, task.committed_offset), (0, Some(2)));
    supervisor.stop().await;
}

#[tokio::test]
async fn without_input_there_are_no_transactions() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    until_task(&supervisor, |task| task.state == TaskState::Running).await;
    supervisor.stop().await;
    assert_eq!(fixture.cluster.with(|cluster| cluster.commits + cluster.aborts), 0);
}

#[tokio::test]
async fn a_start_at_the_latest_record_is_kept_even_if_the_first_owner_dies_early() {
    let fixture = Fixture::new().await;
    fixture.append(&["old"]);
    fixture.deploy(ProcessorDefinition { start: StartPosition::Latest, ..fixture.definition() }).await;
    let first = fixture.supervisor();
    fixture.caught_up().await;
    first.kill().await;
    fixture.append(&["new"]);
    let second = fixture.supervisor();
    fixture.caught_up().await;
    second.stop().await;
    assert_eq!(fixture.values("out"), ["new"]);
}

#[tokio::test]
async fn a_start_at_an_offset_or_a_time_is_kept_and_kept_within_the_log() {
    // The records' timestamps are 1000, 1001 and 1002.
    let starts = [
        ("offset:1", &["b", "c", "d"][..]),
        ("offset:0", &["b", "c", "d"]),
        ("offset:99", &["d"]),
        ("time:1002", &["c", "d"]),
        ("time:0", &["b", "c", "d"]),
        ("time:5000", &["d"]),
    ];
    for (start, expected) in starts {
        let fixture = Fixture::new().await;
        fixture.append(&["a", "b", "c"]);
        fixture.cluster.with(|cluster| cluster.delete_records_before("in", 0, 1));
        let start_position = StartPosition::try_from(start.to_owned()).unwrap();
        fixture.deploy(ProcessorDefinition { start: start_position, ..fixture.definition() }).await;
        let first = fixture.supervisor();
        fixture.caught_up().await;
        first.kill().await;
        fixture.append(&["d"]);
        let second = fixture.supervisor();
        fixture.caught_up().await;
        second.stop().await;
        assert_eq!(fixture.values("out"), expected, "{start}");
    }
}

#[test]
fn start_positions_are_written_as_they_are_read() {
    for text in ["committed", "earliest", "latest", "offset:17", "time:1763719200000"] {
        assert_eq!(StartPosition::try_from(text.to_owned()).unwrap().to_string(), text);
    }
    for text in ["", "erliest", "offset:", "offset:-1", "time:noon", "time:-5", "at:3"] {
        assert!(StartPosition::try_from(text.to_owned()).is_err(), "{text}");
    }
}

#[tokio::test]
async fn records_that_retention_took_are_passed_over() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let first = fixture.supervisor();
    fixture.append(&["a"]);
    fixture.caught_up().await;
    first.stop().await;
    fixture.append(&["b"]);
    fixture.append(&["c"]);
    fixture.cluster.with(|cluster| cluster.delete_records_before("in", 0, 2));
    let second = fixture.supervisor();
    fixture.caught_up().await;
    let lines = second.logs("p", 0).unwrap().lines;
    assert!(lines.iter().any(|line| line.message == "1 offsets were deleted before they were read"));
    second.stop().await;
    assert_eq!(fixture.values("out"), ["a", "c"]);
}
