//! All attachments at work, looked up for every batch; replaced as a whole when the catalogue changes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::link::WarningRate;
use super::{Attachment, Chain, Link};
use crate::plugin::{Direction, LogSink, ModuleDigest, PluginHost};

/// How long instances may take all together for their last words.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Who sends or fetches records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// The principal, as Kafka writes it.
    pub principal: Arc<str>,
    /// What the client calls itself.
    pub client_id: String,
}

/// All attachments at work.
#[derive(Debug, Default)]
pub struct Interceptors {
    links: ArcSwap<Vec<Arc<Link>>>,
    tellers: Mutex<JoinSet<()>>,
    warnings: WarningRate,
}

impl Interceptors {
    /// The links that a batch passes, in order; `None` if there is none.
    pub fn chain(&self, direction: Direction, topic: &str, principal: &str) -> Option<Chain> {
        let links = self.links.load();
        let holding = links.iter().filter(|link| link.scope().holds(direction, topic, principal));
        let holding: Vec<Arc<Link>> = holding.cloned().collect();
        (!holding.is_empty()).then(|| Chain::new(direction, holding))
    }

    /// Whether a refusal that only the log can tell may be written there now.
    pub fn may_warn(&self) -> bool {
        self.warnings.is_due()
    }

    /// All links, in the order of chains.
    pub fn links(&self) -> Arc<Vec<Arc<Link>>> {
        self.links.load_full()
    }

    /// The link of an attachment.
    pub fn link(&self, name: &str) -> Option<Arc<Link>> {
        self.links.load().iter().find(|link| link.attachment().name == name).cloned()
    }

    /// A link that is in no chain yet. Needs the async runtime.
    pub fn make(
        &self,
        attachment: Attachment,
        digest: ModuleDigest,
        host: Arc<dyn PluginHost>,
        log: LogSink,
    ) -> Arc<Link> {
        let (link, teller) = Link::new(attachment, digest, host, log);
        let mut tellers = self.tellers.lock();
        while tellers.try_join_next().is_some() {}
        tellers.spawn(teller.run());
        Arc::new(link)
    }

    /// Puts these links, and no others, into all chains from now on. What they replace ends once no batch
    /// is under way in it.
    pub fn replace(&self, mut links: Vec<Arc<Link>>) {
        let place = |link: &Arc<Link>| (link.attachment().order, link.attachment().name.clone());
        links.sort_by_key(place);
        self.links.store(Arc::new(links));
    }

    /// Takes all links out of the chains and lets their instances say their last words.
    pub async fn close(&self) {
        self.replace(Vec::new());
        let mut tellers = std::mem::take(&mut *self.tellers.lock());
        let all = async { while tellers.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_MAX, all).await.is_err() {
            tracing::warn!("some interceptors did not close in time");
        }
    }
}
