//! What a module is called and what is known about it: digest, world, imports, sizes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The version of the contract package `tidemill:plugin` that this broker speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// A module's name: the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleDigest([u8; 32]);

impl ModuleDigest {
    /// The digest of a module's bytes.
    pub fn of(module: &[u8]) -> ModuleDigest {
        ModuleDigest(Sha256::digest(module).into())
    }

    /// The raw digest.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleDigest({self})")
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a module digest is 64 hexadecimal digits, with or without `sha256:` in front")]
pub struct NotADigest;

impl FromStr for ModuleDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<ModuleDigest, NotADigest> {
        let text = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let digit = |byte: u8| (byte as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let (pairs, rest) = text.as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(NotADigest);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low).ok_or(NotADigest)?;
        }
        Ok(ModuleDigest(bytes))
    }
}

impl serde::Serialize for ModuleDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ModuleDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ModuleDigest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of the contract's worlds a module was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// `processor-typed`: records cross as WIT records.
    ProcessorTyped,
    /// `processor-flat`: a batch crosses as one list of bytes.
    ProcessorFlat,
    /// `interceptor-typed`: records and verdicts cross as WIT records.
    InterceptorTyped,
    /// `interceptor-flat`: a batch and its verdicts cross as lists of bytes.
    InterceptorFlat,
    /// `partitioner-typed`: records cross as WIT records.
    PartitionerTyped,
    /// `partitioner-flat`: a batch crosses as one list of bytes.
    PartitionerFlat,
}

/// What a module can be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PluginKind {
    /// It reads topics and writes topics.
    Processor,
    /// It judges records on their way between clients and topics.
    Interceptor,
    /// It chooses the partitions that records go to.
    Partitioner,
}

impl World {
    /// All worlds.
    pub const ALL: [World; 6] = [
        World::ProcessorFlat,
        World::ProcessorTyped,
        World::InterceptorFlat,
        World::InterceptorTyped,
        World::PartitionerFlat,
        World::PartitionerTyped,
    ];

    /// What modules of this world can be used as.
    pub const fn kind(self) -> PluginKind {
        match self {
            World::ProcessorTyped | World::ProcessorFlat => PluginKind::Processor,
            World::InterceptorTyped | World::InterceptorFlat => PluginKind::Interceptor,
            World::PartitionerTyped | World::PartitionerFlat => PluginKind::Partitioner,
        }
    }

    /// The interface that a module of this world exports, without its version.
    pub const fn interface(self) -> &'static str {
        match self {
            World::ProcessorTyped => "tidemill:plugin/typed-processor",
            World::ProcessorFlat => "tidemill:plugin/flat-processor",
            World::InterceptorTyped => "tidemill:plugin/typed-interceptor",
            World::InterceptorFlat => "tidemill:plugin/flat-interceptor",
            World::PartitionerTyped => "tidemill:plugin/typed-partitioner",
            World::PartitionerFlat => "tidemill:plugin/flat-partitioner",
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PluginKind::Processor => "processor",
            PluginKind::Interceptor => "interceptor",
            PluginKind::Partitioner => "partitioner",
        })
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            World::ProcessorTyped => "processor-typed",
            World::ProcessorFlat => "processor-flat",
            World::InterceptorTyped => "interceptor-typed",
            World::InterceptorFlat => "interceptor-flat",
            World::PartitionerTyped => "partitioner-typed",
            World::PartitionerFlat => "partitioner-flat",
        })
    }
}

/// What is known about a stored module.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModuleDescription {
    /// The module's name.
    pub digest: ModuleDigest,
    /// The world that it exports.
    pub world: World,
    /// The version of the contract that it was built against.
    pub contract_version: String,
    /// The interfaces that it imports, by their full names, sorted.
    pub imports: Vec<String>,
    /// The functions and interfaces that it exports, sorted.
    pub exports: Vec<String>,
    /// The size of the module as uploaded.
    pub module_bytes: u64,
    /// The size of the machine code made from it.
    pub compiled_bytes: u64,
    /// How long compiling took, in milliseconds.
    pub compile_ms: u64,
}

impl ModuleDescription {
    /// How long compiling took.
    pub fn compile_time(&self) -> Duration {
        Duration::from_millis(self.compile_ms)
    }
}

#[cfg(test)]
mod tests;
