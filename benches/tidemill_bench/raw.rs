//! A small blocking Kafka client that costs as little as possible: frames are made once and sent
//! again, answers are looked at only as far as their error codes, fetched records are discarded.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, GroupId, OffsetFetchRequest, RequestHeader, ResponseHeader, TopicName,
    offset_fetch_request::OffsetFetchRequestTopic,
};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};
use tidemill::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, NewRecord, RecordBatch, Transactional,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where a frame's correlation id stands: behind size, API key and version.
const CORRELATION_AT: usize = 8;
const FRAME_BYTES_MAX: usize = 256 << 20;

/// One connection.
pub struct Raw {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    correlation_id: i32,
    answer: Vec<u8>,
}

/// What one fetch gave.
pub struct Fetched {
    /// Bytes of record batches.
    pub bytes: usize,
    /// The offset behind the last whole batch.
    pub next_offset: i64,
    /// The partition's high watermark.
    pub high_watermark: i64,
}

/// Text as the protocol's crate holds it.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A batch of records of one size.
pub fn batch(records: usize, record_bytes: usize, producer: Option<BatchProducer>) -> RecordBatch {
    let transactional = if producer.is_some() { Transactional::Yes } else { Transactional::No };
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
    let value = payload(record_bytes);
    for _ in 0..records {
        let timestamp = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
        let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
        builder.append(NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
    }
    builder.build()
}

/// A batch of one record with a key.
pub fn keyed(key: &str, value: &str) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    builder.append(NewRecord { timestamp: 0, key, value, headers: &[] });
    builder.build()
}

/// A batch of one record for each value.
pub fn batch_of(values: impl IntoIterator<Item = String>) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let timestamp = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    let timestamp = i64::try_from(timestamp).unwrap_or(i64::MAX);
    for value in values {
        let (key, value) = (None, Some(value.as_bytes()));
        builder.append(NewRecord { timestamp, key, value, headers: &[] });
    }
    builder.build()
}

/// Letters, as Kafka's own load generator writes them.
pub fn payload(bytes: usize) -> Vec<u8> {
    (b'A'..=b'Z').cycle().take(bytes).collect()
}

/// A Produce request (version 12) of one batch, ready to be sent again and again.
pub fn produce_frame(topic: &str, partition: i32, transactional_id: Option<&str>, batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() + 256);
    put_header(&mut body, ApiKey::Produce as i16, 12);
    match transactional_id {
        Some(id) => put_compact(&mut body, id.as_bytes()),
        None => body.push(0),
    }
    body.put_i16(-1);
    body.put_i32(30_000);
    body.push(2);
    put_compact(&mut body, topic.as_bytes());
    body.push(2);
    body.put_i32(partition);
    put_compact(&mut body, batch);
    body.extend_from_slice(&[0, 0, 0]);
    finish(body)
}

/// A Fetch request (version 4) for one partition.
fn fetch_frame(topic: &str, partition: i32, offset: i64, bytes_max: i32) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.put_i32(0);
    body.put_i16(ApiKey::Fetch as i16);
    body.put_i16(4);
    body.put_i32(0);
    put_string(&mut body, "bench");
    body.put_i32(-1);
    body.put_i32(500);
    body.put_i32(1);
    body.put_i32(bytes_max);
    body.put_u8(0);
    body.put_i32(1);
    put_string(&mut body, topic);
    body.put_i32(1);
    body.put_i32(partition);
    body.put_i64(offset);
    body.put_i32(bytes_max);
    finish(body)
}

fn put_header(body: &mut Vec<u8>, key: i16, version: i16) {
    body.put_i32(0);
    body.put_i16(key);
    body.put_i16(version);
    body.put_i32(0);
    put_string(body, "bench");
    body.push(0);
}

