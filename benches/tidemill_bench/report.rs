//! The table: figures by scenario and setting, medians with their spread, and where they come from.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context;

/// Collects figures.
pub struct Book {
    rows: Vec<Row>,
    notes: Vec<String>,
    begin: Instant,
    steal_at_start: (f64, f64),
}

struct Row {
    scenario: &'static str,
    setting: String,
    figure: &'static str,
    target: Option<Target>,
    values: Vec<f64>,
}

/// What the project wants to reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

/// One figure of one run.
pub struct Figure {
    /// The scenario's number.
    pub scenario: &'static str,
    /// What was set.
    pub setting: String,
    /// What was measured, with its unit.
    pub figure: &'static str,
    /// What the project wants to reach.
    pub target: Option<Target>,
}

impl Book {
    /// An empty table; the time and the machine's lost time count from here.
    pub fn start() -> anyhow::Result<Book> {
        Ok(Book { rows: Vec::new(), notes: Vec::new(), begin: Instant::now(), steal_at_start: steal()? })
    }

    /// Adds one run's figure to its row.
    pub fn add(&mut self, figure: Figure, value: f64) {
        eprintln!("    {} | {} | {} | {}", figure.scenario, figure.setting, figure.figure, number(value));
        let Figure { scenario, setting, figure, target } = figure;
        let found = self
            .rows
            .iter_mut()
            .find(|row| row.scenario == scenario && row.setting == setting && row.figure == figure);
        match found {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { scenario, setting, figure, target, values: vec![value] }),
        }
    }

    /// Says something below the table.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The median of a row that is there.
    pub fn median(&self, scenario: &str, setting: &str, figure: &str) -> Option<f64> {
        let is_it = |row: &&Row| row.scenario == scenario && row.setting == setting && row.figure == figure;
        self.rows.iter().find(is_it).map(|row| median(&row.values))
    }

    /// The whole page.
    pub fn render(&self, repeats: usize) -> anyhow::Result<String> {
        let mut out = String::from(
            "# Benchmark results\n\nWritten by `make bench`; what the scenarios do is in `benches/README.md`.\n\n",
        );
        let (steal_before, total_before) = self.steal_at_start;
        let (steal_after, total_after) = steal()?;
        let stolen = 100.0 * (steal_after - steal_before) / (total_after - total_before).max(1.0);
        let mut line = |name: &str, value: String| writeln!(out, "- {name}: {value}");
        line("machine", machine()?)?;
        line("kernel", read("/proc/sys/kernel/osrelease")?.trim().to_owned())?;
        line("memory", memory()?)?;
        line("commit", commit())?;
        line(
            "repeats",
            format!("{repeats}; settings take turns within each; broker and load share the machine"),
        )?;
        line(
            "during the run",
            format!(
                "{:.0} s; load average at its end {}; CPU time stolen by the host {stolen:.1} %",
                self.begin.elapsed().as_secs_f64(),
                read("/proc/loadavg")?.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            ),
        )?;
        out.push_str(
            "\nMedian, and in brackets the least and the most of the repeats. MB are 10⁶ bytes.\n\n",
        );
        out.push_str(
            "| | setting | figure | median | spread | target | |\n|---|---|---|---:|---|---:|---|\n",
        );
        for row in &self.rows {
            writeln!(out, "{}", row.render())?;
        }
        if !self.notes.is_empty() {
            out.push_str("\n## Notes\n\n");
        }
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        Ok(out)
    }
}

impl Row {
    fn render(&self) -> String {
        let middle = median(&self.values);
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (target, verdict) = match self.target {
            None => (String::new(), ""),
            Some(Target::AtLeast(wanted)) => {
                (format!("≥ {}", number(wanted)), if middle >= wanted { "reached" } else { "missed" })
            }
            Some(Target::AtMost(wanted)) => {
                (format!("≤ {}", number(wanted)), if middle <= wanted { "reached" } else { "missed" })
            }
        };
        format!(
            "| {} | {} | {} | {} | [{} .. {}] | {target} | {verdict} |",
            self.scenario,
            self.setting,
            self.figure,
            number(middle),
            number(least),
            number(most),
        )
    }
}

/// The middle one, or the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which a part of the values lies.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = part * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * at.fract(),
        _ => f64::NAN,
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.to_owned())
}

fn machine() -> anyhow::Result<String> {
    let cpus = read("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':'])))
}

fn memory() -> anyhow::Result<String> {
    let info = read("/proc/meminfo")?;
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib =
        kib.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
    Ok(format!("{:.1} GiB", kib.context("/proc/meminfo")? / 1024.0 / 1024.0))
}

/// The commit that was measured, and whether the tree differs from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml", "Cargo.lock"]);
    if changed.is_some_and(|changed| !changed.is_empty()) {
        format!("{commit}, with changes")
    } else {
        commit
    }
}

/// Hundredths of seconds that the host took from this machine, and all there were.
fn steal() -> anyhow::Result<(f64, f64)> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat")?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    Ok((ticks.get(7).copied().unwrap_or(0.0), ticks.iter().take(8).sum()))
}
