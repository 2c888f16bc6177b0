//! `tidemill group …`: consumer groups over the Kafka protocol.
//!
//! Lag is counted against the high watermark, as Kafka's own tool does.

mod described;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest,
};
use serde_json::{Value, json};

use described::Member;

use super::GlobalArgs;
use super::error::{CliError, ExitKind, check};
use super::output::{Block, Report, confirm};
use super::protocol_client::{Cluster, CoordinatorKind, text, topic_name};
use super::time::{parse_duration, retrying, unix_ms};
use super::topic::{OffsetAt, find_topic, list_offsets};
use crate::error_code::ErrorCode;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups
    List,
    /// Show groups: members, committed offsets and lag
    Describe {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Delete groups without members, with their offsets
    Delete {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Delete a group's committed offsets of topics that it does not read
    DeleteOffsets {
        /// The group
        group: String,
        /// A topic, or some of its partitions as topic:0,1; may be repeated
        #[arg(long = "topic", short = 't', required = true)]
        topics: Vec<String>,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Move the committed offsets of a group without members; shows the plan unless --execute is given
    ResetOffsets(ResetArgs),
}

/// Arguments of `group reset-offsets`.
#[derive(Args, Debug)]
pub struct ResetArgs {
    /// The group
    group: String,
    /// A topic, or some of its partitions as topic:0,1; may be repeated
    #[arg(long = "topic", short = 't', required_unless_present_any = ["all_topics", "from_file"])]
    topics: Vec<String>,
    /// Every partition that the group has an offset for
    #[arg(long, conflicts_with = "topics")]
    all_topics: bool,
    #[command(flatten)]
    to: ResetTo,
    /// Do it
    #[arg(long)]
    execute: bool,
}

/// Where to.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct ResetTo {
    /// To the first record there is
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To this offset, or the nearest one there is
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record at or after this time, in milliseconds since 1970
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    to_timestamp: Option<i64>,
    /// To the first record of the time so long before now
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    by_duration: Option<Duration>,
    /// To where it is, or the nearest offset that the log has
    #[arg(long)]
    to_current: bool,
    /// By so many records, back if negative
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// As a file of lines TOPIC,PARTITION,OFFSET says, which `kafka-consumer-groups --export` writes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topics", "all_topics"])]
    from_file: Option<PathBuf>,
}

type Offsets = BTreeMap<(String, i32), i64>;

pub(super) fn run(global: &GlobalArgs, command: &GroupCommand) -> Result<Report, CliError> {
    match command {
        GroupCommand::List => list(&mut global.cluster()?),
        GroupCommand::Describe { groups } => describe(&mut global.cluster()?, groups),
        GroupCommand::Delete { groups, yes } => {
            confirm(&format!("Delete {} with all offsets?", groups.join(", ")), (*yes).into())?;
            delete(&mut global.cluster()?, groups)
        }
        GroupCommand::DeleteOffsets { group, topics, yes } => {
            let question = format!("Delete the offsets of {group} for {}?", topics.join(", "));
            confirm(&question, (*yes).into())?;
            delete_offsets(&mut global.cluster()?, group, topics)
        }
        GroupCommand::ResetOffsets(args) => reset_offsets(&mut global.cluster()?, args),
    }
}

pub(super) fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

pub(super) fn list(cluster: &mut Cluster) -> Result<Report, CliError> {
    let mut groups = BTreeMap::new();
    let timeout = cluster.timeout();
    for node in cluster.node_ids()? {
        let connection = cluster.node(node)?;
        let response = retrying(timeout, || {
            let response = connection.call(&ListGroupsRequest::default())?;
            check(response.error_code, "cannot list groups", None)?;
            Ok(response)
        })?;
        for group in response.groups {
            groups.insert(group.group_id.as_str().to_owned(), group);
        }
    }
    let json = groups.iter().map(|(name, group)| {
        json!({"name": name, "state": group.group_state.as_str(), "protocol_type": group.protocol_type.as_str(),
               "type": group.group_type.as_str()})
    });
    let json = Value::Array(json.collect());
    let row = |(name, group): (&String, &kafka_protocol::messages::list_groups_response::ListedGroup)| {
        vec![name.clone(), group.group_state.to_string(), group.protocol_type.to_string()]
    };
    let rows = groups.iter().map(row).collect();
    Ok(Report::new(Block::Table { headers: &["NAME", "STATE", "PROTOCOL"], rows }, json))
}

fn describe(cluster: &mut Cluster, groups: &[String]) -> Result<Report, CliError> {
    let mut report = Report::silent();
    let mut json = Vec::new();
    for name in groups {
        match describe_one(cluster, name) {
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

fn not_found(name: &str) -> CliError {
    CliError::kafka(ErrorCode::GroupIdNotFound.code(), format!("no group {name}"), None)
}

fn describe_one(cluster: &mut Cluster, name: &str) -> Result<(Vec<Block>, Value), CliError> {
    let group = described::describe(cluster, name)?;
    let committed = committed_offsets(cluster, name)?;
    // Before DescribeGroups version 6 an unknown group is a dead one without an error.
    if committed.is_empty() && group.members.is_empty() && group.state == "Dead" {
        return Err(not_found(name));
    }
    let mut owners: BTreeMap<&(String, i32), &Member> = BTreeMap::new();
    for member in &group.members {
        owners.extend(member.partitions.iter().map(|partition| (partition, member)));
    }
    let partitions: BTreeSet<_> = committed.keys().chain(owners.keys().copied()).cloned().collect();
    let ends = list_offsets_of(cluster, &partitions, OffsetAt::Latest)?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for at in &partitions {
        let (offset, end) = (committed.get(at).copied(), ends.get(at).copied());
        let lag = end.zip(offset).map(|(end, offset)| (end - offset).max(0));
        let owner = owners.get(at);
        let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let client = owner.map_or_else(|| "-".to_owned(), |member| member.client_id.clone());
        rows.push(vec![at.0.clone(), at.1.to_string(), shown(offset), shown(end), shown(lag), client]);
        values.push(json!({"topic": at.0, "partition": at.1, "committed_offset": offset, "end_offset": end,
            "lag": lag, "member_id": owner.map(|member| &member.id)}));
    }
    let members = group.members.iter().map(|member| {
        json!({"member_id": member.id, "client_id": member.client_id, "group_instance_id": member.instance_id,
            "host": member.host, "partitions": member.partitions.len()})
    });
    let (coordinator, address) = cluster.find_coordinator(CoordinatorKind::Group, name)?;
    let json = json!({"name": name, "coordinator": format!("{address} ({coordinator})"), "state": group.state,
        "protocol": group.assignor, "protocol_type": group.protocol_type,
        "members": members.collect::<Vec<_>>(), "offsets": values});
    let fields = vec![
        ("NAME", name.to_owned()),
        ("STATE", group.state),
        ("ASSIGNOR", group.assignor),
        ("MEMBERS", group.members.len().to_string()),
    ];
    let headers: &[_] = &["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "CLIENT"];
    Ok((vec![Block::Fields(fields), Block::Table { headers, rows }], json))
}

fn committed_offsets(cluster: &mut Cluster, name: &str) -> Result<Offsets, CliError> {
    let timeout = cluster.timeout();
    let connection = cluster.coordinator(CoordinatorKind::Group, name)?;
    let request = OffsetFetchRequest::default().with_group_id(group_id(name)).with_topics(None);
    let response = retrying(timeout, || {
        let response = connection.call_up_to(&request, 7)?;
        check(response.error_code, format!("cannot fetch the offsets of group {name}"), None)?;
        Ok(response)
    })?;
    let mut offsets = Offsets::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let at = (topic.name.as_str().to_owned(), partition.partition_index);
            check(partition.error_code, format!("cannot fetch the offset of {}-{}", at.0, at.1), None)?;
            if partition.committed_offset >= 0 {
                offsets.insert(at, partition.committed_offset);
            }
        }
    }
    Ok(offsets)
}

/// Offsets of partitions; those of topics that are gone are left out.
fn list_offsets_of(
    cluster: &mut Cluster,
    partitions: &BTreeSet<(String, i32)>,
    at: OffsetAt,
) -> Result<Offsets, CliError> {
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        by_topic.entry(topic.clone()).or_default().push(*partition);
    }
    let mut offsets = Offsets::new();
    for (topic, partitions) in by_topic {
        match list_offsets(cluster, &BTreeMap::from([(topic, partitions)]), at) {
            Ok(found) => offsets.extend(found),
            Err(error) if error.kind == ExitKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(offsets)
}

fn delete(cluster: &mut Cluster, groups: &[String]) -> Result<Report, CliError> {
    let mut report = Report::silent();
    let mut rows = Vec::new();
    let mut json = Vec::new();
    for name in groups {
        let connection = cluster.coordinator(CoordinatorKind::Group, name)?;
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(name)]);
        let code = connection.call(&request)?.results.first().map_or(0, |result| result.error_code);
        let result = check(code, format!("cannot delete group {name}"), None);
        let status = result.as_ref().map_or_else(|error| error.code.clone(), |()| "deleted".to_owned());
        json.push(json!({"name": name, "status": status, "ok": result.is_ok()}));
        rows.push(vec![name.clone(), status]);
        report.failures.extend(result.err());
    }
    report.blocks.push(Block::Table { headers: &["NAME", "STATUS"], rows });
    report.json = Value::Array(json);
    Ok(report)
}

fn reset_offsets(cluster: &mut Cluster, args: &ResetArgs) -> Result<Report, CliError> {
    let committed = committed_offsets(cluster, &args.group)?;
    let plan = match &args.to.from_file {
        Some(path) => plan_of_file(cluster, path)?,
        None => {
            let partitions =
                chosen_partitions(cluster, &args.topics, args.all_topics, &committed, &args.group)?;
            plan(cluster, &args.to, &partitions, &committed)?
        }
    };
    if args.execute {
        commit(cluster, &args.group, &plan)?;
    }
    let mut rows = Vec::new();
    let mut json = Vec::new();
    for ((topic, partition), new) in &plan {
        let old = committed.get(&(topic.clone(), *partition));
        let shown = old.map_or_else(|| "-".to_owned(), ToString::to_string);
        rows.push(vec![topic.clone(), partition.to_string(), shown, new.to_string()]);
        json.push(json!({"topic": topic, "partition": partition, "old_offset": old, "new_offset": new}));
    }
    let table = Block::Table { headers: &["TOPIC", "PARTITION", "OLD", "NEW"], rows };
    let mut report = Report::new(table, json!({"executed": args.execute, "offsets": json}));
    if !args.execute {
        report.blocks.push(Block::Line("Nothing was changed; add --execute to do it.".to_owned()));
    }
    Ok(report)
}

/// What a file of lines `TOPIC,PARTITION,OFFSET` says, as far as the log has it.
fn plan_of_file(cluster: &mut Cluster, path: &Path) -> Result<Offsets, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::io(format!("cannot read {}", path.display()), &error))?;
    let mut plan = Offsets::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(',').map(|part| part.trim().trim_matches('"'));
        let (topic, partition, offset) = (parts.next(), parts.next(), parts.next());
        let at = topic.zip(partition.and_then(|number| number.parse::<i32>().ok()));
        let offset = offset.and_then(|offset| offset.parse::<i64>().ok()).filter(|_| parts.next().is_none());
        let Some(((topic, partition), offset)) = at.zip(offset) else {
            return Err(CliError::usage(format!("\"{line}\" is not TOPIC,PARTITION,OFFSET")));
        };
        plan.insert((topic.to_owned(), partition), offset);
    }
    let partitions: BTreeSet<_> = plan.keys().cloned().collect();
    let first = list_offsets_of(cluster, &partitions, OffsetAt::Earliest)?;
    let end = list_offsets_of(cluster, &partitions, OffsetAt::Latest)?;
    for (at, offset) in &mut plan {
        let (Some(first), Some(end)) = (first.get(at), end.get(at)) else {
            let code = ErrorCode::UnknownTopicOrPartition.code();
            return Err(CliError::kafka(code, format!("there is no {}-{}", at.0, at.1), None));
        };
        *offset = (*offset).clamp(*first, (*end).max(*first));
    }
    Ok(plan)
}

