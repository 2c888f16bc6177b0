//! Appending for clients and processors: checks, interceptors, the transaction's consent, the append itself.
//!
//! What is appended is durable only once `Broker::committed` says so.

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::transactions::AddToTransaction;
use crate::broker::{Broker, BrokerError};
use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::ids::{Offset, ProducerIdent, TopicPartition, TransactionalId};
use crate::interceptor::{Client, PendingAcknowledgement};
use crate::log::{AppendOrigin, LogConfig};
use crate::metadata::image::is_internal_name;
use crate::partition::{CommittedAppend, Partition, Verified};
use crate::wire::control_record::TransactionVersion;
use crate::wire::record_batch::{BatchError, ClientRules, KeyRule, RecordBatch, TimestampType, ZstdRule};

/// How often a consent is asked for again because a transaction's end came in between.
const CONSENTS_MAX: usize = 3;

/// What a client's Produce brings for one partition.
#[derive(Clone, Debug)]
pub struct ClientBatch {
    /// Where to.
    pub topic_partition: TopicPartition,
    /// The batch as it came.
    pub bytes: Bytes,
    /// Whether the request's version allows zstd.
    pub zstd: ZstdRule,
    /// The request's transaction, if it names one.
    pub transaction: Option<TransactionalProduce>,
}

/// The transaction that a Produce request belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionalProduce {
    /// Its id.
    pub transactional_id: TransactionalId,
    /// V2: the broker adds the partition (Produce v12 and later); V1: it must have been added.
    pub version: TransactionVersion,
    /// The dialect in which the coordinator's refusals are answered.
    pub api: ClientApi,
}

impl From<BatchError> for BrokerError {
    fn from(error: BatchError) -> Self {
        BrokerError::refused(error.error_code(), error.to_string())
    }
}

/// Where a batch goes that names a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Destination {
    /// Where the topic says: into its ingress, if it has a partitioner.
    OfTopic,
    /// There: the topic's partitioner has been asked already.
    Named,
}

/// A client's batch in the log.
pub struct Produced {
    /// Where.
    pub partition: Arc<Partition>,
    /// What the log says.
    pub committed: CommittedAppend,
    /// What its interceptors are to be told once it is durable.
    pub pending: Option<PendingAcknowledgement>,
}

impl Broker {
    /// Checks a client's batch, has its interceptors judge it, and appends it.
    pub async fn produce(&self, batch: ClientBatch, client: &Client) -> Result<Produced, BrokerError> {
        self.produce_to(Destination::OfTopic, batch, client).await
    }

    /// The same for a batch whose partition stands, whatever chooses the partitions of its topic.
    pub async fn produce_placed(&self, batch: ClientBatch, client: &Client) -> Result<Produced, BrokerError> {
        self.produce_to(Destination::Named, batch, client).await
    }

    /// Waits until a client's batch is durable and readable, and tells its interceptors; answers its first offset.
    pub async fn settle(&self, produced: Produced) -> Result<Offset, BrokerError> {
        let Produced { partition, committed, pending } = produced;
        let settled = self.committed(&partition, committed.position).await.map(|()| committed.base_offset);
        if let Some(pending) = pending {
            let outcome = settled.as_ref().map(|base_offset| *base_offset).map_err(BrokerError::code);
            Box::pin(pending.tell(outcome)).await;
        }
        settled
    }

    async fn produce_to(
        &self,
        destination: Destination,
        batch: ClientBatch,
        client: &Client,
    ) -> Result<Produced, BrokerError> {
        let topic_partition = &batch.topic_partition;
        if is_internal_name(topic_partition.topic.as_str()) {
            let message =
                format!("{} is an internal topic; clients cannot write to it", topic_partition.topic);
            return Err(BrokerError::refused(ErrorCode::InvalidTopicException, message));
        }
        let partition = self.partition(topic_partition)?;
        let rules = self.client_rules(&partition.config(), batch.zstd);
        let checked = check_client_batch(batch.bytes, &rules)?;
        let partition = match destination {
            Destination::OfTopic => self.append_target(partition, checked.header())?,
            Destination::Named => partition,
        };
        let passed = self.intercept(client, (topic_partition, &partition), checked, &rules).await?;
        let appended = self.append_as(&partition, &passed.batch, passed.origin, batch.transaction).await;
        match (appended, passed.pending) {
            (Ok(committed), pending) => Ok(Produced { partition, committed, pending }),
            (Err(error), pending) => {
                if let Some(pending) = pending {
                    Box::pin(pending.tell(Err(error.code()))).await;
                }
                Err(error)
            }
        }
    }

    /// Appends a batch that is known to be well made.
    pub async fn append(
        &self,
        partition: Arc<Partition>,
        batch: &RecordBatch,
        origin: AppendOrigin,
        transaction: Option<TransactionalProduce>,
    ) -> Result<(Arc<Partition>, CommittedAppend), BrokerError> {
        let committed = self.append_as(&partition, batch, origin, transaction).await?;
        Ok((partition, committed))
    }

