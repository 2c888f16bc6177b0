//! The body of a request that brings records: each read by itself, so that a large body is not held twice as a tree.

use super::{ApiError, Fields, config};
use crate::ids::{PartitionIndex, TopicName};
use crate::processor::inline::{RECORDS_MAX, SentHeaders, SentRecord, SentRecords};
use crate::processor::placement::Partitioner;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const HINT: &str = "Send an object with \"records\": a list of objects with \"key\" and \"value\".";

/// A record's value as it stands in the body.
#[derive(Deserialize)]
struct RawFields<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

/// The records that a body brings to a topic; the partitioner's module is still as the user wrote it.
pub(in crate::admin) fn parse_records(topic: &str, body: &[u8]) -> Result<SentRecords, ApiError> {
    let not_json =
        |error: serde_json::Error| ApiError::invalid(format!("The body is not JSON: {error}."), HINT);
    let body: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
    let fields = serde_json::from_str::<BTreeMap<String, &RawValue>>(body.get());
    let mut fields = fields.map_err(|_| ApiError::invalid("The body is not an object.", HINT))?;
    let records = fields.remove("records");
    // What is left is small.
    let rest = serde_json::to_value(&fields).map_err(not_json)?;
    let known = ["records", "partitioner"];
    let top = Fields::new("", &rest, &known)?;
    let partitioner = top.object("partitioner", &["module", "config"])?;
    let partitioner = partitioner
        .map(|fields| Ok::<_, ApiError>(Partitioner { module: fields.module()?, config: config(&fields)? }))
        .transpose()?;
    let records = records.ok_or_else(|| top.missing("records").hint(HINT))?;
    let records: Vec<&RawValue> =
        serde_json::from_str(records.get()).map_err(|_| top.wrong("records", "a list").hint(HINT))?;
    let count = records.len();
    if count == 0 || count > RECORDS_MAX {
        let message = format!("\"records\" has {count} records; 1 to {RECORDS_MAX} are allowed.");
        return Err(ApiError::invalid(message, ""));
    }
    let records = records.iter().enumerate().map(|(index, raw)| record(index, raw));
    Ok(SentRecords { topic: TopicName::new(topic), records: records.collect::<Result<_, _>>()?, partitioner })
}

fn record(index: usize, raw: &RawValue) -> Result<SentRecord, ApiError> {
    let path = format!("records[{index}]");
    let invalid =
        |error: serde_json::Error| ApiError::invalid(format!("\"{path}\" is not JSON: {error}."), "");
    let value: Value = serde_json::from_str(raw.get()).map_err(invalid)?;
    let fields = Fields::new(&path, &value, &["key", "value", "headers", "timestamp", "partition"])?;
    let timestamp = fields.number("timestamp")?.map(i64::try_from).transpose();
    let partition = fields.integer("partition")?;
    let partition = partition.map(|partition| {
        let wrong = || fields.wrong("partition", "a whole number from 0");
        PartitionIndex::from_wire(partition).ok_or_else(wrong)
    });
    Ok(SentRecord {
        key: fields.value("key").map(|key| bytes(&fields, "key", key)).transpose()?,
        value: match given(&fields, "value")? {
            Value::Null => None,
            text @ Value::String(_) => Some(bytes(&fields, "value", text)?),
            Value::Object(map) if map.len() == 1 && map.contains_key("base64") => {
                Some(bytes(&fields, "value", &Value::Object(map.clone()))?)
            }
            Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_) => {
                let as_sent: RawFields<'_> = serde_json::from_str(raw.get()).map_err(invalid)?;
                Some(as_sent.value.get().as_bytes().to_vec())
            }
        },
        headers: headers(&fields)?,
        timestamp: timestamp.map_err(|_| fields.wrong("timestamp", "milliseconds since 1970"))?,
        partition: partition.transpose()?,
    })
}

fn headers(record: &Fields<'_>) -> Result<SentHeaders, ApiError> {
    let Some(value) = record.value("headers") else { return Ok(Vec::new()) };
    let wrong = || record.wrong("headers", "a list of objects with \"key\" and \"value\"");
    let header = |(index, header): (usize, &Value)| {
        let path = record.full(&format!("headers[{index}]"));
        let fields = Fields::new(&path, header, &["key", "value"])?;
        let key = fields.text("key")?.ok_or_else(|| fields.missing("key"))?;
        let value = match given(&fields, "value")? {
            Value::Null => None,
            value => Some(bytes(&fields, "value", value)?),
        };
        Ok((key.to_owned(), value))
    };
    value.as_array().ok_or_else(wrong)?.iter().enumerate().map(header).collect()
}

/// A field that may be null, and has to be there.
fn given<'a>(fields: &Fields<'a>, name: &str) -> Result<&'a Value, ApiError> {
    fields.map.get(name).ok_or_else(|| fields.missing(name).hint("Say null where there is to be none."))
}

/// Text, or `{"base64": "..."}`.
fn bytes(fields: &Fields<'_>, name: &str, value: &Value) -> Result<Vec<u8>, ApiError> {
    if let Value::String(text) = value {
        return Ok(text.as_bytes().to_vec());
    }
    let wrong = || fields.wrong(name, "a string, null or {\"base64\": \"...\"}");
    let encoded = value.as_object().filter(|map| map.len() == 1).and_then(|map| map.get("base64"));
    let encoded = encoded.and_then(Value::as_str).ok_or_else(wrong)?;
    STANDARD
        .decode(encoded)
        .map_err(|error| ApiError::invalid(format!("\"{}\" is not base64: {error}.", fields.full(name)), ""))
}

#[cfg(test)]
mod tests;
