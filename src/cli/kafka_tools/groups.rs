//! `kafka-consumer-groups` (`org.apache.kafka.tools.consumer.group.ConsumerGroupCommand`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::super::GlobalArgs;
use super::super::error::CliError;
use super::super::output::Report;
use super::super::time::{parse_iso_duration, parse_moment};
use super::{CommandConfig, all_done, elements, lines, missing, number_of, ours, table, text_of};

/// Its flags.
#[derive(Args, Debug)]
#[group(id = "groups_action", required = true, multiple = false,
    args = ["list", "describe", "delete", "delete_offsets", "reset_offsets"])]
pub struct GroupsArgs {
    /// List groups
    #[arg(long)]
    list: bool,
    /// Show groups
    #[arg(long)]
    describe: bool,
    /// Delete groups
    #[arg(long)]
    delete: bool,
    /// Delete a group's offsets for topics
    #[arg(long)]
    delete_offsets: bool,
    /// Move a group's offsets
    #[arg(long)]
    reset_offsets: bool,
    /// The group; may be repeated
    #[arg(long)]
    group: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with = "group")]
    all_groups: bool,
    /// A topic, or some of its partitions as topic:0,1; may be repeated
    #[arg(long)]
    topic: Vec<String>,
    /// Every topic that the group has offsets for
    #[arg(long, conflicts_with = "topic")]
    all_topics: bool,
    /// Show offsets, which is what is shown anyhow
    #[arg(long, conflicts_with = "members")]
    offsets: bool,
    /// Show members
    #[arg(long, conflicts_with = "state")]
    members: bool,
    /// Show the state; with --list, also only groups in these states
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "STATES")]
    state: Option<String>,
    /// Show what members have
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    reset: ResetFlags,
    /// How long to wait, in milliseconds
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    #[command(flatten)]
    command_config: CommandConfig,
}

/// Where offsets are moved to.
#[derive(Args, Debug)]
struct ResetFlags {
    /// To the first record
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To where it is, within what the log has
    #[arg(long)]
    to_current: bool,
    /// To an offset
    #[arg(long)]
    to_offset: Option<i64>,
    /// To a moment: YYYY-MM-DDTHH:mm:SS.sss, in UTC unless it says otherwise
    #[arg(long)]
    to_datetime: Option<String>,
    /// So long before now: PnDTnHnMnS
    #[arg(long)]
    by_duration: Option<String>,
    /// By so many records
    #[arg(long, allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// As a file of lines TOPIC,PARTITION,OFFSET says
    #[arg(long)]
    from_file: Option<PathBuf>,
    /// Only show it, which is what is done anyhow
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Show it as such a file
    #[arg(long)]
    export: bool,
}

pub(super) fn run(global: &GlobalArgs, args: &GroupsArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    let mut global = global.clone();
    if let Some(ms) = args.timeout {
        global.request_timeout = Duration::from_millis(ms);
    }
    let global = &global;
    if args.list {
        return list(global, args);
    }
    let groups = chosen(global, args)?;
    if args.describe {
        return describe(global, args, &groups);
    }
    if args.delete {
        return delete(global, &groups);
    }
    let [group] = groups.as_slice() else {
        return Err(CliError::usage("give one --group"));
    };
    if args.delete_offsets { delete_offsets(global, args, group) } else { reset(global, args, group) }
}

fn chosen(global: &GlobalArgs, args: &GroupsArgs) -> Result<Vec<String>, CliError> {
    if !args.all_groups {
        let groups = args.group.clone();
        return if groups.is_empty() {
            Err(CliError::usage("give --group or --all-groups"))
        } else {
            Ok(groups)
        };
    }
    let report = ours(global, &["group", "list"])?;
    Ok(elements(&report.json).map(|group| text_of(group, "name").to_owned()).collect())
}

fn list(global: &GlobalArgs, args: &GroupsArgs) -> Result<Report, CliError> {
    let report = ours(global, &["group", "list"])?;
    let Some(states) = &args.state else {
        let names = elements(&report.json).map(|group| text_of(group, "name").to_owned());
        return Ok(lines(names.collect(), Vec::new()));
    };
    let is_wanted = |group: &&Value| {
        let state = text_of(group, "state");
        states.is_empty() || states.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(state))
    };
    let row = |group: &Value| vec![text_of(group, "name").to_owned(), text_of(group, "state").to_owned()];
    let rows: Vec<_> = elements(&report.json).filter(is_wanted).map(row).collect();
    Ok(lines(table(&["GROUP", "STATE"], &rows), Vec::new()))
}

