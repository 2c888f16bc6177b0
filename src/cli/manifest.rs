//! What the manifests of processors and interceptors share: reading them, flags over them, and modules that
//! are given as files.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{CliError, ExitKind};
use super::{GlobalArgs, module};

/// What one instance may use; what is left out is the server's to choose.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_bytes: Option<u64>,
}

/// Whether a field was left out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A flag that is given wins.
pub(super) fn over<T: Clone>(into: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        into.clone_from(flag);
    }
}

/// Reads a manifest in TOML.
pub(super) fn read<T: DeserializeOwned>(file: &Path) -> Result<T, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::io(format!("cannot read {}", file.display()), &error))?;
    toml::from_str(&text).map_err(|error| {
        let message = format!("{} is not a manifest: {}", file.display(), error.to_string().trim_end());
        CliError::new(ExitKind::Invalid, "INVALID_MANIFEST", message)
    })
}

/// Uploads a module that is given as a file, and names it by its digest from then on. A manifest's paths are
/// relative to the manifest, a flag's to where one stands.
pub(super) fn push_module(
    global: &GlobalArgs,
    module: &mut String,
    manifest: Option<&Path>,
) -> Result<(), CliError> {
    if module.ends_with(".wasm") {
        let base = manifest.and_then(Path::parent).unwrap_or(Path::new(""));
        let pushed = module::push(global, &base.join(&*module), None)?;
        if let Some(digest) = pushed.get("digest").and_then(Value::as_str) {
            digest.clone_into(module);
        }
    }
    Ok(())
}
