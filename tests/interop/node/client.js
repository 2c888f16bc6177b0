// kafkajs behind the language of ../python/language.py.
'use strict';

const readline = require('node:readline');
const { ConfigResourceTypes, ConfigSource, CompressionTypes, Kafka, KafkaJSProtocolError, logLevel } = require('kafkajs');
const { version } = require('kafkajs/package.json');

const COMPRESSION = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };

let kafka, admin;
const producers = new Map(), consumers = new Map();

const text = (bytes) => (bytes === null || bytes === undefined ? null : bytes.toString());

// kafkajs keeps headers by name, those of one name in an array.
function headersOut(headers) {
  const byName = {};
  for (const [name, value] of headers || []) {
    byName[name] = name in byName ? [byName[name], value].flat() : value;
  }
  return byName;
}

const headersIn = (headers) => Object.entries(headers || {}).flatMap(
  ([name, values]) => [values].flat().map((value) => [name, text(value)]));

// kafkajs knows "created" and "was there", and throws for the rest.
function mustBe(done) {
  if (!done) throw new KafkaJSProtocolError({ message: 'the topic exists', type: 'TOPIC_ALREADY_EXISTS', code: 36, retriable: false });
}

class Reader {
  constructor({ group, isolation }) {
    this.buffer = [];
    this.polled = [];
    this.assignment = [];
    this.wake = () => {};
    this.consumer = kafka.consumer({
      groupId: group, sessionTimeout: 6000, heartbeatInterval: 600, maxWaitTimeInMs: 100,
      readUncommitted: isolation === 'read_uncommitted',
    });
  }

  async subscribe(topic) {
    const joined = new Promise((resolve) => { this.consumer.on(this.consumer.events.GROUP_JOIN, resolve); });
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      // It begins again at what is committed.
      this.buffer = [];
      this.polled = [];
      this.assignment = payload.memberAssignment[topic] || [];
    });
    this.consumer.on(this.consumer.events.REBALANCING, () => {
      this.assignment = [];
    });
    await this.consumer.connect();
    await this.consumer.subscribe({ topics: [topic], fromBeginning: true });
    await this.consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, resolveOffset, isStale, isRunning }) => {
        for (const message of batch.messages) {
          if (!isRunning() || isStale()) return;
          this.buffer.push({
            topic: batch.topic, partition: batch.partition, offset: Number(message.offset), key: text(message.key),
            value: text(message.value), headers: headersIn(message.headers), timestamp: Number(message.timestamp),
          });
          resolveOffset(message.offset);
        }
        this.wake();
      },
    });
    await joined;
  }

  async poll({ count, ms, commit }) {
    const answer = {};
    if (commit && this.polled.length > 0) {
      const next = new Map(this.polled.map((r) => [r.partition, { topic: r.topic, partition: r.partition, offset: String(r.offset + 1) }]));
      this.polled = [];
      await this.consumer.commitOffsets([...next.values()]).catch((error) => { answer.commit_error = error.message; });
    }
    const deadline = Date.now() + ms;
    while (this.buffer.length < count && Date.now() < deadline) {
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, Math.min(deadline - Date.now(), 100));
      });
    }
    const records = this.buffer.splice(0, count);
    this.polled.push(...records);
    return Object.assign(answer, { records, assignment: this.assignment });
  }
}

