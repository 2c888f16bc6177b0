//! The catalogue of what is deployed: modules by digest and name, processors, attachments of interceptors; beside
//! them the broker's own processors, which follow from its topics and are not kept.
//!
//! A fold over records: a change is decided here, persisted by the caller's function, and only then
//! applied, so that what anyone sees has already been kept. Knows no files, no topics, no tasks.

use super::definition::{DefinitionError, ProcessorDefinition, RunMode};
use crate::broker::{KeptGroupNames, PartitionerModules};
use crate::ids::{GroupId, TopicName};
use crate::interceptor::{Attachment, AttachmentError};
use crate::plugin::{PluginKind, World};
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Keeps one record durably; answers why it could not.
pub type Persist = Arc<dyn Fn(RegistryRecord) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// One change of the catalogue, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryRecord {
    /// A module is known from now on, or has another set of names.
    PutModule(ModuleEntry),
    /// A module is gone.
    DeleteModule {
        /// Its digest.
        digest: String,
    },
    /// A processor is deployed or replaced.
    PutProcessor(Box<ProcessorDefinition>),
    /// A processor is gone.
    DeleteProcessor {
        /// Its name.
        name: String,
    },
    /// An interceptor is attached, or its attachment replaced.
    PutInterceptor(Box<Attachment>),
    /// An interceptor is detached.
    DeleteInterceptor {
        /// The attachment's name.
        name: String,
    },
}

impl RegistryRecord {
    /// What the record is about: a later record of the same key replaces it.
    pub fn key(&self) -> String {
        match self {
            RegistryRecord::PutModule(ModuleEntry { digest, .. })
            | RegistryRecord::DeleteModule { digest } => format!("module/{digest}"),
            RegistryRecord::PutProcessor(definition) => format!("processor/{}", definition.name),
            RegistryRecord::DeleteProcessor { name } => format!("processor/{name}"),
            RegistryRecord::PutInterceptor(attachment) => format!("interceptor/{}", attachment.name),
            RegistryRecord::DeleteInterceptor { name } => format!("interceptor/{name}"),
        }
    }

    /// Whether the record says that something is gone.
    pub fn is_deletion(&self) -> bool {
        match self {
            RegistryRecord::PutModule(_)
            | RegistryRecord::PutProcessor(_)
            | RegistryRecord::PutInterceptor(_) => false,
            RegistryRecord::DeleteModule { .. }
            | RegistryRecord::DeleteProcessor { .. }
            | RegistryRecord::DeleteInterceptor { .. } => true,
        }
    }

    /// The record as MessagePack with field names, so that later versions may add fields.
    pub fn encode(&self) -> Result<Vec<u8>, RegistryError> {
        rmp_serde::to_vec_named(self).map_err(|error| RegistryError::Persist(error.to_string()))
    }

    /// The record of these bytes.
    pub fn decode(bytes: &[u8]) -> Result<RegistryRecord, RegistryError> {
        rmp_serde::from_slice(bytes).map_err(|error| RegistryError::Persist(error.to_string()))
    }
}

/// What the catalogue knows of a module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ModuleEntry {
    /// SHA-256 of the module's bytes, in hexadecimal.
    pub digest: String,
    /// The names it was uploaded under; a name belongs to the last module uploaded under it.
    #[serde(default)]
    pub names: BTreeSet<String>,
    /// Which kind of plugin it is.
    pub world: String,
    /// What it imports.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Its size as uploaded.
    #[serde(default)]
    pub module_bytes: u64,
    /// The size of its compiled form.
    #[serde(default)]
    pub compiled_bytes: u64,
    /// How long compiling took.
    #[serde(default)]
    pub compile_ms: u64,
}

