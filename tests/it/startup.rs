//! What keeps a server from starting: one line that says what and what to do, and an exit status.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use tempfile::TempDir;

use crate::fixture::{TestServer, serve};

struct Failure {
    status: Option<i32>,
    stderr: String,
}

/// Runs `tidemill serve`, which is expected to fail.
fn fails(settings: &[(&str, &str)]) -> Failure {
    let quiet =
        [("tidemill.admin.listen", "off"), ("listeners", "127.0.0.1:0"), ("tidemill.log.level", "error")];
    let settings: Vec<_> =
        quiet.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let output = serve(&settings).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Failure { status: output.status.code(), stderr }
}

impl Failure {
    /// The status is a failure's, and one line says all of this.
    fn assert(&self, parts: &[&str]) {
        assert!(self.status.is_some_and(|status| status != 0), "{:?}:\n{}", self.status, self.stderr);
        let told = self.stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(told, "{parts:?} are not in one line of:\n{}", self.stderr);
    }
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let server = TestServer::child(&[]);
    let directory = server.data_dir();
    let directory = directory.to_str().unwrap();
    fails(&[("log.dirs", directory)]).assert(&[directory, "in use by process", "name another directory"]);
    crate::fixture::wire::assert_still_serves(&server);
}

#[test]
fn a_busy_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = TempDir::with_prefix("tidemill-it-").unwrap();
    let directory = directory.path().to_str().unwrap();
    fails(&[("log.dirs", directory), ("listeners", &address)]).assert(&[
        "cannot listen on",
        &address,
        "in use",
        "choose another port",
    ]);
    fails(&[("log.dirs", directory), ("tidemill.admin.listen", &address)]).assert(&[&address, "in use"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_refused() {
    let directory = TempDir::with_prefix("tidemill-it-").unwrap();
    let file = directory.path().join("a-file");
    std::fs::write(&file, "not a directory").unwrap();
    let file = file.to_str().unwrap();
    fails(&[("log.dirs", file)]).assert(&[file]);
    let under = format!("{file}/data");
    fails(&[("log.dirs", &under)]).assert(&[&under]);
}

#[test]
fn a_directory_without_permissions_is_refused() {
    let directory = TempDir::with_prefix("tidemill-it-").unwrap();
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&closed).is_ok() {
        // The superuser is not bound by permissions; a directory of the kernel's is closed to all.
        fails(&[("log.dirs", "/proc/tidemill-data")]).assert(&["/proc/tidemill-data"]);
        return;
    }
    let closed = closed.to_str().unwrap();
    fails(&[("log.dirs", closed)]).assert(&[closed]);
}

#[test]
fn an_unknown_key_is_refused_with_the_key_that_may_have_been_meant() {
    let failure = fails(&[("num.partition", "3")]);
    failure.assert(&["unknown configuration key \"num.partition\"", "did you mean \"num.partitions\"?"]);
}

#[test]
fn a_bad_value_is_refused_by_its_key() {
    fails(&[("num.partitions", "many")]).assert(&["\"num.partitions\"", "many"]);
    fails(&[("num.partitions", "0")]).assert(&["\"num.partitions\""]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let failure = fails(&[("num.partitions", "0"), ("tidemill.flush", "never")]);
    failure.assert(&["num.partitions"]);
    failure.assert(&["tidemill.flush"]);
}
