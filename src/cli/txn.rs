//! `tidemill txn …`: transactions over the Kafka protocol (KIP-664).
//!
//! A transaction of a known transactional id is aborted by fencing its producer; one that no
//! coordinator knows any more ("hanging") by writing its marker, as `kafka-transactions` does.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::ProducerState;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    ProducerId, TransactionalId, WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::StrBytes;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::{CliError, ExitKind, check};
use super::output::{Block, Report, confirm};
use super::protocol_client::{Cluster, CoordinatorKind, text, topic_name};
use super::time::{retrying, show_timestamp, unix_ms};
use super::topic::find_topic;
use crate::error_code::ErrorCode;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum TxnCommand {
    /// List transactional ids with the state of their transactions
    List {
        /// Only those in this state, such as Ongoing; may be repeated
        #[arg(long, value_name = "STATE")]
        state: Vec<String>,
    },
    /// Show transactions: producer, age and partitions
    Describe {
        /// The transactional ids
        #[arg(required = true)]
        transactional_ids: Vec<String>,
    },
    /// Show the producers that a partition knows
    Producers {
        /// The topic
        topic: String,
        /// The partition's number
        #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
    },
    /// Abort an open transaction and fence its producer
    Abort(AbortArgs),
}

/// Arguments of `txn abort`.
#[derive(Args, Debug)]
pub struct AbortArgs {
    /// The transactional id
    #[arg(required_unless_present = "topic", conflicts_with_all = ["topic", "partition", "start_offset"])]
    transactional_id: Option<String>,
    /// A partition with a transaction that no coordinator knows: its topic
    #[arg(long, requires_all = ["partition", "start_offset"])]
    topic: Option<String>,
    /// The partition's number
    #[arg(long)]
    partition: Option<i32>,
    /// The transaction's first offset
    #[arg(long)]
    start_offset: Option<i64>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(super) fn run(global: &GlobalArgs, command: &TxnCommand) -> Result<Report, CliError> {
    match command {
        TxnCommand::List { state } => list(&mut global.cluster()?, state),
        TxnCommand::Describe { transactional_ids } => describe(&mut global.cluster()?, transactional_ids),
        TxnCommand::Producers { topic, partition } => producers(&mut global.cluster()?, topic, *partition),
        TxnCommand::Abort(args) => abort(global, args),
    }
}

fn list(cluster: &mut Cluster, states: &[String]) -> Result<Report, CliError> {
    let request = ListTransactionsRequest::default()
        .with_state_filters(states.iter().map(|state| text(state)).collect())
        .with_duration_filter(-1);
    let mut transactions = BTreeMap::new();
    let timeout = cluster.timeout();
    for node in cluster.node_ids()? {
        let connection = cluster.node(node)?;
        let response = retrying(timeout, || {
            let response = connection.call_up_to(&request, 1)?;
            check(response.error_code, "cannot list transactions", None)?;
            Ok(response)
        })?;
        if let Some(unknown) = response.unknown_state_filters.first() {
            return Err(CliError::usage(format!("\"{unknown}\" is not a transaction's state")).with_hint(
                "the states are Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort",
            ));
        }
        for transaction in response.transaction_states {
            transactions.insert(transaction.transactional_id.as_str().to_owned(), (node, transaction));
        }
    }
    let mut rows = Vec::new();
    let mut json = Vec::new();
    for (id, (coordinator, transaction)) in &transactions {
        let (state, producer) = (transaction.transaction_state.as_str(), transaction.producer_id.0);
        rows.push(vec![id.clone(), state.to_owned(), producer.to_string()]);
        json.push(json!({"transactional_id": id, "coordinator": coordinator, "state": state, "producer_id": producer}));
    }
    let block = Block::Table { headers: &["TRANSACTIONAL ID", "STATE", "PRODUCER ID"], rows };
    Ok(Report::new(block, Value::Array(json)))
}

/// The ids whose transactions are open, each with its age in milliseconds where the coordinator knows it.
pub(super) fn open_transactions(cluster: &mut Cluster) -> Result<Vec<(String, Option<i64>)>, CliError> {
    let listed = list(cluster, &["Ongoing".to_owned()])?;
    let ids: Vec<String> = listed.json.as_array().into_iter().flatten().map(id_in).collect();
    let described = describe(cluster, &ids)?;
    let transactions = described.json.as_array().into_iter().flatten();
    Ok(transactions.map(|transaction| (id_in(transaction), transaction["age_ms"].as_i64())).collect())
}

fn id_in(transaction: &Value) -> String {
    transaction["transactional_id"].as_str().unwrap_or_default().to_owned()
}

fn describe(cluster: &mut Cluster, ids: &[String]) -> Result<Report, CliError> {
    let mut report = Report::silent();
    let mut json = Vec::new();
    let timeout = cluster.timeout();
    for id in ids {
        let (coordinator, _) = cluster.find_coordinator(CoordinatorKind::Transaction, id)?;
        let connection = cluster.node(coordinator)?;
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(vec![TransactionalId(text(id))]);
        let described = retrying(timeout, || {
            let mut states = connection.call(&request)?.transaction_states.into_iter();
            let missing = || CliError::kafka(ErrorCode::TransactionalIdNotFound.code(), id, None);
            let state = states.next().ok_or_else(missing)?;
            check(state.error_code, format!("cannot describe the transaction of {id}"), None)?;
            Ok(state)
        });
        let state = match described {
            Ok(state) => state,
            Err(error) => {
                report.failures.push(error);
                continue;
            }
        };
        let started = Some(state.transaction_start_time_ms).filter(|ms| *ms >= 0);
        let age_ms = started.map(|started| (unix_ms() - started).max(0));
        let partitions: Vec<String> = state
            .topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|partition| format!("{}-{partition}", topic.topic.as_str()))
            })
            .collect();
        report.blocks.push(Block::Fields(vec![
            ("TRANSACTIONAL ID", id.clone()),
            ("STATE", state.transaction_state.to_string()),
            ("PRODUCER", format!("{} epoch {}", state.producer_id.0, state.producer_epoch)),
            ("TIMEOUT", format!("{} ms", state.transaction_timeout_ms)),
            ("AGE", age_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))),
            ("PARTITIONS", if partitions.is_empty() { "-".to_owned() } else { partitions.join(", ") }),
        ]));
        json.push(json!({
            "transactional_id": id, "coordinator": coordinator, "state": state.transaction_state.as_str(),
            "producer_id": state.producer_id.0,
            "producer_epoch": state.producer_epoch, "timeout_ms": state.transaction_timeout_ms,
            "start_time_ms": started, "age_ms": age_ms, "partitions": partitions,
        }));
    }
    report.json = Value::Array(json);
    Ok(report)
}