/// Why the catalogue refuses a change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The definition breaks a rule.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// No module has this digest, digest prefix or name.
    #[error("there is no module \"{0}\"")]
    UnknownModule(String),
    /// More than one module's digest begins like this.
    #[error("\"{prefix}\" is the beginning of {count} modules' digests")]
    AmbiguousModule {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// A module that is in use cannot be deleted.
    #[error("module {digest} is used by {}", .users.join(", "))]
    ModuleInUse {
        /// The module.
        digest: String,
        /// The processors, interceptors and topics that use it.
        users: Vec<String>,
    },
    /// A module cannot be used as what it is not.
    #[error("module {digest} is for the world {world}: it is no {wanted}")]
    WrongKind {
        /// The module.
        digest: String,
        /// Its world.
        world: String,
        /// What is needed.
        wanted: PluginKind,
    },
    /// A name that topics use for their partitioner cannot become another kind of module's.
    #[error(
        "the name \"{name}\" is the partitioner's of topic {topic}, and the module is for the world {world}"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// The topic.
        topic: TopicName,
        /// What the module is.
        world: String,
    },
    /// The attachment breaks a rule.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// No interceptor of this name is attached.
    #[error("there is no interceptor \"{0}\"")]
    UnknownInterceptor(String),
    /// No processor has this name.
    #[error("there is no processor \"{0}\"")]
    UnknownProcessor(String),
    /// The broker's own processors come and go with their topics.
    #[error("processor \"{name}\" is the broker's own and belongs to topic {topic}: it cannot be {verb}")]
    BuiltIn {
        /// The processor.
        name: String,
        /// The topic whose records it moves.
        topic: TopicName,
        /// What somebody wants of it.
        verb: &'static str,
    },
    /// The change could not be kept, and did not happen.
    #[error("the change could not be stored: {0}")]
    Persist(String),
}

#[derive(Clone, Default, Debug)]
struct Catalogue {
    modules: BTreeMap<String, ModuleEntry>,
    processors: BTreeMap<String, Arc<ProcessorDefinition>>,
    interceptors: BTreeMap<String, Arc<Attachment>>,
    movers: BTreeMap<String, Arc<ProcessorDefinition>>,
    /// What topics call their partitioners.
    topic_partitioners: BTreeMap<TopicName, String>,
}

impl Catalogue {
    fn apply(&mut self, record: &RegistryRecord) {
        match record {
            RegistryRecord::PutModule(entry) => {
                for other in self.modules.values_mut().filter(|other| other.digest != entry.digest) {
                    other.names.retain(|name| !entry.names.contains(name));
                }
                self.modules.insert(entry.digest.clone(), entry.clone());
            }
            RegistryRecord::DeleteModule { digest } => {
                self.modules.remove(digest);
            }
            RegistryRecord::PutProcessor(definition) => {
                self.processors.insert(definition.name.clone(), Arc::new(definition.as_ref().clone()));
            }
            RegistryRecord::DeleteProcessor { name } => {
                self.processors.remove(name);
            }
            RegistryRecord::PutInterceptor(attachment) => {
                self.interceptors.insert(attachment.name.clone(), Arc::new(attachment.as_ref().clone()));
            }
            RegistryRecord::DeleteInterceptor { name } => {
                self.interceptors.remove(name);
            }
        }
    }

    fn users_of(&self, digest: &str) -> Vec<String> {
        let uses = |processor: &&Arc<ProcessorDefinition>| {
            let mut partitioners = processor.partitioners.values();
            processor.module == digest
                || partitioners.any(|partitioner| partitioner.module == digest)
                || processor.then.iter().any(|stage| stage.module == digest)
        };
        let processors = self.processors.values().filter(uses).map(|processor| processor.name.clone());
        let interceptors = self.interceptors.values().filter(|attachment| attachment.module == digest);
        let interceptors = interceptors.map(|attachment| attachment.name.clone());
        let topics = self.topic_partitioners.iter().filter(|(_, module)| self.names(digest, module));
        let topics = topics.map(|(topic, _)| format!("topic {topic}"));
        processors.chain(interceptors).chain(topics).collect()
    }

    /// Whether a topic that calls its partitioner like this means the module of this digest.
    fn names(&self, digest: &str, module: &str) -> bool {
        module == digest || self.modules.get(digest).is_some_and(|entry| entry.names.contains(module))
    }

