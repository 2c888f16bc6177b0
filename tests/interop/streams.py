"""Kafka Streams' word count with exactly_once_v2, while the broker and the application are killed again and again.

Lines flow all the time. Each kill -9 comes at another moment after the count has gone on since the last one, and some
come again while what was killed is starting. Without a cache every word of the input is one record of the output, so
that each word's counts, read at read_committed, must be 1, 2, 3 … up to how often it is in the input, without a gap or
a repetition. Writes interop/streams.json, of which docs/compatibility.md is made.
"""

import collections
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from broker import Broker

# It is killed, so it is not the one that other scenarios use.
BROKER = Broker(os.environ["TIDEMILL"], "--config-set", "group.initial.rebalance.delay.ms=0")
os.environ["BOOTSTRAP"] = BROKER.bootstrap
BROKER.start()

import common  # noqa: E402 (it takes the broker from the environment)
from common import check, new_topic, unique  # noqa: E402
from confluent_kafka import TopicPartition  # noqa: E402
from jvm import INTEROP, java  # noqa: E402

KILLS, PARTITIONS = 20, 2
# Of so many kills one is followed by another while what was killed is starting.
AGAIN_ONE_IN = 5
WORDS = [f"{word}-{number}" for word in ("tide", "mill", "stream", "broker", "gate", "wheel", "corn", "sea") for number in range(25)]
WORDS_A_LINE, LINES_A_SECOND = 5, 80
PATIENCE_SECONDS = 90
# The library does not wait long for a broker that was killed, and says nothing of it.
CLIENT = {"reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 200, "log_level": 0}


class Lines(threading.Thread):
    """Sends lines of words until it is told to stop; idempotence makes each of them once in the input."""

    def __init__(self, topic, dice):
        super().__init__(daemon=True)
        self.topic, self.dice = topic, dice
        self.producer = common.producer(enable_idempotence=True, message_timeout_ms=600_000, retry_backoff_ms=20, **CLIENT)
        self.words, self.stopping = collections.Counter(), threading.Event()
        self.refused = []

    def run(self):
        number = 0
        while not self.stopping.wait(1 / LINES_A_SECOND):
            words = self.dice.choices(WORDS, k=WORDS_A_LINE)
            self.words.update(words)
            self.producer.produce(self.topic, " ".join(words), partition=number % PARTITIONS, on_delivery=self.delivered)
            self.producer.poll(0)
            number += 1

    def delivered(self, error, _):
        if error is not None:
            self.refused.append(str(error))

    def finish(self):
        """How many words were sent; all of them are in the input then."""
        self.stopping.set()
        self.join()
        check("every line was acknowledged", (self.producer.flush(PATIENCE_SECONDS), self.refused), (0, []))
        return self.words.total()


class Updates(threading.Thread):
    """Follows the counts as they are committed."""

    def __init__(self, topic):
        super().__init__(daemon=True)
        self.reader = common.consumer(**CLIENT)
        self.reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        self.seen = 0

    def run(self):
        while True:
            self.seen += sum(message.error() is None for message in self.reader.consume(1000, 0.05))

    def wait_for(self, enough, application):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.seen < enough:
            if not application.is_alive() or time.monotonic() > deadline:
                fail(f"{self.seen} counts of {enough}, the application's status is {application.process.poll()}", application)
            time.sleep(0.005)


class Application:
    """The word count as a process; its state stays where it is, as on one machine."""

    def __init__(self, source, output):
        self.directory, self.log = tempfile.mkdtemp(prefix="tidemill-streams-"), tempfile.TemporaryFile("w+")
        self.state, self.temporary = (os.path.join(self.directory, name) for name in ("state", "temporary"))
        self.arguments = [BROKER.bootstrap, unique("word-count"), source, output, self.state]
        self.process = None

    def start(self):
        # RocksDB unpacks its library there, which stays when the application is killed.
        shutil.rmtree(self.temporary, ignore_errors=True)
        os.mkdir(self.temporary)
        command = java("tools", "tidemill.tools.WordCount", *self.arguments, heap_mb=256, log_level="warn", temporary=self.temporary)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    # What is started has not begun to work yet.
    spawn = start

    def kill(self):
        self.process.kill()
        self.process.wait()

    def is_alive(self):
        return self.process.poll() is None

    def remove(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def fail(text, application):
    application.log.seek(0)
    print(f"WRONG: {text}\n--- the application said\n{application.log.read()[-4000:]}\n--- the broker said\n{BROKER.log_tail()}", flush=True)
    sys.exit(1)


def kill_both(lines, updates, application, dice):
    """Each is killed KILLS times, in a random order; what went on between the kills."""
    victims = {BROKER: 0.2, application: 4.0}
    order, progress, again = dice.sample([*victims] * KILLS, 2 * KILLS), [], 0
    for victim in order:
        before = updates.seen
        updates.wait_for(before + dice.randint(1, 300), application)
        # Somewhere between two commits, which come every 100 ms.
        time.sleep(dice.uniform(0, 0.15))
        wait_for_work(lines, updates, application)
        progress.append(updates.seen - before)
        victim.kill()
        if dice.randrange(AGAIN_ONE_IN) == 0:
            victim.spawn()
            time.sleep(dice.uniform(0, victims[victim]))
            victim.kill()
            again += 1
        victim.start()
    return progress, again


def wait_for_work(lines, updates, application):
    """Until words are under way, whose transactions a kill can tear."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        # In this order: a word is sent before it is counted.
        seen = updates.seen
        ahead = lines.words.total() - seen
        if ahead > 0:
            break
        if ahead < 0:
            fail(f"there are {-ahead} counts more than words", application)
        if time.monotonic() > deadline:
            fail("no more words come", application)
        time.sleep(0.001)
    if not application.is_alive():
        fail("the application has ended by itself", application)


def counts(output, isolation="read_committed"):
    """All counts of each word, in the order of its partition."""
    seen = collections.defaultdict(list)
    for message in common.read_settled(output, isolation, PARTITIONS):
        seen[message.key().decode()].append(int.from_bytes(message.value(), "big"))
    return seen


def words_of(source):
    return collections.Counter(word for message in common.read_all(source, partitions=PARTITIONS) for word in message.value().decode().split())


def verify(source, output, sent):
    """What the count has left, against the input; how many records of the output were aborted."""
    wanted, committed = words_of(source), counts(output)
    check("the input is what was sent", wanted, sent)
    check("the words", sorted(committed), sorted(wanted))
    check("each word's last count is how often it is in the input", {word: seen[-1] for word, seen in committed.items()}, dict(wanted))
    steps = {word: [pair for pair in zip([0, *seen], seen) if pair[1] != pair[0] + 1] for word, seen in committed.items()}
    check("each word is counted 1, 2, 3 … without a gap or a repetition", {word: wrong for word, wrong in steps.items() if wrong}, {})
    aborted = sum(map(len, counts(output, "read_uncommitted").values())) - wanted.total()
    check("kills have torn transactions, whose records nobody sees", aborted > 0, True)
    said = pathlib.Path(BROKER.log_path).read_text(errors="replace").splitlines()
    check("the broker has nothing to regret", [line for line in said if re.search(r"ERROR|panicked", line)], [])
    return aborted


def main():
    seed, started = int(os.environ.get("SEED", "1")), time.monotonic()
    print(f"did: seed {seed}", flush=True)
    dice = random.Random(seed)
    source, output = new_topic("lines", PARTITIONS), new_topic("counts", PARTITIONS)
    lines, updates, application = Lines(source, random.Random(seed + 1)), Updates(output), Application(source, output)
    application.start()
    try:
        lines.start()
        updates.start()
        progress, again = kill_both(lines, updates, application, dice)
        total = lines.finish()
        updates.wait_for(total, application)
    finally:
        application.remove()
    check("the count went on between any two kills", min(progress) > 0, True)
    aborted = verify(source, output, lines.words)
    print(f"did: {KILLS} kills of the broker and {KILLS} of the application in {time.monotonic() - started:.0f} s, {again} more while one was "
          f"starting; {total} words counted in {total} updates of {len(WORDS)} keys, {min(progress)} to {max(progress)} "
          f"between two kills; {aborted} updates of aborted transactions", flush=True)
    (INTEROP / "streams.json").write_text(json.dumps({"tools": [{
        "tool": "Kafka Streams",
        "job": f"word count with `processing.guarantee=exactly_once_v2`, across {KILLS} times `kill -9` of the broker and {KILLS} of the "
               "application: every count exactly once",
    }]}))


try:
    main()
finally:
    BROKER.remove()
