//! `tidemill produce --partitioner`: lines become records that the server places, over the admin API.
//!
//! One request at a time, of bounded size, sent when it is full or the input makes a pause. A request that fails is
//! not sent again: nobody could tell whether its records are there.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};

use super::super::http::{AdminApi, Call, elements, path_segment};
use super::super::interrupt::Interrupt;
use super::super::manifest;
use super::super::output::base64;
use super::{Offsets, ProduceArgs, extend, interrupted, report, split_line, summary};
use crate::cli::{CliError, ExitKind, GlobalArgs, Report};
use crate::error_code::ErrorCode;

/// Records of a request, at most.
const RECORDS_MAX: usize = 1_000;
/// Bytes of a request's lines, about: they may all go to one partition, as one batch.
const BYTES_MAX: usize = 256 << 10;

pub(super) fn run(global: &GlobalArgs, args: &ProduceArgs, module: &str) -> Result<Report, CliError> {
    let mut module = module.to_owned();
    manifest::push_module(global, &mut module, None)?;
    let config: serde_json::Map<_, _> =
        args.partitioner_config.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let mut sender = Sender {
        api: AdminApi::with_timeout(&global.admin, args.timeout),
        args,
        partitioner: json!({"module": module, "config": config}),
        request: Vec::new(),
        request_bytes: 0,
        lines: 0,
        written: 0,
        offsets: Offsets::new(),
    };
    let interrupt = Interrupt::listen();
    let sent = sender.send_lines(std::io::stdin().lock(), &interrupt);
    summary(global, args, sender.written, None);
    sent?;
    if interrupt.requested() {
        return Err(interrupted());
    }
    Ok(report(args, sender.written, None, &sender.offsets))
}

struct Sender<'a> {
    api: AdminApi,
    args: &'a ProduceArgs,
    partitioner: Value,
    /// The records of the next request, and about how large they are.
    request: Vec<Value>,
    request_bytes: usize,
    /// Lines that have been read.
    lines: usize,
    written: u64,
    offsets: Offsets,
}

impl Sender<'_> {
    fn send_lines(&mut self, input: impl Read, interrupt: &Interrupt) -> Result<(), CliError> {
        let mut input = BufReader::with_capacity(BYTES_MAX, input);
        let mut line = Vec::new();
        while !interrupt.requested() {
            // A line that is not there yet may be long in coming.
            if self.is_full() || !input.buffer().contains(&b'\n') {
                self.send()?;
            }
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            if read.map_err(|error| CliError::io("cannot read standard input", &error))? == 0 {
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            self.lines += 1;
            self.request.push(record(self.args, &line)?);
            self.request_bytes += line.len();
        }
        self.send()
    }

    fn is_full(&self) -> bool {
        self.request.len() >= RECORDS_MAX || self.request_bytes >= BYTES_MAX
    }

    /// Sends what has been read, if there is anything.
    fn send(&mut self) -> Result<(), CliError> {
        if self.request.is_empty() {
            return Ok(());
        }
        let first_line = self.lines - self.request.len() + 1;
        let path = format!("/v1/topics/{}/records", path_segment(&self.args.topic));
        self.request_bytes = 0;
        let body = json!({"records": std::mem::take(&mut self.request), "partitioner": self.partitioner});
        let answer = self.api.call(Call::Send(&body), &path);
        let answer = answer.map_err(|error| of_lines(error, first_line, self.lines))?;
        let mut refused = None;
        for (line, outcome) in (first_line..).zip(elements(&answer, "records")) {
            match (number(outcome, "partition"), number(outcome, "offset")) {
                (Some(partition), Some(offset)) => {
                    extend(&mut self.offsets, i32::try_from(partition).unwrap_or(-1), offset);
                    self.written += 1;
                }
                _ => refused = refused.or_else(|| Some(refusal(&self.args.topic, line, outcome))),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

/// A line as a record of a request.
fn record(args: &ProduceArgs, line: &[u8]) -> Result<Value, CliError> {
    let split = split_line(args, line)?;
    let headers = args.headers.iter().map(|(key, value)| json!({"key": key, "value": value}));
    let mut record = json!({"key": content(split.key), "value": content(split.value)});
    if !args.headers.is_empty() {
        record["headers"] = headers.collect();
    }
    Ok(record)
}

/// Text where it is UTF-8.
fn content(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => Value::Null,
        Some((Ok(text), _)) => json!(text),
        Some((Err(_), bytes)) => json!({"base64": base64(bytes)}),
    }
}

fn number(outcome: &Value, field: &str) -> Option<i64> {
    outcome.get(field).and_then(Value::as_i64)
}

/// A refused request's error, with the lines that it brought: the server counts from its first.
fn of_lines(error: CliError, first: usize, last: usize) -> CliError {
    // Without an answer nobody knows whether they were written.
    if error.kind == ExitKind::Unreachable {
        return error;
    }
    let lines = match last - first {
        0 => format!("line {first} of the input was"),
        _ => format!("lines {first} to {last} of the input were"),
    };
    let message = format!("{lines} not written: {}", error.message);
    CliError { message, ..error }
}

fn refusal(topic: &str, line: usize, outcome: &Value) -> CliError {
    let field = |name: &str| outcome.pointer(&format!("/error/{name}")).and_then(Value::as_str);
    let name = field("code").unwrap_or_default();
    let code =
        ErrorCode::ALL.iter().find(|code| code.name() == name).unwrap_or(&ErrorCode::UnknownServerError);
    CliError::kafka(code.code(), format!("cannot write line {line} to {topic}"), field("message"))
}

#[cfg(test)]
mod tests;