const commands = {
  async hello({ bootstrap, seconds }) {
    setTimeout(() => process.exit(3), seconds * 1000).unref();
    kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 10 } });
    admin = kafka.admin({ retry: { retries: 2 } });
    await admin.connect();
    return { client: 'kafkajs', version };
  },

  create_topic: async ({ topic, partitions, config }) => mustBe(await admin.createTopics({
    topics: [{ topic, numPartitions: partitions, configEntries: Object.entries(config).map(([name, value]) => ({ name, value })) }],
  })),
  describe_topic: async ({ topic }) => {
    const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [topic] });
    return { partitions: described.partitions.length };
  },
  grow_topic: async ({ topic, partitions }) => { await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] }); },
  delete_topic: async ({ topic }) => { await admin.deleteTopics({ topics: [topic] }); },
  describe_config: async ({ topic }) => {
    const { resources: [found] } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }], includeSynonyms: false });
    return { config: Object.fromEntries(found.configEntries.map((entry) => [entry.configName, entry.configValue])) };
  },
  // AlterConfigs (33) unsets what it does not name: what is set stays with it.
  alter_config: async ({ topic, config }) => {
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
    const { resources: [found] } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false });
    const kept = found.configEntries.filter((entry) => entry.configSource === ConfigSource.TOPIC_CONFIG);
    const wanted = { ...Object.fromEntries(kept.map((entry) => [entry.configName, entry.configValue])), ...config };
    const configEntries = Object.entries(wanted).filter(([, value]) => value !== null).map(([name, value]) => ({ name, value }));
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] });
  },
  delete_records: async ({ topic, partition, before }) => {
    // It looks for the leader before it asks for it: only of topics that it has met before.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
    // It does not tell what the broker answers.
    return { low: (await commands.offsets({ topic, partition })).earliest };
  },
  offsets: async ({ topic, partition }) => {
    const found = (await admin.fetchTopicOffsets(topic)).find((at) => at.partition === partition);
    return { earliest: Number(found.low), latest: Number(found.high) };
  },
  describe_group: async ({ group }) => {
    const { groups: [described] } = await admin.describeGroups([group]);
    return { state: described.state, members: described.members.length };
  },
  group_offsets: async ({ group, topic }) => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    return { offsets: Object.fromEntries(partitions.map((at) => [at.partition, Number(at.offset)])) };
  },
  delete_group: async ({ group }) => { await admin.deleteGroups([group]); },

  async producer({ name, compression = 'none', idempotent = false, transactional_id: transactionalId, transaction_timeout_ms: transactionTimeout, bootstrap }) {
    const through = bootstrap ? new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 10 } }) : kafka;
    const config = transactionalId
      ? { transactionalId, transactionTimeout, idempotent: true, maxInFlightRequests: 1 }
      : { idempotent, maxInFlightRequests: idempotent ? 1 : undefined };
    const producer = through.producer(config);
    await producer.connect();
    producers.set(name, { producer, compression: COMPRESSION[compression], sender: producer });
  },
  async send({ name, records }) {
    const { sender, compression } = producers.get(name);
    const offsets = [];
    const places = groupBy(records, (record) => `${record.topic}/${record.partition || 0}`);
    for (const part of places.values()) {
      const [answer] = await sender.send({
        topic: part[0].topic, compression, acks: -1,
        messages: part.map((record) => ({
          key: record.key, value: record.value, partition: record.partition || 0, headers: headersOut(record.headers),
          timestamp: record.timestamp === undefined || record.timestamp === null ? undefined : String(record.timestamp),
        })),
      });
      part.forEach((record, at) => { offsets[records.indexOf(record)] = Number(answer.baseOffset) + at; });
    }
    return { offsets };
  },
  async begin({ name }) {
    const own = producers.get(name);
    own.sender = await own.producer.transaction();
  },
  commit: async ({ name }) => { await producers.get(name).sender.commit(); },
  abort: async ({ name }) => { await producers.get(name).sender.abort(); },
  async send_offsets({ name, consumer, offsets }) {
    await producers.get(name).sender.sendOffsets({
      consumerGroupId: consumers.get(consumer).group,
      topics: offsets.map(([topic, partition, offset]) => ({ topic, partitions: [{ partition, offset: String(offset) }] })),
    });
  },

  async session({ name, consumer, group, topic, transactional_id }) {
    await commands.producer({ name, transactional_id });
    await commands.consumer({ name: consumer, group });
    await commands.subscribe({ name: consumer, topic });
  },
  async consumer(options) {
    const group = options.group || `nobody-${process.pid}-${consumers.size}-${Date.now()}`;
    consumers.set(options.name, Object.assign(new Reader({ ...options, group }), { group }));
  },
  // kafkajs reads through groups only; from a chosen offset by a seek.
  async assign({ name, topic, partition, offset = 0, time }) {
    const reader = consumers.get(name);
    let from = offset;
    if (time !== undefined && time !== null) {
      from = Number((await admin.fetchTopicOffsetsByTimestamp(topic, time)).find((at) => at.partition === partition).offset);
    }
    await reader.subscribe(topic);
    reader.consumer.seek({ topic, partition, offset: String(from) });
    reader.buffer = [];
    return { offset: from };
  },
  subscribe: async ({ name, topic }) => { await consumers.get(name).subscribe(topic); },
  poll: async (options) => consumers.get(options.name).poll(options),
  async close({ name }) {
    const own = consumers.has(name) ? consumers.get(name).consumer : producers.get(name).producer;
    consumers.delete(name) || producers.delete(name);
    await own.disconnect();
  },
};

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) || []), item]);
  return groups;
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const command = JSON.parse(line);
    let answer;
    try {
      if (!commands[command.do]) throw new Error(`no such command: ${command.do}`);
      answer = (await commands[command.do](command)) || {};
    } catch (error) {
      const causes = [error, error.cause, ...[...(error.errors || []), ...(error.groups || [])].map((one) => one.error || one)];
      const known = causes.find((one) => one && Number.isInteger(one.code));
      if (!known) console.error(error);
      answer = { error: `${error.name}: ${error.message}`, code: known ? known.code : -1 };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}

// kafkajs rejects promises of its own that nobody waits for when a connection breaks.
process.on('unhandledRejection', (error) => console.error(error));
main();
