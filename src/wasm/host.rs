//! The host: upload, the modules in memory, and making instances.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::flat::ProcessorFlatPre;
use super::bindings::flat_interceptor::InterceptorFlatPre;
use super::bindings::flat_partitioner::PartitionerFlatPre;
use super::bindings::typed::ProcessorTypedPre;
use super::bindings::typed_interceptor::InterceptorTypedPre;
use super::bindings::typed_partitioner::PartitionerTypedPre;
use super::engine::{self, Ticker};
use super::state::{self, Calls, GuestState};
use super::store::ModuleStore;
use super::upload;
use super::{instance, interceptor, partitioner};
use crate::plugin::{
    InstanceOptions, InterceptorInstance, InterceptorOptions, ModuleDescription, ModuleDigest,
    PartitionerInstance, PartitionerOptions, PluginError, PluginHost, PluginKind, ProcessorInstance, World,
};
use futures_util::future::BoxFuture;

/// Where a host keeps its modules, and how big they may be.
#[derive(Clone, Debug)]
pub struct WasmHostOptions {
    /// The directory of modules; made if it is not there.
    pub modules_directory: PathBuf,
    /// The largest module that is taken.
    pub module_bytes_max: u64,
}

impl WasmHostOptions {
    /// The default bounds (64 MiB a module: fits Python and JavaScript), with this directory.
    pub fn new(modules_directory: impl Into<PathBuf>) -> WasmHostOptions {
        WasmHostOptions { modules_directory: modules_directory.into(), module_bytes_max: 64 << 20 }
    }
}

/// Runs users' modules with wasmtime.
pub struct WasmHost {
    engine: Engine,
    linker: Linker<GuestState>,
    yielding_linker: Linker<GuestState>,
    ticker: Arc<Ticker>,
    store: ModuleStore,
    loaded: Mutex<BTreeMap<ModuleDigest, Arc<Loaded>>>,
    /// One compilation at a time, which itself uses several threads.
    compiling: Mutex<()>,
    module_bytes_max: u64,
}

/// A module ready to be instantiated.
pub(super) struct Loaded {
    pub(super) pre: LoadedWorld,
}

pub(super) enum LoadedWorld {
    Flat(ProcessorFlatPre<GuestState>),
    Typed(ProcessorTypedPre<GuestState>),
    FlatInterceptor(InterceptorFlatPre<GuestState>),
    TypedInterceptor(InterceptorTypedPre<GuestState>),
    FlatPartitioner(PartitionerFlatPre<GuestState>),
    TypedPartitioner(PartitionerTypedPre<GuestState>),
}

impl WasmHost {
    /// Starts the engine and opens the directory of modules. Nothing is loaded yet.
    pub fn open(options: &WasmHostOptions) -> Result<WasmHost, PluginError> {
        let start = |error: wasmtime::Error| {
            PluginError::Instantiate(format!("the engine does not start: {error:#}"))
        };
        let engine = Engine::new(&engine::config()).map_err(start)?;
        let linker = state::linker(&engine, Calls::Blocking).map_err(start)?;
        let yielding_linker = state::linker(&engine, Calls::Yielding).map_err(start)?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| {
            PluginError::Instantiate(format!("the engine's ticker does not start: {error}"))
        })?;
        let store = ModuleStore::open(&options.modules_directory, &engine)?;
        Ok(WasmHost {
            engine,
            linker,
            yielding_linker,
            ticker: Arc::new(ticker),
            store,
            loaded: Mutex::default(),
            compiling: Mutex::default(),
            module_bytes_max: options.module_bytes_max,
        })
    }

    fn build(&self, module: &[u8]) -> Result<(Loaded, ModuleDescription, Vec<u8>), PluginError> {
        let refused = |error: wasmtime::Error| PluginError::Compile(format!("{error:#}"));
        let start = engine::now();
        let component = Component::from_binary(&self.engine, module).map_err(refused)?;
        let compile_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let interface = upload::check_interface(&component.component_type(), &self.engine)?;
        let loaded = self.link(&component, interface.world)?;
        let compiled = component.serialize().map_err(refused)?;
        let description = ModuleDescription {
            digest: ModuleDigest::of(module),
            world: interface.world,
            contract_version: interface.contract_version,
            imports: interface.imports,
            exports: interface.exports,
            module_bytes: module.len() as u64,
            compiled_bytes: compiled.len() as u64,
            compile_ms,
        };
        Ok((loaded, description, compiled))
    }

    /// Checks all types of imports and exports, down to the last parameter.
    fn link(&self, component: &Component, world: World) -> Result<Loaded, PluginError> {
        let imports = |error: wasmtime::Error| {
            PluginError::ImportsNotOffered(format!(
                "the module's imports do not fit what is offered: {error:#}"
            ))
        };
        let exports = |error: wasmtime::Error| {
            PluginError::WrongWorld(format!("the module's exports do not fit the world {world}: {error:#}"))
        };
        let linker = match world.kind() {
            PluginKind::Processor | PluginKind::Partitioner => &self.linker,
            PluginKind::Interceptor => &self.yielding_linker,
        };
        let pre = linker.instantiate_pre(component).map_err(imports)?;
        let pre = match world {
            World::ProcessorFlat => LoadedWorld::Flat(ProcessorFlatPre::new(pre).map_err(exports)?),
            World::ProcessorTyped => LoadedWorld::Typed(ProcessorTypedPre::new(pre).map_err(exports)?),
            World::InterceptorFlat => {
                LoadedWorld::FlatInterceptor(InterceptorFlatPre::new(pre).map_err(exports)?)
            }
            World::InterceptorTyped => {
                LoadedWorld::TypedInterceptor(InterceptorTypedPre::new(pre).map_err(exports)?)
            }
            World::PartitionerFlat => {
                LoadedWorld::FlatPartitioner(PartitionerFlatPre::new(pre).map_err(exports)?)
            }
            World::PartitionerTyped => {
                LoadedWorld::TypedPartitioner(PartitionerTypedPre::new(pre).map_err(exports)?)
            }
        };
        Ok(Loaded { pre })
    }

    fn loaded(&self, digest: &ModuleDigest) -> Result<Arc<Loaded>, PluginError> {
        if let Some(loaded) = self.loaded.lock().get(digest) {
            return Ok(Arc::clone(loaded));
        }
        let _one_at_a_time = self.compiling.lock();
        if let Some(loaded) = self.loaded.lock().get(digest) {
            return Ok(Arc::clone(loaded));
        }
        let loaded = match self.store.component(&self.engine, digest) {
            Some((component, description)) => self.link(&component, description.world)?,
            None => {
                let module = self.store.module(digest)?;
                let (loaded, description, compiled) = self.build(&module)?;
                self.store.put(&module, &compiled, &description)?;
                loaded
            }
        };
        let loaded = Arc::new(loaded);
        self.loaded.lock().insert(*digest, Arc::clone(&loaded));
        Ok(loaded)
    }
}

