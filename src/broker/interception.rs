//! Where interceptors stand: between a client's request and the append, and between the log and a client's
//! response. Processors, which are no clients, do not pass them.
//!
//! No lock is held while one judges. A batch without interceptors is not looked at here.

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::{Broker, BrokerError, FetchRequest, FetchedPartition};
use crate::ids::TopicPartition;
use crate::interceptor::{BatchRules, Chain, Client, PendingAcknowledgement};
use crate::log::AppendOrigin;
use crate::partition::{Fetched, Partition};
use crate::plugin::Direction;
use crate::wire::record_batch::{ClientRules, KeyRule, RecordBatch};

/// A client's batch after its interceptors.
pub(super) struct Passed {
    pub(super) batch: RecordBatch,
    pub(super) origin: AppendOrigin,
    pub(super) pending: Option<PendingAcknowledgement>,
}

/// What a client gets of one partition.
#[derive(Debug)]
pub struct Served {
    /// What was found in the log.
    pub fetched: Fetched,
    /// What interceptors have made of it; `None` if they left it as it is.
    pub changed: Option<Bytes>,
}

impl Broker {
    /// Has a batch's interceptors judge it. One that the log holds already is not judged twice: it gets the
    /// answer that it missed. Interceptors know the partition that the client has named.
    pub(super) async fn intercept(
        &self,
        client: &Client,
        (topic_partition, partition): (&TopicPartition, &Arc<Partition>),
        batch: RecordBatch,
        rules: &ClientRules,
    ) -> Result<Passed, BrokerError> {
        let chain =
            self.interceptors().chain(Direction::Produce, topic_partition.topic.as_str(), &client.principal);
        let chain = chain.filter(|_| !partition.is_duplicate(batch.header()));
        let Some(chain) = chain else {
            return Ok(Passed { batch, origin: AppendOrigin::Client, pending: None });
        };
        // Boxed: the future of every Produce request would be as large as an interceptor's otherwise.
        Box::pin(judge_produced(chain, client, topic_partition, batch, rules)).await
    }

    /// Reads for a client: what [`Broker::fetch`] finds, after the interceptors on its way out.
    pub async fn fetch_for(
        &self,
        client: &Client,
        request: &FetchRequest,
    ) -> Vec<Result<Served, BrokerError>> {
        let fetched = self.fetch(request).await;
        let mut served = Vec::with_capacity(fetched.len());
        for (wanted, fetched) in request.partitions.iter().zip(fetched) {
            let chain = self.interceptors().chain(
                Direction::Fetch,
                wanted.topic_partition.topic.as_str(),
                &client.principal,
            );
            served.push(match chain {
                None => fetched.map(|fetched| Served { fetched, changed: None }),
                Some(chain) => {
                    Box::pin(self.judge_fetched(&chain, client, &wanted.topic_partition, fetched)).await
                }
            });
        }
        served
    }

    async fn judge_fetched(
        &self,
        chain: &Chain,
        client: &Client,
        topic_partition: &TopicPartition,
        fetched: FetchedPartition,
    ) -> Result<Served, BrokerError> {
        let fetched = fetched?;
        if fetched.read.is_empty() {
            return Ok(Served { fetched, changed: None });
        }
        let read = fetched.read.clone();
        let bytes = tokio::task::spawn_blocking(move || read.to_bytes());
        let bytes = bytes.await.map_err(|_| BrokerError::UnknownPartition)?.map_err(BrokerError::from)?;
        let rules = BatchRules {
            decompressed_bytes_max: self.config.net.decompressed_bytes_max,
            keys: KeyRule::Optional,
        };
        let judged = chain.judge_all(client, topic_partition, bytes, rules).await;
        match judged {
            Ok(changed) => Ok(Served { fetched, changed }),
            Err(refusal) => {
                // Fetch has no place for words, so that the log is where they can be read.
                if self.interceptors().may_warn() {
                    let principal = &client.principal;
                    tracing::warn!(%topic_partition, %principal, %refusal, "a fetch is refused");
                }
                Err(refusal.into())
            }
        }
    }
}

async fn judge_produced(
    chain: Chain,
    client: &Client,
    topic_partition: &TopicPartition,
    batch: RecordBatch,
    rules: &ClientRules,
) -> Result<Passed, BrokerError> {
    // As the client has sent it.
    let record_count = batch.header().record_count;
    let rules = BatchRules { decompressed_bytes_max: rules.decompressed_bytes_max, keys: rules.keys };
    let judged = chain.judge(client, topic_partition, &batch, rules).await;
    let pending = chain.into_pending(topic_partition, record_count);
    match judged {
        Ok(None) => Ok(Passed { batch, origin: AppendOrigin::Client, pending: Some(pending) }),
        Ok(Some(batch)) => Ok(Passed { batch, origin: AppendOrigin::Intercepted, pending: Some(pending) }),
        Err(refusal) => {
            pending.tell(Err(refusal.code)).await;
            Err(refusal.into())
        }
    }
}