fn finish(mut frame: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    if let Some(field) = frame.get_mut(..4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    frame
}

fn put_string(body: &mut Vec<u8>, text: &str) {
    body.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    body.extend_from_slice(text.as_bytes());
}

fn put_compact(body: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len() + 1;
    while length >= 0x80 {
        body.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    body.push((length & 0x7f) as u8);
    body.extend_from_slice(bytes);
}

impl Raw {
    /// Connects.
    pub fn connect(address: &str) -> anyhow::Result<Raw> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::with_capacity(16 * 1024, writer.try_clone()?);
        Ok(Raw { writer, reader, correlation_id: 0, answer: Vec::new() })
    }

    /// Sends any request and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(0)
            .with_client_id(Some(text("bench")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        encode_request_header_into_buffer(&mut frame, &header)?;
        request.encode(&mut frame, version)?;
        let mut frame = finish(frame.to_vec());
        self.send(&mut frame)?;
        self.receive()?;
        let mut answer = Bytes::copy_from_slice(&self.answer);
        ResponseHeader::decode(&mut answer, <R::Response as HeaderVersion>::header_version(version))?;
        R::Response::decode(&mut answer, version)
    }

    /// Creates a topic and waits until it is there.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = self.call(&request, 5)?;
        let topic = response.topics.first().context("CreateTopics answers no topic")?;
        ensure!(topic.error_code == 0, "CreateTopics {name}: error {}", topic.error_code);
        Ok(())
    }

    /// Sends a frame under the next correlation id.
    pub fn send(&mut self, frame: &mut [u8]) -> anyhow::Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let field = frame.get_mut(CORRELATION_AT..CORRELATION_AT + 4).context("a frame without a header")?;
        field.copy_from_slice(&self.correlation_id.to_be_bytes());
        Ok(self.writer.write_all(frame)?)
    }

    /// Waits for the next answer; it starts at its correlation id.
    pub fn receive(&mut self) -> anyhow::Result<&[u8]> {
        let mut size = [0; 4];
        self.reader.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size))?;
        ensure!(size <= FRAME_BYTES_MAX, "an answer of {size} bytes");
        self.answer.resize(size, 0);
        self.reader.read_exact(&mut self.answer)?;
        Ok(&self.answer)
    }

    /// Waits for the answer to a Produce frame; its error code.
    pub fn produced(&mut self) -> anyhow::Result<i16> {
        let answer = self.receive()?;
        // Correlation id, tags, one topic: its name, one partition: its index, its error.
        let name_bytes = usize::from(*answer.get(6).context("a short answer to Produce")?);
        let at = 6 + name_bytes + 1 + 4;
        let error = answer.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        Ok(i16::from_be_bytes(error.context("a short answer to Produce")?))
    }

    /// Sends one Produce frame and waits for a success.
    pub fn produce(&mut self, frame: &mut [u8]) -> anyhow::Result<()> {
        self.send(frame)?;
        match self.produced()? {
            0 => Ok(()),
            code => bail!("Produce: error {code}"),
        }
    }

    /// Sends a frame `count` times, `in_flight` of them at once.
    pub fn produce_many(&mut self, frame: &mut [u8], count: usize, in_flight: usize) -> anyhow::Result<()> {
        let mut answered = 0;
        for sent in 0..count {
            self.send(frame)?;
            if sent + 1 - answered >= in_flight {
                ensure!(self.produced()? == 0, "Produce failed");
                answered += 1;
            }
        }
        while answered < count {
            ensure!(self.produced()? == 0, "Produce failed");
            answered += 1;
        }
        Ok(())
    }

    /// Fetches from one partition and throws the records away.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64, bytes: i32) -> anyhow::Result<Fetched> {
        let mut frame = fetch_frame(topic, partition, offset, bytes);
        self.send(&mut frame)?;
        let mut answer = Cursor { bytes: self.receive()? };
        answer.skip(4 + 4 + 4)?;
        let name_bytes = answer.int::<2>()?;
        answer.skip(usize::try_from(name_bytes)? + 4 + 4)?;
        let error = answer.int::<2>()?;
        ensure!(error == 0, "Fetch: error {error}");
        let high_watermark = answer.int::<8>()?;
        answer.skip(8)?;
        let aborted = answer.int::<4>()?.max(0);
        answer.skip(usize::try_from(aborted)? * 16)?;
        let bytes = usize::try_from(answer.int::<4>()?.max(0))?;
        let next_offset = last_batch_end(answer.bytes).unwrap_or(offset);
        Ok(Fetched { bytes, next_offset, high_watermark })
    }

    /// The offset that a group has committed, once no transaction can change it any more.
    pub fn committed(&mut self, group: &str, topic: &str, partition: i32) -> anyhow::Result<i64> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partition_indexes(vec![partition]);
        let request =
            OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![topic]));
        let response = self.call(&request, 5)?;
        let partition = response.topics.first().and_then(|topic| topic.partitions.first());
        Ok(partition.map_or(-1, |partition| partition.committed_offset))
    }
}

/// The offset behind the last whole batch of a run.
fn last_batch_end(mut run: &[u8]) -> Option<i64> {
    let mut end = None;
    while let Some(header) = run.get(..27) {
        let mut cursor = Cursor { bytes: header };
        let base = cursor.int::<8>().ok()?;
        let length = usize::try_from(cursor.int::<4>().ok()?).ok()? + 12;
        cursor.skip(4 + 1 + 4 + 2).ok()?;
        let delta = cursor.int::<4>().ok()?;
        let Some(rest) = run.get(length..) else { break };
        (end, run) = (Some(base + delta + 1), rest);
    }
    end
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn skip(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.bytes = self.bytes.get(bytes..).context("a short answer")?;
        Ok(())
    }

    fn int<const BYTES: usize>(&mut self) -> anyhow::Result<i64> {
        let (field, rest) = self.bytes.split_at_checked(BYTES).context("a short answer")?;
        self.bytes = rest;
        let is_negative = field.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if is_negative { -1 } else { 0 };
        Ok(field.iter().fold(start, |value, byte| value << 8 | i64::from(*byte)))
    }
}

/// Asks again, a millisecond later, while `call` answers a code that says "not yet".
pub fn until_ready<T>(mut call: impl FnMut() -> anyhow::Result<(i16, T)>) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        match call()? {
            (0, answer) => return Ok(answer),
            (14 | 15 | 16 | 51, _) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            (code, _) => bail!("error {code}"),
        }
    }
}