fn describe(global: &GlobalArgs, args: &GroupsArgs, groups: &[String]) -> Result<Report, CliError> {
    let arguments = ["group", "describe"].into_iter().chain(groups.iter().map(String::as_str));
    let report = ours(global, &arguments.collect::<Vec<_>>())?;
    let mut shown = Vec::new();
    for group in elements(&report.json) {
        let name = text_of(group, "name");
        let members: BTreeMap<&str, &Value> = group
            .get("members")
            .into_iter()
            .flat_map(elements)
            .map(|member| (text_of(member, "member_id"), member))
            .collect();
        // Between groups, and above the first, Kafka's tool leaves a line empty.
        shown.push(String::new());
        if args.state.is_some() {
            shown.extend(state_table(group, members.len()));
        } else if members.is_empty() {
            shown.push(format!("Consumer group '{name}' has no active members."));
            if !args.members {
                shown.push(String::new());
                shown.extend(offsets_table(group, &members));
            }
        } else if args.members {
            shown.extend(members_table(group, &members, args.verbose));
        } else {
            shown.extend(offsets_table(group, &members));
        }
    }
    Ok(lines(shown, report.failures))
}

fn state_table(group: &Value, members: usize) -> Vec<String> {
    let row = vec![
        text_of(group, "name").to_owned(),
        text_of(group, "coordinator").to_owned(),
        text_of(group, "protocol").to_owned(),
        text_of(group, "state").to_owned(),
        members.to_string(),
    ];
    table(&["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"], &[row])
}

fn offsets_table(group: &Value, members: &BTreeMap<&str, &Value>) -> Vec<String> {
    let row = |partition: &Value| {
        let member = members.get(text_of(partition, "member_id"));
        let of_member =
            |field: &str| member.map_or_else(|| "-".to_owned(), |member| text_of(member, field).to_owned());
        vec![
            text_of(group, "name").to_owned(),
            text_of(partition, "topic").to_owned(),
            number_of(partition, "partition"),
            number_of(partition, "committed_offset"),
            number_of(partition, "end_offset"),
            number_of(partition, "lag"),
            of_member("member_id"),
            of_member("host"),
            of_member("client_id"),
        ]
    };
    let rows: Vec<_> = group.get("offsets").into_iter().flat_map(elements).map(row).collect();
    let headers = [
        "GROUP",
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ];
    table(&headers, &rows)
}

fn members_table(group: &Value, members: &BTreeMap<&str, &Value>, verbose: bool) -> Vec<String> {
    let partitions_of = |id: &str| {
        let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let offsets = group.get("offsets").into_iter().flat_map(elements);
        for partition in offsets.filter(|partition| text_of(partition, "member_id") == id) {
            topics.entry(text_of(partition, "topic")).or_default().push(number_of(partition, "partition"));
        }
        let topics = topics.iter().map(|(topic, numbers)| format!("{topic}({})", numbers.join(",")));
        topics.collect::<Vec<_>>().join(", ")
    };
    let row = |(id, member): (&&str, &&Value)| {
        let mut row = vec![
            text_of(group, "name").to_owned(),
            (*id).to_owned(),
            text_of(member, "host").to_owned(),
            text_of(member, "client_id").to_owned(),
            number_of(member, "partitions"),
        ];
        if verbose {
            row.push(
                Some(partitions_of(id)).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned()),
            );
        }
        row
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    let headers: &[_] = &["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT"];
    let shown = if verbose { headers } else { headers.get(..5).unwrap_or(headers) };
    table(shown, &rows)
}

fn delete(global: &GlobalArgs, groups: &[String]) -> Result<Report, CliError> {
    let arguments = ["group", "delete", "--yes"].into_iter().chain(groups.iter().map(String::as_str));
    let report = ours(global, &arguments.collect::<Vec<_>>())?;
    let deleted = elements(&report.json).filter(|group| group.get("ok") == Some(&Value::Bool(true)));
    let deleted: Vec<_> = deleted.map(|group| format!("'{}'", text_of(group, "name"))).collect();
    let sentence = format!("Deletion of requested consumer groups ({}) was successful.", deleted.join(", "));
    Ok(lines(if deleted.is_empty() { Vec::new() } else { vec![sentence] }, report.failures))
}

