"""What the Python scenarios share: clients with short timeouts, topics, and a check that says what differs."""

import os
import subprocess
import sys
import time
import uuid

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

BOOTSTRAP = os.environ["BOOTSTRAP"]
SECONDS_MAX = 30


def check(what, got, wanted):
    """Ends the scenario if they differ."""
    if got != wanted:
        print(f"WRONG: {what}\n   got    {got!r}\n   wanted {wanted!r}", flush=True)
        sys.exit(1)
    print(f"ok: {what}", flush=True)


def unique(prefix):
    return f"{prefix}.{uuid.uuid4().hex[:8]}"


# One for the whole program: what is under way ends with the client that began it.
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def new_topic(prefix, partitions=1, **config):
    """A topic of one's own; `config` with underscores for dots."""
    name = unique(prefix)
    settings = {key.replace("_", "."): str(value) for key, value in config.items()}
    made = ADMIN.create_topics([NewTopic(name, partitions, 1, config=settings)])
    made[name].result(SECONDS_MAX)
    return name


def tidemill(*arguments):
    """Runs one of the binary's own verbs; gives what it printed."""
    environment = dict(os.environ, TIDEMILL_BOOTSTRAP_SERVERS=BOOTSTRAP, TIDEMILL_ADMIN=os.environ["ADMIN_URL"])
    done = subprocess.run([os.environ["TIDEMILL"], *arguments], env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        print(f"WRONG: tidemill {' '.join(arguments)}: status {done.returncode}\n{done.stderr}", flush=True)
        sys.exit(1)
    return done.stdout


def named(config):
    """Settings with underscores for dots; one of librdkafka's has an underscore itself."""
    return {key if key == "log_level" else key.replace("_", "."): value for key, value in config.items()}


def producer(**config):
    return Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 1, **named(config)})


def transactional(transactional_id, **config):
    """A producer whose transactions are initialised."""
    made = producer(transactional_id=transactional_id, **config)
    made.init_transactions(SECONDS_MAX)
    return made


def consumer(group=None, **config):
    settings = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": group or unique("nobody"),
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    return Consumer(settings | named(config))


def read_all(topic, isolation="read_committed", partitions=1):
    """Every message of a topic up to its end, as this isolation level sees it."""
    reader = consumer(isolation_level=isolation, enable_partition_eof=True)
    reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    messages, ended, deadline = [], set(), time.monotonic() + SECONDS_MAX
    while len(ended) < partitions:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{topic} has no end: {len(messages)} messages")
        message = reader.poll(1.0)
        if message is None:
            continue
        if message.error() is None:
            messages.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            raise KafkaException(message.error())
    reader.close()
    return messages


def read_settled(topic, isolation="read_committed", partitions=1):
    """The same once no transaction is under way: as in Kafka, a commit is answered before all partitions have its marker."""
    asked, deadline = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}, time.monotonic() + SECONDS_MAX
    while True:
        ends = [[found.result(SECONDS_MAX).offset for found in ADMIN.list_offsets(asked, isolation_level=level).values()]
                for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)]
        if ends[0] == ends[1]:
            return read_all(topic, isolation, partitions)
        if time.monotonic() > deadline:
            raise TimeoutError(f"a transaction on {topic} does not end: {ends}")
        time.sleep(0.01)


def values(messages):
    return [message.value().decode() for message in messages]


def committed(group, topic, partition=0):
    reader = consumer(group)
    offset = reader.committed([TopicPartition(topic, partition)], SECONDS_MAX)[0].offset
    reader.close()
    return offset
