"""kill -9 at random moments under load; afterwards everything is accounted for.

Idempotent producers, transactional producers (a quarter of their transactions aborted on purpose) and a
WebAssembly processor run while the broker is killed and started again. At the end a read-committed
consumer's view is compared with what was acknowledged:

- nothing acknowledged is lost, nothing is there twice, each producer's records are in order;
- of a transaction all records are there or none: all if its commit was acknowledged, none if it was
  aborted; one whose outcome nobody told may be either;
- the processor's two outputs hold each input exactly once.

usage: kill_loop.py BINARY GUESTS_DIRECTORY [--kills N] [--seed N]      (make kill-loop does the set-up)
"""

import argparse
import collections
import json
import pathlib
import random
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "interop"))

from broker import Broker  # noqa: E402
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402

PATIENCE_SECONDS = 120
PLAIN, FIRST, SECOND, QUAKES = "plain", "txn.first", "txn.second", "quakes.raw"
CLASSIFIED, ALERTS = "quakes.classified", "quakes.alerts"
PARTITIONS = {PLAIN: 3, FIRST: 2, SECOND: 2, QUAKES: 2, CLASSIFIED: 2, ALERTS: 2}
CLIENT = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20,
          "message.timeout.ms": 600_000, "linger.ms": 2, "log_level": 0}


class Load:
    """What the producers know."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged = collections.defaultdict(list)
        self.failed = []
        self.transactions = {}
        self.threads = []

    def start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self.threads.append(thread)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()

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

        number = 0
        while not self.stop.is_set():
            try:
                partition = number % PARTITIONS[topic]
                producer.produce(topic, value_of(f"{name}-{number}"), partition=partition,
                                 on_delivery=delivered(number))
                number += 1
            except BufferError:
                producer.poll(0.1)
            producer.poll(0)
            if number % 20 == 0:
                self.stop.wait(0.01)
        left = producer.flush(PATIENCE_SECONDS)
        if left:
            self.failed.append(f"{name}: {left} records were never acknowledged")

    def transactional(self, name, seed):
        """Transactions over two topics; a producer that is told to give up is made anew."""
        chance, producer, turn = random.Random(seed), None, 0
        while not self.stop.is_set():
            transaction, outcome = f"{name}-{turn}", "unknown"
            wants_commit, size = chance.random() < 0.75, chance.randint(1, 8)
            turn += 1
            try:
                if producer is None:
                    producer = Producer({**CLIENT, "bootstrap.servers": self.bootstrap,
                                         "transactional.id": name, "transaction.timeout.ms": 60_000,
                                         "message.timeout.ms": 50_000})
                    producer.init_transactions(PATIENCE_SECONDS)
                producer.begin_transaction()
                for number in range(size):
                    for topic in (FIRST, SECOND):
                        producer.produce(topic, f"{transaction}:{number}", partition=chance.randrange(2))
                producer.flush(PATIENCE_SECONDS)
                if wants_commit:
                    producer.commit_transaction(PATIENCE_SECONDS)
                    outcome = "committed"
                else:
                    producer.abort_transaction(PATIENCE_SECONDS)
                    outcome = "aborted"
            except KafkaException as error:
                outcome, producer = self.recover(producer, error.args[0])
            with self.lock:
                self.transactions[transaction] = (outcome, size)

    @staticmethod
    def recover(producer, error):
        if producer is not None and error.txn_requires_abort():
            try:
                producer.abort_transaction(PATIENCE_SECONDS)
                return "aborted", producer
            except KafkaException:
                pass
        return "unknown", None


def quake(identity):
    """A quake that is large enough to go to both outputs."""
    return json.dumps({"id": identity, "properties": {"mag": 6.1, "place": "nowhere", "time": 1},
                       "geometry": {"coordinates": [1.0, 2.0, 3.0]}})


def read_all(bootstrap, topic):
    """Every partition's values in order, as a read-committed consumer sees them."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True,
                         "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS[topic])])
    values, ended = collections.defaultdict(list), set()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while len(ended) < PARTITIONS[topic]:
        if time.monotonic() > give_up:
            raise RuntimeError(f"{topic} has no end: a transaction hangs")
        for message in consumer.consume(1000, 0.5):
            if message.error() is None:
                values[message.partition()].append(message.value().decode())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(message.error())
    consumer.close()
    return values


