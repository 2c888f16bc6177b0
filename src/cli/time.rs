//! Time as the command line needs it: deadlines, pauses between tries, durations as people type them.
//!
//! The only file of this room that reads a clock or sleeps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::CliError;

/// This moment, for measuring.
#[allow(clippy::disallowed_methods, reason = "a command line has deadlines of its own")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "shown to people, as the age of a transaction")]
pub fn unix_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// A moment as RFC 3339 writes it, in UTC; the bare number if it is none of our calendar.
pub fn show_timestamp(unix_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| unix_ms.to_string())
}

/// Milliseconds since the Unix epoch of a moment as RFC 3339 writes it.
pub fn parse_moment(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Waits before trying again.
#[allow(clippy::disallowed_methods, reason = "the broker offers nothing to wait on")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Tries again while the failure is one that passes by itself, until the time is over.
pub fn retrying<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, CliError>,
) -> Result<T, CliError> {
    let deadline = now() + patience;
    loop {
        match attempt() {
            Err(error) if error.retriable && error.kafka_code.is_some() && now() < deadline => {
                pause(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// Reads `500ms`, `10s`, `5m`, `2h` or a number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 =
        digits.parse().map_err(|_| format!("\"{text}\" is not a duration such as 10s or 500ms"))?;
    let seconds = match text.get(digits.len()..).unwrap_or_default() {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        unit => return Err(format!("\"{unit}\" is not a unit; use ms, s, m or h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("\"{text}\": {error}"))
}

/// Reads `P1DT2H30M15.5S`, as ISO 8601 writes durations in days, hours, minutes and seconds.
pub fn parse_iso_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix(['P', 'p'])?.to_ascii_uppercase();
    let (days, rest) = text.split_once('T').unwrap_or((&text, ""));
    let mut seconds = 0.0;
    for (part, units) in
        [(days, [('D', 86_400.0)].as_slice()), (rest, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])]
    {
        let mut part = part;
        for (letter, worth) in units {
            if let Some((number, behind)) = part.split_once(*letter) {
                seconds += number.parse::<f64>().ok()? * worth;
                part = behind;
            }
        }
        if !part.is_empty() {
            return None;
        }
    }
    let says_something = text.ends_with(['D', 'H', 'M', 'S']);
    Duration::try_from_secs_f64(seconds).ok().filter(|_| says_something)
}

#[cfg(test)]
mod tests;