    async fn append_as(
        &self,
        partition: &Arc<Partition>,
        batch: &RecordBatch,
        origin: AppendOrigin,
        transaction: Option<TransactionalProduce>,
    ) -> Result<CommittedAppend, BrokerError> {
        let guard = self.consent(partition, batch, transaction).await?;
        let recompressed = match partition.config().compression {
            Some(codec) if codec != batch.header().compression => {
                Some(batch.recompressed(codec, self.config.net.decompressed_bytes_max)?)
            }
            Some(_) | None => None,
        };
        let batch = recompressed.as_ref().unwrap_or(batch);
        Ok(partition.append(batch, origin, guard, self.clock.now())?)
    }

    fn client_rules(&self, config: &LogConfig, zstd: ZstdRule) -> ClientRules {
        let now = self.clock.now().ms();
        let bound = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let (timestamp_earliest, timestamp_latest) = match config.message_timestamp_type {
            TimestampType::CreateTime => (
                now.saturating_sub(bound(config.timestamp_before_max_ms)),
                now.saturating_add(bound(config.timestamp_after_max_ms)),
            ),
            TimestampType::LogAppendTime => (i64::MIN, i64::MAX),
        };
        ClientRules {
            decompressed_bytes_max: self.config.net.decompressed_bytes_max,
            keys: if config.cleanup_policy.compacts() { KeyRule::Required } else { KeyRule::Optional },
            zstd,
            // As sent; the log looks again at what it has become.
            batch_bytes_max: config.max_message_bytes,
            timestamp_earliest,
            timestamp_latest,
        }
    }

    /// Asks the coordinator about a producer's first append of a transaction to a partition: a
    /// late request of an ended transaction must not open a new one (KIP-890).
    async fn consent(
        &self,
        partition: &Arc<Partition>,
        batch: &RecordBatch,
        transaction: Option<TransactionalProduce>,
    ) -> Result<Option<Verified>, BrokerError> {
        let Some(producer) = batch.header().producer.map(|producer| producer.ident) else { return Ok(None) };
        if !batch.header().is_transactional {
            return Ok(None);
        }
        let Some(transaction) = transaction else {
            let message = "a transactional batch came without a transactional id";
            return Err(BrokerError::refused(ErrorCode::InvalidTxnState, message));
        };
        let TransactionalProduce { transactional_id, version, api } = transaction;
        let add = AddToTransaction {
            transactional_id,
            producer,
            partitions: vec![partition.topic_partition().clone()],
            api,
            version,
        };
        for _ in 0..CONSENTS_MAX {
            if is_open(partition, producer) {
                return Ok(None);
            }
            let guard = partition.begin_verification(producer.id);
            let asked = match version {
                TransactionVersion::V1 => self.verify(add.clone()).await,
                TransactionVersion::V2 => self.add_implicitly(add.clone()).await,
            };
            asked.map_err(|error| for_producer(&error, api))?;
            if partition.is_verifying(producer.id, guard) {
                return Ok(Some(Verified { guard, version }));
            }
            // A marker came while the coordinator was asked. Most likely the transaction before this
            // one had still to end, and the consent is for this one: but only a consent that is
            // asked for after the marker proves it.
        }
        let message = "the transaction ended while this batch was on its way";
        Err(BrokerError::refused(ErrorCode::InvalidTxnState, message))
    }

    async fn verify(&self, add: AddToTransaction) -> Result<(), BrokerError> {
        let results = self.verify_in_transaction(add).await?;
        match results.into_iter().find(|(_, code)| *code != ErrorCode::None) {
            Some((partition, code)) => {
                Err(BrokerError::refused(code, format!("{partition} is not in the transaction")))
            }
            None => Ok(()),
        }
    }
}

fn check_client_batch(bytes: Bytes, rules: &ClientRules) -> Result<RecordBatch, BrokerError> {
    let batch = RecordBatch::check(bytes)?;
    let check = batch.check_from_client(rules)?;
    if check.max_timestamp == batch.header().max_timestamp {
        Ok(batch)
    } else {
        Ok(batch.with_max_timestamp(check.max_timestamp))
    }
}

fn is_open(partition: &Partition, producer: ProducerIdent) -> bool {
    partition.open_transaction(producer.id).is_some_and(|open| open.epoch == producer.epoch)
}

/// The coordinator's refusal as a producer understands it (KIP-890): what passes by itself becomes
/// NOT_ENOUGH_REPLICAS, on which every client sends the same batch again.
fn for_producer(error: &BrokerError, api: ClientApi) -> BrokerError {
    let code = match error.code() {
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if api != ClientApi::TransactionAbortable => {
            ErrorCode::InvalidTxnState
        }
        code => code,
    };
    BrokerError::refused(code, error.to_string())
}
