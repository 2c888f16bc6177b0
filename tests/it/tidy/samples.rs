//! The tidy checks on small texts that keep or break each rule, so that a check which no longer
//! sees anything is found out.

use super::scan::{Function, code_only, functions, test_only};
use super::{Breach, PURE_PARTS, ROOMS, Source, check_any, check_shipped, test_files};

fn breaches(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(path, &format!("//! What it does.\n{text}"));
    let mut found: Vec<Breach> = check_any(&source);
    found.extend(check_shipped(&source));
    found.iter().map(ToString::to_string).collect()
}

fn one_breach(path: &str, text: &str) -> String {
    let found = breaches(path, text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn the_rooms_of_the_table_import_downward_only() {
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        for imported in *allowed {
            let below = ROOMS[..place].iter().any(|(name, _)| name == imported);
            assert!(below, "{room} may import {imported}, which does not stand before it");
        }
    }
    for (part, _) in PURE_PARTS {
        assert!(part.starts_with("coordinator/"), "{part}");
    }
}

#[test]
fn an_upward_import_is_found_with_its_line() {
    let found =
        one_breach("src/log/segment.rs", "use crate::disk::Disk;\nuse crate::partition::Partition;\n");
    assert_eq!(found, "src/log/segment.rs:3: `log` may not import `partition`");
}

#[test]
fn an_import_within_the_room_and_downward_is_fine() {
    let text = "use crate::log::Log;\nuse crate::ids::Offset;\n//! crate::server in a comment\n";
    assert!(breaches("src/log/segment.rs", text).is_empty());
}

#[test]
fn a_path_in_the_middle_of_code_is_an_import_too() {
    let found = one_breach("src/wire/api.rs", "fn f() { crate::broker::g(); }\n");
    assert_eq!(found, "src/wire/api.rs:2: `wire` may not import `broker`");
}

#[test]
fn a_pure_part_is_stricter_than_its_room() {
    assert!(breaches("src/coordinator/runtime.rs", "use crate::disk::Disk;\n").is_empty());
    let found = one_breach("src/coordinator/txn/mod.rs", "use crate::disk::Disk;\n");
    assert_eq!(found, "src/coordinator/txn/mod.rs:2: `coordinator/txn` may not import `disk`");
}

#[test]
fn several_rooms_in_one_use_cannot_be_checked_and_are_refused() {
    assert!(one_breach("src/log/mod.rs", "use crate::{ids, server};\n").contains("one `use crate::room"));
}

#[test]
fn super_must_not_climb_out_of_the_room() {
    assert!(one_breach("src/log/mod.rs", "use super::server;\n").contains("climbs out"));
    assert!(one_breach("src/log/a/b.rs", "use super::super::super::server;\n").contains("climbs out"));
    assert!(breaches("src/log/a.rs", "use super::segment;\n").is_empty());
    assert!(breaches("src/log.rs", "mod inner { use super::Log; }\n").is_empty());
    assert!(one_breach("src/log.rs", "mod inner { use super::super::server; }\n").contains("climbs out"));
    assert!(breaches("src/clock.rs", "#[cfg(test)]\nmod tests { use super::*; }\n").is_empty());
}

#[test]
fn a_room_that_the_table_lacks_is_found() {
    assert!(one_breach("src/cellar/mod.rs", "").contains("`cellar` is not in the table"));
}

#[test]
fn async_code_stays_in_its_rooms() {
    assert!(one_breach("src/log/mod.rs", "async fn f() {}\n").ends_with("values and events come in"));
    assert!(one_breach("src/partition/a.rs", "fn f() { g().await; }\n").contains("src/partition/a.rs:2"));
    assert!(one_breach("src/disk/mod.rs", "use tokio::sync::Notify;\n").ends_with("no tokio here"));
    assert!(one_breach("src/coordinator/group/mod.rs", "async fn f() {}\n").contains("no async"));
    assert!(breaches("src/coordinator/runtime.rs", "async fn f() { g().await; }\n").is_empty());
    assert!(breaches("src/log/mod.rs", "fn awaits() { f(\"async\", '\\'', a.awaiting) }\n").is_empty());
}

#[test]
fn tasks_are_started_only_by_their_owners() {
    assert!(
        one_breach("src/handlers/fetch.rs", "fn f() { tokio::spawn(g()); }\n").contains("a task is started")
    );
    assert!(breaches("src/net/listener.rs", "fn f() { tokio::spawn(g()); }\n").is_empty());
}

#[test]
fn wasmtime_is_named_in_one_room() {
    assert!(
        one_breach("src/plugin/mod.rs", "use wasmtime::Engine;\n").ends_with("only src/wasm names wasmtime")
    );
    assert!(breaches("src/wasm/engine.rs", "use wasmtime::Engine;\n").is_empty());
}

#[test]
fn long_files_and_functions_are_found() {
    let long = format!("fn long() {{\n{}}}\n", "    f();\n".repeat(69));
    assert_eq!(one_breach("src/log/a.rs", &long), "src/log/a.rs:2: fn long has 71 lines; at most 70");
    let just = format!("fn just() {{\n{}}}\n", "    f();\n".repeat(68));
    assert!(breaches("src/log/a.rs", &just).is_empty());
    assert!(one_breach("src/log/a.rs", &"\n".repeat(800)).ends_with("a file of 801 lines; at most 800"));
}

#[test]
fn a_file_without_first_lines_is_found() {
    let found = check_shipped(&Source::new("src/log/a.rs", "use std::fmt;\n"));
    assert!(found[0].rule.starts_with("a file starts with `//!`"), "{found:?}");
}

#[test]
fn what_is_left_undone_is_found() {
    assert!(one_breach("src/log/a.rs", "fn f() { todo!() }\n").contains("no `todo!`"));
    assert!(one_breach("src/log/a.rs", "fn f() { unimplemented!(\"x\") }\n").contains("no `unimplemented!`"));
    let unnumbered = format!("// {}: later\n", concat!("TO", "DO"));
    assert!(one_breach("src/log/a.rs", &unnumbered).contains("names its issue"));
    let numbered = format!("// {}(#12): later\n", concat!("TO", "DO"));
    assert!(breaches("src/log/a.rs", &numbered).is_empty());
}

#[test]
fn unwrap_is_for_tests() {
    assert!(one_breach("src/log/a.rs", "fn f() { g().unwrap() }\n").contains("no `unwrap()`"));
    assert!(breaches("src/log/a.rs", "fn f() { g().unwrap_or(1) } // x.unwrap()\n").is_empty());
    assert!(breaches("src/log/a.rs", "#[cfg(test)]\nfn f() { g().unwrap() }\n").is_empty());
}

#[test]
fn files_behind_cfg_test_are_known_by_their_declaration() {
    let sources = [
        Source::new(
            "src/log/mod.rs",
            "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod fake;\nmod real;\n",
        ),
        Source::new("src/log/tests.rs", ""),
        Source::new("src/log/tests/more.rs", ""),
        Source::new("src/log/fake.rs", ""),
        Source::new("src/log/real.rs", "#[cfg(test)]\nmod tests;\n"),
        Source::new("src/log/real/tests.rs", ""),
        Source::new("src/log/fakery.rs", ""),
    ];
    let found: Vec<String> = test_files(&sources).into_iter().collect();
    assert_eq!(
        found,
        ["src/log/fake.rs", "src/log/real/tests.rs", "src/log/tests.rs", "src/log/tests/more.rs"]
    );
}

#[test]
fn the_scanner_tells_code_from_text() {
    let text = "a /* b /* c */ d */ e // f\ng \"h \\\" i\" j r#\"k \" l\"# m 'n' '\\n' '\\u{41}' o<'p> q b\"r\" br\"s\"";
    let code = code_only(text);
    let letters: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(letters, "a e g j m o<'p> q b");
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn the_scanner_finds_functions_and_their_ends() {
    let text = "trait T { fn without(&self) -> [u8; 4]; fn with() -> [u8; 4] { [0; 4] } }\nfn outer(f: fn(u8)) where {\n    let s = \"}\";\n    fn inner() {\n    }\n}\n";
    let code = code_only(text);
    let found = functions(&code);
    assert_eq!(
        found,
        [
            Function { name: "with", line: 1, lines: 1 },
            Function { name: "outer", line: 2, lines: 5 },
            Function { name: "inner", line: 4, lines: 2 },
        ]
    );
}

#[test]
fn the_scanner_finds_inline_test_modules() {
    let found = test_only("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
    assert_eq!(found.spans.as_slice(), std::slice::from_ref(&(10..50)));
    assert!(found.modules.is_empty());
}
