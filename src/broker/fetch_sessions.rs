//! Fetch sessions (KIP-227): a consumer names its partitions once, and then only what changes; it is
//! answered only about partitions of which there is something new.
//!
//! Pure: time and fresh ids come in as values, and nothing is read here. A session holds what was asked
//! for and what was last told; what is read for it is always what a full fetch would read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::error_code::ErrorCode;
use crate::ids::{Offset, TopicName};

/// A session that was used so recently is not given up for another one (Kafka's
/// `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_MIN: Duration = Duration::from_secs(120);
/// The most partitions that all sessions together remember. Kafka bounds only the number of sessions.
const PARTITIONS_MAX: usize = 1_000_000;

/// A topic as a Fetch request names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FetchTopic {
    /// By name, before version 13.
    Name(TopicName),
    /// By id (KIP-516), as it came.
    Id([u8; 16]),
}

/// A partition as a Fetch request names it; there may be none of this kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FetchKey {
    /// The topic.
    pub topic: FetchTopic,
    /// The number, as it came.
    pub partition: i32,
}

/// What a Fetch request asks of one partition, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchParameters {
    /// From where.
    pub fetch_offset: i64,
    /// How many bytes at most.
    pub bytes_max: i32,
    /// The leader epoch that the client knows.
    pub current_leader_epoch: i32,
}

/// What an answer says of a partition, as far as it decides whether it must be said again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FetchNews {
    /// The end of what is replicated; none with an error.
    pub high_watermark: Option<Offset>,
    /// The end of what is decided.
    pub last_stable_offset: Option<Offset>,
    /// The start of the log.
    pub log_start_offset: Option<Offset>,
    /// Whether records come with it.
    pub records: HasRecords,
    /// Whether it is an error.
    pub error: ErrorState,
}

/// Whether an answer brings records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HasRecords {
    /// It does not.
    #[default]
    No,
    /// It does.
    Yes,
}

/// Whether an answer is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ErrorState {
    /// All is well.
    #[default]
    Fine,
    /// It is one.
    Failed,
}

/// The id of a session; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SessionId(i32);

impl SessionId {
    /// The number on the wire.
    pub const fn value(self) -> i32 {
        self.0
    }
}

/// How a Fetch request stands to sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRequest {
    /// The session that it names; 0 for none.
    pub session_id: i32,
    /// The epoch: 0 begins a session, -1 ends one, others go on.
    pub epoch: i32,
}

/// What a Fetch request carries.
#[derive(Clone, Debug, Default)]
pub struct FetchContents {
    /// The partitions that it names.
    pub partitions: Vec<(FetchKey, FetchParameters)>,
    /// Those that its session is to forget.
    pub forgotten: Vec<FetchKey>,
    /// How it names topics.
    pub naming: Naming,
}

/// How a request names topics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// By name.
    #[default]
    Names,
    /// By id.
    Ids,
}

/// How a fetch is answered.
#[derive(Debug)]
pub enum FetchContext {
    /// In full, and no session is wanted.
    Sessionless,
    /// In full; a session may begin with the answer.
    Beginning(Naming),
    /// With what is new to a session that expects this epoch next.
    Continuing(Arc<Mutex<Session>>, SessionId, i32),
}

/// All sessions.
#[derive(Debug)]
pub struct FetchSessions {
    sessions_max: usize,
    sessions: BTreeMap<SessionId, Slot>,
    partitions: usize,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    partitions: usize,
    created: Timestamp,
    last_used: Timestamp,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    epoch: i32,
    naming: Naming,
    /// Partitions by their turn: one that brought records goes to the end of the line.
    order: BTreeMap<u64, FetchKey>,
    cached: HashMap<FetchKey, Cached>,
    next_turn: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    turn: u64,
    parameters: FetchParameters,
    told: FetchNews,
}

