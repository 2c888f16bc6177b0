//! Transactions: every call goes through the coordinator, processors' calls too.

use std::time::Duration;

use crate::broker::coordination::PendingReply;
use crate::broker::{Broker, BrokerError};
use crate::coordinator::markers;
use crate::coordinator::txn::{
    AddMode, AddPartitions, ClientApi, EndTxn, Event, FreshProducerId, InitProducerId, ListFilters, Reply,
    TransactionDescription, TransactionListing,
};
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, ProducerId, ProducerIdent, TopicPartition, TransactionalId};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};

/// How long the broker itself waits for the previous transaction's markers before it tells the
/// client to try again (Kafka's `add.partitions.to.txn.retry.backoff.max.ms` serves this purpose).
const IMPLICIT_ADD_WAIT: Duration = Duration::from_millis(1_000);

/// What AddPartitionsToTxn, or the broker on a client's behalf, adds.
#[derive(Clone, Debug)]
pub struct AddToTransaction {
    /// The transactional id.
    pub transactional_id: TransactionalId,
    /// The producer, as the client says.
    pub producer: ProducerIdent,
    /// What the transaction is about to write to.
    pub partitions: Vec<TopicPartition>,
    /// The request's dialect.
    pub api: ClientApi,
    /// Whose request it is: V1 a client's own, V2 the broker's on the client's behalf.
    pub version: TransactionVersion,
}

