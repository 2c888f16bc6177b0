"""aiokafka behind the language of language.py. Its loop runs in a thread of its own, as in a service."""

import asyncio
import functools
import threading
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, ProducerFenced, for_code

from language import Refused, as_bytes, as_text, headers_in, headers_out, serve

SECONDS = 30
PRODUCER_FENCED = 90
DYNAMIC_TOPIC_CONFIG = 1
LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def on_the_loop(method):
    """A coroutine method that is called from outside of the loop."""
    @functools.wraps(method)
    def call(*arguments, **named):
        return asyncio.run_coroutine_threadsafe(method(*arguments, **named), LOOP).result()
    return call


def raise_for(code, message=""):
    """The administrator's client leaves answers as they are."""
    if code:
        raise for_code(code)(message)


class Aiokafka:
    def __init__(self):
        self.producers, self.consumers = {}, {}

    def refusal(self, error):
        # Its own class for both of Kafka's errors of that meaning, without a number.
        code = PRODUCER_FENCED if isinstance(error, ProducerFenced) else getattr(error, "errno", -1)
        return Refused(f"{type(error).__name__}: {error}", code) if isinstance(error, KafkaError) else None

    @on_the_loop
    async def hello(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await self.admin.start()
        return {"client": "aiokafka", "version": aiokafka.__version__}

    # ------------------------------------------------------------ administration

    @on_the_loop
    async def create_topic(self, topic, partitions, config):
        answer = await self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])
        raise_for(answer.topic_errors[0][1])

    @on_the_loop
    async def describe_topic(self, topic):
        described, = await self.admin.describe_topics([topic])
        raise_for(described["error_code"])
        return {"partitions": len(described["partitions"])}

    @on_the_loop
    async def grow_topic(self, topic, partitions):
        await self.admin.create_partitions({topic: NewPartitions(partitions)})

    @on_the_loop
    async def delete_topic(self, topic):
        answer = await self.admin.delete_topics([topic])
        raise_for(answer.topic_error_codes[0][1])

    @on_the_loop
    async def describe_config(self, topic):
        answer, = await self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        code, message, _, _, entries = answer.resources[0]
        raise_for(code, message)
        return {"config": {entry[0]: entry[1] for entry in entries}}

    @on_the_loop
    async def alter_config(self, topic, config):
        """AlterConfigs (33) unsets what it does not name: what is set stays with it."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        described, = await self.admin.describe_configs([resource])
        kept = {entry[0]: entry[1] for entry in described.resources[0][4] if entry[3] == DYNAMIC_TOPIC_CONFIG}
        resource.configs = {key: value for key, value in (kept | config).items() if value is not None}
        answer, = await self.admin.alter_configs([resource])
        raise_for(*answer.resources[0][:2])

    @on_the_loop
    async def delete_records(self, topic, partition, before):
        asked = TopicPartition(topic, partition)
        return {"low": (await self.admin.delete_records({asked: RecordsToDelete(before)}))[asked]}

    @on_the_loop
    async def offsets(self, topic, partition):
        asked, reader = TopicPartition(topic, partition), AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await reader.start()
        try:
            return {"earliest": (await reader.beginning_offsets([asked]))[asked],
                    "latest": (await reader.end_offsets([asked]))[asked]}
        finally:
            await reader.stop()

    @on_the_loop
    async def describe_group(self, group):
        answer, = await self.admin.describe_consumer_groups([group])
        code, _, state, _, _, members, *_ = answer.groups[0]
        raise_for(code)
        return {"state": state, "members": len(members)}

    @on_the_loop
    async def group_offsets(self, group, topic):
        found = await self.admin.list_consumer_group_offsets(group)
        return {"offsets": {asked.partition: at.offset for asked, at in found.items() if asked.topic == topic}}

    # ------------------------------------------------------------ producers

    @on_the_loop
    async def producer(self, name, compression="none", idempotent=False, transactional_id=None,
                       transaction_timeout_ms=60_000, bootstrap=None):
        config = {"bootstrap_servers": bootstrap or self.bootstrap, "linger_ms": 2, "max_request_size": 2_000_000,
                  "compression_type": None if compression == "none" else compression, "enable_idempotence": idempotent}
        if transactional_id:
            config |= {"transactional_id": transactional_id, "transaction_timeout_ms": transaction_timeout_ms,
                       "enable_idempotence": True}
        self.producers[name] = producer = AIOKafkaProducer(**config)
        await producer.start()

    @on_the_loop
    async def send(self, name, records):
        sent = [await self.producers[name].send(
            record["topic"], as_bytes(record.get("value")), as_bytes(record.get("key")),
            partition=record.get("partition", 0), timestamp_ms=record.get("timestamp"),
            headers=headers_out(record.get("headers"))) for record in records]
        return {"offsets": [(await future).offset for future in sent]}

    @on_the_loop
    async def begin(self, name):
        await self.producers[name].begin_transaction()

    @on_the_loop
    async def commit(self, name):
        await self.producers[name].commit_transaction()

    @on_the_loop
    async def abort(self, name):
        await self.producers[name].abort_transaction()

    @on_the_loop
    async def send_offsets(self, name, consumer, offsets):
        group = self.consumers[consumer]._group_id
        await self.producers[name].send_offsets_to_transaction(
            {TopicPartition(topic, partition): offset for topic, partition, offset in offsets}, group)

    # ------------------------------------------------------------ consumers

    @on_the_loop
    async def consumer(self, name, group=None, isolation="read_committed", strategy="range", protocol="classic"):
        self.consumers[name] = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, isolation_level=isolation, enable_auto_commit=False,
            auto_offset_reset="earliest", session_timeout_ms=6000, fetch_max_wait_ms=100,
            heartbeat_interval_ms=600)

    @on_the_loop
    async def assign(self, name, topic, partition, offset=0, time=None):
        reader, asked = self.consumers[name], TopicPartition(topic, partition)
        reader.assign([asked])
        await reader.start()
        if time is not None:
            offset = (await reader.offsets_for_times({asked: time}))[asked].offset
        if offset:
            reader.seek(asked, offset)
        return {"offset": offset}

    @on_the_loop
    async def subscribe(self, name, topic):
        self.consumers[name].subscribe([topic])
        # It returns when the member has its first assignment.
        await asyncio.wait_for(self.consumers[name].start(), SECONDS)

    @on_the_loop
    async def poll(self, name, count, ms, commit=False):
        reader, records, answer = self.consumers[name], [], {}
        if commit:
            try:
                await reader.commit()
            except KafkaError as error:
                answer["commit_error"] = str(error)
        deadline = time.monotonic() + ms / 1000
        while len(records) < count and (left := deadline - time.monotonic()) > 0:
            found = await reader.getmany(timeout_ms=int(left * 1000) + 1, max_records=count - len(records))
            for part in found.values():
                records += part
        assignment = sorted(p.partition for p in reader.assignment())
        return {"records": [shown(record) for record in records], "assignment": assignment, **answer}

    @on_the_loop
    async def close(self, name):
        await (self.consumers if name in self.consumers else self.producers).pop(name).stop()


def shown(record):
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset, "key": as_text(record.key),
            "value": as_text(record.value), "headers": headers_in(record.headers), "timestamp": record.timestamp}


serve(Aiokafka())
