"""Idempotent producers: order and no duplicates with many requests in flight, keys, headers, timestamps."""

from confluent_kafka import TIMESTAMP_CREATE_TIME

from common import SECONDS_MAX, check, new_topic, producer, read_all, values

MESSAGES = 20_000


def in_order():
    topic = new_topic("idempotent", 4)
    failures = []
    writer = producer(enable_idempotence=True, acks="all", batch_size=4096, linger_ms=0)
    for number in range(MESSAGES):
        while True:
            try:
                writer.produce(topic, str(number), partition=number % 4,
                               on_delivery=lambda error, _: error and failures.append(str(error)))
                break
            except BufferError:
                writer.poll(0.05)
        writer.poll(0)
    check("all are acknowledged", (writer.flush(SECONDS_MAX), failures), (0, []))
    read = read_all(topic, partitions=4)
    for partition in range(4):
        got = values(message for message in read if message.partition() == partition)
        wanted = [str(number) for number in range(MESSAGES) if number % 4 == partition]
        check(f"partition {partition} has each once and in order", got == wanted, True)
    offsets = [message.offset() for message in read if message.partition() == 0]
    check("offsets have no gaps", offsets, list(range(MESSAGES // 4)))


def all_of_a_message_comes_back():
    topic = new_topic("whole")
    writer = producer(enable_idempotence=True)
    headers = [("text", b"caf\xc3\xa9"), ("nothing", None), ("text", b""), ("binary", bytes(range(256)))]
    writer.produce(topic, b"\x00\xff", b"\x01", timestamp=1_600_000_000_123, headers=headers)
    writer.produce(topic, None, b"tombstone")
    writer.produce(topic, b"", None)
    check("sent", writer.flush(SECONDS_MAX), 0)
    first, second, third = read_all(topic)
    check("value and key", (first.value(), first.key()), (b"\x00\xff", b"\x01"))
    check("timestamp", first.timestamp(), (TIMESTAMP_CREATE_TIME, 1_600_000_000_123))
    check("headers, in order, with doubles and nulls", first.headers(), headers)
    check("null value", (second.value(), second.key()), (None, b"tombstone"))
    check("empty value, null key", (third.value(), third.key()), (b"", None))


in_order()
all_of_a_message_comes_back()
