//! The bodies of requests, read strictly: a field that is not known is an error with a suggestion,
//! because a misspelt limit that is silently ignored is found out on the worst day.

use super::{ApiError, DeploymentDefaults};
use crate::ids::TopicName;
use crate::interceptor::{Attachment, FaultPolicy, InterceptorLimits};
use crate::plugin::Direction;
use crate::processor::definition::{
    BreakerPolicy, CommitPolicy, ErrorPolicy, FailureAction, Guarantee, ProcessorDefinition, RunMode, Stage,
    StartPosition, TaskLimits, Work,
};
use crate::processor::placement::Partitioner;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

mod records;
pub(super) use records::parse_records;

/// The definition that a body asks for, with the server's defaults for what it leaves out; `module`
/// is still as the user wrote it.
pub(super) fn parse_definition(
    name: &str,
    body: &[u8],
    defaults: &DeploymentDefaults,
) -> Result<ProcessorDefinition, ApiError> {
    let value = parse(body, "Send an object with \"module\" and \"inputs\".")?;
    let known = [
        "name",
        "module",
        "inputs",
        "outputs",
        "start",
        "config",
        "commit",
        "limits",
        "on_error",
        "partitioners",
        "stores",
        "timers",
        "guarantee",
        "then",
    ];
    let top = Fields::new("", &value, &known)?;
    top.check_name("processor", name)?;
    let inputs = top.topics("inputs")?.ok_or_else(|| top.missing("inputs"))?;
    Ok(ProcessorDefinition {
        name: name.into(),
        module: top.module()?,
        inputs,
        outputs: top.topics("outputs")?.unwrap_or_default(),
        start: start(&top)?,
        config: config(&top)?,
        commit: commit(&top, defaults.commit)?,
        limits: limits(&top, defaults.limits)?,
        on_error: on_error(&top)?,
        run: RunMode::Running,
        pause_cause: None,
        stores: top.texts("stores")?.unwrap_or_default(),
        timers: top.flag("timers")?.unwrap_or_default(),
        then: stages(&top)?,
        guarantee: top.choice("guarantee", &GUARANTEES)?.unwrap_or_default(),
        partitioners: partitioners(&top)?,
        work: Work::RunModule,
    })
}

/// The attachment that a body asks for; `module` is still as the user wrote it.
pub(super) fn parse_attachment(name: &str, body: &[u8]) -> Result<Attachment, ApiError> {
    let value = parse(body, "Send an object with \"module\", \"topics\" and \"paths\".")?;
    let known = ["name", "module", "topics", "principals", "paths", "order", "on_fault", "config", "limits"];
    let top = Fields::new("", &value, &known)?;
    top.check_name("interceptor", name)?;
    let paths = top.texts("paths")?.ok_or_else(|| top.missing("paths"))?;
    let paths = paths.iter().map(|path| choose("paths", path, &DIRECTIONS));
    let policies = [
        ("fail-closed", FaultPolicy::FailClosed),
        ("fail-open", FaultPolicy::FailOpen),
        ("reload", FaultPolicy::Reload),
    ];
    let default = InterceptorLimits::default();
    let limits = match top.object("limits", &["memory_bytes", "batch_time_ms", "output_bytes"])? {
        None => default,
        Some(fields) => InterceptorLimits {
            memory_bytes: fields.number("memory_bytes")?.unwrap_or(default.memory_bytes),
            batch_time_ms: fields.number("batch_time_ms")?.unwrap_or(default.batch_time_ms),
            output_bytes: fields.number("output_bytes")?.unwrap_or(default.output_bytes),
        },
    };
    Ok(Attachment {
        name: name.into(),
        module: top.module()?,
        topics: top.texts("topics")?.ok_or_else(|| top.missing("topics"))?,
        principals: top.texts("principals")?.unwrap_or_else(|| vec!["*".to_owned()]),
        paths: paths.collect::<Result<_, _>>()?,
        order: top.integer("order")?.unwrap_or(100),
        on_fault: top.choice("on_fault", &policies)?.unwrap_or_default(),
        config: config(&top)?,
        limits,
    })
}

const GUARANTEES: [(&str, Guarantee); 2] =
    [("exactly-once", Guarantee::ExactlyOnce), ("at-least-once", Guarantee::AtLeastOnce)];
const DIRECTIONS: [(&str, Direction); 2] = [("produce", Direction::Produce), ("fetch", Direction::Fetch)];

fn parse(body: &[u8], hint: &str) -> Result<Value, ApiError> {
    serde_json::from_slice::<Value>(body)
        .map_err(|error| ApiError::invalid(format!("The body is not JSON: {error}."), hint))
}

