//! What an attachment is: a module, whose records of which topics it judges, and what its faults lead to.
//!
//! A value, checked here, kept as a MessagePack record by the catalogue. Refusals are plain sentences for
//! the person who attaches.

use std::collections::BTreeMap;
use std::time::Duration;

use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::plugin::{Direction, Limits};

/// The longest name of an attachment.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 200;
const BATCH_TIME_MS_MAX: u64 = 60_000;

/// One attachment of an interceptor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// The SHA-256 digest (hex) of the module that judges.
    pub module: String,
    /// The topics whose records it judges: names, or patterns with `*`, `?` and `[abc]`. Internal topics are
    /// never among them.
    pub topics: Vec<String>,
    /// The principals whose records it judges: names such as `User:alice`, or patterns.
    #[serde(default = "everybody")]
    pub principals: Vec<String>,
    /// Which ways records go through it.
    pub paths: Vec<Direction>,
    /// Its place in the chain: lower ones judge first, equal ones in the order of their names.
    #[serde(default = "default_order")]
    pub order: i32,
    /// What a fault leads to.
    #[serde(default)]
    pub on_fault: FaultPolicy,
    /// Handed to the module when an instance starts.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// What one instance may use.
    #[serde(default)]
    pub limits: InterceptorLimits,
}

fn everybody() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_order() -> i32 {
    100
}

/// What happens to a batch that an interceptor could not judge: a trap, a time-out, nonsense, no instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultPolicy {
    /// The batch is refused.
    #[default]
    FailClosed,
    /// The batch passes as it was before this interceptor.
    FailOpen,
    /// A fresh instance tries once more; then the batch is refused.
    Reload,
}

/// What one instance may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InterceptorLimits {
    /// Linear memory.
    pub memory_bytes: u64,
    /// Time that one call may run.
    pub batch_time_ms: u64,
    /// Bytes of one call's verdicts, replaced records included.
    pub output_bytes: u64,
}

impl Default for InterceptorLimits {
    fn default() -> InterceptorLimits {
        InterceptorLimits { memory_bytes: 64 << 20, batch_time_ms: 1_000, output_bytes: 16 << 20 }
    }
}

impl InterceptorLimits {
    pub(super) fn of_instance(self) -> Limits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            memory_bytes_max: bytes(self.memory_bytes),
            batch_time_max: Duration::from_millis(self.batch_time_ms),
            output_bytes_max: bytes(self.output_bytes),
            ..Limits::default()
        }
    }
}

/// Why an attachment is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct AttachmentError {
    /// Which rule it breaks: a stable name for programs.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

fn refuse<T>(
    code: &'static str,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Result<T, AttachmentError> {
    Err(AttachmentError { code, message: message.into(), hint: hint.into() })
}

impl Attachment {
    /// Checks the attachment by itself.
    pub fn validate(&self) -> Result<(), AttachmentError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if self.name.is_empty()
            || self.name.len() > ATTACHMENT_NAME_BYTES_MAX
            || !self.name.bytes().all(legal)
        {
            return refuse(
                "INVALID_INTERCEPTOR_NAME",
                format!("\"{}\" cannot be an interceptor's name.", self.name),
                format!("Use 1 to {ATTACHMENT_NAME_BYTES_MAX} letters, digits, '.', '_' and '-'."),
            );
        }
        self.validate_patterns()?;
        if self.paths.is_empty() {
            return refuse(
                "NO_PATHS",
                format!("Interceptor \"{}\" is on no path.", self.name),
                "Say where it judges records: \"paths\": [\"produce\"], [\"fetch\"], or both.",
            );
        }
        let InterceptorLimits { memory_bytes, batch_time_ms, output_bytes } = self.limits;
        for (name, value, least, most) in [
            ("memory_bytes", memory_bytes, 64 << 10, 4 << 30),
            ("batch_time_ms", batch_time_ms, 1, BATCH_TIME_MS_MAX),
            ("output_bytes", output_bytes, 1 << 10, 1 << 30),
        ] {
            if !(least..=most).contains(&value) {
                return refuse(
                    "INVALID_LIMIT",
                    format!("The limit \"{name}\" is {value}."),
                    format!("It must be from {least} to {most}."),
                );
            }
        }
        Ok(())
    }

    fn validate_patterns(&self) -> Result<(), AttachmentError> {
        if self.topics.is_empty() {
            return refuse(
                "NO_TOPICS",
                format!("Interceptor \"{}\" is attached to no topic.", self.name),
                "Name at least one topic, or a pattern such as \"orders.*\", in \"topics\".",
            );
        }
        if self.principals.is_empty() {
            return refuse(
                "NO_PRINCIPALS",
                format!("Interceptor \"{}\" is attached to nobody's records.", self.name),
                "Name at least one principal or pattern in \"principals\", or leave it out for everybody's.",
            );
        }
        for pattern in self.topics.iter().chain(&self.principals) {
            if let Err(error) = Pattern::new(pattern) {
                let at = error.pos;
                return refuse(
                    "INVALID_PATTERN",
                    format!("\"{pattern}\" is no pattern: {} (at character {at}).", error.msg),
                    "Patterns know '*' for any text, '?' for any character, and [abc] for one of several.",
                );
            }
        }
        if let Some(internal) = self.topics.iter().find(|topic| is_internal(topic)) {
            return refuse(
                "INTERNAL_TOPIC",
                format!("\"{internal}\" belongs to the broker itself and cannot be intercepted."),
                "Topics whose names begin with \"__\" are internal; use another topic.",
            );
        }
        Ok(())
    }
}

/// Whether the pattern names topics of the broker itself, which no attachment ever touches.
fn is_internal(pattern: &str) -> bool {
    pattern.starts_with("__")
}

/// The patterns of an attachment, ready to be matched.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    topics: Vec<Names>,
    principals: Vec<Names>,
    paths: Vec<Direction>,
}

/// A pattern. It is asked for each batch, and most are simple.
#[derive(Clone, Debug)]
enum Names {
    One(String),
    /// All that begin with this.
    From(String),
    Matching(Pattern),
}

impl Names {
    /// None if the text is no pattern.
    fn new(text: &str) -> Option<Names> {
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']']);
        Some(match text.strip_suffix('*') {
            Some(start) if is_plain(start) => Names::From(start.to_owned()),
            None if is_plain(text) => Names::One(text.to_owned()),
            Some(_) | None => Names::Matching(Pattern::new(text).ok()?),
        })
    }

    fn hold(&self, name: &str) -> bool {
        match self {
            Names::One(one) => one == name,
            Names::From(start) => name.starts_with(start),
            Names::Matching(pattern) => pattern.matches(name),
        }
    }
}

impl Scope {
    /// The scope of a validated attachment: a pattern that is none matches nothing.
    pub(super) fn of(attachment: &Attachment) -> Scope {
        let patterns = |texts: &[String]| texts.iter().filter_map(|text| Names::new(text)).collect();
        Scope {
            topics: patterns(&attachment.topics),
            principals: patterns(&attachment.principals),
            paths: attachment.paths.clone(),
        }
    }

    pub(super) fn holds(&self, direction: Direction, topic: &str, principal: &str) -> bool {
        self.paths.contains(&direction)
            && !is_internal(topic)
            && self.topics.iter().any(|names| names.hold(topic))
            && self.principals.iter().any(|names| names.hold(principal))
    }
}

#[cfg(test)]
mod tests;
