//! The plugin host of a build without the `wasm` feature: refuses everything with a sentence.
//!
//! It exists so that no other room needs to ask which features were compiled in.

use crate::plugin::{
    InstanceOptions, ModuleDescription, ModuleDigest, PluginError, PluginHost, ProcessorInstance,
};

/// Refuses every module, because this build has no WebAssembly engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DisabledHost;

impl PluginHost for DisabledHost {
    fn compile(&self, _module: &[u8]) -> Result<ModuleDescription, PluginError> {
        Err(PluginError::Disabled)
    }

    fn load(&self, _digest: &ModuleDigest) -> Result<(), PluginError> {
        Err(PluginError::Disabled)
    }

    fn describe(&self, _digest: &ModuleDigest) -> Result<ModuleDescription, PluginError> {
        Err(PluginError::Disabled)
    }

    fn list(&self) -> Result<Vec<ModuleDescription>, PluginError> {
        Ok(Vec::new())
    }

    fn remove(&self, _digest: &ModuleDigest) -> Result<(), PluginError> {
        Err(PluginError::Disabled)
    }

    fn instantiate(
        &self,
        _digest: &ModuleDigest,
        _options: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError> {
        Err(PluginError::Disabled)
    }
}