    /// All that topics may call a partitioner.
    fn partitioner_names(&self) -> BTreeSet<String> {
        let is_partitioner = |entry: &&ModuleEntry| kind_of(entry) == Some(PluginKind::Partitioner);
        let partitioners = self.modules.values().filter(is_partitioner);
        partitioners.flat_map(|entry| entry.names.iter().chain([&entry.digest])).cloned().collect()
    }

    /// The groups under which users' processors commit, running or paused.
    fn groups(&self) -> BTreeSet<GroupId> {
        self.processors.values().map(|processor| processor.group()).collect()
    }

    /// Whether a module is there, and is what it is to be used as.
    fn check_module(&self, digest: &str, wanted: PluginKind) -> Result<(), RegistryError> {
        let entry = self.modules.get(digest).ok_or_else(|| RegistryError::UnknownModule(digest.into()))?;
        check_kind(entry, wanted)
    }
}

fn kind_of(entry: &ModuleEntry) -> Option<PluginKind> {
    World::ALL.into_iter().find(|world| world.to_string() == entry.world).map(World::kind)
}

fn check_kind(entry: &ModuleEntry, wanted: PluginKind) -> Result<(), RegistryError> {
    if kind_of(entry) == Some(wanted) {
        return Ok(());
    }
    let (digest, world) = (entry.digest.clone(), entry.world.clone());
    Err(RegistryError::WrongKind { digest, world, wanted })
}

/// The catalogue, shared by the admin API and the supervisor.
pub struct Registry {
    catalogue: RwLock<Catalogue>,
    /// One change at a time: decided on what the one before it left behind.
    turn: tokio::sync::Mutex<()>,
    persist: Persist,
    version: watch::Sender<u64>,
    partitioner_modules: Arc<PartitionerModules>,
    kept_groups: Arc<KeptGroupNames>,
}

impl Registry {
    /// An empty catalogue whose changes are kept by `persist`.
    pub fn new(persist: Persist) -> Registry {
        Registry {
            catalogue: RwLock::default(),
            turn: tokio::sync::Mutex::new(()),
            persist,
            version: watch::Sender::new(0),
            partitioner_modules: Arc::default(),
            kept_groups: Arc::default(),
        }
    }

    /// The names and digests that topics may use for their partitioners: always as the catalogue is now.
    pub fn partitioner_modules(&self) -> Arc<PartitionerModules> {
        Arc::clone(&self.partitioner_modules)
    }

    /// The groups whose offsets must not expire: always as the catalogue is now.
    pub fn kept_groups(&self) -> Arc<KeptGroupNames> {
        Arc::clone(&self.kept_groups)
    }

    /// A catalogue that forgets everything when it is dropped.
    pub fn volatile() -> Registry {
        Registry::new(Arc::new(|_| Box::pin(std::future::ready(Ok(())))))
    }

    /// Applies a record that is already kept: at the start, or when another node wrote it.
    pub fn replay(&self, record: &RegistryRecord) {
        {
            let mut catalogue = self.catalogue.write();
            catalogue.apply(record);
            self.partitioner_modules.store(Arc::new(catalogue.partitioner_names()));
            self.kept_groups.store(Arc::new(catalogue.groups()));
        }
        self.version.send_modify(|version| *version += 1);
    }

    /// Wakes at every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Every processor, by name.
    pub fn processors(&self) -> Vec<Arc<ProcessorDefinition>> {
        self.catalogue.read().processors.values().cloned().collect()
    }

    /// One processor.
    pub fn processor(&self, name: &str) -> Option<Arc<ProcessorDefinition>> {
        self.catalogue.read().processors.get(name).cloned()
    }

    /// The broker's own processors, by name.
    pub fn movers(&self) -> Vec<Arc<ProcessorDefinition>> {
        self.catalogue.read().movers.values().cloned().collect()
    }

    /// Everything that runs: users' processors and the broker's own.
    pub fn definitions(&self) -> Vec<Arc<ProcessorDefinition>> {
        let catalogue = self.catalogue.read();
        catalogue.processors.values().chain(catalogue.movers.values()).cloned().collect()
    }