fn delete_offsets(global: &GlobalArgs, args: &GroupsArgs, group: &str) -> Result<Report, CliError> {
    if args.topic.is_empty() {
        return Err(missing("--topic", "--delete-offsets"));
    }
    let topics = args.topic.iter().flat_map(|topic| ["--topic", topic.as_str()]);
    let arguments = ["group", "delete-offsets", group, "--yes"].into_iter().chain(topics);
    let report = ours(global, &arguments.collect::<Vec<_>>())?;
    let row = |partition: &Value| {
        let status = match text_of(partition, "status") {
            "deleted" => "Successful".to_owned(),
            code => format!("Error: {code}"),
        };
        vec![text_of(partition, "topic").to_owned(), number_of(partition, "partition"), status]
    };
    let rows: Vec<_> = elements(&report.json).map(row).collect();
    Ok(lines(table(&["TOPIC", "PARTITION", "STATUS"], &rows), report.failures))
}

fn reset(global: &GlobalArgs, args: &GroupsArgs, group: &str) -> Result<Report, CliError> {
    let mut arguments = vec!["group".to_owned(), "reset-offsets".to_owned(), group.to_owned()];
    if let Some(path) = &args.reset.from_file {
        arguments.push(format!("--from-file={}", path.display()));
    } else {
        arguments.extend(args.topic.iter().map(|topic| format!("--topic={topic}")));
        arguments.extend(args.all_topics.then(|| "--all-topics".to_owned()));
    }
    arguments.extend(args.reset.arguments()?);
    arguments.extend(args.reset.execute.then(|| "--execute".to_owned()));
    let report = ours(global, &arguments)?;
    let offsets: Vec<&Value> = report.json.get("offsets").into_iter().flat_map(elements).collect();
    let cells = |offset: &&Value| {
        let topic = text_of(offset, "topic").to_owned();
        vec![topic, number_of(offset, "partition"), number_of(offset, "new_offset")]
    };
    let rows: Vec<Vec<String>> = offsets.iter().map(cells).collect();
    if args.reset.export {
        return Ok(lines(
            rows.iter().map(|row| format!("\"{}\",{},{}", row[0], row[1], row[2])).collect(),
            report.failures,
        ));
    }
    let with_group = |row: Vec<String>| std::iter::once(group.to_owned()).chain(row).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(with_group).collect();
    let mut shown = vec![String::new()];
    shown.extend(table(&["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"], &rows));
    all_done(&report)?;
    Ok(lines(shown, Vec::new()))
}

impl ResetFlags {
    /// Where to, in our words.
    fn arguments(&self) -> Result<Vec<String>, CliError> {
        let mut arguments = Vec::new();
        for (flag, is_set) in [
            ("--to-earliest", self.to_earliest),
            ("--to-latest", self.to_latest),
            ("--to-current", self.to_current),
        ] {
            arguments.extend(is_set.then(|| flag.to_owned()));
        }
        arguments.extend(self.to_offset.map(|offset| format!("--to-offset={offset}")));
        arguments.extend(self.shift_by.map(|records| format!("--shift-by={records}")));
        if let Some(text) = &self.to_datetime {
            let moment = parse_moment(text).or_else(|| parse_moment(&format!("{text}Z")));
            let wrong =
                || CliError::usage(format!("\"{text}\" is not a moment such as 2026-01-31T12:00:00.000"));
            arguments.push(format!("--to-timestamp={}", moment.ok_or_else(wrong)?));
        }
        if let Some(text) = &self.by_duration {
            let wrong = || CliError::usage(format!("\"{text}\" is not a duration such as P1DT2H30M"));
            let duration = parse_iso_duration(text).ok_or_else(wrong)?;
            arguments.push(format!("--by-duration={}ms", duration.as_millis()));
        }
        if arguments.is_empty() && self.from_file.is_none() {
            return Err(CliError::usage(
                "say where to: --to-earliest, --to-latest, --to-current, --to-offset, \
                 --to-datetime, --by-duration, --shift-by or --from-file",
            ));
        }
        Ok(arguments)
    }
}
