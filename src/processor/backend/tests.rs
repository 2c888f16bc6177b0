//! What a code means for a task.

use super::*;

#[test]
fn every_code_has_one_meaning_for_a_task() {
    for (code, meaning) in [
        (ErrorCode::ProducerFenced, "fenced"),
        (ErrorCode::InvalidProducerEpoch, "fenced"),
        (ErrorCode::ConcurrentTransactions, "retriable"),
        (ErrorCode::CoordinatorLoadInProgress, "retriable"),
        (ErrorCode::UnstableOffsetCommit, "retriable"),
        (ErrorCode::TransactionAbortable, "abortable"),
        (ErrorCode::UnknownTopicOrPartition, "unknown topic"),
        (ErrorCode::MessageTooLarge, "rejected"),
        (ErrorCode::TopicAuthorizationFailed, "fatal"),
        (ErrorCode::OffsetOutOfRange, "out of range"),
    ] {
        let found = match BackendError::from_code(code, "why") {
            BackendError::Fenced { .. } => "fenced",
            BackendError::Retriable { .. } => "retriable",
            BackendError::Abortable { .. } => "abortable",
            BackendError::UnknownTopic(_) => "unknown topic",
            BackendError::OffsetOutOfRange => "out of range",
            BackendError::Rejected { .. } => "rejected",
            BackendError::Fatal { .. } => "fatal",
        };
        assert_eq!(found, meaning, "{code}");
    }
}