fn abort(global: &GlobalArgs, args: &AbortArgs) -> Result<Report, CliError> {
    if let Some(id) = &args.transactional_id {
        confirm(&format!("Abort the transaction of {id} and fence its producer?"), args.yes.into())?;
        return abort_by_fencing(&mut global.cluster()?, id);
    }
    match (&args.topic, args.partition, args.start_offset) {
        (Some(topic), Some(partition), Some(start_offset)) => {
            let hanging = Hanging { topic, partition, start_offset };
            let question =
                format!("Abort the transaction that begins at {topic}-{partition} offset {start_offset}?");
            confirm(&question, args.yes.into())?;
            abort_hanging(&mut global.cluster()?, hanging)
        }
        _ => Err(CliError::usage("give a transactional id, or --topic, --partition and --start-offset")),
    }
}

/// InitProducerId for the id, as a new instance of its producer would send: the coordinator aborts what
/// is open and fences the old instance.
fn abort_by_fencing(cluster: &mut Cluster, id: &str) -> Result<Report, CliError> {
    let timeout = cluster.timeout();
    let connection = cluster.coordinator(CoordinatorKind::Transaction, id)?;
    // Without this question a mistyped id would be created, and the answer would be success.
    let known =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![TransactionalId(text(id))]);
    let state = retrying(timeout, || {
        let states = connection.call(&known)?.transaction_states;
        let state = states.first().ok_or_else(|| CliError::usage("the broker describes nothing"))?;
        check(state.error_code, format!("no transaction of {id}"), None)?;
        Ok(state.clone())
    })?;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(state.transaction_timeout_ms.max(1))
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let response = retrying(timeout, || {
        let response = connection.call_up_to(&request, 5)?;
        let result = check(response.error_code, format!("cannot abort the transaction of {id}"), None);
        // The abort itself is under way while this is answered.
        result.map_err(|error| match error.is(ErrorCode::ConcurrentTransactions) {
            true => CliError { retriable: true, ..error },
            false => error,
        })?;
        Ok(response)
    })?;
    let was = state.transaction_state.to_string();
    let json = json!({"transactional_id": id, "previous_state": was, "producer_id": response.producer_id.0,
        "producer_epoch": response.producer_epoch});
    let done = if was == "Ongoing" { "aborted its transaction" } else { "no transaction was open" };
    Ok(Report::line(format!("{id}: {done}; its producer is fenced"), json))
}