fn delete_offsets(cluster: &mut Cluster, group: &str, topics: &[String]) -> Result<Report, CliError> {
    let chosen = chosen_partitions(cluster, topics, false, &Offsets::new(), group)?;
    let mut by_topic: BTreeMap<String, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
    for (topic, partition) in chosen {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(partition);
        by_topic.entry(topic).or_default().push(partition);
    }
    let topics = by_topic.into_iter().map(|(name, partitions)| {
        OffsetDeleteRequestTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
    });
    let request = OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(topics.collect());
    let response = cluster.coordinator(CoordinatorKind::Group, group)?.call(&request)?;
    check(response.error_code, format!("cannot delete offsets of group {group}"), None)?;
    let mut report = Report::silent();
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for topic in response.topics {
        for partition in topic.partitions {
            let (name, number) = (topic.name.as_str(), partition.partition_index);
            let what = format!("cannot delete the offset of {name}-{number}");
            let result = check(partition.error_code, what, None);
            let status = result.as_ref().map_or_else(|error| error.code.clone(), |()| "deleted".to_owned());
            json.push(json!({"topic": name, "partition": number, "status": status, "ok": result.is_ok()}));
            rows.push(vec![name.to_owned(), number.to_string(), status]);
            report.failures.extend(result.err());
        }
    }
    report.blocks.push(Block::Table { headers: &["TOPIC", "PARTITION", "STATUS"], rows });
    report.json = Value::Array(json);
    Ok(report)
}

