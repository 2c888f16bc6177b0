//! `tidemill topic …`: topics over the Kafka protocol.
//!
//! Shows the broker's own error names and sentences; works against any Kafka-compatible cluster.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use serde_json::{Value, json};

use super::configs::{Changes, Resource, alter_configs, describe_configs, source_name};
use super::error::{CliError, check};
use super::output::{Block, Report, confirm};
use super::protocol_client::{Cluster, text, topic_name};
use super::{GlobalArgs, parse_pair};
use crate::error_code::ErrorCode;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics
    Create(CreateArgs),
    /// List topics
    List {
        /// Show the broker's own topics too
        #[arg(long)]
        internal: bool,
    },
    /// Show topics: partitions, offsets and configuration
    Describe {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// Show every configuration key, not only those that were set
        #[arg(long)]
        all_configs: bool,
    },
    /// Delete topics with all their records
    Delete {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
        /// A topic that is not there is no failure
        #[arg(long)]
        if_exists: bool,
    },
    /// Add partitions, or change the configuration
    Alter(AlterArgs),
}

/// Arguments of `topic create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// How many partitions; the broker's num.partitions unless given
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas; the broker's default unless given
    #[arg(long, short = 'r', value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A topic setting, such as retention.ms=60000; may be repeated
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    configs: Vec<(String, String)>,
    /// A topic that is there already is no failure
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it could be done
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `topic alter`.
#[derive(Args, Debug)]
pub struct AlterArgs {
    /// The topic
    topic: String,
    /// The new, higher number of partitions
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// A setting to make; may be repeated
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    configs: Vec<(String, String)>,
    /// A setting to take back; may be repeated
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// Only check whether it could be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(global: &GlobalArgs, command: &TopicCommand) -> Result<Report, CliError> {
    match command {
        TopicCommand::Create(args) => create(&mut global.cluster()?, args),
        TopicCommand::List { internal } => list(&mut global.cluster()?, *internal),
        TopicCommand::Describe { topics, all_configs } => {
            describe(&mut global.cluster()?, topics, *all_configs)
        }
        TopicCommand::Delete { topics, yes, if_exists } => {
            confirm(&format!("Delete {} with all records?", topics.join(", ")), (*yes).into())?;
            delete(&mut global.cluster()?, topics, *if_exists)
        }
        TopicCommand::Alter(args) => alter(&mut global.cluster()?, args),
    }
}

/// What became of each of several things.
struct Outcomes {
    rows: Vec<Vec<String>>,
    json: Vec<Value>,
    failures: Vec<CliError>,
}

impl Outcomes {
    fn new() -> Outcomes {
        Outcomes { rows: Vec::new(), json: Vec::new(), failures: Vec::new() }
    }

    fn done(&mut self, name: &str, status: &str, result: Result<(), CliError>) {
        let status = match &result {
            Ok(()) => status,
            Err(error) => error.code.as_str(),
        };
        self.rows.push(vec![name.to_owned(), status.to_owned()]);
        self.json.push(json!({"name": name, "status": status, "ok": result.is_ok()}));
        self.failures.extend(result.err());
    }

    fn report(self) -> Report {
        let block = Block::Table { headers: &["NAME", "STATUS"], rows: self.rows };
        Report { blocks: vec![block], json: Value::Array(self.json), failures: self.failures }
    }
}

fn create(cluster: &mut Cluster, args: &CreateArgs) -> Result<Report, CliError> {
    let configs: Vec<_> = args
        .configs
        .iter()
        .map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        })
        .collect();
    let topic = |name: &String| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(args.partitions.unwrap_or(-1))
            .with_replication_factor(args.replication_factor.unwrap_or(-1))
            .with_configs(configs.clone())
    };
    let request = CreateTopicsRequest::default()
        .with_topics(args.topics.iter().map(topic).collect())
        .with_timeout_ms(cluster.timeout_ms())
        .with_validate_only(args.dry_run);
    let response = cluster.controller()?.call(&request)?;
    let mut outcomes = Outcomes::new();
    for topic in &response.topics {
        let name = topic.name.as_str();
        let detail = topic.error_message.as_ref().map(StrBytes::as_str);
        let what = format!("cannot create topic {name}");
        match check(topic.error_code, what, detail) {
            Err(error) if args.if_not_exists && error.is(ErrorCode::TopicAlreadyExists) => {
                outcomes.done(name, "exists", Ok(()));
            }
            result => outcomes.done(name, if args.dry_run { "would be created" } else { "created" }, result),
        }
    }
    Ok(outcomes.report())
}