    /// One of those that run.
    pub fn definition(&self, name: &str) -> Option<Arc<ProcessorDefinition>> {
        let catalogue = self.catalogue.read();
        catalogue.processors.get(name).or_else(|| catalogue.movers.get(name)).cloned()
    }

    /// Replaces the broker's own processors, and what topics call their partitioners.
    pub fn set_movers(
        &self,
        movers: impl IntoIterator<Item = ProcessorDefinition>,
        topic_partitioners: BTreeMap<TopicName, String>,
    ) {
        let mut catalogue = self.catalogue.write();
        let known = std::mem::take(&mut catalogue.movers);
        let same_or_new = |mover: ProcessorDefinition| {
            let same = known.get(&mover.name).filter(|same| ***same == mover).cloned();
            (mover.name.clone(), same.unwrap_or_else(|| Arc::new(mover)))
        };
        catalogue.movers = movers.into_iter().map(same_or_new).collect();
        catalogue.topic_partitioners = topic_partitioners;
        let changed = catalogue.movers != known;
        drop(catalogue);
        if changed {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Every attachment of an interceptor, by name.
    pub fn interceptors(&self) -> Vec<Arc<Attachment>> {
        self.catalogue.read().interceptors.values().cloned().collect()
    }

    /// One attachment.
    pub fn interceptor(&self, name: &str) -> Option<Arc<Attachment>> {
        self.catalogue.read().interceptors.get(name).cloned()
    }

    /// Every module, by digest.
    pub fn modules(&self) -> Vec<ModuleEntry> {
        self.catalogue.read().modules.values().cloned().collect()
    }

    /// The module of a name, a digest, or the beginning of a digest.
    pub fn module(&self, wanted: &str) -> Result<ModuleEntry, RegistryError> {
        let catalogue = self.catalogue.read();
        let named = catalogue.modules.values().find(|entry| entry.names.contains(wanted));
        if let Some(entry) = catalogue.modules.get(wanted).or(named) {
            return Ok(entry.clone());
        }
        let unknown = || RegistryError::UnknownModule(wanted.into());
        if wanted.is_empty() {
            return Err(unknown());
        }
        let mut matching = catalogue.modules.values().filter(|entry| entry.digest.starts_with(wanted));
        let first = matching.next().ok_or_else(unknown)?;
        match matching.count() {
            0 => Ok(first.clone()),
            more => Err(RegistryError::AmbiguousModule { prefix: wanted.into(), count: more + 1 }),
        }
    }

    /// The module of a name or digest, if it is of this kind.
    pub fn module_of_kind(&self, wanted: &str, kind: PluginKind) -> Result<ModuleEntry, RegistryError> {
        let entry = self.module(wanted)?;
        check_kind(&entry, kind)?;
        Ok(entry)
    }

    /// The names of the processors, interceptors and topics that use this module.
    pub fn users_of(&self, digest: &str) -> Vec<String> {
        self.catalogue.read().users_of(digest)
    }

    /// Keeps a module; a name that another module had moves here.
    pub async fn put_module(&self, mut entry: ModuleEntry) -> Result<ModuleEntry, RegistryError> {
        let _turn = self.turn.lock().await;
        if let Ok(known) = self.module(&entry.digest) {
            entry.names.extend(known.names);
        }
        self.check_names(&entry)?;
        self.commit(RegistryRecord::PutModule(entry.clone())).await?;
        Ok(entry)
    }

    fn check_names(&self, entry: &ModuleEntry) -> Result<(), RegistryError> {
        if kind_of(entry) == Some(PluginKind::Partitioner) {
            return Ok(());
        }
        let catalogue = self.catalogue.read();
        match catalogue.topic_partitioners.iter().find(|(_, name)| entry.names.contains(*name)) {
            None => Ok(()),
            Some((topic, name)) => Err(RegistryError::NameInUse {
                name: name.clone(),
                topic: topic.clone(),
                world: entry.world.clone(),
            }),
        }
    }

    /// Forgets a module that nothing uses.
    pub async fn delete_module(&self, wanted: &str) -> Result<ModuleEntry, RegistryError> {
        let _turn = self.turn.lock().await;
        let entry = self.module(wanted)?;
        let users = self.users_of(&entry.digest);
        if !users.is_empty() {
            return Err(RegistryError::ModuleInUse { digest: entry.digest, users });
        }
        self.commit(RegistryRecord::DeleteModule { digest: entry.digest.clone() }).await?;
        Ok(entry)
    }

    /// Checks a definition against everything deployed, without changing anything.
    pub fn check_processor(&self, definition: &ProcessorDefinition) -> Result<(), RegistryError> {
        let catalogue = self.catalogue.read();
        definition.validate(catalogue.processors.values().map(Arc::as_ref))?;
        for partitioner in definition.partitioners.values() {
            catalogue.check_module(&partitioner.module, PluginKind::Partitioner)?;
        }
        for stage in &definition.then {
            catalogue.check_module(&stage.module, PluginKind::Processor)?;
        }
        catalogue.check_module(&definition.module, PluginKind::Processor)
    }

    /// Checks an attachment against what is there, without changing anything.
    pub fn check_interceptor(&self, attachment: &Attachment) -> Result<(), RegistryError> {
        attachment.validate()?;
        self.catalogue.read().check_module(&attachment.module, PluginKind::Interceptor)
    }

    /// Attaches an interceptor, or replaces its attachment.
    pub async fn put_interceptor(&self, attachment: Attachment) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        self.check_interceptor(&attachment)?;
        self.commit(RegistryRecord::PutInterceptor(Box::new(attachment))).await
    }

    /// Detaches an interceptor.
    pub async fn delete_interceptor(&self, name: &str) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        if self.interceptor(name).is_none() {
            return Err(RegistryError::UnknownInterceptor(name.into()));
        }
        self.commit(RegistryRecord::DeleteInterceptor { name: name.into() }).await
    }

