//! Keeps the broker's interceptors as the catalogue says: at the start, and at every change.
//!
//! An attachment that cannot start is refused before anything is kept; one that was kept before is in
//! force from the start on, even if its module has gone bad since: then its policy for faults decides.

use super::log_topic::{LogKind, PluginLogs};
use super::logs::{LogPage, LogRing};
use super::registry::{Registry, RegistryError};
use crate::clock::Clock;
use crate::interceptor::{Attachment, Interceptors, Link, LinkFault};
use crate::plugin::{ModuleDigest, PluginError, PluginHost};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What attachments work with.
pub struct AttachmentsOptions {
    /// Where they are put to work.
    pub interceptors: Arc<Interceptors>,
    /// Where instances come from.
    pub host: Arc<dyn PluginHost>,
    /// What is attached.
    pub registry: Arc<Registry>,
    /// The time of log lines.
    pub clock: Clock,
    /// Where each attachment's log comes from.
    pub logs: PluginLogs,
}

/// Why an interceptor cannot be attached.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AttachError {
    /// The catalogue refuses it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The module cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// No instance could be made.
    #[error("the interceptor does not start: {0}")]
    Start(LinkFault),
}

/// Whether something was there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// It was not.
    New,
    /// It was, and works on with another definition.
    Replaced,
}

/// The keeper of all attachments.
pub struct Attachments {
    options: AttachmentsOptions,
    logs: Mutex<BTreeMap<String, Arc<LogRing>>>,
    /// One change at a time: each sees the links that the one before left behind.
    turn: tokio::sync::Mutex<()>,
}

impl Attachments {
    /// Puts everything to work that is attached. Nobody may produce or fetch before this is done.
    pub async fn start(options: AttachmentsOptions) -> Result<Attachments, PluginError> {
        let attachments = Attachments { options, logs: Mutex::default(), turn: tokio::sync::Mutex::new(()) };
        let mut links = Vec::new();
        for attachment in attachments.options.registry.interceptors() {
            let digest = digest_of(&attachment)?;
            let loaded = attachments.load(digest).await.map_err(|error| error.to_string());
            let link = attachments.make(attachment.as_ref().clone(), digest);
            let warm = link.warm_up().await.map_err(|fault| fault.to_string());
            if let Err(error) = loaded.and(warm) {
                let policy = attachment.on_fault;
                tracing::error!(
                    attachment = attachment.name,
                    error,
                    ?policy,
                    "an interceptor does not start"
                );
            }
            links.push(link);
        }
        attachments.options.interceptors.replace(links);
        Ok(attachments)
    }

    /// Attaches an interceptor; when this is done, every batch that comes passes it.
    pub async fn attach(&self, attachment: Attachment) -> Result<Attached, AttachError> {
        let _turn = self.turn.lock().await;
        let registry = &self.options.registry;
        registry.check_interceptor(&attachment)?;
        let attached = match registry.interceptor(&attachment.name) {
            None => Attached::New,
            Some(_) => Attached::Replaced,
        };
        let name = attachment.name.clone();
        let digest = digest_of(&attachment)?;
        self.load(digest).await?;
        let link = self.make(attachment.clone(), digest);
        let kept = match link.warm_up().await {
            Ok(()) => registry.put_interceptor(attachment).await.map_err(AttachError::from),
            Err(fault) => Err(AttachError::Start(fault)),
        };
        if kept.is_err() && attached == Attached::New {
            self.logs.lock().remove(&name);
        }
        kept?;
        let others = self.links_besides(&name);
        self.options.interceptors.replace(others.chain([link]).collect());
        Ok(attached)
    }

    /// Detaches an interceptor; batches that are in it already leave it in peace.
    pub async fn detach(&self, name: &str) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        self.options.registry.delete_interceptor(name).await?;
        let others = self.links_besides(name).collect();
        self.options.interceptors.replace(others);
        self.logs.lock().remove(name);
        Ok(())
    }

    /// The attachment at work.
    pub fn link(&self, name: &str) -> Option<Arc<Link>> {
        self.options.interceptors.link(name)
    }

    /// All attachments at work, in the order of chains.
    pub fn links(&self) -> Arc<Vec<Arc<Link>>> {
        self.options.interceptors.links()
    }

    /// The log lines of an attachment with numbers above `since`.
    pub fn logs(&self, name: &str, since: u64) -> Option<LogPage> {
        self.options.registry.interceptor(name)?;
        let nothing = LogPage { lines: Vec::new(), next: since, forgotten: 0 };
        Some(self.logs.lock().get(name).map_or(nothing, |ring| ring.page(since)))
    }

    fn links_besides(&self, name: &str) -> impl Iterator<Item = Arc<Link>> {
        let links = self.options.interceptors.links();
        let others: Vec<_> = links.iter().filter(|link| link.attachment().name != name).cloned().collect();
        others.into_iter()
    }

    async fn load(&self, digest: ModuleDigest) -> Result<(), PluginError> {
        let host = Arc::clone(&self.options.host);
        let loaded = tokio::task::spawn_blocking(move || host.load(&digest)).await;
        loaded.unwrap_or_else(|panic| Err(PluginError::Instantiate(panic.to_string())))
    }

    fn make(&self, attachment: Attachment, digest: ModuleDigest) -> Arc<Link> {
        let ring = {
            let mut logs = self.logs.lock();
            let new = || self.options.logs.ring(LogKind::Interceptor, &attachment.name);
            Arc::clone(logs.entry(attachment.name.clone()).or_insert_with(new))
        };
        let log = ring.sink(self.options.clock.clone(), attachment.name.clone());
        let host = Arc::clone(&self.options.host);
        self.options.interceptors.make(attachment, digest, host, log)
    }
}

fn digest_of(attachment: &Attachment) -> Result<ModuleDigest, PluginError> {
    attachment.module.parse().map_err(|error| PluginError::Instantiate(format!("{error}")))
}

#[cfg(test)]
mod tests;
