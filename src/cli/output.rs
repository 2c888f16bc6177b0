//! What a verb shows: the same result as tables for people or JSON for scripts.
//!
//! Data goes to standard output, everything else to standard error. Knows no verbs.

use std::io::{self, IsTerminal, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde_json::Value;

use super::error::{CliError, ExitKind};

/// How results are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For scripts: one document, or one line per record of a stream.
    Json,
}

/// A piece of a report for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Block {
    /// Rows under headers.
    Table {
        /// The columns.
        headers: &'static [&'static str],
        /// The cells.
        rows: Vec<Vec<String>>,
    },
    /// Names with values.
    Fields(Vec<(&'static str, String)>),
    /// A sentence.
    Line(String),
}

/// The result of a verb.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// For people, in order.
    pub blocks: Vec<Block>,
    /// For scripts; `Null` shows nothing.
    pub json: Value,
    /// What failed of several things; the rest was done.
    pub failures: Vec<CliError>,
}

impl Report {
    /// Shows nothing: the verb has shown its data itself.
    pub fn silent() -> Report {
        Report { blocks: Vec::new(), json: Value::Null, failures: Vec::new() }
    }

    /// One block and its JSON.
    pub fn new(block: Block, json: Value) -> Report {
        Report { blocks: vec![block], json, failures: Vec::new() }
    }

    /// One sentence and its JSON.
    pub fn line(text: impl Into<String>, json: Value) -> Report {
        Report::new(Block::Line(text.into()), json)
    }

    /// Writes it.
    pub fn render(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        match format {
            Format::Json if self.json.is_null() => Ok(()),
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, &self.json)?;
                writeln!(out)
            }
            Format::Table => {
                for (index, block) in self.blocks.iter().enumerate() {
                    if index > 0 {
                        writeln!(out)?;
                    }
                    render_block(block, out)?;
                }
                Ok(())
            }
        }
    }

    /// The exit code of a report with failures: theirs if they agree.
    pub fn exit_kind(&self) -> Option<ExitKind> {
        let first = self.failures.first()?.kind;
        let agree = self.failures.iter().all(|failure| failure.kind == first);
        Some(if agree { first } else { ExitKind::Failed })
    }
}

fn render_block(block: &Block, out: &mut impl Write) -> io::Result<()> {
    match block {
        Block::Table { headers, rows } => {
            let mut table = plain_table();
            table.set_header(headers.iter().copied());
            table.add_rows(rows.iter().cloned());
            write_trimmed(&table, out)
        }
        Block::Fields(fields) => {
            let mut table = plain_table();
            table.add_rows(fields.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]));
            write_trimmed(&table, out)
        }
        Block::Line(text) => writeln!(out, "{text}"),
    }
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Columns without frames, and no spaces at the ends of lines: `awk` and `cut` are users too.
fn write_trimmed(table: &Table, out: &mut impl Write) -> io::Result<()> {
    for line in table.lines() {
        let line = line.strip_prefix(' ').unwrap_or(&line);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Shows an error where errors go.
pub fn show_error(error: &CliError, format: Format) {
    match format {
        Format::Table => eprintln!("{error}"),
        Format::Json => eprintln!("{}", error.to_json()),
    }
}

/// Asks before something is destroyed. Without a terminal to ask at, `--yes` must have been given.
pub fn confirm(question: &str, yes: Confirmed) -> Result<(), CliError> {
    if yes == Confirmed::Yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::usage(format!("there is no terminal to ask at: {question}"))
            .with_hint("add --yes to go ahead without a question"));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| CliError::io("cannot read the answer", &error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::new(ExitKind::Interrupted, "CANCELLED", "nothing was changed"))
    }
}

/// Whether `--yes` was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirmed {
    /// It was.
    Yes,
    /// It was not.
    Ask,
}

impl From<bool> for Confirmed {
    fn from(yes: bool) -> Confirmed {
        if yes { Confirmed::Yes } else { Confirmed::Ask }
    }
}

/// Bytes as people read them.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// Bytes in base64 (RFC 4648, padded): how JSON carries what is not UTF-8.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Shows that work goes on, if it takes more than a moment and a terminal is there to show it on.
pub fn spinner(message: String) -> indicatif::ProgressBar {
    if !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new_spinner();
    bar.set_message(message);
    bar.enable_steady_tick(std::time::Duration::from_secs(1));
    bar
}

#[cfg(test)]
mod tests;
