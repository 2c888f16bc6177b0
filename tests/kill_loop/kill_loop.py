"""kill -9 at random moments under load; afterwards everything is accounted for.

Idempotent producers, transactional producers (some of their transactions aborted on purpose, some abandoned
as by a crash of the client), a client that reads, processes and writes, four WebAssembly processors, two of them
with state and bad records in their inputs and one with timers too (ledger.py), an interceptor that drops some of the producers' records, and a partitioner
that chooses the partitions of two topics run while the broker is killed and started again, every fifth time before it
is ready. At the end a read-committed consumer's view is compared with what was acknowledged:

- nothing acknowledged is lost, nothing is there twice, each producer's records are in order;
- of a transaction all records are there or none: all if its commit was acknowledged, none if it was
  aborted or abandoned; one whose outcome nobody told may be either;
- in topics with a partitioner every record is on the partition that it chooses, whatever its producer named;
- what processors and the client put out holds each committed input exactly once, in order;
- what the processor with state has counted is what was sent: each count once, none of a bad record, and all bad
  records, and nothing else, are dead letters;
- what the one with timers has booked, given up and kept is what was sent; its dead letters are the bad records, and a
  replay of them, in which the broker is killed too, sends each back once;
- no record that the interceptor drops is there for anybody, at no isolation level.

The moments of the kills and what the producers do follow from the seed.

With --keep what the broker has left stays, for tools that look at its files: as a kill -9 leaves it, and after an orderly
stop.

usage: kill_loop.py BINARY GUESTS_DIRECTORY [--kills N] [--seed N] [--keep DIRECTORY]      (make kill-loop does the set-up)
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "interop"))

import ledger  # noqa: E402
from broker import Broker  # noqa: E402
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402

PATIENCE_SECONDS = 120
PLAIN, FIRST, SECOND, QUAKES = "plain", "txn.first", "txn.second", "quakes.raw"
CLASSIFIED, ALERTS = "quakes.classified", "quakes.alerts"
# What a processor makes of transactions, and what a client makes of plain records.
COPIED, MOVED = "txn.copied", "plain.moved"
# Where a partitioner sends values that contain the word to partition 0, and the others to 1.
PLACED, TXN_PLACED, WORD = "plain.placed", "txn.placed", {"plain.placed": "7", "txn.placed": ":1"}
# Words, and how often each has come so far; every POISON-th value is none that the processor takes.
WORDS, COUNTS, POISON = "words", "words.counts", 40
PARTITIONS = {PLAIN: 3, FIRST: 2, SECOND: 2, QUAKES: 2, CLASSIFIED: 2, ALERTS: 2, COPIED: 2, MOVED: 3, PLACED: 2,
              TXN_PLACED: 2, WORDS: 2, COUNTS: 2, "count.dlq": 2, **ledger.PARTITIONS}
# What begins with this is dropped by the interceptor of the topics to which producers send it.
DROP = "drop:"
SEGMENT_BYTES = 65_536
CLIENT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20,
          "message.timeout.ms": 600_000, "linger.ms": 2, "log_level": 0, "queue.buffering.max.messages": 2_000,
          # With one broker, each kill makes librdkafka bootstrap again (KIP-899) and drop the broker that it knew;
          # version 2.16 may then wait on the dropped one in send_offsets_to_transaction(), past its own timeout.
          "metadata.recovery.strategy": "none"}


class Load:
    """What the producers know."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged = collections.defaultdict(list)
        self.failed = []
        self.transactions = {}
        self.is_sent = threading.Event()
        self.lives = 1
        self.drops = 0
        self.threads, self.mover = [], None

    def start(self, work, *arguments):
        def guarded():
            try:
                work(*arguments)
            except Exception as error:
                traceback.print_exc()
                self.failed.append(f"{work.__name__} ended: {error!r}")

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def start_all(self, seed):
        for number in range(2):
            self.threads.append(self.start(self.idempotent, PLAIN, f"plain{number}", lambda value: value))
            self.threads.append(self.start(self.transactional, f"txn{number}", seed * 10 + number))
        self.threads.append(self.start(self.idempotent, QUAKES, "quake", quake))
        self.threads.append(self.start(self.idempotent, PLACED, "placed", lambda value: value))
        self.threads.append(self.start(self.idempotent, WORDS, "word", word))
        self.threads.append(self.start(self.idempotent, ledger.MOVEMENTS, "movement", ledger.movement))
        self.mover = self.start(self.read_process_write, PLAIN, MOVED)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.is_sent.set()
        self.mover.join()

    def idempotent(self, topic, name, value_of):
        """Sends numbered values until told to stop; all must be acknowledged in the end."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True,
                             "batch.num.messages": 20, **CLIENT})

        def delivered(number):
            def callback(error, _):
                with self.lock:
                    if error is None:
                        self.acknowledged[topic].append(f"{name}-{number}")
                    else:
                        self.failed.append(f"{name}-{number}: {error}")
            return callback

        # The last record of each partition is one that is kept: a consumer's position lies behind the last record
        # that it was given, and the client takes that for the end.
        number = last = 0
        while not self.stop.is_set() or number < last:
            if not self.stop.is_set():
                last = number + PARTITIONS[topic] + 1
            try:
                partition = number % PARTITIONS[topic]
                made = value_of(f"{name}-{number}")
                key, value = made if isinstance(made, tuple) else (None, made)
                producer.produce(topic, value, key, partition=partition, on_delivery=delivered(number))
                number += 1
                if topic == PLAIN and number % 5 == 0 and not self.stop.is_set():
                    producer.produce(topic, f"{DROP}{name}-{number}", partition=partition, on_delivery=self.dropped)
            except BufferError:
                producer.poll(0.1)
            producer.poll(0)
            if number % 20 == 0:
                self.stop.wait(0.01)
        left = producer.flush(PATIENCE_SECONDS)
        if left:
            self.failed.append(f"{name}: {left} records were never acknowledged")

    def dropped(self, error, message):
        """The producer is told that its record was written, as of any other."""
        with self.lock:
            if error is None:
                self.drops += 1
            else:
                self.failed.append(f"{message.value()}: {error}")

    def transactional(self, name, seed):
        """Transactions over three topics; a producer that is told to give up is made anew."""
        chance, producer, turn = random.Random(seed), None, 0
        while not self.stop.is_set():
            transaction, outcome = f"{name}-{turn}", "unknown"
            ends, size = chance.choices(["commit", "abort", "abandon"], [75, 20, 5])[0], chance.randint(1, 8)
            turn += 1
            try:
                if producer is None:
                    producer = self.new_transactional(name)
                producer.begin_transaction()
                for number in range(size):
                    for topic in (FIRST, SECOND, TXN_PLACED):
                        producer.produce(topic, f"{transaction}:{number}", partition=chance.randrange(2))
                        if number % 3 == 1:
                            producer.produce(topic, f"{DROP}{transaction}:{number}", partition=chance.randrange(2))
                if ends == "commit":
                    producer.commit_transaction(PATIENCE_SECONDS)
                    outcome = "committed"
                else:
                    # Delivered first, so that there is something in the log that nobody may see.
                    producer.flush(PATIENCE_SECONDS)
                    if ends == "abort":
                        producer.abort_transaction(PATIENCE_SECONDS)
                    else:
                        producer = None
                    outcome = "aborted" if ends == "abort" else "abandoned"
            except KafkaException as error:
                self.note_if_fatal(name, error)
                outcome, producer = self.recover(producer, error.args[0])
                if ends != "commit":
                    outcome = "aborted"
            with self.lock:
                self.transactions[transaction] = (outcome, size)
        # An open transaction would hold back the readers of the check until it times out.
        self.new_transactional(name)

    def note_if_fatal(self, name, error):
        if error.args[0].fatal():
            self.failed.append(f"{name}: fatal: {error}")

    def new_transactional(self, name):
        """A producer of that transactional id, whose earlier owners are fenced and their transactions ended."""
        # Longer than the loop, so that no transaction is ended by its time and every fatal error is wrong.
        producer = Producer({**CLIENT, "bootstrap.servers": self.bootstrap, "transactional.id": name,
                             "transaction.timeout.ms": 600_000})
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                producer.init_transactions(10)
                return producer
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > give_up:
                    raise

    def read_process_write(self, source, target):
        """Copies records by a client's own transactions, until all producers are done and the source is at its end."""
        while True:
            # First, so that the transaction of the one before has ended when the offsets are asked for.
            producer = self.new_transactional("client")
            consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "client", "log_level": 0,
                                 "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
                                 "enable.auto.commit": False, "auto.offset.reset": "earliest",
                                 "isolation.level": "read_committed"})
            consumer.assign([TopicPartition(source, number) for number in range(PARTITIONS[source])])
            try:
                self.copy(consumer, producer, target)
                return
            except KafkaException as error:
                self.note_if_fatal("client", error)
                # Whether that transaction was committed, the group's offsets tell the next life.
                self.lives += 1
            finally:
                consumer.close()

    def copy(self, consumer, producer, target):
        errors, last_progress = collections.Counter(), time.monotonic()
        while True:
            is_sent = self.is_sent.is_set()
            consumed = consumer.consume(200, 0.1)
            errors.update(str(m.error()) for m in consumed if m.error())
            messages = [m for m in consumed if m.error() is None]
            if not messages:
                if is_sent and is_at_end(consumer):
                    return
                if time.monotonic() - last_progress > PATIENCE_SECONDS:
                    positions = consumer.position(consumer.assignment())
                    raise RuntimeError(f"the client's consumer stands still at {positions}; errors {errors}")
                continue
            last_progress = time.monotonic()
            producer.begin_transaction()
            for message in messages:
                producer.produce(target, message.value(), partition=message.partition())
            producer.send_offsets_to_transaction(
                consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), PATIENCE_SECONDS)
            producer.commit_transaction(PATIENCE_SECONDS)

    @staticmethod
    def recover(producer, error):
        if producer is not None and error.txn_requires_abort():
            try:
                producer.abort_transaction(PATIENCE_SECONDS)
                return "aborted", producer
            except KafkaException:
                pass
        return "unknown", None


