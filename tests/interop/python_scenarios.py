"""confluent-kafka (librdkafka): transactions, consume-transform-produce, groups, admin."""

import subprocess
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, ResourceType

PATIENCE_SECONDS = 60


def admin_of(broker):
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def create(broker, topic, partitions=1, config=None):
    # The client must outlive the answer that it waits for.
    admin = admin_of(broker)
    admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(30)


def producer_of(broker, **settings):
    return Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 1, **settings})


def transactional(broker, transactional_id):
    producer = producer_of(broker, **{"transactional.id": transactional_id})
    producer.init_transactions(30)
    return producer


def read(broker, topic, isolation="read_committed", partitions=1):
    """All values of a topic, up to the end that the isolation level shows."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "isolation.level": isolation,
                         "enable.partition.eof": True, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    values, ended, give_up = [], set(), time.monotonic() + PATIENCE_SECONDS
    while len(ended) < partitions:
        assert time.monotonic() < give_up, f"{topic} has no end after {len(values)} records"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value().decode())
        elif message.error().code() == KafkaError._PARTITION_EOF:
            ended.add(message.partition())
        else:
            raise KafkaException(message.error())
    consumer.close()
    return values


def send(producer, topic, values, **options):
    failures = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: error and failures.append(error), **options)
    assert producer.flush(30) == 0 and not failures, failures


def a_committed_transaction_is_seen_and_an_aborted_one_is_not(broker):
    create(broker, "py-txn")
    producer = transactional(broker, "py-txn")
    for turn, ends in enumerate(["commit", "abort", "commit"]):
        producer.begin_transaction()
        for number in range(3):
            producer.produce("py-txn", f"{ends} {turn}.{number}")
        producer.commit_transaction(30) if ends == "commit" else (producer.flush(30), producer.abort_transaction(30))
    expected = [f"commit {turn}.{number}" for turn in (0, 2) for number in range(3)]
    assert read(broker, "py-txn") == expected
    assert len(read(broker, "py-txn", "read_uncommitted")) == 9


def an_open_transaction_is_not_seen(broker):
    create(broker, "py-open")
    send(producer_of(broker), "py-open", ["before"])
    producer = transactional(broker, "py-open")
    producer.begin_transaction()
    producer.produce("py-open", "open")
    assert producer.flush(30) == 0
    send(producer_of(broker), "py-open", ["after"])
    assert read(broker, "py-open") == ["before"], "the last stable offset holds back what follows"
    producer.abort_transaction(30)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while read(broker, "py-open") != ["before", "after"]:
        assert time.monotonic() < give_up


def a_second_producer_of_the_same_id_fences_the_first(broker):
    create(broker, "py-fence")
    first = transactional(broker, "py-fence")
    first.begin_transaction()
    first.produce("py-fence", "zombie")
    assert first.flush(30) == 0
    second = transactional(broker, "py-fence")
    try:
        first.commit_transaction(30)
        raise AssertionError("the fenced producer committed")
    except KafkaException as error:
        assert error.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED,
                                        KafkaError.INVALID_PRODUCER_EPOCH), error
    second.begin_transaction()
    second.produce("py-fence", "alive")
    second.commit_transaction(30)
    assert read(broker, "py-fence") == ["alive"]


def consume_transform_produce_moves_each_record_once(broker):
    create(broker, "py-in", 2)
    create(broker, "py-out")
    expected = {f"value {number}" for number in range(200)}
    send(producer_of(broker), "py-in", sorted(expected))
    producer = transactional(broker, "py-ctp")
    moved, lives = 0, 0
    while moved < len(expected):
        # A new consumer for each life; half of the transactions of the first life are aborted.
        lives += 1
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "py-ctp",
                             "enable.auto.commit": False, "auto.offset.reset": "earliest",
                             "isolation.level": "read_committed"})
        consumer.subscribe(["py-in"])
        turn, give_up = 0, time.monotonic() + PATIENCE_SECONDS
        while moved < len(expected) and time.monotonic() < give_up:
            messages = [m for m in consumer.consume(20, 2) if m.error() is None]
            if not messages:
                continue
            producer.begin_transaction()
            for message in messages:
                producer.produce("py-out", message.value())
            producer.send_offsets_to_transaction(
                consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30)
            turn += 1
            if lives == 1 and turn == 2:
                producer.abort_transaction(30)
                break
            producer.commit_transaction(30)
            moved += len(messages)
        consumer.close()
        assert lives < 10, f"only {moved} records moved"
    values = read(broker, "py-out")
    assert len(values) == len(expected) and set(values) == expected, f"{len(values)} values"


MEMBER = """
import sys
from confluent_kafka import Consumer
bootstrap, group, topic = sys.argv[1:4]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                     "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "auto.commit.interval.ms": 200})
def assigned(_, partitions):
    print("assigned", ",".join(str(p.partition) for p in partitions), flush=True)
