"""Topics with a partitioner under foreign clients: Java's client, franz-go and librdkafka send to partition 0, idempotent
and transactional, with answers lost on the way; each record must come once to the partition that the module chooses,
in order, and nothing of aborted transactions. SEED=... tries other steps.
"""

import concurrent.futures
import os
import random
import time

import programs
from common import BOOTSTRAP, SECONDS_MAX, check, new_topic, read_all, tidemill, unique
from proxy import Proxy

SEED = int(os.environ.get("SEED", "1"))
STEPS = 40
AT_ONCE = 3
WORD = "urgent"
MODULE = programs.TARGET / "guests" / "word-partitioner.wasm"
CUT = (2, 5, 6, 11, 17, 18, 19, 30)


def steps_of(dice, transactional):
    """Steps as programs.produce takes them; the last one commits, so that all before it is decided."""
    numbers = iter(range(10_000))
    steps = []
    for _ in range(STEPS):
        then = dice.choice(["commit", "commit", "flush", "abort"]) if transactional else "flush"
        steps.append((then, [f"{next(numbers)} {dice.choice([WORD, 'usual'])}" for _ in range(dice.randint(1, 8))]))
    return steps + [("commit" if transactional else "flush", [f"{next(numbers)} usual"])]


def wanted(steps, transactional):
    """What must arrive: everything, or what was committed."""
    arrived, is_open = [], []
    for then, values in steps:
        is_open += values
        if then == "commit" or not transactional:
            arrived += is_open
        if then != "flush" or not transactional:
            is_open = []
    return arrived


def moved(topic, count):
    """What has arrived at the topic once this many records have, by partition."""
    give_up = time.monotonic() + SECONDS_MAX
    while True:
        messages = read_all(topic, partitions=2)
        if len(messages) >= count or time.monotonic() > give_up:
            return [[m.value().decode() for m in messages if m.partition() == number] for number in range(2)]
        time.sleep(0.05)


def runs(client, mode, compression, proxy=None):
    what = f"{client}, {mode}, {compression}" + (", answers lost" if proxy else "")
    transactional = mode == "transactional"
    topic = new_topic("placed", 2, tidemill_partitioner=NAME, tidemill_partitioner_config=f"word={WORD}")
    steps = steps_of(random.Random(f"{SEED} {mode}"), transactional)
    said = programs.produce(client, steps, mode=mode, topic=topic, compression=compression,
                            bootstrap=proxy.bootstrap if proxy else BOOTSTRAP, transactional_id=topic)
    check(f"{what}: nothing was refused", [line for line in said if "error" in line], [])
    offsets = [line["offset"] for line in said if "offset" in line]
    check(f"{what}: the offsets that it is told rise", offsets, sorted(set(offsets)))
    expected = wanted(steps, transactional)
    chosen = [[v for v in expected if v.endswith(WORD)], [v for v in expected if not v.endswith(WORD)]]
    check(f"{what}: what has arrived, where, in order", moved(topic, len(expected)), chosen)
    if proxy:
        check(f"{what}: answers were lost", proxy.lost > 0, True)
        proxy.close()


def main():
    tidemill("module", "push", str(MODULE), "--name", NAME)
    modes = [(client, mode) for client in programs.PROGRAMS for mode in ("idempotent", "transactional")]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = [pool.submit(runs, *way, "zstd") for way in modes]
        under_way += [pool.submit(runs, *way, "none", Proxy(BOOTSTRAP, CUT)) for way in modes]
        for run in concurrent.futures.as_completed(under_way):
            try:
                run.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


NAME = unique("word")
main()
