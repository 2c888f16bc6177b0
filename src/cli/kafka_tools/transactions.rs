//! `kafka-transactions` (`org.apache.kafka.tools.TransactionsCommand`).

use clap::{Args, Subcommand};
use serde_json::Value;

use super::super::GlobalArgs;
use super::super::error::CliError;
use super::super::output::Report;
use super::super::time::show_timestamp;
use super::{CommandConfig, all_done, elements, lines, number_of, ours, table, text_of};

/// Its flags.
#[derive(Args, Debug)]
pub struct TransactionsArgs {
    #[command(flatten)]
    command_config: CommandConfig,
    #[command(subcommand)]
    action: Action,
}

/// What it does.
#[derive(Debug, Subcommand)]
enum Action {
    /// List transactions
    List,
    /// Show a transaction
    Describe {
        /// Its producer's
        #[arg(long)]
        transactional_id: String,
    },
    /// Show the producers of a partition
    DescribeProducers {
        /// The topic
        #[arg(long)]
        topic: String,
        /// The partition
        #[arg(long)]
        partition: i32,
    },
    /// Abort the transaction that begins at an offset of a partition
    Abort {
        /// The topic
        #[arg(long)]
        topic: String,
        /// The partition
        #[arg(long)]
        partition: i32,
        /// The transaction's first offset
        #[arg(long)]
        start_offset: i64,
    },
}

pub(super) fn run(global: &GlobalArgs, args: &TransactionsArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    match &args.action {
        Action::List => list(global),
        Action::Describe { transactional_id } => describe(global, transactional_id),
        Action::DescribeProducers { topic, partition } => producers(global, topic, *partition),
        Action::Abort { topic, partition, start_offset } => {
            let (partition, start_offset) = (partition.to_string(), start_offset.to_string());
            let at = ["--topic", topic, "--partition", &partition, "--start-offset", &start_offset];
            all_done(&ours(global, &[&["txn", "abort", "--yes"], at.as_slice()].concat())?)?;
            Ok(Report::silent())
        }
    }
}

fn list(global: &GlobalArgs) -> Result<Report, CliError> {
    let report = ours(global, &["txn", "list"])?;
    let row = |transaction: &Value| {
        let coordinator = number_of(transaction, "coordinator");
        let (id, state) = (text_of(transaction, "transactional_id"), text_of(transaction, "state"));
        vec![id.to_owned(), coordinator, number_of(transaction, "producer_id"), state.to_owned()]
    };
    let rows: Vec<_> = elements(&report.json).map(row).collect();
    let headers = ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"];
    Ok(lines(table(&headers, &rows), report.failures))
}

fn describe(global: &GlobalArgs, id: &str) -> Result<Report, CliError> {
    let report = ours(global, &["txn", "describe", id])?;
    all_done(&report)?;
    let row = |state: &Value| {
        let partitions = state.get("partitions").into_iter().flat_map(elements);
        let partitions: Vec<_> = partitions.filter_map(Value::as_str).collect();
        let started = state.get("start_time_ms").and_then(Value::as_i64);
        vec![
            number_of(state, "coordinator"),
            text_of(state, "transactional_id").to_owned(),
            number_of(state, "producer_id"),
            number_of(state, "producer_epoch"),
            text_of(state, "state").to_owned(),
            number_of(state, "timeout_ms"),
            started.map_or_else(|| "None".to_owned(), show_timestamp),
            number_of(state, "age_ms"),
            partitions.join(","),
        ]
    };
    let rows: Vec<_> = elements(&report.json).map(row).collect();
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    Ok(lines(table(&headers, &rows), Vec::new()))
}

fn producers(global: &GlobalArgs, topic: &str, partition: i32) -> Result<Report, CliError> {
    let report = ours(global, &["txn", "producers", topic, "--partition", &partition.to_string()])?;
    let row = |producer: &Value| {
        let start = number_of(producer, "transaction_start_offset");
        vec![
            number_of(producer, "producer_id"),
            number_of(producer, "producer_epoch"),
            number_of(producer, "coordinator_epoch"),
            number_of(producer, "last_sequence"),
            number_of(producer, "last_timestamp_ms"),
            if start == "-" { "None".to_owned() } else { start },
        ]
    };
    let rows: Vec<_> = elements(&report.json).map(row).collect();
    let headers = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    Ok(lines(table(&headers, &rows), report.failures))
}
