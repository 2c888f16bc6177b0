//! The state of one transactional id and its legal transitions, as new values: nothing here changes
//! anything in place.
//!
//! A transition takes the stored state and gives the state of the record that will be written; which
//! transition a request may ask for is decided elsewhere in the room.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{ProducerEpoch, ProducerId, ProducerIdent, TopicPartition};
use crate::wire::control_record::{EndTransaction, TransactionVersion};

/// Where a transactional id stands.
///
/// Kafka's `Dead` and `PrepareEpochFence` mark writes in flight; a shard applies its own write in
/// the step that decides it, so it never stands in either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionState {
    /// Has an ident and no transaction.
    Empty,
    /// Has partitions that wait for an end.
    Ongoing,
    /// Decided: the commit point is behind us, markers are on their way.
    PrepareCommit,
    /// Decided: aborted, markers are on their way.
    PrepareAbort,
    /// Every partition has its marker.
    CompleteCommit,
    /// Every partition has its marker.
    CompleteAbort,
}

impl TransactionState {
    /// Every state.
    pub const ALL: &[TransactionState] = &[
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];

    /// The number in the log's records.
    pub const fn id(self) -> i8 {
        match self {
            TransactionState::Empty => 0,
            TransactionState::Ongoing => 1,
            TransactionState::PrepareCommit => 2,
            TransactionState::PrepareAbort => 3,
            TransactionState::CompleteCommit => 4,
            TransactionState::CompleteAbort => 5,
        }
    }

    /// The state of a record's number; `None` for those that are never written.
    pub fn from_id(id: i8) -> Option<TransactionState> {
        TransactionState::ALL.iter().copied().find(|state| state.id() == id)
    }

