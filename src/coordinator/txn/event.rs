//! What goes into the transaction coordinator and what comes out: events, replies, effects.
//!
//! Plain values only. Sentinels of the wire (-1, "") have become `Option` before they come here;
//! the one difference between request versions that the shard must know is `ClientApi`.

use crate::coordinator::{Output, RequestId};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerId, ProducerIdent, TopicPartition, TransactionalId};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};

use super::metadata::{TransactionNumber, TransactionState};
use super::record::TxnRecord;

/// What one step of a `TxnShard` gives.
pub type TxnOutput = Output<TxnRecord, Reply, Effect>;

/// All that can happen to a transaction coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// InitProducerId with a transactional id (without one the broker needs no coordinator).
    InitProducerId(InitProducerId),
    /// AddPartitionsToTxn, AddOffsetsToTxn (as the group's `__consumer_offsets` partition), or the
    /// broker's own add or check before a transactional append.
    AddPartitions(AddPartitions),
    /// EndTxn.
    EndTxn(EndTxn),
    /// The marker is in the partition's log, durable as the partition's own rules ask.
    MarkerWritten(MarkerTarget),
    /// The partition has met a newer producer epoch or coordinator (47, 52): not ours to end any more.
    MarkerFenced(MarkerTarget),
    /// The topic has been deleted; the caller has proof by topic id, not by a name it cannot find.
    PartitionGone(MarkerTarget),
    /// The marker could not be written now; the caller has waited its backoff and asks for it again.
    MarkerFailedRetry(MarkerTarget),
    /// DescribeTransactions, for one id.
    Describe {
        /// Who waits.
        request: RequestId,
        /// The id to describe.
        transactional_id: TransactionalId,
    },
    /// ListTransactions, for this shard's share.
    List {
        /// Who waits.
        request: RequestId,
        /// Which to list.
        filters: ListFilters,
    },
    /// The time that `next_deadline` named has come.
    Tick,
    /// An operator ends a transaction whose producer is gone.
    ForceAbort {
        /// Who waits.
        request: RequestId,
        /// Whose transaction.
        transactional_id: TransactionalId,
    },
}

/// The content of an InitProducerId request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InitProducerId {
    /// Who waits.
    pub request: RequestId,
    /// The producer's name across restarts.
    pub transactional_id: TransactionalId,
    /// `transaction.timeout.ms` as the client asks for it, not yet checked.
    pub timeout_ms: i32,
    /// The ident that the client already holds (version 3 and later).
    pub expected: Option<ProducerIdent>,
    /// A newly allocated producer id, used only if one is needed.
    pub fresh: ProducerId,
    /// The request's dialect.
    pub api: ClientApi,
}

/// The content of an AddPartitionsToTxn transaction, or of what is turned into one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddPartitions {
    /// Who waits.
    pub request: RequestId,
    /// The producer's transactional id.
    pub transactional_id: TransactionalId,
    /// The ident that the client uses.
    pub producer: ProducerIdent,
    /// What the transaction is about to write to.
    pub partitions: Vec<TopicPartition>,
    /// The request's dialect.
    pub api: ClientApi,
    /// V1 for a client's own request, V2 where the broker adds on the client's behalf (KIP-890).
    pub version: TransactionVersion,
    /// Add, or only look.
    pub mode: AddMode,
}

/// Whether partitions are added or only looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddMode {
    /// They become part of the transaction. Answered by `Reply::AddPartitions`.
    Add,
    /// Are they part of it already? Changes nothing. Answered by `Reply::VerifyPartitions`.
    VerifyOnly,
}

/// The content of an EndTxn request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndTxn {
    /// Who waits.
    pub request: RequestId,
    /// The producer's transactional id.
    pub transactional_id: TransactionalId,
    /// The ident that the client uses.
    pub producer: ProducerIdent,
    /// Commit or abort.
    pub result: EndTransaction,
    /// The request's dialect.
    pub api: ClientApi,
    /// V2 from version 5 of the request on.
    pub version: TransactionVersion,
    /// A newly allocated producer id, there if `TxnShard::needs_fresh_producer_id` asked for it.
    pub fresh: Option<ProducerId>,
}

/// What the version of a request lets the coordinator say: newer codes are fatal to older clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientApi {
    /// Knows INVALID_PRODUCER_EPOCH only.
    BeforeProducerFenced,
    /// Knows PRODUCER_FENCED (KIP-588).
    ProducerFenced,
    /// Knows TRANSACTION_ABORTABLE as well (KIP-890).
    TransactionAbortable,
}

