//! InitProducerId: who the producer is from now on, and who is not any more.
//!
//! Follows Kafka's TransactionCoordinator.handleInitProducerId with KIP-360 (a client names the
//! ident that it holds) and KIP-890. Changes nothing itself.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordinator::Write;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerIdent, TransactionalId};

use super::event::{InitProducerId, Reply, TxnOutput};
use super::metadata::{Initialised, TransactionMetadata, TransactionState};
use super::record::TRANSACTIONAL_ID_BYTES_MAX;
use super::{TxnShard, answer, record};

impl TxnShard {
    pub(super) fn init_producer_id(&self, now: Timestamp, init: InitProducerId) -> TxnOutput {
        let refuse = |code| answer(init.request, Reply::InitProducerId(Err(code)));
        if let Err(code) = self.check_init(&init) {
            return refuse(code);
        }
        let Some(current) = self.metadata(&init.transactional_id) else {
            let first = TransactionMetadata::new(init.fresh, init.timeout_ms, now);
            return initialise(&init, first);
        };
        match current.state {
            // Kafka looks at its pending state before it looks at the ident, and a decided
            // transaction is pending there until it is complete (KAFKA-18660).
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                refuse(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::Ongoing => {
                // Kafka checks only the producer id here, so a zombie's InitProducerId ends the
                // transaction of its successor before it is itself refused. We check the epoch too.
                if init.expected.is_some_and(|expected| expected != current.producer) {
                    return refuse(init.api.fenced());
                }
                let mut output = self.fence(now, &init.transactional_id, current, Some(init.fresh));
                let reply = Reply::InitProducerId(Err(ErrorCode::ConcurrentTransactions));
                output.replies.push((init.request, reply));
                output
            }
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                match next_ident(current, &init) {
                    Ok(change) => initialise(&init, current.initialised(change, now)),
                    Err(code) => refuse(code),
                }
            }
        }
    }

    fn check_init(&self, init: &InitProducerId) -> Result<(), ErrorCode> {
        check_id(&init.transactional_id)?;
        let timeout = u64::try_from(init.timeout_ms).map(Duration::from_millis);
        match timeout {
            Ok(timeout) if !timeout.is_zero() && timeout <= self.config.transaction_timeout_max => Ok(()),
            Ok(_) | Err(_) => Err(ErrorCode::InvalidTransactionTimeout),
        }
    }
}

/// An id must not be empty, and must fit into a record's key.
pub(super) fn check_id(id: &TransactionalId) -> Result<(), ErrorCode> {
    match id.as_str().len() {
        1..=TRANSACTIONAL_ID_BYTES_MAX => Ok(()),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn initialise(init: &InitProducerId, next: TransactionMetadata) -> TxnOutput {
    TxnOutput {
        replies: vec![(init.request, Reply::InitProducerId(Ok(next.producer)))],
        write: Some(Write::Records(vec![record(&init.transactional_id, next)])),
        effects: Vec::new(),
    }
}

/// The ident of the next session for an id without a running transaction, or why there is none.
fn next_ident(current: &TransactionMetadata, init: &InitProducerId) -> Result<Initialised, ErrorCode> {
    let timeout_ms = init.timeout_ms;
    let last_producer_epoch = match init.expected {
        // A new producer: what went before must not be able to ask again.
        None => None,
        // The producer itself goes on after an error.
        Some(expected) if expected == current.producer => Some(expected.epoch),
        // Its earlier attempt went through and the reply was lost: the same answer again. No newer
        // producer has come in between, or the last epoch would be gone (KIP-360).
        Some(expected) if current.is_last(expected) && current.producer.epoch != ProducerEpoch::MAX => {
            let last_producer_epoch = current.last_producer_epoch;
            return Ok(Initialised { producer: current.producer, last_producer_epoch, timeout_ms });
        }
        Some(_) => return Err(init.api.fenced()),
    };
    let producer = match current.producer.epoch.next() {
        Some(epoch) if !current.producer.epoch.is_exhausted() => {
            ProducerIdent { id: current.producer.id, epoch }
        }
        Some(_) | None => ProducerIdent { id: init.fresh, epoch: ProducerEpoch::ZERO },
    };
    Ok(Initialised { producer, last_producer_epoch, timeout_ms })
}
