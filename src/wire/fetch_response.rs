//! Fetch responses, versions 4 to 18, written by hand so that records are never copied: the frame
//! comes out as pieces, our bytes in between payloads that the caller sends from where they lie.
//!
//! The codec crate is the oracle: tests hold every version against it, byte for byte.

use bytes::Bytes;

use super::frame::SIZE_BYTES;
use super::response::ResponseError;
use super::varint::put_unsigned;
use crate::error_code::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId, TopicName};

const FLEXIBLE_VERSION: i16 = 12;
const TOPIC_ID_VERSION: i16 = 13;
const NODE_ENDPOINTS_VERSION: i16 = 16;
const NONE_32: i32 = -1;
const NONE_64: i64 = -1;

/// A part of a frame, to be sent in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece<H> {
    /// Bytes to send as they are.
    Bytes(Bytes),
    /// Records to send from where they lie.
    Payload(Payload<H>),
}

/// Records of one partition: how many bytes, and where, which is the caller's to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload<H> {
    /// Exactly so many bytes must be sent.
    pub bytes: usize,
    /// Where they are: a file's slices, or bytes.
    pub handle: H,
}

/// A fetch response.
#[derive(Clone, Debug)]
pub struct FetchReply<H> {
    /// How long the client must wait for its quota.
    pub throttle_time_ms: i32,
    /// The error of the whole request; version 7 and newer.
    pub error_code: ErrorCode,
    /// The fetch session (KIP-227), 0 for none; version 7 and newer.
    pub session_id: i32,
    /// The topics asked for.
    pub topics: Vec<FetchReplyTopic<H>>,
    /// Where the leaders are that partitions name (KIP-951); version 16 and newer.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// A topic of a fetch response.
#[derive(Clone, Debug)]
pub struct FetchReplyTopic<H> {
    /// Its name, sent before version 13.
    pub name: TopicName,
    /// Its id, sent from version 13 on.
    pub id: Option<TopicId>,
    /// The partitions asked for.
    pub partitions: Vec<FetchReplyPartition<H>>,
}

/// A partition of a fetch response.
#[derive(Clone, Debug)]
pub struct FetchReplyPartition<H> {
    /// Which.
    pub partition: PartitionIndex,
    /// Its own error.
    pub error_code: ErrorCode,
    /// The end of what is replicated; none if unknown.
    pub high_watermark: Option<Offset>,
    /// The end of what a read-committed consumer may see; none if unknown.
    pub last_stable_offset: Option<Offset>,
    /// The beginning of the log; none if unknown. Version 5 and newer.
    pub log_start_offset: Option<Offset>,
    /// The aborted transactions among the records; none (null) unless read-committed.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// A replica that the consumer should rather read from (KIP-392); version 11 and newer.
    pub preferred_read_replica: Option<BrokerId>,
    /// Where a follower's log leaves the leader's; version 12 and newer.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// The leader, if the client asked another broker (KIP-951); version 12 and newer.
    pub current_leader: Option<CurrentLeader>,
    /// The records; none is null, which Kafka itself never sends: use an empty payload.
    pub records: Option<Payload<H>>,
}

/// A transaction whose records among the fetched ones a read-committed consumer must drop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// The first offset of the transaction in the partition.
    pub first_offset: Offset,
}

/// The end of the largest epoch that follower and leader share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DivergingEpoch {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its end on the leader.
    pub end_offset: Offset,
}

/// The leader of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CurrentLeader {
    /// The broker; none if there is no leader.
    pub leader_id: Option<BrokerId>,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
}

/// A broker's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEndpoint {
    /// The broker.
    pub node_id: BrokerId,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// Writes a whole frame: size, header and body. `version` is one that the broker handles.
///
/// The pieces' `Bytes` share one buffer; payloads come out in order, empty ones not at all.
pub fn encode_fetch_response<H>(
    correlation_id: i32,
    version: i16,
    reply: FetchReply<H>,
) -> Result<Vec<Piece<H>>, ResponseError> {
    let flexible = version >= FLEXIBLE_VERSION;
    let encoding = if flexible { Encoding::Compact } else { Encoding::Plain };
    let mut writer = Writer { out: Vec::with_capacity(256), encoding, version, cuts: Vec::new() };
    writer.i32(0);
    writer.i32(correlation_id);
    writer.end_of_structure();
    writer.reply(reply)?;
    writer.into_pieces()
}

/// How lengths are written, and whether structures end with tagged fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    Plain,
    Compact,
}

struct Writer<H> {
    out: Vec<u8>,
    encoding: Encoding,
    version: i16,
    /// Where in `out` which payload comes in.
    cuts: Vec<(usize, Payload<H>)>,
}

impl<H> Writer<H> {
    fn reply(&mut self, reply: FetchReply<H>) -> Result<(), ResponseError> {
        self.i32(reply.throttle_time_ms);
        if self.version >= 7 {
            self.i16(reply.error_code.code());
            self.i32(reply.session_id);
        }
        self.length(Some(reply.topics.len()))?;
        for topic in reply.topics {
            self.topic(topic)?;
        }
        if self.version >= NODE_ENDPOINTS_VERSION && !reply.node_endpoints.is_empty() {
            self.unsigned(1);
            self.tagged(0, |writer| writer.node_endpoints(&reply.node_endpoints))
        } else {
            self.end_of_structure();
            Ok(())
        }
    }

    fn topic(&mut self, topic: FetchReplyTopic<H>) -> Result<(), ResponseError> {
        if self.version >= TOPIC_ID_VERSION {
            self.out.extend_from_slice(&topic.id.map_or([0; 16], TopicId::bytes));
        } else {
            self.text(Some(topic.name.as_str()))?;
        }
        self.length(Some(topic.partitions.len()))?;
        for partition in topic.partitions {
            self.partition(partition)?;
        }
        self.end_of_structure();
        Ok(())
    }

