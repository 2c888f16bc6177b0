//! A broker as a child process: started on free ports and a fresh directory, measured through
//! `/proc`, ended by its process id.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long a broker may take to be ready.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// Linux tells CPU time in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// One build of the broker.
#[derive(Clone, Debug)]
pub struct Flavour {
    /// What the table calls it; empty for the only one.
    pub name: String,
    path: PathBuf,
}

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Once it is in the page cache.
    Os,
    /// Once it is on stable storage.
    Ack,
}

/// A running broker and its directory.
pub struct Broker {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where it listens for Kafka clients.
    pub address: String,
    /// Its admin API.
    pub admin: String,
    /// From the start of the process to the line that says it is ready.
    pub ready_in: Duration,
}

impl Flavour {
    /// A broker of this name at this path.
    pub fn new(name: &str, path: impl Into<PathBuf>) -> Flavour {
        Flavour { name: name.to_owned(), path: path.into() }
    }

    /// A setting's text, with the broker's name where there are several.
    pub fn label(&self, setting: &str) -> String {
        if self.name.is_empty() { setting.to_owned() } else { format!("{setting} [{}]", self.name) }
    }

    /// Runs its command line against a broker.
    pub fn command_line(&self, broker: &Broker, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(&self.path);
        command.args(["--admin", &broker.admin, "--bootstrap-server", &broker.address]).args(arguments);
        let status = command.stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{arguments:?}: {status}");
        Ok(())
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self, directory: &Path, flush: Flush) -> anyhow::Result<Broker> {
        let mut command = Command::new(&self.path);
        command.args(["serve", "--listeners", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--flush", flush.name(), "--data-dir"]).arg(directory);
        Broker::spawn(command)
    }
}

impl Flush {
    /// Both, in the order of the tables.
    pub const BOTH: [Flush; 2] = [Flush::Os, Flush::Ack];

    /// As the option spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Flush::Os => "os",
            Flush::Ack => "ack",
        }
    }
}

impl Broker {
    /// Starts a command that says `ready` like the broker does.
    pub fn spawn(mut command: Command) -> anyhow::Result<Broker> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let lines = child.stderr.take().map(BufReader::new).context("no standard error")?.lines();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("ERROR") {
                    eprintln!("broker: {line}");
                }
                // Nobody listens any more once it is ready; the pipe must be emptied all the same.
                let _ = tell.send((Instant::now(), line));
            }
        });
        let stdin = child.stdin.take();
        let mut seen = Vec::new();
        loop {
            let Ok((when, line)) = told.recv_timeout(READY_PATIENCE) else {
                let _ = child.kill();
                bail!("the broker did not become ready:\n{}", seen.join("\n"));
            };
            if line.starts_with("ready: ") {
                let address = field(&line, "Kafka on ").context("a ready line without an address")?;
                let admin = field(&line, "admin API on ").unwrap_or_default();
                return Ok(Broker { child, stdin, address, admin, ready_in: when - begin });
            }
            seen.push(line);
        }
    }

    /// Tells it a line on its standard input.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("no standard input")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// The CPU time that it has used so far, in seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).context("/proc/<pid>/stat")?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    /// A field of its `/proc/<pid>/status`, such as `VmRSS` in KiB.
    pub fn status(&self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(field)).context("/proc/<pid>/status")?;
        let number = line.split_whitespace().nth(1).context("/proc/<pid>/status")?;
        Ok(number.parse()?)
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(line: &str, name: &str) -> Option<String> {
    let (_, value) = line.split_once(name)?;
    value.split([',', ';']).next().map(str::to_owned)
}
