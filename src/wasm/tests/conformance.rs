//! The conformance list, tests/conformance/README.md: every item for every language, against the real host.

use std::path::Path;

use super::state::{MemoryState, around};
use super::*;

mod interceptors;
mod measure;
mod processors;

/// A language's guests.
#[derive(Clone, Copy, Debug)]
struct Language {
    name: &'static str,
    deviations: &'static [Deviation],
}

/// What a language's tools force its guests to do otherwise: the list tells more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deviation {
    /// Its standard library does not find WASI: no output, clocks, randomness of its own.
    Freestanding,
    /// A function of the broker's takes no negative number.
    NoNegativeArguments,
    /// Memory that is refused is an error like others, where errors are texts.
    OutOfMemoryIsAnError,
    /// Each call leaves what it was given behind.
    LosesMemory,
}

fn languages() -> [Language; 5] {
    use Deviation::{Freestanding, LosesMemory, NoNegativeArguments, OutOfMemoryIsAnError};
    let rust: &[_] = if with_wasi().is_empty() { &[Freestanding] } else { &[] };
    [
        Language { name: "rust-flat", deviations: rust },
        Language { name: "rust-typed", deviations: rust },
        Language { name: "c", deviations: &[] },
        Language { name: "javascript", deviations: &[NoNegativeArguments, OutOfMemoryIsAnError] },
        Language { name: "python", deviations: &[LosesMemory] },
    ]
}

fn language(name: &str) -> Language {
    languages().into_iter().find(|language| language.name == name).unwrap()
}

/// One host for the whole list. It keeps its modules from one run to the next, as the large ones take half a minute to
/// compile; those of other builds are let go of.
static HOST: LazyLock<WasmHost> = LazyLock::new(|| {
    let host = WasmHost::open(&WasmHostOptions::new(guests_directory().join("compiled"))).unwrap();
    let current: Vec<ModuleDigest> = languages()
        .iter()
        .flat_map(|language| ["processor", "interceptor"].map(|kind| ModuleDigest::of(&language.guest(kind))))
        .collect();
    for module in host.list().unwrap() {
        if !current.contains(&module.digest) {
            host.remove(&module.digest).unwrap();
        }
    }
    host
});

impl Language {
    fn deviates(self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }

    fn guest(self, kind: &str) -> Vec<u8> {
        guest(&format!("conformance-{kind}-{}", self.name))
    }

    fn module(self, kind: &str) -> ModuleDigest {
        HOST.compile(&self.guest(kind)).unwrap().digest
    }
}

fn limits() -> Limits {
    Limits {
        batch_time_max: Duration::from_secs(20),
        init_time_max: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// Limits for what is to run into the time limit.
fn quick() -> Limits {
    let time_max = Duration::from_millis(100);
    Limits { batch_time_max: time_max, init_time_max: time_max, ..limits() }
}

/// What a guest is given and gives in all rounds together is far more than its memory.
const ROUNDS: usize = 1000;
const ROUND_BYTES: usize = 80 << 10;

/// A record of a batch, and what is compared with what comes out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Content {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record that tells the guest what to do.
fn told(command: &str) -> Content {
    let headers = vec![("do".to_owned(), Some(command.as_bytes().to_vec()))];
    Content { key: Some(b"key".to_vec()), value: Some(b"value".to_vec()), headers }
}

fn telling(commands: &[&str]) -> InputBatch {
    input(&commands.iter().map(|command| told(command)).collect::<Vec<_>>())
}

/// Offsets and timestamps beyond what a double holds exactly.
const FIRST_OFFSET: i64 = (1 << 53) + 1;
const FIRST_TIMESTAMP: i64 = (1 << 53) + 3;

/// A batch of these records.
fn input(contents: &[Content]) -> InputBatch {
    let mut records = Vec::new();
    for (index, content) in (0..).zip(contents) {
        let mut body = vec![0];
        put_varint(&mut body, index);
        put_varint(&mut body, index);
        put_field(&mut body, content.key.as_deref());
        put_field(&mut body, content.value.as_deref());
        put_varint(&mut body, i64::try_from(content.headers.len()).unwrap());
        for (key, value) in &content.headers {
            put_field(&mut body, Some(key.as_bytes()));
            put_field(&mut body, value.as_deref());
        }
        put_varint(&mut records, i64::try_from(body.len()).unwrap());
        records.extend_from_slice(&body);
    }
    let chunk = InputChunk {
        base_offset: Offset::from_wire(FIRST_OFFSET).unwrap(),
        base_timestamp: FIRST_TIMESTAMP,
        append_time: None,
        record_count: u32::try_from(contents.len()).unwrap(),
        records: records.into(),
    };
    InputBatch { attempt: 2, ..batch_of(vec![chunk]) }
}

/// Records with everything that may be missing, empty, repeated or no text.
fn strange_contents() -> Vec<Content> {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let plain = Content { key: Some(b"key".to_vec()), value: Some(b"value".to_vec()), headers: Vec::new() };
    let header = |key: &str, value: Option<&[u8]>| (key.to_owned(), value.map(<[u8]>::to_vec));
    let headers = vec![
        header("null", None),
        header("empty", Some(b"")),
        header("bytes", Some(&all_bytes)),
        header("twice", Some(b"1")),
        header("twice", Some(b"2")),
        header("", Some(b"without a key")),
        header("größe 🌊", Some("größe 🌊".as_bytes())),
    ];
    vec![
        plain.clone(),
        Content { key: None, ..plain.clone() },
        Content { value: None, ..plain.clone() },
        Content { key: None, value: None, ..plain.clone() },
        Content { key: Some(Vec::new()), value: Some(Vec::new()), ..plain.clone() },
        Content { key: Some(all_bytes.clone()), value: Some(all_bytes), ..plain.clone() },
        Content { value: Some(vec![0xff; 100_000]), ..plain.clone() },
        Content { headers, ..plain },
    ]
}

/// Config values that are easily lost.
const CONFIG: [(&str, &str); 3] = [("plain", "some text"), ("empty", ""), ("größe", "größe 🌊")];

#[test]
fn every_module_compiles_to_its_world() {
    for language in languages() {
        for (kind, expected) in
            [("processor", PluginKind::Processor), ("interceptor", PluginKind::Interceptor)]
        {
            let module = HOST.describe(&language.module(kind)).unwrap();
            assert_eq!(module.world.kind(), expected, "{language:?}");
        }
    }
}

/// The file that people read names every item that is tested, and the tests every item that is written.
#[test]
fn the_list_and_the_tests_have_the_same_items() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let list = read("tests/conformance/README.md");
    for kind in ["processors", "interceptors"] {
        let tests = read(&format!("src/wasm/tests/conformance/{kind}.rs"));
        let tested: Vec<&str> = tests
            .split("test]\n")
            .skip(1)
            .filter_map(|test| Some(test.split_once("fn ")?.1.split_once('(')?.0))
            .collect();
        let section = list.split(&format!("## Items: {kind}")).nth(1).unwrap().split("\n## ").next().unwrap();
        let written: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|item| item.0)
            .collect();
        assert_eq!(tested, written, "{kind}");
    }
}