consumer.subscribe([topic], on_assign=assigned, on_revoke=lambda c, p: print("revoked", flush=True))
try:
    while True:
        consumer.poll(0.2)
except KeyboardInterrupt:
    consumer.close()
"""


def a_group_of_three_shares_out_and_heals(broker):
    create(broker, "py-group", 6)
    members = [subprocess.Popen([sys.executable, "-c", MEMBER, broker.bootstrap, "py-three", "py-group"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(3)]

    def wait_for(count):
        admin, give_up = admin_of(broker), time.monotonic() + PATIENCE_SECONDS
        while True:
            group = admin.describe_consumer_groups(["py-three"])["py-three"].result(30)
            shares = [len(m.assignment.topic_partitions) for m in group.members]
            if len(shares) == count and sum(shares) == 6 and max(shares) - min(shares) <= 1:
                return
            assert time.monotonic() < give_up, f"{group.state}: {shares}"
            time.sleep(0.1)

    try:
        wait_for(3)
        members[0].send_signal(2)  # leaves
        wait_for(2)
        members[1].kill()  # is found dead when its session ends
        wait_for(1)
    finally:
        for member in members:
            member.kill()
            member.wait()


def an_idempotent_producer_keeps_order(broker):
    create(broker, "py-idem")
    producer = producer_of(broker, **{"enable.idempotence": True, "batch.num.messages": 10})
    values = [f"{number:05}" for number in range(5000)]
    send(producer, "py-idem", values)
    assert read(broker, "py-idem") == values


def admin_creates_describes_alters_and_deletes(broker):
    admin = admin_of(broker)
    create(broker, "py-admin", 2, {"retention.ms": "3600000"})
    resource = ConfigResource(ResourceType.TOPIC, "py-admin")
    config = admin.describe_configs([resource])[resource].result(30)
    assert config["retention.ms"].value == "3600000" and not config["retention.ms"].is_default
    assert config["segment.bytes"].is_default
    admin.create_partitions([NewPartitions("py-admin", 5)])["py-admin"].result(30)
    assert len(admin.list_topics("py-admin", 30).topics["py-admin"].partitions) == 5
    try:
        create(broker, "py-admin")
        raise AssertionError("created twice")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, error
    try:
        create(broker, "py-bad", 1, {"retention.mss": "1"})
        raise AssertionError("an unknown setting was taken")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.INVALID_CONFIG, error
    admin.delete_topics(["py-admin"])["py-admin"].result(30)
    assert "py-admin" not in admin.list_topics(timeout=30).topics


def large_values_and_null_keys_survive(broker):
    create(broker, "py-large")
    values = ["x" * (900 * 1024), "", "y" * 100_000]
    send(producer_of(broker), "py-large", values)
    assert read(broker, "py-large") == values


SCENARIOS = [
    a_committed_transaction_is_seen_and_an_aborted_one_is_not,
    an_open_transaction_is_not_seen,
    a_second_producer_of_the_same_id_fences_the_first,
    consume_transform_produce_moves_each_record_once,
    a_group_of_three_shares_out_and_heals,
    an_idempotent_producer_keeps_order,
    admin_creates_describes_alters_and_deletes,
    large_values_and_null_keys_survive,
]