    /// Deploys or replaces a processor.
    pub async fn put_processor(&self, definition: ProcessorDefinition) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        self.check_processor(&definition)?;
        self.commit(RegistryRecord::PutProcessor(Box::new(definition))).await
    }

    /// Forgets a processor; its committed offsets stay with the group, and may expire from now on.
    pub async fn delete_processor(&self, name: &str) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        self.users_processor(name, "deleted")?;
        self.commit(RegistryRecord::DeleteProcessor { name: name.into() }).await
    }

    /// Pauses or resumes a processor; `cause` is why, if it is not that a person wants it.
    pub async fn set_run_mode(
        &self,
        name: &str,
        run: RunMode,
        cause: Option<String>,
    ) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        let verb = match run {
            RunMode::Running => "resumed",
            RunMode::Paused => "paused",
        };
        let known = self.users_processor(name, verb)?;
        if known.run == run {
            return Ok(());
        }
        let definition = ProcessorDefinition { run, pause_cause: cause, ..known.as_ref().clone() };
        self.commit(RegistryRecord::PutProcessor(Box::new(definition))).await
    }

    /// The processor that somebody has deployed, to change it.
    fn users_processor(
        &self,
        name: &str,
        verb: &'static str,
    ) -> Result<Arc<ProcessorDefinition>, RegistryError> {
        let catalogue = self.catalogue.read();
        if let Some(processor) = catalogue.processors.get(name) {
            return Ok(Arc::clone(processor));
        }
        match catalogue.movers.get(name).and_then(|mover| mover.outputs.first()) {
            Some(topic) => Err(RegistryError::BuiltIn { name: name.into(), topic: topic.clone(), verb }),
            None => Err(RegistryError::UnknownProcessor(name.into())),
        }
    }

    async fn commit(&self, record: RegistryRecord) -> Result<(), RegistryError> {
        (self.persist)(record.clone()).await.map_err(RegistryError::Persist)?;
        self.replay(&record);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