    fn partition(&mut self, partition: FetchReplyPartition<H>) -> Result<(), ResponseError> {
        self.i32(partition.partition.value());
        self.i16(partition.error_code.code());
        self.offset(partition.high_watermark);
        self.offset(partition.last_stable_offset);
        if self.version >= 5 {
            self.offset(partition.log_start_offset);
        }
        self.length(partition.aborted_transactions.as_ref().map(Vec::len))?;
        for aborted in partition.aborted_transactions.iter().flatten() {
            self.i64(aborted.producer_id.value());
            self.i64(aborted.first_offset.value());
            self.end_of_structure();
        }
        if self.version >= 11 {
            self.i32(partition.preferred_read_replica.map_or(NONE_32, BrokerId::value));
        }
        self.length(partition.records.as_ref().map(|records| records.bytes))?;
        if let Some(records) = partition.records.filter(|records| records.bytes > 0) {
            self.cuts.push((self.out.len(), records));
        }
        match self.encoding {
            Encoding::Plain => Ok(()),
            Encoding::Compact => self.partition_tags(partition.diverging_epoch, partition.current_leader),
        }
    }

    fn partition_tags(
        &mut self,
        diverging: Option<DivergingEpoch>,
        leader: Option<CurrentLeader>,
    ) -> Result<(), ResponseError> {
        self.unsigned(u64::from(diverging.is_some()) + u64::from(leader.is_some()));
        if let Some(diverging) = diverging {
            self.tagged(0, |writer| {
                writer.i32(diverging.epoch.value());
                writer.i64(diverging.end_offset.value());
                writer.end_of_structure();
                Ok(())
            })?;
        }
        if let Some(leader) = leader {
            self.tagged(1, |writer| {
                writer.i32(leader.leader_id.map_or(NONE_32, BrokerId::value));
                writer.i32(leader.leader_epoch.value());
                writer.end_of_structure();
                Ok(())
            })?;
        }
        Ok(())
    }

    fn node_endpoints(&mut self, endpoints: &[NodeEndpoint]) -> Result<(), ResponseError> {
        self.length(Some(endpoints.len()))?;
        for endpoint in endpoints {
            self.i32(endpoint.node_id.value());
            self.text(Some(&endpoint.host))?;
            self.i32(endpoint.port);
            self.text(endpoint.rack.as_deref())?;
            self.end_of_structure();
        }
        Ok(())
    }

    /// A tagged field: tag, size, value. Values are small, so they are written aside for their size.
    fn tagged(
        &mut self,
        tag: u64,
        value: impl FnOnce(&mut Writer<H>) -> Result<(), ResponseError>,
    ) -> Result<(), ResponseError> {
        self.unsigned(tag);
        let mut inner =
            Writer { out: Vec::new(), encoding: self.encoding, version: self.version, cuts: Vec::new() };
        value(&mut inner)?;
        self.unsigned(inner.out.len() as u64);
        self.out.extend_from_slice(&inner.out);
        Ok(())
    }

    fn offset(&mut self, offset: Option<Offset>) {
        self.i64(offset.map_or(NONE_64, Offset::value));
    }

    /// The length of a list or of bytes; none is null.
    fn length(&mut self, length: Option<usize>) -> Result<(), ResponseError> {
        match (self.encoding, length) {
            (Encoding::Plain, None) => self.i32(NONE_32),
            (Encoding::Plain, Some(length)) => {
                self.i32(i32::try_from(length).map_err(|_| ResponseError::TooLarge(length))?);
            }
            (Encoding::Compact, None) => self.unsigned(0),
            (Encoding::Compact, Some(length)) => self.unsigned(length as u64 + 1),
        }
        Ok(())
    }

    fn text(&mut self, text: Option<&str>) -> Result<(), ResponseError> {
        match (self.encoding, text) {
            (Encoding::Plain, None) => self.i16(-1),
            (Encoding::Plain, Some(text)) => {
                let length = i16::try_from(text.len()).map_err(|_| ResponseError::Encode {
                    version: self.version,
                    reason: format!("a string of {} bytes is too long", text.len()),
                })?;
                self.i16(length);
            }
            (Encoding::Compact, text) => self.length(text.map(str::len))?,
        }
        self.out.extend_from_slice(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// No tagged fields, where the encoding has them.
    fn end_of_structure(&mut self) {
        match self.encoding {
            Encoding::Plain => {}
            Encoding::Compact => self.unsigned(0),
        }
    }

    fn unsigned(&mut self, value: u64) {
        put_unsigned(&mut self.out, value);
    }

    fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Puts the size in front and cuts the buffer where payloads come in.
    fn into_pieces(mut self) -> Result<Vec<Piece<H>>, ResponseError> {
        let payload_bytes: usize = self.cuts.iter().map(|(_, payload)| payload.bytes).sum();
        let frame_bytes = self.out.len() - SIZE_BYTES + payload_bytes;
        let size = i32::try_from(frame_bytes).map_err(|_| ResponseError::TooLarge(frame_bytes))?;
        self.out[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
        let mut rest = Bytes::from(self.out);
        let mut taken = 0;
        let mut pieces = Vec::with_capacity(self.cuts.len() * 2 + 1);
        for (at, payload) in self.cuts {
            pieces.push(Piece::Bytes(rest.split_to(at - taken)));
            pieces.push(Piece::Payload(payload));
            taken = at;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Bytes(rest));
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests;