def wait_for_processor(broker):
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        with urllib.request.urlopen(f"{broker.admin}/v1/processors/quakes", timeout=10) as answer:
            status = json.load(answer)
        lags = [task["lag_records"] for task in status["tasks"]]
        if len(lags) == PARTITIONS[QUAKES] and all(lag == 0 for lag in lags):
            return
        if time.monotonic() > give_up:
            raise RuntimeError("the processor does not catch up:\n" + json.dumps(status, indent=1))
        time.sleep(0.05)


class Report:
    def __init__(self):
        self.records = self.lost = self.twice = self.aborted_seen = self.torn = self.out_of_order = 0
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

    def in_order(self, partitions):
        for values in partitions.values():
            last = {}
            for value in values:
                name, number = value.rsplit("-", 1)
                if int(number) < last.get(name, -1):
                    self.count("out_of_order", [value])
                last[name] = int(number)

    def transactions(self, transactions, topics):
        seen = [collections.Counter(v for values in read.values() for v in values) for read in topics]
        self.records += sum(sum(counter.values()) for counter in seen)
        for name, (outcome, size) in transactions.items():
            expected = [f"{name}:{number}" for number in range(size)]
            counts = [counter[value] for counter in seen for value in expected]
            if outcome == "committed":
                self.count("lost", [name] if 0 in counts else [])
            if outcome == "aborted":
                self.count("aborted_seen", [name] if any(counts) else [])
            self.count("torn", [name] if any(counts) and 0 in counts else [])
            self.count("twice", [name] if any(count > 1 for count in counts) else [])

    def is_good(self):
        return not (self.lost or self.twice or self.aborted_seen or self.torn or self.out_of_order)


def run(broker, guests, kills, seed):
    chance = random.Random(seed)
    broker.start()
    for topic, partitions in PARTITIONS.items():
        broker.command("topic", "create", topic, "--partitions", str(partitions), "--config", "segment.bytes=262144")
    broker.command("module", "push", str(pathlib.Path(guests) / "quake-alerts.wasm"), "--name", "quake-alerts")
    broker.command("processor", "deploy", "quakes", "--module", "quake-alerts", "--input", QUAKES,
                   "--output", CLASSIFIED, "--output", ALERTS, "--start", "earliest", "--commit-interval-ms", "20")
    load = Load(broker.bootstrap)
    for number in range(2):
        load.start(load.idempotent, PLAIN, f"plain{number}", lambda value: value)
        load.start(load.transactional, f"txn{number}", seed * 10 + number)
    load.start(load.idempotent, QUAKES, "quake", quake)
    try:
        for _ in range(kills):
            # Sometimes right after the recovery, mostly under full load.
            time.sleep(chance.choice([0.05, 0.5, 1.0, 2.0]) * chance.random() + 0.02)
            broker.kill()
            broker.start()
    finally:
        load.finish()
    wait_for_processor(broker)
    return load


def check(broker, load):
    report = Report()
    plain = read_all(broker.bootstrap, PLAIN)
    report.each_once(load.acknowledged[PLAIN], [v for values in plain.values() for v in values])
    report.in_order(plain)
    quakes = load.acknowledged[QUAKES]
    for topic in (CLASSIFIED, ALERTS):
        outputs = read_all(broker.bootstrap, topic)
        report.each_once(quakes, [json.loads(v)["id"] for values in outputs.values() for v in values])
    report.transactions(load.transactions, [read_all(broker.bootstrap, topic) for topic in (FIRST, SECOND)])
    return report


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("guests")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    broker = Broker(options.binary)
    try:
        load = run(broker, options.guests, options.kills, options.seed)
        report = check(broker, load)
        outcomes = collections.Counter(outcome for outcome, _ in load.transactions.values())
        print(f"kill loop: {options.kills} kills (seed {options.seed}), {report.records} records read back, "
              f"{len(load.transactions)} transactions ({dict(outcomes)}), {len(load.acknowledged[QUAKES])} through "
              f"the processor, {time.monotonic() - started:.0f} s")
        print(f"kill loop: lost {report.lost}, twice {report.twice}, aborted seen {report.aborted_seen}, "
              f"torn {report.torn}, out of order {report.out_of_order}, never acknowledged {len(load.failed)}")
        for example in (report.examples + load.failed)[:20]:
            print(f"  {example}")
        is_good = report.is_good() and not load.failed and outcomes["committed"] > 0 and quakes_ran(load)
        if is_good:
            broker.stop()
        else:
            print(broker.log_tail(60))
    finally:
        broker.remove()
    print(f"{int(is_good)} passed, {int(not is_good)} failed")
    sys.exit(0 if is_good else 1)


def quakes_ran(load):
    return len(load.acknowledged[QUAKES]) > 0


main()
