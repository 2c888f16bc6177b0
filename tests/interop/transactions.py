"""Transactions: committed and aborted ones, several partitions, open ones, fencing."""

from confluent_kafka import KafkaException, TopicPartition

from common import SECONDS_MAX, check, consumer, new_topic, producer, read_all, read_settled, transactional, unique, values


def committed_and_aborted():
    topic = new_topic("txn.both", 3)
    writer = transactional(unique("both"))
    for number, end in enumerate(["commit", "abort", "commit", "abort"]):
        writer.begin_transaction()
        for partition in range(3):
            writer.produce(topic, f"{number}.{partition}", partition=partition)
        (writer.commit_transaction if end == "commit" else writer.abort_transaction)(SECONDS_MAX)
    wanted = sorted(f"{number}.{partition}" for number in (0, 2) for partition in range(3))
    check("committed transactions are read, aborted ones are not", sorted(values(read_settled(topic, partitions=3))), wanted)
    check("read-uncommitted sees all of it", len(read_all(topic, "read_uncommitted", 3)) >= 6, True)


def an_abort_after_delivery():
    topic = new_topic("txn.abort")
    writer = transactional(unique("abort"))
    writer.begin_transaction()
    writer.produce(topic, "never")
    check("delivered before the abort", writer.flush(SECONDS_MAX), 0)
    writer.abort_transaction(SECONDS_MAX)
    check("read-uncommitted sees it", values(read_all(topic, "read_uncommitted")), ["never"])
    check("read-committed does not", values(read_all(topic)), [])


def an_open_transaction_holds_back_what_follows():
    topic = new_topic("txn.open")
    writer, plain = transactional(unique("open")), producer()
    writer.begin_transaction()
    writer.produce(topic, "inside")
    check("the transaction's message is in the log", writer.flush(SECONDS_MAX), 0)
    plain.produce(topic, "behind")
    check("so is a plain one behind it", plain.flush(SECONDS_MAX), 0)
    check("read-committed stands in front of both", values(read_all(topic)), [])
    watcher = consumer(isolation_level="read_committed")
    # The low and high marks of a read-committed consumer: the last stable offset.
    check("the end is the last stable offset", watcher.get_watermark_offsets(TopicPartition(topic, 0), SECONDS_MAX), (0, 0))
    watcher.close()
    writer.commit_transaction(SECONDS_MAX)
    check("after the commit both are read, in order", values(read_settled(topic)), ["inside", "behind"])


def a_second_owner_fences_the_first():
    topic, name = new_topic("txn.fence"), unique("fence")
    first = transactional(name)
    first.begin_transaction()
    first.produce(topic, "of the first")
    first.flush(SECONDS_MAX)
    second = transactional(name)
    second.begin_transaction()
    second.produce(topic, "of the second")
    second.commit_transaction(SECONDS_MAX)
    try:
        first.commit_transaction(SECONDS_MAX)
        check("the first owner is fenced", "it committed", "an error")
    except KafkaException as error:
        check("the first owner is fenced for good", error.args[0].fatal(), True)
    check("only the second's message is read", values(read_settled(topic)), ["of the second"])


def an_empty_transaction():
    writer = transactional(unique("empty"))
    writer.begin_transaction()
    writer.commit_transaction(SECONDS_MAX)
    writer.begin_transaction()
    writer.abort_transaction(SECONDS_MAX)
    check("empty transactions end", True, True)


def many_short_ones():
    topic = new_topic("txn.many", 2)
    writer = transactional(unique("many"))
    for number in range(200):
        writer.begin_transaction()
        writer.produce(topic, str(number), partition=number % 2)
        if number % 5 == 4:
            writer.flush(SECONDS_MAX)
            writer.abort_transaction(SECONDS_MAX)
        else:
            writer.commit_transaction(SECONDS_MAX)
    read = read_settled(topic, partitions=2)
    for partition in range(2):
        wanted = [str(n) for n in range(200) if n % 2 == partition and n % 5 != 4]
        got = values(message for message in read if message.partition() == partition)
        check(f"200 transactions one after the other, partition {partition}", got, wanted)


committed_and_aborted()
an_abort_after_delivery()
an_open_transaction_holds_back_what_follows()
a_second_owner_fences_the_first()
an_empty_transaction()
many_short_ones()
