//! EndTxn: the table of what a commit or an abort means in each state, for both protocols.
//!
//! `Prepare*` is the commit point: its record decides, and everything after it is repeated until it
//! is done. Follows Kafka's TransactionCoordinator.endTransaction and KIP-890. Changes nothing itself.

use crate::clock::Timestamp;
use crate::coordinator::Write;
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, ProducerIdent, TransactionalId};
use crate::wire::control_record::{EndTransaction, TransactionVersion};

use super::add_partitions::check_producer;
use super::event::{EndTxn, Reply, TxnOutput};
use super::init_producer_id::check_id;
use super::metadata::{Prepared, TransactionMetadata, TransactionState};
use super::{FreshProducerId, TxnShard, answer, record};

/// What a legal EndTxn leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Write the decision.
    Prepare,
    /// It has been done before: the same answer again.
    AlreadyDone,
}

/// Whose request it is, seen from the stored state (V2 only).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Caller {
    /// Holds the current ident.
    Current,
    /// Holds the ident that the end of the last transaction replaced: asks a second time.
    Retry,
}

impl TxnShard {
    pub(super) fn end_txn(&self, now: Timestamp, end: EndTxn) -> TxnOutput {
        let refuse = |code| answer(end.request, Reply::EndTxn(Err(code)));
        let current = match self.transaction_to_end(&end.transactional_id) {
            Ok(current) => current,
            Err(code) => return refuse(code),
        };
        match verdict(current, &end) {
            Err(code) => refuse(code),
            Ok(Verdict::AlreadyDone) => answer(end.request, Reply::EndTxn(Ok(current.producer))),
            Ok(Verdict::Prepare) => {
                // The caller could not get a producer id: nothing has happened, try again.
                if end.fresh.is_none() && needs_rotation(current, end.version) {
                    return refuse(ErrorCode::CoordinatorNotAvailable);
                }
                let prepared = Prepared { result: end.result, version: end.version, fresh: end.fresh };
                let next = current.prepared_by_client(prepared, now);
                let reply = Reply::EndTxn(Ok(next.after_end()));
                let mut output = self.decided(now, &end.transactional_id, next);
                output.replies.push((end.request, reply));
                output
            }
        }
    }

    pub(super) fn end_needs_fresh_producer_id(&self, end: &EndTxn) -> FreshProducerId {
        match self.metadata(&end.transactional_id) {
            Some(current)
                if needs_rotation(current, end.version) && verdict(current, end) == Ok(Verdict::Prepare) =>
            {
                FreshProducerId::Needed
            }
            Some(_) | None => FreshProducerId::NotNeeded,
        }
    }

    /// Aborts a running transaction on the coordinator's own account and fences its producer.
    pub(super) fn fence(
        &self,
        now: Timestamp,
        id: &TransactionalId,
        current: &TransactionMetadata,
        fresh: Option<ProducerId>,
    ) -> TxnOutput {
        self.decided(now, id, current.prepared_by_fence(fresh, now))
    }

