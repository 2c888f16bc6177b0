//! Why a module was refused or an instance could not be made, in sentences for the person who uploaded it.

use crate::plugin::{ModuleDigest, PluginKind, ProcessFault};

/// A failure outside of a processing call: upload, loading, instantiation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// This build has no engine.
    #[error("this build of Tidemill has no WebAssembly engine (it was compiled without the `wasm` feature)")]
    Disabled,
    /// The bytes are no WebAssembly at all.
    #[error("this is not a WebAssembly file: {found}")]
    NotWebAssembly {
        /// What the bytes look like instead.
        found: String,
    },
    /// A core module where a component is needed.
    #[error(
        "this is a core WebAssembly module, and plugins must be components: build for wasm32-wasip2, or wrap \
         the module with `wasm-tools component new`"
    )]
    CoreModule,
    /// A component that does not export a processor.
    #[error("{0}")]
    WrongWorld(String),
    /// A module that is a plugin, but of another kind.
    #[error("the module is no {wanted}")]
    WrongKind {
        /// What is needed.
        wanted: PluginKind,
    },
    /// A component that asks for imports that are not offered.
    #[error("{0}")]
    ImportsNotOffered(String),
    /// More bytes than the configured bound.
    #[error("the module has {bytes} bytes, and the limit is {bytes_max}")]
    TooLarge {
        /// The module's size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The engine refused it while compiling.
    #[error("the module does not compile: {0}")]
    Compile(String),
    /// No module of that digest is stored here.
    #[error("there is no module {0} here: upload it first")]
    NotFound(ModuleDigest),
    /// A stored module no longer matches its digest.
    #[error("the stored module {digest} is damaged ({what}): upload it again")]
    Damaged {
        /// The module.
        digest: ModuleDigest,
        /// What does not match.
        what: String,
    },
    /// The guest's `init` answered with an error: usually a mistake in its config.
    #[error("the plugin refused to start: {0}")]
    InitRefused(String),
    /// The guest's `init` trapped or ran over a limit.
    #[error("the plugin failed while starting: {0}")]
    InitFailed(ProcessFault),
    /// The instance could not be made within its limits.
    #[error("the plugin cannot be instantiated: {0}")]
    Instantiate(String),
    /// Reading or writing the module store failed.
    #[error("{operation} {path}: {message}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// The system's answer.
        message: String,
    },
}
