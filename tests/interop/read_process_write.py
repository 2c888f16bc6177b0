"""A consumer that transforms what it reads and commits outputs and offsets in one transaction, across crashes of its own."""

import time

from confluent_kafka import TopicPartition

from common import SECONDS_MAX, check, committed, consumer, new_topic, producer, read_settled, transactional, unique, values

MESSAGES, PER_TRANSACTION = 300, 25


def take(reader, wanted):
    """That many messages, or as many as there are."""
    messages, deadline = [], time.monotonic() + SECONDS_MAX
    while len(messages) < wanted and time.monotonic() < deadline:
        messages += reader.consume(wanted - len(messages), 0.2)
    for message in messages:
        if message.error():
            raise RuntimeError(message.error())
    return messages


def transform(reader, writer, output, wanted):
    messages = take(reader, wanted)
    writer.begin_transaction()
    for message in messages:
        writer.produce(output, message.value().decode().upper(), message.key())
    positions = reader.position([TopicPartition(messages[0].topic(), 0)])
    writer.send_offsets_to_transaction(positions, reader.consumer_group_metadata(), SECONDS_MAX)
    writer.flush(SECONDS_MAX)
    return len(messages)


def main():
    source, output = new_topic("rpw.in"), new_topic("rpw.out")
    group, name = unique("rpw"), unique("rpw")
    feed = producer()
    for number in range(MESSAGES):
        feed.produce(source, f"message {number}", str(number))
    check("the source is filled", feed.flush(SECONDS_MAX), 0)

    done, round_ = 0, 0
    reader, writer = consumer(group), transactional(name)
    reader.subscribe([source])
    while done < MESSAGES:
        count = transform(reader, writer, output, min(PER_TRANSACTION, MESSAGES - done))
        round_ += 1
        if round_ % 3 == 0:
            # Aborted: the offsets are as before, and the next owner reads the same messages again.
            writer.abort_transaction(SECONDS_MAX)
            reader.close()
            check(f"round {round_}: an abort commits no offsets", committed(group, source), done)
            reader = consumer(group)
            reader.subscribe([source])
            writer = transactional(name)
        else:
            writer.commit_transaction(SECONDS_MAX)
            done += count
    reader.close()
    check("the committed offset is the source's end", committed(group, source), MESSAGES)
    check("every message's effect exactly once, in order", values(read_settled(output)),
          [f"MESSAGE {number}" for number in range(MESSAGES)])

    feed.produce(source, "one more", "more")
    feed.flush(SECONDS_MAX)
    reader = consumer(group)
    reader.subscribe([source])
    transform(reader, writer, output, 1)
    writer.commit_transaction(SECONDS_MAX)
    check("and one more", committed(group, source), MESSAGES + 1)
    reader.close()


main()
