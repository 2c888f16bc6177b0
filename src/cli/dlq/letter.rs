//! Dead letters as records: what a processor has added to them, and what they were before. Pure.
//!
//! A processor puts its own headers behind those of the record. A letter may itself have come from a dead-letter topic:
//! then it has the headers of both failures, and only the last ones are taken off.

use serde_json::{Map, Value, json};

use super::super::consume::{put_bytes, shown_headers};
use super::super::time::show_timestamp;

/// What all headers of a failure begin with.
const PREFIX: &str = "__tidemill.error.";
/// The first of them.
const FIRST: &str = "__tidemill.error.message";
/// What hidden topics begin with that take records for a topic with a partitioner.
const INGRESS_PREFIX: &str = "__ingress.";
/// The longest part of a key, a value or a message in a table.
const CELL_CHARS_MAX: usize = 48;

/// A record of a dead-letter topic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// Roughly what it takes.
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + len(value)).sum();
        len(&self.key) + len(&self.value) + headers
    }
}

/// Why a processor could not process a record, and where it had read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    pub topic: String,
    pub partition: i32,
    pub offset: Option<i64>,
    /// The domain of the timer that it is, if it is no record.
    pub timer: Option<String>,
    pub processor: Option<String>,
    pub module: Option<String>,
    pub code: Option<String>,
    pub message: String,
    pub attempts: Option<u32>,
}

/// A record of a dead-letter topic, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Letter {
    /// The record, with its own headers only.
    pub record: Record,
    /// What a processor says of it; none if no processor wrote it.
    pub failure: Option<Failure>,
}

impl Letter {
    /// Takes a record apart.
    pub fn of(mut record: Record) -> Letter {
        let first = record.headers.iter().rposition(|(name, _)| name == FIRST);
        let Some(failure) = first.and_then(|first| failure(record.headers.get(first..)?)) else {
            return Letter { record, failure: None };
        };
        let mut at = 0;
        record.headers.retain(|(name, _)| {
            let is_own = Some(at) < first || !name.starts_with(PREFIX);
            at += 1;
            is_own
        });
        Letter { record, failure: Some(failure) }
    }

    /// Where it came from; else why it cannot go back. What was read from an ingress was sent to the topic behind it.
    pub fn destination(&self) -> Result<(&str, i32), String> {
        let failure = self.failure.as_ref().ok_or("it has no headers of a processor")?;
        if failure.timer.is_some() {
            return Err("it is a timer, which came from no topic".to_owned());
        }
        let topic = failure.topic.strip_prefix(INGRESS_PREFIX).unwrap_or(&failure.topic);
        if topic.starts_with("__") {
            return Err(format!("{topic} is one of the broker's own topics"));
        }
        Ok((topic, failure.partition))
    }

    /// One line of a table.
    pub fn row(&self, state: &str) -> Vec<String> {
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), cell);
        let bytes = |bytes: Option<&[u8]>| match bytes {
            None => "null".to_owned(),
            Some(bytes) => cell(&String::from_utf8_lossy(bytes)),
        };
        let (record, failure) = (&self.record, self.failure.as_ref());
        let source = failure.map(|failure| {
            let offset = failure.offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string());
            let place = failure.timer.as_ref().map_or(offset, |domain| format!("{domain} timer"));
            format!("{}-{}@{place}", failure.topic, failure.partition)
        });
        vec![
            record.partition.to_string(),
            record.offset.to_string(),
            state.to_owned(),
            record.timestamp_ms.map_or_else(|| "-".to_owned(), show_timestamp),
            text(failure.and_then(|failure| failure.processor.as_deref())),
            text(source.as_deref()),
            text(failure.and_then(|failure| failure.code.as_deref())),
            failure.and_then(|failure| failure.attempts).map_or_else(|| "-".to_owned(), |n| n.to_string()),
            bytes(record.key.as_deref()),
            bytes(record.value.as_deref()),
            text(failure.map(|failure| failure.message.as_str())),
        ]
    }

    /// Everything of it.
    pub fn json(&self, state: &str) -> Value {
        let (record, mut object) = (&self.record, Map::new());
        object.insert("partition".to_owned(), json!(record.partition));
        object.insert("offset".to_owned(), json!(record.offset));
        object.insert("state".to_owned(), json!(state));
        object.insert("timestamp_ms".to_owned(), json!(record.timestamp_ms));
        put_bytes(&mut object, "key", record.key.as_deref());
        put_bytes(&mut object, "value", record.value.as_deref());
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        object.insert("headers".to_owned(), shown_headers(headers));
        let failure = self.failure.as_ref().map(|failure| {
            json!({"topic": failure.topic, "partition": failure.partition, "offset": failure.offset, "timer": failure.timer,
                   "processor": failure.processor, "module": failure.module, "code": failure.code,
                   "message": failure.message, "attempts": failure.attempts})
        });
        object.insert("error".to_owned(), json!(failure));
        Value::Object(object)
    }
}

/// The headings of `Letter::row`.
pub(super) const HEADERS: &[&str] = &[
    "PARTITION",
    "OFFSET",
    "STATE",
    "TIME",
    "PROCESSOR",
    "SOURCE",
    "CODE",
    "ATTEMPTS",
    "KEY",
    "VALUE",
    "MESSAGE",
];

/// What the headers of a failure say; none if they do not say from where the record is.
fn failure(headers: &[(String, Option<Vec<u8>>)]) -> Option<Failure> {
    let text = |name: &str| {
        let named = |header: &&(String, Option<Vec<u8>>)| header.0.strip_prefix(PREFIX) == Some(name);
        let value = headers.iter().find(named)?.1.as_ref()?;
        String::from_utf8(value.clone()).ok()
    };
    Some(Failure {
        topic: text("topic").filter(|topic| !topic.is_empty())?,
        partition: text("partition")?.parse().ok().filter(|partition| *partition >= 0)?,
        offset: text("offset").and_then(|offset| offset.parse().ok()),
        timer: text("timer"),
        processor: text("processor"),
        module: text("module"),
        code: text("code"),
        message: text("message").unwrap_or_default(),
        attempts: text("attempts").and_then(|attempts| attempts.parse().ok()),
    })
}

/// The beginning of a text, on one line.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in text.chars().take(CELL_CHARS_MAX) {
        match character.is_control() {
            true => cell.extend(character.escape_default()),
            false => cell.push(character),
        }
    }
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        cell.push('…');
    }
    cell
}

#[cfg(test)]
mod tests;
