//! The rules of the house that a reader of the sources can check: who imports whom, where tasks and
//! wasmtime may be named, how long files and functions are.
//!
//! Each rule is a function from one source file to breaches; `tidy/samples.rs` shows each one a
//! text that breaks it. Why a rule is there stands in ARCHITECTURE.md and STYLE.md.

mod samples;
mod scan;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use scan::{code_only, functions, inline_modules, line_of, test_only, words};

/// The rooms from the ground up, each with those that it may import beside itself. ARCHITECTURE.md
/// has the same table in words. A room imports only rooms above it in this list: that too is checked.
const ROOMS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("error_code", &[]),
    ("clock", &[]),
    ("metrics", &["ids"]),
    ("config", &["ids"]),
    ("wire", &["ids", "error_code", "clock"]),
    ("disk", &[]),
    ("log", &["ids", "error_code", "clock", "wire", "disk"]),
    ("quota", &["ids", "error_code", "clock"]),
    ("metadata", &["ids", "error_code", "clock", "wire", "disk", "log", "quota"]),
    ("partition", &["ids", "error_code", "clock", "wire", "disk", "log", "metadata"]),
    ("coordinator", &["ids", "error_code", "clock", "wire", "disk", "log", "partition"]),
    ("plugin", &["ids"]),
    ("state", &["ids", "plugin"]),
    ("wasm", &["ids", "plugin"]),
    ("interceptor", &["ids", "error_code", "clock", "wire", "plugin"]),
    (
        "broker",
        &[
            "ids",
            "error_code",
            "clock",
            "config",
            "metrics",
            "wire",
            "disk",
            "log",
            "quota",
            "metadata",
            "partition",
            "coordinator",
            "plugin",
            "interceptor",
        ],
    ),
    (
        "processor",
        &[
            "ids",
            "error_code",
            "clock",
            "wire",
            "log",
            "metadata",
            "partition",
            "coordinator",
            "plugin",
            "state",
            "interceptor",
            "broker",
        ],
    ),
    (
        "handlers",
        &[
            "ids",
            "error_code",
            "clock",
            "config",
            "wire",
            "disk",
            "log",
            "quota",
            "metadata",
            "partition",
            "coordinator",
            "plugin",
            "interceptor",
            "broker",
        ],
    ),
    ("net", &["wire", "log", "broker", "handlers"]),
    ("admin", &["ids", "error_code", "metrics", "plugin", "interceptor", "broker", "processor"]),
    (
        "testing",
        &[
            "ids",
            "error_code",
            "clock",
            "config",
            "wire",
            "disk",
            "log",
            "metadata",
            "partition",
            "coordinator",
            "plugin",
            "broker",
        ],
    ),
    (
        "server",
        &[
            "clock",
            "config",
            "metrics",
            "disk",
            "partition",
            "plugin",
            "state",
            "wasm",
            "broker",
            "processor",
            "net",
            "admin",
        ],
    ),
    ("cli", &["error_code", "config", "server"]),
];

/// The parts of a room that are stricter than the room: the pure state machines.
const PURE_PARTS: &[(&str, &[&str])] = &[
    ("coordinator/group", &["ids", "error_code", "clock", "wire", "coordinator"]),
    ("coordinator/txn", &["ids", "error_code", "clock", "wire", "coordinator"]),
];

/// Where there may be async code: everything else is called by it, and never waits.
const ASYNC_PLACES: &[&str] = &[
    "admin",
    "broker",
    "cli",
    "coordinator/coordinators.rs",
    "coordinator/markers.rs",
    "coordinator/runtime.rs",
    "handlers",
    "interceptor",
    "net",
    "processor",
    "server.rs",
    "testing",
    // Their calls give the thread back after each slice of time.
    "wasm/bindings.rs",
    "wasm/interceptor.rs",
    // Its trait of WASI has one async method, which has nothing to wait for.
    "wasm/log.rs",
];

/// Where tasks may be started: each place owns what it starts and can stop it.
const SPAWN_PLACES: &[&str] = &[
    "coordinator/coordinators.rs",
    "coordinator/runtime.rs",
    "interceptor/links.rs",
    "net",
    "processor",
    "server.rs",
    "testing",
];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// One source file, read once.
struct Source {
    /// Relative to the repository.
    path: String,
    /// Relative to `src/`; `None` outside of it.
    in_src: Option<String>,
    text: String,
    code: String,
    /// The code without what is compiled for tests only.
    shipped: String,
}

