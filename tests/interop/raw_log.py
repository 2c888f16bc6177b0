"""A partition's batches as the broker gives them to a fetch: their headers, which clients show to nobody."""

import collections
import socket
import struct

from proxy import frame, send

FETCH, VERSION = 1, 4
BYTES_MAX = 64 << 20
BATCH_OVERHEAD, HEADER_BYTES = 12, 61
CONTROL = 0x20

Batch = collections.namedtuple("Batch", "base_offset last_offset_delta attributes producer epoch sequence count")


def batches(bootstrap, topic):
    """The headers of all batches of partition 0, without those of transactions' markers, which have records. (A batch
    of which nothing is left is a control batch as well.)"""
    host, port = bootstrap.split(":")
    found, at = [], 0
    with socket.create_connection((host, int(port))) as broker:
        while part := parsed(fetched(broker, topic, at)):
            found += part
            at = part[-1].base_offset + part[-1].last_offset_delta + 1
    return [batch for batch in found if not batch.attributes & CONTROL or batch.count == 0]


def fetched(broker, topic, offset):
    name = topic.encode()
    send(broker, struct.pack(">hhih", FETCH, VERSION, 0, -1)
         + struct.pack(">iiiib", -1, 0, 0, BYTES_MAX, 0)
         + struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, offset, BYTES_MAX))
    answer = frame(broker)
    # Correlation id, throttle time, topics, the topic's name, partitions; then the partition.
    at = 4 + 4 + 4 + 2 + len(name) + 4
    _, error, _, _, aborted = struct.unpack_from(">ihqqi", answer, at)
    if error != 0:
        raise RuntimeError(f"fetching {topic} from {offset}: error {error}")
    at += struct.calcsize(">ihqqi") + max(aborted, 0) * 16
    size, = struct.unpack_from(">i", answer, at)
    return answer[at + 4:at + 4 + size]


def parsed(records):
    found, at = [], 0
    while at + HEADER_BYTES <= len(records):
        base, length = struct.unpack_from(">qi", records, at)
        if at + BATCH_OVERHEAD + length > len(records):
            break
        attributes, delta = struct.unpack_from(">hi", records, at + 21)
        producer, epoch, sequence, count = struct.unpack_from(">qhii", records, at + 43)
        found.append(Batch(base, delta, attributes, producer, epoch, sequence, count))
        at += BATCH_OVERHEAD + length
    return found
