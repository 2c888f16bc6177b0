//! Fetching: several partitions at once, waiting until there is enough or time is up.
//!
//! A read-committed fetch waits for the last stable offset, others for the high watermark.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::fetch_sessions::{
    FetchContents, FetchContext, FetchKey, FetchNews, FetchParameters, Naming, SessionId, SessionRequest,
};
use crate::broker::{Broker, BrokerError};
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::log::AtLeastOneBatch;
use crate::partition::{FetchSignal, FetchSpec, Fetched, Isolation};

/// What a fetch asks of all its partitions together.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The partitions, in the order in which room is given to them.
    pub partitions: Vec<FetchPartition>,
    /// What the reader may see.
    pub isolation: Isolation,
    /// How many bytes are enough to answer.
    pub bytes_min: usize,
    /// How many bytes at most; the first batch comes even if it is larger.
    pub bytes_max: usize,
    /// How long to wait for enough.
    pub wait_max: Duration,
}

/// What a fetch asks of one partition.
#[derive(Clone, Debug)]
pub struct FetchPartition {
    /// Which; `None` if the request named one that does not exist.
    pub topic_partition: TopicPartition,
    /// Its topic's id, if the client named that: a topic created again is another one.
    pub topic_id: Option<TopicId>,
    /// From where.
    pub offset: Offset,
    /// How many bytes at most.
    pub bytes_max: usize,
    /// The leader epoch that the client knows, if it says.
    pub current_leader_epoch: Option<LeaderEpoch>,
}

/// One partition's part of the answer.
pub type FetchedPartition = Result<Fetched, BrokerError>;

impl Broker {
    /// What a client's fetch is part of, and what is to be read for it (KIP-227).
    pub fn begin_fetch(
        &self,
        request: SessionRequest,
        contents: FetchContents,
    ) -> Result<(FetchContext, Vec<(FetchKey, FetchParameters)>), ErrorCode> {
        if request.session_id == 0 && request.epoch == -1 {
            return Ok((FetchContext::Sessionless, contents.partitions));
        }
        self.fetch_sessions.lock().begin(self.clock.now(), request, contents)
    }

    /// Begins a session with what a client is being told, if there is room for one.
    pub fn create_fetch_session(
        &self,
        naming: Naming,
        partitions: Vec<(FetchKey, FetchParameters, FetchNews)>,
    ) -> Option<SessionId> {
        let (fresh, _, _, _) = uuid::Uuid::new_v4().as_fields();
        self.fetch_sessions.lock().create(self.clock.now(), fresh, naming, partitions)
    }

    /// Reads what there is, waiting for enough. The results are in the request's order.
    pub async fn fetch(&self, request: &FetchRequest) -> Vec<FetchedPartition> {
        let give_up = tokio::time::Instant::now() + request.wait_max;
        let mut shutdown = self.shutdown.clone();
        loop {
            let signal = Arc::new(FetchSignal::default());
            // Watched before it is read: what comes in between fires the signal.
            self.watch(request, &signal);
            let results = self.read_once(request);
            if request.wait_max.is_zero() || is_enough(request, &results) {
                return results;
            }
            tokio::select! {
                () = signal.fired() => {}
                () = tokio::time::sleep_until(give_up) => return results,
                _ = shutdown.wait_for(|stop| *stop) => return results,
            }
        }
    }

    fn watch(&self, request: &FetchRequest, signal: &Arc<FetchSignal>) {
        for wanted in &request.partitions {
            if let Some(partition) = self.partitions.get(&wanted.topic_partition) {
                partition.watch(signal);
            }
        }
    }

    fn read_once(&self, request: &FetchRequest) -> Vec<FetchedPartition> {
        let mut left = request.bytes_max;
        let mut least = AtLeastOneBatch::Yes;
        let read_one = |wanted: &FetchPartition| {
            let bytes_max = wanted.bytes_max.min(left);
            let fetched = self.read_partition(wanted, request.isolation, bytes_max, least);
            let bytes = fetched.as_ref().map_or(0, |fetched| fetched.read.bytes_len());
            left = left.saturating_sub(bytes);
            if bytes > 0 {
                least = AtLeastOneBatch::No;
            }
            fetched
        };
        request.partitions.iter().map(read_one).collect()
    }

    fn read_partition(
        &self,
        wanted: &FetchPartition,
        isolation: Isolation,
        bytes_max: usize,
        least: AtLeastOneBatch,
    ) -> FetchedPartition {
        let partition = self.partition(&wanted.topic_partition)?;
        if wanted.topic_id.is_some_and(|id| id != partition.topic_id()) {
            let message = format!("{} is another topic's by now", wanted.topic_partition);
            return Err(BrokerError::refused(ErrorCode::InconsistentTopicId, message));
        }
        check_leader_epoch(wanted.current_leader_epoch, partition.leader_epoch())?;
        Ok(partition.fetch(FetchSpec { offset: wanted.offset, bytes_max, least, isolation })?)
    }
}

/// The client's leader epoch against the real one (KIP-320).
pub(super) fn check_leader_epoch(known: Option<LeaderEpoch>, real: LeaderEpoch) -> Result<(), BrokerError> {
    match known {
        Some(known) if known < real => {
            let message = format!("the leader epoch is {real}, not {known}");
            Err(BrokerError::refused(ErrorCode::FencedLeaderEpoch, message))
        }
        Some(known) if known > real => {
            let message = format!("the leader epoch is {real}; {known} is not known yet");
            Err(BrokerError::refused(ErrorCode::UnknownLeaderEpoch, message))
        }
        Some(_) | None => Ok(()),
    }
}

/// An error is an answer at once; so is enough data.
fn is_enough(request: &FetchRequest, results: &[FetchedPartition]) -> bool {
    let bytes: usize = results.iter().flatten().map(|fetched| fetched.read.bytes_len()).sum();
    let is_empty_request = request.partitions.is_empty();
    bytes >= request.bytes_min.max(1) && !is_empty_request || results.iter().any(Result::is_err)
}
