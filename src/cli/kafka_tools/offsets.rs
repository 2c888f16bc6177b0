//! `kafka-get-offsets` (`org.apache.kafka.tools.GetOffsetShell`).

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use super::super::GlobalArgs;
use super::super::error::CliError;
use super::super::group::parse_partitions;
use super::super::output::Report;
use super::super::topic::{OffsetAt, list_offsets};
use super::{CommandConfig, lines, pattern};

/// Its flags.
#[derive(Args, Debug)]
pub struct OffsetsArgs {
    /// Topics: a regular expression; all unless given
    #[arg(long, visible_alias = "topic-name", conflicts_with = "topic_partitions")]
    topic: Option<String>,
    /// Only these partitions, separated by commas
    #[arg(long, conflicts_with = "topic_partitions")]
    partitions: Option<String>,
    /// Topics with partitions: TOPIC:1, TOPIC:1-3 (without the last), TOPIC:-3, TOPIC:1-, separated by commas
    #[arg(long)]
    topic_partitions: Option<String>,
    /// earliest (-2), latest (-1), max-timestamp (-3), or a time in milliseconds since 1970
    #[arg(long, default_value = "latest", allow_hyphen_values = true)]
    time: String,
    /// Leave the broker's own topics out
    #[arg(long)]
    exclude_internal_topics: bool,
    #[command(flatten)]
    command_config: CommandConfig,
}

/// Topics by a pattern, with the partitions that are meant: from, and to without it.
struct Wanted {
    topics: regex::Regex,
    partitions: Partitions,
}

enum Partitions {
    Listed(BTreeSet<i32>),
    Within(i32, i32),
}

pub(super) fn run(global: &GlobalArgs, args: &OffsetsArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    let at = offset_at(&args.time)?;
    let wanted = wanted(args)?;
    let cluster = &mut global.cluster()?;
    let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for topic in cluster.metadata(None)?.topics {
        let Some(name) = topic.name.as_ref().map(|name| name.as_str()) else { continue };
        if topic.is_internal && args.exclude_internal_topics {
            continue;
        }
        let is_wanted = |number: &i32| wanted.iter().any(|wanted| wanted.matches(name, *number));
        let numbers = topic.partitions.iter().map(|partition| partition.partition_index).filter(is_wanted);
        let numbers: Vec<_> = numbers.collect();
        if !numbers.is_empty() {
            partitions.insert(name.to_owned(), numbers);
        }
    }
    if partitions.is_empty() {
        return Err(CliError::usage("no partition is meant by these flags"));
    }
    let offsets = list_offsets(cluster, &partitions, at)?;
    let rows =
        partitions.iter().flat_map(|(topic, numbers)| numbers.iter().map(move |number| (topic, *number)));
    let row = |(topic, number): (&String, i32)| {
        let offset = offsets.get(&(topic.clone(), number));
        format!("{topic}:{number}:{}", offset.map(ToString::to_string).unwrap_or_default())
    };
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    Ok(lines(rows.into_iter().map(row).collect(), Vec::new()))
}

fn offset_at(time: &str) -> Result<OffsetAt, CliError> {
    match time {
        "latest" | "-1" => Ok(OffsetAt::Latest),
        "earliest" | "-2" => Ok(OffsetAt::Earliest),
        "max-timestamp" | "-3" => Ok(OffsetAt::MaxTimestamp),
        number => match number.parse() {
            Ok(ms) if ms >= 0 => Ok(OffsetAt::Timestamp(ms)),
            Ok(_) | Err(_) => Err(CliError::usage(format!(
                "\"{number}\" is none of earliest, latest, max-timestamp and a time in milliseconds since 1970"
            ))),
        },
    }
}

fn wanted(args: &OffsetsArgs) -> Result<Vec<Wanted>, CliError> {
    let Some(list) = &args.topic_partitions else {
        let topics = pattern(args.topic.as_deref().unwrap_or(".*"))?;
        let partitions = match &args.partitions {
            Some(listed) => Partitions::Listed(parse_partitions(listed)?),
            None => Partitions::Within(0, i32::MAX),
        };
        return Ok(vec![Wanted { topics, partitions }]);
    };
    let one = |text: &str| {
        let (topics, numbers) = text.split_once(':').unwrap_or((text, ""));
        let wrong = || CliError::usage(format!("\"{text}\" is not TOPIC:1, TOPIC:1-3, TOPIC:-3 or TOPIC:1-"));
        let number = |digits: &str, otherwise: i32| match digits {
            "" => Ok(otherwise),
            digits => digits.parse::<i32>().map_err(|_| wrong()),
        };
        let partitions = match numbers.split_once('-') {
            Some((from, to)) => Partitions::Within(number(from, 0)?, number(to, i32::MAX)?),
            None if numbers.is_empty() => Partitions::Within(0, i32::MAX),
            None => Partitions::Listed(BTreeSet::from([number(numbers, 0)?])),
        };
        Ok(Wanted { topics: pattern(if topics.is_empty() { ".*" } else { topics })?, partitions })
    };
    list.split(',').map(one).collect()
}

impl Wanted {
    fn matches(&self, topic: &str, partition: i32) -> bool {
        let is_numbered = match &self.partitions {
            Partitions::Listed(numbers) => numbers.contains(&partition),
            Partitions::Within(from, to) => (*from..*to).contains(&partition),
        };
        is_numbered && self.topics.is_match(topic)
    }
}