/// A rule broken at a line.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    path: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let code = code_only(text);
        let mut shipped = code.clone();
        for span in test_only(&code).spans {
            let blank: String = code[span.clone()].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            shipped.replace_range(span, &blank);
        }
        Source {
            path: path.to_owned(),
            in_src: path.strip_prefix("src/").map(str::to_owned),
            text: text.to_owned(),
            code,
            shipped,
        }
    }

    fn breach(&self, line: usize, rule: impl Into<String>) -> Breach {
        Breach { path: self.path.clone(), line, rule: rule.into() }
    }

    fn room(&self) -> Option<&str> {
        let first = self.in_src.as_deref()?.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    fn is_in(&self, places: &[&str]) -> bool {
        self.in_src
            .as_deref()
            .is_some_and(|path| places.iter().any(|place| Path::new(path).starts_with(place)))
    }
}

/// The rules for every file, tests too.
fn check_any(source: &Source) -> Vec<Breach> {
    let mut breaches = check_sizes(source);
    breaches.extend(check_left_undone(source));
    if source.in_src.is_some() {
        breaches.extend(check_imports(source));
        breaches.extend(check_wasmtime(source));
    }
    breaches
}

/// The rules for what is shipped.
fn check_shipped(source: &Source) -> Vec<Breach> {
    let mut breaches = check_first_lines(source);
    breaches.extend(check_async(source));
    breaches.extend(check_unwrap(source));
    breaches
}

fn check_sizes(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches.push(source.breach(lines, format!("a file of {lines} lines; at most {FILE_LINES_MAX}")));
    }
    for function in functions(&source.code) {
        if function.lines > FUNCTION_LINES_MAX {
            let (name, lines) = (function.name, function.lines);
            let rule = format!("fn {name} has {lines} lines; at most {FUNCTION_LINES_MAX}");
            breaches.push(source.breach(function.line, rule));
        }
    }
    breaches
}

fn check_first_lines(source: &Source) -> Vec<Breach> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.breach(1, "a file starts with `//!`: what it does, and what it must not do")]
}

fn check_left_undone(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for name in ["todo", "unimplemented"] {
        for at in words(&source.code, name).filter(|at| source.code[at + name.len()..].starts_with('!')) {
            breaches.push(source.breach(line_of(&source.code, at), format!("no `{name}!`: finish it")));
        }
    }
    let marker = concat!("TO", "DO");
    for (number, line) in source.text.lines().enumerate() {
        let numbered = |at: usize| {
            let after = line[at + marker.len()..].strip_prefix("(#");
            after.is_some_and(|after| after.starts_with(|character: char| character.is_ascii_digit()))
        };
        if words(line, marker).any(|at| !numbered(at)) {
            let rule = format!("a {marker} names its issue: `{marker}(#12): …`");
            breaches.push(source.breach(number + 1, rule));
        }
    }
    breaches
}

fn check_imports(source: &Source) -> Vec<Breach> {
    let Some(room) = source.room().filter(|room| !matches!(*room, "lib" | "main")) else {
        return Vec::new();
    };
    let Some((_, of_room)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![source.breach(1, format!("room `{room}` is not in the table of rooms"))];
    };
    let pure = PURE_PARTS.iter().find(|(part, _)| source.is_in(&[part]));
    let allowed = pure.map_or(*of_room, |(_, allowed)| *allowed);
    let place = pure.map_or(room, |(part, _)| *part);
    let mut breaches = Vec::new();
    for at in words(&source.code, "crate") {
        let Some(path) = source.code[at + "crate".len()..].strip_prefix("::") else { continue };
        let line = line_of(&source.code, at);
        let imported: String = path.chars().take_while(|character| scan::is_word(*character)).collect();
        if imported.is_empty() {
            breaches.push(
                source.breach(line, "one `use crate::room::…` for each room, so that it can be checked"),
            );
        } else if ROOMS.iter().any(|(name, _)| *name == imported)
            && imported != room
            && !allowed.contains(&imported.as_str())
        {
            breaches.push(source.breach(line, format!("`{place}` may not import `{imported}`")));
        }
    }
    breaches.extend(check_super(source));
    breaches
}