struct Hanging<'a> {
    topic: &'a str,
    partition: i32,
    start_offset: i64,
}

/// The leader of a partition, and the producers that it knows.
fn producers_of(
    cluster: &mut Cluster,
    topic: &str,
    partition: i32,
) -> Result<(i32, Vec<ProducerState>), CliError> {
    let described = find_topic(cluster, topic)?;
    let leader = described.partitions.iter().find(|known| known.partition_index == partition);
    let leader = leader.map(|known| known.leader_id.0).ok_or_else(|| {
        let code = ErrorCode::UnknownTopicOrPartition.code();
        CliError::kafka(code, format!("{topic} has no partition {partition}"), None)
    })?;
    let asked = TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(vec![partition]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked]);
    let mut producers = Vec::new();
    for answer in cluster.node(leader)?.call(&request)?.topics.into_iter().flat_map(|topic| topic.partitions)
    {
        let detail = answer.error_message.as_ref().map(StrBytes::as_str);
        check(answer.error_code, format!("cannot describe the producers of {topic}-{partition}"), detail)?;
        producers.extend(answer.active_producers);
    }
    Ok((leader, producers))
}

fn producers(cluster: &mut Cluster, topic: &str, partition: i32) -> Result<Report, CliError> {
    let (_, producers) = producers_of(cluster, topic, partition)?;
    let mut rows = Vec::new();
    let mut json = Vec::new();
    for producer in producers {
        let start = Some(producer.current_txn_start_offset).filter(|offset| *offset >= 0);
        rows.push(vec![
            producer.producer_id.0.to_string(),
            producer.producer_epoch.to_string(),
            producer.last_sequence.to_string(),
            show_timestamp(producer.last_timestamp),
            start.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
        ]);
        json.push(json!({
            "producer_id": producer.producer_id.0, "producer_epoch": producer.producer_epoch,
            "coordinator_epoch": producer.coordinator_epoch, "last_sequence": producer.last_sequence,
            "last_timestamp_ms": producer.last_timestamp, "transaction_start_offset": start,
        }));
    }
    let headers: &[_] = &["PRODUCER ID", "EPOCH", "LAST SEQUENCE", "LAST WRITE", "TRANSACTION FROM"];
    Ok(Report::new(Block::Table { headers, rows }, Value::Array(json)))
}

fn abort_hanging(cluster: &mut Cluster, hanging: Hanging<'_>) -> Result<Report, CliError> {
    let Hanging { topic, partition, start_offset } = hanging;
    let (leader, producers) = producers_of(cluster, topic, partition)?;
    let producer = producers.into_iter().find(|producer| producer.current_txn_start_offset == start_offset);
    let producer = producer.ok_or_else(|| {
        let message = format!("no open transaction begins at {topic}-{partition} offset {start_offset}");
        CliError::new(ExitKind::NotFound, "TRANSACTION_NOT_FOUND", message)
    })?;
    let marker = WritableTxnMarker::default()
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(i16::try_from(producer.producer_epoch).unwrap_or(i16::MAX))
        .with_transaction_result(false)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_topics(vec![
            WritableTxnMarkerTopic::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(vec![partition]),
        ]);
    let response =
        cluster.node(leader)?.call(&WriteTxnMarkersRequest::default().with_markers(vec![marker]))?;
    let results =
        response.markers.iter().flat_map(|marker| &marker.topics).flat_map(|topic| &topic.partitions);
    for result in results {
        check(result.error_code, format!("cannot abort the transaction at {topic}-{partition}"), None)?;
    }
    let json = json!({"topic": topic, "partition": partition, "start_offset": start_offset,
        "producer_id": producer.producer_id.0});
    Ok(Report::line(
        format!("{topic}-{partition}: aborted the transaction that began at {start_offset}"),
        json,
    ))
}