fn list(cluster: &mut Cluster, internal: bool) -> Result<Report, CliError> {
    let mut topics = cluster.metadata(None)?.topics;
    topics.retain(|topic| internal || !topic.is_internal);
    topics.sort_by(|left, right| left.name.cmp(&right.name));
    let row = |topic: &MetadataResponseTopic| {
        let replicas = topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len());
        (name_of(topic), topic.partitions.len(), replicas, topic.is_internal)
    };
    let rows: Vec<_> = topics.iter().map(row).collect();
    let json = rows
        .iter()
        .map(|(name, partitions, replicas, internal)| {
            json!({"name": name, "partitions": partitions, "replication_factor": replicas, "internal": internal})
        })
        .collect();
    let rows = rows
        .iter()
        .map(|(name, partitions, replicas, _)| {
            vec![name.clone(), partitions.to_string(), replicas.to_string()]
        })
        .collect();
    Ok(Report::new(Block::Table { headers: &["NAME", "PARTITIONS", "REPLICAS"], rows }, Value::Array(json)))
}

fn name_of(topic: &MetadataResponseTopic) -> String {
    topic.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default()
}

fn describe(cluster: &mut Cluster, topics: &[String], all_configs: bool) -> Result<Report, CliError> {
    let mut report = Report::silent();
    let mut json = Vec::new();
    for name in topics {
        match describe_one(cluster, name, all_configs) {
            Ok((blocks, value)) => {
                report.blocks.extend(blocks);
                json.push(value);
            }
            Err(error) => report.failures.push(error),
        }
    }
    report.json = Value::Array(json);
    Ok(report)
}

fn describe_one(
    cluster: &mut Cluster,
    name: &str,
    all_configs: bool,
) -> Result<(Vec<Block>, Value), CliError> {
    let topic = find_topic(cluster, name)?;
    let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
    let wanted = BTreeMap::from([(name.to_owned(), partitions)]);
    let earliest = list_offsets(cluster, &wanted, OffsetAt::Earliest)?;
    let latest = list_offsets(cluster, &wanted, OffsetAt::Latest)?;
    let configs = describe_configs(cluster, &Resource::topic(name))?;
    let shown = |config: &&DescribeConfigsResourceResult| all_configs || config.config_source == 1;
    let configs: Vec<_> = configs.iter().filter(shown).collect();

    let mut rows = Vec::new();
    let mut values = Vec::new();
    for partition in &topic.partitions {
        let at = (name.to_owned(), partition.partition_index);
        let (first, end) = (earliest.get(&at).copied(), latest.get(&at).copied());
        rows.push(partition_row(partition, first, end));
        values.push(json!({
            "partition": partition.partition_index, "leader": partition.leader_id.0,
            "leader_epoch": partition.leader_epoch, "replicas": ids(&partition.replica_nodes),
            "isr": ids(&partition.isr_nodes), "log_start_offset": first, "high_watermark": end,
        }));
    }
    let config_json = configs.iter().map(|config| {
        json!({"name": config.name.as_str(), "value": config.value.as_ref().map(StrBytes::as_str),
               "source": source_name(config.config_source)})
    });
    let json = json!({
        "name": name, "topic_id": topic.topic_id.to_string(), "internal": topic.is_internal,
        "partitions": values, "configs": config_json.collect::<Vec<_>>(),
    });
    let mut blocks = vec![
        Block::Fields(vec![
            ("NAME", name.to_owned()),
            ("ID", topic.topic_id.to_string()),
            ("PARTITIONS", topic.partitions.len().to_string()),
        ]),
        Block::Table { headers: &["PARTITION", "LEADER", "REPLICAS", "ISR", "START", "END"], rows },
    ];
    if !configs.is_empty() {
        blocks.push(Block::Table { headers: &["CONFIG", "VALUE", "SOURCE"], rows: config_rows(&configs) });
    }
    Ok((blocks, json))
}

fn partition_row(partition: &MetadataResponsePartition, first: Option<i64>, end: Option<i64>) -> Vec<String> {
    let list = |nodes: &[BrokerId]| ids(nodes).iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let offset = |offset: Option<i64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    vec![
        partition.partition_index.to_string(),
        partition.leader_id.0.to_string(),
        list(&partition.replica_nodes),
        list(&partition.isr_nodes),
        offset(first),
        offset(end),
    ]
}