    fn transaction_to_end(&self, id: &TransactionalId) -> Result<&TransactionMetadata, ErrorCode> {
        check_id(id)?;
        self.metadata(id).ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    /// Writes a decision and asks for its markers; one without partitions is complete at once, in
    /// the same atomic write, so that the log shows both states and nobody sees the first alone.
    fn decided(&self, now: Timestamp, id: &TransactionalId, prepared: TransactionMetadata) -> TxnOutput {
        let effects = self.markers_of(id, &prepared);
        let completed = if effects.is_empty() { prepared.completed(now) } else { None };
        let records = [Some(prepared), completed].into_iter().flatten();
        let records = records.map(|metadata| record(id, metadata)).collect();
        TxnOutput { write: Some(Write::Records(records)), replies: Vec::new(), effects }
    }
}

/// Whether a V2 end of this state uses up the epochs of its producer id.
fn needs_rotation(current: &TransactionMetadata, version: TransactionVersion) -> bool {
    match version {
        TransactionVersion::V1 => false,
        TransactionVersion::V2 => current.producer.epoch.is_exhausted(),
    }
}

fn verdict(current: &TransactionMetadata, end: &EndTxn) -> Result<Verdict, ErrorCode> {
    match end.version {
        TransactionVersion::V1 => verdict_v1(current, end),
        TransactionVersion::V2 => verdict_v2(current, end),
    }
}

/// Before KIP-890 a repeated request cannot be told from the next one: the state alone decides.
fn verdict_v1(current: &TransactionMetadata, end: &EndTxn) -> Result<Verdict, ErrorCode> {
    check_producer(current, end.producer, end.api)?;
    match (current.state, end.result) {
        (TransactionState::Ongoing, EndTransaction::Commit | EndTransaction::Abort) => Ok(Verdict::Prepare),
        (TransactionState::PrepareCommit, EndTransaction::Commit)
        | (TransactionState::PrepareAbort, EndTransaction::Abort) => Err(ErrorCode::ConcurrentTransactions),
        (TransactionState::CompleteCommit, EndTransaction::Commit)
        | (TransactionState::CompleteAbort, EndTransaction::Abort) => Ok(Verdict::AlreadyDone),
        (TransactionState::Empty, EndTransaction::Commit | EndTransaction::Abort)
        | (TransactionState::PrepareCommit | TransactionState::CompleteCommit, EndTransaction::Abort)
        | (TransactionState::PrepareAbort | TransactionState::CompleteAbort, EndTransaction::Commit) => {
            Err(ErrorCode::InvalidTxnState)
        }
    }
}

fn verdict_v2(current: &TransactionMetadata, end: &EndTxn) -> Result<Verdict, ErrorCode> {
    use EndTransaction::{Abort, Commit};
    // The client was told its next ident with the decision, and its next transaction is here before
    // this one is complete: it waits. Kafka's pending state gives the same answer.
    if current.state.decided().is_some() && end.producer == current.after_end() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let caller = caller(current, end)?;
    match (current.state, caller, end.result) {
        (TransactionState::Ongoing, _, Commit | Abort) => Ok(Verdict::Prepare),
        (TransactionState::Empty, _, Commit) => Err(ErrorCode::InvalidTxnState),
        (TransactionState::Empty, _, Abort) => Ok(Verdict::Prepare),

        (TransactionState::PrepareCommit, _, Commit) | (TransactionState::PrepareAbort, _, Abort) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        (TransactionState::PrepareCommit, _, Abort) => Err(ErrorCode::InvalidTxnState),
        (TransactionState::PrepareAbort, _, Commit) => {
            // Its own abort, and now a commit: that is a client's mistake. If the coordinator aborted
            // (a timeout, a newer producer), the commit has lost a race, as below (KAFKA-20785).
            let own_abort = current.is_last(end.producer);
            Err(if own_abort { ErrorCode::InvalidTxnState } else { end.api.fenced() })
        }

        (TransactionState::CompleteCommit, Caller::Retry, Commit)
        | (TransactionState::CompleteAbort, Caller::Retry, Abort) => Ok(Verdict::AlreadyDone),
        (TransactionState::CompleteCommit, Caller::Retry, Abort) => Err(ErrorCode::InvalidTxnState),
        (TransactionState::CompleteAbort, Caller::Retry, Commit) => Err(end.api.fenced()),

        (TransactionState::CompleteCommit | TransactionState::CompleteAbort, Caller::Current, Commit) => {
            Err(ErrorCode::InvalidTxnState)
        }
        (TransactionState::CompleteCommit | TransactionState::CompleteAbort, Caller::Current, Abort) => {
            Ok(Verdict::Prepare)
        }
    }
}

/// Tells the current producer from one that repeats its last request; all others are refused.
fn caller(current: &TransactionMetadata, end: &EndTxn) -> Result<Caller, ErrorCode> {
    let ended = match current.state {
        // The next transaction has begun, or a new session: nothing is left to be repeated.
        TransactionState::Empty | TransactionState::Ongoing => false,
        TransactionState::PrepareCommit
        | TransactionState::PrepareAbort
        | TransactionState::CompleteCommit
        | TransactionState::CompleteAbort => current.version == TransactionVersion::V2,
    };
    let stored = current.producer;
    let bumped = end.producer.id == stored.id && end.producer.epoch.next() == Some(stored.epoch);
    // A bump up to the very last epoch without a rotation is a fence of the coordinator's own: that
    // epoch must not be given to anybody, so the producer has to start a new session.
    let complete = current.state.decided().is_none();
    if ended && bumped && !(complete && stored.epoch == ProducerEpoch::MAX) {
        return Ok(Caller::Retry);
    }
    if ended && is_overflow_retry(current, end.producer) {
        return Ok(Caller::Retry);
    }
    check_producer(current, end.producer, end.api)?;
    match current.state.decided() {
        // While its markers are on their way, a V2 end is only ever repeated with the old epoch.
        Some(_) => Err(end.api.fenced()),
        None => Ok(Caller::Current),
    }
}

/// The end that used up the epochs of the previous producer id, asked for again.
fn is_overflow_retry(current: &TransactionMetadata, producer: ProducerIdent) -> bool {
    current.previous_producer_id == Some(producer.id)
        && producer.epoch.is_exhausted()
        && producer.epoch != ProducerEpoch::MAX
        && current.producer.epoch == ProducerEpoch::ZERO
}
