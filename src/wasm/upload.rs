//! The checks of an upload, each with a sentence for the person who uploads.

use wasmtime::Engine;
use wasmtime::component::types::{Component as ComponentType, ComponentItem};

use crate::plugin::{CONTRACT_VERSION, PluginError, PluginKind, World};

/// Interfaces that all guests may import: the contract's own, and WASI 0.2, which is linked and grants nothing.
const OFFERED: [(&str, &str); 11] = [
    ("tidemill:plugin/log", "0.1."),
    ("tidemill:plugin/config", "0.1."),
    ("tidemill:plugin/metrics", "0.1."),
    ("tidemill:plugin/interception", "0.1."),
    ("tidemill:plugin/types", "0.1."),
    ("wasi:io/", "0.2."),
    ("wasi:cli/", "0.2."),
    ("wasi:clocks/", "0.2."),
    ("wasi:filesystem/", "0.2."),
    ("wasi:random/", "0.2."),
    ("wasi:sockets/", "0.2."),
];

/// Interfaces that processors may import: theirs alone is one task with one order of batches, which state needs.
const OFFERED_TO_PROCESSORS: [(&str, &str); 4] = [
    ("tidemill:plugin/state", "0.1."),
    ("tidemill:plugin/clock", "0.1."),
    ("tidemill:plugin/random", "0.1."),
    ("tidemill:plugin/timers", "0.1."),
];

/// Refuses what is no component by its first bytes, before anything is compiled.
pub(super) fn check_format(module: &[u8]) -> Result<(), PluginError> {
    match module {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(PluginError::CoreModule),
        [0, b'a', b's', b'm', version @ ..] => {
            let version = version.get(..4).unwrap_or(version);
            Err(PluginError::NotWebAssembly {
                found: format!("its format's version is unknown ({version:02x?})"),
            })
        }
        _ => Err(PluginError::NotWebAssembly { found: looks_like(module) }),
    }
}

fn looks_like(bytes: &[u8]) -> String {
    let head = bytes.get(..64).unwrap_or(bytes);
    match head {
        [] => "it is empty".to_owned(),
        [0x7f, b'E', b'L', b'F', ..] => "it is a program for Linux (ELF)".to_owned(),
        [0x1f, 0x8b, ..] => "it is compressed with gzip".to_owned(),
        [b'P', b'K', 3, 4, ..] => "it is a zip archive".to_owned(),
        _ => match std::str::from_utf8(head) {
            Ok(text) if text.trim_start().starts_with('(') => {
                "it looks like WebAssembly's text format; assemble it first".to_owned()
            }
            Ok(text) if !text.contains('\0') => {
                format!("it looks like text, starting with {:?}", text.chars().take(24).collect::<String>())
            }
            Ok(_) | Err(_) => format!("it starts with the bytes {:02x?}", head.get(..8).unwrap_or(head)),
        },
    }
}

/// What a component exports and imports, by full names.
pub(super) struct Interface {
    pub(super) world: World,
    pub(super) contract_version: String,
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Finds out which world a component is for, and that nothing is missing.
pub(super) fn check_interface(component: &ComponentType, engine: &Engine) -> Result<Interface, PluginError> {
    let mut imports: Vec<String> = component.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let mut exports: Vec<String> =
        component.exports(engine).map(|(name, item)| kind(name, &item.ty)).collect();
    imports.sort_unstable();
    exports.sort_unstable();
    let (world, contract_version) = check_world(&exports)?;
    let kind = world.kind();
    let missing: Vec<&str> =
        imports.iter().map(String::as_str).filter(|name| !is_offered(kind, name)).collect();
    if !missing.is_empty() {
        let offered = match kind {
            PluginKind::Processor => "log, config, metrics, state, clock and random",
            PluginKind::Interceptor | PluginKind::Partitioner => "log, config and metrics",
        };
        let text = format!(
            "the module imports what {kind}s are not offered: {}. Offered are {offered} of tidemill:plugin \
             (version {CONTRACT_VERSION}) and WASI 0.2",
            missing.join(", "),
        );
        return Err(PluginError::ImportsNotOffered(text));
    }
    Ok(Interface { world, contract_version, imports, exports })
}

fn kind(name: &str, item: &ComponentItem) -> String {
    match item {
        ComponentItem::ComponentFunc(_) => format!("func {name}"),
        ComponentItem::ComponentInstance(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Type(_)
        | ComponentItem::Resource(_) => name.to_owned(),
    }
}

fn is_offered(kind: PluginKind, import: &str) -> bool {
    let more: &[_] = match kind {
        PluginKind::Processor => &OFFERED_TO_PROCESSORS,
        PluginKind::Interceptor | PluginKind::Partitioner => &[],
    };
    OFFERED.iter().chain(more).any(|(prefix, version)| {
        import.starts_with(prefix)
            && import.rsplit_once('@').is_some_and(|(_, found)| found.starts_with(version))
    })
}

fn check_world(exports: &[String]) -> Result<(World, String), PluginError> {
    let wrong = |text: String| Err(PluginError::WrongWorld(text));
    let version_of = |world: World| {
        let versions =
            exports.iter().filter_map(|name| name.strip_prefix(world.interface())?.strip_prefix('@'));
        versions.map(str::to_owned).next()
    };
    let mut found = World::ALL.into_iter().filter_map(|world| Some((world, version_of(world)?)));
    let (world, version) = match (found.next(), found.next()) {
        (Some(only), None) => only,
        (Some((one, _)), Some((other, _))) => {
            let (one, other) = (one.interface(), other.interface());
            return wrong(format!("the module exports both {one} and {other}: it must be one of them"));
        }
        (None, _) => {
            let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            let expected = World::ALL.map(|world| format!("{}@{CONTRACT_VERSION}", world.interface()));
            return wrong(format!(
                "the module is no Tidemill plugin: it exports {exports}, and one of {} is expected",
                expected.join(", ")
            ));
        }
    };
    let name = world.interface();
    if !version.starts_with("0.1.") {
        return wrong(format!(
            "the module was built for {name} version {version}, and this broker speaks version {CONTRACT_VERSION}"
        ));
    }
    Ok((world, version))
}
