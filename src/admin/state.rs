//! `/v1/processors/{name}/state`: the state of processors, read at what is committed.
//!
//! Reads queries and writes answers; `formats` has how keys and values look. What there is, `processor::state_queries`
//! finds.

use super::body::suggest;
use super::error::sentence;
use super::{AdminState, ApiError};
use crate::ids::PartitionIndex;
use crate::plugin::{KeyRange, ScanDirection};
use crate::processor::state_queries::{
    ScanPosition, ScanQuery, StateAnswer, StateEntry, StateQueryError, with_prefix,
};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

mod formats;
use formats::{KeyFormat, ShownBytes, ValueFormat};

/// Entries of an answer, unless the query says otherwise.
const ENTRIES_DEFAULT: usize = 100;
/// Entries of an answer at most.
const ENTRIES_MAX: usize = 10_000;

/// The parameters of a query, by name.
type Parameters = Query<Vec<(String, String)>>;

pub(super) async fn list(
    State(state): State<AdminState>,
    Path(processor): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = state.state_queries.overview(&processor).await?;
    let tasks = found.tasks.iter().map(|task| {
        json!({
            "partition": task.partition.value(),
            "changelog_offset": task.changelog_offset.value(),
            "bytes": task.bytes,
        })
    });
    Ok(Json(json!({
        "processor": processor,
        "stores": found.stores,
        "input": found.input.as_str(),
        "changelog": found.changelog.as_str(),
        "tasks": tasks.collect::<Vec<_>>(),
    })))
}

pub(super) async fn get(
    State(state): State<AdminState>,
    Path((processor, store, key)): Path<(String, String, String)>,
    Query(parameters): Parameters,
) -> Result<Json<Answer>, ApiError> {
    let asked = Asked::parse(parameters, &["partition", "key_format", "value_format"])?;
    let bytes = asked.key_format.parse("the key", &key)?;
    let found = state.state_queries.get(&processor, &store, bytes, asked.partition).await?;
    if found.entries.is_empty() {
        let message = format!("Store \"{store}\" of processor \"{processor}\" has no key \"{key}\".");
        let partitions = found.partitions.iter().map(|seen| seen.partition.to_string()).collect::<Vec<_>>();
        let hint = match partitions.is_empty() {
            true => "None of its tasks has any state yet.".to_owned(),
            false => format!("Looked for in the tasks of the partitions {}.", partitions.join(", ")),
        };
        return Err(ApiError::new(StatusCode::NOT_FOUND, "KEY_NOT_FOUND", message).hint(hint));
    }
    Ok(Json(Answer::new(processor, store, found, &asked)))
}