fn ids(nodes: &[BrokerId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn config_rows(configs: &[&DescribeConfigsResourceResult]) -> Vec<Vec<String>> {
    let row = |config: &&DescribeConfigsResourceResult| {
        let value = config.value.as_ref().map_or("-", |value| value.as_str());
        vec![config.name.to_string(), value.to_owned(), source_name(config.config_source).to_owned()]
    };
    configs.iter().map(row).collect()
}

fn delete(cluster: &mut Cluster, topics: &[String], if_exists: bool) -> Result<Report, CliError> {
    let named = |name: &String| DeleteTopicState::default().with_name(Some(topic_name(name)));
    // Up to version 5 the names stand in one field, from 6 on in another; the codec takes the right one.
    let request = DeleteTopicsRequest::default()
        .with_topics(topics.iter().map(named).collect())
        .with_timeout_ms(cluster.timeout_ms());
    let controller = cluster.controller()?;
    let response = match controller.call(&request) {
        Err(error) if error.kind == super::ExitKind::Usage => {
            let names = topics.iter().map(|name| topic_name(name)).collect();
            let request =
                DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(request.timeout_ms);
            controller.call_up_to(&request, 5)?
        }
        other => other?,
    };
    let mut outcomes = Outcomes::new();
    for topic in &response.responses {
        let name = topic.name.as_ref().map(|name| name.as_str()).unwrap_or_default();
        let detail = topic.error_message.as_ref().map(StrBytes::as_str);
        match check(topic.error_code, format!("cannot delete topic {name}"), detail) {
            Err(error) if if_exists && error.is(ErrorCode::UnknownTopicOrPartition) => {
                outcomes.done(name, "absent", Ok(()));
            }
            result => outcomes.done(name, "deleted", result),
        }
    }
    Ok(outcomes.report())
}

fn alter(cluster: &mut Cluster, args: &AlterArgs) -> Result<Report, CliError> {
    if args.partitions.is_none() && args.configs.is_empty() && args.delete_config.is_empty() {
        return Err(CliError::usage("nothing to alter")
            .with_hint("give --partitions N, --config key=value or --delete-config key"));
    }
    let name = args.topic.as_str();
    // Settings first: they are checked as a whole, and partitions cannot be taken back.
    if !args.configs.is_empty() || !args.delete_config.is_empty() {
        let (set, unset) = (args.configs.clone(), args.delete_config.clone());
        let changes = Changes { set, unset, validate_only: args.dry_run };
        alter_configs(cluster, &Resource::topic(name), &changes)?;
    }
    if let Some(count) = args.partitions {
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(cluster.timeout_ms())
            .with_validate_only(args.dry_run);
        for result in cluster.controller()?.call(&request)?.results {
            let detail = result.error_message.as_ref().map(StrBytes::as_str);
            check(result.error_code, format!("cannot add partitions to {name}"), detail)?;
        }
    }
    let status = if args.dry_run { "would be altered" } else { "altered" };
    let mut outcomes = Outcomes::new();
    outcomes.done(name, status, Ok(()));
    Ok(outcomes.report())
}

/// The topic of this name, or NOT FOUND.
pub(super) fn find_topic(cluster: &mut Cluster, name: &str) -> Result<MetadataResponseTopic, CliError> {
    let response = cluster.metadata(Some(&[name.to_owned()]))?;
    let topic = response.topics.into_iter().find(|topic| name_of(topic) == name);
    let Some(mut topic) = topic else {
        let code = ErrorCode::UnknownTopicOrPartition.code();
        return Err(CliError::kafka(code, format!("no topic {name}"), None));
    };
    check(topic.error_code, format!("no topic {name}"), None)?;
    topic.partitions.sort_by_key(|partition| partition.partition_index);
    Ok(topic)
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OffsetAt {
    /// The first there is.
    Earliest,
    /// The one after the last.
    Latest,
    /// The one after the last that is committed: where a read-committed reader ends.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only dead letters are read so"))]
    LastStable,
    /// The one of the record with the latest timestamp (KIP-734).
    MaxTimestamp,
    /// The first at or after this time; the end if there is none.
    Timestamp(i64),
}

/// Asks each partition's leader for an offset. Partitions without an answer are left out.
pub(super) fn list_offsets(
    cluster: &mut Cluster,
    partitions: &BTreeMap<String, Vec<i32>>,
    at: OffsetAt,
) -> Result<BTreeMap<(String, i32), i64>, CliError> {
    let timestamp = match at {
        OffsetAt::Earliest => -2,
        OffsetAt::Latest | OffsetAt::LastStable => -1,
        OffsetAt::MaxTimestamp => -3,
        OffsetAt::Timestamp(ms) => ms,
    };
    let names: Vec<String> = partitions.keys().cloned().collect();
    let mut by_leader: BTreeMap<i32, BTreeMap<String, Vec<ListOffsetsPartition>>> = BTreeMap::new();
    for topic in cluster.metadata(Some(&names))?.topics {
        let name = name_of(&topic);
        check(topic.error_code, format!("no topic {name}"), None)?;
        let wanted = partitions.get(&name).map(Vec::as_slice).unwrap_or_default();
        for partition in topic.partitions.iter().filter(|known| wanted.contains(&known.partition_index)) {
            let leader = by_leader.entry(partition.leader_id.0).or_default();
            leader.entry(name.clone()).or_default().push(
                ListOffsetsPartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(timestamp),
            );
        }
    }
    let mut offsets = BTreeMap::new();
    for (leader, topics) in by_leader {
        let topics = topics.into_iter().map(|(name, partitions)| {
            ListOffsetsTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(i8::from(at == OffsetAt::LastStable))
            .with_topics(topics.collect());
        for topic in cluster.node(leader)?.call_up_to(&request, 7)?.topics {
            for partition in topic.partitions {
                let at = format!(
                    "cannot list the offsets of {}-{}",
                    topic.name.as_str(),
                    partition.partition_index
                );
                check(partition.error_code, at, None)?;
                if partition.offset >= 0 {
                    offsets.insert((text_of(&topic.name), partition.partition_index), partition.offset);
                }
            }
        }
    }
    Ok(offsets)
}

fn text_of(name: &TopicName) -> String {
    name.as_str().to_owned()
}
