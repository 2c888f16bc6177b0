//! The administrator's half of the client. It must not use the broker's own code.

use std::collections::BTreeMap;

use anyhow::Context;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::{Commander, TIMEOUT, number, outcome, partition, text, unknown};

type Admin = AdminClient<DefaultClientContext>;

/// Answers a command that names no producer and no consumer.
pub fn answer(commander: &Commander, asked: &Value) -> anyhow::Result<Value> {
    let (admin, options): (Admin, _) = (commander.config().create()?, AdminOptions::new());
    let run = &commander.runtime;
    match text(asked, "do")? {
        "create_topic" => {
            let replication = TopicReplication::Fixed(1);
            let mut topic =
                NewTopic::new(text(asked, "topic")?, number(asked, "partitions") as i32, replication);
            for (key, value) in asked["config"].as_object().into_iter().flatten() {
                topic = topic.set(key, value.as_str().context("no value")?);
            }
            outcome(run.block_on(admin.create_topics([&topic], &options))?)
        }
        "grow_topic" => {
            let partitions = NewPartitions::new(text(asked, "topic")?, number(asked, "partitions") as usize);
            outcome(run.block_on(admin.create_partitions([&partitions], &options))?)
        }
        "delete_topic" => outcome(run.block_on(admin.delete_topics(&[text(asked, "topic")?], &options))?),
        "delete_group" => outcome(run.block_on(admin.delete_groups(&[text(asked, "group")?], &options))?),
        "describe_config" => {
            let topic = ResourceSpecifier::Topic(text(asked, "topic")?);
            let found = run.block_on(admin.describe_configs([&topic], &options))?;
            let resource = found.into_iter().next().context("no answer")?.map_err(KafkaError::Global)?;
            let config: serde_json::Map<_, _> =
                resource.entries.into_iter().map(|entry| (entry.name, json!(entry.value))).collect();
            Ok(json!({"config": config}))
        }
        "alter_config" => {
            // AlterConfigs (33) unsets what it does not name: what is set stays with it.
            let topic = ResourceSpecifier::Topic(text(asked, "topic")?);
            let found = run.block_on(admin.describe_configs([&topic], &options))?;
            let resource = found.into_iter().next().context("no answer")?.map_err(KafkaError::Global)?;
            let changes = asked["config"].as_object().context("no config")?;
            let mut wanted: BTreeMap<_, _> =
                changes.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
            for entry in resource.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic) {
                if !changes.contains_key(&entry.name) {
                    wanted.insert(&entry.name, entry.value.as_deref().unwrap_or_default());
                }
            }
            let alteration =
                wanted.into_iter().fold(AlterConfig::new(topic), |all, (key, value)| all.set(key, value));
            let altered = run.block_on(admin.alter_configs([&alteration], &options))?;
            altered.into_iter().next().context("no answer")?.map_err(|(_, code)| KafkaError::Global(code))?;
            Ok(json!({}))
        }
        "delete_records" => {
            let mut before = TopicPartitionList::new();
            before.add_partition_offset(
                text(asked, "topic")?,
                partition(asked),
                Offset::Offset(number(asked, "before")),
            )?;
            let found = run.block_on(admin.delete_records(&before, &options))?;
            let low = found.elements().first().context("no answer")?.offset();
            Ok(json!({"low": low.to_raw()}))
        }
        _ => described(commander, asked),
    }
}

/// What rdkafka tells through a consumer.
fn described(commander: &Commander, asked: &Value) -> anyhow::Result<Value> {
    let group = asked["group"].as_str().unwrap_or("nobody");
    let reader: BaseConsumer = commander.config().set("group.id", group).create()?;
    match text(asked, "do")? {
        "describe_topic" => {
            let metadata = reader.fetch_metadata(Some(text(asked, "topic")?), TIMEOUT)?;
            let topic = metadata.topics().first().context("no such topic")?;
            Ok(json!({"partitions": topic.partitions().len()}))
        }
        "offsets" => {
            let (earliest, latest) =
                reader.fetch_watermarks(text(asked, "topic")?, partition(asked), TIMEOUT)?;
            Ok(json!({"earliest": earliest, "latest": latest}))
        }
        "describe_group" => {
            let found = reader.fetch_group_list(Some(group), TIMEOUT)?;
            let group = found.groups().first().context("no such group")?;
            Ok(json!({"state": group.state(), "members": group.members().len()}))
        }
        "group_offsets" => {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(text(asked, "topic")?, 0);
            let found = reader.committed_offsets(wanted, TIMEOUT)?;
            let offsets: serde_json::Map<_, _> = found
                .elements()
                .iter()
                .map(|one| (one.partition().to_string(), json!(one.offset().to_raw())))
                .collect();
            Ok(json!({"offsets": offsets}))
        }
        other => Err(unknown(other)),
    }
}
