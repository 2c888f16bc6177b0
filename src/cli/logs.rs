//! The logs of whatever is deployed, at once or as they grow.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::error::{CliError, ExitKind};
use super::http::{AdminApi, Call, elements, path_segment, shown};
use super::interrupt::Interrupt;
use super::output::{Format, Report};
use super::time::pause;
use super::{GlobalArgs, time};

/// Shows the lines of the resource at `path`, and goes on with new ones if that is wanted.
pub(super) fn run(global: &GlobalArgs, api: &AdminApi, path: &str, follow: bool) -> Result<Report, CliError> {
    if follow {
        return follow_lines(global, api, path);
    }
    show(global, &api.call(Call::Get, &format!("{path}/logs"))?)?;
    Ok(Report::silent())
}

/// Writes the lines of one answer to standard output; gives the position after them.
fn show(global: &GlobalArgs, answer: &Value) -> Result<Option<String>, CliError> {
    let mut out = std::io::stdout().lock();
    for line in elements(answer, "lines") {
        let written = match global.format {
            Format::Json => writeln!(out, "{line}"),
            Format::Table => writeln!(
                out,
                "{} {} {} {}",
                line.get("time_ms")
                    .and_then(Value::as_i64)
                    .map_or_else(|| "-".to_owned(), time::show_timestamp),
                shown(line.get("task")),
                shown(line.get("level")).to_uppercase(),
                shown(line.get("message"))
            ),
        };
        written.map_err(|error| CliError::io("cannot write to standard output", &error))?;
    }
    out.flush().map_err(|error| CliError::io("cannot write to standard output", &error))?;
    Ok(answer.get("next").map(|next| shown(Some(next))))
}

fn follow_lines(global: &GlobalArgs, api: &AdminApi, path: &str) -> Result<Report, CliError> {
    let interrupt = Interrupt::listen();
    let mut since = None;
    while !interrupt.requested() {
        let query = since
            .as_ref()
            .map(|since: &String| format!("?since={}", path_segment(since)))
            .unwrap_or_default();
        let answer = match api.call(Call::Get, &format!("{path}/logs{query}")) {
            Ok(answer) => answer,
            // A server that restarts is waited for: what it says goes on behind what was shown.
            Err(error) if error.kind == ExitKind::Unreachable && since.is_some() => {
                pause(Duration::from_millis(500));
                continue;
            }
            Err(error) => return Err(error),
        };
        let next = show(global, &answer)?;
        if next.is_none() {
            return Err(CliError::new(
                ExitKind::Failed,
                "CANNOT_FOLLOW",
                "the server's answer has no position to go on from",
            ));
        }
        since = next;
        pause(Duration::from_millis(500));
    }
    Err(CliError::new(ExitKind::Interrupted, "INTERRUPTED", "stopped"))
}
