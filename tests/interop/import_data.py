"""What import_log.py puts into Apache Kafka, and all that a client can see of it, in Kafka and after the import."""

import concurrent.futures
import random
import threading
import time

from common import check, named
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

SECONDS_MAX = 30
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SEGMENT_BYTES = 1 << 20
# Name, partitions and settings. A name may end like a partition's directory.
TOPICS = {
    "everything": (3, {}),
    "transactions": (2, {}),
    "segments": (1, {"segment.bytes": SEGMENT_BYTES}),
    "beginning.deleted": (1, {"segment.bytes": SEGMENT_BYTES}),
    "compacted": (1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.bytes": SEGMENT_BYTES}),
    "stamped-by-the-log-7": (1, {"message.timestamp.type": "LogAppendTime"}),
    "left.open": (1, {}),
    "nothing_in_it": (2, {}),
}
# In the second segment, so that the first one goes.
DELETED_BELOW = 137
# Groups of both protocols, one whose offsets came in transactions, and two with a member that was there to the end.
GROUPS = {"classic": "everything", "consumer": "everything", "by-transaction": "transactions", "classic-at-work": "segments",
          "consumer-at-work": "segments"}
MEMBER_SESSION_MS = 6000
# Where transactions are under way when Kafka is killed.
BUSY, BUSY_PARTITIONS = "busy", 3


class Side:
    """A cluster as stock clients see it."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def producer(self, **settings):
        return Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 1, "log_level": 0, **named(settings)})

    def transactional(self, transactional_id, **settings):
        made = self.producer(transactional_id=transactional_id, **settings)
        made.init_transactions(SECONDS_MAX)
        return made

    def consumer(self, group, **settings):
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0,
                         "auto.offset.reset": "earliest", **named(settings)})

    def read(self, topic, partitions, isolation):
        """Every record with all that a client is shown of it, partition by partition."""
        reader = self.consumer("nobody", isolation_level=isolation, enable_partition_eof=True)
        reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        records, ended, deadline = [], set(), time.monotonic() + SECONDS_MAX
        while len(ended) < partitions:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} has no end: {len(records)} records")
            for message in reader.consume(1000, 0.2):
                if message.error() is None:
                    records.append((message.partition(), message.offset(), message.timestamp(), message.key(), message.value(), message.headers()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(message.error())
        reader.close()
        return sorted(records, key=lambda record: record[:2])

    def offsets(self, topic, partitions, spec, isolation=IsolationLevel.READ_UNCOMMITTED):
        """What ListOffsets says for each partition: offset and timestamp."""
        asked = {TopicPartition(topic, number): spec for number in range(partitions)}
        answers = self.admin.list_offsets(asked, isolation_level=isolation)
        found = {partition.partition: answer.result(SECONDS_MAX) for partition, answer in answers.items()}
        return [(found[number].offset, found[number].timestamp) for number in range(partitions)]

    def end(self, topic, isolation=IsolationLevel.READ_UNCOMMITTED):
        partitions = TOPICS[topic][0] if topic in TOPICS else BUSY_PARTITIONS
        return [offset for offset, _ in self.offsets(topic, partitions, OffsetSpec.latest(), isolation)]

    def is_settled(self, topic):
        """Whether no transaction is open."""
        return self.end(topic, IsolationLevel.READ_COMMITTED) == self.end(topic)

    def topic_ids(self):
        described = self.admin.describe_topics(TopicCollection(list(TOPICS)))
        return {name: str(found.result(SECONDS_MAX).topic_id) for name, found in described.items()}

    def settings(self):
        """The settings of TOPICS as they are."""
        resources = {topic: ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in TOPICS}
        described = self.admin.describe_configs(list(resources.values()))
        return {topic: {key: described[resource].result(SECONDS_MAX)[key].value for key in TOPICS[topic][1]} for topic, resource in resources.items()}

    def committed(self, group):
        """Topic, partition, offset and metadata of all that a group has committed, whatever transactions are still to add."""
        reader = self.consumer(group, isolation_level="read_uncommitted")
        asked = [TopicPartition(topic, number) for topic, (partitions, _) in TOPICS.items() for number in range(partitions)]
        found = reader.committed(asked, SECONDS_MAX)
        reader.close()
        return sorted((one.topic, one.partition, one.offset, one.metadata) for one in found if one.offset >= 0)


def protocol_of(group):
    if group.startswith("consumer"):
        return {"group_protocol": "consumer"}
    return {"group_protocol": "classic", "session_timeout_ms": MEMBER_SESSION_MS}


def look(side):
    """All that clients see, for a comparison."""
    seen = {"topic ids": side.topic_ids(), "settings": side.settings()}
    # Clients wait more than they work.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for answers in pool.map(lambda topic: look_at(side, topic), TOPICS):
            seen |= answers
        seen |= zip([f"offsets of group {group}" for group in GROUPS], pool.map(side.committed, GROUPS))
    return seen


def look_at(side, topic):
    partitions, seen = TOPICS[topic][0], {}
    for isolation in ("read_uncommitted", "read_committed"):
        seen[f"{topic} at {isolation}"] = side.read(topic, partitions, isolation)
        seen[f"the end of {topic} at {isolation}"] = side.end(topic, IsolationLevel[isolation.upper()])
    seen[f"the beginning of {topic}"] = side.offsets(topic, partitions, OffsetSpec.earliest())
    seen[f"the largest time of {topic}"] = side.offsets(topic, partitions, OffsetSpec.max_timestamp())
    times = sorted({record[2][1] for record in seen[f"{topic} at read_uncommitted"]})
    for time_ms in [*times[::max(len(times) // 20, 1)], times[-1] + 1] if times else [0]:
        seen[f"{topic} from {time_ms}"] = side.offsets(topic, partitions, OffsetSpec.for_timestamp(time_ms))
    return seen


class Busy(threading.Thread):
    """Transactions over all partitions of a topic, until Kafka dies under them."""

    IDENTITY, ENOUGH = "busy", 50

    def __init__(self, side):
        super().__init__(daemon=True)
        self.side, self.committed, self.stopping = side, [], threading.Event()
        side.admin.create_topics([NewTopic(BUSY, BUSY_PARTITIONS, 1)])[BUSY].result(SECONDS_MAX)

    def run(self):
        writer, turn = self.side.transactional(self.IDENTITY), 0
        while not self.stopping.is_set():
            writer.begin_transaction()
            for number in range(2 * BUSY_PARTITIONS):
                writer.produce(BUSY, str(turn), partition=number % BUSY_PARTITIONS)
            try:
                writer.commit_transaction(SECONDS_MAX)
            except KafkaException:
                return
            self.committed.append(turn)
            turn += 1


class Written:
    """Fills a Kafka; `open` are clients that are in the middle of something, for as long as they are held."""

    def __init__(self, kafka, side):
        self.kafka, self.side, self.open = kafka, side, []
        self.dice = random.Random(1)
        # An hour ago: nothing of it is old enough to go.
        self.clock_ms = int(time.time() * 1000) - 3_600_000

    def tick(self, step_ms=1):
        self.clock_ms += step_ms
        return self.clock_ms

    def all(self):
        """Transactions last: their markers have the time of now, behind which a search by time would see nothing."""
        made = self.side.admin.create_topics([NewTopic(name, partitions, 1, config={key: str(value) for key, value in settings.items()})
                                              for name, (partitions, settings) in TOPICS.items()])
        for one in made.values():
            one.result(SECONDS_MAX)
        for write in (self.everything, self.segments, self.beginning_deleted, self.stamped, self.groups):
            write()
        self.clock_ms = int(time.time() * 1000)
        for write in (self.transactions, self.compacted, self.left_open):
            write()
        self.wait_for_cleaner()
        self.wait_for("the log's start on disk", lambda: f"beginning.deleted 0 {DELETED_BELOW}" in self.checkpoint("log-start-offset-checkpoint"))

    def flushed(self, writer):
        if left := writer.flush(SECONDS_MAX):
            raise TimeoutError(f"{left} records are not written")

    def everything(self):
        """All codecs, keys and values there, empty and missing, headers; plain and idempotent producers."""
        for codec in CODECS:
            for idempotent in (False, True):
                writer = self.side.producer(compression_type=codec, enable_idempotence=idempotent, linger_ms=20)
                for number in range(60):
                    value = [f"{codec} {number} ".encode() * self.dice.randint(1, 20), b"", None][number % 7 // 5 + (number % 49 == 48)]
                    writer.produce("everything", value, [None, b"", f"k{number}".encode()][number % 5 % 3], partition=number % 3, timestamp=self.tick(1000),
                                   headers=[("codec", codec.encode()), ("none", None), ("codec", b"\0\xff")][:number % 4])
                self.flushed(writer)

    def transactions(self):
        """Committed and aborted ones of several producers, on both partitions and some on one, with plain records between."""
        writers, plain = [self.side.transactional(f"id-{number}", compression_type=CODECS[number]) for number in range(4)], self.side.producer()
        for turn in range(60):
            writer = writers[turn % 4]
            writer.begin_transaction()
            for number in range(self.dice.randint(1, 6)):
                writer.produce("transactions", f"{turn}.{number}", f"k{number}", partition=turn % 3 and number % 2, timestamp=self.tick())
            if turn % 7 == 0:
                metadata = self.side.consumer("by-transaction").consumer_group_metadata()
                writer.send_offsets_to_transaction([TopicPartition("transactions", 0, turn)], metadata, SECONDS_MAX)
            self.flushed(writer)
            if turn % 5 in (1, 3):
                writer.abort_transaction(SECONDS_MAX)
            else:
                writer.commit_transaction(SECONDS_MAX)
            if turn % 6 == 0:
                plain.produce("transactions", f"plain {turn}", partition=turn % 2, timestamp=self.tick())
                self.flushed(plain)

    def segments(self):
        self.in_segments("segments", 600)

    def in_segments(self, topic, records):
        """Values that cannot be compressed, of 10 KB, so that a segment has about a hundred."""
        writer = self.side.producer(compression_type="lz4", batch_num_messages=5)
        for number in range(records):
            writer.produce(topic, self.dice.randbytes(10_000), str(number), timestamp=self.tick(1000))
            writer.poll(0)
        self.flushed(writer)

    def beginning_deleted(self):
        self.in_segments("beginning.deleted", 150)
        deleted = self.side.admin.delete_records([TopicPartition("beginning.deleted", 0, DELETED_BELOW)])
        check("the beginning is deleted", [one.result(SECONDS_MAX).low_watermark for one in deleted.values()], [DELETED_BELOW])

    def stamped(self):
        writer = self.side.producer(compression_type="zstd")
        for number in range(50):
            writer.produce("stamped-by-the-log-7", f"value {number}", timestamp=1)
        self.flushed(writer)

    def compacted(self):
        """Rounds of the same keys, some buried, by a plain producer and in transactions, over several segments."""
        plain, transactional = self.side.producer(), self.side.transactional("compactor")
        for turn in range(12):
            writer = transactional if turn % 2 else plain
            if writer is transactional:
                writer.begin_transaction()
            for number in range(turn, 40):
                value = None if number == turn else b"%d.%d " % (turn, number) + self.dice.randbytes(10_000)
                writer.produce("compacted", value, f"k{number}", timestamp=self.tick())
            self.flushed(writer)
            if writer is transactional:
                (writer.abort_transaction if turn == 5 else writer.commit_transaction)(SECONDS_MAX)

    def groups(self):
        for group, topic in GROUPS.items():
            if group == "by-transaction":
                continue
            reader = self.side.consumer(group, **protocol_of(group))
            reader.subscribe([topic])
            check(f"group {group} has read", len(reader.consume(50, SECONDS_MAX)), 50)
            offsets = [TopicPartition(topic, number, 11 + number, metadata=f"{group} {number}") for number in range(TOPICS[topic][0])]
            reader.commit(offsets=offsets, asynchronous=False)
            if group.endswith("-at-work"):
                self.open.append(reader)
            else:
                reader.close()

    def left_open(self):
        """A transaction that nobody ends, in the middle of committed ones."""
        writer = self.side.transactional("ended", compression_type="gzip")
        self.in_transaction(writer, "before")
        writer.commit_transaction(SECONDS_MAX)
        left = self.side.transactional("left open", transaction_timeout_ms=600_000)
        self.in_transaction(left, "open")
        metadata = self.side.consumer("by-transaction").consumer_group_metadata()
        left.send_offsets_to_transaction([TopicPartition("transactions", 1, 5)], metadata, SECONDS_MAX)
        self.open.append(left)
        self.in_transaction(writer, "behind")
        writer.commit_transaction(SECONDS_MAX)

    def in_transaction(self, writer, word):
        writer.begin_transaction()
        for number in range(5):
            writer.produce("left.open", f"{word} {number}", timestamp=self.tick())
        self.flushed(writer)

    def checkpoint(self, name):
        path = self.kafka.logs / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_for_cleaner(self):
        """Until all but the active segment is clean; from then on nothing changes by itself."""
        def is_clean():
            active = max(int(file.stem) for file in (self.kafka.logs / "compacted-0").glob("*.log"))
            return f"compacted 0 {active}" in self.checkpoint("cleaner-offset-checkpoint")

        self.wait_for("the cleaner", is_clean)
        offsets = [record[1] for record in self.side.read("compacted", 1, "read_uncommitted")]
        check("the cleaner has left gaps", len(offsets) < offsets[-1] - offsets[0], True)

    def wait_for(self, what, is_there):
        deadline = time.monotonic() + SECONDS_MAX * 2
        while not is_there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} does not come:\n{self.kafka.tail()}")
            time.sleep(0.02)
