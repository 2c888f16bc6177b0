//! What a partition knows of its producers (Kafka's `ProducerStateManager`): epochs, the last five
//! batches of each for duplicates, open transactions, and those whose end is not replicated yet.
//!
//! `check_*` decide and change nothing; `apply_*` are the only change, and run live and at recovery.
//! No files here: `producer_snapshot` has the bytes.

use std::collections::{BTreeMap, VecDeque};

use super::transaction_index::AbortedEntry;
use super::{AppendError, AppendOrigin, TransactionCheck};
use crate::clock::Timestamp;
use crate::error_code::ErrorCode;
use crate::ids::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdent, Sequence};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};
use crate::wire::record_batch::{BatchHeader, BatchProducer};

/// How many batches of a producer are remembered: as many as a client may have in flight.
pub(super) const CACHED_BATCHES_MAX: usize = 5;

/// One remembered batch. Firsts follow from lasts and the delta, as in Kafka's `BatchMetadata`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CachedBatch {
    pub(super) last_sequence: Sequence,
    pub(super) last_offset: Offset,
    pub(super) offset_delta: i32,
    pub(super) timestamp: i64,
}

impl CachedBatch {
    pub(super) fn first_offset(&self) -> Offset {
        let first = self.last_offset.value().saturating_sub(i64::from(self.offset_delta));
        Offset::from_wire(first).unwrap_or(Offset::ZERO)
    }

    pub(super) fn first_sequence(&self) -> Sequence {
        let first = i64::from(self.last_sequence.value()) - i64::from(self.offset_delta);
        let wrapped = if first < 0 { first + SEQUENCES } else { first };
        i32::try_from(wrapped).ok().and_then(Sequence::from_wire).unwrap_or(Sequence::ZERO)
    }
}

/// How many sequences there are: they wrap to 0 after `i32::MAX`.
const SEQUENCES: i64 = i32::MAX as i64 + 1;

/// A transaction that has data here and no marker yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CurrentTransaction {
    pub(super) first_offset: Offset,
    pub(super) start_time: Timestamp,
}

/// Whether all sequences of the epoch, from 0, passed through here: then an old one must have been
/// appended, even if its batch is no longer remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SequenceHistory {
    FromZero,
    Partial,
}

/// One producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Producer {
    pub(super) epoch: ProducerEpoch,
    pub(super) coordinator_epoch: Option<CoordinatorEpoch>,
    /// The largest timestamp of its last batch, or its last marker's.
    pub(super) last_timestamp: i64,
    /// When this broker last saw it, by its own clock: records may carry any timestamp, and an old
    /// one must not make the producer forgotten while it is at work.
    pub(super) last_seen: Timestamp,
    pub(super) transaction: Option<CurrentTransaction>,
    pub(super) batches: VecDeque<CachedBatch>,
    pub(super) history: SequenceHistory,
}

/// All producers of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ProducerStates {
    producers: BTreeMap<ProducerId, Producer>,
    /// First offsets of open transactions.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose marker may lie at or above the high watermark: first offset to the
    /// marker's offset.
    unreplicated: BTreeMap<Offset, Offset>,
}

/// What the sequence and epoch checks say to a batch.
#[derive(Debug)]
pub(super) enum Verdict {
    Append,
    /// It is here already.
    Duplicate(CachedBatch),
}

/// Everything that the checks of a data batch look at besides the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataCheck {
    pub(super) origin: AppendOrigin,
    pub(super) verified: TransactionCheck,
}

fn reject<T>(code: ErrorCode, message: String) -> Result<T, AppendError> {
    Err(AppendError::Reject { code, message })
}

impl ProducerStates {
    /// Puts one producer back from a snapshot.
    pub(super) fn restore(&mut self, id: ProducerId, producer: Producer) {
        if let Some(transaction) = producer.transaction {
            self.ongoing.insert(transaction.first_offset, id);
        }
        self.producers.insert(id, producer);
    }

    /// Puts one ended transaction back from a snapshot.
    pub(super) fn restore_unreplicated(&mut self, first_offset: Offset, last_offset: Offset) {
        self.unreplicated.insert(first_offset, last_offset);
    }