fn start(top: &Fields<'_>) -> Result<StartPosition, ApiError> {
    let Some(text) = top.text("start")? else { return Ok(StartPosition::default()) };
    let known = ["committed", "earliest", "latest", "offset:N", "time:MS"];
    StartPosition::try_from(text.to_owned())
        .map_err(|_| ApiError::invalid(format!("\"start\" cannot be \"{text}\"."), suggest(text, &known)))
}

fn config(top: &Fields<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(value) = top.value("config") else { return Ok(BTreeMap::new()) };
    let Value::Object(map) = value else { return Err(top.wrong("config", "an object of strings")) };
    map.iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            Value::Number(number) => Ok((key.clone(), number.to_string())),
            Value::Bool(flag) => Ok((key.clone(), flag.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(top.wrong(&format!("config.{key}"), "a string"))
            }
        })
        .collect()
}

/// The partitioners by output topic; their modules are still as the user wrote them.
fn partitioners(top: &Fields<'_>) -> Result<BTreeMap<String, Partitioner>, ApiError> {
    let Some(value) = top.value("partitioners") else { return Ok(BTreeMap::new()) };
    let Value::Object(map) = value else { return Err(top.wrong("partitioners", "an object")) };
    map.iter()
        .map(|(topic, value)| {
            let fields = Fields::new(&format!("partitioners.{topic}"), value, &["module", "config"])?;
            Ok((topic.clone(), Partitioner { module: fields.module()?, config: config(&fields)? }))
        })
        .collect()
}

/// The modules behind the first; still as the user wrote them.
fn stages(top: &Fields<'_>) -> Result<Vec<Stage>, ApiError> {
    let Some(value) = top.value("then") else { return Ok(Vec::new()) };
    let Value::Array(list) = value else { return Err(top.wrong("then", "a list of objects")) };
    list.iter()
        .enumerate()
        .map(|(number, value)| {
            let fields = Fields::new(&format!("then[{number}]"), value, &["module", "input", "config"])?;
            let input = fields.text("input")?.ok_or_else(|| fields.missing("input"))?.to_owned();
            Ok(Stage { module: fields.module()?, input, config: config(&fields)? })
        })
        .collect()
}

fn commit(top: &Fields<'_>, default: CommitPolicy) -> Result<CommitPolicy, ApiError> {
    let Some(fields) = top.object("commit", &["interval_ms", "records_max", "bytes_max"])? else {
        return Ok(default);
    };
    Ok(CommitPolicy {
        interval_ms: fields.number("interval_ms")?.unwrap_or(default.interval_ms),
        records_max: fields.number("records_max")?.unwrap_or(default.records_max),
        bytes_max: fields.number("bytes_max")?.unwrap_or(default.bytes_max),
    })
}

fn limits(top: &Fields<'_>, default: TaskLimits) -> Result<TaskLimits, ApiError> {
    let known = [
        "memory_bytes",
        "batch_time_ms",
        "output_bytes",
        "output_ratio",
        "state_bytes",
        "cpu_percent",
        "log_lines_per_second",
    ];
    let Some(fields) = top.object("limits", &known)? else { return Ok(default) };
    Ok(TaskLimits {
        memory_bytes: fields.number("memory_bytes")?.unwrap_or(default.memory_bytes),
        batch_time_ms: fields.number("batch_time_ms")?.unwrap_or(default.batch_time_ms),
        output_bytes: fields.number("output_bytes")?.unwrap_or(default.output_bytes),
        output_ratio: fields.number("output_ratio")?.unwrap_or(default.output_ratio),
        state_bytes: fields.number("state_bytes")?.unwrap_or(default.state_bytes),
        cpu_percent: fields.number("cpu_percent")?.unwrap_or(default.cpu_percent),
        log_lines_per_second: fields.number("log_lines_per_second")?.unwrap_or(default.log_lines_per_second),
    })
}

fn on_error(top: &Fields<'_>) -> Result<ErrorPolicy, ApiError> {
    let default = ErrorPolicy::default();
    let known = ["retries", "backoff_ms", "then", "dead_letter_topic", "breaker"];
    let Some(fields) = top.object("on_error", &known)? else { return Ok(default) };
    let choices = [
        ("dead-letter", FailureAction::DeadLetter),
        ("stop", FailureAction::Stop),
        ("skip", FailureAction::Skip),
    ];
    let retries = fields.number("retries")?.map(|retries| u32::try_from(retries).unwrap_or(u32::MAX));
    Ok(ErrorPolicy {
        retries: retries.unwrap_or(default.retries),
        backoff_ms: fields.number("backoff_ms")?.unwrap_or(default.backoff_ms),
        then: fields.choice("then", &choices)?.unwrap_or(default.then),
        dead_letter_topic: fields.text("dead_letter_topic")?.map(TopicName::new),
        breaker: breaker(&fields, default.breaker)?,
    })
}