fn chosen_partitions(
    cluster: &mut Cluster,
    topics: &[String],
    all_topics: bool,
    committed: &Offsets,
    group: &str,
) -> Result<BTreeSet<(String, i32)>, CliError> {
    if all_topics {
        if committed.is_empty() {
            return Err(not_found(group).with_hint("the group has no offsets; name topics with --topic"));
        }
        return Ok(committed.keys().cloned().collect());
    }
    let mut chosen = BTreeSet::new();
    for argument in topics {
        let (name, numbers) = match argument.split_once(':') {
            Some((name, numbers)) => (name, Some(parse_partitions(numbers)?)),
            None => (argument.as_str(), None),
        };
        let topic = find_topic(cluster, name)?;
        let known: BTreeSet<i32> =
            topic.partitions.iter().map(|partition| partition.partition_index).collect();
        let numbers = numbers.unwrap_or_else(|| known.clone());
        if let Some(unknown) = numbers.difference(&known).next() {
            let code = ErrorCode::UnknownTopicOrPartition.code();
            return Err(CliError::kafka(code, format!("{name} has no partition {unknown}"), None));
        }
        chosen.extend(numbers.into_iter().map(|number| (name.to_owned(), number)));
    }
    Ok(chosen)
}

/// Reads `0,1,5`.
pub(super) fn parse_partitions(text: &str) -> Result<BTreeSet<i32>, CliError> {
    let number = |part: &str| {
        let number = part.trim().parse::<i32>().ok().filter(|number| *number >= 0);
        number.ok_or_else(|| CliError::usage(format!("\"{part}\" is not a partition's number")))
    };
    text.split(',').map(number).collect()
}