    pub(super) fn producers(&self) -> &BTreeMap<ProducerId, Producer> {
        &self.producers
    }

    pub(super) fn unreplicated(&self) -> &BTreeMap<Offset, Offset> {
        &self.unreplicated
    }

    pub(super) fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.producers.get(&id)
    }

    /// The first offset whose transaction is open, or ended by a marker that may not be replicated.
    pub(super) fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// Ended transactions whose marker lies below the high watermark hold nothing back any more.
    pub(super) fn high_watermark_advanced(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, last_offset| *last_offset >= high_watermark);
    }

    /// Forgets producers that were not seen for `expiration_ms`, but never one with an open
    /// transaction.
    pub(super) fn expire(&mut self, now: Timestamp, expiration_ms: u64) {
        self.producers.retain(|_, producer| {
            let idle_ms = now.since(producer.last_seen).as_millis();
            producer.transaction.is_some() || idle_ms < u128::from(expiration_ms)
        });
    }

    /// Whether the batch is one of its producer's last ones, sent again.
    pub(super) fn is_duplicate(&self, header: &BatchHeader) -> bool {
        let known = header.producer.and_then(|batch| {
            let sequences = Sequences::of(header, batch)?;
            self.producers.get(&batch.ident.id)?.duplicate(batch.ident.epoch, sequences)
        });
        known.is_some()
    }

    /// The checks of a data batch, in Kafka's order: duplicate, verification, epoch, sequence, and
    /// no plain batch inside a transaction.
    pub(super) fn check_data(&self, header: &BatchHeader, check: DataCheck) -> Result<Verdict, AppendError> {
        let Some(batch) = header.producer else {
            return match (check.origin, header.is_transactional) {
                (
                    AppendOrigin::Client
                    | AppendOrigin::Intercepted
                    | AppendOrigin::Moved
                    | AppendOrigin::Coordinator,
                    true,
                ) => reject(ErrorCode::InvalidRecord, "a transactional batch needs a producer id".to_owned()),
                (
                    AppendOrigin::Client
                    | AppendOrigin::Intercepted
                    | AppendOrigin::Moved
                    | AppendOrigin::Coordinator,
                    false,
                )
                | (AppendOrigin::Replication, _) => Ok(Verdict::Append),
            };
        };
        let known = self.producers.get(&batch.ident.id);
        match check.origin {
            AppendOrigin::Replication => Ok(Verdict::Append),
            AppendOrigin::Coordinator => {
                check_verified(header, known, batch.ident, check.verified)?;
                check_epoch(known, batch.ident)?;
                check_not_inside(header, known, batch.ident)?;
                Ok(Verdict::Append)
            }
            AppendOrigin::Client | AppendOrigin::Intercepted | AppendOrigin::Moved => {
                let Some(sequences) = Sequences::of(header, batch) else {
                    let message = format!("producer {} sent a batch without a sequence", batch.ident);
                    return reject(ErrorCode::InvalidRecord, message);
                };
                if let Some(original) = known.and_then(|known| known.duplicate(batch.ident.epoch, sequences))
                {
                    return Ok(Verdict::Duplicate(original));
                }
                check_verified(header, known, batch.ident, check.verified)?;
                check_epoch(known, batch.ident)?;
                check_sequence(known, batch.ident, sequences, check.verified)?;
                check_not_inside(header, known, batch.ident)?;
                Ok(Verdict::Append)
            }
        }
    }

    /// The checks of an end marker: the producer's epoch, then the coordinator's.
    pub(super) fn check_marker(
        &self,
        marker: &EndTransactionMarker,
        version: TransactionVersion,
    ) -> Result<(), AppendError> {
        let Some(known) = self.producers.get(&marker.producer.id) else { return Ok(()) };
        let fits = match version {
            TransactionVersion::V1 => marker.producer.epoch >= known.epoch,
            // Equal with nothing open is a retry of a marker that is here already: the coordinator
            // must be able to finish (KAFKA-19999).
            TransactionVersion::V2 => {
                marker.producer.epoch > known.epoch
                    || (marker.producer.epoch == known.epoch && known.transaction.is_none())
            }
        };
        if !fits {
            let message = format!("marker of producer {} meets epoch {}", marker.producer, known.epoch);
            return reject(ErrorCode::InvalidProducerEpoch, message);
        }
        match known.coordinator_epoch {
            Some(stored) if marker.coordinator_epoch < stored => reject(
                ErrorCode::TransactionCoordinatorFenced,
                format!(
                    "marker of producer {} comes from coordinator epoch {}, and epoch {stored} was here",
                    marker.producer, marker.coordinator_epoch
                ),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes in a data batch that stands in the log.
    pub(super) fn apply_data(&mut self, header: &BatchHeader, seen: Timestamp) {
        let Some(batch) = header.producer else { return };
        let producer =
            self.producers.entry(batch.ident.id).or_insert_with(|| Producer::new(batch.ident.epoch));
        producer.move_to(batch.ident.epoch);
        producer.last_timestamp = header.max_timestamp;
        producer.last_seen = seen;
        if let Some(sequences) = Sequences::of(header, batch) {
            producer.remember(header, sequences);
        }
        if header.is_transactional && producer.transaction.is_none() {
            producer.transaction =
                Some(CurrentTransaction { first_offset: header.base_offset, start_time: seen });
            self.ongoing.insert(header.base_offset, batch.ident.id);
        }
    }

    /// What the transaction index must hold for the marker at `offset`, before it is applied: an
    /// entry if it aborts a transaction that has data here.
    pub(super) fn aborted_by(&self, marker: &EndTransactionMarker, offset: Offset) -> Option<AbortedEntry> {
        let first_offset = self.producers.get(&marker.producer.id)?.transaction?.first_offset;
        match marker.result {
            EndTransaction::Commit => None,
            EndTransaction::Abort => {
                let mut undecided = self.ongoing.keys().filter(|first| **first != first_offset);
                let last_stable_offset = undecided.next().copied().unwrap_or(offset.next());
                let producer_id = marker.producer.id;
                Some(AbortedEntry { producer_id, first_offset, last_offset: offset, last_stable_offset })
            }
        }
    }

    /// Takes in a marker that stands in the log at `offset`.
    pub(super) fn apply_marker(
        &mut self,
        marker: &EndTransactionMarker,
        offset: Offset,
        timestamp: i64,
        seen: Timestamp,
    ) {
        let ident = marker.producer;
        let producer = self.producers.entry(ident.id).or_insert_with(|| Producer::new(ident.epoch));
        producer.move_to(ident.epoch);
        producer.coordinator_epoch = Some(marker.coordinator_epoch);
        producer.last_timestamp = timestamp;
        producer.last_seen = seen;
        if let Some(ended) = producer.transaction.take() {
            self.ongoing.remove(&ended.first_offset);
            self.unreplicated.insert(ended.first_offset, offset);
        }
    }
}

impl Producer {
    fn new(epoch: ProducerEpoch) -> Producer {
        Producer {
            epoch,
            coordinator_epoch: None,
            last_timestamp: -1,
            last_seen: Timestamp::ZERO,
            transaction: None,
            batches: VecDeque::new(),
            history: SequenceHistory::Partial,
        }
    }

    /// A new epoch starts its sequences anew.
    fn move_to(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
            self.history = SequenceHistory::Partial;
        }
    }

    fn remember(&mut self, header: &BatchHeader, sequences: Sequences) {
        if self.batches.is_empty() && sequences.first == Sequence::ZERO {
            self.history = SequenceHistory::FromZero;
        }
        if self.batches.len() == CACHED_BATCHES_MAX {
            self.batches.pop_front();
        }
        self.batches.push_back(CachedBatch {
            last_sequence: sequences.last,
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
    }

    pub(super) fn last_sequence(&self) -> Option<Sequence> {
        self.batches.back().map(|batch| batch.last_sequence)
    }

    fn duplicate(&self, epoch: ProducerEpoch, sequences: Sequences) -> Option<CachedBatch> {
        if self.epoch != epoch {
            return None;
        }
        let same = |batch: &&CachedBatch| {
            batch.last_sequence == sequences.last && batch.first_sequence() == sequences.first
        };
        self.batches.iter().find(same).copied()
    }
}

/// The sequences of a batch's first and last record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sequences {
    first: Sequence,
    last: Sequence,
}

impl Sequences {
    fn of(header: &BatchHeader, batch: BatchProducer) -> Option<Sequences> {
        Some(Sequences { first: batch.base_sequence?, last: header.last_sequence()? })
    }
}

/// Transactional records need a transaction that the coordinator knows of: one that is open here at
/// this epoch, or one that was just verified with it (KIP-890).
fn check_verified(
    header: &BatchHeader,
    known: Option<&Producer>,
    ident: ProducerIdent,
    verified: TransactionCheck,
) -> Result<(), AppendError> {
    let open = known.is_some_and(|known| known.epoch == ident.epoch && known.transaction.is_some());
    match verified {
        TransactionCheck::Unverified if header.is_transactional && !open => reject(
            ErrorCode::InvalidTxnState,
            format!("producer {ident} has no open transaction in this partition"),
        ),
        TransactionCheck::Unverified | TransactionCheck::Verified(_) => Ok(()),
    }
}

/// 47 and not 90: clients abort on it and go on, where PRODUCER_FENCED would end them.
fn check_epoch(known: Option<&Producer>, ident: ProducerIdent) -> Result<(), AppendError> {
    match known {
        Some(known) if ident.epoch < known.epoch => {
            let message = format!("producer {ident} was fenced by its epoch {}", known.epoch);
            reject(ErrorCode::InvalidProducerEpoch, message)
        }
        Some(_) | None => Ok(()),
    }
}

fn check_sequence(
    known: Option<&Producer>,
    ident: ProducerIdent,
    sequences: Sequences,
    verified: TransactionCheck,
) -> Result<(), AppendError> {
    let out_of_order = |expected: String| {
        let message = format!("producer {ident} sent sequence {} where {expected}", sequences.first);
        reject(ErrorCode::OutOfOrderSequenceNumber, message)
    };
    let starts = sequences.first == Sequence::ZERO;
    let Some(known) = known else {
        // Its state may have been lost with old segments, so Kafka takes any sequence here; a
        // transaction of the second version always starts at 0 in each partition.
        return match verified {
            TransactionCheck::Verified(TransactionVersion::V2) if !starts => {
                out_of_order("a transaction must start with 0".to_owned())
            }
            TransactionCheck::Verified(_) | TransactionCheck::Unverified => Ok(()),
        };
    };
    let last = match known.last_sequence() {
        Some(last) if known.epoch == ident.epoch => last,
        Some(_) | None if starts => return Ok(()),
        Some(_) | None => return out_of_order("a new epoch must start with 0".to_owned()),
    };
    let expected = last.plus(1);
    if sequences.first == expected {
        return Ok(());
    }
    if known.history == SequenceHistory::FromZero && is_not_after(sequences, last) {
        let message =
            format!("producer {ident} sent sequence {} again, which is long written", sequences.first);
        return reject(ErrorCode::DuplicateSequenceNumber, message);
    }
    out_of_order(format!("{expected} must come"))
}

/// Whether the whole batch lies at or behind `last`, by the shorter way around the circle.
fn is_not_after(sequences: Sequences, last: Sequence) -> bool {
    let behind =
        |sequence: Sequence| (i64::from(last.value()) - i64::from(sequence.value())).rem_euclid(SEQUENCES);
    behind(sequences.first) < SEQUENCES / 2 && behind(sequences.last) <= behind(sequences.first)
}

fn check_not_inside(
    header: &BatchHeader,
    known: Option<&Producer>,
    ident: ProducerIdent,
) -> Result<(), AppendError> {
    match known.and_then(|known| known.transaction) {
        Some(_) if !header.is_transactional => reject(
            ErrorCode::InvalidTxnState,
            format!("producer {ident} has an open transaction here and sent a batch outside of it"),
        ),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
