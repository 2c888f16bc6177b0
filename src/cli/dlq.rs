//! `tidemill dlq …`: dead letters, the records that processors could not process.
//!
//! `letter` knows what a processor adds to them, `reader` reads them, `replay` sends them back. All of it is an
//! ordinary Kafka client: reads at read-committed, transactions, committed offsets, DeleteRecords.

use clap::{Args, Subcommand};

use super::GlobalArgs;
use super::error::CliError;
use super::output::Report;

#[cfg(feature = "client")]
mod letter;
#[cfg(feature = "client")]
mod reader;
#[cfg(feature = "client")]
mod replay;

/// The verbs.
#[derive(Debug, Subcommand)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub enum DlqCommand {
    /// List the dead-letter topics of all processors, and how many letters they have
    List,
    /// Show letters: where they came from and what was wrong with them
    Show(ShowArgs),
    /// Write letters back to where they came from, each exactly once
    Replay(ReplayArgs),
    /// Delete letters
    Purge(PurgeArgs),
}

/// Arguments of `dlq show`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct ShowArgs {
    /// The dead-letter topic
    topic: String,
    /// Those that were replayed too
    #[arg(long, short = 'a')]
    all: bool,
    /// Only this partition of the topic
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Only letters of this processor
    #[arg(long)]
    processor: Option<String>,
    /// Only letters with this error code
    #[arg(long)]
    code: Option<String>,
    /// How many
    #[arg(long, short = 'n', value_name = "LETTERS", default_value = "100")]
    limit: usize,
}

/// Arguments of `dlq replay`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct ReplayArgs {
    /// The dead-letter topic
    topic: String,
    /// Only this partition of the topic
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Only the first so many letters that are not replayed yet
    #[arg(long, short = 'n', value_name = "LETTERS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Pass for good over letters that no processor wrote, or whose partition is gone
    #[arg(long)]
    skip_unreplayable: bool,
    /// Letters in one transaction
    #[arg(long, value_name = "LETTERS", default_value = "500", value_parser = batch_size)]
    batch: usize,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `dlq purge`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct PurgeArgs {
    /// The dead-letter topic
    topic: String,
    /// Only letters that were replayed
    #[arg(long)]
    replayed: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

fn batch_size(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| format!("\"{text}\" is not a number from 1 to 10000"))
}

#[cfg(not(feature = "client"))]
pub(super) fn run(_: &GlobalArgs, _: &DlqCommand) -> Result<Report, CliError> {
    Err(super::without_client())
}

#[cfg(feature = "client")]
use with_client::only;
#[cfg(feature = "client")]
pub(super) use with_client::run;

#[cfg(feature = "client")]
mod with_client {
    use std::collections::{BTreeMap, BTreeSet};

    use kafka_protocol::messages::DeleteRecordsRequest;
    use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    use serde_json::{Value, json};

    use super::super::error::{ExitKind, check};
    use super::super::http::{AdminApi, Call, elements, shown};
    use super::super::output::{Block, confirm};
    use super::super::protocol_client::{Cluster, topic_name};
    use super::super::time::show_timestamp;
    use super::super::topic::find_topic;
    use super::letter::{HEADERS, Letter};
    use super::reader::{Read, Reader, Stretch, stretches};
    use super::replay::replay;
    use super::*;
    use crate::error_code::ErrorCode;

    type Stretches = BTreeMap<i32, Stretch>;

    pub(in super::super) fn run(global: &GlobalArgs, command: &DlqCommand) -> Result<Report, CliError> {
        match command {
            DlqCommand::List => list(global),
            DlqCommand::Show(args) => show(global, args),
            DlqCommand::Replay(args) => replay(global, args),
            DlqCommand::Purge(args) => purge(global, args),
        }
    }

    /// One partition of a topic, or all.
    pub(super) fn only(
        stretches: Stretches,
        topic: &str,
        partition: Option<i32>,
    ) -> Result<Stretches, CliError> {
        let Some(partition) = partition else { return Ok(stretches) };
        let found = stretches.get(&partition).map(|stretch| BTreeMap::from([(partition, *stretch)]));
        let code = ErrorCode::UnknownTopicOrPartition.code();
        found.ok_or_else(|| CliError::kafka(code, format!("{topic} has no partition {partition}"), None))
    }

    /// What there is in a dead-letter topic.
    #[derive(Default)]
    struct Survey {
        pending: u64,
        replayed: u64,
        oldest_ms: Option<i64>,
        newest_ms: Option<i64>,
    }

    /// Counts by reading: offsets do not tell letters from the markers of transactions.
    fn survey(global: &GlobalArgs, topic: &str, stretches: &Stretches) -> Result<Survey, CliError> {
        let spans = stretches.iter().map(|(number, stretch)| (*number, (stretch.first, stretch.end)));
        let mut reader = Reader::open(global, topic, &spans.collect())?;
        let mut survey = Survey::default();
        while let Some(read) = reader.next()? {
            let Read::Record(record) = read else { continue };
            match is_pending(stretches, record.partition, record.offset) {
                true => survey.pending += 1,
                false => survey.replayed += 1,
            }
            let time = record.timestamp_ms;
            survey.oldest_ms = survey.oldest_ms.into_iter().chain(time).min();
            survey.newest_ms = survey.newest_ms.into_iter().chain(time).max();
        }
        Ok(survey)
    }

    fn is_pending(stretches: &Stretches, partition: i32, offset: i64) -> bool {
        stretches.get(&partition).is_none_or(|stretch| offset >= stretch.pending)
    }

