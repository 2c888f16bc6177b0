use super::*;

fn refusal(module: &[u8]) -> String {
    Fixture::new().host.compile(module).unwrap_err().to_string()
}

/// A component of nothing but these sections, in the binary format.
fn component(sections: &[u8]) -> Vec<u8> {
    [&b"\0asm\x0d\0\x01\0"[..], sections].concat()
}

#[test]
fn what_is_no_component_is_refused_with_a_sentence() {
    assert!(refusal(b"").contains("it is empty"));
    assert!(refusal(b"[package]\nname = \"x\"").contains("it looks like text, starting with"));
    assert!(refusal(b"(module)").contains("text format"));
    assert!(refusal(b"\x7fELF\x02\x01").contains("a program for Linux"));
    assert!(refusal(b"PK\x03\x04").contains("a zip archive"));
    assert!(refusal(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
    assert!(refusal(b"\0asm\x09\0\0\0").contains("version is unknown"));
    assert!(refusal(&component(b"\x01\xff")).contains("does not compile"));
    let mut cut = guest("test-guest-flat");
    cut.truncate(cut.len() / 2);
    assert!(refusal(&cut).contains("does not compile"));
}

#[test]
fn a_component_of_no_world_is_told_what_is_expected() {
    let refused = refusal(&component(b""));
    assert!(refused.contains("it exports nothing"), "{refused}");
    assert!(refused.contains("tidemill:plugin/flat-processor@0.1.0"), "{refused}");
}

/// The guest with every occurrence of some bytes replaced by as many others.
fn edited(from: &str, to: &str) -> Vec<u8> {
    edited_guest("test-guest-flat", from, to)
}

fn edited_guest(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut module = guest(name);
    for at in 0..module.len() - from.len() {
        if module[at..].starts_with(from.as_bytes()) {
            module[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    module
}

#[test]
fn another_version_of_the_contract_is_named_with_ours() {
    let refused =
        refusal(&edited("tidemill:plugin/flat-processor@0.1.0", "tidemill:plugin/flat-processor@0.9.0"));
    assert!(refused.contains("version 0.9.0") && refused.contains("speaks version 0.1.0"), "{refused}");
}

#[test]
fn another_export_is_named() {
    let refused =
        refusal(&edited("tidemill:plugin/flat-processor@0.1.0", "tidemill:plugin/salt-processor@0.1.0"));
    assert!(refused.contains("it exports tidemill:plugin/salt-processor@0.1.0"), "{refused}");
}

#[test]
fn imports_that_are_not_offered_are_named() {
    let refused = refusal(&edited("tidemill:plugin/config@0.1.0", "tidemill:plugin/secret@0.1.0"));
    assert!(refused.contains("not offered: tidemill:plugin/secret@0.1.0."), "{refused}");
}

#[test]
fn state_clock_and_randomness_are_for_processors_alone() {
    for kind in ["interceptor", "partitioner"] {
        let name = format!("test-{kind}-flat");
        let imports = Fixture::new().host.compile(&guest(&name)).unwrap().imports;
        let ours: Vec<_> = imports.iter().filter(|import| import.starts_with("tidemill:")).collect();
        assert!(!ours.iter().any(|import| import.contains("state") || import.contains("random")), "{ours:?}");
        let (from, to) = ("tidemill:plugin/config@0.1.0", "tidemill:plugin/random@0.1.0");
        let refused = refusal(&edited_guest(&name, from, to));
        let words = format!("what {kind}s are not offered: {to}. Offered are log, config and metrics of");
        assert!(refused.contains(&words), "{refused}");
    }
    let refused = refusal(&edited("tidemill:plugin/random@0.1.0", "tidemill:plugin/ransom@0.1.0"));
    assert!(
        refused.contains("log, config, metrics, state, clock and random of tidemill:plugin"),
        "{refused}"
    );
}

#[test]
fn a_module_beyond_the_limit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = WasmHostOptions { module_bytes_max: 1000, ..WasmHostOptions::new(directory.path()) };
    let refused = WasmHost::open(&options).unwrap().compile(&[0; 1001]).unwrap_err();
    assert_eq!(refused, PluginError::TooLarge { bytes: 1001, bytes_max: 1000 });
}

#[test]
fn a_description_tells_world_imports_and_sizes() {
    let directory = tempfile::tempdir().unwrap();
    let host = WasmHost::open(&WasmHostOptions::new(directory.path())).unwrap();
    for (name, world) in
        [("test-guest-flat", World::ProcessorFlat), ("test-guest-typed", World::ProcessorTyped)]
    {
        let module = guest(name);
        let description = host.compile(&module).unwrap();
        assert_eq!((description.world, description.digest), (world, ModuleDigest::of(&module)));
        assert_eq!(description.contract_version, CONTRACT_VERSION);
        assert!(description.imports.iter().any(|name| name == "tidemill:plugin/log@0.1.0"));
        assert_eq!(description.module_bytes, module.len() as u64);
        assert!(description.compiled_bytes > 0);
        assert_eq!(host.describe(&description.digest).unwrap(), description);
        // Again is no work and no change.
        assert_eq!(host.compile(&module).unwrap(), description);
    }
    assert_eq!(host.list().unwrap().len(), 2);
}

#[test]
fn modules_survive_a_restart_and_rot_of_their_machine_code() {
    let directory = tempfile::tempdir().unwrap();
    let open = || WasmHost::open(&WasmHostOptions::new(directory.path())).unwrap();
    let module = guest("redact");
    let digest = open().compile(&module).unwrap().digest;
    open().load(&digest).unwrap();
    let compiled = directory.path().join(format!("{digest}.cwasm"));
    let good = std::fs::read(&compiled).unwrap();
    let mut rotten = good.clone();
    rotten[good.len() / 2] ^= 1;
    for bad in [rotten, Vec::new()] {
        std::fs::write(&compiled, bad).unwrap();
        open().load(&digest).unwrap();
        assert_eq!(std::fs::read(&compiled).unwrap().len(), good.len(), "compiled again");
    }
}

#[test]
fn a_damaged_module_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let open = || WasmHost::open(&WasmHostOptions::new(directory.path())).unwrap();
    let digest = open().compile(&guest("redact")).unwrap().digest;
    std::fs::write(directory.path().join(format!("{digest}.cwasm")), b"").unwrap();
    std::fs::write(directory.path().join(format!("{digest}.wasm")), b"rot").unwrap();
    let refused = open().load(&digest).unwrap_err();
    assert!(matches!(refused, PluginError::Damaged { .. }), "{refused}");
}

#[test]
fn a_removed_module_is_gone_and_its_instances_live_on() {
    let directory = tempfile::tempdir().unwrap();
    let host = WasmHost::open(&WasmHostOptions::new(directory.path())).unwrap();
    let digest = host.compile(&guest("redact")).unwrap().digest;
    let mut instance = host.instantiate(&digest, Fixture::new().options("")).unwrap();
    host.remove(&digest).unwrap();
    assert!(host.list().unwrap().is_empty());
    assert_eq!(host.load(&digest).unwrap_err(), PluginError::NotFound(digest));
    assert_eq!(host.remove(&digest).unwrap_err(), PluginError::NotFound(digest));
    assert!(instance.run(&batch(&["a"])).is_ok());
}
