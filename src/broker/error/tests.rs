//! What a failed call says.

use super::BrokerError;
use crate::error_code::ErrorCode;
use crate::partition::PartitionError;

#[test]
fn an_explanation_does_not_repeat_the_code_that_stands_beside_it() {
    let message = "topic \"orders\" already exists".to_owned();
    let refused = BrokerError::refused(ErrorCode::TopicAlreadyExists, message.clone());
    assert_eq!(refused.explanation(), message);
    let code = ErrorCode::InvalidRecord;
    let rejected = BrokerError::Partition(PartitionError::Rejected { code, message: message.clone() });
    assert_eq!(rejected.explanation(), message);
}

#[test]
fn a_failure_without_a_message_of_its_own_says_what_it_is() {
    assert_eq!(BrokerError::UnknownPartition.explanation(), "there is no such topic or partition");
}
