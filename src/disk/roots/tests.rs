use super::*;
use crate::disk::{Disk, DiskOptions, OpenMode};

struct Directories {
    root: tempfile::TempDir,
}

impl Directories {
    fn new() -> Directories {
        Directories { root: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn open(&self, names: &[&str]) -> Result<Disk, DiskError> {
        let directories: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        Disk::open_several(&directories, DiskOptions::default()).map(|(disk, _)| disk)
    }

    fn refused(&self, names: &[&str]) -> String {
        self.open(names).err().expect("refused").to_string()
    }
}

fn write(disk: &Disk, path: &str, bytes: &'static [u8]) {
    let file = disk.open_file(path, OpenMode::Create).expect("opens");
    let position = file.append(0, &[bytes.into()]).expect("appends");
    disk.wait_durable_blocking(position).expect("durable");
}

#[test]
fn directories_go_where_the_fewest_are_and_are_found_again() {
    let directories = Directories::new();
    let names = ["a-0", "a-1", "a-2", "a-3"];
    {
        let disk = directories.open(&["one", "two"]).expect("opens");
        for name in names {
            disk.create_dir_all(name).expect("made");
            write(&disk, &format!("{name}/log"), b"records");
        }
        write(&disk, "checkpoint", b"text");
        disk.rename("a-3", "a-3.x-delete").expect("renamed");
        // No close: the journal is replayed, in both directories.
    }
    let in_directory = |name: &str| directories_in(&directories.path(name)).expect("listed").len();
    assert_eq!((in_directory("one"), in_directory("two")), (2, 2));
    assert!(directories.path("one/checkpoint").is_file() && !directories.path("two/journal").exists());
    let disk = directories.open(&["one", "two"]).expect("opens again");
    for name in ["a-0", "a-1", "a-2", "a-3.x-delete"] {
        assert_eq!(disk.read(&format!("{name}/log")).expect("there"), b"records");
        let holder = ["one", "two"][disk.directory_index(name)];
        assert!(directories.path(&format!("{holder}/{name}/log")).is_file());
    }
    let listed: Vec<String> = disk.list("").expect("listed").into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed.iter().filter(|name| name.starts_with("a-")).count(), 4, "{listed:?}");
    disk.remove_dir_all("a-1").expect("removed");
    assert!(!disk.exists("a-1").expect("looked"));
    disk.create_dir_all("a-1").expect("made again");
    assert!(!disk.exists("a-1/log").expect("looked"));
}

#[test]
fn a_directory_may_be_added_and_never_left_out() {
    let directories = Directories::new();
    for names in [&["one"][..], &["one", "two"], &["one", "two", "three"], &["one", "three", "two"]] {
        let disk = directories.open(names).expect("opens");
        disk.create_dir_all(&format!("t-{}", names.len())).expect("made or there");
        disk.close().expect("closes");
    }
    for names in [&["one"][..], &["one", "two"]] {
        let refused = directories.refused(names);
        assert!(refused.contains("is missing from log.dirs"), "{refused}");
    }
    // As a disk that is not mounted: the directory is there, and empty.
    fs::rename(directories.path("two"), directories.path("away")).expect("moved");
    let refused = directories.refused(&["one", "two", "three"]);
    assert!(refused.contains("is missing from log.dirs, or its disk is not mounted"), "{refused}");
    // It may come back under another name.
    directories.open(&["one", "away", "three"]).expect("opens");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let directories = Directories::new();
    directories.open(&["one", "two"]).expect("opens");
    let refused = directories.refused(&["two", "one"]);
    assert!(refused.contains("two was not the first"), "{refused}");
    fs::create_dir_all(directories.path("foreign/orders-0")).expect("made");
    let refused = directories.refused(&["one", "two", "foreign"]);
    assert!(refused.contains("foreign holds directories and is none of this broker's"), "{refused}");
    for name in ["one", "two"] {
        fs::create_dir_all(directories.path(&format!("{name}/orders-0"))).expect("made");
    }
    let refused = directories.refused(&["one", "two"]);
    assert!(refused.contains("orders-0 is in "), "{refused}");
}

#[test]
fn each_directory_is_locked() {
    let directories = Directories::new();
    let _open = directories.open(&["one", "two"]).expect("opens");
    assert!(directories.refused(&["two"]).contains("in use"));
}