    /// Kafka's name for it, as its tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
        }
    }

    /// How the transaction ends, if that is decided and its markers are not all written.
    pub const fn decided(self) -> Option<EndTransaction> {
        match self {
            TransactionState::PrepareCommit => Some(EndTransaction::Commit),
            TransactionState::PrepareAbort => Some(EndTransaction::Abort),
            TransactionState::Empty
            | TransactionState::Ongoing
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort => None,
        }
    }

    /// Whether the id has no transaction: neither a running one nor a decided one.
    pub const fn is_idle(self) -> bool {
        match self {
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                true
            }
            TransactionState::Ongoing | TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                false
            }
        }
    }

    /// Whether a record of this state may follow one of `before` in the log of one id.
    pub const fn may_follow(self, before: TransactionState) -> bool {
        use TransactionState::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
        match self {
            Empty => matches!(before, Empty | CompleteCommit | CompleteAbort),
            Ongoing => matches!(before, Empty | Ongoing | CompleteCommit | CompleteAbort),
            PrepareCommit => matches!(before, Ongoing),
            PrepareAbort => matches!(before, Ongoing | Empty | CompleteCommit | CompleteAbort),
            CompleteCommit => matches!(before, PrepareCommit),
            CompleteAbort => matches!(before, PrepareAbort),
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counts the transactions of one transactional id.
///
/// Our own addition to Kafka's record: it tells transactions apart where V1 gives them one ident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TransactionNumber(i64);

impl TransactionNumber {
    /// Before the first transaction.
    pub const ZERO: TransactionNumber = TransactionNumber(0);

    /// The number of a record; `None` if it is negative.
    pub const fn from_wire(value: i64) -> Option<TransactionNumber> {
        if value >= 0 { Some(TransactionNumber(value)) } else { None }
    }

    /// The number as the disk carries it.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// The number of the next transaction.
    pub const fn next(self) -> TransactionNumber {
        TransactionNumber(self.0.saturating_add(1))
    }
}

/// What the log knows of one transactional id: the value of its latest record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionMetadata {
    /// The current ident. In a decided V2 transaction it is already the bumped one, which the
    /// markers carry.
    pub producer: ProducerIdent,
    /// The producer id before the last rotation.
    pub previous_producer_id: Option<ProducerId>,
    /// The producer id that takes over when the decided transaction completes.
    pub next_producer_id: Option<ProducerId>,
    /// The epoch before the last bump, if the client that holds it may ask again and be answered
    /// as before; `None` after a bump that fences.
    pub last_producer_epoch: Option<ProducerEpoch>,
    /// The producer's transaction timeout.
    pub timeout_ms: i32,
    /// Where the id stands.
    pub state: TransactionState,
    /// The partitions of the running transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the running (or just ended) transaction began.
    pub start: Option<Timestamp>,
    /// When this was written.
    pub last_update: Timestamp,
    /// The protocol of the request that opened or ended the transaction.
    pub version: TransactionVersion,
    /// Which of the id's transactions this is.
    pub transaction: TransactionNumber,
}

impl TransactionMetadata {
    /// The first state of a new transactional id.
    pub fn new(producer_id: ProducerId, timeout_ms: i32, now: Timestamp) -> TransactionMetadata {
        TransactionMetadata {
            producer: ProducerIdent { id: producer_id, epoch: ProducerEpoch::ZERO },
            previous_producer_id: None,
            next_producer_id: None,
            last_producer_epoch: None,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start: None,
            last_update: now,
            version: TransactionVersion::V1,
            transaction: TransactionNumber::ZERO,
        }
    }

    /// When a running transaction has lasted too long.
    pub fn times_out_at(&self) -> Timestamp {
        let timeout_ms = u64::try_from(self.timeout_ms).unwrap_or(0);
        self.start.unwrap_or(self.last_update).plus(Duration::from_millis(timeout_ms))
    }

    /// Whether `ident` is the one that the last bump replaced and that may ask again.
    ///
    /// At epoch 0 the last epoch belongs to the producer id before the rotation.
    pub fn is_last(&self, ident: ProducerIdent) -> bool {
        let owner = if self.producer.epoch == ProducerEpoch::ZERO {
            self.previous_producer_id
        } else {
            Some(self.producer.id)
        };
        owner == Some(ident.id) && self.last_producer_epoch == Some(ident.epoch)
    }

    /// What the producer goes on with after a decided end: the bumped ident, or the rotated one.
    pub fn after_end(&self) -> ProducerIdent {
        match self.next_producer_id {
            Some(id) => ProducerIdent { id, epoch: ProducerEpoch::ZERO },
            None => self.producer,
        }
    }

    /// Empty, with `producer` as the ident; what a successful InitProducerId writes.
    pub fn initialised(&self, change: Initialised, now: Timestamp) -> TransactionMetadata {
        let rotated = change.producer.id != self.producer.id;
        TransactionMetadata {
            producer: change.producer,
            previous_producer_id: if rotated { Some(self.producer.id) } else { self.previous_producer_id },
            next_producer_id: None,
            last_producer_epoch: change.last_producer_epoch,
            timeout_ms: change.timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start: None,
            last_update: now,
            version: self.version,
            transaction: self.transaction,
        }
    }

    /// Ongoing, with these partitions as well.
    pub fn with_partitions(
        &self,
        partitions: &[TopicPartition],
        version: TransactionVersion,
        now: Timestamp,
    ) -> TransactionMetadata {
        let mut next = self.clone();
        if self.state != TransactionState::Ongoing {
            next.partitions.clear();
            next.start = Some(now);
            next.transaction = self.transaction.next();
            next.version = version;
        }
        next.partitions.extend(partitions.iter().cloned());
        next.state = TransactionState::Ongoing;
        next.last_update = now;
        next
    }

    /// Prepare*, as the client's EndTxn asks: V2 bumps the epoch, V1 leaves it.
    ///
    /// `fresh` takes over at completion if the bump uses up the epochs.
    pub fn prepared_by_client(&self, end: Prepared, now: Timestamp) -> TransactionMetadata {
        let mut next = self.prepared(end.result, now);
        next.version = end.version;
        match end.version {
            TransactionVersion::V1 => {}
            TransactionVersion::V2 => {
                next.last_producer_epoch = Some(self.producer.epoch);
                next.producer.epoch = self.producer.epoch.next().unwrap_or(ProducerEpoch::MAX);
                next.next_producer_id =
                    if next.producer.epoch == ProducerEpoch::MAX { end.fresh } else { None };
            }
        }
        next
    }

    /// PrepareAbort, as the coordinator decides on its own: one bump that fences the producer,
    /// whatever the version (KAFKA-19367), and that nobody is told of.
    pub fn prepared_by_fence(&self, fresh: Option<ProducerId>, now: Timestamp) -> TransactionMetadata {
        let mut next = self.prepared(EndTransaction::Abort, now);
        next.last_producer_epoch = None;
        next.producer.epoch = self.producer.epoch.next().unwrap_or(ProducerEpoch::MAX);
        next.next_producer_id = match (self.version, next.producer.epoch == ProducerEpoch::MAX) {
            (TransactionVersion::V2, true) => fresh,
            (TransactionVersion::V2, false) | (TransactionVersion::V1, _) => None,
        };
        next
    }

    fn prepared(&self, result: EndTransaction, now: Timestamp) -> TransactionMetadata {
        let mut next = self.clone();
        if self.state != TransactionState::Ongoing {
            // An empty abort: a transaction of its own, with nothing in it.
            next.partitions.clear();
            next.start = Some(now);
            next.transaction = self.transaction.next();
        }
        next.state = match result {
            EndTransaction::Commit => TransactionState::PrepareCommit,
            EndTransaction::Abort => TransactionState::PrepareAbort,
        };
        next.last_update = now;
        next
    }

    /// Complete*, for a decided transaction whose partitions all have their markers; `None` for
    /// one that is not decided.
    pub fn completed(&self, now: Timestamp) -> Option<TransactionMetadata> {
        let state = match self.state.decided()? {
            EndTransaction::Commit => TransactionState::CompleteCommit,
            EndTransaction::Abort => TransactionState::CompleteAbort,
        };
        let mut next = self.clone();
        next.producer = self.after_end();
        if self.next_producer_id.is_some() {
            next.previous_producer_id = Some(self.producer.id);
        }
        next.next_producer_id = None;
        next.state = state;
        next.partitions.clear();
        next.last_update = now;
        Some(next)
    }
}

/// What an InitProducerId changes.
#[derive(Clone, Copy, Debug)]
pub struct Initialised {
    /// The ident to go on with.
    pub producer: ProducerIdent,
    /// The epoch whose holder may ask again.
    pub last_producer_epoch: Option<ProducerEpoch>,
    /// The transaction timeout asked for.
    pub timeout_ms: i32,
}

/// What an EndTxn decides.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    /// Commit or abort.
    pub result: EndTransaction,
    /// The request's protocol.
    pub version: TransactionVersion,
    /// Takes over if the epochs are used up.
    pub fresh: Option<ProducerId>,
}
