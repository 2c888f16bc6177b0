//! The modules on disk: each as uploaded (`<digest>.wasm`), as machine code (`<digest>.cwasm`), and what is
//! known of both (`<digest>.json`, written last).
//!
//! Machine code is never trusted for lying there: the description, which only this broker writes, must
//! name its hash and the engine that it was made by, else it is made again from the checked module.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::plugin::{ModuleDescription, ModuleDigest, PluginError};

/// The directory of modules.
pub(super) struct ModuleStore {
    directory: PathBuf,
    engine_key: String,
}

/// The contents of a `.json` file.
#[derive(Serialize, Deserialize)]
struct Sidecar {
    /// The layout of this file.
    version: u32,
    /// The engine whose machine code lies beside it.
    engine_key: String,
    /// The hash of that machine code.
    compiled_digest: ModuleDigest,
    description: ModuleDescription,
}

const SIDECAR_VERSION: u32 = 1;

impl ModuleStore {
    pub(super) fn open(directory: &Path, engine: &Engine) -> Result<ModuleStore, PluginError> {
        fs::create_dir_all(directory).map_err(|error| failed("create", directory, &error))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_key = format!("{:016x}", hasher.finish());
        Ok(ModuleStore { directory: directory.to_owned(), engine_key })
    }

    /// Keeps a module with its machine code.
    pub(super) fn put(
        &self,
        module: &[u8],
        compiled: &[u8],
        description: &ModuleDescription,
    ) -> Result<(), PluginError> {
        let digest = &description.digest;
        let sidecar = Sidecar {
            version: SIDECAR_VERSION,
            engine_key: self.engine_key.clone(),
            compiled_digest: ModuleDigest::of(compiled),
            description: description.clone(),
        };
        let path = self.path(digest, "json");
        let json = serde_json::to_vec_pretty(&sidecar)
            .map_err(|error| failed("encode", &path, &std::io::Error::from(error)))?;
        self.write(&self.path(digest, "wasm"), module)?;
        self.write(&self.path(digest, "cwasm"), compiled)?;
        self.write(&path, &json)
    }

    /// The module as uploaded, checked against its digest.
    pub(super) fn module(&self, digest: &ModuleDigest) -> Result<Vec<u8>, PluginError> {
        let module = self.read(digest, "wasm")?;
        if ModuleDigest::of(&module) != *digest {
            let what = "its bytes do not match its digest".to_owned();
            return Err(PluginError::Damaged { digest: *digest, what });
        }
        Ok(module)
    }

    pub(super) fn describe(&self, digest: &ModuleDigest) -> Result<ModuleDescription, PluginError> {
        self.sidecar(digest).map(|sidecar| sidecar.description)
    }

    /// The stored machine code, if it was made by this engine and is whole; `None`: compile again.
    pub(super) fn component(
        &self,
        engine: &Engine,
        digest: &ModuleDigest,
    ) -> Option<(Component, ModuleDescription)> {
        let sidecar = self.sidecar(digest).ok()?;
        if sidecar.engine_key != self.engine_key || sidecar.description.digest != *digest {
            return None;
        }
        let compiled = self.read(digest, "cwasm").ok()?;
        if ModuleDigest::of(&compiled) != sidecar.compiled_digest {
            return None;
        }
        Some((deserialize(engine, &compiled)?, sidecar.description))
    }

    pub(super) fn list(&self) -> Result<Vec<ModuleDescription>, PluginError> {
        let entries =
            fs::read_dir(&self.directory).map_err(|error| failed("list", &self.directory, &error))?;
        let mut modules = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed("list", &self.directory, &error))?.path();
            let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(digest) = digest.filter(|_| path.extension().is_some_and(|ending| ending == "json")) {
                modules.push(self.describe(&digest)?);
            }
        }
        modules.sort_unstable_by_key(|module| module.digest);
        Ok(modules)
    }

    /// Forgets a module; its description goes first, so that a crash leaves nothing that looks whole.
    pub(super) fn remove(&self, digest: &ModuleDigest) -> Result<(), PluginError> {
        let path = self.path(digest, "json");
        fs::remove_file(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => PluginError::NotFound(*digest),
            _ => failed("remove", &path, &error),
        })?;
        for ending in ["cwasm", "wasm"] {
            let path = self.path(digest, ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed("remove", &path, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.sync_directory()
    }

    fn sidecar(&self, digest: &ModuleDigest) -> Result<Sidecar, PluginError> {
        let damaged = |what: String| PluginError::Damaged { digest: *digest, what };
        let json = self.read(digest, "json")?;
        let sidecar: Sidecar = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if sidecar.version != SIDECAR_VERSION {
            return Err(damaged(format!("its description has the unknown version {}", sidecar.version)));
        }
        Ok(sidecar)
    }

    fn path(&self, digest: &ModuleDigest, ending: &str) -> PathBuf {
        self.directory.join(format!("{digest}.{ending}"))
    }

    fn read(&self, digest: &ModuleDigest, ending: &str) -> Result<Vec<u8>, PluginError> {
        let path = self.path(digest, ending);
        fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => PluginError::NotFound(*digest),
            _ => failed("read", &path, &error),
        })
    }

    /// Writes a file that only this user can read or change, whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), PluginError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        // A leftover of a crash is in the way of `create_new`, which in turn never follows a planted link.
        let _ = fs::remove_file(&temporary);
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|error| failed("write", path, &error))?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<(), PluginError> {
        let sync = || File::open(&self.directory)?.sync_all();
        sync().map_err(|error| failed("sync", &self.directory, &error))
    }
}

/// Loads machine code whose hash was just found right.
#[allow(unsafe_code, reason = "loading machine code is what a compiled module is for; see the comment")]
fn deserialize(engine: &Engine, compiled: &[u8]) -> Option<Component> {
    // SAFETY: machine code can do anything, so it must be the engine's own. These bytes are the ones that
    // this broker wrote: their hash stands in a file that it made itself (mode 0600, renamed into place) in
    // its data directory. Whoever can forge both can replace the broker's own binary or data as well. The
    // engine itself refuses other versions and settings of itself.
    unsafe { Component::deserialize(engine, compiled) }.ok()
}

fn failed(operation: &'static str, path: &Path, error: &std::io::Error) -> PluginError {
    PluginError::Io { operation, path: path.display().to_string(), message: error.to_string() }
}