/// The epoch after this one; 0 begins a session and never comes again in it.
const fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl FetchSessions {
    /// No sessions, and room for so many.
    pub fn new(sessions_max: usize) -> FetchSessions {
        FetchSessions { sessions_max, sessions: BTreeMap::new(), partitions: 0 }
    }

    /// What a request is part of, and what is to be read for it (Kafka's `FetchManager.newContext`).
    pub fn begin(
        &mut self,
        now: Timestamp,
        request: SessionRequest,
        contents: FetchContents,
    ) -> Result<(FetchContext, Vec<(FetchKey, FetchParameters)>), ErrorCode> {
        let id = SessionId(request.session_id);
        match request.epoch {
            -1 => {
                self.remove(id);
                Ok((FetchContext::Sessionless, contents.partitions))
            }
            0 => {
                self.remove(id);
                Ok((FetchContext::Beginning(contents.naming), contents.partitions))
            }
            epoch => self.go_on(now, (id, epoch), contents),
        }
    }

    fn go_on(
        &mut self,
        now: Timestamp,
        (id, epoch): (SessionId, i32),
        contents: FetchContents,
    ) -> Result<(FetchContext, Vec<(FetchKey, FetchParameters)>), ErrorCode> {
        let slot = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let session = Arc::clone(&slot.session);
        let mut locked = session.lock();
        if locked.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if locked.naming != contents.naming {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        locked.update(contents.partitions.iter().cloned(), &contents.forgotten);
        let partitions = locked.cached.len();
        self.partitions = self.partitions - slot.partitions + partitions;
        slot.partitions = partitions;
        slot.last_used = now;
        if partitions == 0 {
            self.remove(id);
            return Ok((FetchContext::Sessionless, contents.partitions));
        }
        if self.partitions > PARTITIONS_MAX {
            // The client asks again in full, and gets no session for it.
            self.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        locked.epoch = next_epoch(epoch);
        let wanted = locked.wanted();
        let expected = locked.epoch;
        drop(locked);
        Ok((FetchContext::Continuing(session, id, expected), wanted))
    }

    /// Begins a session with what was asked for and is being answered, if there is room for it: a free
    /// slot, one that nobody has used for two minutes, or an older one with fewer partitions.
    pub fn create(
        &mut self,
        now: Timestamp,
        fresh: u32,
        naming: Naming,
        partitions: Vec<(FetchKey, FetchParameters, FetchNews)>,
    ) -> Option<SessionId> {
        let session = Session::new(naming, partitions);
        let partitions = session.cached.len();
        if partitions == 0 || self.partitions + partitions > PARTITIONS_MAX {
            return None;
        }
        if self.sessions.len() >= self.sessions_max {
            let victim = self.victim(now, partitions)?;
            self.remove(victim);
        }
        let mut id = SessionId(i32::try_from(fresh & 0x7fff_ffff).unwrap_or(1).max(1));
        while self.sessions.contains_key(&id) {
            id = SessionId(next_epoch(id.0));
        }
        let session = Arc::new(Mutex::new(session));
        self.sessions.insert(id, Slot { session, partitions, created: now, last_used: now });
        self.partitions += partitions;
        Some(id)
    }

    fn victim(&self, now: Timestamp, partitions: usize) -> Option<SessionId> {
        let is_old = |since: Timestamp| now.since(since) > EVICTION_MIN;
        let (id, stalest) = self.sessions.iter().min_by_key(|(_, slot)| slot.last_used)?;
        if is_old(stalest.last_used) {
            return Some(*id);
        }
        let older = self.sessions.iter().filter(|(_, slot)| is_old(slot.created));
        let (id, smallest) = older.min_by_key(|(_, slot)| slot.partitions)?;
        (smallest.partitions < partitions).then_some(*id)
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(slot) = self.sessions.remove(&id) {
            self.partitions -= slot.partitions;
        }
    }
}

impl Session {
    fn new(naming: Naming, partitions: Vec<(FetchKey, FetchParameters, FetchNews)>) -> Session {
        let mut session = Session {
            epoch: next_epoch(0),
            naming,
            order: BTreeMap::new(),
            cached: HashMap::new(),
            next_turn: 0,
        };
        for (key, parameters, told) in partitions {
            session.put(key, parameters, told.remembered());
        }
        session
    }

    /// Takes over what a request names and forgets.
    fn update(&mut self, named: impl Iterator<Item = (FetchKey, FetchParameters)>, forgotten: &[FetchKey]) {
        for (key, parameters) in named {
            match self.cached.get_mut(&key) {
                Some(cached) => cached.parameters = parameters,
                None => self.put(key, parameters, FetchNews::default()),
            }
        }
        for key in forgotten {
            if let Some(cached) = self.cached.remove(key) {
                self.order.remove(&cached.turn);
            }
        }
    }

    /// What is to be read: everything, in turn.
    fn wanted(&self) -> Vec<(FetchKey, FetchParameters)> {
        let parameters = |key: &FetchKey| Some((key.clone(), self.cached.get(key)?.parameters));
        self.order.values().filter_map(parameters).collect()
    }

    /// Whether a request of this epoch is still the latest of its session.
    pub fn expects(&self, epoch: i32) -> bool {
        self.epoch == epoch
    }

    /// Whether a partition must be told, now that this was read of it; remembers that it is.
    pub fn tell(&mut self, key: &FetchKey, news: FetchNews) -> bool {
        // Forgotten by a request that came after this one.
        let Some(cached) = self.cached.get_mut(key) else { return true };
        let told = std::mem::replace(&mut cached.told, news.remembered());
        if news.records == HasRecords::Yes {
            let parameters = cached.parameters;
            self.order.remove(&cached.turn);
            self.put(key.clone(), parameters, news.remembered());
        }
        news.records == HasRecords::Yes || news.error == ErrorState::Failed || news != told
    }

    fn put(&mut self, key: FetchKey, parameters: FetchParameters, told: FetchNews) {
        let turn = self.next_turn;
        self.next_turn += 1;
        if let Some(before) = self.cached.insert(key.clone(), Cached { turn, parameters, told }) {
            self.order.remove(&before.turn);
        }
        self.order.insert(turn, key);
    }
}

impl FetchNews {
    /// What is compared with later: after an error everything is new.
    fn remembered(self) -> FetchNews {
        match self.error {
            ErrorState::Failed => FetchNews::default(),
            ErrorState::Fine => FetchNews { records: HasRecords::No, ..self },
        }
    }
}

#[cfg(test)]
mod tests;
