//! What time brings, and what an operator asks: timed-out transactions, idle ids, forced aborts.
//!
//! A tick writes one batch, bounded in records and bytes; what is left over stays due.

use crate::clock::Timestamp;
use crate::coordinator::{RequestId, Write};
use crate::error_code::ErrorCode;
use crate::ids::TransactionalId;

use super::event::{Reply, TxnOutput};
use super::metadata::{TransactionMetadata, TransactionState};
use super::record::TxnRecord;
use super::{TxnShard, answer, record};

impl TxnShard {
    pub(super) fn tick(&self, now: Timestamp) -> TxnOutput {
        let mut records: Vec<TxnRecord> = Vec::new();
        let mut effects = Vec::new();
        let mut bytes = 0;
        for (_, id) in self.deadlines.iter().take_while(|(deadline, _)| *deadline <= now) {
            let Some(current) = self.metadata(id) else { continue };
            let due = self.due(now, id, current);
            let Some(Write::Records(due_records)) = due.write else { continue };
            bytes += due_records.iter().map(TxnRecord::estimated_bytes).sum::<usize>();
            let full = records.len() + due_records.len() > self.config.tick_records_max
                || bytes > self.config.write_bytes_max;
            // The first one always goes, or nothing ever would.
            if full && !records.is_empty() {
                break;
            }
            records.extend(due_records);
            effects.extend(due.effects);
        }
        let write = (!records.is_empty()).then_some(Write::Records(records));
        TxnOutput { write, replies: Vec::new(), effects }
    }

    /// What an id whose deadline has come needs.
    fn due(&self, now: Timestamp, id: &TransactionalId, current: &TransactionMetadata) -> TxnOutput {
        let records = match current.state {
            TransactionState::Ongoing => return self.fence(now, id, current, None),
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                current.completed(now).into_iter().map(|next| record(id, next)).collect()
            }
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                vec![TxnRecord { transactional_id: id.clone(), metadata: None }]
            }
        };
        TxnOutput { write: Some(Write::Records(records)), ..TxnOutput::default() }
    }

    pub(super) fn force_abort(&self, now: Timestamp, request: RequestId, id: &TransactionalId) -> TxnOutput {
        let Some(current) = self.metadata(id) else {
            return answer(request, Reply::ForceAbort(ErrorCode::TransactionalIdNotFound));
        };
        let (mut output, code) = match current.state {
            TransactionState::Ongoing => (self.fence(now, id, current, None), ErrorCode::None),
            // Too late to decide otherwise. Its markers are under way: to send them twice could end,
            // with transactions V1, the next transaction of the same epoch.
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                (TxnOutput::default(), ErrorCode::ConcurrentTransactions)
            }
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                (TxnOutput::default(), ErrorCode::InvalidTxnState)
            }
        };
        output.replies.push((request, Reply::ForceAbort(code)));
        output
    }
}