/// `super::` must not climb out of the room: that would be an import which the table does not see.
fn check_super(source: &Source) -> Vec<Breach> {
    let path = source.in_src.as_deref().unwrap_or_default();
    let depth = path.split('/').filter(|part| *part != "mod.rs").count();
    let inline = inline_modules(&source.shipped);
    let mut breaches = Vec::new();
    for (at, _) in source.shipped.match_indices("super::") {
        let chain = &source.shipped[at..];
        let climbed = (chain.len() - chain.trim_start_matches("super::").len()) / "super::".len();
        let depth = depth + inline.iter().filter(|module| module.contains(&at)).count();
        if climbed >= depth {
            let rule = "`super::` climbs out of its room; say `crate::…`";
            breaches.push(source.breach(line_of(&source.shipped, at), rule));
        }
    }
    breaches
}

fn check_wasmtime(source: &Source) -> Vec<Breach> {
    if source.is_in(&["wasm"]) {
        return Vec::new();
    }
    let names = ["wasmtime", "wasmtime_wasi"].into_iter().flat_map(|name| words(&source.code, name));
    names.map(|at| source.breach(line_of(&source.code, at), "only src/wasm names wasmtime")).collect()
}

fn check_async(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let code = &source.shipped;
    if !source.is_in(ASYNC_PLACES) {
        let awaits = words(code, "await").filter(|at| code[..*at].ends_with('.'));
        for at in words(code, "async").chain(awaits) {
            breaches.push(source.breach(line_of(code, at), "no async code here: values and events come in"));
        }
        for at in words(code, "tokio") {
            breaches.push(source.breach(line_of(code, at), "no tokio here"));
        }
    }
    if !source.is_in(SPAWN_PLACES) {
        for at in words(code, "spawn").filter(|at| code[..*at].ends_with("tokio::")) {
            breaches
                .push(source.breach(line_of(code, at), "a task is started only where one owns and stops it"));
        }
    }
    breaches
}

fn check_unwrap(source: &Source) -> Vec<Breach> {
    let unwraps = words(&source.shipped, "unwrap").filter(|at| {
        source.shipped[..*at].ends_with('.') && source.shipped[at + "unwrap".len()..].starts_with("()")
    });
    unwraps
        .map(|at| {
            source.breach(line_of(&source.shipped, at), "no `unwrap()`: an error, or `expect(\"why\")`")
        })
        .collect()
}

/// Files that are compiled for tests only, by path: declared behind `#[cfg(test)]`, and all below.
fn test_files(sources: &[Source]) -> BTreeSet<String> {
    let mut roots = Vec::new();
    for source in sources {
        let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        let directory = match stem.strip_suffix("/mod").or_else(|| stem.strip_suffix("/lib")) {
            Some(directory) => directory,
            None => stem,
        };
        roots.extend(test_only(&source.code).modules.iter().map(|module| format!("{directory}/{module}")));
    }
    let is_below = |path: &str, root: &String| {
        path.strip_prefix(root.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    let paths = sources.iter().map(|source| source.path.clone());
    paths.filter(|path| roots.iter().any(|root| is_below(path, root)) || path.starts_with("tests/")).collect()
}

fn read_all(directory: &Path, root: &Path, into: &mut Vec<Source>) {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_all(&path, root, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(root).unwrap().display().to_string();
            into.push(Source::new(&relative, &text));
        }
    }
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for directory in ["src", "guest-sdk/src", "tests/it"] {
        read_all(&root.join(directory), root, &mut sources);
    }
    assert!(sources.len() > 200, "the sources are not where they are looked for");
    let tests = test_files(&sources);
    let mut breaches: Vec<Breach> = sources.iter().flat_map(check_any).collect();
    let shipped = sources.iter().filter(|source| !tests.contains(&source.path));
    breaches.extend(shipped.filter(|source| source.in_src.is_some()).flat_map(check_shipped));
    let lines: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} breaches of the house rules:\n{}", lines.len(), lines.join("\n"));
}