def is_at_end(consumer):
    committed = consumer.committed(consumer.assignment(), PATIENCE_SECONDS)
    return all(consumer.get_watermark_offsets(p, PATIENCE_SECONDS)[1] == p.offset for p in committed)


def quake(identity):
    """A quake that is large enough to go to both outputs."""
    return json.dumps({"id": identity, "properties": {"mag": 6.1, "place": "nowhere", "time": 1},
                       "geometry": {"coordinates": [1.0, 2.0, 3.0]}})


def number_of(name):
    return int(name.rsplit("-", 1)[1])


def is_poison(name):
    return number_of(name) % POISON == POISON - 1


def word(name):
    """One of three words, or bytes that are no text."""
    return b"\xff" + name.encode() if is_poison(name) else f"w{number_of(name) % 3}"


def read_all(bootstrap, topic, isolation="read_committed", key=False):
    """Every partition's values in order, as a consumer of that isolation level sees them; with their keys if asked."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check", "enable.auto.commit": False,
                         "isolation.level": isolation, "enable.partition.eof": True,
                         "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS[topic])])
    values, ended = collections.defaultdict(list), set()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while len(ended) < PARTITIONS[topic]:
        if time.monotonic() > give_up:
            raise RuntimeError(f"{topic} has no end: a transaction hangs")
        for message in consumer.consume(1000, 0.5):
            if message.error() is None:
                value = message.value().decode(errors="replace")
                values[message.partition()].append((message.key().decode(), value) if key else value)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(message.error())
    consumer.close()
    return values


def flat(partitions):
    return [value for values in partitions.values() for value in values]


def wait_for_processor(broker, name, tasks):
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        status = broker.get(f"/v1/processors/{name}")
        lags = [task["lag_records"] for task in status["tasks"]]
        if len(lags) == tasks and all(lag == 0 for lag in lags):
            return
        if time.monotonic() > give_up:
            raise RuntimeError(f"{name} does not catch up:\n" + json.dumps(status, indent=1))
        time.sleep(0.05)


class Report:
    def __init__(self):
        self.records = self.lost = self.twice = self.aborted_seen = self.torn = self.out_of_order = 0
        self.dropped_seen = self.misplaced = self.wrong_letters = self.wrong_books = 0
        self.examples = []

    def count(self, field, names):
        names = list(names)
        setattr(self, field, getattr(self, field) + len(names))
        self.examples += [f"{field}: {name}" for name in names[:5]]

    def each_once(self, expected, seen):
        counts = collections.Counter(seen)
        self.records += len(seen)
        self.count("lost", sorted(set(expected) - set(counts)))
        self.count("twice", sorted(name for name, count in counts.items() if count > 1))

    def in_order(self, partitions, stream_of):
        """Within a partition the numbers of each stream only grow."""
        for values in partitions.values():
            last = {}
            for value in values:
                number = int(value.rsplit("-", 1)[1])
                stream = stream_of(value, number)
                if number < last.get(stream, -1):
                    self.count("out_of_order", [value])
                last[stream] = number

    def transactions(self, transactions, topics):
        seen = [collections.Counter(flat(read)) for read in topics]
        self.records += sum(sum(counter.values()) for counter in seen)
        for name, (outcome, size) in transactions.items():
            expected = [f"{name}:{number}" for number in range(size)]
            counts = [counter[value] for counter in seen for value in expected]
            if outcome == "committed":
                self.count("lost", [name] if 0 in counts else [])
            if outcome in ("aborted", "abandoned"):
                self.count("aborted_seen", [name] if any(counts) else [])
            self.count("torn", [name] if any(counts) and 0 in counts else [])
            self.count("twice", [name] if any(count > 1 for count in counts) else [])

    def counted(self, sent, counts, letters):
        """Each task has counted its own words from 1 on, whatever it was that it was killed in."""
        expected = collections.Counter()
        for partition in range(PARTITIONS[WORDS]):
            words = collections.Counter(word(name) for name in sent
                                        if number_of(name) % PARTITIONS[WORDS] == partition and not is_poison(name))
            expected.update((text, str(count)) for text, total in words.items() for count in range(1, total + 1))
        seen = collections.Counter(flat(counts))
        self.records += sum(seen.values())
        self.count("lost", (expected - seen).elements())
        self.count("twice", (seen - expected).elements())
        poison = sorted(word(name).decode(errors="replace") for name in sent if is_poison(name))
        seen = sorted(flat(letters))
        self.count("wrong_letters", [] if seen == poison else [f"{len(seen)} instead of {len(poison)}"])

    def ledger(self, broker, names, chance):
        """Everything that the processor with timers has done, and what becomes of its dead letters."""
        def read_pairs(topic):
            return flat(read_all(broker.bootstrap, topic, key=True))

        sent = ledger.Sent(names)
        balances, given_up = ledger.settled(sent, read_pairs)
        self.records += len(balances) + len(given_up)
        self.given_up = len(given_up)
        self.count("wrong_books", ledger.problems(sent, balances, given_up, ledger.state_of(broker)))
        letters = sorted(flat(read_all(broker.bootstrap, ledger.LETTERS)))
        self.count("wrong_letters", [] if letters == sent.poison else ["ledger.dlq: not the bad records"])
        source = read_pairs(ledger.MOVEMENTS)
        # What fails again is a new letter, and a replay that begins again goes on to the newest.
        broker.command("processor", "pause", "ledger")
        self.replays = ledger.replay(broker, 3, chance)
        broker.command("processor", "resume", "ledger")
        wait_for_processor(broker, "ledger", PARTITIONS[ledger.MOVEMENTS])
        back = collections.Counter(read_pairs(ledger.MOVEMENTS)) - collections.Counter(source)
        returned = sorted(value for _, value in back.elements())
        self.count("wrong_letters", [] if returned == sent.poison else [f"{len(returned)} letters came back"])
        failed_again = sorted(flat(read_all(broker.bootstrap, ledger.LETTERS)))
        expected = sorted(sent.poison * 2)
        self.count("wrong_letters", [] if failed_again == expected else ["ledger.dlq: not the bad records twice"])
        unchanged = ledger.problems(sent, *ledger.settled(sent, read_pairs), ledger.state_of(broker))
        self.count("wrong_books", unchanged)

    def no_dropped(self, values):
        self.count("dropped_seen", [value for value in values if value.startswith(DROP)])

    def placed(self, topic, partitions):
        """Each value is where its partitioner sends it."""
        for partition, values in partitions.items():
            self.count("misplaced", [value for value in values if (WORD[topic] in value) != (partition == 0)])


def deploy(broker, guests):
    for module in ("quake-alerts", "redact", "test-interceptor-flat", "word-partitioner", "word-count", "retry-later"):
        broker.command("module", "push", str(pathlib.Path(guests) / f"{module}.wasm"), "--name", module)
    for topic, partitions in PARTITIONS.items():
        settings = [f"segment.bytes={SEGMENT_BYTES}"]
        if topic in WORD:
            settings += ["tidemill.partitioner=word-partitioner", f"tidemill.partitioner.config=word={WORD[topic]}"]
        flags = [flag for setting in settings for flag in ("--config", setting)]
        broker.command("topic", "create", topic, "--partitions", str(partitions), *flags)
    broker.command("interceptor", "attach", "filter", "--module", "test-interceptor-flat", "--path", "produce",
                   "--topic", PLAIN, "--topic", FIRST, "--topic", SECOND, "--topic", TXN_PLACED)
    broker.command("processor", "deploy", "quakes", "--module", "quake-alerts", "--input", QUAKES,
                   "--output", CLASSIFIED, "--output", ALERTS, "--start", "earliest", "--commit-interval-ms", "20")
    broker.command("processor", "deploy", "copy", "--module", "redact", "--input", FIRST, "--output", COPIED,
                   "--config", f"output={COPIED}", "--start", "earliest", "--commit-interval-ms", "20")
    broker.command("processor", "deploy", "count", "--module", "word-count", "--input", WORDS, "--output", COUNTS,
                   "--config", f"output={COUNTS}", "--store", "counts", "--start", "earliest",
                   "--commit-interval-ms", "20", "--retries", "0")
    ledger.deploy(broker)


def run(broker, guests, kills, seed):
    """The load, and how many seconds each restart took."""
    chance, restarts = random.Random(seed), []
    broker.start()
    deploy(broker, guests)
    load = Load(broker.bootstrap)
    load.start_all(seed)
    for kill in range(kills):
        if kill % 5 == 4:
            # In the middle of a recovery.
            broker.spawn()
            time.sleep(chance.uniform(0, 0.25))
        else:
            time.sleep(chance.choice([0.1, 0.5, 1.0, 2.0]) * chance.random() + 0.02)
        broker.kill()
        if kill % 5 != 3:
            restarts.append(broker.start())
    if broker.process.poll() is not None:
        broker.start()
    load.finish()
    wait_for_processor(broker, "quakes", PARTITIONS[QUAKES])
    wait_for_processor(broker, "copy", PARTITIONS[FIRST])
    wait_for_processor(broker, "count", PARTITIONS[WORDS])
    wait_for_processor(broker, "ledger", PARTITIONS[ledger.MOVEMENTS])
    for topic in WORD:
        wait_for_processor(broker, f"__ingress.{topic}", PARTITIONS[topic])
    return load, restarts


def check(broker, load, seed):
    report = Report()
    report.ledger(broker, load.acknowledged[ledger.MOVEMENTS], random.Random(seed))
    plain = read_all(broker.bootstrap, PLAIN)
    moved = read_all(broker.bootstrap, MOVED)
    for read in (plain, moved):
        report.each_once(load.acknowledged[PLAIN], flat(read))
        report.in_order(read, lambda value, _: value.rsplit("-", 1)[0])
    for topic in (CLASSIFIED, ALERTS):
        read = read_all(broker.bootstrap, topic)
        ids = {partition: [json.loads(v)["id"] for v in values] for partition, values in read.items()}
        report.each_once(load.acknowledged[QUAKES], flat(ids))
        # Order holds for what came from one input partition.
        report.in_order(ids, lambda _, number: number % PARTITIONS[QUAKES])
    first, second = (read_all(broker.bootstrap, topic) for topic in (FIRST, SECOND))
    txn_placed = read_all(broker.bootstrap, TXN_PLACED)
    report.transactions(load.transactions, [first, second, txn_placed])
    placed = read_all(broker.bootstrap, PLACED)
    report.each_once(load.acknowledged[PLACED], flat(placed))
    # Order holds for what came by one of the producer's partitions.
    report.in_order(placed, lambda _, number: number % PARTITIONS[PLACED])
    counts, letters = read_all(broker.bootstrap, COUNTS, key=True), read_all(broker.bootstrap, "count.dlq")
    report.counted(load.acknowledged[WORDS], counts, letters)
    report.placed(PLACED, placed)
    report.placed(TXN_PLACED, txn_placed)
    report.each_once(flat(first), flat(read_all(broker.bootstrap, COPIED)))
    raw = [flat(read_all(broker.bootstrap, topic, "read_uncommitted")) for topic in (FIRST, SECOND)]
    hidden = sum(map(len, raw)) - len(flat(first)) - len(flat(second))
    for values in (flat(plain), flat(read_all(broker.bootstrap, TXN_PLACED, "read_uncommitted")), *raw):
        report.no_dropped(values)
    return report, hidden


def keep(broker, directory):
    """Copies of the data directory: as a kill -9 of the recovered broker leaves it, and after an orderly stop."""
    shutil.rmtree(directory, ignore_errors=True)
    data = pathlib.Path(broker.directory) / "data"
    broker.kill()
    shutil.copytree(data, directory / "killed")
    broker.start()
    broker.stop()
    shutil.copytree(data, directory / "stopped")


def wrong_lines(broker):
    """What the broker must never say."""
    text = pathlib.Path(broker.log_path).read_text(errors="replace")
    return [f"log: {line}" for line in text.splitlines() if re.search(r"ERROR|panicked", line)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("guests")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIRECTORY")
    options = parser.parse_args()
    print(f"kill loop: seed {options.seed}", flush=True)
    started, is_good = time.monotonic(), False
    broker = Broker(options.binary)
    try:
        load, restarts = run(broker, options.guests, options.kills, options.seed)
        report, hidden = check(broker, load, options.seed)
        problems = report.examples + load.failed + wrong_lines(broker)
        outcomes = collections.Counter(outcome for outcome, _ in load.transactions.values())
        counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"kill loop: {options.kills} kills (every fifth before the broker was ready) in "
              f"{time.monotonic() - started:.0f} s; ready again after {statistics.median(restarts) * 1000:.0f} ms "
              f"(median), {max(restarts) * 1000:.0f} ms (worst)")
        print(f"kill loop: {report.records} records read back; transactions: {counted}; {hidden} records of ended "
              f"ones in the log that nobody may see; {len(load.acknowledged[QUAKES])} records through a processor, "
              f"{len(load.acknowledged[PLACED])} and transactions through a partitioner, "
              f"{len(load.acknowledged[WORDS])} counted, {len(load.acknowledged[ledger.MOVEMENTS])} booked, or tried "
              f"again by timers, of which {report.given_up} given up; replays killed {report.replays}")
        print(f"kill loop: lost {report.lost}, twice {report.twice}, aborted seen {report.aborted_seen}, "
              f"torn {report.torn}, out of order {report.out_of_order}, misplaced {report.misplaced}, "
              f"wrong dead letters {report.wrong_letters}, wrong books {report.wrong_books}, "
              f"dropped seen {report.dropped_seen} of {load.drops} and more, failures of clients {len(load.failed)}")
        print("".join(f"  {problem}\n" for problem in problems[:30]), end="")
        is_good = not problems and did_something(load, outcomes, hidden)
        if options.keep:
            keep(broker, options.keep)
        else:
            broker.stop()
    except Exception:
        traceback.print_exc()
        is_good = False
    finally:
        if not is_good:
            print(broker.log_tail(60))
        if os.environ.get("KEEP") == "1":
            print(f"kill loop: what the broker has left is in {broker.directory}")
        else:
            broker.remove()
    print(f"{int(is_good)} passed, {int(not is_good)} failed", flush=True)
    # Without waiting for the load's threads, should they hang.
    os._exit(0 if is_good else 1)


def did_something(load, outcomes, hidden):
    """A loop in which nothing went on proves nothing."""
    acknowledged = min(len(load.acknowledged[topic]) for topic in (PLAIN, QUAKES, PLACED, WORDS, ledger.MOVEMENTS))
    return min(acknowledged, hidden, outcomes["committed"], outcomes["aborted"], load.drops) > 0


main()