    fn list(global: &GlobalArgs) -> Result<Report, CliError> {
        let answer = AdminApi::new(global).call(Call::Get, "/v1/processors")?;
        let mut topics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for processor in elements(&answer, "processors") {
            if let Some(topic) = processor.get("dead_letter_topic").and_then(Value::as_str) {
                topics.entry(topic.to_owned()).or_default().insert(shown(processor.get("name")));
            }
        }
        let mut cluster = global.cluster()?;
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for (topic, processors) in topics {
            match find_topic(&mut cluster, &topic) {
                Ok(_) => {}
                // A topic comes with its first letter, or was deleted.
                Err(error) if error.is(ErrorCode::UnknownTopicOrPartition) => continue,
                Err(error) => return Err(error),
            }
            let survey = survey(global, &topic, &stretches(&mut cluster, &topic)?)?;
            let time = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), show_timestamp);
            rows.push(vec![
                topic.clone(),
                processors.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
                survey.pending.to_string(),
                survey.replayed.to_string(),
                time(survey.oldest_ms),
                time(survey.newest_ms),
            ]);
            values.push(json!({"topic": topic, "processors": processors, "pending": survey.pending,
                "replayed": survey.replayed, "oldest_ms": survey.oldest_ms, "newest_ms": survey.newest_ms}));
        }
        let headers: &[_] = &["TOPIC", "PROCESSORS", "PENDING", "REPLAYED", "OLDEST", "NEWEST"];
        Ok(Report::new(Block::Table { headers, rows }, json!({ "topics": values })))
    }

    fn show(global: &GlobalArgs, args: &ShowArgs) -> Result<Report, CliError> {
        let stretches = stretches(&mut global.cluster()?, &args.topic)?;
        let stretches = only(stretches, &args.topic, args.partition)?;
        let begin = |stretch: &Stretch| if args.all { stretch.first } else { stretch.pending };
        let spans = stretches.iter().map(|(number, stretch)| (*number, (begin(stretch), stretch.end)));
        let mut reader = Reader::open(global, &args.topic, &spans.collect())?;
        let is_asked_for = |letter: &Letter| {
            let failure = letter.failure.as_ref();
            let is = |wanted: &Option<String>, said: Option<&String>| {
                wanted.as_ref().is_none_or(|wanted| said == Some(wanted))
            };
            is(&args.processor, failure.and_then(|failure| failure.processor.as_ref()))
                && is(&args.code, failure.and_then(|failure| failure.code.as_ref()))
        };
        let (mut rows, mut values, mut more) = (Vec::new(), Vec::new(), false);
        while let Some(read) = reader.next()? {
            let Read::Record(record) = read else { continue };
            let letter = Letter::of(record);
            if !is_asked_for(&letter) {
                continue;
            }
            if rows.len() == args.limit {
                more = true;
                break;
            }
            let is_pending = is_pending(&stretches, letter.record.partition, letter.record.offset);
            let state = if is_pending { "pending" } else { "replayed" };
            rows.push(letter.row(state));
            values.push(letter.json(state));
        }
        let json = json!({"topic": args.topic, "letters": values, "more": more});
        let mut report = Report::new(Block::Table { headers: HEADERS, rows }, json);
        if more {
            report.blocks.push(Block::Line("There are more; --limit shows more of them.".to_owned()));
        }
        Ok(report)
    }

    fn purge(global: &GlobalArgs, args: &PurgeArgs) -> Result<Report, CliError> {
        let mut cluster = global.cluster()?;
        let stretches = stretches(&mut cluster, &args.topic)?;
        let found = survey(global, &args.topic, &stretches)?;
        let letters = if args.replayed { found.replayed } else { found.replayed + found.pending };
        let question = match (args.replayed, found.pending) {
            (false, pending) if pending > 0 => {
                format!("Delete {letters} letters of {}, of which {pending} are not replayed?", args.topic)
            }
            (true | false, _) => format!("Delete {letters} replayed letters of {}?", args.topic),
        };
        confirm(&question, args.yes.into())?;
        let up_to = |stretch: &Stretch| if args.replayed { stretch.pending } else { stretch.end };
        let up_to = stretches.iter().map(|(number, stretch)| (*number, up_to(stretch))).collect();
        delete_records(&mut cluster, &args.topic, &up_to)?;
        let json = json!({"topic": args.topic, "deleted": letters});
        Ok(Report::line(format!("deleted {letters} letters of {}", args.topic), json))
    }

    /// Deletes what lies before these offsets.
    fn delete_records(
        cluster: &mut Cluster,
        topic: &str,
        up_to: &BTreeMap<i32, i64>,
    ) -> Result<(), CliError> {
        let mut by_leader: BTreeMap<i32, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for partition in find_topic(cluster, topic)?.partitions {
            let Some(offset) = up_to.get(&partition.partition_index) else { continue };
            let asked = DeleteRecordsPartition::default()
                .with_partition_index(partition.partition_index)
                .with_offset(*offset);
            by_leader.entry(partition.leader_id.0).or_default().push(asked);
        }
        let timeout_ms = cluster.timeout_ms();
        for (leader, partitions) in by_leader {
            let asked =
                DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
            let request =
                DeleteRecordsRequest::default().with_topics(vec![asked]).with_timeout_ms(timeout_ms);
            let response = cluster.node(leader)?.call(&request)?;
            for partition in response.topics.into_iter().flat_map(|topic| topic.partitions) {
                let what = format!("cannot delete letters of {topic}-{}", partition.partition_index);
                check(partition.error_code, what, None).map_err(|error| {
                    match error.is(ErrorCode::PolicyViolation) {
                        true => CliError { kind: ExitKind::Conflict, ..error }.with_hint(
                            "a topic with cleanup.policy=compact keeps its last record of each key",
                        ),
                        false => error,
                    }
                })?;
            }
        }
        Ok(())
    }
}
