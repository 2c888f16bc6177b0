//! AddPartitionsToTxn in its three uses: a client's own request, a group's offsets partition, and the
//! broker's add or check before a transactional append (KIP-890). Changes nothing itself.

use crate::clock::Timestamp;
use crate::coordinator::Write;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerIdent};

use super::event::{AddMode, AddPartitions, ClientApi, Reply, TxnOutput};
use super::init_producer_id::check_id;
use super::metadata::{TransactionMetadata, TransactionState};
use super::record::estimated_partition_bytes;
use super::{TxnShard, answer, record};

impl TxnShard {
    pub(super) fn add_partitions(&self, now: Timestamp, add: AddPartitions) -> TxnOutput {
        match add.mode {
            AddMode::Add => match self.next_with_partitions(now, &add) {
                Ok(next) => TxnOutput {
                    write: next.map(|next| Write::Records(vec![record(&add.transactional_id, next)])),
                    replies: vec![(add.request, Reply::AddPartitions(ErrorCode::None))],
                    effects: Vec::new(),
                },
                Err(code) => answer(add.request, Reply::AddPartitions(code)),
            },
            AddMode::VerifyOnly => self.verify_partitions(add),
        }
    }

    /// The state to write, or `None` if there is nothing to add.
    fn next_with_partitions(
        &self,
        now: Timestamp,
        add: &AddPartitions,
    ) -> Result<Option<TransactionMetadata>, ErrorCode> {
        check_id(&add.transactional_id)?;
        let current = self.metadata(&add.transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        // Before the ident, as Kafka tests its pending state: the client may already hold the
        // ident that becomes current when the decided transaction completes (KAFKA-18660).
        if current.state.decided().is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        check_producer(current, add.producer, add.api)?;
        let ongoing = current.state == TransactionState::Ongoing;
        let nothing_new = add.partitions.iter().all(|partition| current.partitions.contains(partition));
        if add.partitions.is_empty() || (ongoing && nothing_new) {
            return Ok(None);
        }
        // All of it travels in one record from now on, up to the last one.
        let next = current.with_partitions(&add.partitions, add.version, now);
        let bytes: usize = next.partitions.iter().map(estimated_partition_bytes).sum();
        if bytes > self.config.write_bytes_max {
            return Err(ErrorCode::MessageTooLarge);
        }
        Ok(Some(next))
    }

    fn verify_partitions(&self, add: AddPartitions) -> TxnOutput {
        let checked = self.transaction_to_verify(&add);
        let codes = add.partitions.into_iter().map(|partition| {
            let code = match checked {
                Ok(current) if current.partitions.contains(&partition) => ErrorCode::None,
                Ok(_) => add.api.not_in_transaction(),
                Err(code) => code,
            };
            (partition, code)
        });
        answer(add.request, Reply::VerifyPartitions(codes.collect()))
    }

    fn transaction_to_verify(&self, add: &AddPartitions) -> Result<&TransactionMetadata, ErrorCode> {
        check_id(&add.transactional_id)?;
        let current = self.metadata(&add.transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        check_producer(current, add.producer, add.api)?;
        match current.state.decided() {
            Some(_) => Err(ErrorCode::ConcurrentTransactions),
            None => Ok(current),
        }
    }
}

/// The producer must hold exactly the current ident.
pub(super) fn check_producer(
    current: &TransactionMetadata,
    producer: ProducerIdent,
    api: ClientApi,
) -> Result<(), ErrorCode> {
    if producer.id != current.producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    // The last epoch only ever fences: whoever presents it cannot have been given it.
    if producer.epoch != current.producer.epoch || producer.epoch == ProducerEpoch::MAX {
        return Err(api.fenced());
    }
    Ok(())
}
