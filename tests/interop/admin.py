"""The admin client: topics, partitions, configs, groups and offsets, from creation to deletion."""

import time

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

from common import ADMIN, SECONDS_MAX, check, committed, consumer, new_topic, producer, read_all, transactional, unique, values

client = ADMIN


def refused(what, future, code):
    try:
        future.result(SECONDS_MAX)
        check(what, "done", code)
    except KafkaException as error:
        check(what, error.args[0].name(), code)


def topics():
    name = unique("admin")
    wanted = NewTopic(name, 3, 1, config={"retention.ms": "3600000", "cleanup.policy": "delete"})
    refused("validate only creates nothing", client.create_topics([NewTopic(name, 3, 9)], validate_only=True)[name],
            "INVALID_REPLICATION_FACTOR")
    client.create_topics([wanted])[name].result(SECONDS_MAX)
    refused("a second topic of the name", client.create_topics([wanted])[name], "TOPIC_ALREADY_EXISTS")
    bad = unique("admin")
    refused("a topic with a bad config", client.create_topics([NewTopic(bad, 1, 1, config={"retention.ms": "soon"})])[bad],
            "INVALID_CONFIG")
    refused("a topic with an unknown config", client.create_topics([NewTopic(bad, 1, 1, config={"retention.mss": "1"})])[bad],
            "INVALID_CONFIG")
    refused("a topic with a bad name", client.create_topics([NewTopic("no/slash", 1, 1)])["no/slash"], "TOPIC_EXCEPTION")
    described = client.describe_topics(TopicCollection([name]))[name].result(SECONDS_MAX)
    check("three partitions with a leader and a replica each",
          [(p.id, p.leader.id, len(p.replicas), len(p.isr)) for p in described.partitions],
          [(number, described.partitions[0].leader.id, 1, 1) for number in range(3)])
    client.create_partitions([NewPartitions(name, 5)])[name].result(SECONDS_MAX)
    check("five partitions", len(client.list_topics(name, SECONDS_MAX).topics[name].partitions), 5)
    refused("fewer partitions", client.create_partitions([NewPartitions(name, 2)])[name], "INVALID_PARTITIONS")
    return name


def configs(name):
    topic = ConfigResource(ResourceType.TOPIC, name)

    def seen(key):
        entry = client.describe_configs([topic])[topic].result(SECONDS_MAX)[key]
        return entry.value, entry.is_default

    def alter(key, value, operation):
        change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
            ConfigEntry(key, value, incremental_operation=operation)])
        return client.incremental_alter_configs([change])[change]

    check("a config given at creation", seen("retention.ms"), ("3600000", False))
    check("a config that is a default", seen("max.message.bytes"), ("1048588", True))
    alter("max.message.bytes", "2000000", AlterConfigOpType.SET).result(SECONDS_MAX)
    check("a config that was set", seen("max.message.bytes"), ("2000000", False))
    alter("max.message.bytes", None, AlterConfigOpType.DELETE).result(SECONDS_MAX)
    check("a config that was deleted", seen("max.message.bytes"), ("1048588", True))
    alter("cleanup.policy", "compact", AlterConfigOpType.APPEND).result(SECONDS_MAX)
    check("a list that was appended to", seen("cleanup.policy"), ("delete,compact", False))
    alter("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT).result(SECONDS_MAX)
    check("a list that was taken from", seen("cleanup.policy")[0], "delete")
    refused("a bad value", alter("retention.ms", "soon", AlterConfigOpType.SET), "INVALID_CONFIG")
    check("which changed nothing", seen("retention.ms"), ("3600000", False))


def cluster():
    described = client.describe_cluster().result(SECONDS_MAX)
    check("one node, which is the controller", [n.id for n in described.nodes], [described.controller.id])
    check("the cluster has an id", bool(described.cluster_id), True)
    broker = ConfigResource(ResourceType.BROKER, str(described.controller.id))
    check("the broker's configs", "log.dirs" in client.describe_configs([broker])[broker].result(SECONDS_MAX), True)


def offsets():
    name = new_topic("admin.offsets")
    writer = producer()
    for number in range(10):
        writer.produce(name, str(number), timestamp=1_000_000 + number)
    check("ten messages", writer.flush(SECONDS_MAX), 0)
    at = TopicPartition(name, 0)

    def listed(spec, **options):
        return client.list_offsets({at: spec}, **options)[at].result(SECONDS_MAX).offset

    check("earliest and latest", (listed(OffsetSpec.earliest()), listed(OffsetSpec.latest())), (0, 10))
    check("by timestamp", listed(OffsetSpec.for_timestamp(1_000_004)), 4)
    check("of the greatest timestamp", listed(OffsetSpec.max_timestamp()), 9)
    open_one = transactional(unique("admin"))
    open_one.begin_transaction()
    open_one.produce(name, "open")
    open_one.flush(SECONDS_MAX)
    check("the latest for read-uncommitted", listed(OffsetSpec.latest()), 11)
    check("the latest for read-committed",
          listed(OffsetSpec.latest(), isolation_level=IsolationLevel.READ_COMMITTED), 10)
    open_one.abort_transaction(SECONDS_MAX)
    client.delete_records([TopicPartition(name, 0, 4)])[at].result(SECONDS_MAX)
    check("deleted records are gone", values(read_all(name)), [str(number) for number in range(4, 10)])
    check("the log begins behind them", listed(OffsetSpec.earliest()), 4)


def groups():
    name, group = new_topic("admin.groups", 2), unique("admin")
    writer = producer()
    for number in range(10):
        writer.produce(name, str(number), partition=number % 2)
    writer.flush(SECONDS_MAX)
    reader = consumer(group)
    reader.subscribe([name])
    seen, deadline = 0, time.monotonic() + SECONDS_MAX
    while seen < 10 and time.monotonic() < deadline:
        seen += len(reader.consume(10, 0.2))
    reader.commit(asynchronous=False)
    refused("a group with members is not deleted", client.delete_consumer_groups([group])[group], "NON_EMPTY_GROUP")
    check("it is listed", group in [g.group_id for g in client.list_consumer_groups().result(SECONDS_MAX).valid], True)
    reader.close()
    described = client.describe_consumer_groups([group])[group].result(SECONDS_MAX)
    check("it is empty after its member has left", (described.state.name, len(described.members)), ("EMPTY", 0))
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0), TopicPartition(name, 1)])
    found = client.list_consumer_group_offsets([asked])[group].result(SECONDS_MAX)
    check("its offsets", [p.offset for p in found.topic_partitions], [5, 5])
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 2)])
    client.alter_consumer_group_offsets([moved])[group].result(SECONDS_MAX)
    check("its offset moved", (committed(group, name, 0), committed(group, name, 1)), (2, 5))
    client.delete_consumer_groups([group])[group].result(SECONDS_MAX)
    check("it is deleted", group in [g.group_id for g in client.list_consumer_groups().result(SECONDS_MAX).valid], False)
    refused("and not known any more", client.delete_consumer_groups([group])[group], "GROUP_ID_NOT_FOUND")


def deletion(name):
    client.delete_topics([name])[name].result(SECONDS_MAX)
    check("the topic is gone", name in client.list_topics(timeout=SECONDS_MAX).topics, False)
    refused("deleting it again", client.delete_topics([name])[name], "UNKNOWN_TOPIC_OR_PART")
    client.create_topics([NewTopic(name, 1, 1)])[name].result(SECONDS_MAX)
    check("a new one of its name is empty", values(read_all(name)), [])


kept = topics()
configs(kept)
cluster()
offsets()
groups()
deletion(kept)
