//! What the instances of a processor say: a bounded ring of lines that forgets the oldest. `log_topic` keeps them.
//!
//! A module that shouts is cut to a rate; how much was left out is said in a line of its own. No
//! IO: the admin API reads the ring.

use super::log_topic::{Outlet, QUEUE_LINES};
use crate::clock::{Clock, Timestamp};
use crate::plugin::{LogLevel, LogSink};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// The longest text of one line; longer ones are cut.
const LINE_BYTES_MAX: usize = 4 << 10;

/// One line of a processor's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its number, from 1, growing: by one, but over a restart of the broker.
    pub sequence: u64,
    /// When it was said, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// How grave it is: `trace`, `debug`, `info`, `warn`, `error`.
    pub level: Cow<'static, str>,
    /// Who says it: the input partition, or `supervisor`.
    pub task: String,
    /// The text.
    pub message: String,
}

/// The lines after a number, and the number to ask for next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogPage {
    /// The lines, oldest first.
    pub lines: Vec<LogEntry>,
    /// Ask with `since` this for what comes later.
    pub next: u64,
    /// Lines after `since` that the ring has already forgotten.
    pub forgotten: u64,
}

/// How much a ring keeps and takes.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Lines kept.
    pub lines_max: usize,
    /// Lines taken per second; the rest is counted only.
    pub lines_per_second_max: u32,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { lines_max: 1_000, lines_per_second_max: 100 }
    }
}

#[derive(Debug)]
struct Ring {
    lines: VecDeque<LogEntry>,
    last_sequence: u64,
    lines_per_second_max: u32,
    second: i64,
    lines_in_second: u32,
    suppressed: u64,
    outlet: Option<Outlet>,
    /// The numbers between these are nobody's: they are left for lines that a crash may have taken.
    unused: (u64, u64),
}

/// The log of one processor.
#[derive(Debug)]
pub struct LogRing {
    limits: LogLimits,
    ring: Mutex<Ring>,
    grown: watch::Sender<u64>,
}

impl LogRing {
    /// An empty ring.
    pub fn new(limits: LogLimits) -> LogRing {
        LogRing::kept(limits, VecDeque::new(), None)
    }

    /// A ring that goes on behind earlier lines, and hands its own on to be kept.
    pub(super) fn kept(limits: LogLimits, earlier: VecDeque<LogEntry>, outlet: Option<Outlet>) -> LogRing {
        let before = earlier.iter().map(|line| line.sequence).max();
        let last_sequence = before.map_or(0, |last| last.saturating_add(QUEUE_LINES as u64));
        let ring = Ring {
            lines: earlier,
            last_sequence,
            lines_per_second_max: limits.lines_per_second_max,
            second: 0,
            lines_in_second: 0,
            suppressed: 0,
            outlet,
            unused: (before.unwrap_or(0), last_sequence),
        };
        LogRing { limits, ring: Mutex::new(ring), grown: watch::Sender::new(0) }
    }

    /// Takes this many lines a second from now on.
    pub(super) fn set_rate(&self, lines_per_second_max: u32) {
        self.ring.lock().lines_per_second_max = lines_per_second_max;
    }

    /// Takes a line, if the rate allows it.
    pub fn push(&self, now: Timestamp, level: &'static str, task: &str, message: &str) {
        let mut ring = self.ring.lock();
        let second = now.ms().div_euclid(1_000);
        if second != ring.second {
            ring.second = second;
            ring.lines_in_second = 0;
            let suppressed = std::mem::take(&mut ring.suppressed);
            if suppressed > 0 {
                let text = format!("{suppressed} lines were left out: over the rate limit");
                ring.append(self.limits.lines_max, now, "warn", "supervisor", text);
            }
        }
        if ring.lines_in_second >= ring.lines_per_second_max {
            ring.suppressed += 1;
            return;
        }
        ring.lines_in_second += 1;
        ring.append(self.limits.lines_max, now, level, task, cut(message));
        let last = ring.last_sequence;
        drop(ring);
        self.grown.send_replace(last);
    }

    /// A sink that takes an instance's lines, under the name of who says them.
    pub fn sink(self: &Arc<Self>, clock: Clock, source: String) -> LogSink {
        let ring = Arc::clone(self);
        LogSink::new(move |line| {
            let level = match line.level {
                LogLevel::Trace => "trace",
                LogLevel::Debug => "debug",
                LogLevel::Info => "info",
                LogLevel::Warn => "warn",
                LogLevel::Error => "error",
            };
            ring.push(clock.now(), level, &source, &line.message);
        })
    }

    /// The lines with numbers above `since`.
    pub fn page(&self, since: u64) -> LogPage {
        let ring = self.ring.lock();
        let lines = ring.lines.iter().filter(|line| line.sequence > since).cloned().collect::<Vec<_>>();
        let unused = ring.unused.1.saturating_sub(since.max(ring.unused.0));
        let after_since = ring.last_sequence.saturating_sub(since).saturating_sub(unused);
        let forgotten = after_since.saturating_sub(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        LogPage { lines, next: ring.last_sequence, forgotten }
    }

    /// Wakes when there are new lines.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}

impl Ring {
    fn append(&mut self, lines_max: usize, now: Timestamp, level: &'static str, task: &str, message: String) {
        self.last_sequence += 1;
        let (sequence, time_ms) = (self.last_sequence, now.ms());
        let entry = LogEntry { sequence, time_ms, level: level.into(), task: task.into(), message };
        if let Some(outlet) = &self.outlet {
            outlet.keep(&entry);
        }
        self.lines.push_back(entry);
        while self.lines.len() > lines_max {
            self.lines.pop_front();
        }
    }
}

/// The text with a bounded length, cut between characters.
fn cut(message: &str) -> String {
    if message.len() <= LINE_BYTES_MAX {
        return message.into();
    }
    let end = message.floor_char_boundary(LINE_BYTES_MAX);
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests;