impl Broker {
    /// Gives a transactional producer its ident and fences whoever had it before.
    pub async fn init_producer_id(
        &self,
        transactional_id: TransactionalId,
        timeout_ms: i32,
        expected: Option<ProducerIdent>,
        api: ClientApi,
    ) -> Result<ProducerIdent, BrokerError> {
        let fresh = self.fresh_producer_id().await?;
        let id = transactional_id.clone();
        let reply = self.ask_txn(&id, move |request, _| {
            Event::InitProducerId(InitProducerId {
                request,
                transactional_id,
                timeout_ms,
                expected,
                fresh,
                api,
            })
        });
        match reply.await?.answer().await? {
            Reply::InitProducerId(result) => result.map_err(|code| refused(code, "InitProducerId")),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds partitions to a transaction; the one code is for all of them.
    pub async fn add_to_transaction(&self, add: AddToTransaction) -> Result<(), BrokerError> {
        match self.ask_add(add, AddMode::Add).await?.answer().await? {
            Reply::AddPartitions(ErrorCode::None) => Ok(()),
            Reply::AddPartitions(code) => Err(refused(code, "adding partitions to the transaction")),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds partitions on behalf of a client that leaves this to the broker (KIP-890); waits a
    /// little for the previous transaction's end rather than bouncing the client.
    pub async fn add_implicitly(&self, add: AddToTransaction) -> Result<(), BrokerError> {
        let give_up = tokio::time::Instant::now() + IMPLICIT_ADD_WAIT;
        loop {
            let shard = self.txn_shard(&add.transactional_id).await?;
            // Listened to before the question: an end that comes in between is not missed.
            let mut changed = std::pin::pin!(shard.changes().notified());
            changed.as_mut().enable();
            match self.add_to_transaction(add.clone()).await {
                Err(error) if error.code() == ErrorCode::ConcurrentTransactions => {
                    // Asked of the clock as well: a wait that finds its change there already never times out.
                    let has_time = tokio::time::Instant::now() < give_up;
                    if !has_time || tokio::time::timeout_at(give_up, changed).await.is_err() {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    /// Checks that partitions are in a transaction, and changes nothing.
    pub async fn verify_in_transaction(
        &self,
        add: AddToTransaction,
    ) -> Result<Vec<(TopicPartition, ErrorCode)>, BrokerError> {
        match self.ask_add(add, AddMode::VerifyOnly).await?.answer().await? {
            Reply::VerifyPartitions(results) => Ok(results),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask_add(
        &self,
        add: AddToTransaction,
        mode: AddMode,
    ) -> Result<PendingReply<Reply>, BrokerError> {
        let id = add.transactional_id.clone();
        self.ask_txn(&id, move |request, _| {
            Event::AddPartitions(AddPartitions {
                request,
                transactional_id: add.transactional_id,
                producer: add.producer,
                partitions: add.partitions,
                api: add.api,
                version: add.version,
                mode,
            })
        })
        .await
    }

    /// Adds a group's offsets to a transaction.
    pub async fn add_offsets_to_transaction(
        &self,
        transactional_id: TransactionalId,
        producer: ProducerIdent,
        group: &GroupId,
        api: ClientApi,
    ) -> Result<(), BrokerError> {
        let partition = self.group_partition(group).await?;
        let add = AddToTransaction {
            transactional_id,
            producer,
            partitions: vec![partition],
            api,
            version: TransactionVersion::V1,
        };
        self.add_to_transaction(add).await
    }

    /// Ends a transaction. Commit or abort is decided, and cannot change any more, once this
    /// answers; the ident is the one for the next transaction.
    pub async fn end_transaction(
        &self,
        transactional_id: TransactionalId,
        producer: ProducerIdent,
        result: EndTransaction,
        api: ClientApi,
        version: TransactionVersion,
    ) -> Result<ProducerIdent, BrokerError> {
        let mut spare = self.spare_producer_id().await?;
        let id = transactional_id.clone();
        let reply = self.ask_txn(&id, move |request, shard| {
            let event = |fresh: Option<ProducerId>| {
                Event::EndTxn(EndTxn { request, transactional_id, producer, result, api, version, fresh })
            };
            let mut event = event(None);
            if shard.needs_fresh_producer_id(&event) == FreshProducerId::Needed
                && let Event::EndTxn(end) = &mut event
            {
                end.fresh = Some(spare.take());
            }
            event
        });
        match reply.await?.answer().await? {
            Reply::EndTxn(result) => result.map_err(|code| refused(code, "EndTxn")),
            other => Err(unexpected(&other)),
        }
    }

    /// What is known of a transactional id.
    pub async fn describe_transaction(
        &self,
        transactional_id: TransactionalId,
    ) -> Result<TransactionDescription, BrokerError> {
        let id = transactional_id.clone();
        let reply = self.ask_txn(&id, move |request, _| Event::Describe { request, transactional_id });
        match reply.await?.answer().await? {
            Reply::Describe(result) => result.map_err(|code| refused(code, "DescribeTransactions")),
            other => Err(unexpected(&other)),
        }
    }

    /// All transactions that match the filters.
    pub async fn list_transactions(&self, filters: ListFilters) -> Result<TransactionListing, BrokerError> {
        let mut listing = TransactionListing::default();
        for shard in self.txn_shards() {
            let filters = filters.clone();
            let answer = shard.ask(move |request, _| Event::List { request, filters }).await?;
            match answer.await.map_err(|_| BrokerError::CoordinatorUnavailable)? {
                Reply::List(part) => {
                    listing.transactions.extend(part.transactions);
                    listing.unknown_state_filters = part.unknown_state_filters;
                }
                other => return Err(unexpected(&other)),
            }
        }
        listing.transactions.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        Ok(listing)
    }

    /// Aborts the running transaction of a producer that is gone.
    pub async fn force_abort(&self, transactional_id: TransactionalId) -> Result<(), BrokerError> {
        let id = transactional_id.clone();
        let reply = self.ask_txn(&id, move |request, _| Event::ForceAbort { request, transactional_id });
        match reply.await?.answer().await? {
            Reply::ForceAbort(ErrorCode::None) => Ok(()),
            Reply::ForceAbort(code) => Err(refused(code, "aborting the transaction")),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes an end marker that an administrator or another coordinator sends.
    pub async fn write_marker(
        &self,
        topic_partition: &TopicPartition,
        marker: &EndTransactionMarker,
        version: TransactionVersion,
    ) -> ErrorCode {
        markers::write(&self.coordinators, topic_partition, marker, version).await
    }
}

fn refused(code: ErrorCode, what: &str) -> BrokerError {
    BrokerError::refused(code, format!("{what} was refused"))
}

fn unexpected(reply: &Reply) -> BrokerError {
    tracing::error!(?reply, "a transaction coordinator answered another question");
    BrokerError::CoordinatorUnavailable
}