impl PluginHost for WasmHost {
    fn compile(&self, module: &[u8]) -> Result<ModuleDescription, PluginError> {
        let bytes = module.len() as u64;
        if bytes > self.module_bytes_max {
            return Err(PluginError::TooLarge { bytes, bytes_max: self.module_bytes_max });
        }
        upload::check_format(module)?;
        let digest = ModuleDigest::of(module);
        let _one_at_a_time = self.compiling.lock();
        if self.loaded.lock().contains_key(&digest) {
            return self.store.describe(&digest);
        }
        let stored = self.store.component(&self.engine, &digest);
        let (loaded, description) = match stored.filter(|_| self.store.module(&digest).is_ok()) {
            Some((component, description)) => (self.link(&component, description.world)?, description),
            None => {
                let (loaded, description, compiled) = self.build(module)?;
                self.store.put(module, &compiled, &description)?;
                (loaded, description)
            }
        };
        self.loaded.lock().insert(digest, Arc::new(loaded));
        Ok(description)
    }

    fn load(&self, digest: &ModuleDigest) -> Result<(), PluginError> {
        self.loaded(digest).map(|_| ())
    }

    fn describe(&self, digest: &ModuleDigest) -> Result<ModuleDescription, PluginError> {
        self.store.describe(digest)
    }

    fn list(&self) -> Result<Vec<ModuleDescription>, PluginError> {
        self.store.list()
    }

    fn remove(&self, digest: &ModuleDigest) -> Result<(), PluginError> {
        let _not_while_loading = self.compiling.lock();
        self.loaded.lock().remove(digest);
        self.store.remove(digest)
    }

    fn instantiate(
        &self,
        digest: &ModuleDigest,
        options: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError> {
        let loaded = self.loaded(digest)?;
        let instance = instance::start(&self.engine, Arc::clone(&self.ticker), &loaded.pre, &options)?;
        Ok(Box::new(instance))
    }

    fn instantiate_interceptor<'a>(
        &'a self,
        digest: &'a ModuleDigest,
        options: InterceptorOptions,
    ) -> BoxFuture<'a, Result<Box<dyn InterceptorInstance>, PluginError>> {
        match self.loaded.lock().get(digest).cloned() {
            Some(loaded) => interceptor::start(&self.engine, Arc::clone(&self.ticker), loaded, options),
            None => Box::pin(std::future::ready(Err(PluginError::NotFound(*digest)))),
        }
    }

    fn instantiate_partitioner(
        &self,
        digest: &ModuleDigest,
        options: PartitionerOptions,
    ) -> Result<Box<dyn PartitionerInstance>, PluginError> {
        let loaded = self.loaded(digest)?;
        let instance = partitioner::start(&self.engine, Arc::clone(&self.ticker), &loaded.pre, &options)?;
        Ok(Box::new(instance))
    }
}
