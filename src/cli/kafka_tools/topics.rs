//! `kafka-topics` (`org.apache.kafka.tools.TopicCommand`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::super::GlobalArgs;
use super::super::error::CliError;
use super::super::output::Report;
use super::{CommandConfig, all_done, elements, lines, missing, number_of, ours, pattern, text_of};

/// Its flags.
#[derive(Args, Debug)]
#[group(id = "topics_action", required = true, multiple = false, args = ["create", "list", "describe", "delete", "alter"])]
pub struct TopicsArgs {
    /// Create a topic
    #[arg(long)]
    create: bool,
    /// List topics
    #[arg(long)]
    list: bool,
    /// Show topics
    #[arg(long)]
    describe: bool,
    /// Delete topics
    #[arg(long)]
    delete: bool,
    /// Add partitions
    #[arg(long)]
    alter: bool,
    /// The topic; a regular expression but for --create
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// How many partitions
    #[arg(long)]
    partitions: Option<i32>,
    /// How many replicas
    #[arg(long)]
    replication_factor: Option<i16>,
    /// A setting of the new topic; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// A topic that is not there is no failure
    #[arg(long)]
    if_exists: bool,
    /// A topic that is there already is no failure
    #[arg(long)]
    if_not_exists: bool,
    /// Leave the broker's own topics out
    #[arg(long)]
    exclude_internal: bool,
    /// Only topics with settings of their own
    #[arg(long)]
    topics_with_overrides: bool,
    /// Only partitions that not all replicas have
    #[arg(long)]
    under_replicated_partitions: bool,
    /// Only partitions without a leader
    #[arg(long)]
    unavailable_partitions: bool,
    #[command(flatten)]
    command_config: CommandConfig,
}

pub(super) fn run(global: &GlobalArgs, args: &TopicsArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    if args.create {
        return create(global, args);
    }
    let names = chosen(global, args)?;
    if args.list {
        return Ok(lines(names, Vec::new()));
    }
    let wanted = args.topic.as_deref();
    if let (true, Some(wanted), false) = (names.is_empty(), wanted, args.if_exists) {
        return Err(CliError::usage(format!("there is no topic {wanted}")));
    }
    if args.describe {
        return describe(global, args, &names);
    }
    let action = if args.delete { "--delete" } else { "--alter" };
    if wanted.is_none() {
        return Err(missing("--topic", action));
    }
    for name in &names {
        let report = if args.delete {
            ours(global, &["topic", "delete", name, "--yes"])?
        } else {
            let partitions = args.partitions.ok_or_else(|| missing("--partitions", action))?.to_string();
            ours(global, &["topic", "alter", name, "--partitions", &partitions])?
        };
        all_done(&report)?;
    }
    Ok(Report::silent())
}

fn create(global: &GlobalArgs, args: &TopicsArgs) -> Result<Report, CliError> {
    let name = args.topic.as_deref().ok_or_else(|| missing("--topic", "--create"))?;
    let mut arguments = vec!["topic".to_owned(), "create".to_owned(), name.to_owned()];
    arguments.extend(args.partitions.map(|count| format!("--partitions={count}")));
    arguments.extend(args.replication_factor.map(|count| format!("--replication-factor={count}")));
    arguments.extend(args.config.iter().map(|config| format!("--config={config}")));
    arguments.extend(args.if_not_exists.then(|| "--if-not-exists".to_owned()));
    let report = ours(global, &arguments)?;
    all_done(&report)?;
    let created = elements(&report.json).any(|topic| text_of(topic, "status") == "created");
    Ok(lines(created.then(|| format!("Created topic {name}.")).into_iter().collect(), Vec::new()))
}

/// The topics that the flags mean, in order.
fn chosen(global: &GlobalArgs, args: &TopicsArgs) -> Result<Vec<String>, CliError> {
    let mut arguments = vec!["topic", "list"];
    if !args.exclude_internal {
        arguments.push("--internal");
    }
    let report = ours(global, &arguments)?;
    let pattern = args.topic.as_deref().map(pattern).transpose()?;
    let names = elements(&report.json).map(|topic| text_of(topic, "name").to_owned());
    Ok(names.filter(|name| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name))).collect())
}

fn describe(global: &GlobalArgs, args: &TopicsArgs, names: &[String]) -> Result<Report, CliError> {
    let mut shown = Vec::new();
    if names.is_empty() {
        return Ok(Report::silent());
    }
    let arguments = ["topic", "describe"].into_iter().chain(names.iter().map(String::as_str));
    let report = ours(global, &arguments.collect::<Vec<_>>())?;
    let only_partitions = args.under_replicated_partitions || args.unavailable_partitions;
    for topic in elements(&report.json) {
        let has_overrides = topic.get("configs").is_some_and(|configs| elements(configs).count() > 0);
        if args.topics_with_overrides && !has_overrides {
            continue;
        }
        if !only_partitions {
            shown.push(topic_line(topic));
        }
        if !args.topics_with_overrides {
            let partitions = topic.get("partitions").into_iter().flat_map(elements);
            let partitions = partitions.filter(|partition| is_shown(args, partition));
            shown.extend(partitions.map(|partition| partition_line(text_of(topic, "name"), partition)));
        }
    }
    Ok(lines(shown, report.failures))
}

fn topic_line(topic: &Value) -> String {
    let partitions: Vec<&Value> = topic.get("partitions").into_iter().flat_map(elements).collect();
    let replicas = partitions.first().map_or(0, |first| ids(first, "replicas").len());
    let configs = topic.get("configs").into_iter().flat_map(elements);
    let configs = configs.map(|config| format!("{}={}", text_of(config, "name"), text_of(config, "value")));
    format!(
        "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}",
        text_of(topic, "name"),
        kafka_uuid(text_of(topic, "topic_id")),
        partitions.len(),
        configs.collect::<Vec<_>>().join(",")
    )
}

fn partition_line(topic: &str, partition: &Value) -> String {
    let leader = number_of(partition, "leader");
    format!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {}\tReplicas: {}\tIsr: {}\tElr: \tLastKnownElr: ",
        number_of(partition, "partition"),
        if leader == "-1" { "none" } else { &leader },
        ids(partition, "replicas").join(","),
        ids(partition, "isr").join(","),
    )
}

fn ids(partition: &Value, field: &str) -> Vec<String> {
    partition.get(field).into_iter().flat_map(elements).map(ToString::to_string).collect()
}

fn is_shown(args: &TopicsArgs, partition: &Value) -> bool {
    let is_under_replicated = ids(partition, "isr").len() < ids(partition, "replicas").len();
    let is_unavailable = number_of(partition, "leader") == "-1";
    (!args.under_replicated_partitions || is_under_replicated)
        && (!args.unavailable_partitions || is_unavailable)
}

/// A topic's id as Kafka writes it: base64 without padding.
fn kafka_uuid(id: &str) -> String {
    Uuid::parse_str(id).map_or_else(|_| id.to_owned(), |id| URL_SAFE_NO_PAD.encode(id.as_bytes()))
}