fn breaker(on_error: &Fields<'_>, default: BreakerPolicy) -> Result<BreakerPolicy, ApiError> {
    let known = ["window_ms", "failures_percent", "failures_min"];
    let Some(fields) = on_error.object("breaker", &known)? else { return Ok(default) };
    let percent =
        fields.number("failures_percent")?.map(|percent| u32::try_from(percent).unwrap_or(u32::MAX));
    Ok(BreakerPolicy {
        window_ms: fields.number("window_ms")?.unwrap_or(default.window_ms),
        failures_percent: percent.unwrap_or(default.failures_percent),
        failures_min: fields.number("failures_min")?.unwrap_or(default.failures_min),
    })
}

/// An object's fields, with the path that leads to it.
struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn new(path: &str, value: &'a Value, known: &[&str]) -> Result<Fields<'a>, ApiError> {
        let Value::Object(map) = value else {
            let what = if path.is_empty() { "The body".into() } else { format!("\"{path}\"") };
            return Err(ApiError::invalid(format!("{what} is not an object."), String::new()));
        };
        let fields = Fields { path: path.into(), map };
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(fields),
            Some(unknown) => {
                let message = format!("There is no field \"{}\".", fields.full(unknown));
                Err(ApiError {
                    code: "UNKNOWN_FIELD".into(),
                    ..ApiError::invalid(message, suggest(unknown, known))
                })
            }
        }
    }

    fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// Null is the same as leaving it out.
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, wanted: &str) -> ApiError {
        ApiError::invalid(format!("\"{}\" is not {wanted}.", self.full(name)), "")
    }

    fn missing(&self, name: &str) -> ApiError {
        let message = format!("\"{}\" is missing.", self.full(name));
        ApiError { code: "MISSING_FIELD".into(), ..ApiError::invalid(message, "") }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        let wrong = || self.wrong(name, "a string");
        self.value(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    /// A name in the body, if there is one, is the path's.
    fn check_name(&self, what: &str, name: &str) -> Result<(), ApiError> {
        match self.text("name")?.filter(|other| *other != name) {
            None => Ok(()),
            Some(other) => {
                let message = format!("The body names {what} \"{other}\", the path \"{name}\".");
                Err(ApiError::invalid(message, "Leave \"name\" out of the body."))
            }
        }
    }

    /// A module as the user names it.
    fn module(&self) -> Result<String, ApiError> {
        let module = self.text("module")?.ok_or_else(|| self.missing("module"))?;
        Ok(module.strip_prefix("sha256:").unwrap_or(module).to_owned())
    }

    fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let wrong = || self.wrong(name, "a list of strings");
        let Some(value) = self.value(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(wrong)?;
        let texts = list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong));
        texts.collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let wrong = || self.wrong(name, "true or false");
        self.value(name).map(|value| value.as_bool().ok_or_else(wrong)).transpose()
    }

    fn integer(&self, name: &str) -> Result<Option<i32>, ApiError> {
        let wrong = || self.wrong(name, "a whole number");
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_i64().and_then(|value| i32::try_from(value).ok()).ok_or_else(wrong).map(Some)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let wrong = || self.wrong(name, "a whole number from 0");
        self.value(name).map(|value| value.as_u64().ok_or_else(wrong)).transpose()
    }

    fn topics(&self, name: &str) -> Result<Option<Vec<TopicName>>, ApiError> {
        let wrong = || self.wrong(name, "a list of topic names");
        let Some(value) = self.value(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(wrong)?;
        let names = list.iter().map(|topic| topic.as_str().map(TopicName::new).ok_or_else(wrong));
        names.collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        choose(&self.full(name), text, choices).map(Some)
    }

    fn object(&self, name: &str, known: &[&str]) -> Result<Option<Fields<'a>>, ApiError> {
        self.value(name).map(|value| Fields::new(&self.full(name), value, known)).transpose()
    }
}

fn choose<T: Copy>(field: &str, text: &str, choices: &[(&str, T)]) -> Result<T, ApiError> {
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*choice);
    }
    let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    Err(ApiError::invalid(format!("\"{field}\" cannot be \"{text}\"."), suggest(text, &words)))
}

/// The nearest known word if it is near, and all of them if not.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    const NEAR: usize = 3;
    let nearest = known.iter().min_by_key(|candidate| distance(word, candidate));
    match nearest.filter(|candidate| distance(word, candidate) <= NEAR.min(candidate.len() / 2)) {
        Some(candidate) => format!("Did you mean \"{candidate}\"?"),
        None => format!("It is one of {}.", known.join(", ")),
    }
}

/// Levenshtein's distance, on bytes of the first 64: these are our own short names.
fn distance(left: &str, right: &str) -> usize {
    let left = left.as_bytes().iter().take(64);
    let right = right.as_bytes().iter().take(64).copied().collect::<Vec<_>>();
    let mut row = (0..=right.len()).collect::<Vec<_>>();
    for (i, a) in left.enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            before = replaced.min(before + 1).min(*cell + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
