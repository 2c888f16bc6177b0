//! The admin API's client: JSON over HTTP, and its errors as the command line's own.
//!
//! Also shows JSON answers to people, field by field, so that a field the server adds is seen at once.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value};
use ureq::Agent;
use ureq::http::Response;
use ureq::{Body, Error};

use super::GlobalArgs;
use super::error::{CliError, ExitKind};
use super::output::Block;
use super::protocol_client::plain;

/// The admin API at one address.
#[derive(Debug)]
pub struct AdminApi {
    agent: Agent,
    base: String,
}

/// What to do with a resource.
#[derive(Debug)]
pub enum Call<'a> {
    /// Read it.
    Get,
    /// Remove it.
    Delete,
    /// Do something with it.
    Post,
    /// Send bytes to it.
    Upload(&'a [u8]),
    /// Send a document to it.
    Send(&'a Value),
    /// Make it this.
    Put(&'a Value),
}

impl AdminApi {
    /// The API that the global options name.
    pub fn new(global: &GlobalArgs) -> AdminApi {
        AdminApi::with_timeout(&global.admin, global.request_timeout)
    }

    /// The same with more patience: for uploads, which are compiled before they are answered.
    pub fn with_timeout(base: &str, timeout: Duration) -> AdminApi {
        let config = Agent::config_builder()
            .timeout_connect(Some(timeout.min(Duration::from_secs(5))))
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build();
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        AdminApi { agent: config.into(), base }
    }

    /// Makes a call; `Null` if the answer has no body.
    pub fn call(&self, call: Call<'_>, path: &str) -> Result<Value, CliError> {
        let url = format!("{}{path}", self.base);
        let sent = match call {
            Call::Get => self.agent.get(&url).call(),
            Call::Delete => self.agent.delete(&url).call(),
            Call::Post => self.agent.post(&url).send_empty(),
            Call::Upload(bytes) => {
                self.agent.post(&url).header("content-type", "application/wasm").send(bytes)
            }
            Call::Send(body) => self.agent.post(&url).send_json(body),
            Call::Put(body) => self.agent.put(&url).send_json(body),
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        self.read(&mut response)
    }

    fn read(&self, response: &mut Response<Body>) -> Result<Value, CliError> {
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status.as_u16(), &text));
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| {
            let message = format!("what answers at {} is not the admin API: {error}", self.base);
            CliError::new(ExitKind::Unreachable, "NOT_THE_ADMIN_API", message)
        })
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum that is open to growth")]
    fn unreachable(&self, error: &Error) -> CliError {
        let reason = match error {
            Error::Io(error) => plain(error),
            Error::ConnectionFailed => "connection refused".to_owned(),
            Error::Timeout(_) => "no answer in time".to_owned(),
            Error::BadUri(_) | Error::Http(_) => {
                return CliError::usage(format!(
                    "\"{}\" is not a URL such as http://127.0.0.1:9644",
                    self.base
                ));
            }
            other => other.to_string(),
        };
        CliError::new(
            ExitKind::Unreachable,
            "ADMIN_NOT_AVAILABLE",
            format!("cannot reach the admin API at {}: {reason}", self.base),
        )
        .with_hint("start a server with `tidemill serve`, or name another with --admin http://host:9644")
    }
}

/// The error of an answer: `{"error":{"code","message","hint"}}`, or whatever the body says.
pub(super) fn refused(status: u16, body: &str) -> CliError {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let field = |name: &str| parsed.pointer(&format!("/error/{name}")).and_then(Value::as_str);
    let kind = match status {
        401 | 403 => ExitKind::Denied,
        404 => ExitKind::NotFound,
        409 => ExitKind::Conflict,
        400 | 413 | 415 | 422 => ExitKind::Invalid,
        408 | 502..=504 => ExitKind::Unreachable,
        _ => ExitKind::Failed,
    };
    let fallback = match body.trim() {
        "" => format!("the admin API answers with status {status}"),
        body => format!(
            "the admin API answers with status {status}: {}",
            body.chars().take(200).collect::<String>()
        ),
    };
    let message = field("message").map_or(fallback, str::to_owned);
    let error = CliError::new(kind, field("code").unwrap_or("HTTP_ERROR"), message);
    match field("hint").filter(|hint| !hint.is_empty()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A path's last part, with what URLs do not carry escaped (RFC 3986).
pub fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

/// The elements of an answer that is a list, or that holds one under this name.
pub fn elements<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.as_array().or_else(|| answer.get(name).and_then(Value::as_array)).map_or(&[], Vec::as_slice)
}

/// One field for people.
pub fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) if values.is_empty() => "-".to_owned(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| shown(Some(value))).collect::<Vec<_>>().join(", ")
        }
        Some(Value::Object(map)) if map.is_empty() => "-".to_owned(),
        Some(Value::Object(map)) => {
            let pair = |(name, value): (&String, &Value)| format!("{name}={}", shown(Some(value)));
            map.iter().map(pair).collect::<Vec<_>>().join(" ")
        }
        Some(other @ (Value::Bool(_) | Value::Number(_))) => other.to_string(),
    }
}

/// An object for people: one line per field.
pub fn fields(answer: &Value) -> Block {
    let empty = Map::new();
    let rows = answer.as_object().unwrap_or(&empty).iter();
    let rows =
        rows.map(|(name, value)| vec![name.to_uppercase().replace('_', " "), shown(Some(value))]).collect();
    Block::Table { headers: &["FIELD", "VALUE"], rows }
}

#[cfg(test)]
mod tests;