fn plan(
    cluster: &mut Cluster,
    to: &ResetTo,
    partitions: &BTreeSet<(String, i32)>,
    committed: &Offsets,
) -> Result<Offsets, CliError> {
    let earliest = list_offsets_of(cluster, partitions, OffsetAt::Earliest)?;
    let latest = list_offsets_of(cluster, partitions, OffsetAt::Latest)?;
    let at_time = match to.timestamp() {
        Some(ms) => list_offsets_of(cluster, partitions, OffsetAt::Timestamp(ms))?,
        None => Offsets::new(),
    };
    let mut plan = Offsets::new();
    for at in partitions {
        let (Some(first), Some(end)) = (earliest.get(at), latest.get(at)) else { continue };
        let from = committed.get(at).copied();
        let wanted = target(to, Bounds { first: *first, end: *end }, from, at_time.get(at).copied());
        let wanted = wanted.ok_or_else(|| {
            CliError::usage(format!("the group has no offset for {}-{} to shift", at.0, at.1))
        })?;
        plan.insert(at.clone(), wanted);
    }
    Ok(plan)
}

impl ResetTo {
    fn timestamp(&self) -> Option<i64> {
        let before_now = self.by_duration.map(|duration| {
            unix_ms().saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)).max(0)
        });
        self.to_timestamp.or(before_now)
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    first: i64,
    end: i64,
}

/// The new offset, within what the log has; `None` if there is nothing to shift from.
fn target(to: &ResetTo, bounds: Bounds, committed: Option<i64>, at_time: Option<i64>) -> Option<i64> {
    let wanted = if to.to_earliest {
        bounds.first
    } else if let Some(offset) = to.to_offset {
        offset
    } else if to.to_timestamp.is_some() || to.by_duration.is_some() {
        at_time.unwrap_or(bounds.end)
    } else if to.to_current {
        committed.unwrap_or(bounds.end)
    } else if let Some(records) = to.shift_by {
        committed?.saturating_add(records)
    } else {
        bounds.end
    };
    Some(wanted.clamp(bounds.first, bounds.end.max(bounds.first)))
}

fn commit(cluster: &mut Cluster, group: &str, plan: &Offsets) -> Result<(), CliError> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, partition), offset) in plan {
        topics.entry(topic).or_default().push(
            OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(text(""))),
        );
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
    });
    // Generation -1 and no member: an offset commit from outside, which only a group without members takes.
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(topics.collect());
    let response = cluster.coordinator(CoordinatorKind::Group, group)?.call_up_to(&request, 8)?;
    for topic in response.topics {
        for partition in topic.partitions {
            let at = format!("{}-{}", topic.name.as_str(), partition.partition_index);
            let result = check(partition.error_code, format!("cannot set the offset of {at}"), None);
            result.map_err(|error| match error.is(ErrorCode::UnknownMemberId) {
                true => CliError { kind: ExitKind::Conflict, ..error }
                    .with_hint("the group has members; stop its consumers first"),
                false => error,
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
