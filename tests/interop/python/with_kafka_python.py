"""kafka-python behind the language of language.py."""

import logging
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from language import Refused, as_bytes, as_text, headers_in, headers_out, serve

SECONDS = 30
# To stderr, which is shown where a scenario fails.
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")


class KafkaPython:
    def __init__(self):
        self.producers, self.consumers = {}, {}

    def refusal(self, error):
        return Refused(f"{type(error).__name__}: {error}", getattr(error, "errno", -1)) if isinstance(error, KafkaError) else None

    def hello(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        return {"client": "kafka-python", "version": kafka.__version__}

    # ------------------------------------------------------------ administration

    def create_topic(self, topic, partitions, config):
        self.admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": config}})

    def describe_topic(self, topic):
        described, = self.admin.describe_topics([topic])
        return {"partitions": len(described["partitions"])}

    def grow_topic(self, topic, partitions):
        self.admin.create_partitions({topic: partitions})

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def describe_config(self, topic):
        asked = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self.admin.describe_configs([asked], config_filter="all")["topic"][topic]
        return {"config": {key: entry["value"] for key, entry in found.items()}}

    def alter_config(self, topic, config):
        changes = {key: ("DELETE", None) if value is None else ("SET", value) for key, value in config.items()}
        result = self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, changes)])
        if (outcome := result["topic"][topic]) != "OK":
            raise Refused(outcome, int(outcome.removeprefix("[Error ").split("]")[0]))

    def delete_records(self, topic, partition, before):
        asked = TopicPartition(topic, partition)
        return {"low": self.admin.delete_records({asked: before})[asked]["low_watermark"]}

    def offsets(self, topic, partition):
        asked, reader = TopicPartition(topic, partition), KafkaConsumer(bootstrap_servers=self.bootstrap)
        try:
            return {"earliest": reader.beginning_offsets([asked])[asked], "latest": reader.end_offsets([asked])[asked]}
        finally:
            reader.close()

    def describe_group(self, group):
        described = self.admin.describe_groups([group])[group]
        return {"state": described["group_state"], "members": len(described["members"])}

    def group_offsets(self, group, topic):
        found = self.admin.list_group_offsets(group)[group]
        return {"offsets": {asked.partition: at.offset for asked, at in found.items() if asked.topic == topic}}

    def delete_group(self, group):
        if (outcome := dict(self.admin.delete_groups([group]))[group]) != "OK":
            raise getattr(kafka.errors, outcome)(group)

    # ------------------------------------------------------------ producers

    def producer(self, name, compression="none", idempotent=False, transactional_id=None, transaction_timeout_ms=60_000,
                 bootstrap=None):
        config = {"bootstrap_servers": bootstrap or self.bootstrap, "linger_ms": 2, "max_request_size": 2_000_000,
                  "compression_type": None if compression == "none" else compression, "enable_idempotence": idempotent}
        if transactional_id:
            config |= {"transactional_id": transactional_id, "transaction_timeout_ms": transaction_timeout_ms,
                       "enable_idempotence": True}
        self.producers[name] = producer = KafkaProducer(**config)
        if transactional_id:
            producer.init_transactions()

    def send(self, name, records):
        producer = self.producers[name]
        sent = [producer.send(record["topic"], as_bytes(record.get("value")), as_bytes(record.get("key")),
                              headers_out(record.get("headers")), record.get("partition", 0), record.get("timestamp"))
                for record in records]
        return {"offsets": [future.get(SECONDS).offset for future in sent]}

    def begin(self, name):
        self.producers[name].begin_transaction()

    def commit(self, name):
        self.producers[name].commit_transaction()

    def abort(self, name):
        self.producers[name].abort_transaction()

    def send_offsets(self, name, consumer, offsets):
        positions = {TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
                     for topic, partition, offset in offsets}
        self.producers[name].send_offsets_to_transaction(positions, self.consumers[consumer].group_metadata())

    # ------------------------------------------------------------ consumers

    def consumer(self, name, group=None, isolation="read_committed", strategy="range", protocol="classic"):
        self.consumers[name] = KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, isolation_level=isolation, enable_auto_commit=False,
            auto_offset_reset="earliest", session_timeout_ms=6000, fetch_max_wait_ms=100,
            heartbeat_interval_ms=600, **strategies(strategy))

    def assign(self, name, topic, partition, offset=0, time=None):
        reader, asked = self.consumers[name], TopicPartition(topic, partition)
        reader.assign([asked])
        if time is not None:
            offset = reader.offsets_for_times({asked: time})[asked].offset
        if offset:
            reader.seek(asked, offset)
        return {"offset": offset}

    def subscribe(self, name, topic):
        self.consumers[name].subscribe([topic])

    def poll(self, name, count, ms, commit=False):
        reader, records, answer = self.consumers[name], [], {}
        if commit:
            try:
                reader.commit()
            except KafkaError as error:
                answer["commit_error"] = str(error)
        deadline = time.monotonic() + ms / 1000
        while len(records) < count and (left := deadline - time.monotonic()) > 0:
            for part in reader.poll(timeout_ms=int(left * 1000) + 1, max_records=count - len(records)).values():
                records += part
        assignment = sorted(p.partition for p in reader.assignment() or [])
        return {"records": [shown(record) for record in records], "assignment": assignment, **answer}

    def close(self, name):
        (self.consumers if name in self.consumers else self.producers).pop(name).close()


def strategies(strategy):
    """The cooperative assignor where it is asked for; else kafka-python's own default."""
    if strategy != "cooperative":
        return {}
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    return {"partition_assignment_strategy": (CooperativeStickyAssignor,)}


def shown(record):
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset, "key": as_text(record.key),
            "value": as_text(record.value), "headers": headers_in(record.headers), "timestamp": record.timestamp}


serve(KafkaPython())
