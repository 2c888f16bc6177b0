//! A guest's log: its `log` import, standard output and standard error, cut and counted by the limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::engine::now;
use crate::plugin::{Limits, LogLevel, LogLine, LogSink, LogSource};

/// What the guest said that may explain a fault.
struct Complaint {
    source: LogSource,
    message: String,
}

/// All ways into one instance's log.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<Mutex<State>>);

struct State {
    sink: LogSink,
    lines_per_second: u32,
    line_bytes_max: usize,
    second: Instant,
    lines_this_second: u32,
    dropped: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    complaint: Option<Complaint>,
}

impl GuestLog {
    pub(super) fn new(sink: LogSink, limits: &Limits) -> GuestLog {
        GuestLog(Arc::new(Mutex::new(State {
            sink,
            lines_per_second: limits.log_lines_per_second,
            line_bytes_max: limits.log_line_bytes_max,
            second: now(),
            lines_this_second: 0,
            dropped: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            complaint: None,
        })))
    }

    pub(super) fn write(&self, level: LogLevel, message: &str) {
        self.0.lock().line(level, LogSource::Log, message);
    }

    /// What the guest last said at level error, or else has printed on standard error, since the last call of this:
    /// after a trap, the panic's message.
    pub(super) fn take_complaint(&self) -> Option<String> {
        let mut state = self.0.lock();
        state.flush(LogSource::Stderr);
        state.complaint.take().map(|complaint| complaint.message)
    }

    pub(super) fn stream(&self, source: LogSource) -> LogStream {
        LogStream { log: self.clone(), source }
    }
}

impl State {
    fn line(&mut self, level: LogLevel, source: LogSource, message: &str) {
        let message = &message[..message.floor_char_boundary(self.line_bytes_max)];
        self.note_complaint(level, source, message);
        let moment = now();
        if moment.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines_this_second) = (moment, 0);
        }
        if self.lines_this_second >= self.lines_per_second {
            self.dropped += 1;
            return;
        }
        self.lines_this_second += 1;
        let dropped_before = std::mem::take(&mut self.dropped);
        self.sink.send(LogLine { level, source, message: message.to_owned(), dropped_before });
    }

    /// The last line at level error stands for itself. What is only printed is kept whole: tracebacks have their point in
    /// the middle, and runtimes write about their own end behind it.
    fn note_complaint(&mut self, level: LogLevel, source: LogSource, message: &str) {
        let new = || Complaint { source, message: message.to_owned() };
        match &mut self.complaint {
            _ if level == LogLevel::Error => self.complaint = Some(new()),
            _ if source != LogSource::Stderr => {}
            None => self.complaint = Some(new()),
            Some(Complaint { source: LogSource::Stderr, message: printed }) => {
                if printed.len() + message.len() < self.line_bytes_max {
                    printed.push('\n');
                    printed.push_str(message);
                }
            }
            Some(_) => {}
        }
    }

    fn partial(&mut self, source: LogSource) -> &mut Vec<u8> {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr | LogSource::Log => &mut self.stderr,
        }
    }

    fn print(&mut self, source: LogSource, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line_bytes_max = self.line_bytes_max;
            let partial = self.partial(source);
            let room = line_bytes_max.saturating_sub(partial.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            partial.extend_from_slice(text.get(..room).unwrap_or(text));
            if text.len() < piece.len() {
                self.flush(source);
            }
        }
    }

    fn flush(&mut self, source: LogSource) {
        let line = std::mem::take(self.partial(source));
        if !line.is_empty() {
            let level = if source == LogSource::Stderr { LogLevel::Warn } else { LogLevel::Info };
            self.line(level, source, &String::from_utf8_lossy(&line));
        }
    }
}

/// A guest's standard output or standard error.
pub(super) struct LogStream {
    log: GuestLog,
    source: LogSource,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.log.stream(self.source))
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this, and it is not linked.
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.0.lock().print(self.source, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}