impl ClientApi {
    /// The dialect of an InitProducerId version.
    pub const fn of_init_producer_id(api_version: i16) -> ClientApi {
        match api_version {
            i16::MIN..=3 => ClientApi::BeforeProducerFenced,
            4 => ClientApi::ProducerFenced,
            5.. => ClientApi::TransactionAbortable,
        }
    }

    /// The dialect of an AddPartitionsToTxn version.
    pub const fn of_add_partitions(api_version: i16) -> ClientApi {
        match api_version {
            i16::MIN..=1 => ClientApi::BeforeProducerFenced,
            2..=4 => ClientApi::ProducerFenced,
            5.. => ClientApi::TransactionAbortable,
        }
    }

    /// The dialect of an AddOffsetsToTxn or EndTxn version.
    pub const fn of_add_offsets_or_end_txn(api_version: i16) -> ClientApi {
        match api_version {
            i16::MIN..=1 => ClientApi::BeforeProducerFenced,
            2..=3 => ClientApi::ProducerFenced,
            4.. => ClientApi::TransactionAbortable,
        }
    }

    /// The code for a producer whose epoch has been taken over.
    pub const fn fenced(self) -> ErrorCode {
        match self {
            ClientApi::BeforeProducerFenced => ErrorCode::InvalidProducerEpoch,
            ClientApi::ProducerFenced | ClientApi::TransactionAbortable => ErrorCode::ProducerFenced,
        }
    }

    /// The code for a partition that is not in the transaction.
    pub const fn not_in_transaction(self) -> ErrorCode {
        match self {
            ClientApi::BeforeProducerFenced | ClientApi::ProducerFenced => ErrorCode::InvalidTxnState,
            ClientApi::TransactionAbortable => ErrorCode::TransactionAbortable,
        }
    }
}

/// Which marker of which transaction: names an effect, and the events that come back from it.
///
/// The transaction's number is part of it because with transactions V1 one ident serves many
/// transactions, and a late answer for an earlier one must not count for the present one
/// (KAFKA-16352 is of this kind).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MarkerTarget {
    /// Whose transaction.
    pub transactional_id: TransactionalId,
    /// The ident that the marker carries.
    pub producer: ProducerIdent,
    /// Which of the id's transactions.
    pub transaction: TransactionNumber,
    /// Where the marker goes.
    pub partition: TopicPartition,
}

/// What must be done elsewhere once the step's write is durable. Safe to do twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Write a marker; answer with one of the marker events, echoing `target`.
    WriteMarker {
        /// What to echo.
        target: MarkerTarget,
        /// The marker itself.
        marker: EndTransactionMarker,
        /// Which epoch rule the partition applies to it (KIP-1228).
        version: TransactionVersion,
    },
}

/// What a request is answered, once the step's write is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The ident to use from now on.
    InitProducerId(Result<ProducerIdent, ErrorCode>),
    /// One code for the whole set, `ErrorCode::None` included.
    AddPartitions(ErrorCode),
    /// A code for each partition, in the order they were asked.
    VerifyPartitions(Vec<(TopicPartition, ErrorCode)>),
    /// The ident for the next transaction; with V1 it is the same as before.
    EndTxn(Result<ProducerIdent, ErrorCode>),
    /// What is known of the id.
    Describe(Result<TransactionDescription, ErrorCode>),
    /// What matches the filters.
    List(TransactionListing),
    /// `None`: the abort is decided and durable.
    ForceAbort(ErrorCode),
}

/// Which transactions ListTransactions asks for; an empty list does not filter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListFilters {
    /// Kafka's state names.
    pub states: Vec<String>,
    /// Producer ids.
    pub producer_ids: Vec<ProducerId>,
    /// Only transactions that have run for longer than this.
    pub duration_ms: Option<i64>,
}

/// The answer to ListTransactions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransactionListing {
    /// What matches, in the order of the ids.
    pub transactions: Vec<ListedTransaction>,
    /// State names in the filter that Kafka does not know.
    pub unknown_state_filters: Vec<String>,
}

/// One line of ListTransactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTransaction {
    /// The id.
    pub transactional_id: TransactionalId,
    /// Its current producer id.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub state: TransactionState,
}

/// The answer to DescribeTransactions for one id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionDescription {
    /// Where it stands.
    pub state: TransactionState,
    /// The current ident.
    pub producer: ProducerIdent,
    /// The producer's transaction timeout.
    pub timeout_ms: i32,
    /// When the running transaction began.
    pub start: Option<crate::clock::Timestamp>,
    /// The partitions of the running transaction.
    pub partitions: Vec<TopicPartition>,
    /// Those of them that still lack an acknowledged marker; empty unless the end is decided.
    pub markers_pending: Vec<TopicPartition>,
}
