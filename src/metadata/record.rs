//! The records of the metadata log: MessagePack with a version field, one batch a decision.
//!
//! A record says what is so from now on; applying it twice is harmless. Knows nothing of the log
//! that holds it.

use serde::{Deserialize, Serialize};

/// The newest version that this build reads.
const VERSION: u16 = 2;

/// One change of the cluster's metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MetadataRecord {
    /// The cluster's id: the first record of every log.
    Cluster {
        /// Kafka's base64 form of a random UUID.
        cluster_id: String,
    },
    /// A broker came up: each partition that it leads starts a new leader epoch.
    RegisterBroker {
        /// Its `node.id`.
        broker_id: i32,
    },
    /// A topic exists.
    Topic {
        /// Its name.
        name: String,
        /// Its id.
        topic_id: [u8; 16],
    },
    /// A partition exists, with its replicas and leader.
    Partition {
        /// The topic.
        topic_id: [u8; 16],
        /// Its number.
        partition: i32,
        /// The brokers that hold it, preferred leader first.
        replicas: Vec<i32>,
        /// The in-sync ones.
        isr: Vec<i32>,
        /// The leader.
        leader: i32,
        /// The leader's epoch.
        leader_epoch: i32,
    },
    /// A topic is gone.
    RemoveTopic {
        /// The topic.
        topic_id: [u8; 16],
    },
    /// A topic's own setting, or its return to the default.
    TopicConfig {
        /// The topic.
        topic_id: [u8; 16],
        /// Kafka's topic-level key.
        key: String,
        /// The value; `None` removes the setting.
        value: Option<String>,
    },
    /// A broker-level dynamic setting.
    BrokerConfig {
        /// Kafka's broker-level key.
        key: String,
        /// The value; `None` removes the setting.
        value: Option<String>,
    },
    /// A dynamic setting of one broker, which wins over `BrokerConfig`. Since version 2.
    OwnBrokerConfig {
        /// The broker.
        broker_id: i32,
        /// Kafka's broker-level key.
        key: String,
        /// The value; `None` removes the setting.
        value: Option<String>,
    },
    /// A client quota (KIP-546), or its end. Since version 2.
    ClientQuota {
        /// Kafka's entity types with names; no name is the default.
        entity: Vec<(String, Option<String>)>,
        /// Kafka's key.
        key: String,
        /// The limit, as a decimal number; `None` takes it away.
        value: Option<String>,
    },
    /// Producer ids below this one have been given to brokers in blocks and never come again.
    ProducerIds {
        /// The first id that is still free.
        next_producer_id: i64,
    },
    /// Something that a higher room deploys: a module, a processor. The bytes are that room's own.
    Deployment {
        /// What it is, and its name: a later record of the same key replaces this one.
        key: String,
        /// What that room keeps of it; `None`: it is gone.
        value: Option<Vec<u8>>,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u16,
    record: MetadataRecord,
}

/// Why stored bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Not MessagePack of this shape.
    #[error("a metadata record cannot be read: {0}")]
    Undecodable(String),
    /// Written by a newer build.
    #[error("a metadata record has version {0}, this build reads up to {VERSION}; start the newer build")]
    TooNew(u16),
}

impl MetadataRecord {
    /// The bytes that the log holds.
    pub fn encode(&self) -> Vec<u8> {
        let envelope = Envelope { version: self.version(), record: self.clone() };
        rmp_serde::to_vec_named(&envelope).expect("plain data always encodes into memory")
    }

    /// The oldest version that has this record: an older build reads what it can.
    const fn version(&self) -> u16 {
        match self {
            MetadataRecord::ClientQuota { .. } | MetadataRecord::OwnBrokerConfig { .. } => 2,
            MetadataRecord::Cluster { .. }
            | MetadataRecord::RegisterBroker { .. }
            | MetadataRecord::Topic { .. }
            | MetadataRecord::Partition { .. }
            | MetadataRecord::RemoveTopic { .. }
            | MetadataRecord::TopicConfig { .. }
            | MetadataRecord::BrokerConfig { .. }
            | MetadataRecord::ProducerIds { .. }
            | MetadataRecord::Deployment { .. } => 1,
        }
    }

    /// The record of stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<MetadataRecord, RecordError> {
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u16,
        }
        let undecodable = |error: rmp_serde::decode::Error| RecordError::Undecodable(error.to_string());
        let VersionOnly { version } = rmp_serde::from_slice(bytes).map_err(undecodable)?;
        if version > VERSION {
            return Err(RecordError::TooNew(version));
        }
        Ok(rmp_serde::from_slice::<Envelope>(bytes).map_err(undecodable)?.record)
    }
}

#[cfg(test)]
mod tests;
