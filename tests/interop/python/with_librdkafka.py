"""librdkafka, by confluent-kafka, behind the language of language.py."""

import time

import confluent_kafka
from confluent_kafka import (
    OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

from language import Refused, as_bytes, as_text, headers_in, headers_out, serve

SECONDS = 30


class Librdkafka:
    def __init__(self):
        self.producers, self.consumers = {}, {}

    def refusal(self, error):
        if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
            return Refused(str(error.args[0]), error.args[0].code())
        return None

    def hello(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        return {"client": "librdkafka", "version": f"{confluent_kafka.libversion()[0]} (confluent-kafka {confluent_kafka.version()})"}

    # ------------------------------------------------------------ administration

    def create_topic(self, topic, partitions, config):
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(SECONDS)

    def describe_topic(self, topic):
        described = self.admin.describe_topics(TopicCollection([topic]))[topic].result(SECONDS)
        return {"partitions": len(described.partitions)}

    def grow_topic(self, topic, partitions):
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(SECONDS)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(SECONDS)

    def describe_config(self, topic):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        found = self.admin.describe_configs([resource])[resource].result(SECONDS)
        return {"config": {key: entry.value for key, entry in found.items()}}

    def alter_config(self, topic, config):
        entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.DELETE if value is None
                               else AlterConfigOpType.SET) for key, value in config.items()]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(SECONDS)

    def delete_records(self, topic, partition, before):
        asked = TopicPartition(topic, partition, before)
        return {"low": self.admin.delete_records([asked])[asked].result(SECONDS).low_watermark}

    def offsets(self, topic, partition):
        asked = TopicPartition(topic, partition)
        earliest, latest = (self.admin.list_offsets({asked: spec})[asked].result(SECONDS).offset
                            for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))
        return {"earliest": earliest, "latest": latest}

    def describe_group(self, group):
        described = self.admin.describe_consumer_groups([group])[group].result(SECONDS)
        return {"state": described.state.name, "members": len(described.members)}

    def group_offsets(self, group, topic):
        found = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(SECONDS)
        return {"offsets": {p.partition: p.offset for p in found.topic_partitions if p.topic == topic}}

    def delete_group(self, group):
        self.admin.delete_consumer_groups([group])[group].result(SECONDS)

    # ------------------------------------------------------------ producers

    def producer(self, name, compression="none", idempotent=False, transactional_id=None, transaction_timeout_ms=60_000,
                 bootstrap=None):
        config = {"bootstrap.servers": bootstrap or self.bootstrap, "compression.type": compression, "linger.ms": 2,
                  "enable.idempotence": idempotent, "message.max.bytes": 2_000_000}
        if transactional_id:
            config |= {"transactional.id": transactional_id, "transaction.timeout.ms": transaction_timeout_ms,
                       "enable.idempotence": True}
        self.producers[name] = producer = Producer(config)
        if transactional_id:
            producer.init_transactions(SECONDS)

    def send(self, name, records):
        outcomes = [None] * len(records)

        def report(at):
            def delivered(error, message):
                outcomes[at] = error or message.offset()
            return delivered

        producer = self.producers[name]
        for at, record in enumerate(records):
            producer.produce(record["topic"], as_bytes(record.get("value")), as_bytes(record.get("key")),
                             partition=record.get("partition", 0), headers=headers_out(record.get("headers")),
                             timestamp=record.get("timestamp", 0), on_delivery=report(at))
        producer.flush(SECONDS)
        for outcome in outcomes:
            if not isinstance(outcome, int):
                raise KafkaException(outcome or KafkaError(KafkaError._TIMED_OUT))
        return {"offsets": outcomes}

    def begin(self, name):
        self.producers[name].begin_transaction()

    def commit(self, name):
        self.producers[name].commit_transaction(SECONDS)

    def abort(self, name):
        self.producers[name].abort_transaction(SECONDS)

    def send_offsets(self, name, consumer, offsets):
        positions = [TopicPartition(topic, partition, offset) for topic, partition, offset in offsets]
        self.producers[name].send_offsets_to_transaction(
            positions, self.consumers[consumer].consumer_group_metadata(), SECONDS)

    # ------------------------------------------------------------ consumers

    def consumer(self, name, group=None, isolation="read_committed", strategy="range", protocol="classic"):
        config = {"bootstrap.servers": self.bootstrap, "group.id": group or "nobody", "isolation.level": isolation,
                  "enable.auto.commit": False, "auto.offset.reset": "earliest", "group.protocol": protocol,
                  "fetch.wait.max.ms": 100}
        if protocol == "classic":
            config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 600,
                       "partition.assignment.strategy": {"cooperative": "cooperative-sticky"}.get(strategy, strategy)}
        self.consumers[name] = Consumer(config)

    def assign(self, name, topic, partition, offset=0, time=None):
        reader, asked = self.consumers[name], TopicPartition(topic, partition, offset or OFFSET_BEGINNING)
        if time is not None:
            asked = reader.offsets_for_times([TopicPartition(topic, partition, time)], SECONDS)[0]
        reader.assign([asked])
        return {"offset": asked.offset if time is not None else offset}

    def subscribe(self, name, topic):
        self.consumers[name].subscribe([topic])

    def poll(self, name, count, ms, commit=False):
        reader, records, answer = self.consumers[name], [], {}
        if commit:
            try:
                reader.commit(asynchronous=False)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._NO_OFFSET:
                    answer["commit_error"] = str(error)
        deadline = time.monotonic() + ms / 1000
        while len(records) < count and (left := deadline - time.monotonic()) > 0:
            for message in reader.consume(count - len(records), min(left, 0.1)):
                if message.error():
                    raise KafkaException(message.error())
                records.append(message)
        assignment = sorted(p.partition for p in reader.assignment())
        return {"records": [shown(message) for message in records], "assignment": assignment, **answer}

    def close(self, name):
        if name in self.consumers:
            self.consumers.pop(name).close()
        else:
            self.producers.pop(name)


def shown(message):
    return {"topic": message.topic(), "partition": message.partition(), "offset": message.offset(),
            "key": as_text(message.key()), "value": as_text(message.value()),
            "headers": headers_in(message.headers()), "timestamp": message.timestamp()[1]}


serve(Librdkafka())
