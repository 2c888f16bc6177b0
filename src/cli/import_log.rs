//! `tidemill import-log`: partitions that Apache Kafka wrote become partitions of a data directory. Works on
//! files, while no broker runs on either side; nothing goes over the network.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::error::{CliError, ExitKind};
use super::output::{Block, Report, human_bytes};
use super::serve::ConfigArgs;
use crate::server::{ImportExtent, ImportReport, ImportRequest, ImportedTopic, TornTails, import_log};

/// Arguments of `import-log`.
#[derive(Args, Debug)]
pub struct ImportLogArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Partitions' directories, such as kafka-logs/orders-0, or Kafka's log directory with all its topics, groups
    /// and transactions
    #[arg(required = true, value_name = "DIRECTORY")]
    sources: Vec<PathBuf>,
    /// Only say what would be imported
    #[arg(long)]
    dry_run: bool,
    /// Leave out what a crash of Kafka has torn at the end of a partition, as Kafka does when it starts
    #[arg(long)]
    cut_torn_tails: bool,
}

pub(super) fn run(args: &ImportLogArgs) -> Result<Report, CliError> {
    let config = args.config.load()?;
    let extent = if args.dry_run { ImportExtent::Look } else { ImportExtent::Copy };
    let request = ImportRequest {
        sources: args.sources.clone(),
        torn_tails: if args.cut_torn_tails { TornTails::Cut } else { TornTails::Refuse },
        extent,
    };
    let report = import_log(&config, &request)
        .map_err(|error| CliError::new(ExitKind::Failed, "IMPORT_FAILED", format!("{error:#}")))?;
    Ok(shown(&report, extent))
}

fn shown(report: &ImportReport, extent: ImportExtent) -> Report {
    let headers = &["TOPIC", "PARTITIONS", "SIZE", "OFFSETS", "CUT"];
    let rows = report.topics.iter().map(row_of).collect();
    let partitions: usize = report.topics.iter().map(|topic| topic.partitions.len()).sum();
    let verb = match extent {
        ImportExtent::Look => "to import",
        ImportExtent::Copy => "imported",
    };
    let mut blocks = vec![Block::Table { headers, rows }];
    blocks.extend(report.notes.iter().map(|note| Block::Line(format!("note: {note}"))));
    blocks.push(Block::Line(format!("{verb}: {partitions} partitions of {} topics", report.topics.len())));
    let topics: Vec<_> = report.topics.iter().map(json_of).collect();
    let json = json!({"topics": topics, "notes": report.notes, "dry_run": extent == ImportExtent::Look});
    Report { blocks, json, failures: Vec::new() }
}

fn row_of(topic: &ImportedTopic) -> Vec<String> {
    let bytes: u64 = topic.partitions.iter().map(|partition| partition.bytes).sum();
    let cut: u64 = topic.partitions.iter().map(|partition| partition.bytes_cut).sum();
    let spans: Option<i64> =
        topic.partitions.iter().map(|p| p.offsets.map(|(start, end)| end.since(start))).sum();
    vec![
        topic.name.to_string(),
        topic.partitions.len().to_string(),
        human_bytes(bytes),
        spans.map_or_else(|| "-".to_owned(), |spans| spans.to_string()),
        if cut == 0 { "-".to_owned() } else { human_bytes(cut) },
    ]
}

fn json_of(topic: &ImportedTopic) -> serde_json::Value {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .enumerate()
        .map(|(number, partition)| {
            json!({
                "partition": number,
                "directory": partition.directory,
                "bytes": partition.bytes,
                "log_start_offset": partition.offsets.map(|(start, _)| start.value()),
                "log_end_offset": partition.offsets.map(|(_, end)| end.value()),
                "bytes_cut": partition.bytes_cut,
            })
        })
        .collect();
    json!({"topic": topic.name.as_str(), "configs": topic.configs, "partitions": partitions})
}
