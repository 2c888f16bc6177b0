"""Dead letters under a foreign client: records of every shape fail in a processor, `tidemill dlq replay` sends them back,
and Python's librdkafka client reads each of them twice, the same both times. Killed replays on the way change nothing.
"""

import os
import subprocess
import time

import programs
from common import BOOTSTRAP, SECONDS_MAX, check, new_topic, producer, read_all, tidemill, unique

MODULE = programs.TARGET / "guests" / "test-guest-flat.wasm"
KILLS = 5
RECORDS = [
    dict(key=b"k", value=b"value", headers=[("a", b"1"), ("a", None), ("empty", b"")]),
    dict(key=b"tombstone", value=None),
    dict(key=None, value=b"no key"),
    dict(key=None, value=None),
    dict(key=b"", value=b""),
    dict(key=bytes(range(256)), value=b"\x00\xff" * 1000, headers=[("bytes", bytes(range(256)))]),
]
RECORDS += [dict(key=b"%d" % number, value=b"x" * number) for number in range(60)]


def parts(message):
    return message.key(), message.value(), message.headers(), message.timestamp()


def by_partition(topic):
    messages = read_all(topic, partitions=2)
    return [[parts(m) for m in messages if m.partition() == number] for number in range(2)]


source, name = new_topic("failing", 2), unique("fails")
letters = f"{name}.dlq"
tidemill("processor", "deploy", name, "--module", str(MODULE), "--input", source, "--output", new_topic("out"),
         "--config", "behaviour=panic", "--retries", "0")
sender = producer()
for number, record in enumerate(RECORDS):
    sender.produce(source, partition=number % 2, timestamp=1_700_000_000_000 + number, **record)
sender.flush(SECONDS_MAX)
give_up = time.monotonic() + SECONDS_MAX
while len(read_all(letters, partitions=2)) < len(RECORDS) and time.monotonic() < give_up:
    time.sleep(0.05)
tidemill("processor", "pause", name)
sent = by_partition(source)
check("every record is a dead letter", len(read_all(letters, partitions=2)), len(RECORDS))

binary, killed = os.environ["TIDEMILL"], 0
for turn in range(KILLS):
    replay = subprocess.Popen([binary, "dlq", "replay", letters, "--batch", "1", "-b", BOOTSTRAP],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = len(read_all(source, "read_uncommitted", 2))
    while replay.poll() is None and len(read_all(source, "read_uncommitted", 2)) <= before + turn:
        pass
    if replay.poll() is None:
        replay.kill()
        killed += 1
    replay.wait()
tidemill("dlq", "replay", letters)
check("each letter came back once, as it was sent", by_partition(source), [once + once for once in sent])
print(f"ok: {killed} replays were killed on the way")
tidemill("dlq", "replay", letters)
check("a further replay finds nothing", by_partition(source), [once + once for once in sent])
tidemill("dlq", "purge", letters, "--yes")
check("purged", len(read_all(letters, partitions=2)), 0)
tidemill("processor", "delete", name, "--yes")
