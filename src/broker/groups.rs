//! Groups: offsets committed as part of a transaction, and questions that go to all shards.

use crate::broker::transactions::AddToTransaction;
use crate::broker::{Broker, BrokerError, PendingReply};
use crate::coordinator::group::{Event, OffsetCommit, Reply};
use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerIdent, TopicPartition, TransactionalId};
use crate::wire::control_record::TransactionVersion;

/// What a commit answers, for each partition.
pub type CommitResults = Vec<(TopicPartition, ErrorCode)>;

impl Broker {
    /// Commits offsets that count only if the transaction commits. Hands the commit over in order;
    /// the answer is waited for apart.
    ///
    /// The coordinator is asked each time: unlike a partition, a group's shard takes offsets of a
    /// producer whose transaction has ended without noticing.
    pub async fn commit_offsets_in_transaction(
        &self,
        transactional_id: TransactionalId,
        producer: ProducerIdent,
        commit: OffsetCommit,
        version: TransactionVersion,
        api: ClientApi,
    ) -> Result<impl Future<Output = Result<CommitResults, BrokerError>> + Send + use<>, BrokerError> {
        let partition = self.group_partition(&commit.group).await?;
        let add = AddToTransaction { transactional_id, producer, partitions: vec![partition], api, version };
        match version {
            TransactionVersion::V2 => self.add_implicitly(add).await?,
            TransactionVersion::V1 => self.check_in_transaction(add).await?,
        }
        let group = commit.group.clone();
        let event = move |request| Event::TxnOffsetCommit { request, producer, commit };
        let pending = self.ask_group(&group, event).await?;
        Ok(results(pending))
    }

    async fn check_in_transaction(&self, add: AddToTransaction) -> Result<(), BrokerError> {
        let verified = self.verify_in_transaction(add).await?;
        match verified.into_iter().find(|(_, code)| *code != ErrorCode::None) {
            Some((_, code)) => Err(BrokerError::refused(code, "the group is not in the transaction")),
            None => Ok(()),
        }
    }
}

async fn results(pending: PendingReply<Reply>) -> Result<CommitResults, BrokerError> {
    match pending.answer().await? {
        Reply::TxnOffsetCommit(results) => Ok(results),
        _ => Err(BrokerError::CoordinatorUnavailable),
    }
}