pub(super) async fn scan(
    State(state): State<AdminState>,
    Path((processor, store)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Result<Json<Answer>, ApiError> {
    let known =
        ["partition", "from", "to", "prefix", "reverse", "limit", "cursor", "key_format", "value_format"];
    let asked = Asked::parse(parameters, &known)?;
    let found = state.state_queries.scan(&processor, &store, asked.scan()?).await?;
    Ok(Json(Answer::new(processor, store, found, &asked)))
}

/// A query's parameters, those of keys still as they were written.
struct Asked {
    partition: Option<PartitionIndex>,
    from: Option<String>,
    to: Option<String>,
    prefix: Option<String>,
    direction: ScanDirection,
    entries_max: usize,
    cursor: Option<ScanPosition>,
    key_format: KeyFormat,
    value_format: ValueFormat,
}

impl Asked {
    /// Reads a query strictly: a parameter that is not known is an error with a suggestion.
    fn parse(parameters: Vec<(String, String)>, known: &[&str]) -> Result<Asked, ApiError> {
        let mut asked = Asked {
            partition: None,
            from: None,
            to: None,
            prefix: None,
            direction: ScanDirection::Ascending,
            entries_max: ENTRIES_DEFAULT,
            cursor: None,
            key_format: KeyFormat::Text,
            value_format: ValueFormat::Auto,
        };
        for (name, value) in parameters {
            if !known.contains(&name.as_str()) {
                let message = format!("There is no parameter \"{name}\".");
                return Err(ApiError::invalid(message, suggest(&name, known)));
            }
            asked.set(&name, value)?;
        }
        Ok(asked)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        match name {
            "partition" => self.partition = Some(partition(&value)?),
            "from" => self.from = Some(value),
            "to" => self.to = Some(value),
            "prefix" => self.prefix = Some(value),
            "reverse" => self.direction = direction(&value)?,
            "limit" => self.entries_max = limit(&value)?,
            "cursor" => self.cursor = Some(position(&value)?),
            "key_format" => self.key_format = KeyFormat::named(&value)?,
            // The last of the names that are known.
            _ => self.value_format = ValueFormat::named(&value)?,
        }
        Ok(())
    }

    fn scan(&self) -> Result<ScanQuery, ApiError> {
        let bound = |name: &str, bound: &Option<String>| {
            bound.as_ref().map(|text| self.key_format.parse(&format!("\"{name}\""), text)).transpose()
        };
        let range = KeyRange { first: bound("from", &self.from)?, last: bound("to", &self.to)? };
        let prefix = bound("prefix", &self.prefix)?;
        if let (Some(cursor), Some(partition)) = (&self.cursor, self.partition)
            && cursor.partition != partition
        {
            let message = format!("The cursor is of partition {}, not {partition}.", cursor.partition);
            return Err(ApiError::invalid(message, "Give the query of the answer that the cursor is from."));
        }
        Ok(ScanQuery {
            partition: self.partition,
            range: prefix.map_or(range.clone(), |prefix| with_prefix(range, &prefix)),
            direction: self.direction,
            entries_max: self.entries_max,
            after: self.cursor.clone(),
        })
    }
}

fn partition(text: &str) -> Result<PartitionIndex, ApiError> {
    let number = text.parse().ok().and_then(PartitionIndex::from_wire);
    number.ok_or_else(|| {
        ApiError::invalid(format!("\"partition\" cannot be \"{text}\"."), "Partitions count from 0.")
    })
}

fn direction(text: &str) -> Result<ScanDirection, ApiError> {
    match text {
        "true" | "" => Ok(ScanDirection::Descending),
        "false" => Ok(ScanDirection::Ascending),
        _ => Err(ApiError::invalid(format!("\"reverse\" cannot be \"{text}\"."), "It is true or false.")),
    }
}

fn limit(text: &str) -> Result<usize, ApiError> {
    let number = text.parse().ok().filter(|number| (1..=ENTRIES_MAX).contains(number));
    number.ok_or_else(|| {
        ApiError::invalid(
            format!("\"limit\" cannot be \"{text}\"."),
            format!("It is a number from 1 to {ENTRIES_MAX}; \"cursor\" leads to what comes behind."),
        )
    })
}

/// A position as text: the partition, a dot, and the key in base64 of the alphabet for URLs.
fn cursor(position: &ScanPosition) -> String {
    format!("{}.{}", position.partition.value(), formats::base64_for_urls(&position.key))
}

fn position(text: &str) -> Result<ScanPosition, ApiError> {
    let parsed = text.split_once('.').and_then(|(partition, key)| {
        let partition = partition.parse().ok().and_then(PartitionIndex::from_wire)?;
        Some(ScanPosition { partition, key: formats::from_base64(key)? })
    });
    parsed.ok_or_else(|| {
        ApiError::invalid(
            format!("\"cursor\" cannot be \"{text}\"."),
            "Give the \"next\" of the answer before, or leave it out.",
        )
    })
}

/// What was found, as it is shown.
#[derive(Serialize)]
pub(super) struct Answer {
    processor: String,
    store: String,
    entries: Vec<Entry>,
    partitions: Vec<Seen>,
    without_state: Vec<i32>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    partition: i32,
    key: ShownBytes,
    key_format: &'static str,
    value: ShownBytes,
    value_format: &'static str,
}

#[derive(Serialize)]
struct Seen {
    partition: i32,
    changelog_offset: i64,
    stream_time_ms: Option<i64>,
}

impl Answer {
    fn new(processor: String, store: String, found: StateAnswer, asked: &Asked) -> Answer {
        let entry = |entry: &StateEntry| {
            let (key, key_format) = asked.key_format.show(&entry.key);
            let (value, value_format) = asked.value_format.show(&entry.value);
            Entry { partition: entry.partition.value(), key, key_format, value, value_format }
        };
        let partitions = found.partitions.iter().map(|seen| Seen {
            partition: seen.partition.value(),
            changelog_offset: seen.changelog_offset.value(),
            stream_time_ms: seen.stream_time,
        });
        Answer {
            processor,
            store,
            entries: found.entries.iter().map(entry).collect(),
            partitions: partitions.collect(),
            without_state: found.without_state.iter().map(|partition| partition.value()).collect(),
            next: found.next.as_ref().map(cursor),
        }
    }
}

impl From<StateQueryError> for ApiError {
    fn from(error: StateQueryError) -> ApiError {
        let message = sentence(&error.to_string());
        let not_found = |code: &str| ApiError::new(StatusCode::NOT_FOUND, code, message.clone());
        match &error {
            StateQueryError::UnknownProcessor(_) => {
                not_found("PROCESSOR_NOT_FOUND").hint("`tidemill processor list` shows what is deployed.")
            }
            StateQueryError::NoState(_) => not_found("NO_STATE")
                .hint("`tidemill processor deploy … --store NAME` gives a processor a store."),
            StateQueryError::UnknownStore { store, stores, .. } => {
                let stores = stores.iter().map(String::as_str).collect::<Vec<_>>();
                not_found("STORE_NOT_FOUND").hint(suggest(store, &stores))
            }
            StateQueryError::UnknownPartition { .. } => {
                not_found("PARTITION_NOT_FOUND").hint("A task has the number of its input partition, from 0.")
            }
            StateQueryError::NotBegun(_) => not_found("STATE_NOT_FOUND")
                .hint("It comes with the task's first start; `tidemill processor describe` shows the tasks."),
            StateQueryError::Refused(_) => ApiError::invalid(message, ""),
            StateQueryError::Backend(error) => error.clone().into(),
            StateQueryError::Store(_) => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "STORAGE_ERROR", message)
                    .hint("The server's log says more.")
            }
            StateQueryError::Bug(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "BUG", message),
        }
    }
}

#[cfg(test)]
mod tests;
