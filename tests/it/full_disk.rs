//! A disk without room: a small file system of memory, in a mount namespace that only the server sees.

use std::process::{Command, Stdio};

use bytes::Bytes;
use tempfile::TempDir;
use tidemill::testing::WireClient;

use crate::fixture::wire::{batch, create_topic, fetch, produce, values};
use crate::fixture::{ChildServer, serve};

const STORAGE_ERROR: i16 = 56;

/// What a command does on the file system before it becomes the server.
const NOTHING: &str = "true";
const FILL: &str = "head -c 100000000 /dev/zero > \"$0/filler\" 2> /dev/null || true";

/// `tidemill serve` on a file system of 24 MB.
fn serve_on_small_disk(directory: &TempDir, first: &str) -> Command {
    let mount = directory.path().to_str().unwrap().to_owned();
    let script = format!("mount -t tmpfs -o size=24m tmpfs \"$0\" && {{ {first}; }} && exec \"$@\"");
    let settings = [
        ("log.dirs", format!("{mount}/data")),
        ("listeners", "127.0.0.1:0".to_owned()),
        ("tidemill.admin.listen", "off".to_owned()),
        ("offsets.topic.num.partitions", "2".to_owned()),
    ];
    let server = serve(&settings.map(|(key, value)| (key.to_owned(), value)));
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, &mount]);
    command.arg(server.get_program()).args(server.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn a_start_on_a_full_disk_says_so_in_one_line() {
    let directory = TempDir::with_prefix("tidemill-it-").unwrap();
    let output = serve_on_small_disk(&directory, FILL).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0), "{stderr}");
    let data = directory.path().join("data");
    let told = |line: &str| {
        ["cannot use", data.to_str().unwrap(), "the disk is full", "free some space"]
            .iter()
            .all(|part| line.contains(part))
    };
    assert!(stderr.lines().any(told), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_disk_that_becomes_full_fails_writes_with_an_error_and_loses_nothing() {
    let directory = TempDir::with_prefix("tidemill-it-").unwrap();
    let server = ChildServer::of(&mut serve_on_small_disk(&directory, NOTHING));
    let mut client = WireClient::connect(server.address).unwrap();
    create_topic(&mut client, "small", 1, &[]);
    create_topic(&mut client, "large", 1, &[]);
    assert_eq!(produce(&mut client, "small", 0, batch(&["kept"])).error_code, 0);
    let value = "x".repeat(500_000);
    let large: Bytes = batch(&[&value]);
    let code = (0..1000)
        .map(|_| produce(&mut client, "large", 0, large.clone()).error_code)
        .find(|code| *code != 0)
        .expect("the disk holds no 500 MB");
    assert_eq!(code, STORAGE_ERROR);
    let kept = fetch(&mut client, "small", 0, 0, 1);
    assert_eq!(values(&kept), [(0, "kept".to_owned())]);
    let (_, log) = server.end();
    let told = |line: &str| line.contains("large-0") && line.contains("the disk is full");
    assert!(log.lines().any(told), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
